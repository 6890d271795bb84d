//! The planner over the simulated log: what people decide is on disk with its audit entry, and a restart forgets nothing.

use std::sync::Arc;
use std::time::Duration;

use vigie_domain::{AuditEntry, Manager, topics};
use vigie_log::{Clock, Log, Publisher, SimulatedLog, SystemClock};

use super::{PlannerError, PlannerService, read_all};
use crate::config::{AssignmentConfig, Config};
use crate::runtime::ensure;

struct Desk {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    publisher: Publisher,
}

impl Desk {
    fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let log: Arc<dyn Log> = Arc::new(SimulatedLog::new(Arc::clone(&clock), 3));
        ensure(&*log.admin(), &Config::default()).unwrap();
        let publisher = Publisher::start(Arc::clone(&log), Duration::ZERO, Arc::clone(&clock)).unwrap();
        Self { log, clock, publisher }
    }

    fn planner(&self) -> PlannerService {
        let (publisher, clock) = (self.publisher.clone(), Arc::clone(&self.clock));
        let config = AssignmentConfig::default();
        PlannerService::open(&*self.log, publisher, clock, config, 1, Box::new(|_, _| ())).unwrap()
    }

    fn audit(&self) -> Vec<(String, String, String)> {
        let mut all: Vec<AuditEntry> = read_all(&*self.log, topics::AUDIT).unwrap();
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
