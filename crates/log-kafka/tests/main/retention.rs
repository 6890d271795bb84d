//! What brokers remove in their own time: values that newer ones replaced, and records that are too old. Nobody can ask them to do it now, so
//! these topics are made so that it happens within seconds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use vigie_log::{BatchBuilder, Clock, Log, MemberConfig, SystemClock, TopicSpec};
use vigie_log_kafka::KafkaLog;

use crate::kafka::{one_node, unique};
use crate::trouble::{at, count, poll_until, producer, values};

const PATIENCE: Duration = Duration::from_secs(90);

fn put_at(log: &KafkaLog, topic: &str, rows: &[(i64, &str, &str)]) {
    let mut writer = producer(log, &format!("{topic}-writer"));
    // One transaction each: a broker begins a new file, which it may then work on, only between batches.
    for (timestamp, key, value) in rows {
        let mut builder = BatchBuilder::new();
        builder.push(*timestamp, Some(key.as_bytes()), Some(value.as_bytes()), &[]);
        writer.begin().unwrap();
        writer.append(&at(topic, 0), &mut builder).unwrap();
        writer.commit().unwrap();
    }
}

#[test]
fn compaction_keeps_the_last_value_and_a_reader_survives_it() {
    let Some(cluster) = one_node() else { return };
    let (log, topic) = (cluster.log(), unique("compacted"));
    let spec = TopicSpec::compacted(&topic, 1)
        .with("segment.ms", "100")
        .with("min.cleanable.dirty.ratio", "0.01")
        .with("max.compaction.lag.ms", "1000");
    log.admin().create_topic(&spec).unwrap();
    put_at(&log, &topic, &[(1_000, "a", "a1"), (2_000, "b", "b1"), (3_000, "a", "a2"), (4_000, "c", "c1")]);
    let mut reader = log.reader(&[at(&topic, 0)]).unwrap();
    put_at(&log, &topic, &[(5_000, "b", "b2"), (6_000, "a", "a3"), (9_000, "end", "end")]);
    let start = Instant::now();
    // How many of the last key are left depends on the moment: each new one begins a file that may be worked on only later.
    let others = || -> Vec<String> {
        values(&log, &at(&topic, 0)).into_iter().filter(|value| value != "end").collect()
    };
    while others() != ["c1", "b2", "a3"] {
        assert!(start.elapsed() < PATIENCE, "never compacted: {:?}", values(&log, &at(&topic, 0)));
        std::thread::sleep(Duration::from_millis(500));
        put_at(&log, &topic, &[(10_000 + start.elapsed().as_millis() as i64, "end", "end")]);
    }
    let end = log.admin().offsets(&topic).unwrap()[0].latest;
    let mut last = BTreeMap::new();
    while reader.position(&at(&topic, 0)).unwrap() < end {
        assert!(start.elapsed() < PATIENCE);
        for fetched in reader.poll(Duration::from_millis(200)).unwrap() {
            for record in fetched.batch.iter() {
                last.insert(record.key.unwrap().to_vec(), record.value.unwrap().to_vec());
            }
        }
    }
    let expect = [("a", "a3"), ("b", "b2"), ("c", "c1"), ("end", "end")];
    let expect = expect.map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec()));
    assert_eq!(last, BTreeMap::from(expect));
}

#[test]
fn who_stood_on_records_that_retention_removed_goes_on_with_what_is_left() {
    let Some(cluster) = one_node() else { return };
    let (log, topic, group) = (cluster.log(), unique("old"), unique("old-group"));
    let spec = TopicSpec::new(&topic, 1).with("retention.ms", "3600000").with("segment.ms", "100");
    log.admin().create_topic(&spec).unwrap();
    let now = SystemClock::new().now();
    put_at(&log, &topic, &[(1_000, "k", "old"), (2_000, "k", "old too")]);
    let mut member = log.member(MemberConfig::new(&group, [&topic])).unwrap();
    poll_until(&mut *member, |all| !all.assigned.is_empty());
    member.commit(&[(at(&topic, 0), 0)]).unwrap();
    drop(member);
    put_at(&log, &topic, &[(now, "k", "new"), (now + 1_000, "k", "newer")]);
    let start = Instant::now();
    while log.admin().offsets(&topic).unwrap()[0].earliest == 0 {
        assert!(start.elapsed() < PATIENCE, "nothing was removed");
        std::thread::sleep(Duration::from_millis(200));
    }
    // The end of a transaction is a record with the time of day, so that what shares a file with it stays.
    let left = values(&log, &at(&topic, 0));
    assert!(left.ends_with(&[String::from("new"), String::from("newer")]) && left[0] != "old", "{left:?}");
    let mut member = log.member(MemberConfig::new(&group, [&topic])).unwrap();
    let polled = poll_until(&mut *member, |all| count(all) >= left.len());
    assert_eq!(count(&polled), left.len());
}
