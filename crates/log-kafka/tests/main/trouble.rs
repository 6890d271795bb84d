//! What goes wrong with real brokers: they are not there, die, freeze, lead no longer, lose a topic. What we are told, and what we keep.

use std::time::{Duration, Instant};

use vigie_log::{
    Admin, BatchBuilder, Consequence, Log, LogError, Member, MemberConfig, Offset, Polled, Producer,
    ProducerConfig, StartAt, TopicPartition, TopicSpec,
};
use vigie_log_kafka::{KafkaConfig, KafkaLog};

use crate::kafka::{one_node, own_node, three_nodes, unique};

const PATIENCE: Duration = Duration::from_secs(60);

pub fn at(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

pub fn batch(values: &[&str]) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    for value in values {
        builder.push(1_000, None, Some(value.as_bytes()), &[]);
    }
    builder
}

pub fn producer(log: &KafkaLog, id: &str) -> Box<dyn Producer> {
    log.producer(ProducerConfig { transactional_id: Some(id.to_owned()) }).unwrap()
}

/// Commits one transaction, again and again until it is: as a program does whose log says that it may be repeated.
pub fn put(producer: &mut dyn Producer, to: &TopicPartition, values: &[&str]) {
    let start = Instant::now();
    loop {
        let done = producer
            .begin()
            .and_then(|()| producer.append(to, &mut batch(values)))
            .and_then(|()| producer.commit().map(drop));
        match done {
            Ok(()) => return,
            Err(error) if error.consequence() == Consequence::Retriable && start.elapsed() < PATIENCE => {
                // An open transaction must be ended before the next one.
                match producer.abort() {
                    Ok(()) | Err(LogError::InvalidState(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
}

pub fn values(log: &KafkaLog, from: &TopicPartition) -> Vec<String> {
    let end = log.admin().offsets(&from.topic).unwrap()[from.partition as usize].latest;
    let mut reader = log.reader(std::slice::from_ref(from)).unwrap();
    let (mut found, start) = (Vec::new(), Instant::now());
    while reader.position(from).unwrap() < end {
        assert!(start.elapsed() < PATIENCE, "the end {end} of {from} was never reached");
        for fetched in reader.poll(Duration::from_millis(200)).unwrap() {
            let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
            found.extend(fetched.batch.iter().map(|record| text(record.value)));
        }
    }
    found
}

pub fn poll_until(member: &mut dyn Member, enough: impl Fn(&Polled) -> bool) -> Polled {
    let (mut all, start) = (Polled::default(), Instant::now());
    while !enough(&all) {
        assert!(start.elapsed() < PATIENCE, "waited in vain; so far came {all:?}");
        let polled = member.poll(Duration::from_millis(50)).unwrap();
        all.revoked.extend(polled.revoked);
        all.lost.extend(polled.lost);
        all.assigned.extend(polled.assigned);
        all.batches.extend(polled.batches);
    }
    all
}

pub fn count(polled: &Polled) -> usize {
    polled.batches.iter().map(|fetched| fetched.batch.len()).sum()
}

fn committed(admin: &dyn Admin, group: &str, partition: &TopicPartition) -> Option<Offset> {
    let described = admin.describe_group(group).unwrap();
    described.committed.iter().find(|(at, _)| at == partition).map(|(_, offset)| *offset)
}

#[test]
fn a_broker_out_of_reach_at_the_start_is_waited_for_and_then_named() {
    let mut config = KafkaConfig::new(["127.0.0.1:1"]);
    config.start_timeout = Duration::from_secs(2);
    let start = Instant::now();
    let error = KafkaLog::open(config).map(drop).unwrap_err();
    assert!((2..8).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert_eq!(error.consequence(), Consequence::Retriable);
    let text = error.to_string();
    assert!(text.contains("kafka://127.0.0.1:1") && text.contains("onnect"), "{text}");
}

#[test]
fn a_host_that_does_not_exist_is_named() {
    let mut config = KafkaConfig::new(["no-such-host.invalid:9092"]);
    config.start_timeout = Duration::from_secs(1);
    let text = KafkaLog::open(config).map(drop).unwrap_err().to_string();
    assert!(text.contains("no-such-host.invalid"), "{text}");
}

/// A broker that is killed and started again, while records flow. `pause` first: the port is open and nothing answers.
#[test]
fn a_broker_lost_in_the_middle_comes_back_without_loss_or_duplicate() {
    let Some(node) = own_node() else { return };
    let log =
        KafkaLog::open(KafkaConfig { request_timeout: Duration::from_secs(5), ..node.config() }).unwrap();
    log.admin().create_topic(&TopicSpec::new("in", 1)).unwrap();
    let mut member = log.member(MemberConfig::new("g", ["in"])).unwrap();
    let mut writer = producer(&log, "writer");
    put(&mut *writer, &at("in", 0), &["before"]);
    assert_eq!(count(&poll_until(&mut *member, |all| count(all) >= 1)), 1);
    node.run(&["kill", "1"]);
    let health = log.check(Duration::from_secs(1)).unwrap_err();
    assert_eq!(health.consequence(), Consequence::Retriable, "{health}");
    assert_eq!(
        count(&member.poll(Duration::from_millis(200)).unwrap()),
        0,
        "a lost broker is no error of a poll"
    );
    let resume = std::thread::spawn(move || {
        node.run(&["resume", "1"]);
        node
    });
    put(&mut *writer, &at("in", 0), &["after"]);
    let node = resume.join().unwrap();
    log.check(Duration::from_secs(20)).unwrap();
    assert_eq!(values(&log, &at("in", 0)), ["before", "after"]);
    assert_eq!(count(&poll_until(&mut *member, |all| count(all) >= 1)), 1, "the record after, and it alone");
    member.commit(&[(at("in", 0), 3)]).unwrap();
    node.run(&["pause", "1"]);
    assert!(log.check(Duration::from_secs(1)).is_err());
    node.run(&["unpause", "1"]);
    put(&mut *writer, &at("in", 0), &["thawed"]);
    assert_eq!(values(&log, &at("in", 0)), ["before", "after", "thawed"]);
}

/// Records that reached no broker in time spoil their transaction: that is said, and not taken for something that passes by waiting.
#[test]
fn a_transaction_whose_records_came_too_late_is_made_once_more() {
    let Some(node) = own_node() else { return };
    let config = KafkaConfig {
        transaction_timeout: Duration::from_secs(3),
        request_timeout: Duration::from_secs(3),
        ..node.config()
    };
    let log = KafkaLog::open(config).unwrap();
    log.admin().create_topic(&TopicSpec::new("in", 1)).unwrap();
    let mut writer = producer(&log, "writer");
    put(&mut *writer, &at("in", 0), &["before"]);
    writer.begin().unwrap();
    node.run(&["pause", "1"]);
    writer.append(&at("in", 0), &mut batch(&["too late"])).unwrap();
    let start = Instant::now();
    let error = loop {
        let error = writer.commit().unwrap_err();
        if !matches!(error, LogError::Unreachable { .. }) {
            break error;
        }
        assert!(start.elapsed() < PATIENCE, "it was to be repeated without end: {error}");
    };
    assert!(matches!(&error, LogError::TransactionLost { .. } | LogError::Fenced { .. }), "{error:?}");
    node.run(&["unpause", "1"]);
    // What the engine does: abort, else a new producer; then all of it once more.
    if writer.abort().is_err() {
        writer = producer(&log, "writer");
    }
    put(&mut *writer, &at("in", 0), &["in time"]);
    assert_eq!(values(&log, &at("in", 0)), ["before", "in time"]);
}

#[test]
fn one_broker_of_three_may_die_and_partitions_move_to_another_leader() {
    let _alone = crate::contract::THREE.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(cluster) = three_nodes() else { return };
    let (log, topic, group) = (cluster.log(), unique("three"), unique("three-group"));
    let admin = log.admin();
    admin.create_topic(&TopicSpec::new(&topic, 3)).unwrap();
    let described = admin.describe_topic(&topic).unwrap();
    assert_eq!(
        described.replication_factor, 3,
        "the broker's default, since the topic asks for none in particular"
    );
    let mut leaders: Vec<_> = described.partitions.iter().map(|partition| partition.leader).collect();
    leaders.sort_unstable();
    assert_eq!(leaders, [1, 2, 3]);
    assert!(described.partitions.iter().all(|partition| partition.in_sync_replicas.len() == 3));
    let mut member = log.member(MemberConfig::new(&group, [&topic])).unwrap();
    let mut writer = producer(&log, &unique("three-writer"));
    for partition in 0..3 {
        put(&mut *writer, &at(&topic, partition), &["before"]);
    }
    poll_until(&mut *member, |all| count(all) == 3);
    cluster.run(&["kill", "2"]);
    let killed = Instant::now();
    for partition in 0..3 {
        put(&mut *writer, &at(&topic, partition), &["meanwhile"]);
    }
    poll_until(&mut *member, |all| count(all) == 3);
    println!("processing went on {:.1} s after the kill", killed.elapsed().as_secs_f64());
    let described = admin.describe_topic(&topic).unwrap();
    assert!(described.partitions.iter().all(|partition| partition.leader != 2), "{described:?}");
    cluster.run(&["resume", "2"]);
    let start = Instant::now();
    let mut back = false;
    while !back {
        assert!(start.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(100));
        let described = admin.describe_topic(&topic).unwrap();
        back = described.partitions.iter().all(|partition| partition.in_sync_replicas.len() == 3);
    }
    for partition in 0..3 {
        put(&mut *writer, &at(&topic, partition), &["after"]);
        assert_eq!(values(&log, &at(&topic, partition)), ["before", "meanwhile", "after"]);
    }
    poll_until(&mut *member, |all| count(all) == 3);
}

#[test]
fn a_topic_deleted_under_us_is_lost_and_said_so() {
    let Some(cluster) = one_node() else { return };
    let (log, topic, group) = (cluster.log(), unique("deleted"), unique("deleted-group"));
    log.admin().create_topic(&TopicSpec::new(&topic, 2)).unwrap();
    let mut member = log.member(MemberConfig::new(&group, [&topic])).unwrap();
    let mut writer = producer(&log, &unique("deleted-writer"));
    put(&mut *writer, &at(&topic, 0), &["a"]);
    poll_until(&mut *member, |all| count(all) == 1);
    log.admin().delete_topic(&topic).unwrap();
    poll_until(&mut *member, |all| all.lost.len() == 2);
    assert!(member.assignment().is_empty());
    let mut other = producer(&log, &unique("deleted-writer"));
    other.begin().unwrap();
    let error = other.append(&at(&topic, 0), &mut batch(&["b"])).unwrap_err();
    assert!(matches!(&error, LogError::UnknownTopic { topic: named } if *named == topic), "{error:?}");
    other.abort().unwrap();
}

#[test]
fn a_record_too_large_names_its_size_and_the_limit_and_harms_nothing_else() {
    let Some(cluster) = one_node() else { return };
    let (log, topic) = (cluster.log(), unique("large"));
    log.admin().create_topic(&TopicSpec::new(&topic, 1).with("max.message.bytes", "10000")).unwrap();
    let mut writer = producer(&log, &unique("large-writer"));
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(50_000)
    .collect();
    let mut large = BatchBuilder::new();
    large.push(1, None, Some(&noise), &[]);
    writer.begin().unwrap();
    let error =
        writer.append(&at(&topic, 0), &mut large).and_then(|()| writer.commit().map(drop)).unwrap_err();
    assert!(matches!(error, LogError::TooLarge { size: 50_000, limit: 10_000, .. }), "{error:?}");
    assert_eq!(error.consequence(), Consequence::Abort);
    writer.abort().unwrap();
    put(&mut *writer, &at(&topic, 0), &["small"]);
    assert_eq!(values(&log, &at(&topic, 0)), ["small"]);
}

#[test]
fn a_transaction_that_outlived_its_timeout_leaves_nothing_and_its_producer_is_done() {
    let Some(cluster) = one_node() else { return };
    let config = KafkaConfig { transaction_timeout: Duration::from_secs(2), ..cluster.config() };
    let (log, topic, id) = (KafkaLog::open(config).unwrap(), unique("outlived"), unique("outlived-writer"));
    log.admin().create_topic(&TopicSpec::new(&topic, 1)).unwrap();
    let mut writer = producer(&log, &id);
    writer.begin().unwrap();
    writer.append(&at(&topic, 0), &mut batch(&["late"])).unwrap();
    std::thread::sleep(Duration::from_secs(5));
    let error = writer.commit().unwrap_err();
    assert!(matches!(&error, LogError::Fenced { transactional_id } if *transactional_id == id), "{error:?}");
    assert_eq!(error.consequence(), Consequence::TaskMigrated);
    assert!(matches!(writer.begin(), Err(LogError::Fenced { .. })));
    let mut next = producer(&log, &id);
    put(&mut *next, &at(&topic, 0), &["next"]);
    assert_eq!(values(&log, &at(&topic, 0)), ["next"]);
}

#[test]
fn a_zombie_is_fenced_and_its_offsets_with_it() {
    let Some(cluster) = one_node() else { return };
    // Two logs, as two processes have them: the broker itself must refuse.
    let (old, new) = (cluster.log(), cluster.log());
    let (topic, group, id) = (unique("zombie"), unique("zombie-group"), unique("zombie-writer"));
    old.admin().create_topic(&TopicSpec::new(&topic, 1)).unwrap();
    let mut member = old.member(MemberConfig::new(&group, [&topic])).unwrap();
    poll_until(&mut *member, |all| !all.assigned.is_empty());
    let mut zombie = producer(&old, &id);
    zombie.begin().unwrap();
    zombie.append(&at(&topic, 0), &mut batch(&["zombie"])).unwrap();
    zombie.add_offsets(&member.membership(), &[(at(&topic, 0), 7)]).unwrap();
    let mut heir = producer(&new, &id);
    put(&mut *heir, &at(&topic, 0), &["heir"]);
    let error = zombie.commit().unwrap_err();
    assert!(matches!(error, LogError::Fenced { .. }), "{error:?}");
    assert_eq!(values(&new, &at(&topic, 0)), ["heir"]);
    assert_eq!(committed(&*new.admin(), &group, &at(&topic, 0)), None);
}

#[test]
fn a_stranger_to_the_group_cannot_commit_from_another_process() {
    let Some(cluster) = one_node() else { return };
    let (one, two) = (cluster.log(), cluster.log());
    let (topic, group) = (unique("moved"), unique("moved-group"));
    one.admin().create_topic(&TopicSpec::new(&topic, 2)).unwrap();
    let mut first = one.member(MemberConfig::new(&group, [&topic])).unwrap();
    poll_until(&mut *first, |all| all.assigned.len() == 2);
    let old = first.membership();
    let mut second = two.member(MemberConfig::new(&group, [&topic])).unwrap();
    let start = Instant::now();
    while second.assignment().is_empty() {
        assert!(start.elapsed() < PATIENCE);
        first.poll(Duration::from_millis(10)).unwrap();
        second.poll(Duration::from_millis(10)).unwrap();
    }
    let moved = second.assignment()[0].clone();
    // Through the other process's log, which does not know the first member: only the broker can refuse.
    let mut writer = producer(&two, &unique("moved-writer"));
    writer.begin().unwrap();
    let error =
        writer.add_offsets(&old, &[(moved.clone(), 1)]).and_then(|()| writer.commit().map(drop)).unwrap_err();
    assert!(matches!(error, LogError::NotOwner { .. }), "{error:?}");
    assert_eq!(error.consequence(), Consequence::TaskMigrated);
    writer.abort().unwrap();
    assert_eq!(committed(&*two.admin(), &group, &moved), None);
}

#[test]
fn a_member_that_does_not_poll_loses_its_partitions_and_comes_back() {
    let Some(cluster) = one_node() else { return };
    let (log, topic, group) = (cluster.log(), unique("slow"), unique("slow-group"));
    log.admin().create_topic(&TopicSpec::new(&topic, 2)).unwrap();
    let join = || {
        let mut config = MemberConfig::new(&group, [&topic]);
        config.start = StartAt::Latest;
        config.config.insert(String::from("max.poll.interval.ms"), String::from("6000"));
        log.member(config).unwrap()
    };
    let mut slow = join();
    poll_until(&mut *slow, |all| all.assigned.len() == 2);
    let mut other = join();
    let polled = poll_until(&mut *other, |all| all.assigned.len() == 2);
    assert!(polled.revoked.is_empty());
    let late = slow.commit(&[(at(&topic, 0), 0)]);
    assert!(matches!(late, Err(LogError::NotOwner { .. })), "{late:?}");
    let start = Instant::now();
    let mut lost = 0;
    while slow.assignment().len() != 1 || other.assignment().len() != 1 {
        assert!(start.elapsed() < PATIENCE, "{:?} {:?}", slow.assignment(), other.assignment());
        lost += slow.poll(Duration::from_millis(10)).unwrap().lost.len();
        other.poll(Duration::from_millis(10)).unwrap();
    }
    assert_eq!(lost, 2);
}
