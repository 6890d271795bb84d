//! Aggregations of grouped streams, whole and by fixed windows.

use std::time::Duration;

use vigie_streams::{KGroupedStream, Store, StreamsBuilder, TimeWindows};

use crate::scenario::Plan;
use crate::text::{
    Key, count_store, count_windows, counts_out, out, stream, text_store, text_windows, windows_out,
};

parity! {
    count: Plan::new(), |b| counts_out(&grouped(b).count(Store::named("counts"))), [count_store("counts")];
    reduce: Plan::new(), |b| out(&grouped(b).reduce(|a, v| format!("{a}{v}"), Store::named("store")).to_stream()),
        [text_store("store")];
    aggregate: Plan::new(), |b| {
        out(&grouped(b).aggregate(String::new, |_, v, a: String| a + v, Store::named("store")).to_stream());
    }, [text_store("store")];
    aggregate_that_deletes: Plan::new(), |b| {
        let folded = |_: &Key, v: &String, a: String| (v != "3").then(|| a + v);
        out(&grouped(b).aggregate(String::new, folded, Store::named("store")).to_stream());
    }, [text_store("store")];
    group_by: Plan::new(), |b| {
        let by_value = stream(b, "in").filter(|_, _| true).group_by(|_, v| Some(v.clone()));
        counts_out(&by_value.count(Store::named("counts")));
    }, [count_store("counts")];
    tumbling_count: edges(), |b| windows_out(&grouped(b).windowed_by(tumbling()).count(Store::named("counts"))),
        [count_windows("counts", 100)];
    tumbling_reduce: edges(), |b| {
        windows_out(&grouped(b).windowed_by(tumbling()).reduce(|a, v| format!("{a}{v}"), Store::named("store")));
    }, [text_windows("store", 100)];
    tumbling_aggregate: edges(), |b| {
        let windowed = grouped(b).windowed_by(tumbling());
        windows_out(&windowed.aggregate(String::new, |_, v, a: String| a + v, Store::named("store")));
    }, [text_windows("store", 100)];
    tumbling_without_grace: edges(), |b| {
        let windows = TimeWindows::tumbling(Duration::from_millis(100));
        windows_out(&grouped(b).windowed_by(windows).count(Store::named("counts")));
    }, [count_windows("counts", 100)];
    hopping_count: edges(), |b| windows_out(&grouped(b).windowed_by(hopping()).count(Store::named("counts"))),
        [count_windows("counts", 100)];
    hopping_reduce: edges(), |b| {
        windows_out(&grouped(b).windowed_by(hopping()).reduce(|a, v| format!("{a}{v}"), Store::named("store")));
    }, [text_windows("store", 100)];
    hopping_aggregate: edges(), |b| {
        let windowed = grouped(b).windowed_by(hopping());
        windows_out(&windowed.aggregate(String::new, |_, v, a: String| a + v, Store::named("store")));
    }, [text_windows("store", 100)];
}

/// Time moves to, before and beyond the ends of windows of 100 ms with a grace of 30 ms. Without null values: functions of ours never
/// see any, and skip such records in windows as both engines do without windows.
fn edges() -> Plan {
    Plan::new()
        .inputs(&[("in", "a a b b c -", "1 2 3 4 5")])
        .forward(&[0, 1, 9, 10, 30, 40, 99, 100, 101])
        .back(&[1, 10, 29, 30, 31, 99, 100, 129, 130, 131, 230])
}

fn grouped(builder: &mut StreamsBuilder) -> KGroupedStream<Key, String> {
    stream(builder, "in").group_by_key()
}

fn tumbling() -> TimeWindows {
    TimeWindows::tumbling(Duration::from_millis(100)).grace(Duration::from_millis(30))
}

fn hopping() -> TimeWindows {
    TimeWindows::hopping(Duration::from_millis(100), Duration::from_millis(40))
        .grace(Duration::from_millis(30))
}
