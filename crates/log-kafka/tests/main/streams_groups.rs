//! Members of streams groups against a real broker: joining, handing over, and everything that can go wrong in between.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use vigie_log::{
    Admin, GroupSubTopology, GroupTopology, Log, LogError, MemberConfig, TopicPartition, TopicSpec,
};
use vigie_log_kafka::membership::{GroupProtocol, Joining, Step, Wake, streams};
use vigie_log_kafka::{KafkaConfig, KafkaLog};

use crate::kafka::{Cluster, node_with};
use crate::proxy::{Fault, Proxy};

/// One broker behind a proxy through which all clients go, shared by the tests of this file.
fn proxied() -> Option<&'static (Cluster, Proxy)> {
    static SHARED: OnceLock<Option<(Cluster, Proxy)>> = OnceLock::new();
    SHARED.get_or_init(start_proxied).as_ref()
}

/// The same for one test alone, which kills the broker.
fn start_proxied() -> Option<(Cluster, Proxy)> {
    let proxy = Proxy::listen();
    let advertised = format!("advertised.listeners=CLIENT://{}", proxy.address());
    let cluster = node_with(&["--set", &advertised])?;
    proxy.lead_to(cluster.fact("bootstrap"));
    Some((cluster, proxy))
}

/// Sub-topology 0 reads `GROUP-in` and writes a repartition topic, which sub-topology 1 reads; it has a store.
fn topology(group: &str) -> GroupTopology {
    let repartition = format!("{group}-by-user-repartition");
    GroupTopology {
        sub_topologies: vec![
            GroupSubTopology {
                id: String::from("0"),
                sources: vec![format!("{group}-in")],
                repartition_sinks: vec![repartition.clone()],
                ..GroupSubTopology::default()
            },
            GroupSubTopology {
                id: String::from("1"),
                repartition_sources: vec![TopicSpec::new(repartition, 0)],
                changelogs: vec![TopicSpec::compacted(format!("{group}-count-changelog"), 0)],
                ..GroupSubTopology::default()
            },
        ],
    }
}

/// One program on one broker.
struct Application<'a> {
    cluster: &'a Cluster,
    proxy: &'a Proxy,
    group: String,
    standbys: u32,
    settings: Vec<(&'static str, &'static str)>,
}

impl<'a> Application<'a> {
    fn new((cluster, proxy): &'a (Cluster, Proxy), group: &str, partitions: u32) -> Self {
        let application = Self { cluster, proxy, group: group.to_owned(), standbys: 0, settings: Vec::new() };
        application.create(&format!("{group}-in"), partitions);
        application
    }

    fn create(&self, topic: &str, partitions: u32) {
        self.admin().create_topic(&TopicSpec::new(topic, partitions)).unwrap();
    }

    fn admin(&self) -> Box<dyn Admin> {
        KafkaLog::open(KafkaConfig::new([self.proxy.address()])).unwrap().admin()
    }

    fn try_join(&self, name: &str, topology: GroupTopology) -> vigie_log::Result<Member> {
        let mut kafka = KafkaConfig::new([self.proxy.address()]);
        kafka.client_id = format!("{}-{name}", self.group);
        kafka.request_timeout = Duration::from_secs(5);
        for (key, value) in &self.settings {
            kafka.settings.insert((*key).to_owned(), (*value).to_owned());
        }
        let mut member = MemberConfig::new(&self.group, [format!("{}-in", self.group)]);
        member.topology = Some(Arc::new(topology));
        member.process_id = name.to_owned();
        member.endpoint = Some((format!("{name}.example"), 8080));
        member.standby_replicas = self.standbys;
        let woken = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&woken);
        let wake = Wake::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let protocol = streams::join(Joining { kafka: Arc::new(kafka), member, wake })?;
        Ok(Member {
            client: format!("{}-{name}", self.group),
            protocol,
            owned: BTreeSet::new(),
            told: Vec::new(),
            woken,
            endpoints: Vec::new(),
        })
    }

    fn join(&self, name: &str) -> Member {
        self.try_join(name, topology(&self.group)).unwrap()
    }
}

/// A member whose caller does as it is told, and remembers it.
struct Member {
    client: String,
    protocol: Box<dyn GroupProtocol>,
    owned: BTreeSet<TopicPartition>,
    told: Vec<String>,
    woken: Arc<AtomicU32>,
    /// Where to ask, with how many active partitions each has.
    endpoints: Vec<(String, usize)>,
}

impl Member {
    fn poll(&mut self) -> vigie_log::Result<()> {
        self.endpoints = self
            .protocol
            .endpoints()?
            .into_iter()
            .map(|one| (format!("{}:{}", one.host, one.port), one.active.len()))
            .collect();
        self.endpoints.sort();
        for step in self.protocol.poll()? {
            match step {
                Step::Revoke(partitions) => {
                    self.told.push(format!("revoke {}", partitions.len()));
                    self.owned.retain(|owned| !partitions.contains(owned));
                    self.protocol.released(&partitions)?;
                }
                Step::Lost(partitions) => {
                    self.told.push(format!("lost {}", partitions.len()));
                    self.owned.retain(|owned| !partitions.contains(owned));
                }
                Step::Assign(partitions) => {
                    self.told.push(format!("assign {}", partitions.len()));
                    for partition in partitions {
                        assert!(self.owned.insert(partition), "assigned twice");
                    }
                }
                Step::Standbys(copies) => self.told.push(format!("standbys {}", copies.len())),
                Step::Shutdown => self.told.push(String::from("shutdown")),
                Step::Broken(reason) => panic!("{}: {reason}", self.client),
            }
        }
        Ok(())
    }

    fn counts(&self) -> usize {
        self.owned.len()
    }

    fn was_told(&self, what: &str) -> bool {
        self.told.iter().any(|told| told.starts_with(what))
    }

    /// Task `n` is partition `n` of all inputs, so both must come and go together within a sub-topology.
    fn partitions_of(&self, topic: &str) -> Vec<u32> {
        self.owned.iter().filter(|owned| *owned.topic == *topic).map(|owned| owned.partition).collect()
    }
}

/// Polls all of them until `done`; nobody may own what another owns.
fn until(members: &mut [&mut Member], what: &str, done: impl Fn(&[&mut Member]) -> bool) -> Duration {
    let start = Instant::now();
    loop {
        for member in members.iter_mut() {
            member.poll().unwrap();
        }
        let mut all = BTreeSet::new();
        for member in members.iter() {
            for owned in &member.owned {
                assert!(all.insert(owned.clone()), "{owned} has two owners");
            }
        }
        if done(members) {
            return start.elapsed();
        }
        let told: Vec<_> = members.iter().map(|member| (&member.client, &member.told)).collect();
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: {told:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_member_alone_gets_all_tasks_and_kafkas_own_tool_shows_them() {
    let Some(shared) = proxied() else { return };
    let application = Application::new(shared, "alone", 4);
    let mut one = application.join("one");
    until(&mut [&mut one], "all tasks", |m| m[0].counts() == 8);
    assert_eq!(one.told, ["assign 8"]);
    assert_eq!(one.partitions_of("alone-in"), [0, 1, 2, 3]);
    assert_eq!(one.partitions_of("alone-by-user-repartition"), [0, 1, 2, 3]);
    assert!(one.woken.load(Ordering::SeqCst) > 0, "the caller was told to look");
    let proof = one.protocol.proof();
    assert_eq!(&*proof.group, "alone");
    assert!(proof.member.starts_with("alone-one-") && proof.generation > 0, "{proof:?}");

    let describe = |what: &str| {
        application.cluster.run(&["tool", "streams-groups", "--describe", what, "--group", "alone"])
    };
    let shown = describe("--members");
    assert!(
        shown.contains(&*proof.member) && shown.contains("0:[0,1,2,3]") && shown.contains("1:[0,1,2,3]"),
        "{shown}"
    );
    let shown = describe("--state");
    assert!(shown.contains("Stable"), "{shown}");

    // Positions, at least once.
    let at = |partition| TopicPartition::new("alone-in", partition);
    one.protocol.commit(&[(at(0), 0), (at(3), 0)]).unwrap();
    let foreign = TopicPartition::new("other", 0);
    assert!(matches!(one.protocol.commit(&[(foreign, 0)]), Err(LogError::NotOwner { .. })));
    let shown = describe("--offsets");
    let committed = shown.lines().filter(|line| line.contains("alone-in")).count();
    assert_eq!(committed, 4, "{shown}");
    one.protocol.leave().unwrap();
    let shown = describe("--state");
    assert!(shown.contains("Empty"), "{shown}");
}

#[test]
fn tasks_are_handed_over_and_come_back() {
    let Some(shared) = proxied() else { return };
    let application = Application::new(shared, "handover", 4);
    let mut one = application.join("one");
    until(&mut [&mut one], "all tasks", |m| m[0].counts() == 8);
    let mut two = application.join("two");
    until(&mut [&mut one, &mut two], "a half each", |m| m.iter().all(|m| m.counts() == 4));
    assert_eq!(one.told, ["assign 8", "revoke 4"]);
    assert!(!two.was_told("revoke") && !two.was_told("lost"), "{:?}", two.told);
    // Where to ask for what.
    until(&mut [&mut one, &mut two], "endpoints", |m| {
        m[0].endpoints == [(String::from("one.example:8080"), 4), (String::from("two.example:8080"), 4)]
    });
    let mut three = application.join("three");
    until(&mut [&mut one, &mut two, &mut three], "all of three have some", |m| {
        m.iter().all(|m| (2..=3).contains(&m.counts())) && m.iter().map(|m| m.counts()).sum::<usize>() == 8
    });
    // What a member has given up it can no longer commit.
    let lost = TopicPartition::new(
        "handover-in",
        (0..4).find(|p| !one.partitions_of("handover-in").contains(p)).unwrap(),
    );
    assert!(matches!(one.protocol.commit(&[(lost, 0)]), Err(LogError::NotOwner { .. })));
    two.protocol.leave().unwrap();
    drop(three);
    let back = until(&mut [&mut one], "all tasks again", |m| m[0].counts() == 8);
    assert!(back < Duration::from_secs(5), "a farewell is noticed at once, not after the session: {back:?}");
    assert!(!one.was_told("lost"), "{:?}", one.told);
}

#[test]
fn a_silent_member_is_replaced_and_learns_of_it() {
    let Some(shared) = proxied() else { return };
    let application = Application::new(shared, "silent", 2);
    let (mut one, mut two) = (application.join("one"), application.join("two"));
    until(&mut [&mut one, &mut two], "a half each", |m| m.iter().all(|m| m.counts() == 2));
    application.proxy.fault(&one.client, Some(Fault::Silence));
    let start = Instant::now();
    until(&mut [&mut two], "the rest", |m| m[0].counts() == 4);
    let after = start.elapsed();
    // The session is six seconds; the last heartbeat was at most half a second before.
    assert!(after > Duration::from_secs(5) && after < Duration::from_secs(20), "{after:?}");
    let stale = one.protocol.proof();
    application.proxy.fault(&one.client, None);
    // It learns that all was lost before it is given anything new; then both share again.
    while !one.was_told("lost") {
        one.poll().unwrap();
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", one.told);
        thread::sleep(Duration::from_millis(10));
    }
    until(&mut [&mut one, &mut two], "a half each again", |m| m.iter().all(|m| m.counts() == 2));
    assert_eq!(one.told.iter().filter(|told| told.starts_with("lost")).collect::<Vec<_>>(), ["lost 2"]);
    assert!(one.protocol.proof().generation > stale.generation);
}

#[test]
fn a_lost_reply_loses_no_assignment() {
    let Some(shared) = proxied() else { return };
    let application = Application::new(shared, "lossy", 4);
    let mut one = application.join("one");
    until(&mut [&mut one], "all tasks", |m| m[0].counts() == 8);
    // The reply that asks to give up a half does not arrive.
    application.proxy.fault(&one.client, Some(Fault::LoseAssignment));
    let mut two = application.join("two");
    until(&mut [&mut one, &mut two], "a half each", |m| m.iter().all(|m| m.counts() == 4));
    assert_eq!(application.proxy.suffered(&one.client), 1);
    assert!(one.counts() == 4 && one.told.len() >= 2, "{:?}", one.told);
    // The reply that gives it back does not arrive either.
    application.proxy.fault(&one.client, Some(Fault::LoseAssignment));
    drop(two);
    until(&mut [&mut one], "all tasks again", |m| m[0].counts() == 8);
    assert_eq!(application.proxy.suffered(&one.client), 2);
    // Nor does the reply to a join.
    let name = "lossy-three";
    application.proxy.fault(name, Some(Fault::LoseAssignment));
    let mut three = application.join("three");
    until(&mut [&mut one, &mut three], "a half each, once more", |m| m.iter().all(|m| m.counts() == 4));
    assert_eq!(application.proxy.suffered(name), 1);
}

#[test]
fn a_fenced_member_drops_everything_and_joins_again() {
    let Some(shared) = proxied() else { return };
    let application = Application::new(shared, "fenced", 2);
    let mut one = application.join("one");
    until(&mut [&mut one], "all tasks", |m| m[0].counts() == 4);
    application.proxy.fault(&one.client, Some(Fault::RaiseEpoch(7)));
    until(&mut [&mut one], "all tasks, anew", |m| m[0].was_told("lost") && m[0].counts() == 4);
    assert_eq!(one.told, ["assign 4", "lost 4", "assign 4"]);
    assert_eq!(application.proxy.suffered(&one.client), 1);
    one.protocol.commit(&[(TopicPartition::new("fenced-in", 0), 0)]).unwrap();
}

#[test]
fn a_deleted_changelog_stops_the_members_with_its_name() {
    let Some(shared) = proxied() else { return };
    let application = Application::new(shared, "bereft", 2);
    let mut one = application.join("one");
    until(&mut [&mut one], "all tasks", |m| m[0].counts() == 4);
    application.admin().delete_topic("bereft-count-changelog").unwrap();
    let start = Instant::now();
    let error = loop {
        match one.poll() {
            Ok(()) => thread::sleep(Duration::from_millis(10)),
            Err(error) => break error.to_string(),
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", one.told);
    };
    assert!(error.contains("bereft-count-changelog") && error.contains("reset the application"), "{error}");
    // It can still leave in good order, and a member that starts afterwards finds the new topic in order.
    one.protocol.leave().unwrap();
    let mut two = application.join("two");
    until(&mut [&mut two], "all tasks", |m| m[0].counts() == 4);
}

#[test]
fn a_request_for_shutdown_reaches_all_members() {
    let Some(shared) = proxied() else { return };
    let application = Application::new(shared, "closing", 2);
    let (mut one, mut two) = (application.join("one"), application.join("two"));
    until(&mut [&mut one, &mut two], "a half each", |m| m.iter().all(|m| m.counts() == 2));
    assert!(one.protocol.request_shutdown().unwrap());
    until(&mut [&mut one, &mut two], "all are told", |m| m.iter().all(|m| m.was_told("shutdown")));
}

#[test]
fn standby_copies_are_kept_and_taken_over() {
    let Some(shared) = proxied() else { return };
    let mut application = Application::new(shared, "standby", 4);
    application.standbys = 1;
    let mut one = application.join("one");
    until(&mut [&mut one], "all tasks", |m| m[0].counts() == 8);
    let mut two = application.join("two");
    // Only the sub-topology with a store has copies: four tasks, each beside the other member.
    until(&mut [&mut one, &mut two], "a half each, with copies of the other", |m| {
        m.iter().all(|m| {
            m.counts() == 4
                && m.told.iter().rfind(|told| told.starts_with("standbys")).is_some_and(|t| t == "standbys 2")
        })
    });
    drop(one);
    until(&mut [&mut two], "all tasks and no copy", |m| {
        m[0].counts() == 8
            && m[0].told.iter().rfind(|told| told.starts_with("standbys")).is_some_and(|t| t == "standbys 0")
    });
}

#[test]
fn what_the_broker_refuses_is_said_with_advice() {
    let Some(shared) = proxied() else { return };
    let application = Application::new(shared, "refused", 2);
    let refusal = |mut member: Member| {
        let start = Instant::now();
        loop {
            match member.poll() {
                Ok(()) => thread::sleep(Duration::from_millis(10)),
                Err(error) => return error,
            }
            assert!(start.elapsed() < Duration::from_secs(60), "{:?}", member.told);
        }
    };
    // Another program under the same name.
    let mut one = application.join("one");
    until(&mut [&mut one], "all tasks", |m| m[0].counts() == 4);
    let mut other = topology("refused");
    other.sub_topologies[1].changelogs.push(TopicSpec::compacted("refused-more-changelog", 0));
    let error = refusal(application.try_join("other", other).unwrap()).to_string();
    assert!(
        error.contains("stop all instances of the old version") && error.contains("new application id"),
        "{error}"
    );
    until(&mut [&mut one], "the others are not disturbed", |m| m[0].counts() == 4);
    assert_eq!(one.told, ["assign 4"]);

    // A source that is not there.
    let mut missing = topology("refused");
    missing.sub_topologies[0].sources.push(String::from("refused-nowhere"));
    let error = application.try_join("missing", missing).err().unwrap();
    assert!(matches!(&error, LogError::UnknownTopic { topic } if topic == "refused-nowhere"), "{error}");

    // Nobody there at all.
    let mut kafka = KafkaConfig::new(["127.0.0.1:9"]);
    kafka.start_timeout = Duration::from_millis(500);
    let mut member = MemberConfig::new("refused", ["refused-in"]);
    member.topology = Some(Arc::new(topology("refused")));
    let joining = Joining { kafka: Arc::new(kafka), member, wake: Wake::new(|| {}) };
    for error in [streams::join(joining.clone()).err().unwrap(), streams::offered(&joining).unwrap_err()] {
        assert!(matches!(error, LogError::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains("127.0.0.1:9"), "{error}");
    }
}

#[test]
fn streams_groups_are_offered_where_there_is_a_topology() {
    let Some((_, proxy)) = proxied() else { return };
    let mut joining = Joining {
        kafka: Arc::new(KafkaConfig::new([proxy.address()])),
        member: MemberConfig::new("offered", ["in"]),
        wake: Wake::new(|| {}),
    };
    assert!(!streams::offered(&joining).unwrap());
    assert!(streams::join(joining.clone()).err().unwrap().to_string().contains("membership = \"consumer\""));
    joining.member.topology = Some(Arc::new(topology("offered")));
    assert!(streams::offered(&joining).unwrap());
    let kafka = KafkaConfig { instance_id: Some(String::from("me")), ..(*joining.kafka).clone() };
    joining.kafka = Arc::new(kafka);
    assert!(!streams::offered(&joining).unwrap(), "no static membership");
}

#[test]
fn a_caller_that_stands_still_gives_way() {
    let Some(shared) = proxied() else { return };
    let mut application = Application::new(shared, "still", 2);
    application.settings = vec![("consumer.max.poll.interval.ms", "2000")];
    let mut one = application.join("one");
    until(&mut [&mut one], "all tasks", |m| m[0].counts() == 4);
    let mut two = application.join("two");
    // One is asked to give up a half, but is not there to hear it.
    until(&mut [&mut two], "all tasks of the one that stands still", |m| m[0].counts() == 4);
    until(&mut [&mut one], "it is told", |m| m[0].was_told("lost"));
    until(&mut [&mut one, &mut two], "a half each", |m| m.iter().all(|m| m.counts() == 2));
    assert_eq!(one.told.iter().filter(|told| told.starts_with("lost")).collect::<Vec<_>>(), ["lost 4"]);
}

#[test]
fn members_outlive_a_restart_of_the_broker() {
    let Some(own) = start_proxied() else { return };
    let application = Application::new(&own, "restart", 2);
    let (mut one, mut two) = (application.join("one"), application.join("two"));
    until(&mut [&mut one, &mut two], "a half each", |m| m.iter().all(|m| m.counts() == 2));
    let told = (one.told.clone(), two.told.clone());
    let mine = one.owned.first().unwrap().clone();
    application.cluster.run(&["kill", "1"]);
    assert!(one.protocol.commit(&[(mine.clone(), 0)]).is_err(), "nobody could have taken it");
    for _ in 0..100 {
        one.poll().unwrap();
        two.poll().unwrap();
        thread::sleep(Duration::from_millis(10));
    }
    application.cluster.run(&["resume", "1"]);
    until(&mut [&mut one, &mut two], "commits go through again", |m| {
        m[0].protocol.proof().generation > 0 && m[1].counts() == 2
    });
    let start = Instant::now();
    while let Err(error) = one.protocol.commit(&[(mine.clone(), 0)]) {
        assert!(start.elapsed() < Duration::from_secs(60), "{error}");
        one.poll().unwrap();
    }
    until(&mut [&mut one, &mut two], "nothing has moved", |m| m.iter().all(|m| m.counts() == 2));
    assert_eq!((one.told, two.told), told, "the group is as it was");
}
