//! Operators that look at one record at a time, nulls among them.

use vigie_streams::serde::{I64, Nullable, Utf8};
use vigie_streams::{
    Consumed, Headers, KStream, Produced, Repartitioned, StreamsBuilder, TopologyTestDriver,
};

type Row = (Option<String>, Option<i64>);

fn row(key: &str, value: impl Into<Option<i64>>) -> Row {
    (Some(key.to_owned()).filter(|key| !key.is_empty()), value.into())
}

/// Sends `input` through `build` and compares what comes out.
fn check(
    build: impl FnOnce(KStream<Option<String>, i64>) -> KStream<Option<String>, i64>,
    input: &[Row],
    expect: &[Row],
) {
    let mut builder = StreamsBuilder::new();
    let stream = builder.stream("in", Consumed::<Option<String>, i64>::default());
    build(stream).to("out", Produced::with(Nullable::new(Utf8), I64));
    let driver = TopologyTestDriver::new(&builder.build().unwrap(), Default::default()).unwrap();
    let pipe = driver.input("in", Nullable::new(Utf8), I64);
    for (at, (key, value)) in input.iter().enumerate() {
        pipe.pipe_with(key, value.as_ref(), at as i64, Headers::new().with("h", "v")).unwrap();
    }
    let records = driver.output("out", Nullable::new(Utf8), I64).read().unwrap();
    assert!(records.iter().all(|r| r.headers.get("h") == Some(b"v")), "headers travel with the record");
    let found: Vec<Row> = records.into_iter().map(|r| (r.key, r.value)).collect();
    assert_eq!(found, expect);
}

#[test]
fn each_operator() {
    let input = [row("a", 1), row("", 2), row("b", None), row("c", 3)];
    check(|s| s.filter(|_, v| *v != 2), &input, &[row("a", 1), row("c", 3)]);
    check(|s| s.filter_not(|_, v| *v != 2), &input, &[row("", 2), row("b", None)]);
    check(|s| s.map_values(|v| v * 10), &input, &[row("a", 10), row("", 20), row("b", None), row("c", 30)]);
    check(
        |s| s.map_values_with_key(|k, v| v + k.as_ref().map_or(0, |k| k.len() as i64)),
        &input,
        &[row("a", 2), row("", 2), row("b", None), row("c", 4)],
    );
    check(|s| s.map(|k, v| (k.clone(), v + 1)), &input, &[row("a", 2), row("", 3), row("c", 4)]);
    check(
        |s| s.flat_map(|k, v| vec![(k.clone(), *v); *v as usize - 1]),
        &input,
        &[row("", 2), row("c", 3), row("c", 3)],
    );
    check(|s| s.flat_map_values(|v| [*v, -*v]), &input[..1], &[row("a", 1), row("a", -1)]);
    check(
        |s| s.select_key(|_, v| Some(format!("k{v}"))),
        &input,
        &[row("k1", 1), row("k2", 2), row("k3", 3)],
    );
    check(
        |s| s.nullable().map_values(|v| Some(v.unwrap_or(-1))).tombstones(),
        &input,
        &[row("a", 1), row("", 2), row("b", -1), row("c", 3)],
    );
    check(|s| s.merge(&s), &input[..2], &[row("a", 1), row("a", 1), row("", 2), row("", 2)]);
    // Null keys have no partition to go to.
    let with_keys = [row("a", 1), row("b", None), row("c", 3)];
    check(|s| s.repartition(Repartitioned::default().named("r")), &input, &with_keys);
    check(|s| s.through("mid", Produced::default()), &input, &input);
    check(
        |s| {
            let split = s.split();
            let odd = split.branch(|_, v| v % 2 == 1).map_values(|v| v + 100);
            odd.merge(&split.default_branch())
        },
        &input,
        &[row("a", 101), row("", 2), row("b", None), row("c", 103)],
    );
}

#[test]
fn actions_see_each_record() {
    use std::sync::{Arc, Mutex};
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let mut builder = StreamsBuilder::new();
    let (a, b, c) = (Arc::clone(&seen), Arc::clone(&seen), Arc::clone(&seen));
    let stream = builder.stream(["one", "two"], Consumed::<Option<String>, i64>::default());
    stream.peek(move |_, v| a.lock().unwrap().push(format!("peek {v}"))).for_each(move |_, v| {
        b.lock().unwrap().push(format!("for_each {v}"));
    });
    stream.for_each_record(move |r| c.lock().unwrap().push(format!("record {:?}@{}", r.value, r.timestamp)));
    let driver = TopologyTestDriver::new(&builder.build().unwrap(), Default::default()).unwrap();
    driver.input("one", Nullable::new(Utf8), I64).pipe(&None, &1, 5).unwrap();
    driver.input("two", Nullable::new(Utf8), I64).pipe_with(&None, None, 6, Headers::new()).unwrap();
    assert_eq!(*seen.lock().unwrap(), ["peek 1", "for_each 1", "record Some(1)@5", "record None@6"]);
}

#[test]
fn topics_and_partitions_can_be_chosen_and_times_extracted() {
    let mut builder = StreamsBuilder::new();
    builder
        .stream(
            "in",
            Consumed::<Option<String>, i64>::default().timestamp_by(|_, v, at| v.map_or(at, |v| v * 10)),
        )
        .to_chosen(
            |record| format!("out-{}", record.value.unwrap_or(0) % 2),
            Produced::default().partition_by(|_, _, n| Some(n - 1)),
        );
    let driver = TopologyTestDriver::new(&builder.build().unwrap(), Default::default()).unwrap();
    let input = driver.input("in", Nullable::new(Utf8), I64);
    for value in [1, 2, -3, 5] {
        input.pipe(&None, &value, 0).unwrap();
    }
    let times = |topic: &str| driver.read_raw(topic).iter().map(|r| r.timestamp).collect::<Vec<_>>();
    assert_eq!((times("out-1"), times("out-0")), (vec![10, 50], vec![20]));
    assert_eq!(driver.skipped_and_late().0, 1, "a negative time skips the record");
}
