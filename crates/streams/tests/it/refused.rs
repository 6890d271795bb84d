//! What the log refuses, what punctuations fail on, threads that die, and at-least-once: the program goes on, or says why not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use vigie_log::{BatchBuilder, Log, ProducerConfig, SimulatedLog, TopicPartition, TopicSpec};
use vigie_streams::{
    BoxError, Config, Consumed, ErrorHandler, ErrorResponse, ProcessingGuarantee, Processor,
    ProcessorContext, Produced, PunctuationType, Record, State, Store, StoreBuilder, Streams, StreamsBuilder,
    Topology, UncaughtErrorPolicy,
};

use crate::running::{PATIENCE, end, log, send, until};

fn config(log: &Arc<SimulatedLog>) -> Config {
    Config::new("app", Arc::clone(log) as Arc<dyn Log>)
        .commit_interval(Duration::from_millis(10))
        .retry_backoff(Duration::from_millis(5))
}

/// Counts each value's records, and writes as many bytes as the value says.
fn inflate() -> Topology {
    let mut builder = StreamsBuilder::new();
    builder.add_state_store(StoreBuilder::key_value(Store::<String, i64>::named("seen")));
    let grow = |ctx: &mut ProcessorContext<'_, '_, String, String>, record: Record<String, i64>| {
        let (key, value) = (record.key.clone(), record.value.unwrap_or(0));
        let mut seen = ctx.key_value::<String, i64>("seen")?;
        let count = seen.get(&key)?.unwrap_or(0) + 1;
        seen.put(key.clone(), count)?;
        ctx.forward(Record::new(key, "x".repeat(value as usize), record.timestamp))?;
        Ok::<(), BoxError>(())
    };
    builder
        .stream("in", Consumed::<String, i64>::default())
        .process(move || grow, &["seen"])
        .to("out", Produced::default());
    builder.build().expect("the topology is right")
}

fn small_out(topics: &[(&str, u32)]) -> Arc<SimulatedLog> {
    let log = log(topics);
    let spec = TopicSpec::new("out", 1).with("retention.ms", "-1").with("max.message.bytes", "1000");
    log.admin().create_topic(&spec).expect("a new topic");
    log
}

fn feed(log: &SimulatedLog, partition: u32, sizes: impl IntoIterator<Item = i64>) {
    let values: Vec<[u8; 8]> = sizes.into_iter().map(i64::to_be_bytes).collect();
    let records: Vec<(&str, &[u8])> = values.iter().map(|value| ("k", value.as_slice())).collect();
    send(log, "in", partition, &records);
}

#[test]
fn results_that_are_too_large_are_set_aside_alone() {
    for guarantee in [ProcessingGuarantee::ExactlyOnce, ProcessingGuarantee::AtLeastOnce] {
        let log = small_out(&[("in", 2), ("dead", 1)]);
        for partition in 0..2 {
            feed(&log, partition, (0..300).map(|n| if n % 100 == 57 { 5_000 } else { n % 10 }));
        }
        let config = config(&log).guarantee(guarantee).production_error(ErrorHandler::dead_letter("dead"));
        let app = Streams::new(inflate(), config).start().unwrap();
        until("all others are out", || end(&log, "out") >= 594);
        until("the dead letters are out", || end(&log, "dead") >= 6);
        until("the metrics follow", || {
            app.metrics().tasks.iter().all(|t| t.inputs.iter().all(|i| i.lag == 0))
        });
        assert_eq!((end(&log, "out"), end(&log, "dead")), (594, 6), "{guarantee:?}");
        assert_eq!(app.state(), State::Running);
        let seen = app.store::<String, i64>("seen").unwrap();
        let all: i64 = seen.all().map(|entry| entry.unwrap().1).sum();
        assert_eq!(all, 594, "a refused record leaves no trace in the state");
        assert!(app.close(PATIENCE));
    }
}

#[test]
fn the_handler_may_stop_the_program_with_the_record_named() {
    let log = small_out(&[("in", 1)]);
    feed(&log, 0, [1, 2, 3_000, 4]);
    let app = Streams::new(inflate(), config(&log)).start().unwrap();
    assert!(app.wait_for(State::Error, PATIENCE));
    let error = app.error().unwrap();
    assert!(error.contains("too large") && error.contains("`out`"), "{error}");
    assert_eq!(end(&log, "out"), 2, "what came before is committed");
}

#[test]
fn a_dead_letter_that_is_refused_stops_the_program() {
    let log = small_out(&[("in", 1)]);
    let dead = TopicSpec::new("dead", 1).with("retention.ms", "-1").with("max.message.bytes", "10");
    log.admin().create_topic(&dead).unwrap();
    feed(&log, 0, [3_000]);
    let config = config(&log).production_error(ErrorHandler::dead_letter("dead"));
    let app = Streams::new(inflate(), config).start().unwrap();
    assert!(app.wait_for(State::Error, PATIENCE));
    assert!(app.error().unwrap().contains("dead"), "{:?}", app.error());
}

#[test]
fn a_topic_that_goes_away_is_the_handlers_business() {
    let log = small_out(&[("in", 1)]);
    feed(&log, 0, [1]);
    let config = config(&log).production_error(ErrorHandler::log_and_continue());
    let app = Streams::new(inflate(), config).start().unwrap();
    until("the first is out", || end(&log, "out") == 1);
    log.admin().delete_topic("out").unwrap();
    feed(&log, 0, 0..20);
    until("all are counted as errors", || app.metrics().errors >= 20);
    assert_eq!(app.state(), State::Running);
}

#[test]
fn internal_topics_take_large_records() {
    let log = log(&[("in", 1)]);
    let mut builder = StreamsBuilder::new();
    builder
        .stream("in", Consumed::<String, i64>::default())
        .map_values(|size| "x".repeat(*size as usize))
        .group_by(|key, _| format!("{key}{key}"))
        .reduce(|_, new| new.clone(), Store::named("big"));
    feed(&log, 0, [3 << 20]);
    let app = Streams::new(builder.build().unwrap(), config(&log)).start().unwrap();
    until("the changelog has it", || end(&log, "app-big-changelog") == 1);
    assert_eq!(app.state(), State::Running);
}

/// Fails at each punctuation, and counts them.
struct Tick(Arc<AtomicU32>);

impl Processor<String, i64, String, i64> for Tick {
    fn init(&mut self, ctx: &mut ProcessorContext<'_, '_, String, i64>) -> Result<(), BoxError> {
        ctx.schedule(Duration::from_millis(5), PunctuationType::WallClock);
        Ok(())
    }
    fn process(
        &mut self,
        ctx: &mut ProcessorContext<'_, '_, String, i64>,
        record: Record<String, i64>,
    ) -> Result<(), BoxError> {
        ctx.forward(record)?;
        Ok(())
    }
    fn punctuate(
        &mut self,
        _: &mut ProcessorContext<'_, '_, String, i64>,
        _: vigie_streams::PunctuationId,
        _: i64,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err("the tick failed".into())
    }
}

#[test]
fn failed_punctuations_go_through_the_processing_handler() {
    let start = |handler: ErrorHandler| {
        let log = log(&[("in", 1), ("out", 1)]);
        let ticks: Arc<AtomicU32> = Arc::default();
        let mut builder = StreamsBuilder::new();
        let held = Arc::clone(&ticks);
        builder
            .stream("in", Consumed::<String, i64>::default())
            .named("ticker")
            .process(move || Tick(Arc::clone(&held)), &[])
            .to("out", Produced::default());
        let app =
            Streams::new(builder.build().unwrap(), config(&log).processing_error(handler)).start().unwrap();
        (log, app, ticks)
    };
    let (_, app, ticks) = start(ErrorHandler::log_and_fail());
    assert!(app.wait_for(State::Error, PATIENCE));
    let error = app.error().unwrap();
    assert!(error.contains("`ticker`") && error.contains("the tick failed"), "{error}");
    assert_eq!(ticks.load(Ordering::Relaxed), 1, "a handler's decision is not tried again");
    let (log, app, ticks) = start(ErrorHandler::new(|failed| {
        assert_eq!((failed.topic, failed.offset, failed.stage), ("", -1, "processing"));
        ErrorResponse::Continue
    }));
    feed(&log, 0, [1]);
    until("it goes on", || ticks.load(Ordering::Relaxed) > 3 && end(&log, "out") == 1);
    feed(&log, 0, [1]);
    until("errors are counted", || app.metrics().errors > 3);
    assert_eq!(app.state(), State::Running);
}

fn panics_at_first(times: u32) -> (Topology, Arc<AtomicU32>) {
    let calls: Arc<AtomicU32> = Arc::default();
    let count = Arc::clone(&calls);
    let mut builder = StreamsBuilder::new();
    builder
        .stream("in", Consumed::<String, i64>::default())
        .peek(move |_, _| assert!(count.fetch_add(1, Ordering::Relaxed) >= times, "not yet"))
        .to("out", Produced::default());
    (builder.build().expect("the topology is right"), calls)
}

#[test]
fn threads_that_die_are_replaced_a_few_times() {
    let policy = |times| UncaughtErrorPolicy::ReplaceThread { times, within: Duration::from_secs(300) };
    let check = |panics: u32, policy: UncaughtErrorPolicy, survives: bool, expect_calls: u32| {
        let log = log(&[("in", 1), ("out", 1)]);
        feed(&log, 0, [1]);
        let (topology, calls) = panics_at_first(panics);
        let app = Streams::new(topology, config(&log).uncaught_error(policy)).start().unwrap();
        if survives {
            until("the record is out", || end(&log, "out") == 1);
            until("it runs", || app.state() == State::Running);
        } else {
            assert!(app.wait_for(State::Error, PATIENCE));
            assert!(app.error().unwrap().contains("not yet"));
            until("all threads end", || app.metrics().threads == 0);
        }
        assert_eq!(calls.load(Ordering::Relaxed), expect_calls);
    };
    check(2, UncaughtErrorPolicy::default(), true, 3);
    check(2, policy(2), true, 3);
    check(3, policy(2), false, 3);
    check(1, UncaughtErrorPolicy::StopClient, false, 1);
}

#[test]
fn at_least_once_loses_nothing_when_a_thread_dies() {
    let log = log(&[("in", 1), ("out", 1)]);
    let calls: Arc<AtomicU32> = Arc::default();
    let count = Arc::clone(&calls);
    let mut builder = StreamsBuilder::new();
    builder
        .stream("in", Consumed::<String, i64>::default())
        .peek(move |_, _| assert_ne!(count.fetch_add(1, Ordering::Relaxed), 150, "dies in the middle"))
        .group_by_key()
        .count(Store::named("counts"))
        .to_stream()
        .to("out", Produced::default());
    for _ in 0..10 {
        feed(&log, 0, 0..30);
    }
    let config = config(&log).guarantee(ProcessingGuarantee::AtLeastOnce);
    let app = Streams::new(builder.build().unwrap(), config).start().unwrap();
    until("all is counted", || end(&log, "out") >= 300);
    let counts = app.store::<String, i64>("counts").unwrap();
    until("the store follows", || counts.get(&"k".into()).unwrap().is_some_and(|count| count >= 300));
    assert!(calls.load(Ordering::Relaxed) > 300, "what was not committed was done again");
    assert!(app.close(PATIENCE));
    assert_eq!(log.admin().describe_group("app").unwrap().committed, [(TopicPartition::new("in", 0), 300)]);
}

#[test]
fn a_changelog_larger_than_one_poll_is_restored() {
    let log = log(&[("in", 1), ("out", 1)]);
    let build = || {
        let mut builder = StreamsBuilder::new();
        builder
            .stream("in", Consumed::<String, String>::default())
            .group_by_key()
            .reduce(|_, new| new.clone(), Store::named("last"))
            .to_stream()
            .to("out", Produced::default());
        builder.build().expect("the topology is right")
    };
    let mut producer = log.producer(ProducerConfig::default()).unwrap();
    for round in 0..40 {
        let mut batch = BatchBuilder::new();
        for key in 0..20 {
            let value = format!("{round}:{}", "v".repeat(10_000));
            batch.push(1_000, Some(format!("k{key}").as_bytes()), Some(value.as_bytes()), &[]);
        }
        producer.begin().unwrap();
        producer.append(&TopicPartition::new("in", 0), &mut batch).unwrap();
        producer.commit().unwrap();
    }
    // A commit for each batch or so, so that the changelog keeps most of the rounds.
    let eager = || config(&log).commit_interval(Duration::ZERO).cache_entries(0).max_poll_bytes(200_000);
    let app = Streams::new(build(), eager()).start().unwrap();
    until("all is out", || end(&log, "out") == 800);
    assert!(app.close(PATIENCE));
    let app = Streams::new(build(), eager()).start().unwrap();
    assert!(app.wait_for(State::Running, PATIENCE));
    let last = app.store::<String, String>("last").unwrap();
    let rounds: Vec<String> = last.all().map(|entry| entry.unwrap().1[..3].to_owned()).collect();
    assert_eq!(rounds, vec!["39:"; 20]);
}
