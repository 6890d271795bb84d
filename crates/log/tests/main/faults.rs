//! Faults of the simulated log strike as announced, and lose nothing that was acknowledged.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use vigie_log::{
    BatchBuilder, Faults, Log, LogError, ManualClock, Member, MemberConfig, Producer, ProducerConfig,
    SimulatedLog, Span, TopicPartition, TopicSpec, read_spans,
};

fn log() -> (Arc<ManualClock>, SimulatedLog, TopicPartition) {
    let clock = Arc::new(ManualClock::at(1_000));
    let log = SimulatedLog::new(Arc::clone(&clock) as _, 42);
    log.admin().create_topic(&TopicSpec::new("t", 1)).unwrap();
    (clock, log, TopicPartition::new("t", 0))
}

fn producer(log: &SimulatedLog) -> Box<dyn Producer> {
    log.producer(ProducerConfig { transactional_id: Some(String::from("p")) }).unwrap()
}

fn begin(producer: &mut dyn Producer, to: &TopicPartition) {
    let mut builder = BatchBuilder::new();
    builder.push(1, None, Some(b"v"), &[]);
    producer.begin().unwrap();
    producer.append(to, &mut builder).unwrap();
}

fn latest(log: &SimulatedLog) -> i64 {
    log.admin().offsets("t").unwrap()[0].latest
}

fn join(log: &SimulatedLog) -> Box<dyn Member> {
    log.member(MemberConfig::new("g", ["t"])).unwrap()
}

#[test]
fn a_commit_that_fails_before_can_be_repeated_or_aborted() {
    let (_, log, to) = log();
    let mut producer = producer(&log);
    begin(&mut *producer, &to);
    log.set_faults(Faults { fail_commit_before: 1.0, ..Faults::default() });
    assert!(matches!(producer.commit(), Err(LogError::Unreachable { .. })));
    assert_eq!(latest(&log), 0);
    log.set_faults(Faults::default());
    assert_eq!(producer.commit().unwrap(), [(to.clone(), 0)]);
    begin(&mut *producer, &to);
    log.set_faults(Faults { fail_commit_before: 1.0, ..Faults::default() });
    producer.commit().unwrap_err();
    producer.abort().unwrap();
    assert_eq!(latest(&log), 1);
    assert_eq!(log.injected_faults(), 2);
}

#[test]
fn a_commit_of_unknown_outcome_is_known_when_repeated() {
    let (_, log, to) = log();
    let mut producer = producer(&log);
    begin(&mut *producer, &to);
    log.set_faults(Faults { fail_commit_after: 1.0, ..Faults::default() });
    assert!(matches!(producer.commit(), Err(LogError::Unreachable { .. })));
    assert_eq!(latest(&log), 1, "it is there all the same");
    assert!(matches!(producer.abort(), Err(LogError::InvalidState(_))));
    assert!(matches!(producer.begin(), Err(LogError::InvalidState(_))));
    assert_eq!(producer.commit().unwrap(), [(to.clone(), 0)]);
    log.set_faults(Faults::default());
    begin(&mut *producer, &to);
    assert_eq!(producer.commit().unwrap(), [(to, 1)], "not twice");
}

#[test]
fn a_killed_member_keeps_its_partitions_until_its_session_ends() {
    let (clock, log, to) = log();
    let mut first = join(&log);
    assert_eq!(first.poll(Duration::ZERO).unwrap().assigned, std::slice::from_ref(&to));
    log.kill_member(&first.membership().member);
    assert!(matches!(first.poll(Duration::ZERO), Err(LogError::Unreachable { .. })));
    drop(first);
    let mut second = join(&log);
    assert!(second.poll(Duration::ZERO).unwrap().assigned.is_empty());
    clock.advance(Duration::from_secs(30));
    assert!(second.poll(Duration::ZERO).unwrap().assigned.is_empty());
    clock.advance(Duration::from_secs(31));
    assert_eq!(second.poll(Duration::ZERO).unwrap().assigned, [to]);
}

#[test]
fn an_expelled_member_is_told_what_it_lost() {
    let (_, log, to) = log();
    let mut member = join(&log);
    member.poll(Duration::ZERO).unwrap();
    let old = member.membership();
    assert!(log.expel_member("g", &old.member));
    assert!(!log.expel_member("g", &old.member));
    let polled = member.poll(Duration::ZERO).unwrap();
    assert_eq!((polled.lost, polled.assigned), (vec![to.clone()], vec![to]));
    assert_ne!(member.membership(), old);
}

#[test]
fn a_fenced_producer_is_told() {
    let (_, log, to) = log();
    let mut producer = producer(&log);
    begin(&mut *producer, &to);
    log.fence("p").unwrap();
    assert!(matches!(producer.commit(), Err(LogError::Fenced { .. })));
    assert!(matches!(producer.begin(), Err(LogError::InvalidState(_) | LogError::Fenced { .. })));
}

#[test]
fn polls_repeat_and_miss_but_lose_nothing() {
    let (_, log, to) = log();
    let mut producer = producer(&log);
    for _ in 0..100 {
        begin(&mut *producer, &to);
        producer.commit().unwrap();
    }
    log.set_faults(Faults { duplicate_poll: 0.5, empty_poll: 0.3, unreachable: 0.2, ..Faults::default() });
    let mut reader = loop {
        if let Ok(reader) = log.reader(std::slice::from_ref(&to)) {
            break reader;
        }
    };
    let (mut next, mut again) = (0, 0);
    while next < 200 {
        for fetched in reader.poll(Duration::ZERO).unwrap_or_default() {
            for record in fetched.batch.iter() {
                if record.offset < next {
                    again += 1;
                } else {
                    assert_eq!(record.offset, next);
                    next += 1;
                }
            }
        }
        if next < 200 {
            begin(&mut *producer, &to);
            while producer.commit().is_err() {}
        }
    }
    assert!(again > 0, "nothing came twice");
}

#[test]
fn the_same_seed_strikes_at_the_same_moments() {
    let run = || -> Vec<bool> {
        let (_, log, _) = log();
        log.set_faults(Faults { unreachable: 0.5, ..Faults::default() });
        (0..100).map(|_| log.admin().list_topics(false).is_ok()).collect()
    };
    assert_eq!(run(), run());
}

#[test]
fn handles_of_before_a_restart_are_closed() {
    let (_, log, to) = log();
    let (mut producer, mut member) = (producer(&log), join(&log));
    begin(&mut *producer, &to);
    log.restart();
    assert!(matches!(producer.commit(), Err(LogError::Closed)));
    assert!(matches!(member.poll(Duration::ZERO), Err(LogError::Closed)));
    assert_eq!(latest(&log), 0);
}

#[test]
fn what_is_there_is_read_once_through_repeated_and_empty_answers() {
    let (_, log, to) = log();
    let mut producer = producer(&log);
    for _ in 0..50 {
        begin(&mut *producer, &to);
        producer.commit().unwrap();
    }
    let spans = Span::all(&*log.admin(), "t").unwrap();
    log.set_faults(Faults { duplicate_poll: 0.5, empty_poll: 0.5, ..Faults::default() });
    let mut seen = Vec::new();
    let whole = read_spans::<()>(&log, &spans, |_, record| {
        seen.push(record.offset);
        ControlFlow::Continue(())
    });
    assert_eq!(whole.unwrap(), None);
    assert_eq!(seen, (0..50).collect::<Vec<_>>());
}

#[test]
fn what_is_removed_while_it_is_read_is_no_error() {
    let (_, log, to) = log();
    let mut producer = producer(&log);
    for _ in 0..3 {
        begin(&mut *producer, &to);
        producer.commit().unwrap();
    }
    let spans = Span::all(&*log.admin(), "t").unwrap();
    log.admin().delete_records(&to, 2).unwrap();
    let mut seen = Vec::new();
    read_spans::<()>(&log, &spans, |_, record| {
        seen.push(record.offset);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(seen, [2]);
    log.admin().delete_records(&to, 3).unwrap();
    assert_eq!(read_spans::<()>(&log, &spans, |_, _| panic!("nothing is there")).unwrap(), None);
    log.admin().delete_topic("t").unwrap();
    let gone = read_spans::<()>(&log, &spans, |_, _| ControlFlow::Continue(()));
    assert!(matches!(gone, Err(LogError::UnknownTopic { .. })), "{gone:?}");
}
