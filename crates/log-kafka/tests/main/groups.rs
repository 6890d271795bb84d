//! What groups do beyond the contract: classic groups take everything away at once, a named instance comes back unnoticed, and members say
//! where they can be asked.

use std::time::{Duration, Instant};

use vigie_log::{Log, Member, MemberConfig, TopicSpec};
use vigie_log_kafka::{KafkaConfig, KafkaLog, MembershipMode};

use crate::kafka::{Cluster, one_node, unique};
use crate::trouble::{at, poll_until, producer};

const PATIENCE: Duration = Duration::from_secs(60);

fn log(cluster: &Cluster, membership: MembershipMode, instance: Option<&str>) -> KafkaLog {
    let instance_id = instance.map(str::to_owned);
    KafkaLog::open(KafkaConfig { membership, instance_id, ..cluster.config() }).unwrap()
}

fn settle(members: &mut [Box<dyn Member>], done: impl Fn(&[Box<dyn Member>]) -> bool) {
    let start = Instant::now();
    while !done(members) {
        assert!(
            start.elapsed() < PATIENCE,
            "{:?}",
            members.iter().map(|m| m.assignment()).collect::<Vec<_>>()
        );
        for member in members.iter_mut() {
            member.poll(Duration::from_millis(10)).unwrap();
        }
    }
}

#[test]
fn a_classic_member_commits_what_is_taken_from_it_before_anybody_else_has_it() {
    let Some(cluster) = one_node() else { return };
    let log = log(&cluster, MembershipMode::Classic, None);
    let (topic, group) = (unique("eager"), unique("eager-group"));
    log.admin().create_topic(&TopicSpec::new(&topic, 2)).unwrap();
    let mut first = log.member(MemberConfig::new(&group, [&topic])).unwrap();
    poll_until(&mut *first, |all| all.assigned.len() == 2);
    let mut second = log.member(MemberConfig::new(&group, [&topic])).unwrap();
    let start = Instant::now();
    let revoked = loop {
        assert!(start.elapsed() < PATIENCE);
        let polled = first.poll(Duration::from_millis(10)).unwrap();
        if !polled.revoked.is_empty() {
            break polled.revoked;
        }
        assert!(second.poll(Duration::from_millis(10)).unwrap().assigned.is_empty());
    };
    assert_eq!(revoked.len(), 2, "classic groups take everything away at once");
    assert_eq!(first.assignment().len(), 2, "still owned until the next poll");
    let mut writer = producer(&log, &unique("eager-writer"));
    writer.begin().unwrap();
    writer.add_offsets(&first.membership(), &[(at(&topic, 0), 5), (at(&topic, 1), 6)]).unwrap();
    writer.commit().unwrap();
    assert!(second.poll(Duration::from_millis(50)).unwrap().assigned.is_empty());
    let mut members = vec![first, second];
    settle(&mut members, |members| members.iter().all(|member| member.assignment().len() == 1));
    let committed = log.admin().describe_group(&group).unwrap().committed;
    assert_eq!(committed, [(at(&topic, 0), 5), (at(&topic, 1), 6)]);
}

#[test]
fn a_named_instance_that_restarts_keeps_its_partitions_and_nobody_notices() {
    let Some(cluster) = one_node() else { return };
    for membership in [MembershipMode::Classic, MembershipMode::Consumer] {
        let (topic, group) = (unique("static"), unique("static-group"));
        let logs = [log(&cluster, membership, Some("a")), log(&cluster, membership, Some("b"))];
        logs[0].admin().create_topic(&TopicSpec::new(&topic, 4)).unwrap();
        let join = |log: &KafkaLog| log.member(MemberConfig::new(&group, [&topic])).unwrap();
        let mut members: Vec<_> = logs.iter().map(join).collect();
        settle(&mut members, |members| members.iter().all(|member| member.assignment().len() == 2));
        let before = members[0].assignment();
        let mut stays = members.pop().unwrap();
        drop(members);
        let mut back = join(&logs[0]);
        let polled = poll_until(&mut *back, |all| !all.assigned.is_empty());
        let mut assigned = polled.assigned;
        assigned.sort();
        assert_eq!(assigned, before, "{membership:?}");
        let polled = stays.poll(Duration::from_millis(300)).unwrap();
        assert!(polled.assigned.is_empty() && polled.revoked.is_empty(), "{membership:?}: {polled:?}");
    }
}

#[test]
fn members_say_where_they_can_be_asked() {
    let Some(cluster) = one_node() else { return };
    for membership in [MembershipMode::Classic, MembershipMode::Consumer] {
        let log = log(&cluster, membership, None);
        let (topic, group) = (unique("asked"), unique("asked-group"));
        log.admin().create_topic(&TopicSpec::new(&topic, 2)).unwrap();
        let join = |endpoint: Option<(String, u16)>| {
            log.member(MemberConfig { endpoint, ..MemberConfig::new(&group, [&topic]) }).unwrap()
        };
        let mut members =
            vec![join(Some((String::from("a.example"), 80))), join(Some((String::from("::1"), 8080)))];
        settle(&mut members, |members| members.iter().all(|member| member.assignment().len() == 1));
        let owned: Vec<_> = members.iter().map(|member| member.assignment()).collect();
        let start = Instant::now();
        let mut found = members[0].endpoints().unwrap();
        // What the broker tells of a member is as of its last heartbeat.
        while found.iter().map(|endpoint| endpoint.active.len()).sum::<usize>() < 2 {
            assert!(start.elapsed() < PATIENCE, "{found:?}");
            members.iter_mut().for_each(|member| drop(member.poll(Duration::from_millis(20)).unwrap()));
            found = members[0].endpoints().unwrap();
        }
        found.sort_by_key(|endpoint| endpoint.port);
        let places: Vec<_> = found.iter().map(|endpoint| (endpoint.host.as_str(), endpoint.port)).collect();
        assert_eq!(places, [("a.example", 80), ("::1", 8080)]);
        assert_eq!(found.into_iter().map(|endpoint| endpoint.active).collect::<Vec<_>>(), owned);
    }
}
