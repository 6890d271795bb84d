//! Sliding windows against Kafka Streams' own results and against a naive model.

use std::collections::BTreeMap;

use proptest::prelude::*;
use vigie_streams::serde::{I64, TimeWindowed, Utf8};
use vigie_streams::{
    Consumed, EmitStrategy, Headers, Produced, SlidingWindows, Store, StreamsBuilder, Topology,
    TopologyTestDriver,
};

use crate::windows::millis;

fn counts(difference: i64, grace: i64, emit: EmitStrategy) -> Topology {
    let mut builder = StreamsBuilder::new();
    builder
        .stream("in", Consumed::<String, i64>::default())
        .group_by_key()
        .windowed_by(SlidingWindows::with_time_difference(millis(difference)).grace(millis(grace)))
        .emit_strategy(emit)
        .count(Store::named("counts"))
        .to_stream()
        .to("out", Produced::default());
    builder.build().unwrap()
}

fn read(driver: &TopologyTestDriver, difference: i64) -> Vec<(String, i64, i64, i64)> {
    let out = driver.output("out", TimeWindowed::new(Utf8, difference), I64).read().unwrap();
    let shown = out.into_iter().map(|record| {
        assert_eq!(record.key.window.end - record.key.window.start, difference);
        (record.key.key, record.key.window.start, record.value.unwrap(), record.timestamp)
    });
    shown.collect()
}

/// The expectations are what Kafka Streams 4.3.1 wrote for these records.
#[test]
fn windows_are_made_and_updated_in_kafka_streams_order() {
    let driver =
        TopologyTestDriver::new(&counts(10, 0, EmitStrategy::on_window_update()), Default::default())
            .unwrap();
    let input = driver.input("in", Utf8, I64);
    type Shown = [(i64, i64, i64)];
    let steps: [(i64, &Shown); 9] = [
        (5, &[(0, 1, 5)]),
        (25, &[(15, 1, 25)]),
        (30, &[(26, 1, 30), (20, 2, 30)]),
        (27, &[(26, 2, 30), (20, 3, 30), (28, 1, 30)]),
        (31, &[(28, 2, 31), (26, 3, 31), (31, 1, 31), (21, 4, 31)]),
        (20, &[]),
        (60, &[(50, 1, 60)]),
        (49, &[]),
        (50, &[(50, 2, 60), (51, 1, 60)]),
    ];
    for (at, expect) in steps {
        input.pipe(&"a".into(), &1, at).unwrap();
        let found: Vec<_> =
            read(&driver, 10).into_iter().map(|(_, start, count, at)| (start, count, at)).collect();
        assert_eq!(found, expect, "after {at}");
    }
    input.pipe_with(&"a".into(), None, 60, Headers::new()).unwrap();
    assert!(read(&driver, 10).is_empty());
    assert_eq!(driver.skipped_and_late().0, 1, "a null value");
}

#[test]
fn final_results_come_once() {
    let driver =
        TopologyTestDriver::new(&counts(10, 5, EmitStrategy::on_window_close()), Default::default()).unwrap();
    let input = driver.input("in", Utf8, I64);
    for at in [20, 25, 31, 35] {
        input.pipe(&"a".into(), &1, at).unwrap();
    }
    // Closed: what ends before 35 - 5.
    assert_eq!(read(&driver, 10), [("a".into(), 10, 1, 20), ("a".into(), 15, 2, 25)]);
    input.pipe(&"b".into(), &1, 36).unwrap();
    assert_eq!(read(&driver, 10), []);
    input.pipe(&"b".into(), &1, 37).unwrap();
    assert_eq!(read(&driver, 10), [("a".into(), 21, 2, 31)]);
    input.pipe(&"b".into(), &1, 500).unwrap();
    let rest: Vec<_> =
        read(&driver, 10).into_iter().map(|(key, start, count, _)| (key, start, count)).collect();
    let expect = [("a", 25, 3), ("a", 26, 2), ("b", 26, 1), ("b", 27, 2), ("a", 32, 1), ("b", 37, 1)];
    assert_eq!(rest, expect.map(|(key, start, count)| (key.to_owned(), start, count)));
}

/// All windows by definition: behind and in front of each record, those that hold anything. The window at 0 stands for all that would begin earlier.
fn model(difference: i64, records: &[(u8, i64)]) -> BTreeMap<(String, i64), i64> {
    let mut windows = BTreeMap::new();
    for (key, at) in records {
        for start in [(at - difference).max(0), at + 1] {
            let held = |(other, t): &&(u8, i64)| other == key && (start..=start + difference).contains(t);
            let count = records.iter().filter(held).count() as i64;
            if count > 0 {
                windows.insert((format!("k{key}"), start), count);
            }
        }
    }
    windows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn with_enough_grace_order_does_not_matter(
        difference in 1_i64..40,
        records in proptest::collection::vec((0_u8..3, 0_i64..300), 1..60),
    ) {
        let topology = counts(difference, 1_000, EmitStrategy::on_window_update());
        let driver = TopologyTestDriver::new(&topology, Default::default()).unwrap();
        let input = driver.input("in", Utf8, I64);
        for (key, at) in &records {
            input.pipe(&format!("k{key}"), &0, *at).unwrap();
        }
        let last: BTreeMap<_, _> =
            read(&driver, difference).into_iter().map(|(key, start, count, _)| ((key, start), count)).collect();
        prop_assert_eq!(&last, &model(difference, &records));
        let store = driver.window_store::<String, i64>("counts").unwrap();
        let kept: BTreeMap<_, _> =
            store.all().unwrap().into_iter().map(|(w, n)| ((w.key, w.start), n)).collect();
        prop_assert_eq!(&kept, &last);

        let topology = counts(difference, 1_000, EmitStrategy::on_window_close());
        let driver = TopologyTestDriver::new(&topology, Default::default()).unwrap();
        let input = driver.input("in", Utf8, I64);
        for (key, at) in &records {
            input.pipe(&format!("k{key}"), &0, *at).unwrap();
        }
        prop_assert!(read(&driver, difference).is_empty());
        input.pipe(&"end".into(), &0, 1_000_000).unwrap();
        let finals = read(&driver, difference);
        prop_assert!(finals.is_sorted_by_key(|(_, start, ..)| *start));
        let finals: BTreeMap<_, _> =
            finals.into_iter().map(|(key, start, count, _)| ((key, start), count)).collect();
        prop_assert_eq!(&finals, &last);
    }
}
