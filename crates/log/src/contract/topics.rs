//! Rules about topics, retention and compaction.

use std::time::{Duration, Instant};

use super::{
    PATIENCE, Row, Subject, at, batch, committed, create, create_with, member, poll_until, producer, put,
    rows, text, values,
};
use crate::{LogError, TopicSpec};

const DAY: i64 = 24 * 60 * 60 * 1000;

pub fn topics_are_created_described_and_deleted(subject: &mut dyn Subject) {
    let admin = subject.log().admin();
    // Longer than the record written below is old, by the wall clock: a log may remove what is older at any moment.
    let topic = create_with(subject, TopicSpec::new("described", 3).with("retention.ms", "4000000000000"));
    let internal = create(subject, "app-store-changelog", 1);
    let twice = admin.create_topic(&TopicSpec::new(&topic, 1));
    assert!(matches!(twice, Err(LogError::TopicExists { .. })), "{twice:?}");
    put(subject, &at(&topic, 1), 77, &["a"]);
    let described = admin.describe_topic(&topic).unwrap();
    assert_eq!(described.partitions.len(), 3);
    assert_eq!(described.config.get("retention.ms").map(String::as_str), Some("4000000000000"));
    assert_eq!(
        described.config.get("cleanup.policy").map(String::as_str),
        Some("delete"),
        "defaults included"
    );
    assert_eq!(described.partitions[1].offsets.earliest, 0);
    assert!(described.partitions[1].offsets.latest >= 1);
    assert!(described.partitions[1].bytes.is_none_or(|bytes| bytes > 0));
    assert!(described.partitions[1].latest_timestamp.is_none_or(|timestamp| timestamp == 77));
    assert_eq!(admin.partition_count(&topic).unwrap(), 3);
    let shown = admin.list_topics(false).unwrap();
    assert!(shown.contains(&topic) && !shown.contains(&internal) && shown.is_sorted());
    assert!(admin.list_topics(true).unwrap().contains(&internal));
    let mut consumer = member(subject, "described", &[&topic]);
    poll_until(&mut *consumer, |all| !all.batches.is_empty());
    consumer.commit(&[(at(&topic, 1), 1)]).unwrap();
    admin.delete_topic(&topic).unwrap();
    for gone in [
        admin.delete_topic(&topic),
        admin.describe_topic(&topic).map(drop),
        subject.log().reader(&[at(&topic, 0)]).map(drop),
    ] {
        assert!(matches!(gone, Err(LogError::UnknownTopic { .. })), "{gone:?}");
    }
    let polled = poll_until(&mut *consumer, |all| all.lost.len() == 3);
    assert!(polled.batches.is_empty() && polled.assigned.is_empty());
    drop(consumer);
    assert_eq!(committed(&*admin, &subject.name("described"), &at(&topic, 1)), None);
    create(subject, "described", 1);
    assert_eq!(values(subject, &at(&topic, 0)), [""; 0], "a topic made again is empty");
    assert_eq!(admin.offsets(&topic).unwrap()[0].latest, 0);
}

pub fn partitions_can_be_added(subject: &mut dyn Subject) {
    let topic = create(subject, "grows", 1);
    put(subject, &at(&topic, 0), 1, &["a"]);
    let mut consumer = member(subject, "grows", &[&topic]);
    poll_until(&mut *consumer, |all| all.assigned.len() == 1);
    let admin = subject.log().admin();
    admin.add_partitions(&topic, 3).unwrap();
    assert_eq!(admin.partition_count(&topic).unwrap(), 3);
    assert!(matches!(admin.add_partitions(&topic, 2), Err(LogError::InvalidTopic { .. })));
    put(subject, &at(&topic, 2), 1, &["b"]);
    poll_until(&mut *consumer, |all| all.assigned.contains(&at(&topic, 2)));
    assert_eq!(values(subject, &at(&topic, 0)), ["a"]);
    subject.restart();
    assert_eq!(values(subject, &at(&topic, 2)), ["b"]);
}

pub fn bad_topics_are_refused(subject: &mut dyn Subject) {
    let admin = subject.log().admin();
    for spec in [
        TopicSpec::new("", 1),
        TopicSpec::new("with space", 1),
        TopicSpec::new("x".repeat(250), 1),
        TopicSpec::new(subject.name("no-partition"), 0),
        TopicSpec::new(subject.name("bad-policy"), 1).with("cleanup.policy", "shred"),
        TopicSpec::new(subject.name("bad-number"), 1).with("retention.ms", "a week"),
        TopicSpec::new(subject.name("bad-name"), 1).with("retention.minutes", "5"),
    ] {
        let refused = admin.create_topic(&spec);
        assert!(matches!(refused, Err(LogError::InvalidTopic { .. })), "{spec:?}: {refused:?}");
    }
}

pub fn errors_are_told_apart(subject: &mut dyn Subject) {
    let topic = create_with(subject, TopicSpec::new("errors", 1).with("max.message.bytes", "1000"));
    let mut producer = producer(subject, Some("errors"));
    // Letters in no order: a log may compress before it measures.
    let mut state = 7_u32;
    let large: String = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + (state >> 24) as u8 % 26)
    })
    .take(2_000)
    .collect();

    producer.begin().unwrap();
    let mut builder = batch(&["small", &large]);
    let too_large =
        producer.append(&at(&topic, 0), &mut builder).and_then(|()| producer.commit().map(drop)).unwrap_err();
    assert!(matches!(too_large, LogError::TooLarge { limit: 1000, .. }), "{too_large:?}");
    producer.abort().unwrap();
    producer.begin().unwrap();
    let nowhere = at(&subject.name("nowhere"), 0);
    let unknown =
        producer.append(&nowhere, &mut batch(&["a"])).and_then(|()| producer.commit().map(drop)).unwrap_err();
    assert!(matches!(unknown, LogError::UnknownTopic { .. }), "{unknown:?}");
    producer.abort().unwrap();
    producer.begin().unwrap();
    let no_partition = producer
        .append(&at(&topic, 5), &mut batch(&["a"]))
        .and_then(|()| producer.commit().map(drop))
        .unwrap_err();
    assert!(matches!(no_partition, LogError::UnknownPartition { partition: 5, .. }), "{no_partition:?}");
    producer.abort().unwrap();
    let config = crate::MemberConfig::new(subject.name("errors"), [subject.name("nowhere")]);
    assert!(matches!(subject.log().member(config).map(drop), Err(LogError::UnknownTopic { .. })));
    producer.begin().unwrap();
    producer.append(&at(&topic, 0), &mut batch(&["fits"])).unwrap();
    producer.commit().unwrap();
    assert_eq!(values(subject, &at(&topic, 0)), ["fits"], "nothing is left of what failed");

    let mut messages = vec![too_large.to_string(), unknown.to_string(), no_partition.to_string()];
    assert!(
        messages.iter().all(|message| message.contains(&topic) || message.contains("nowhere")),
        "{messages:?}"
    );
    if let Some(error) = subject.unreachable() {
        assert!(matches!(error, LogError::Unreachable { .. }), "{error:?}");
        messages.push(error.to_string());
    }
    if let Some(error) = subject.not_authorised() {
        assert!(matches!(error, LogError::NotAuthorised { .. }), "{error:?}");
        messages.push(error.to_string());
    }
    let count = messages.len();
    messages.sort();
    messages.dedup();
    assert_eq!(messages.len(), count, "each says something of its own");
}

pub fn compaction_keeps_the_last_value(subject: &mut dyn Subject) {
    let spec = TopicSpec::compacted("compacted", 1)
        .with("delete.retention.ms", "1000")
        .with("min.cleanable.dirty.ratio", "0");
    let topic = create_with(subject, spec);
    let to = at(&topic, 0);
    for batch in [&["a=1", "b=1"][..], &["a=2", "c=1"], &["b="], &["keyless", "d=1", "d=2"], &["a=3"]] {
        put(subject, &to, 5, batch);
    }
    let before = rows(subject, &to);
    let now = 10 * DAY;
    if !subject.maintain(now) {
        return;
    }
    let row = |offset, key: &str, value: Option<&str>| -> Row {
        (offset, Some(key.to_owned()), value.map(str::to_owned))
    };
    let last = [
        row(3, "c", Some("1")),
        row(4, "b", None),
        (5, None, Some(String::from("keyless"))),
        row(7, "d", Some("2")),
        row(8, "a", Some("3")),
    ];
    let found = rows(subject, &to);
    assert_eq!(found, last, "out of {before:?}");
    assert_eq!(subject.log().admin().offsets(&topic).unwrap()[0].latest, 9);
    subject.maintain(now + 10);
    assert_eq!(rows(subject, &to), last, "the tombstone stays for those who are on their way");
    subject.maintain(now + 2_000);
    let without = rows(subject, &to);
    assert_eq!(without, [&last[..1], &last[2..]].concat(), "then it goes");
    assert_eq!(put(subject, &to, 5, &["c=2"]), 9, "offsets go on");
    subject.maintain(now + 3_000);
    subject.restart();
    assert_eq!(
        rows(subject, &to),
        [last[2].clone(), last[3].clone(), last[4].clone(), row(9, "c", Some("2"))]
    );
    // Even when the last record of all is the one that goes, its offset is not given again.
    put(subject, &to, 5, &["z="]);
    subject.maintain(now + 4_000);
    subject.maintain(now + 6_000);
    assert_eq!(rows(subject, &to).len(), 4);
    subject.restart();
    assert_eq!(put(subject, &to, 5, &["y=1"]), 11);
}

pub fn a_reader_survives_compaction_under_its_feet(subject: &mut dyn Subject) {
    let spec = TopicSpec::compacted("under-feet", 1).with("min.cleanable.dirty.ratio", "0");
    let topic = create_with(subject, spec);
    let from = at(&topic, 0);
    for i in 0..50 {
        put(subject, &from, 5, &[&format!("k{i}=1"), &format!("k{i}=2")]);
    }
    let mut reader = subject.log().reader(std::slice::from_ref(&from)).unwrap();
    let mut position = 0;
    let mut read_on = |until: i64, most_polls: usize| -> Vec<(i64, String)> {
        let mut found = Vec::new();
        let start = Instant::now();
        for _ in 0..most_polls {
            if position >= until {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "stuck at {position}");
            for fetched in reader.poll(Duration::from_millis(50)).unwrap() {
                let new = fetched.batch.iter().filter(|record| record.offset >= position);
                found.extend(new.map(|record| (record.offset, text(record.value).unwrap())));
                position = position.max(fetched.batch.last_offset() + 1);
            }
            if position < until {
                // The middle of what compaction joins into one batch.
                position = position.min(13);
                reader.seek(&from, position).unwrap();
            }
        }
        found
    };
    read_on(1_000, 1);
    if !subject.maintain(DAY) {
        return;
    }
    let kept = read_on(99, usize::MAX);
    let expect: Vec<_> =
        (13..100).filter(|offset| offset % 2 == 1).map(|offset| (offset, String::from("2"))).collect();
    assert_eq!(kept, expect);
    put(subject, &from, 5, &["k0=3", "k1=3"]);
    subject.maintain(DAY);
    assert_eq!(read_on(102, usize::MAX), [(100, String::from("3")), (101, String::from("3"))]);
    assert_eq!(rows(subject, &from).len(), 50);
}

pub fn retention_removes_the_oldest(subject: &mut dyn Subject) {
    let now = 100 * DAY;
    let by_time = create_with(subject, TopicSpec::new("by-time", 1).with("retention.ms", DAY.to_string()));
    let by_size = create_with(
        subject,
        TopicSpec::new("by-size", 1).with("retention.ms", "-1").with("retention.bytes", "5000"),
    );
    let forever = create_with(subject, TopicSpec::new("forever", 1).with("retention.ms", "-1"));
    let value = "x".repeat(1_000);
    for topic in [&by_time, &by_size, &forever] {
        for age in (0..10).rev() {
            put(subject, &at(topic, 0), now - age * DAY / 2, &[&format!("{age}"), &value]);
        }
    }
    let mut reader = subject.log().reader(&[at(&by_time, 0)]).unwrap();
    if !subject.maintain(now) {
        return;
    }
    let ends = |topic: &str| subject.log().admin().offsets(topic).unwrap()[0];
    assert_eq!((ends(&by_time).earliest, ends(&by_time).latest), (14, 20));
    assert_eq!(values(subject, &at(&by_time, 0))[0], "2");
    assert_eq!(
        reader.poll(Duration::from_millis(200)).unwrap()[0].batch.base_offset(),
        14,
        "moved to what is left"
    );
    let left = ends(&by_size);
    assert!((8..=12).contains(&left.earliest), "{left:?}");
    assert_eq!(ends(&forever).earliest, 0);
    subject.maintain(now + 50 * DAY);
    assert_eq!((ends(&by_time).earliest, ends(&by_time).latest), (20, 20));
    subject.restart();
    let ends = |topic: &str| subject.log().admin().offsets(topic).unwrap()[0];
    assert_eq!((ends(&by_time).earliest, ends(&by_time).latest), (20, 20));
    assert_eq!(put(subject, &at(&by_time, 0), now, &["again"]), 20, "offsets go on");
    assert_eq!(values(subject, &at(&by_time, 0)), ["again"]);
    assert_eq!(values(subject, &at(&forever, 0)).len(), 20);
}

pub fn records_can_be_deleted(subject: &mut dyn Subject) {
    let topic = create(subject, "deleted", 1);
    let from = at(&topic, 0);
    // A log may keep the ends of transactions at offsets of their own: so the bases are asked for, not computed.
    let bases: Vec<_> =
        (0..5).map(|i| put(subject, &from, 1, &[&format!("{i}a"), &format!("{i}b")])).collect();
    let admin = subject.log().admin();
    let middle = bases[2] + 1;
    admin.delete_records(&from, middle).unwrap();
    assert_eq!(admin.offsets(&topic).unwrap()[0].earliest, middle);
    assert_eq!(values(subject, &from), ["2b", "3a", "3b", "4a", "4b"], "from the middle of a batch on");
    admin.delete_records(&from, bases[1]).unwrap();
    let ends = admin.offsets(&topic).unwrap()[0];
    assert_eq!(ends.earliest, middle, "what is gone stays gone");
    let beyond = admin.delete_records(&from, ends.latest + 1);
    assert!(matches!(beyond, Err(LogError::OffsetOutOfRange { .. })), "{beyond:?}");
    admin.delete_records(&from, ends.latest).unwrap();
    assert_eq!(values(subject, &from), [""; 0]);
    subject.restart();
    assert_eq!(subject.log().admin().offsets(&topic).unwrap()[0].earliest, ends.latest);
    assert_eq!(put(subject, &from, 1, &["next"]), ends.latest);
}

pub fn times_are_found(subject: &mut dyn Subject) {
    let topic = create(subject, "times", 1);
    let from = at(&topic, 0);
    let admin = subject.log().admin();
    assert_eq!(admin.offset_for_time(&from, 0).unwrap(), None);
    let times = [10, 20, 20, 5, 30, 15, 40, 40, 1, 50];
    let offsets: Vec<_> = times.iter().map(|time| put(subject, &from, *time, &["a"])).collect();
    let check = |at: i64| {
        let expect = times.iter().position(|time| *time >= at).map(|index| offsets[index]);
        assert_eq!(admin.offset_for_time(&from, at).unwrap(), expect, "for time {at}");
    };
    (-1..=52).for_each(check);
    admin.delete_records(&from, offsets[7]).unwrap();
    assert_eq!(admin.offset_for_time(&from, 20).unwrap(), Some(offsets[7]));
    assert_eq!(admin.offset_for_time(&from, 45).unwrap(), Some(offsets[9]));
}
