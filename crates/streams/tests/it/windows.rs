//! Windowed counts against a naive model, records in any order.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use vigie_streams::serde::{FnSerde, I64, TimeWindowed, Utf8};
use vigie_streams::{
    Consumed, EmitStrategy, Headers, Produced, SessionWindows, Store, StreamsBuilder, TimeWindows,
    TopologyTestDriver, Windowed,
};

/// (key, start) to count, and the number of late (record, window) pairs.
fn model(size: i64, advance: i64, grace: i64, records: &[(u8, i64)]) -> (BTreeMap<(String, i64), i64>, u64) {
    let (mut counts, mut late, mut observed) = (BTreeMap::new(), 0, -1);
    for (key, at) in records {
        observed = observed.max(*at);
        for start in (0..=*at).filter(|start| start % advance == 0 && start + size > *at) {
            if start + size > observed - grace {
                *counts.entry((format!("k{key}"), start)).or_insert(0) += 1;
            } else {
                late += 1;
            }
        }
    }
    (counts, late)
}

pub(crate) fn millis(ms: i64) -> Duration {
    Duration::from_millis(ms as u64)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn counts_are_those_of_the_model(
        size in 1_i64..50,
        share in 1_i64..50,
        grace in 0_i64..60,
        records in proptest::collection::vec((0_u8..4, 0_i64..300), 0..80),
    ) {
        let advance = share.min(size);
        let mut builder = StreamsBuilder::new();
        builder
            .stream("in", Consumed::<String, i64>::default())
            .group_by_key()
            .windowed_by(TimeWindows::hopping(millis(size), millis(advance)).grace(millis(grace)))
            .count(Store::named("counts").retention(Duration::from_secs(3600)))
            .to_stream()
            .to("out", Produced::default());
        let driver = TopologyTestDriver::new(&builder.build().unwrap(), Default::default()).unwrap();
        let input = driver.input("in", Utf8, I64);
        for (key, at) in &records {
            input.pipe(&format!("k{key}"), &0, *at).unwrap();
        }
        let (expect, late) = model(size, advance, grace, &records);
        let store = driver.window_store::<String, i64>("counts").unwrap();
        let found: BTreeMap<(String, i64), i64> =
            store.all().unwrap().into_iter().map(|(w, n)| ((w.key, w.start), n)).collect();
        prop_assert_eq!(&found, &expect);
        prop_assert_eq!(driver.skipped_and_late(), (0, late));
        let mut last = BTreeMap::new();
        for record in driver.output("out", TimeWindowed::new(Utf8, size), I64).read().unwrap() {
            prop_assert_eq!(record.key.window.end - record.key.window.start, size);
            let before = last.insert((record.key.key, record.key.window.start), record.value.unwrap());
            prop_assert_eq!(before.unwrap_or(0) + 1, record.value.unwrap());
        }
        prop_assert_eq!(&last, &expect);
        for key in 0..4 {
            let key = format!("k{key}");
            let fetched = store.fetch(&key, 50, 150).unwrap();
            let expect: Vec<(i64, i64)> = expect
                .iter()
                .filter(|((k, start), _)| *k == key && (50..=150).contains(start))
                .map(|((_, start), n)| (*start, *n))
                .collect();
            prop_assert_eq!(fetched, expect);
        }
    }
}

#[test]
fn windows_expire_with_stream_time_and_not_before() {
    let mut builder = StreamsBuilder::new();
    let windowed = builder
        .stream("in", Consumed::<String, i64>::default())
        .group_by_key()
        .windowed_by(TimeWindows::tumbling(millis(1_000)));
    windowed.reduce(|a, b| a.max(b), Store::named("peaks").retention(millis(120_000)));
    windowed
        .aggregate(String::new, |_, v, all: String| all + &v.to_string(), Store::named("texts").in_memory())
        .to_stream()
        .to(
            "out",
            Produced::with(
                FnSerde::text(|w: &Windowed<String>| format!("{}@{}", w.key, w.window.start)),
                Utf8,
            ),
        );
    let driver = TopologyTestDriver::new(&builder.build().unwrap(), Default::default()).unwrap();
    let input = driver.input("in", Utf8, I64);
    let peaks = driver.window_store::<String, i64>("peaks").unwrap();
    for (value, at) in [(1, 0), (3, 10), (2, 999), (7, 119_999)] {
        input.pipe(&"k".into(), &value, at).unwrap();
    }
    assert_eq!(peaks.fetch(&"k".into(), 0, 200_000).unwrap(), [(0, 3), (119_000, 7)]);
    input.pipe(&"k".into(), &9, 120_500).unwrap();
    assert_eq!(peaks.fetch(&"k".into(), 0, 200_000).unwrap(), [(119_000, 7), (120_000, 9)]);
    // Segments are dropped whole; what is left in the last one is not shown.
    input.pipe(&"k".into(), &9, 1_000_000).unwrap();
    assert_eq!(peaks.all().unwrap().len(), 1);
    assert_eq!(peaks.observed_time().unwrap(), Some(1_000_000));
    let out = driver.read_raw("out");
    assert_eq!(out[2].key.as_deref(), Some(&b"k@0"[..]));
    assert_eq!(out[2].value.as_deref(), Some(&b"132"[..]));
}

/// As Kafka Streams has it: updates of windows carry the record's headers, those of sessions none, final results those of the record that closed them.
#[test]
fn headers_of_results() {
    let check = |emit: EmitStrategy, sessions: bool, expect: &[Option<&str>]| {
        let mut builder = StreamsBuilder::new();
        let grouped = builder.stream("in", Consumed::<String, i64>::default()).group_by_key();
        let counts = if sessions {
            let windows = grouped.windowed_by(SessionWindows::with_gap(millis(10)));
            windows.emit_strategy(emit).count(Store::default())
        } else {
            let windows = grouped.windowed_by(TimeWindows::tumbling(millis(10)));
            windows.emit_strategy(emit).count(Store::default())
        };
        counts.to_stream().to("out", Produced::default());
        let driver = TopologyTestDriver::new(&builder.build().unwrap(), Default::default()).unwrap();
        for at in [1_i64, 11, 22] {
            let headers = Headers::new().with("h", at.to_string());
            driver.input("in", Utf8, I64).pipe_with(&"a".into(), Some(&0), at, headers).unwrap();
        }
        let out = driver.read_raw("out");
        let found: Vec<_> = out.iter().map(|record| record.headers.get_str("h")).collect();
        assert_eq!(found, expect, "{emit:?}, sessions: {sessions}");
    };
    check(EmitStrategy::on_window_update(), false, &[Some("1"), Some("11"), Some("22")]);
    check(EmitStrategy::on_window_update(), true, &[None, None, None, None]);
    check(EmitStrategy::on_window_close(), false, &[Some("11"), Some("22")]);
    check(EmitStrategy::on_window_close(), true, &[Some("22")]);
}
