//! `suppress`: final results, time limits, full buffers, names.

use std::time::Duration;

use vigie_streams::serde::{I64, SessionWindowed, TimeWindowed, Utf8};
use vigie_streams::{
    BufferConfig, Consumed, DriverConfig, ErrorHandler, Headers, Produced, SessionWindows, Store,
    StreamsBuilder, Suppressed, TimeWindows, TopologyError, TopologyTestDriver,
};

use crate::windows::millis;

fn limited(suppressed: Suppressed<String>) -> TopologyTestDriver {
    let mut builder = StreamsBuilder::new();
    builder
        .table("in", Consumed::<String, i64>::default(), Store::named("rows"))
        .suppress(suppressed)
        .to_stream()
        .to("out", Produced::with(Utf8, I64));
    TopologyTestDriver::new(&builder.build().unwrap(), Default::default()).unwrap()
}

fn read(driver: &TopologyTestDriver) -> Vec<(String, Option<i64>, i64)> {
    let out = driver.output("out", Utf8, I64).read().unwrap();
    out.into_iter().map(|record| (record.key, record.value, record.timestamp)).collect()
}

fn shown(rows: &[(&str, Option<i64>, i64)]) -> Vec<(String, Option<i64>, i64)> {
    rows.iter().map(|(key, value, at)| ((*key).to_owned(), *value, *at)).collect()
}

#[test]
fn a_key_keeps_the_place_of_its_first_update() {
    let driver = limited(Suppressed::until_time_limit(millis(10), BufferConfig::unbounded()));
    let input = driver.input("in", Utf8, I64);
    for (key, value, at) in [("b", 1, 0), ("a", 1, 0), ("a", 2, 9), ("c", 1, 5)] {
        input.pipe(&key.into(), &value, at).unwrap();
    }
    assert_eq!(read(&driver), []);
    // Equal times go by key; the value and its time are the last ones.
    input.pipe(&"d".into(), &1, 10).unwrap();
    assert_eq!(read(&driver), shown(&[("a", Some(2), 9), ("b", Some(1), 0)]));
    // Tombstones are updates like others.
    input.pipe_with(&"a".into(), None, 15, Headers::new().with("h", "v")).unwrap();
    assert_eq!(read(&driver), shown(&[("c", Some(1), 5)]));
    input.pipe(&"x".into(), &1, 25).unwrap();
    let out = driver.output("out", Utf8, I64).read().unwrap();
    assert_eq!(out[1].headers.get_str("h"), Some("v"), "headers stay with their update");
    let out: Vec<_> = out.into_iter().map(|r| (r.key, r.value, r.timestamp)).collect();
    assert_eq!(out, shown(&[("d", Some(1), 10), ("a", None, 15)]));
}

#[test]
fn a_limit_of_zero_holds_nothing_back() {
    let driver = limited(Suppressed::until_time_limit(Duration::ZERO, BufferConfig::max_records(1)));
    let input = driver.input("in", Utf8, I64);
    for at in [5, 3, 5] {
        input.pipe(&"a".into(), &at, at).unwrap();
    }
    assert_eq!(read(&driver), shown(&[("a", Some(5), 5), ("a", Some(3), 3), ("a", Some(5), 5)]));
}

#[test]
fn full_buffers_send_their_oldest_early_or_stop() {
    let early = limited(Suppressed::until_time_limit(millis(1_000), BufferConfig::max_records(2)));
    let input = early.input("in", Utf8, I64);
    for (key, at) in [("a", 3), ("b", 1), ("a", 9), ("c", 2)] {
        input.pipe(&key.into(), &at, at).unwrap();
    }
    assert_eq!(read(&early), shown(&[("b", Some(1), 1)]));

    // 8 + 8 + 8 + 4 bytes of times and places, the topic's two letters, a key of one letter, the new value, no old one.
    let entry = 28 + 2 + 1 + 8;
    for (limit, expect) in [(2 * entry, 0), (2 * entry - 1, 1)] {
        let bytes = limited(Suppressed::until_time_limit(millis(1_000), BufferConfig::max_bytes(limit)));
        let input = bytes.input("in", Utf8, I64);
        for (key, at) in [("a", 3), ("b", 1)] {
            input.pipe(&key.into(), &at, at).unwrap();
        }
        assert_eq!(read(&bytes).len(), expect, "limit {limit}");
    }

    let strict = BufferConfig::max_records(1).shut_down_when_full();
    let stops = limited(Suppressed::until_time_limit(millis(1_000), strict).named("held"));
    let input = stops.input("in", Utf8, I64);
    input.pipe(&"a".into(), &1, 1).unwrap();
    input.pipe(&"a".into(), &2, 2).unwrap();
    let error = input.pipe(&"b".into(), &1, 1).unwrap_err().to_string();
    assert!(error.contains("held") && error.contains("2 of 1 records"), "{error}");
}

#[test]
fn final_results_of_windows_and_sessions() {
    let mut builder = StreamsBuilder::new();
    let grouped = builder.stream("in", Consumed::<String, i64>::default()).group_by_key();
    grouped
        .windowed_by(TimeWindows::tumbling(millis(10)).grace(millis(3)))
        .count(Store::named("counts"))
        .suppress(Suppressed::until_window_closes(BufferConfig::unbounded()))
        .to_stream()
        .to("windows", Produced::default());
    grouped
        .windowed_by(SessionWindows::with_gap(millis(10)).grace(millis(3)))
        .count(Store::default())
        .filter(|_, count| *count > 1)
        .suppress(Suppressed::until_window_closes(BufferConfig::unbounded()))
        .to_stream()
        .to("sessions", Produced::default());
    let driver = TopologyTestDriver::new(&builder.build().unwrap(), Default::default()).unwrap();
    let input = driver.input("in", Utf8, I64);
    let windows = driver.output("windows", TimeWindowed::new(Utf8, 10), I64);
    let sessions = driver.output("sessions", SessionWindowed::new(Utf8), I64);
    for (key, at) in [("b", 4), ("a", 9), ("a", 12), ("a", 8)] {
        input.pipe(&key.into(), &0, at).unwrap();
    }
    assert!(windows.read().unwrap().is_empty());
    input.pipe(&"z".into(), &0, 13).unwrap();
    let closed: Vec<_> = windows
        .read()
        .unwrap()
        .into_iter()
        .map(|r| (r.key.key, r.key.window.start, r.value, r.timestamp))
        .collect();
    assert_eq!(closed, [("a".into(), 0, Some(2), 9), ("b".into(), 0, Some(1), 4)]);
    input.pipe(&"z".into(), &0, 24).unwrap();
    assert!(sessions.read().unwrap().is_empty());
    // The filter lets the first `y` not through, so that the suppression learns of 25 from the second.
    input.pipe(&"y".into(), &0, 25).unwrap();
    assert!(sessions.read().unwrap().is_empty());
    input.pipe(&"y".into(), &0, 25).unwrap();
    let closed: Vec<_> =
        sessions.read().unwrap().into_iter().map(|r| (r.key.key, r.key.window.start, r.value)).collect();
    // `b` was never more than one record; sessions that were merged away leave no tombstone.
    assert_eq!(closed, [("a".into(), 8, Some(3))]);
}

#[test]
fn names_are_kafka_streams() {
    let build = |suppressed: fn() -> Suppressed<vigie_streams::Windowed<String>>| {
        let mut builder = StreamsBuilder::new();
        builder
            .stream("in", Consumed::<String, i64>::default())
            .group_by_key()
            .windowed_by(TimeWindows::tumbling(millis(10)))
            .count(Store::default())
            .suppress(suppressed())
            .to_stream()
            .to("out", Produced::default());
        builder.build().unwrap().describe()
    };
    let unnamed = build(|| Suppressed::until_window_closes(BufferConfig::unbounded()));
    let expect = "Topologies:
   Sub-topology: 0
    Source: KSTREAM-SOURCE-0000000000 (topics: [in])
      --> KSTREAM-AGGREGATE-0000000002
    Processor: KSTREAM-AGGREGATE-0000000002 (stores: [KSTREAM-AGGREGATE-STATE-STORE-0000000001])
      --> KTABLE-SUPPRESS-0000000003
      <-- KSTREAM-SOURCE-0000000000
    Processor: KTABLE-SUPPRESS-0000000003 (stores: [KTABLE-SUPPRESS-STATE-STORE-0000000004])
      --> KTABLE-TOSTREAM-0000000005
      <-- KSTREAM-AGGREGATE-0000000002
    Processor: KTABLE-TOSTREAM-0000000005 (stores: [])
      --> KSTREAM-SINK-0000000006
      <-- KTABLE-SUPPRESS-0000000003
    Sink: KSTREAM-SINK-0000000006 (topic: out)
      <-- KTABLE-TOSTREAM-0000000005

";
    assert_eq!(unnamed, expect);
    let named = build(|| Suppressed::until_window_closes(BufferConfig::unbounded()).named("mysup"));
    assert!(
        named.contains("Processor: mysup (stores: [mysup-store])\n      --> KTABLE-TOSTREAM-0000000003"),
        "{named}"
    );
}

#[test]
fn only_windows_close() {
    let mut builder = StreamsBuilder::new();
    builder
        .table("in", Consumed::with(TimeWindowed::new(Utf8, 10), I64), Store::default())
        .suppress(Suppressed::until_window_closes(BufferConfig::unbounded()))
        .to_stream()
        .to("out", Produced::default());
    match builder.build() {
        Err(TopologyError::Invalid { node, reason }) => {
            assert!(
                node.starts_with("KTABLE-SUPPRESS-") && reason.contains("until_time_limit"),
                "{node}: {reason}"
            );
        }
        other => panic!("{:?}", other.map(|topology| topology.describe())),
    }
}

#[test]
fn a_full_buffer_is_for_the_processing_handler_to_decide() {
    let mut builder = StreamsBuilder::new();
    let strict = BufferConfig::max_records(1).shut_down_when_full();
    builder
        .table("in", Consumed::<String, i64>::default(), Store::default())
        .suppress(Suppressed::until_time_limit(millis(10), strict))
        .to_stream()
        .to("out", Produced::default());
    let config =
        DriverConfig { processing_error: ErrorHandler::log_and_continue(), ..DriverConfig::default() };
    let driver = TopologyTestDriver::new(&builder.build().unwrap(), config).unwrap();
    let input = driver.input("in", Utf8, I64);
    for (key, at) in [("a", 0), ("b", 1), ("c", 11)] {
        input.pipe(&key.into(), &at, at).unwrap();
    }
    assert_eq!(read(&driver), shown(&[("a", Some(0), 0), ("b", Some(1), 1)]));
}
