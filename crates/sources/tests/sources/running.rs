//! The runner: rates, pauses, failures of the log, the end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use vigie_domain::topics;
use vigie_log::{LogError, Publisher, SystemClock, Timestamp};
use vigie_sources::{
    Moment, PageOptions, PageSource, Publish, PublishError, Runner, Source, SourceInfo, SourceRecord, Step,
    Then,
};

use crate::{log_with, read_all};

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn records_arrive_in_the_log_with_key_time_and_header() {
    let log = log_with(&["R2"]);
    let clock = Arc::new(SystemClock::new());
    let publisher = Publisher::start(Arc::clone(&log), Duration::from_millis(1), clock.clone()).unwrap();
    let mut runner = Runner::new(Arc::new(publisher), clock);
    runner.start(Box::new(PageSource::new(PageOptions { rate: 200.0, ..PageOptions::default() }))).unwrap();
    let view = runner.status_view();
    until("twenty records", || view()[0].published >= 20);
    runner.stop();
    let status = &view()[0];
    assert_eq!((status.name.as_str(), status.simulated, status.running), ("pages", true, false));
    let all = read_all(log.as_ref(), "R2");
    assert_eq!(all.len() as u64, status.published, "what is counted is what is there");
    for record in all {
        assert!(record.key.is_some() && record.header(topics::PUBLISHED_AT).unwrap().parse::<i64>().is_ok());
    }
}

#[test]
fn a_paused_source_is_silent_and_goes_on() {
    let log = log_with(&["R2"]);
    let clock = Arc::new(SystemClock::new());
    let publisher = Publisher::start(log, Duration::ZERO, clock.clone()).unwrap();
    let mut runner = Runner::new(Arc::new(publisher), clock);
    runner.start(Box::new(PageSource::new(PageOptions { rate: 100.0, ..PageOptions::default() }))).unwrap();
    until("records", || runner.status()[0].published > 3);
    assert!(runner.set_paused("pages", true));
    assert!(!runner.set_paused("nobody", true));
    std::thread::sleep(Duration::from_millis(100));
    let before = runner.status()[0].published;
    assert!(runner.status()[0].paused && !runner.status()[0].running);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(runner.status()[0].published, before);
    runner.set_paused("pages", false);
    until("records again", || runner.status()[0].published > before);
}

/// Emits numbers, two a step.
struct Numbers {
    next: u64,
    last: u64,
    durable: Arc<AtomicUsize>,
}

impl Source for Numbers {
    fn info(&self) -> SourceInfo {
        SourceInfo {
            name: "numbers".into(),
            kind: "test",
            topics: vec![],
            simulated: true,
            recorded: false,
            rate_per_s: 1.0,
        }
    }

    fn next(&mut self, now: Moment) -> Step {
        let records = (self.next..self.next + 2)
            .map(|n| SourceRecord {
                value: n.to_string().into_bytes(),
                timestamp: now.wall,
                ..SourceRecord::default()
            })
            .collect();
        self.next += 2;
        let then = if self.next > self.last { Then::Finished } else { Then::Pause(Duration::ZERO) };
        Step::emit(records, then)
    }

    fn durable(&mut self, _now: Moment, _ending: bool) {
        self.durable.fetch_add(1, Ordering::SeqCst);
    }
}

type Answer = fn(usize, usize) -> Option<PublishError>;

/// A log that fails as it is told: call number and batch size -> failure.
struct Moody {
    calls: AtomicUsize,
    answer: Answer,
    kept: Mutex<Vec<String>>,
}

impl Publish for Moody {
    fn publish(&self, records: Vec<SourceRecord>, _now: Timestamp) -> Result<(), PublishError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let failure = (self.answer)(call, records.len());
        let failed = failure.as_ref().map(|error| error.failed.clone()).unwrap_or_default();
        let kept = records.into_iter().enumerate().filter(|(index, _)| !failed.contains(index));
        self.kept.lock().unwrap().extend(kept.map(|(_, record)| String::from_utf8(record.value).unwrap()));
        failure.map_or(Ok(()), Err)
    }
}

fn unreachable_log() -> LogError {
    LogError::Unreachable { address: "x".into(), reason: "y".into() }
}

/// Runs six numbers into a log of this mood; what it kept, how often the source was told that all is durable, the last error.
fn moody(answer: Answer) -> (Vec<String>, usize, Option<String>) {
    let log = Arc::new(Moody { calls: AtomicUsize::new(0), answer, kept: Mutex::default() });
    let durable = Arc::new(AtomicUsize::new(0));
    let mut runner = Runner::new(Arc::clone(&log) as Arc<dyn Publish>, Arc::new(SystemClock::new()));
    runner.start(Box::new(Numbers { next: 0, last: 5, durable: Arc::clone(&durable) })).unwrap();
    until("the end", || runner.finished());
    let error = runner.status()[0].last_error.clone();
    let kept = log.kept.lock().unwrap().clone();
    (kept, durable.load(Ordering::SeqCst), error)
}

#[test]
fn what_a_log_out_of_reach_did_not_take_is_repeated_and_only_that() {
    let (kept, _, error) = moody(|call, all| {
        (call == 1).then(|| PublishError { failed: vec![1], all, first: unreachable_log() })
    });
    assert_eq!(kept, ["0", "1", "2", "3", "4", "5"]);
    assert_eq!(error, None, "it works again");
}

#[test]
fn a_refused_record_costs_itself_only() {
    let (kept, _, _) = moody(|call, all| {
        let too_large = LogError::TooLarge { topic: "t".into(), size: 2, limit: 1 };
        (call == 1).then_some(PublishError { failed: vec![0], all, first: too_large })
    });
    assert_eq!(kept, ["0", "1", "3", "4", "5"]);
}

#[test]
fn a_dead_log_ends_the_source_and_says_why() {
    let (kept, durable, error) = moody(|call, all| {
        (call == 1).then_some(PublishError { failed: vec![0, 1], all, first: LogError::Closed })
    });
    assert_eq!(kept, ["0", "1"]);
    assert_eq!(durable, 1, "what is not durable is not said to be");
    assert!(error.unwrap().contains("closed"));
}
