//! Rules about records and transactions.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::{
    PATIENCE, Subject, at, batch, committed, create, member, poll_until, producer, put, rows, text, values,
};
use crate::{BatchBuilder, Header, LogError, MemberConfig, Span, TopicPartition, read_spans};

pub fn order_is_kept_within_a_partition(subject: &mut dyn Subject) {
    let topic = create(subject, "order", 2);
    for i in 0..20 {
        put(subject, &at(&topic, i % 2), 1, &[&format!("{i}a"), &format!("{i}b")]);
    }
    for partition in 0..2 {
        let expect: Vec<String> =
            (0..20).filter(|i| i % 2 == partition).flat_map(|i| [format!("{i}a"), format!("{i}b")]).collect();
        assert_eq!(values(subject, &at(&topic, partition)), expect);
    }
}

pub fn offsets_increase_strictly(subject: &mut dyn Subject) {
    let topic = create(subject, "offsets", 1);
    let to = at(&topic, 0);
    assert_eq!(put(subject, &to, 1, &["a", "b", "c"]), 0);
    let second = put(subject, &to, 1, &["d"]);
    assert!(second >= 3);
    let mut producer = producer(subject, None);
    producer.begin().unwrap();
    producer.append(&to, &mut batch(&["lost"])).unwrap();
    producer.abort().unwrap();
    put(subject, &to, 1, &["e", "f"]);
    let offsets: Vec<_> = rows(subject, &to).into_iter().map(|(offset, _, _)| offset).collect();
    assert_eq!(offsets.len(), 6);
    assert!(offsets.windows(2).all(|pair| pair[0] < pair[1]), "{offsets:?}");
    let ends = subject.log().admin().offsets(&topic).unwrap();
    assert_eq!(ends[0].earliest, 0);
    assert!(ends[0].latest > offsets[5]);
}

pub fn everything_in_a_record_survives(subject: &mut dyn Subject) {
    let topic = create(subject, "survives", 1);
    let to = at(&topic, 0);
    let big = vec![7_u8; 300_000];
    let headers = [
        Header { name: "trace", value: Some(b"1") },
        Header { name: "trace", value: Some(b"2") },
        Header { name: "empty", value: Some(b"") },
        Header { name: "clé", value: None },
    ];
    let mut builder = BatchBuilder::new();
    builder.push(1_500_000_000_123, Some(b"key"), Some(b"value"), &headers);
    builder.push(subject.smallest_timestamp(), None, Some(b""), &[]);
    builder.push(1, Some(b""), None, &headers[..1]);
    builder.push(1_400_000_000_000, Some(&[0, 255, 128]), Some(&big), &[]);
    let mut producer = producer(subject, None);
    producer.begin().unwrap();
    producer.append(&to, &mut builder).unwrap();
    assert!(builder.is_empty(), "append drains the builder");
    producer.commit().unwrap();
    let mut reader = subject.log().reader(std::slice::from_ref(&to)).unwrap();
    let start = Instant::now();
    let mut seen = 0;
    while seen < 4 {
        assert!(start.elapsed() < PATIENCE);
        for fetched in reader.poll(Duration::from_millis(100)).unwrap() {
            for record in fetched.batch.iter() {
                let found: Vec<_> = record.headers.iter().collect();
                match seen {
                    0 => {
                        assert_eq!(record.timestamp, 1_500_000_000_123);
                        assert_eq!((record.key, record.value), (Some(&b"key"[..]), Some(&b"value"[..])));
                        assert_eq!(found, headers);
                    }
                    1 => {
                        assert_eq!(record.timestamp, subject.smallest_timestamp());
                        assert_eq!((record.key, record.value), (None, Some(&b""[..])));
                        assert!(found.is_empty());
                    }
                    2 => {
                        assert_eq!((record.timestamp, record.key, record.value), (1, Some(&b""[..]), None));
                        assert_eq!(found, headers[..1]);
                    }
                    _ => {
                        assert_eq!(record.timestamp, 1_400_000_000_000);
                        assert_eq!(record.key, Some(&[0, 255, 128][..]));
                        assert_eq!(record.value, Some(&big[..]));
                    }
                }
                seen += 1;
            }
        }
    }
}

pub fn what_is_there_is_read_once_from_here_to_there(subject: &mut dyn Subject) {
    let topic = create(subject, "spans", 2);
    for round in 0..5 {
        put(subject, &at(&topic, 0), 1, &[&format!("k{round}=v"), "gone="]);
        let mut aborted = producer(subject, None);
        aborted.begin().unwrap();
        aborted.append(&at(&topic, 0), &mut batch(&["lost"])).unwrap();
        aborted.abort().unwrap();
    }
    let log = subject.log();
    let spans = Span::all(&*log.admin(), &topic).unwrap();
    assert_eq!(spans.len(), 2);
    assert!(spans[1].is_empty() && !spans[0].is_empty());
    // Written later, so not part of what was there.
    put(subject, &at(&topic, 0), 1, &["late=v"]);
    put(subject, &at(&topic, 1), 1, &["late=v"]);
    let read = |spans: &[Span]| {
        let mut found: Vec<(i64, String, bool)> = Vec::new();
        let outcome = read_spans(&*log, spans, |_, record| {
            found.push((record.offset, text(record.key).unwrap(), record.value.is_some()));
            ControlFlow::<()>::Continue(())
        });
        assert_eq!(outcome.unwrap(), None);
        found
    };
    let all = read(&spans);
    let keys: Vec<_> = all.iter().map(|(_, key, _)| key.as_str()).collect();
    assert_eq!(keys, ["k0", "gone", "k1", "gone", "k2", "gone", "k3", "gone", "k4", "gone"]);
    assert!(all.iter().all(|(_, key, there)| *there == (key != "gone")), "tombstones are seen: {all:?}");
    // From one record up to, and without, another; a span that ends in what was aborted ends all the same.
    let part = Span { from: all[1].0, to: all[5].0, ..spans[0].clone() };
    assert_eq!(read(std::slice::from_ref(&part)), all[1..5]);
    let tail = Span { from: all[9].0 + 1, ..spans[0].clone() };
    assert_eq!(read(&[tail]), []);
    assert_eq!(read(&[spans[0].clone().last(1_000)]), all);
    let third = read_spans(&*log, &spans, |_, record| {
        if record.offset == all[2].0 {
            ControlFlow::Break(text(record.key))
        } else {
            ControlFlow::Continue(())
        }
    });
    assert_eq!(third.unwrap(), Some(Some(String::from("k1"))));
    assert_eq!(Span::all_if_there(&*log.admin(), &subject.name("nowhere")).unwrap(), []);
    assert!(matches!(Span::all(&*log.admin(), &subject.name("nowhere")), Err(LogError::UnknownTopic { .. })));
}

pub fn open_and_aborted_transactions_are_hidden(subject: &mut dyn Subject) {
    let topic = create(subject, "hidden", 2);
    let mut open = producer(subject, Some("hidden-open"));
    open.begin().unwrap();
    open.append(&at(&topic, 0), &mut batch(&["open"])).unwrap();
    open.append(&at(&topic, 1), &mut batch(&["open"])).unwrap();
    let mut aborted = producer(subject, Some("hidden-aborted"));
    aborted.begin().unwrap();
    aborted.append(&at(&topic, 0), &mut batch(&["aborted"])).unwrap();
    aborted.abort().unwrap();
    assert_eq!(values(subject, &at(&topic, 0)), [""; 0]);
    open.commit().unwrap();
    drop(producer(subject, None));
    for partition in 0..2 {
        let start = Instant::now();
        while values(subject, &at(&topic, partition)) != ["open"] {
            assert!(start.elapsed() < PATIENCE);
        }
    }
    let mut dropped = producer(subject, Some("hidden-dropped"));
    dropped.begin().unwrap();
    dropped.append(&at(&topic, 0), &mut batch(&["dropped"])).unwrap();
    drop(dropped);
    assert_eq!(values(subject, &at(&topic, 0)), ["open"]);
}

pub fn records_and_offsets_appear_together(subject: &mut dyn Subject) {
    let (source, target) = (create(subject, "together-in", 1), create(subject, "together-out", 2));
    put(subject, &at(&source, 0), 1, &["a", "b"]);
    let group = subject.name("together");
    let mut member = member(subject, "together", &[&source]);
    poll_until(&mut *member, |all| !all.batches.is_empty());
    let admin = subject.log().admin();
    let mut producer = producer(subject, Some("together"));

    producer.begin().unwrap();
    producer.append(&at(&target, 0), &mut batch(&["lost"])).unwrap();
    producer.add_offsets(&member.membership(), &[(at(&source, 0), 2)]).unwrap();
    producer.abort().unwrap();
    assert_eq!(committed(&*admin, &group, &at(&source, 0)), None);
    assert_eq!(values(subject, &at(&target, 0)), [""; 0]);

    producer.begin().unwrap();
    producer.append(&at(&target, 1), &mut batch(&["A", "B"])).unwrap();
    producer.append(&at(&target, 0), &mut batch(&["C"])).unwrap();
    producer.add_offsets(&member.membership(), &[(at(&source, 0), 2)]).unwrap();
    let bases = producer.commit().unwrap();
    assert_eq!(bases.iter().map(|(to, _)| to.partition).collect::<Vec<_>>(), [1, 0], "in order of append");
    assert_eq!(committed(&*admin, &group, &at(&source, 0)), Some(2));
    assert_eq!(member.committed(&[at(&source, 0)]).unwrap(), [Some(2)]);
    assert_eq!(values(subject, &at(&target, 1)), ["A", "B"]);
    assert_eq!(values(subject, &at(&target, 0)), ["C"]);
}

pub fn a_failed_transaction_leaves_nothing(subject: &mut dyn Subject) {
    let (source, target) = (create(subject, "fails-in", 1), create(subject, "fails-out", 1));
    let mut producer = producer(subject, Some("fails"));
    let stranger = {
        let mut member = member(subject, "fails", &[&source]);
        poll_until(&mut *member, |all| !all.assigned.is_empty());
        member.membership()
    };
    // The member is gone: its offsets must be refused, and the records with them.
    producer.begin().unwrap();
    producer.append(&at(&target, 0), &mut batch(&["lost"])).unwrap();
    let refused =
        producer.add_offsets(&stranger, &[(at(&source, 0), 0)]).and_then(|()| producer.commit().map(drop));
    assert!(matches!(refused, Err(LogError::NotOwner { .. })), "{refused:?}");
    producer.abort().unwrap();
    assert_eq!(values(subject, &at(&target, 0)), [""; 0]);
    producer.begin().unwrap();
    producer.append(&at(&target, 0), &mut batch(&["kept"])).unwrap();
    producer.commit().unwrap();
    assert_eq!(values(subject, &at(&target, 0)), ["kept"]);
}

pub fn an_older_producer_is_fenced(subject: &mut dyn Subject) {
    let topic = create(subject, "fenced", 1);
    let mut older = producer(subject, Some("fenced"));
    older.begin().unwrap();
    older.append(&at(&topic, 0), &mut batch(&["older"])).unwrap();
    let mut newer = producer(subject, Some("fenced"));
    let mut other = producer(subject, Some("fenced-other"));
    let refused = older.commit();
    assert!(
        matches!(&refused, Err(LogError::Fenced { transactional_id }) if *transactional_id == subject.name("fenced")),
        "{refused:?}"
    );
    for producer in [&mut newer, &mut other] {
        producer.begin().unwrap();
        producer.append(&at(&topic, 0), &mut batch(&["newer"])).unwrap();
        producer.commit().unwrap();
    }
    assert_eq!(values(subject, &at(&topic, 0)), ["newer", "newer"]);
}

pub fn calls_in_the_wrong_order_are_refused(subject: &mut dyn Subject) {
    let topic = create(subject, "wrong-order", 1);
    let mut producer = producer(subject, Some("wrong-order"));
    let refused = |outcome: Result<(), LogError>| {
        assert!(matches!(outcome, Err(LogError::InvalidState(_))), "{outcome:?}");
    };
    refused(producer.append(&at(&topic, 0), &mut batch(&["a"])));
    refused(producer.commit().map(drop));
    refused(producer.abort());
    producer.begin().unwrap();
    refused(producer.begin());
    assert_eq!(producer.commit().unwrap(), [], "an empty transaction");
    refused(producer.commit().map(drop));
    assert_eq!(values(subject, &at(&topic, 0)), [""; 0]);
}

pub fn transactions_of_many_threads_all_arrive(subject: &mut dyn Subject) {
    const THREADS: u32 = 4;
    const EACH: u32 = 25;
    let topic = create(subject, "threads", 3);
    let log = subject.log();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (log, topic) = (&log, &topic);
            scope.spawn(move || {
                let mut producer = log.producer(crate::ProducerConfig::default()).unwrap();
                for i in 0..EACH {
                    producer.begin().unwrap();
                    for partition in 0..3 {
                        let value = format!("{thread} {i:03}");
                        producer.append(&at(topic, partition), &mut batch(&[&value, &value])).unwrap();
                    }
                    let bases = producer.commit().unwrap();
                    assert_eq!(bases.len(), 3);
                }
            });
        }
    });
    for partition in 0..3 {
        let found = values(subject, &at(&topic, partition));
        assert_eq!(found.len() as u32, 2 * THREADS * EACH);
        assert!(found.chunks(2).all(|pair| pair[0] == pair[1]), "a batch stays in one piece");
        for thread in 0..THREADS {
            let of_thread: Vec<_> = found.iter().filter(|v| v.starts_with(&format!("{thread} "))).collect();
            assert!(of_thread.is_sorted(), "the order of one producer is kept");
        }
    }
}

pub fn a_reader_seeks_and_is_moved_to_the_nearer_end(subject: &mut dyn Subject) {
    let topic = create(subject, "seek", 1);
    let from = at(&topic, 0);
    put(subject, &from, 1, &["a", "b", "c"]);
    put(subject, &from, 1, &["d"]);
    let mut reader = subject.log().reader(std::slice::from_ref(&from)).unwrap();
    let mut read_from = |offset: i64| -> Vec<String> {
        reader.seek(&from, offset).unwrap();
        let asked = reader.position(&from).unwrap();
        let mut found = Vec::new();
        loop {
            let polled = reader.poll(Duration::from_millis(300)).unwrap();
            if polled.is_empty() {
                return found;
            }
            for fetched in polled {
                assert!(fetched.end >= 4);
                let wanted = fetched.batch.iter().filter(|record| record.offset >= asked);
                found.extend(wanted.map(|record| text(record.value).unwrap()));
            }
        }
    };
    assert_eq!(read_from(0), ["a", "b", "c", "d"]);
    assert_eq!(read_from(1), ["b", "c", "d"]);
    assert_eq!(read_from(3), ["d"]);
    assert_eq!(read_from(-7), ["a", "b", "c", "d"]);
    assert_eq!(read_from(1_000), [""; 0]);
    let other = TopicPartition::new("not-asked-for", 0);
    assert!(reader.seek(&other, 0).is_err());
    assert_eq!(reader.position(&other), None);
}

pub fn a_position_never_passes_a_record_that_was_not_handed_out(subject: &mut dyn Subject) {
    let topic = create(subject, "position", 1);
    let from = at(&topic, 0);
    let mut reader = subject.log().reader(std::slice::from_ref(&from)).unwrap();
    let mut member = member(subject, "position", &[&topic]);
    poll_until(&mut *member, |all| !all.assigned.is_empty());
    let mut aborting = producer(subject, None);
    for round in 0..8 {
        // Both know that they are at the end, and are told so in the log's own way.
        let end = subject.log().admin().offsets(&topic).unwrap()[0].latest;
        let start = Instant::now();
        while reader.position(&from).unwrap() < end || member.position(&from).is_some_and(|at| at < end) {
            assert!(start.elapsed() < PATIENCE, "the end {end} of {from} was never reached");
            assert!(reader.poll(Duration::from_millis(20)).unwrap().is_empty());
            assert!(member.poll(Duration::from_millis(20)).unwrap().batches.is_empty());
        }
        assert!(reader.poll(Duration::from_millis(150)).unwrap().is_empty());
        assert!(member.poll(Duration::from_millis(150)).unwrap().batches.is_empty());
        if round % 3 == 2 {
            aborting.begin().unwrap();
            aborting.append(&from, &mut batch(&["aborted", "aborted"])).unwrap();
            aborting.abort().unwrap();
        }
        let offset = put(subject, &from, 1, &[&format!("{round}")]);
        let (mut read, mut polled) = (false, false);
        while !(read && polled) {
            assert!(start.elapsed() < PATIENCE, "record {offset} of {from} was never handed out");
            let reached = reader.position(&from).unwrap();
            assert!(read || reached <= offset, "a reader's position {reached} passes record {offset}");
            let reached = member.position(&from).unwrap_or(0);
            assert!(polled || reached <= offset, "a member's position {reached} passes record {offset}");
            let came = reader.poll(Duration::from_millis(20)).unwrap();
            read |= came.iter().any(|fetched| fetched.batch.last_offset() == offset);
            let came = member.poll(Duration::from_millis(20)).unwrap().batches;
            polled |= came.iter().any(|fetched| fetched.batch.last_offset() == offset);
        }
        assert!(reader.position(&from).unwrap() > offset);
    }
}

pub fn a_waiting_reader_wakes_on_a_commit(subject: &mut dyn Subject) {
    let topic = create(subject, "wakes", 1);
    let from = at(&topic, 0);
    let mut reader = subject.log().reader(std::slice::from_ref(&from)).unwrap();
    assert!(reader.poll(Duration::from_millis(20)).unwrap().is_empty(), "it does not wait for ever");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let start = Instant::now();
            while start.elapsed() < PATIENCE {
                if let Some(fetched) = reader.poll(PATIENCE).unwrap().first() {
                    return (start.elapsed(), fetched.batch.len());
                }
            }
            (PATIENCE, 0)
        });
        std::thread::sleep(Duration::from_millis(50));
        put(subject, &from, 1, &["a"]);
        let (waited, records) = waiting.join().unwrap();
        assert_eq!(records, 1);
        assert!(waited < PATIENCE / 2, "it slept on for {waited:?}");
    });
}

pub fn a_poll_is_bounded(subject: &mut dyn Subject) {
    let topic = create(subject, "bounded", 2);
    let value = "x".repeat(50_000);
    for i in 0..40 {
        put(subject, &at(&topic, i % 2), 1, &[&value]);
    }
    let mut config = MemberConfig::new(subject.name("bounded"), [&topic]);
    config.max_poll_bytes = 200_000;
    let mut member = subject.log().member(config).unwrap();
    let start = Instant::now();
    let (mut records, mut seen): (usize, [usize; 2]) = (0, [0; 2]);
    // On a log across a network one partition may arrive before the other; once both are there, they share.
    let mut both: Option<[usize; 2]> = None;
    while records < 40 {
        assert!(start.elapsed() < PATIENCE, "{records} of 40 came");
        let polled = member.poll(Duration::from_millis(50)).unwrap();
        let bytes: usize = polled.batches.iter().map(|fetched| fetched.batch.bytes()).sum();
        assert!(bytes <= 400_000, "a poll for 200,000 bytes brought {bytes}");
        for fetched in polled.batches {
            records += fetched.batch.len();
            seen[fetched.partition.partition as usize] += fetched.batch.len();
        }
        if let Some([a, b]) = both
            && seen.iter().all(|seen| *seen < 20)
        {
            let apart = (seen[0] - a).abs_diff(seen[1] - b);
            assert!(apart <= 10, "one partition is starved: {seen:?} since {a}, {b}");
        } else if both.is_none() && seen.iter().all(|seen| *seen > 0) {
            both = Some(seen);
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

pub fn restart_keeps_everything(subject: &mut dyn Subject) {
    let topic = create(subject, "restart", 2);
    let group = subject.name("restart");
    put(subject, &at(&topic, 0), 1, &["a=1", "b=2"]);
    let mut consumer = member(subject, "restart", &[&topic]);
    poll_until(&mut *consumer, |all| !all.batches.is_empty());
    consumer.commit(&[(at(&topic, 0), 1)]).unwrap();
    let mut open = producer(subject, Some("restart"));
    open.begin().unwrap();
    open.append(&at(&topic, 1), &mut batch(&["open"])).unwrap();
    drop(open);
    drop(consumer);
    let before = subject.log().admin().describe_topic(&topic).unwrap();
    for round in 0..3 {
        subject.restart();
        let admin = subject.log().admin();
        assert!(admin.list_topics(false).unwrap().contains(&topic));
        assert_eq!(admin.describe_topic(&topic).unwrap().config, before.config);
        assert_eq!(admin.describe_topic(&topic).unwrap().partitions.len(), 2);
        assert_eq!(committed(&*admin, &group, &at(&topic, 0)), Some(1));
        let found = rows(subject, &at(&topic, 0));
        assert_eq!(found.len(), 2 + round, "{found:?}");
        assert_eq!(found[1].1.as_deref(), Some("b"));
        assert_eq!(values(subject, &at(&topic, 1)), [""; 0]);
        let base = put(subject, &at(&topic, 0), 1, &[&format!("round={round}")]);
        assert!(base > found.last().unwrap().0, "offsets go on");
    }
    let mut consumer = member(subject, "restart", &[&topic]);
    let polled = poll_until(&mut *consumer, |all| !all.batches.is_empty());
    let first = polled.batches[0].batch.iter().find(|record| record.offset >= 1).unwrap();
    assert_eq!(text(first.key).as_deref(), Some("b"), "the group goes on where it was");
}

pub fn a_clock_set_back_does_no_harm(subject: &mut dyn Subject) {
    if !subject.set_wall_clock(1_700_000_000_000) {
        return;
    }
    let topic = create(subject, "set-back", 1);
    let first = put(subject, &at(&topic, 0), 1_700_000_000_000, &["a"]);
    subject.set_wall_clock(1_000_000_000_000);
    let second = put(subject, &at(&topic, 0), 1_000_000_000_000, &["b"]);
    assert!(second > first);
    subject.maintain(1_000_000_000_000);
    assert_eq!(values(subject, &at(&topic, 0)), ["a", "b"]);
    let newest = subject.log().admin().describe_topic(&topic).unwrap().partitions[0].latest_timestamp;
    assert!(newest.is_none_or(|newest| newest == 1_000_000_000_000), "timestamps stay as given");
}
