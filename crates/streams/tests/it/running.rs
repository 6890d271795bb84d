//! Programs on real threads over the simulated log: start, queries, restart from files, dead letters, errors, moving tasks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use vigie_log::{BatchBuilder, Log, ProducerConfig, SimulatedLog, SystemClock, TopicPartition, TopicSpec};
use vigie_streams::{
    BoxError, Config, Consumed, ErrorHandler, Joined, Processor, ProcessorContext, Produced, PunctuationId,
    PunctuationType, Record, State, Store, Streams, StreamsBuilder, Topology,
};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn log(topics: &[(&str, u32)]) -> Arc<SimulatedLog> {
    let log = SimulatedLog::new(Arc::new(SystemClock::new()), 1);
    for (topic, partitions) in topics {
        log.admin().create_topic(&TopicSpec::new(*topic, *partitions).with("retention.ms", "-1")).unwrap();
    }
    Arc::new(log)
}

pub(crate) fn send(log: &SimulatedLog, topic: &str, partition: u32, records: &[(&str, &[u8])]) {
    let mut producer = log.producer(ProducerConfig::default()).unwrap();
    let mut batch = BatchBuilder::new();
    for (key, value) in records {
        batch.push(1_000, Some(key.as_bytes()), Some(value), &[]);
    }
    producer.begin().unwrap();
    producer.append(&TopicPartition::new(topic, partition), &mut batch).unwrap();
    producer.commit().unwrap();
}

pub(crate) fn end(log: &SimulatedLog, topic: &str) -> i64 {
    log.admin().offsets(topic).unwrap().iter().map(|bounds| bounds.latest).sum()
}

pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn count() -> Topology {
    let mut builder = StreamsBuilder::new();
    builder
        .stream("in", Consumed::<String, i64>::default())
        .group_by(|key, value| format!("{key}{}", value % 10))
        .count(Store::named("counts"))
        .to_stream()
        .to("out", Produced::default());
    builder.build().unwrap()
}

fn config(log: &Arc<SimulatedLog>) -> Config {
    Config::new("app", Arc::clone(log) as Arc<dyn Log>).commit_interval(Duration::from_millis(10))
}

#[test]
fn counts_survive_restarts_and_are_not_rebuilt_when_the_files_are_there() {
    let log = log(&[("in", 2), ("out", 1)]);
    let dir = tempfile::tempdir().unwrap();
    let states: Arc<Mutex<Vec<State>>> = Arc::default();
    for round in 1..=3_i64 {
        if round == 3 {
            std::fs::remove_dir_all(dir.path()).unwrap();
        }
        let seen = Arc::clone(&states);
        let config =
            config(&log).state_dir(dir.path()).state_listener(move |_, new| seen.lock().unwrap().push(new));
        let app = Streams::new(count(), config).start().unwrap();
        assert!(app.wait_for(State::Running, PATIENCE));
        for partition in 0..2 {
            send(&log, "in", partition, &[("a", &1_i64.to_be_bytes()), ("b", &12_i64.to_be_bytes())]);
        }
        until("all is counted", || end(&log, "out") == 4 * round);
        let counts = app.store::<String, i64>("counts").unwrap();
        until("the stores follow", || counts.get(&"a1".into()).unwrap() == Some(2 * round));
        let all: BTreeMap<String, i64> = counts.all().map(Result::unwrap).collect();
        assert_eq!(all, BTreeMap::from([("a1".into(), 2 * round), ("b2".into(), 2 * round)]));
        until("the metrics follow", || app.metrics().records_in == 8);
        let metrics = app.metrics();
        assert_eq!((metrics.records_out, metrics.skipped, metrics.threads), (8, 0, 1));
        assert!(metrics.commits > 0 && metrics.tasks.len() == 4, "{metrics:?}");
        assert!(
            metrics.tasks.iter().flat_map(|task| &task.inputs).all(|input| input.lag == 0),
            "{metrics:?}"
        );
        assert!(app.close(PATIENCE));
    }
    let states = states.lock().unwrap();
    assert_eq!(
        states[..4],
        [State::Rebalancing, State::Running, State::PendingShutdown, State::NotRunning],
        "{states:?}"
    );
    let topics = log.admin().list_topics(true).unwrap();
    assert!(
        topics.contains(&"app-counts-repartition".into()) && topics.contains(&"app-counts-changelog".into())
    );
    let changelog = log.admin().describe_topic("app-counts-changelog").unwrap();
    assert_eq!(changelog.config.get("cleanup.policy").map(String::as_str), Some("compact"));
}

#[test]
fn an_idle_program_commits_nothing() {
    let log = log(&[("in", 1), ("out", 1)]);
    let app = Streams::new(count(), config(&log)).start().unwrap();
    send(&log, "in", 0, &[("a", &1_i64.to_be_bytes())]);
    until("the record is out", || end(&log, "out") == 1);
    std::thread::sleep(Duration::from_millis(50));
    let before = app.metrics().commits;
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(app.metrics().commits, before);
}

/// Tells each time that stream time has passed a multiple of a tenth of a second.
struct Ticks;

impl Processor<String, i64, String, i64> for Ticks {
    fn init(&mut self, ctx: &mut ProcessorContext<'_, '_, String, i64>) -> Result<(), BoxError> {
        ctx.schedule(Duration::from_millis(100), PunctuationType::StreamTime);
        Ok(())
    }

    fn process(
        &mut self,
        _ctx: &mut ProcessorContext<'_, '_, String, i64>,
        _record: Record<String, i64>,
    ) -> Result<(), BoxError> {
        Ok(())
    }

    fn punctuate(
        &mut self,
        ctx: &mut ProcessorContext<'_, '_, String, i64>,
        _id: PunctuationId,
        at: i64,
    ) -> Result<(), BoxError> {
        ctx.forward(Record::new(String::from("tick"), at, at))
    }
}

#[test]
fn stream_time_goes_on_without_records_where_that_is_asked_for() {
    let topology = || {
        let mut builder = StreamsBuilder::new();
        builder
            .stream("in", Consumed::<String, i64>::default())
            .process(|| Ticks, &[])
            .to("out", Produced::default());
        builder.build().unwrap()
    };
    // The first record, at 1,000, is itself a moment of the punctuation.
    let (still, moving) = (log(&[("in", 1), ("out", 1)]), log(&[("in", 1), ("out", 1)]));
    let stands = Streams::new(topology(), config(&still)).start().unwrap();
    let moves = Streams::new(topology(), config(&moving).idle_source_timeout(Duration::from_millis(50)))
        .start()
        .unwrap();
    for log in [&still, &moving] {
        send(log, "in", 0, &[("a", &1_i64.to_be_bytes())]);
    }
    until("the clock has moved stream time five times", || end(&moving, "out") >= 6);
    until("the other has its record", || stands.metrics().records_in == 1);
    assert_eq!(end(&still, "out"), 1, "without records stream time stands still");
    let times = stands.metrics().tasks.into_iter().chain(moves.metrics().tasks);
    let times: Vec<i64> = times.map(|task| task.stream_time.unwrap()).collect();
    assert!(times[0] == 1_000 && times[1] >= 1_500, "{times:?}");
    // Time that has passed does not come back: a record of before is late, and processed.
    send(&moving, "in", 0, &[("b", &2_i64.to_be_bytes())]);
    until("the record is processed", || moves.metrics().records_in == 2);
    assert!(moves.metrics().tasks[0].stream_time >= Some(1_500));
}

#[test]
fn tasks_move_between_programs_and_threads() {
    let log = log(&[("in", 4), ("out", 1)]);
    let start = |client: &str, threads| {
        Streams::new(count(), config(&log).client_id(client).threads(threads)).start().unwrap()
    };
    let mut sent = 0;
    let mut feed = || {
        for partition in 0..4 {
            for n in 0..25_i64 {
                send(&log, "in", partition, &[("k", &n.to_be_bytes())]);
            }
            sent += 25;
        }
        sent
    };
    let first = start("one", 2);
    feed();
    let second = start("two", 2);
    feed();
    until("both have tasks", || !second.metrics().tasks.is_empty() && !first.metrics().tasks.is_empty());
    feed();
    assert!(first.close(PATIENCE));
    let sent = feed();
    until("all is counted", || end(&log, "out") >= sent);
    assert_eq!(end(&log, "out"), sent, "each record once");
    let counts = second.store::<String, i64>("counts").unwrap();
    until("the stores follow", || counts.all().map(|entry| entry.unwrap().1).sum::<i64>() == sent);
    assert!(second.close(PATIENCE));
}

#[test]
fn bad_records_go_to_the_dead_letter_topic_or_stop_the_program() {
    let log = log(&[("in", 1), ("out", 1), ("dead", 1)]);
    send(&log, "in", 0, &[("a", &1_i64.to_be_bytes()), ("a", b"bad"), ("a", &2_i64.to_be_bytes())]);
    let app = Streams::new(count(), config(&log)).start().unwrap();
    assert!(app.wait_for(State::Error, PATIENCE));
    let error = app.error().unwrap();
    assert!(error.contains("KSTREAM-SOURCE-0000000000") && error.contains("8 bytes"), "{error}");
    assert!(app.close(PATIENCE));
    let tolerant = config(&log).deserialization_error(ErrorHandler::dead_letter("dead"));
    let app = Streams::new(count(), tolerant).start().unwrap();
    until("the good ones are counted", || end(&log, "out") == 2);
    assert_eq!(end(&log, "dead"), 1);
    until("the error is counted", || app.metrics().errors == 1);
}

#[test]
fn a_panic_in_user_code_stops_the_program_and_says_where() {
    let log = log(&[("in", 1)]);
    let mut builder = StreamsBuilder::new();
    builder.stream("in", Consumed::<String, i64>::default()).for_each(|_, _| panic!("user code is wrong"));
    send(&log, "in", 0, &[("a", &1_i64.to_be_bytes())]);
    let app = Streams::new(builder.build().unwrap(), config(&log)).start().unwrap();
    assert!(app.wait_for(State::Error, PATIENCE));
    assert!(app.error().unwrap().contains("user code is wrong"));
}

#[test]
fn starts_that_cannot_work_say_why() {
    let refused =
        |topics: &[(&str, u32)], topology: Topology| match Streams::new(topology, config(&log(topics)))
            .start()
        {
            Ok(_) => panic!("started"),
            Err(error) => error.to_string(),
        };
    let missing = refused(&[("out", 1)], count());
    assert!(missing.contains("`in`") && missing.contains("KSTREAM-SOURCE-0000000000"), "{missing}");
    let mut builder = StreamsBuilder::new();
    let table = builder.table("users", Consumed::<String, i64>::default(), Store::default());
    builder
        .stream("clicks", Consumed::<String, i64>::default())
        .join(&table, |_, a, b| a + b, Joined::default())
        .to("out", Produced::default());
    let uneven = refused(&[("users", 2), ("clicks", 3), ("out", 1)], builder.build().unwrap());
    assert!(
        uneven.contains("`KSTREAM-JOIN-") && uneven.contains("`clicks` has 3, `users` has 2"),
        "{uneven}"
    );
    let other = refused(&[("in", 2), ("out", 1), ("app-counts-repartition", 5)], count());
    assert!(other.contains("has 5 partitions, 2 are needed"), "{other}");
}
