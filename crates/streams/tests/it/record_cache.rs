//! Results once a commit, as with Kafka Streams' record cache; and repartition topics of counts, which carry no values.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use vigie_log::{Log, SimulatedLog, TopicPartition};
use vigie_streams::serde::{FnSerde, I64};
use vigie_streams::{
    Config, Consumed, Grouped, Produced, SessionWindows, SlidingWindows, State, Store, Streams,
    StreamsBuilder, TimeWindows, Topology, Windowed,
};

use crate::running::{PATIENCE, end, log, send, until};

type Bytes = Option<Vec<u8>>;

/// Keys and values of a topic's first partition, in order.
fn read(log: &SimulatedLog, topic: &str) -> Vec<(Bytes, Bytes)> {
    let all = end(log, topic) as usize;
    let mut reader = log.reader(&[TopicPartition::new(topic, 0)]).unwrap();
    let mut found = Vec::new();
    while found.len() < all {
        for fetched in reader.poll(PATIENCE).unwrap() {
            let own = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
            found.extend(fetched.batch.iter().map(|record| (own(record.key), own(record.value))));
        }
    }
    found
}

fn numbers(log: &SimulatedLog, topic: &str) -> Vec<(String, Option<i64>)> {
    let number = |bytes: Vec<u8>| i64::from_be_bytes(bytes.try_into().unwrap());
    let text = |bytes: Bytes| String::from_utf8(bytes.unwrap()).unwrap();
    read(log, topic).into_iter().map(|(key, value)| (text(key), value.map(number))).collect()
}

fn start(log: &Arc<SimulatedLog>, topology: Topology, cache: bool, commits: Duration) -> Streams {
    let config =
        Config::new("app", Arc::clone(log) as Arc<dyn Log>).commit_interval(commits).record_cache(cache);
    let app = Streams::new(topology, config).start().unwrap();
    assert!(app.wait_for(State::Running, PATIENCE), "{:?}", app.error());
    app
}

/// Sends records and has the program end with one commit.
fn in_one_commit(log: &Arc<SimulatedLog>, topology: Topology, records: &[(&str, i64)]) {
    let app = start(log, topology, true, Duration::from_secs(3_600));
    let before = end(log, "out");
    let bytes: Vec<(&str, [u8; 8])> = records.iter().map(|(key, n)| (*key, n.to_be_bytes())).collect();
    let records: Vec<(&str, &[u8])> = bytes.iter().map(|(key, n)| (*key, n.as_slice())).collect();
    send(log, "in", 0, &records);
    until("all is processed", || app.metrics().records_in == records.len() as u64);
    assert_eq!(end(log, "out"), before, "nothing is sent before the commit");
    assert!(app.close(PATIENCE));
}

#[test]
fn each_key_is_sent_once_a_commit_in_the_order_of_last_changes() {
    let topology = || {
        let mut builder = StreamsBuilder::new();
        builder
            .stream("in", Consumed::<String, i64>::default())
            .group_by_key()
            .count(Store::named("counts"))
            .to_stream()
            .to("out", Produced::default());
        builder.build().unwrap()
    };
    let log = log(&[("in", 1), ("out", 1)]);
    in_one_commit(&log, topology(), &[("a", 0), ("b", 0), ("a", 0), ("c", 0), ("a", 0), ("b", 0)]);
    in_one_commit(&log, topology(), &[("a", 0)]);
    let found = numbers(&log, "out");
    let expect = [("c", 1), ("a", 3), ("b", 2), ("a", 4)];
    assert_eq!(found, expect.map(|(key, n)| (key.to_owned(), Some(n))));
}

#[test]
fn what_comes_and_goes_between_commits_is_not_sent_and_removals_are() {
    let topology = || {
        let mut builder = StreamsBuilder::new();
        let sum = |_: &String, n: &i64, sum: i64| (sum + n != 0).then_some(sum + n);
        builder
            .stream("in", Consumed::<String, i64>::default())
            .group_by_key()
            .aggregate(|| 0, sum, Store::named("sums"))
            .to_stream()
            .to("out", Produced::default());
        builder.build().unwrap()
    };
    let log = log(&[("in", 1), ("out", 1)]);
    in_one_commit(&log, topology(), &[("fly", 5), ("stay", 5), ("fly", -5)]);
    in_one_commit(&log, topology(), &[("stay", -5), ("fly", 1), ("fly", -1)]);
    in_one_commit(&log, topology(), &[("stay", -5), ("stay", 5), ("fly", 2)]);
    let found = numbers(&log, "out");
    assert_eq!(found, [("stay".into(), Some(5)), ("stay".into(), None), ("fly".into(), Some(2))]);
}

#[test]
fn a_store_without_cache_sends_everything() {
    let mut builder = StreamsBuilder::new();
    builder
        .stream("in", Consumed::<String, i64>::default())
        .group_by_key()
        .count(Store::named("counts").without_cache())
        .to_stream()
        .to("out", Produced::default());
    let log = log(&[("in", 1), ("out", 1)]);
    let app = start(&log, builder.build().unwrap(), true, Duration::from_millis(5));
    send(&log, "in", 0, &[("a", &[0; 8]), ("a", &[0; 8]), ("a", &[0; 8])]);
    until("all three are sent", || end(&log, "out") == 3);
    assert!(app.close(PATIENCE));
}

/// Aggregates of all kinds, one behind the other too, each to the topic `out` under a prefix of its own.
fn all_kinds() -> Topology {
    const SECOND: Duration = Duration::from_secs(1);
    let mut builder = StreamsBuilder::new();
    let stream = builder.stream("in", Consumed::<String, i64>::default());
    let grouped = stream.group_by_key();
    let totals = grouped.reduce(|a, b| a + b, Store::named("totals"));
    totals.to_stream().map(|key, total| (format!("total {key}"), *total)).to("out", Produced::default());
    let first = |key: &String| key.chars().next().map(String::from).unwrap_or_default();
    totals
        .group_by(move |key, total| (first(key), *total), Grouped::default())
        .reduce(|a, b| a + b, |a, b| a - b, Store::named("by-letter"))
        .to_stream()
        .map(|letter, total| (format!("letter {letter}"), *total))
        .to("out", Produced::default());
    let tumbling = grouped.windowed_by(TimeWindows::tumbling(SECOND).grace(60 * SECOND));
    let sliding = grouped.windowed_by(SlidingWindows::with_time_difference(SECOND).grace(60 * SECOND));
    let sessions = grouped.windowed_by(SessionWindows::with_gap(SECOND).grace(60 * SECOND));
    tumbling
        .count(Store::named("tumbling"))
        .to_stream()
        .map(|key, n| (format!("tumbling {key:?}"), *n))
        .to("out", Produced::default());
    sliding
        .count(Store::named("sliding"))
        .to_stream()
        .map(|key, n| (format!("sliding {key:?}"), *n))
        .to("out", Produced::default());
    // Removed sessions must be told, so that these keys are made into text by the sink: `map` passes no tombstones.
    let text = FnSerde::text(|session: &Windowed<String>| format!("{session:?}"));
    sessions.count(Store::named("sessions")).to_stream().to("sessions", Produced::with(text, I64));
    builder.build().unwrap()
}

/// The last value of each key, if it has one, and how many results there were.
fn last_of_all_kinds(cache: bool) -> (BTreeMap<String, i64>, usize) {
    let log = log(&[("in", 1), ("out", 1), ("sessions", 1)]);
    let mut sent = 0;
    for round in 0..4_u64 {
        let app = start(&log, all_kinds(), cache, Duration::from_millis(5));
        for n in 0..10_u64 {
            let mut producer = log.producer(Default::default()).unwrap();
            let mut batch = vigie_log::BatchBuilder::new();
            for i in 0..50 {
                let at = (round * 500 + n * 50 + i) as i64;
                // Times that go back and forth, so that sessions meet.
                let time = 10_000 + at * 20 + (at * 7_919 % 13) * 400;
                let key = format!("{}{}", if at % 3 == 0 { 'x' } else { 'y' }, at * 31 % 7);
                batch.push(time, Some(key.as_bytes()), Some(&(at % 11).to_be_bytes()), &[]);
            }
            producer.begin().unwrap();
            producer.append(&TopicPartition::new("in", 0), &mut batch).unwrap();
            producer.commit().unwrap();
            sent += 50;
        }
        until("all is read", || {
            app.metrics().tasks.iter().flat_map(|task| &task.inputs).map(|input| input.position).max()
                >= Some(sent)
        });
        assert!(app.close(PATIENCE));
    }
    // What the last commit sent to the repartition topic of the letters.
    let app = start(&log, all_kinds(), cache, Duration::from_millis(5));
    until("the letters follow", || {
        let tasks = app.metrics().tasks;
        let repartitioned = end(&log, "app-by-letter-repartition");
        tasks
            .iter()
            .flat_map(|task| &task.inputs)
            .any(|input| input.topic == "app-by-letter-repartition" && input.position == repartitioned)
    });
    assert!(app.close(PATIENCE));
    let mut all = numbers(&log, "out");
    all.extend(numbers(&log, "sessions"));
    let count = all.len();
    let last: BTreeMap<String, Option<i64>> = all.into_iter().collect();
    (last.into_iter().filter_map(|(key, n)| Some((key, n?))).collect(), count)
}

#[test]
fn the_last_results_are_the_same_for_aggregates_of_all_kinds() {
    let (each, many) = last_of_all_kinds(false);
    let (once, fewer) = last_of_all_kinds(true);
    assert!(fewer < many, "{fewer} results, {many} without the cache");
    for kind in ["total", "letter", "tumbling", "sliding", "Windowed"] {
        assert!(each.keys().any(|key| key.starts_with(kind)), "{kind}");
    }
    assert_eq!(once, each);
}

#[test]
fn a_count_sends_keys_and_nulls_through_its_repartition_topic_but_no_values() {
    let mut builder = StreamsBuilder::new();
    let by_value = builder
        .stream("in", Consumed::<String, i64>::default())
        .group_by(|key, value| format!("{key}{value}"));
    by_value.count(Store::named("counts")).to_stream().to("out", Produced::default());
    by_value
        .windowed_by(TimeWindows::tumbling(Duration::from_secs(5)))
        .count(Store::named("windows"))
        .to_stream()
        .for_each(|_, _| ());
    let log = log(&[("in", 1), ("out", 1)]);
    let app = start(&log, builder.build().unwrap(), false, Duration::from_millis(5));
    let (one, two) = (1_i64.to_be_bytes(), 2_i64.to_be_bytes());
    send(&log, "in", 0, &[("a", &one), ("a", &two), ("a", &one)]);
    until("all is counted", || end(&log, "out") == 3);
    assert!(app.close(PATIENCE));
    let expect = [("a1", 1), ("a2", 1), ("a1", 2)];
    assert_eq!(numbers(&log, "out"), expect.map(|(key, n)| (key.to_owned(), Some(n))));
    for topic in ["app-counts-repartition", "app-windows-repartition"] {
        let keys = [b"a1", b"a2", b"a1"].map(|key| (Some(key.to_vec()), Some(Vec::new())));
        assert_eq!(read(&log, topic), keys, "{topic}");
    }
}
