//! Tables: from topics and streams, filtered, mapped, regrouped, with tombstones.

use vigie_streams::serde::{I64, Utf8};
use vigie_streams::{
    Consumed, Grouped, Headers, KTable, Produced, Store, StreamsBuilder, TopologyTestDriver,
};

fn driver(build: impl FnOnce(KTable<String, i64>)) -> TopologyTestDriver {
    let mut builder = StreamsBuilder::new();
    build(builder.table("in", Consumed::<String, i64>::default(), Store::named("rows")));
    TopologyTestDriver::new(&builder.build().unwrap(), Default::default()).unwrap()
}

fn put(driver: &TopologyTestDriver, key: &str, value: Option<i64>, at: i64) {
    driver.input("in", Utf8, I64).pipe_with(&key.into(), value.as_ref(), at, Headers::new()).unwrap();
}

fn out(driver: &TopologyTestDriver) -> Vec<(String, Option<i64>)> {
    driver.output("out", Utf8, I64).read_key_values().unwrap()
}

#[test]
fn rows_change_and_go() {
    let driver = driver(|table| table.to_stream().to("out", Produced::default()));
    put(&driver, "a", Some(1), 1);
    put(&driver, "b", Some(5), 2);
    put(&driver, "a", Some(2), 3);
    put(&driver, "b", None, 4);
    assert_eq!(
        out(&driver),
        [("a".into(), Some(1)), ("b".into(), Some(5)), ("a".into(), Some(2)), ("b".into(), None)]
    );
    let rows = driver.store::<String, i64>("rows").unwrap();
    assert_eq!(rows.all().map(Result::unwrap).collect::<Vec<_>>(), [("a".into(), 2)]);
    assert_eq!(rows.get_with_timestamp(&"a".into()).unwrap(), Some((2, 3)));
}

#[test]
fn a_row_that_stops_matching_is_removed() {
    let driver = driver(|table| {
        let large = table.filter_into(|_, v| *v > 10, Store::named("large"));
        large.map_values(|_, v| v * 2).to_stream().to("out", Produced::default());
    });
    put(&driver, "a", Some(11), 1);
    put(&driver, "a", Some(1), 2);
    assert_eq!(out(&driver), [("a".into(), Some(22)), ("a".into(), None)]);
    assert_eq!(driver.store::<String, i64>("large").unwrap().all().count(), 0);
}

#[test]
fn a_group_follows_its_rows() {
    let driver = driver(|table| {
        let groups = table.group_by(|_, v| (format!("g{}", v % 2), *v), Grouped::default());
        groups
            .aggregate(|| 0, |_, v, sum| sum + v, |_, v, sum| sum - v, Store::named("sums"))
            .to_stream()
            .to("out", Produced::default());
        groups.count(Store::named("counts"));
        groups.reduce(|a, b| a.max(b), |a, _| a, Store::named("peaks"));
    });
    put(&driver, "a", Some(1), 1);
    put(&driver, "b", Some(3), 2);
    put(&driver, "a", Some(2), 3);
    put(&driver, "b", Some(5), 4);
    put(&driver, "b", None, 5);
    let g = |n: i64, v: i64| (format!("g{n}"), Some(v));
    // The same group takes one change; another group takes two.
    assert_eq!(out(&driver), [g(1, 1), g(1, 4), g(1, 3), g(0, 2), g(1, 5), g(1, 0)]);
    let counts = driver.store::<String, i64>("counts").unwrap();
    assert_eq!(counts.get(&"g1".into()).unwrap(), Some(0));
    assert_eq!(counts.get(&"g0".into()).unwrap(), Some(1));
    assert_eq!(driver.store::<String, i64>("peaks").unwrap().get(&"g1".into()).unwrap(), Some(5));
}

#[test]
fn aggregates_without_windows() {
    let mut builder = StreamsBuilder::new();
    let grouped = builder.stream("in", Consumed::<String, i64>::default()).group_by_key();
    grouped.reduce(|a, b| a + b, Store::named("sum")).to_stream().to("out", Produced::default());
    // A zero removes the aggregate.
    grouped.aggregate(
        Vec::new,
        |_, v, mut all: Vec<i64>| {
            all.push(*v);
            (*v != 0).then_some(all)
        },
        Store::json_named("all"),
    );
    let driver = TopologyTestDriver::new(&builder.build().unwrap(), Default::default()).unwrap();
    for (value, at) in [(Some(1), 5), (Some(2), 3), (None, 9), (Some(0), 4)] {
        put(&driver, "a", value, at);
    }
    let records = driver.output("out", Utf8, I64).read().unwrap();
    let found: Vec<_> = records.iter().map(|r| (r.value, r.timestamp)).collect();
    assert_eq!(found, [(Some(1), 5), (Some(3), 5), (Some(3), 5)], "times of results never go back");
    assert_eq!(driver.skipped_and_late().0, 2, "the null value, once for each aggregate");
    assert_eq!(driver.store::<String, Vec<i64>>("all").unwrap().get(&"a".into()).unwrap(), None);
}
