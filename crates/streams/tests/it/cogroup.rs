//! `cogroup`, with and without windows: results, names, co-partitioning.

use std::sync::{Arc, Mutex};

use vigie_streams::serde::{I64, SessionWindowed, TimeWindowed, Utf8};
use vigie_streams::{
    Consumed, Grouped, Printed, Produced, SessionWindows, SlidingWindows, Store, StreamsBuilder,
    TopologyTestDriver,
};

use crate::windows::millis;

#[test]
fn describe_is_kafka_streams() {
    let mut builder = StreamsBuilder::new();
    let first = builder.stream("in", Consumed::<String, String>::default()).group_by_key();
    let second = builder.stream("in2", Consumed::<String, String>::default()).group_by(|_, v| v.clone());
    first
        .cogroup(|_, v, all: String| all + v)
        .cogroup(&second, |_, v, all| all + "2" + v)
        .aggregate(String::new, Store::default())
        .to_stream()
        .to("out", Produced::default());
    let expect = "Topologies:
   Sub-topology: 0
    Source: COGROUPKSTREAM-AGGREGATE-STATE-STORE-0000000003-repartition-source (topics: [COGROUPKSTREAM-AGGREGATE-STATE-STORE-0000000003-repartition])
      --> COGROUPKSTREAM-AGGREGATE-0000000008
    Source: KSTREAM-SOURCE-0000000000 (topics: [in])
      --> COGROUPKSTREAM-AGGREGATE-0000000007
    Processor: COGROUPKSTREAM-AGGREGATE-0000000007 (stores: [COGROUPKSTREAM-AGGREGATE-STATE-STORE-0000000003])
      --> COGROUPKSTREAM-MERGE-0000000009
      <-- KSTREAM-SOURCE-0000000000
    Processor: COGROUPKSTREAM-AGGREGATE-0000000008 (stores: [COGROUPKSTREAM-AGGREGATE-STATE-STORE-0000000003])
      --> COGROUPKSTREAM-MERGE-0000000009
      <-- COGROUPKSTREAM-AGGREGATE-STATE-STORE-0000000003-repartition-source
    Processor: COGROUPKSTREAM-MERGE-0000000009 (stores: [])
      --> KTABLE-TOSTREAM-0000000010
      <-- COGROUPKSTREAM-AGGREGATE-0000000007, COGROUPKSTREAM-AGGREGATE-0000000008
    Processor: KTABLE-TOSTREAM-0000000010 (stores: [])
      --> KSTREAM-SINK-0000000011
      <-- COGROUPKSTREAM-MERGE-0000000009
    Sink: KSTREAM-SINK-0000000011 (topic: out)
      <-- KTABLE-TOSTREAM-0000000010

  Sub-topology: 1
    Source: KSTREAM-SOURCE-0000000001 (topics: [in2])
      --> KSTREAM-KEY-SELECT-0000000002
    Processor: KSTREAM-KEY-SELECT-0000000002 (stores: [])
      --> COGROUPKSTREAM-AGGREGATE-STATE-STORE-0000000003-repartition-filter
      <-- KSTREAM-SOURCE-0000000001
    Processor: COGROUPKSTREAM-AGGREGATE-STATE-STORE-0000000003-repartition-filter (stores: [])
      --> COGROUPKSTREAM-AGGREGATE-STATE-STORE-0000000003-repartition-sink
      <-- KSTREAM-KEY-SELECT-0000000002
    Sink: COGROUPKSTREAM-AGGREGATE-STATE-STORE-0000000003-repartition-sink (topic: COGROUPKSTREAM-AGGREGATE-STATE-STORE-0000000003-repartition)
      <-- COGROUPKSTREAM-AGGREGATE-STATE-STORE-0000000003-repartition-filter

";
    assert_eq!(builder.build().unwrap().describe(), expect);
}

#[test]
fn sessions_of_several_streams_merge_and_print() {
    let lines = Lines::default();
    let mut builder = StreamsBuilder::new();
    let words = builder.stream("words", Consumed::<String, String>::default()).group_by_key();
    let numbers = builder
        .stream("numbers", Consumed::<String, i64>::default())
        .group_by_with(|key, _| key.clone(), Grouped::default().named("by-key"));
    let all =
        words.cogroup(|_, word, all: String| all + word).cogroup(&numbers, |_, n, all| format!("{all}{n}"));
    let sessions = all
        .windowed_by(SessionWindows::with_gap(millis(10)).grace(millis(100)))
        .named("cg")
        .aggregate(String::new, |_, a, b| a + &b, Store::named("st"))
        .to_stream();
    sessions.to("sessions", Produced::with(SessionWindowed::new(Utf8), Utf8));
    sessions.print(
        Printed::by(|w: &vigie_streams::Windowed<String>, all: Option<&String>| {
            format!("{}@{}, {}", w.key, w.window.start, all.map_or("null", String::as_str))
        })
        .to_writer(lines.clone()),
    );
    let topology = builder.build().unwrap();
    let names = topology.describe();
    for name in ["cg-cogroup-agg-0", "cg-cogroup-agg-1", "cg-cogroup-merge", "by-key-repartition-filter"] {
        assert!(names.contains(name), "{name} in {names}");
    }
    let driver = TopologyTestDriver::new(&topology, Default::default()).unwrap();
    let (words, numbers) = (driver.input("words", Utf8, Utf8), driver.input("numbers", Utf8, I64));
    words.pipe(&"k".into(), &"a".into(), 0).unwrap();
    numbers.pipe(&"k".into(), &7, 20).unwrap();
    words.pipe(&"k".into(), &"b".into(), 10).unwrap();
    let out = driver.output("sessions", SessionWindowed::new(Utf8), Utf8).read().unwrap();
    let out: Vec<_> = out.into_iter().map(|r| (r.key.window.start, r.key.window.end, r.value)).collect();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(
        out,
        [(0, 0, text("a")), (20, 20, text("7")), (0, 0, None), (20, 20, None), (0, 20, text("a7b"))]
    );
    let printed = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let line = printed.lines().next_back().unwrap();
    assert!(line.starts_with("[KTABLE-TOSTREAM-") && line.ends_with("]: k@0, a7b"), "{line}");
}

#[test]
fn sliding_windows_of_several_streams() {
    let mut builder = StreamsBuilder::new();
    let first = builder.stream("a", Consumed::<String, i64>::default()).group_by_key();
    let second = builder.stream("b", Consumed::<String, String>::default()).group_by_key();
    first
        .cogroup(|_, n, sum: i64| sum + n)
        .cogroup(&second, |_, text, sum| sum + text.len() as i64)
        .windowed_by(SlidingWindows::with_time_difference(millis(10)))
        .aggregate(|| 0, Store::named("sums"))
        .to_stream()
        .to("out", Produced::default());
    let driver = TopologyTestDriver::new(&builder.build().unwrap(), Default::default()).unwrap();
    driver.input("a", Utf8, I64).pipe(&"k".into(), &100, 20).unwrap();
    driver.input("b", Utf8, Utf8).pipe(&"k".into(), &"xyz".into(), 25).unwrap();
    let out = driver.output("out", TimeWindowed::new(Utf8, 10), I64).read().unwrap();
    let out: Vec<_> = out.into_iter().map(|r| (r.key.window.start, r.value)).collect();
    assert_eq!(out, [(10, Some(100)), (21, Some(3)), (15, Some(103))]);
}

#[test]
fn a_table_behind_a_cogroup_sees_the_row_before() {
    let mut builder = StreamsBuilder::new();
    let first = builder.stream("a", Consumed::<String, i64>::default()).group_by_key();
    let second = builder.stream("b", Consumed::<String, i64>::default()).group_by_key();
    first
        .cogroup(|_, n, sum: i64| sum + n)
        .cogroup(&second, |_, n, sum| sum - n)
        .aggregate(|| 0, Store::named("sums"))
        .group_by(
            |_, sum| (if *sum < 10 { "small".to_owned() } else { "large".to_owned() }, *sum),
            Grouped::default(),
        )
        .count(Store::named("sizes"));
    let driver = TopologyTestDriver::new(&builder.build().unwrap(), Default::default()).unwrap();
    let (a, b) = (driver.input("a", Utf8, I64), driver.input("b", Utf8, I64));
    a.pipe(&"x".into(), &20, 0).unwrap();
    a.pipe(&"y".into(), &30, 1).unwrap();
    b.pipe(&"x".into(), &15, 2).unwrap();
    let sizes = driver.store::<String, i64>("sizes").unwrap();
    assert_eq!(sizes.get(&"large".into()).unwrap(), Some(1));
    assert_eq!(sizes.get(&"small".into()).unwrap(), Some(1));
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Kafka Streams looks for the rows of such a table in a store of another kind, and fails.
#[test]
fn cogrouped_windows_are_joined_with_other_windows() {
    let mut builder = StreamsBuilder::new();
    let windows = vigie_streams::TimeWindows::tumbling(std::time::Duration::from_millis(10));
    let left = builder.stream("left", Consumed::<String, i64>::default()).group_by_key();
    let right = builder.stream("right", Consumed::<String, i64>::default()).group_by_key();
    let sums = left.cogroup(|_, n, sum: i64| sum + n).windowed_by(windows).aggregate(|| 0, Store::default());
    let counts = right.windowed_by(windows).count(Store::default());
    let joined = sums.left_join(&counts, |_, sum, count| sum * 100 + count.copied().unwrap_or(0));
    let text = vigie_streams::serde::FnSerde::text(|key: &vigie_streams::Windowed<String>| key.key.clone());
    joined.to_stream().to("out", vigie_streams::Produced::with(text, I64));
    let driver = TopologyTestDriver::new(&builder.build().unwrap(), Default::default()).unwrap();
    for (topic, n, at) in [("left", 3, 1), ("right", 1, 2), ("left", 4, 3), ("right", 1, 11), ("left", 9, 12)]
    {
        driver.input(topic, Utf8, I64).pipe(&"k".into(), &n, at).unwrap();
    }
    let out = driver.output("out", Utf8, I64).read_key_values().unwrap();
    let out: Vec<i64> = out.into_iter().filter_map(|(_, value)| value).collect();
    assert_eq!(out, [300, 301, 701, 901]);
}
