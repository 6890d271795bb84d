//! The planner over the simulated log: what people decide is on disk with its audit entry, and a restart forgets nothing.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use vigie_domain::{Assignment, AssignmentState, AuditEntry, CustomerId, Manager, topics};
use vigie_log::{
    BatchBuilder, Clock, Log, ProducerConfig, SimulatedLog, Span, SystemClock, TopicPartition, read_spans,
};

use super::{PlannerError, PlannerService};
use crate::config::{AssignmentConfig, Config};
use crate::decisions::Decisions;
use crate::runtime::ensure;

struct Desk {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    is_shared: bool,
}

impl Desk {
    fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let log: Arc<dyn Log> = Arc::new(SimulatedLog::new(Arc::clone(&clock), 3));
        ensure(&*log.admin(), &Config::default()).unwrap();
        Self { log, clock, is_shared: false }
    }

    /// A planner as it starts in a process; on a shared log one of several.
    fn planner(&self) -> PlannerService {
        let clock = Arc::clone(&self.clock);
        let decisions = Decisions::new(Arc::clone(&self.log), Arc::clone(&clock), "vigie", self.is_shared);
        let (decisions, config) = (Arc::new(decisions), AssignmentConfig::default());
        PlannerService::open(decisions, clock, config, 1, Box::new(|_, _| ())).unwrap()
    }

    fn audit(&self) -> Vec<(String, String, String)> {
        let mut all: Vec<AuditEntry> = Vec::new();
        let spans = Span::all(&*self.log.admin(), topics::AUDIT).unwrap();
        read_spans::<()>(&*self.log, &spans, |_, record| {
            all.push(serde_json::from_slice(record.value.unwrap()).unwrap());
            ControlFlow::Continue(())
        })
        .unwrap();
        all.sort_by_key(|entry| entry.at);
        all.into_iter().map(|entry| (entry.by, entry.action, entry.subject)).collect()
    }
}

fn manager(id: &str, capacity: u32) -> Manager {
    let (locations, skills) =
        (vec![String::from(" ca ")], vec![String::from("large accounts"), String::new()]);
    Manager {
        id: id.to_owned(),
        name: format!("Name of {id}"),
        capacity,
        locations,
        skills,
        customers: Vec::new(),
    }
}

#[test]
fn managers_are_added_changed_and_removed_and_a_restart_knows() {
    let desk = Desk::new();
    let planner = desk.planner();
    assert_eq!(planner.managers().len(), 5, "the examples");
    let added = planner.put_manager(manager("m9", 3), "ana").unwrap();
    assert_eq!(
        (added.locations, added.skills),
        (vec![String::from("CA")], vec![String::from("large accounts")])
    );
    std::thread::sleep(Duration::from_millis(2));
    planner.put_manager(manager("m9", 7), "ana").unwrap();
    std::thread::sleep(Duration::from_millis(2));
    planner.remove_manager("m1", "bob").unwrap();
    assert!(matches!(planner.remove_manager("m1", "bob"), Err(PlannerError::NoManager(_))));

    let again = desk.planner().managers();
    assert_eq!(again.iter().map(|m| m.id.as_str()).collect::<Vec<_>>(), ["m2", "m3", "m4", "m5", "m9"]);
    assert_eq!(again[4].capacity, 7);
    let told = |by: &str, action: &str, id: &str| (by.to_owned(), action.to_owned(), id.to_owned());
    assert_eq!(
        desk.audit(),
        [
            told("ana", "manager.added", "m9"),
            told("ana", "manager.changed", "m9"),
            told("bob", "manager.removed", "m1")
        ]
    );
}

#[test]
fn a_manager_as_nobody_can_be_is_refused_with_the_field() {
    let desk = Desk::new();
    let planner = desk.planner();
    let said = |change: fn(&mut Manager)| {
        let mut wrong = manager("m9", 3);
        change(&mut wrong);
        planner.put_manager(wrong, "ana").unwrap_err().to_string()
    };
    for (message, field) in [
        (said(|m| m.id = String::from("a b")), "id"),
        (said(|m| m.id = String::new()), "id"),
        (said(|m| m.name = String::from("  ")), "name"),
        (said(|m| m.capacity = 1_000_000), "capacity"),
        (said(|m| m.locations = vec![String::from("California")]), "location"),
        (
            said(|m| {
                m.skills =
                    vec![String::from("x"); 1].into_iter().chain((0..30).map(|i| i.to_string())).collect()
            }),
            "skills",
        ),
    ] {
        assert!(message.starts_with(field), "{message}");
    }
    assert!(desk.audit().is_empty(), "what was refused was not done");
}

fn proposal(customer: &str) -> Assignment {
    Assignment {
        customer_id: CustomerId(customer.to_owned()),
        manager_id: Some(String::from("m9")),
        state: AssignmentState::Proposed,
        probability: 0.6,
        value: 1_000.0,
        expected_value_saved: 70.0,
        effect_basis: String::from("assumed"),
        model_version: String::from("v"),
        updated_at: 1,
        by: String::from("planner"),
        drawn: None,
        why_fr: String::new(),
        why_en: String::new(),
    }
}

impl Desk {
    /// Writes a record as it is.
    fn write(&self, topic: &str, key: &str, value: Option<&[u8]>) {
        let partitions = self.log.admin().partition_count(topic).unwrap();
        let to = TopicPartition::new(topic, vigie_log::partition_for_key(key.as_bytes(), partitions));
        let mut batch = BatchBuilder::new();
        batch.push(1, Some(key.as_bytes()), value, &[]);
        let mut producer = self.log.producer(ProducerConfig::default()).unwrap();
        producer.begin().unwrap();
        producer.append(&to, &mut batch).unwrap();
        producer.commit().unwrap();
    }

    fn propose(&self, customer: &str) {
        self.write(topics::ASSIGNMENTS, customer, Some(&serde_json::to_vec(&proposal(customer)).unwrap()));
    }
}

#[test]
fn what_one_instance_decides_stands_on_all_and_after_a_restart() {
    let mut desk = Desk::new();
    desk.is_shared = true;
    desk.propose("c1");
    let (here, there) = (desk.planner(), desk.planner());
    let customer = CustomerId(String::from("c1"));
    here.put_manager(manager("m9", 1), "ana").unwrap();
    here.approve(&customer, "ana").unwrap();
    // Whoever decides next has read what was decided before, however soon.
    assert!(matches!(there.approve(&customer, "bob"), Err(PlannerError::WrongState { .. })));
    assert_eq!(there.of(&customer).unwrap().by, "ana");
    assert!(matches!(there.remove_manager("m9", "bob"), Err(PlannerError::Busy { .. })));
    assert_eq!(there.undo(&customer, "bob").unwrap().state, AssignmentState::Proposed);
    there.remove_manager("m9", "bob").unwrap();
    assert!(matches!(here.approve(&customer, "ana"), Err(PlannerError::NoManager(_))));
    let third = desk.planner();
    assert_eq!(third.of(&customer), here.of(&customer));
    assert_eq!(third.managers(), there.managers());
    let actions: Vec<String> = desk.audit().into_iter().map(|(_, action, _)| action).collect();
    assert_eq!(actions, ["manager.added", "assignment.approved", "assignment.unapproved", "manager.removed"]);
}

#[test]
fn instances_that_decide_at_once_never_take_a_place_twice() {
    let mut desk = Desk::new();
    desk.is_shared = true;
    (0..12).for_each(|n| desk.propose(&format!("c{n}")));
    let planners: Vec<PlannerService> = (0..3).map(|_| desk.planner()).collect();
    planners[0].put_manager(manager("m9", 4), "ana").unwrap();
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = planners
            .iter()
            .enumerate()
            .map(|(place, planner)| {
                scope.spawn(move || {
                    let mine = (0..12).filter(|n| n % 3 == place);
                    let mut done = Vec::new();
                    for n in mine {
                        done.push(planner.approve(&CustomerId(format!("c{n}")), "ana"));
                    }
                    done
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let (done, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!(done.len(), 4, "{refused:?}");
    assert!(refused.iter().all(|r| matches!(r, Err(PlannerError::Full { capacity: 4, .. }))), "{refused:?}");
    let approved = desk.planner().standing().into_iter().filter(|a| a.state == AssignmentState::Approved);
    assert_eq!(approved.count(), 4);
}

#[test]
fn a_record_of_another_version_is_named_with_what_to_do() {
    let desk = Desk::new();
    desk.write(topics::ASSIGNMENTS, "c7", Some(b"{\"customer\": 7}"));
    let decisions = Decisions::new(Arc::clone(&desk.log), Arc::clone(&desk.clock), "vigie", false);
    let opened = PlannerService::open(
        Arc::new(decisions),
        Arc::clone(&desk.clock),
        AssignmentConfig::default(),
        1,
        Box::new(|_, _| ()),
    );
    let message = opened.err().unwrap().to_string();
    assert!(message.contains("`assignments`, key `c7`") && message.contains("another version"), "{message}");
    desk.write(topics::ASSIGNMENTS, "c7", None);
    assert!(desk.planner().standing().is_empty());
}
