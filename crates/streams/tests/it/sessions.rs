//! Session windows: merges and their tombstones, late records to the millisecond, null keys and values, final results, restart with state.

use std::collections::BTreeMap;

use proptest::prelude::*;
use vigie_streams::serde::{I64, Nullable, SessionWindowed, Utf8};
use vigie_streams::{
    Consumed, EmitStrategy, Headers, Produced, SessionWindows, Store, StreamsBuilder, Topology,
    TopologyTestDriver,
};

use crate::windows::millis;

type Shown = (String, i64, i64, Option<i64>);
type Expect<'s> = &'s [(&'s str, i64, i64, Option<i64>)];
/// Key, value, timestamp, what comes out.
type Step<'s> = (Option<&'s str>, Option<i64>, i64, Expect<'s>);

fn counts(gap: i64, grace: i64, emit: EmitStrategy) -> Topology {
    let mut builder = StreamsBuilder::new();
    builder
        .stream("in", Consumed::<Option<String>, i64>::default())
        .group_by_key()
        .windowed_by(SessionWindows::with_gap(millis(gap)).grace(millis(grace)))
        .emit_strategy(emit)
        .count(Store::named("counts"))
        .to_stream()
        .to("out", Produced::default());
    builder.build().unwrap()
}

fn read(driver: &TopologyTestDriver) -> Vec<Shown> {
    let out = driver.output("out", SessionWindowed::new(Nullable::new(Utf8)), I64).read().unwrap();
    let shown = out.into_iter().map(|record| {
        assert_eq!(record.timestamp, record.key.window.end, "a session's time is its end");
        (record.key.key.unwrap(), record.key.window.start, record.key.window.end, record.value)
    });
    shown.collect()
}

fn check(topology: &Topology, steps: &[Step<'_>]) -> (u64, u64) {
    let driver = TopologyTestDriver::new(topology, Default::default()).unwrap();
    let input = driver.input("in", Nullable::new(Utf8), I64);
    for (key, value, at, expect) in steps {
        input.pipe_with(&key.map(String::from), value.as_ref(), *at, Headers::new().with("h", "1")).unwrap();
        let expect: Vec<Shown> =
            expect.iter().map(|(key, start, end, value)| ((*key).to_owned(), *start, *end, *value)).collect();
        assert_eq!(read(&driver), expect, "after {key:?} at {at}");
    }
    driver.skipped_and_late()
}

/// The expectations are what Kafka Streams 4.3.1 wrote for these records.
#[test]
fn sessions_merge_and_say_so() {
    let topology = counts(10, 0, EmitStrategy::on_window_update());
    let counted = check(
        &topology,
        &[
            (Some("a"), Some(1), 5, &[("a", 5, 5, Some(1))]),
            (Some("b"), Some(1), 20, &[("b", 20, 20, Some(1))]),
            // The session that ended at 5 is out of the store's reach; the end of this one is just not late.
            (Some("a"), Some(1), 10, &[("a", 10, 10, Some(1))]),
            (Some("a"), Some(2), 25, &[("a", 25, 25, Some(1))]),
            (Some("a"), Some(3), 15, &[("a", 25, 25, None), ("a", 15, 25, Some(2))]),
            (Some("a"), None, 40, &[("a", 40, 40, Some(1))]),
            (Some("a"), Some(0), 30, &[("a", 40, 40, None), ("a", 30, 40, Some(2))]),
            (None, Some(0), 90, &[]),
            (Some("a"), Some(0), 31, &[("a", 30, 40, None), ("a", 30, 40, Some(3))]),
            (Some("a"), Some(0), 29, &[("a", 30, 40, None), ("a", 29, 40, Some(4))]),
            (Some("c"), Some(0), 29, &[]),
        ],
    );
    assert_eq!(counted, (1, 1), "the null key; `c` at 29, one millisecond behind 40 - 10");
}

#[test]
fn grace_ends_to_the_millisecond() {
    for (grace, at, late) in [(0, 89, 1), (0, 90, 0), (7, 82, 1), (7, 83, 0), (90, 0, 0), (89, 0, 1)] {
        let topology = counts(10, grace, EmitStrategy::on_window_update());
        let driver = TopologyTestDriver::new(&topology, Default::default()).unwrap();
        let input = driver.input("in", Nullable::new(Utf8), I64);
        input.pipe(&Some("a".into()), &0, 100).unwrap();
        input.pipe(&Some("b".into()), &0, at).unwrap();
        assert_eq!(driver.skipped_and_late(), (0, late), "grace {grace}, at {at}");
        assert_eq!(read(&driver).len(), 2 - late as usize);
    }
}

#[test]
fn final_results_come_once_in_order_of_their_ends() {
    let topology = counts(10, 2, EmitStrategy::on_window_close());
    check(
        &topology,
        &[
            (Some("a"), Some(1), 5, &[]),
            (Some("b"), Some(1), 6, &[]),
            (Some("a"), Some(1), 12, &[]),
            (Some("b"), Some(1), 18, &[]),
            (Some("c"), Some(1), 19, &[("b", 6, 6, Some(1))]),
            (Some("c"), Some(1), 24, &[]),
            (Some("c"), Some(1), 25, &[("a", 5, 12, Some(2))]),
            (Some("z"), Some(1), 1_000_000, &[("b", 18, 18, Some(1)), ("c", 19, 25, Some(3))]),
        ],
    );
}

#[test]
fn an_aggregate_that_is_gone_takes_its_session_along() {
    let mut builder = StreamsBuilder::new();
    builder
        .stream("in", Consumed::<String, i64>::default())
        .group_by_key()
        .windowed_by(SessionWindows::with_gap(millis(10)))
        .aggregate(
            || 100,
            |_, value, sum: i64| (*value != 0).then_some(sum + value),
            |_, a, b| a + b,
            Store::named("sums"),
        )
        .to_stream()
        .to("out", Produced::with(SessionWindowed::new(Utf8), I64));
    let driver = TopologyTestDriver::new(&builder.build().unwrap(), Default::default()).unwrap();
    let input = driver.input("in", Utf8, I64);
    for (value, at) in [(1, 0), (2, 5), (0, 6), (3, 7)] {
        input.pipe(&"k".into(), &value, at).unwrap();
    }
    let out = driver.output("out", SessionWindowed::new(Utf8), I64).read().unwrap();
    let out: Vec<_> = out.into_iter().map(|r| (r.key.window.start, r.key.window.end, r.value)).collect();
    // Each merge begins with the initial value.
    assert_eq!(
        out,
        [(0, 0, Some(101)), (0, 0, None), (0, 5, Some(203)), (0, 5, None), (0, 6, None), (7, 7, Some(103))]
    );
}

/// Sessions by brute force: all records of a key, in order of time, cut where the gap is larger.
fn model(gap: i64, records: &[(u8, i64)]) -> BTreeMap<(String, i64, i64), i64> {
    let mut times: BTreeMap<u8, Vec<i64>> = BTreeMap::new();
    for (key, at) in records {
        times.entry(*key).or_default().push(*at);
    }
    let mut sessions = BTreeMap::new();
    for (key, mut times) in times {
        times.sort_unstable();
        for session in times.chunk_by(|a, b| b - a <= gap) {
            let bounds = (session[0], session[session.len() - 1]);
            sessions.insert((format!("k{key}"), bounds.0, bounds.1), session.len() as i64);
        }
    }
    sessions
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn with_enough_grace_order_does_not_matter(
        gap in 0_i64..40,
        records in proptest::collection::vec((0_u8..3, 0_i64..400), 1..60),
    ) {
        let topology = counts(gap, 1_000, EmitStrategy::on_window_update());
        let driver = TopologyTestDriver::new(&topology, Default::default()).unwrap();
        let input = driver.input("in", Nullable::new(Utf8), I64);
        for (key, at) in &records {
            input.pipe(&Some(format!("k{key}")), &0, *at).unwrap();
        }
        let mut last = BTreeMap::new();
        for (key, start, end, value) in read(&driver) {
            match value {
                Some(value) => { last.insert((key, start, end), value); }
                None => prop_assert!(last.remove(&(key, start, end)).is_some(), "a tombstone of nothing"),
            }
        }
        prop_assert_eq!(&last, &model(gap, &records));

        // The same, each session once, when all have closed.
        let topology = counts(gap, 1_000, EmitStrategy::on_window_close());
        let driver = TopologyTestDriver::new(&topology, Default::default()).unwrap();
        let input = driver.input("in", Nullable::new(Utf8), I64);
        for (key, at) in &records {
            input.pipe(&Some(format!("k{key}")), &0, *at).unwrap();
        }
        prop_assert!(read(&driver).is_empty());
        input.pipe(&Some("end".into()), &0, 1_000_000).unwrap();
        let finals = read(&driver);
        prop_assert!(finals.is_sorted_by_key(|(_, start, end, _)| (*end, *start)));
        let finals: BTreeMap<_, _> =
            finals.into_iter().map(|(key, start, end, value)| ((key, start, end), value.unwrap())).collect();
        prop_assert_eq!(finals, model(gap, &records));
    }
}
