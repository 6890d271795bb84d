//! Rules about groups.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{PATIENCE, Subject, at, committed, create, member, poll_until, polled_values, put};
use crate::{LogError, Member, MemberConfig, StartAt, TopicPartition};

/// Lets members poll in turn until each owns what is expected of it (`topic index, partitions` as text), checking that
/// nothing ever has two owners.
fn settle(
    members: &mut [Box<dyn Member>],
    done: impl Fn(&[Vec<TopicPartition>]) -> bool,
) -> Vec<Vec<TopicPartition>> {
    let start = Instant::now();
    loop {
        for member in members.iter_mut() {
            member.poll(Duration::from_millis(10)).unwrap();
        }
        let owned: Vec<Vec<TopicPartition>> = members.iter().map(|member| member.assignment()).collect();
        let mut seen = BTreeSet::new();
        for partition in owned.iter().flatten() {
            assert!(seen.insert(partition.clone()), "{partition} has two owners: {owned:?}");
        }
        if done(&owned) {
            return owned;
        }
        assert!(start.elapsed() < PATIENCE, "never settled: {owned:?}");
    }
}

pub fn a_partition_has_one_owner(subject: &mut dyn Subject) {
    let topic = create(subject, "owner", 5);
    let mut members = vec![member(subject, "owner", &[&topic])];
    let counts = |owned: &[Vec<TopicPartition>]| {
        let mut counts: Vec<usize> = owned.iter().map(Vec::len).collect();
        counts.sort_unstable();
        counts
    };
    settle(&mut members, |owned| counts(owned) == [5]);
    members.push(member(subject, "owner", &[&topic]));
    settle(&mut members, |owned| counts(owned) == [2, 3]);
    members.push(member(subject, "owner", &[&topic]));
    settle(&mut members, |owned| counts(owned) == [1, 2, 2]);
    members.remove(0);
    settle(&mut members, |owned| counts(owned) == [2, 3]);
    // Another group shares nothing with this one.
    members.push(member(subject, "owner-2", &[&topic]));
    let other = members.pop().into_iter().collect::<Vec<_>>();
    let mut other = other;
    settle(&mut other, |owned| counts(owned) == [5]);
}

pub fn partition_n_of_every_topic_goes_to_one_member(subject: &mut dyn Subject) {
    let topics = [create(subject, "together-a", 4), create(subject, "together-b", 4)];
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut members: Vec<_> = (0..3).map(|_| member(subject, "co-partitioned", &names)).collect();
    let owned = settle(&mut members, |owned| {
        owned.iter().all(|of| !of.is_empty()) && owned.iter().map(Vec::len).sum::<usize>() == 8
    });
    for of in owned {
        let numbers = |topic: &str| -> Vec<u32> {
            of.iter().filter(|at| &*at.topic == topic).map(|at| at.partition).collect()
        };
        assert_eq!(numbers(names[0]), numbers(names[1]));
    }
}

pub fn what_is_revoked_can_be_committed_first(subject: &mut dyn Subject) {
    let topic = create(subject, "revoked", 2);
    put(subject, &at(&topic, 0), 1, &["a"]);
    put(subject, &at(&topic, 1), 1, &["b"]);
    let group = subject.name("revoked");
    let mut first = member(subject, "revoked", &[&topic]);
    poll_until(&mut *first, |all| all.batches.len() >= 2);
    let mut second = member(subject, "revoked", &[&topic]);
    let start = Instant::now();
    let revoked = loop {
        let mine = first.poll(Duration::from_millis(10)).unwrap();
        if !mine.revoked.is_empty() {
            break mine.revoked;
        }
        let theirs = second.poll(Duration::from_millis(10)).unwrap();
        assert!(theirs.assigned.is_empty(), "both partitions still belong to the first member");
        assert!(start.elapsed() < PATIENCE);
    };
    assert_eq!(revoked.len(), 1);
    assert!(first.assignment().contains(&revoked[0]), "still owned until the next poll");
    let theirs = second.poll(Duration::from_millis(20)).unwrap();
    assert!(theirs.assigned.is_empty(), "not given away before it is given up");
    let offsets = [(revoked[0].clone(), 1)];
    let mut producer = super::producer(subject, None);
    producer.begin().unwrap();
    producer.add_offsets(&first.membership(), &offsets).unwrap();
    producer.commit().unwrap();
    let start = Instant::now();
    loop {
        first.poll(Duration::from_millis(10)).unwrap();
        let theirs = second.poll(Duration::from_millis(10)).unwrap();
        if !theirs.assigned.is_empty() {
            assert_eq!(theirs.assigned, revoked);
            break;
        }
        assert!(start.elapsed() < PATIENCE);
    }
    assert!(!first.assignment().contains(&revoked[0]));
    let admin = subject.log().admin();
    assert_eq!(committed(&*admin, &group, &revoked[0]), Some(1));
    assert!(
        second.poll(Duration::from_millis(50)).unwrap().batches.is_empty(),
        "it goes on behind the commit"
    );
    let late = first.commit(&[(revoked[0].clone(), 0)]);
    assert!(matches!(late, Err(LogError::NotOwner { .. })), "{late:?}");
}

pub fn an_old_generation_is_refused(subject: &mut dyn Subject) {
    let topic = create(subject, "generation", 2);
    let mut members = vec![member(subject, "generation", &[&topic])];
    settle(&mut members, |owned| owned[0].len() == 2);
    let old = members[0].membership();
    members.push(member(subject, "generation", &[&topic]));
    settle(&mut members, |owned| owned[0].len() == 1 && owned[1].len() == 1);
    let kept = members[0].assignment()[0].clone();
    assert_ne!(old, members[0].membership());
    let mut producer = super::producer(subject, None);
    producer.begin().unwrap();
    let refused = producer.add_offsets(&old, &[(kept.clone(), 0)]).and_then(|()| producer.commit().map(drop));
    assert!(matches!(refused, Err(LogError::NotOwner { .. })), "{refused:?}");
    producer.abort().unwrap();
    producer.begin().unwrap();
    producer.add_offsets(&members[0].membership(), &[(kept, 0)]).unwrap();
    producer.commit().unwrap();
}

pub fn a_silent_member_loses_its_partitions(subject: &mut dyn Subject) {
    let topic = create(subject, "silent", 2);
    let join = |subject: &dyn Subject| {
        let mut config = MemberConfig::new(subject.name("silent"), [&topic]);
        config.config.insert(String::from("session.timeout.ms"), String::from("10000"));
        subject.log().member(config).unwrap()
    };
    let mut silent = join(subject);
    poll_until(&mut *silent, |all| all.assigned.len() == 2);
    let proof = silent.membership();
    let mut other = join(subject);
    assert!(other.poll(Duration::from_millis(20)).unwrap().assigned.is_empty());
    if !subject.pass(Duration::from_secs(11)) {
        return;
    }
    let polled = poll_until(&mut *other, |all| !all.assigned.is_empty());
    assert_eq!(polled.assigned.len(), 2, "{polled:?}");
    let late = silent.commit(&[(at(&topic, 0), 0)]);
    assert!(matches!(late, Err(LogError::NotOwner { .. })), "{late:?}");
    let mut producer = super::producer(subject, None);
    producer.begin().unwrap();
    let refused =
        producer.add_offsets(&proof, &[(at(&topic, 0), 0)]).and_then(|()| producer.commit().map(drop));
    assert!(matches!(refused, Err(LogError::NotOwner { .. })), "{refused:?}");
    let back = silent.poll(Duration::from_millis(20)).unwrap();
    assert_eq!(back.lost.len(), 2);
    let mut members = vec![silent, other];
    settle(&mut members, |owned| owned[0].len() == 1 && owned[1].len() == 1);
}

pub fn a_closed_member_gives_way_at_once(subject: &mut dyn Subject) {
    let topic = create(subject, "closed", 2);
    let mut members = vec![member(subject, "closed", &[&topic]), member(subject, "closed", &[&topic])];
    settle(&mut members, |owned| owned.iter().all(|of| of.len() == 1));
    members.remove(1).close().unwrap();
    settle(&mut members, |owned| owned[0].len() == 2);
    drop(members);
    let mut next = member(subject, "closed", &[&topic]);
    poll_until(&mut *next, |all| all.assigned.len() == 2);
}

pub fn a_rebalance_skips_no_record(subject: &mut dyn Subject) {
    const PARTITIONS: u32 = 4;
    let topic = create(subject, "skips", PARTITIONS);
    let mut members = vec![member(subject, "skips", &[&topic])];
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut all: BTreeSet<String> = BTreeSet::new();
    for round in 0..4 {
        let start = Instant::now();
        // One record in each partition, committed, and then nothing for a moment: everybody knows that this is the end.
        let mut quiet = 0;
        let values: Vec<String> = (0..PARTITIONS).map(|partition| format!("{round}-{partition}")).collect();
        for (partition, value) in (0..).zip(&values) {
            put(subject, &at(&topic, partition), 1, &[value]);
        }
        all.extend(values);
        while seen != all || quiet < 4 {
            assert!(start.elapsed() < PATIENCE, "round {round}: of {all:?} came {seen:?}");
            let before = seen.len();
            for member in &mut members {
                let polled = member.poll(Duration::from_millis(50)).unwrap();
                seen.extend(polled_values(&polled));
                let offsets: Vec<_> = polled
                    .batches
                    .iter()
                    .map(|fetched| (fetched.partition.clone(), fetched.batch.last_offset() + 1))
                    .collect();
                // Refused when it has just been given away: then the next owner gets it once more.
                let _ = member.commit(&offsets);
            }
            quiet = if seen.len() == before { quiet + 1 } else { 0 };
        }
        // Members come and go while nothing is written.
        if round % 2 == 0 {
            members.push(member(subject, "skips", &[&topic]));
        } else {
            members.pop().unwrap().close().unwrap();
        }
        let shares = members.len();
        settle(&mut members, |owned| {
            owned.iter().map(Vec::len).sum::<usize>() == PARTITIONS as usize
                && owned.iter().all(|of| of.len() == PARTITIONS as usize / shares)
        });
    }
}

pub fn a_member_goes_on_where_its_group_stopped(subject: &mut dyn Subject) {
    let topic = create(subject, "goes-on", 1);
    put(subject, &at(&topic, 0), 1, &["a", "b", "c"]);
    let mut first = member(subject, "goes-on", &[&topic]);
    let polled = poll_until(&mut *first, |all| !all.batches.is_empty());
    assert_eq!(polled_values(&polled), ["a", "b", "c"]);
    first.commit(&[(at(&topic, 0), 3)]).unwrap();
    put(subject, &at(&topic, 0), 1, &["d"]);
    drop(first);
    let mut second = member(subject, "goes-on", &[&topic]);
    let polled = poll_until(&mut *second, |all| !all.batches.is_empty());
    assert_eq!(polled_values(&polled), ["d"]);
    assert_eq!(second.committed(&[at(&topic, 0)]).unwrap(), [Some(3)]);
    drop(second);
    let mut third = member(subject, "goes-on", &[&topic]);
    let polled = poll_until(&mut *third, |all| !all.batches.is_empty());
    assert_eq!(polled_values(&polled), ["d"], "nothing was committed for it");
}

pub fn a_member_can_start_with_what_is_to_come(subject: &mut dyn Subject) {
    let topic = create(subject, "to-come", 1);
    put(subject, &at(&topic, 0), 1, &["before"]);
    let mut config = MemberConfig::new(subject.name("to-come"), [&topic]);
    config.start = StartAt::Latest;
    let mut member = subject.log().member(config).unwrap();
    poll_until(&mut *member, |all| !all.assigned.is_empty());
    // On a log across a network the position is settled by the first fetch.
    member.poll(Duration::from_millis(100)).unwrap();
    put(subject, &at(&topic, 0), 1, &["after"]);
    let polled = poll_until(&mut *member, |all| !all.batches.is_empty());
    assert_eq!(polled_values(&polled), ["after"]);
}

pub fn a_member_pauses_resumes_and_seeks(subject: &mut dyn Subject) {
    let topic = create(subject, "pause", 2);
    let mut member = member(subject, "pause", &[&topic]);
    poll_until(&mut *member, |all| all.assigned.len() == 2);
    member.pause(&[at(&topic, 0)]).unwrap();
    put(subject, &at(&topic, 0), 1, &["a"]);
    put(subject, &at(&topic, 1), 1, &["b"]);
    let polled = poll_until(&mut *member, |all| !all.batches.is_empty());
    assert_eq!(polled_values(&polled), ["b"]);
    assert!(member.poll(Duration::from_millis(50)).unwrap().batches.is_empty());
    member.resume(&[at(&topic, 0)]).unwrap();
    let polled = poll_until(&mut *member, |all| !all.batches.is_empty());
    assert_eq!(polled_values(&polled), ["a"]);
    member.seek(&at(&topic, 1), 0).unwrap();
    let polled = poll_until(&mut *member, |all| !all.batches.is_empty());
    assert_eq!(polled_values(&polled), ["b"]);
    let foreign = at(&topic, 9);
    assert!(matches!(member.seek(&foreign, 0), Err(LogError::NotOwner { .. })));
    assert!(matches!(member.pause(std::slice::from_ref(&foreign)), Err(LogError::NotOwner { .. })));
}

pub fn groups_are_described_altered_and_deleted(subject: &mut dyn Subject) {
    let topic = create(subject, "groups", 2);
    put(subject, &at(&topic, 0), 1, &["a", "b"]);
    let (name, admin) = (subject.name("groups"), subject.log().admin());
    let nothing = admin.describe_group(&name).unwrap();
    assert!(nothing.members.is_empty() && nothing.committed.is_empty());
    let mut consumer = member(subject, "groups", &[&topic]);
    poll_until(&mut *consumer, |all| !all.assigned.is_empty());
    consumer.commit(&[(at(&topic, 0), 1)]).unwrap();
    let described = admin.describe_group(&name).unwrap();
    assert_eq!(described.members.len(), 1);
    assert_eq!(described.members[0].1, [at(&topic, 0), at(&topic, 1)]);
    assert_eq!(described.committed, [(at(&topic, 0), 1)]);
    assert!(admin.list_groups().unwrap().contains(&name));
    assert!(admin.alter_offsets(&name, &[(at(&topic, 0), 0)]).is_err(), "it has a member");
    assert!(admin.delete_group(&name).is_err(), "it has a member");
    consumer.close().unwrap();
    admin.alter_offsets(&name, &[(at(&topic, 0), 2), (at(&topic, 1), 0)]).unwrap();
    assert_eq!(admin.describe_group(&name).unwrap().committed, [(at(&topic, 0), 2), (at(&topic, 1), 0)]);
    let beyond = admin.alter_offsets(&name, &[(at(&topic, 0), 99)]);
    assert!(matches!(beyond, Err(LogError::OffsetOutOfRange { .. })), "{beyond:?}");
    admin.delete_group(&name).unwrap();
    assert!(!admin.list_groups().unwrap().contains(&name));
    assert!(admin.describe_group(&name).unwrap().committed.is_empty());
}
