//! Joins of streams: edges of windows and grace, what a build refuses, and what survives a restart.

use std::sync::Arc;
use std::time::Duration;

use vigie_log::{BatchBuilder, Log, ProducerConfig, SimulatedLog, TopicPartition};
use vigie_streams::serde::{Nullable, Utf8};
use vigie_streams::{
    Config, Consumed, JoinWindows, Produced, Record, State, StreamJoined, Streams, StreamsBuilder, Topology,
    TopologyError, TopologyTestDriver,
};

use crate::running::{PATIENCE, end, log, until};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Writes one record of its own time.
pub(crate) fn send_at(
    log: &SimulatedLog,
    topic: &str,
    partition: u32,
    key: &str,
    value: Option<&str>,
    at: i64,
) {
    let mut producer = log.producer(ProducerConfig::default()).unwrap();
    let mut batch = BatchBuilder::new();
    batch.push(at, Some(key.as_bytes()), value.map(str::as_bytes), &[]);
    producer.begin().unwrap();
    producer.append(&TopicPartition::new(topic, partition), &mut batch).unwrap();
    producer.commit().unwrap();
}

/// All values of a topic, partition by partition.
pub(crate) fn values(log: &SimulatedLog, topic: &str) -> Vec<Option<String>> {
    let partitions = log.admin().offsets(topic).unwrap();
    let mut found = Vec::new();
    for (number, bounds) in (0..).zip(&partitions) {
        let mut reader = log.reader(&[TopicPartition::new(topic, number)]).unwrap();
        while reader.position(&TopicPartition::new(topic, number)).unwrap_or(0) < bounds.latest {
            for fetched in reader.poll(ms(50)).unwrap() {
                found.extend(
                    fetched
                        .batch
                        .iter()
                        .map(|record| record.value.map(|value| String::from_utf8(value.to_vec()).unwrap())),
                );
            }
        }
    }
    found
}

fn text(left: Option<&String>, right: Option<&String>) -> String {
    let side = |side: Option<&String>| side.map_or("-", String::as_str).to_owned();
    side(left) + "+" + &side(right)
}

fn outer(windows: JoinWindows) -> Topology {
    let mut builder = StreamsBuilder::new();
    let left = builder.stream("left", Consumed::<Option<String>, String>::default());
    let right = builder.stream("right", Consumed::<Option<String>, String>::default());
    let joined = StreamJoined::default().emit_interval(Duration::ZERO);
    left.outer_join_stream(&right, |_, l, r| text(l, r), windows, joined).to("out", Produced::default());
    builder.build().unwrap()
}

struct Driven(TopologyTestDriver);

impl Driven {
    fn pipe(&self, topic: &str, value: &str, at: i64) {
        let input = self.0.input(topic, Nullable::new(Utf8), Utf8);
        input.pipe(&Some(String::from("k")), &value.to_owned(), at).unwrap();
    }

    fn out(&self) -> Vec<(String, i64)> {
        let records: Vec<Record<Option<String>, String>> =
            self.0.output("out", Nullable::new(Utf8), Utf8).read().unwrap();
        records.into_iter().map(|record| (record.value.unwrap(), record.timestamp)).collect()
    }
}

fn pairs(expect: &[(&str, i64)]) -> Vec<(String, i64)> {
    expect.iter().map(|(value, at)| ((*value).to_owned(), *at)).collect()
}

#[test]
fn windows_and_grace_end_to_the_millisecond() {
    let windows = JoinWindows::of_time_difference_and_grace(ms(10), ms(5)).after(ms(20));
    let driven = Driven(TopologyTestDriver::new(&outer(windows), Default::default()).unwrap());
    driven.pipe("left", "a", 100);
    driven.pipe("right", "b", 90);
    driven.pipe("right", "c", 120);
    assert_eq!(driven.out(), pairs(&[("a+b", 100), ("a+c", 120)]));
    driven.pipe("right", "d", 121);
    driven.pipe("right", "e", 89);
    // `e` is late for its window but within the grace: it waits for nobody, since its window's end is behind.
    assert_eq!(driven.out(), pairs(&[("-+e", 89)]));
    // The window of `d` as seen from the right side: 20 before, 10 after, then 5 of grace.
    driven.pipe("right", "far", 136);
    assert_eq!(driven.out(), pairs(&[]));
    driven.pipe("right", "farther", 137);
    assert_eq!(driven.out(), pairs(&[("-+d", 121)]));
    driven.pipe("left", "f", 138);
    assert_eq!(driven.out(), pairs(&[("f+far", 138), ("f+farther", 138)]));
}

#[test]
fn null_keys_and_values_find_no_partner() {
    let windows = JoinWindows::of_time_difference_with_no_grace(ms(10));
    let driven = Driven(TopologyTestDriver::new(&outer(windows), Default::default()).unwrap());
    let left = driven.0.input("left", Nullable::new(Utf8), Utf8);
    left.pipe(&None, &String::from("a"), 5).unwrap();
    left.pipe_with(&Some(String::from("k")), None, 5, Default::default()).unwrap();
    assert_eq!(driven.out(), pairs(&[("a+-", 5)]));
    assert_eq!(driven.0.skipped_and_late(), (1, 0));
}

#[test]
fn impossible_joins_are_refused() {
    let build = |windows: JoinWindows| {
        let mut builder = StreamsBuilder::new();
        let left = builder.stream("left", Consumed::<String, String>::default());
        let right = builder.stream("right", Consumed::<String, String>::default());
        left.join_stream(&right, |_, l, r| l.clone() + r, windows, StreamJoined::default())
            .to("out", Produced::default());
        builder.build()
    };
    let windows = JoinWindows::of_time_difference_with_no_grace(ms(10));
    assert!(build(windows).is_ok());
    let error = build(windows.between(5, 4)).unwrap_err();
    assert!(
        matches!(&error, TopologyError::Invalid { node, .. } if node == "KSTREAM-MERGE-0000000006"),
        "{error}"
    );
    // Streams of two builders.
    let mut other = StreamsBuilder::new();
    let foreign = other.stream("right", Consumed::<String, String>::default());
    let mut builder = StreamsBuilder::new();
    let left = builder.stream("left", Consumed::<String, String>::default());
    left.join_stream(&foreign, |_, l, r| l.clone() + r, windows, StreamJoined::default())
        .to("out", Produced::default());
    assert!(matches!(builder.build(), Err(TopologyError::ForeignStream { .. })));
    // Topics that cannot be lined up.
    let log = log(&[("left", 2), ("right", 3), ("out", 1)]);
    let config = Config::new("app", Arc::clone(&log) as Arc<dyn Log>);
    let error = Streams::new(build(windows).unwrap(), config).start().map(|_| ()).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("`left` has 2") && said.contains("`right` has 3"), "{said}");
}

#[test]
fn what_waits_for_a_partner_survives_a_restart() {
    let log = log(&[("left", 1), ("right", 1), ("out", 1)]);
    let dir = tempfile::tempdir().unwrap();
    let run = |keep_files: bool, work: &dyn Fn()| {
        if !keep_files {
            std::fs::remove_dir_all(dir.path()).unwrap();
        }
        let config = Config::new("app", Arc::clone(&log) as Arc<dyn Log>)
            .commit_interval(ms(10))
            .state_dir(dir.path());
        let topology = outer(JoinWindows::of_time_difference_and_grace(ms(10), ms(5)));
        let app = Streams::new(topology, config).start().unwrap();
        assert!(app.wait_for(State::Running, PATIENCE));
        work();
        assert!(app.close(PATIENCE));
    };
    run(true, &|| {
        send_at(&log, "left", 0, "k", Some("a"), 100);
        send_at(&log, "left", 0, "k", Some("a"), 100);
        send_at(&log, "left", 0, "j", Some("lonely"), 101);
        // Something with a result, to know that the others have been processed.
        send_at(&log, "right", 0, "j", Some("late"), 0);
        until("the late one is joined with nothing", || end(&log, "out") == 1);
    });
    run(true, &|| {
        send_at(&log, "right", 0, "k", Some("b"), 110);
        until("both are joined", || end(&log, "out") == 3);
    });
    // From the changelogs alone.
    run(false, &|| {
        send_at(&log, "right", 0, "k", Some("c"), 105);
        send_at(&log, "left", 0, "x", Some("far"), 200);
        until("the rest is joined with nothing", || end(&log, "out") == 6);
    });
    let found: Vec<String> = values(&log, "out").into_iter().flatten().collect();
    assert_eq!(found, ["-+late", "a+b", "a+b", "a+c", "a+c", "lonely+-"]);
}
