//! The publisher: acknowledgements, order, back-pressure, failures that stay alone.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use vigie_log::{
    Faults, Log, LogError, ManualClock, Message, Publisher, SimulatedLog, TopicPartition, TopicSpec,
    TryPublishError, partition_for_key,
};

fn start(linger: Duration) -> (SimulatedLog, Publisher) {
    let clock = Arc::new(ManualClock::at(5_000));
    let log = SimulatedLog::new(Arc::clone(&clock) as _, 42);
    log.admin().create_topic(&TopicSpec::new("t", 3).with("max.message.bytes", "1000")).unwrap();
    let publisher = Publisher::start(Arc::new(log.clone()), linger, clock).unwrap();
    (log, publisher)
}

fn read(log: &SimulatedLog, partition: u32) -> Vec<(i64, String)> {
    let mut reader = log.reader(&[TopicPartition::new("t", partition)]).unwrap();
    let mut found = Vec::new();
    loop {
        let polled = reader.poll(Duration::ZERO).unwrap();
        if polled.is_empty() {
            return found;
        }
        for fetched in polled {
            found.extend(
                fetched.batch.iter().map(|r| {
                    (r.timestamp, String::from_utf8_lossy(r.value.unwrap_or_default()).into_owned())
                }),
            );
        }
    }
}

#[test]
fn a_message_is_acknowledged_with_its_place() {
    let (log, publisher) = start(Duration::ZERO);
    let message = Message::new("t", "a").with_key("key").with_header("h", "1");
    let partition = partition_for_key(b"key", 3);
    assert_eq!(publisher.publish_wait(message.clone()).unwrap(), (TopicPartition::new("t", partition), 0));
    assert_eq!(publisher.publish_wait(message.at(7)).unwrap().1, 1);
    assert_eq!(read(&log, partition), [(5_000, "a".into()), (7, "a".into())]);
    let explicit = Message { partition: Some(2), ..Message::new("t", "b") };
    assert_eq!(publisher.publish_wait(explicit).unwrap().0.partition, 2);
    let seen: Vec<u32> =
        (0..3).map(|_| publisher.publish_wait(Message::new("t", "c")).unwrap().0.partition).collect();
    let mut sorted = seen.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [0, 1, 2], "without a key each partition has its turn: {seen:?}");
}

#[test]
fn order_is_kept_and_everything_is_acknowledged_once() {
    let (log, publisher) = start(Duration::from_millis(1));
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (publisher, acknowledged) = (publisher.clone(), Arc::clone(&acknowledged));
            scope.spawn(move || {
                for i in 0..2_000 {
                    let acknowledged = Arc::clone(&acknowledged);
                    let message = Message::new("t", format!("{thread}:{i:05}")).with_key(format!("{thread}"));
                    publisher
                        .publish(message, move |outcome| acknowledged.lock().unwrap().push(outcome.unwrap()));
                }
            });
        }
    });
    publisher.flush();
    assert_eq!(publisher.pending(), 0);
    let mut places = std::mem::take(&mut *acknowledged.lock().unwrap());
    assert_eq!(places.len(), 8_000);
    places.sort();
    places.dedup();
    assert_eq!(places.len(), 8_000, "each has a place of its own");
    for thread in 0..4 {
        let partition = partition_for_key(format!("{thread}").as_bytes(), 3);
        let of_thread: Vec<_> = read(&log, partition)
            .into_iter()
            .map(|(_, value)| value)
            .filter(|value| value.starts_with(&format!("{thread}:")))
            .collect();
        assert_eq!(of_thread.len(), 2_000);
        assert!(of_thread.is_sorted());
    }
}

#[test]
fn a_bad_message_fails_alone() {
    // They meet in one transaction: everything is handed in before the linger is over.
    let (log, publisher) = start(Duration::from_millis(300));
    let (sender, receiver) = sync_channel(100);
    let messages = [
        Message::new("t", "good 0").with_key("k"),
        Message::new("t", "x".repeat(5_000)).with_key("k"),
        Message::new("nowhere", "x"),
        Message { partition: Some(9), ..Message::new("t", "x") },
        Message::new("t", "good 1").with_key("k"),
    ];
    for (i, message) in messages.into_iter().enumerate() {
        let sender = sender.clone();
        publisher.publish(message, move |outcome| sender.send((i, outcome)).unwrap());
    }
    publisher.flush();
    drop(sender);
    let mut outcomes: Vec<_> = receiver.iter().collect();
    outcomes.sort_by_key(|(i, _)| *i);
    assert!(outcomes[0].1.is_ok());
    assert!(matches!(outcomes[1].1, Err(LogError::TooLarge { .. })), "{outcomes:?}");
    assert!(matches!(outcomes[2].1, Err(LogError::UnknownTopic { .. })), "{outcomes:?}");
    assert!(matches!(outcomes[3].1, Err(LogError::UnknownPartition { .. })), "{outcomes:?}");
    assert_eq!(outcomes[4].1.as_ref().unwrap().1, 1);
    let values: Vec<_> = read(&log, partition_for_key(b"k", 3)).into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, ["good 0", "good 1"]);
}

#[test]
fn a_full_queue_says_so_and_blocks() {
    let (log, publisher) = start(Duration::ZERO);
    let gate = Arc::new(Barrier::new(2));
    let at_gate = Arc::clone(&gate);
    // The first acknowledgement holds up the publisher's thread.
    publisher.publish(Message::new("t", "first"), move |_| {
        at_gate.wait();
        at_gate.wait();
    });
    gate.wait();
    let mut accepted = 0;
    let full = loop {
        match publisher.try_publish(Message::new("t", "more"), |_| {}) {
            Ok(()) => accepted += 1,
            Err(full) => break full,
        }
        assert!(accepted < 1_000_000, "the queue has no bound");
    };
    assert!(matches!(&full, TryPublishError::Full { waiting, .. } if *waiting == accepted), "{full}");
    let done = Arc::new(AtomicUsize::new(0));
    let blocked = {
        let (publisher, done) = (publisher.clone(), Arc::clone(&done));
        std::thread::spawn(move || {
            publisher.publish(Message::new("t", "blocked"), |_| {});
            done.store(1, Ordering::SeqCst);
        })
    };
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(done.load(Ordering::SeqCst), 0, "it waits for room");
    gate.wait();
    blocked.join().unwrap();
    publisher.flush();
    assert_eq!((0..3).map(|partition| read(&log, partition).len()).sum::<usize>(), accepted + 2);
}

#[test]
fn a_log_out_of_reach_is_reported_and_found_again() {
    let (log, publisher) = start(Duration::ZERO);
    publisher.publish_wait(Message::new("t", "a")).unwrap();
    log.set_faults(Faults { unreachable: 1.0, ..Faults::default() });
    for _ in 0..3 {
        let outcome = publisher.publish_wait(Message::new("t", "b"));
        assert!(matches!(outcome, Err(LogError::Unreachable { .. })), "{outcome:?}");
    }
    log.set_faults(Faults { fail_commit_after: 1.0, ..Faults::default() });
    assert!(publisher.publish_wait(Message::new("t", "c")).is_err());
    log.set_faults(Faults::default());
    publisher.publish_wait(Message::new("t", "d")).unwrap();
}

#[test]
fn closing_commits_what_was_accepted() {
    let (log, publisher) = start(Duration::from_secs(3600));
    let clone = publisher.clone();
    for i in 0..10 {
        publisher.publish(Message { partition: Some(0), ..Message::new("t", format!("{i}")) }, |_| {});
    }
    publisher.close();
    assert_eq!(read(&log, 0).len(), 10);
    assert!(matches!(clone.publish_wait(Message::new("t", "late")), Err(LogError::Closed)));
    assert!(matches!(clone.try_publish(Message::new("t", "late"), |_| {}), Err(TryPublishError::Closed)));
    clone.flush();
    // A clone dropped by an acknowledgement, on the publisher's own thread.
    let (log, publisher) = start(Duration::ZERO);
    let clone = publisher.clone();
    publisher.publish(Message::new("t", "a"), move |_| drop(clone));
    drop(publisher);
    drop(log);
}
