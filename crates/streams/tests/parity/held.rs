//! Joins of suppressed and of windowed tables; aggregates in versioned stores.

use std::fmt::Display;
use std::time::Duration;

use vigie_streams::{
    BufferConfig, Grouped, Joined, KGroupedStream, KTable, SessionWindows, SlidingWindows, Store,
    StreamsBuilder, Suppressed, TimeWindows, Windowed,
};

use crate::joins::{or, unnamed_table};
use crate::scenario::Plan;
use crate::text::{Key, out, stream, windows_out};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn calm(builder: &mut StreamsBuilder, topic: &str, millis: u64) -> KTable<Key, String> {
    unnamed_table(builder, topic)
        .suppress(Suppressed::until_time_limit(ms(millis), BufferConfig::unbounded()))
}

fn grouped(builder: &mut StreamsBuilder, topic: &str) -> KGroupedStream<Key, String> {
    stream(builder, topic).group_by_key()
}

fn both<K, L: Display, R: Display>(_: &K, left: Option<&L>, right: Option<&R>) -> String {
    let text = |side: Option<String>| side.unwrap_or_else(|| String::from("-"));
    format!("{},{}", text(left.map(L::to_string)), text(right.map(R::to_string)))
}

fn at_end(name: &str) -> Suppressed<Windowed<Key>> {
    Suppressed::until_window_closes(BufferConfig::unbounded()).named(name)
}

fn tumbling() -> TimeWindows {
    TimeWindows::tumbling(ms(100)).grace(ms(30))
}

fn hopping() -> TimeWindows {
    TimeWindows::hopping(ms(100), ms(40)).grace(ms(30))
}

fn sliding() -> SlidingWindows {
    SlidingWindows::with_time_difference(ms(50)).grace(ms(30))
}

fn sessions() -> SessionWindows {
    SessionWindows::with_gap(ms(40)).grace(ms(30))
}

fn versioned<V>(name: &str, history: u64) -> Store<Key, V> {
    Store::named(name).versioned(ms(history))
}

/// Times of updates that are held back.
fn slow() -> Plan {
    Plan::two_inputs().forward(&[0, 1, 5, 9, 10, 11, 20, 30]).back(&[1, 5, 10, 20, 40])
}

/// The edges of windows, without null values.
fn edges() -> Plan {
    Plan::two_inputs()
        .inputs(&[("left", "a a b -", "1 2 3"), ("right", "a a b -", "6 7 8")])
        .forward(&[0, 1, 9, 10, 30, 31, 40, 41, 99, 100, 130])
        .back(&[1, 10, 30, 31, 40, 70, 71, 100, 101, 130, 131, 230])
}

/// Times that reach back as far as history does and farther.
fn late() -> Plan {
    Plan::two_inputs().forward(&[0, 0, 1, 2, 5, 10, 20]).back(&[1, 2, 5, 10, 20, 39, 40, 41, 60, 100])
}

/// The same, of one input.
fn late_alone() -> Plan {
    late().inputs(&[("right", "a a b -", "6 7 8 9 -")])
}

parity! {
    suppressed_table_join: slow(), |b| {
        let (left, right) = (calm(b, "left", 20), unnamed_table(b, "right"));
        out(&left.join(&right, |k, l, r| both(k, Some(l), Some(r))).to_stream());
    }, [];
    suppressed_table_left_join: slow(), |b| {
        let (left, right) = (unnamed_table(b, "left"), calm(b, "right", 20));
        out(&left.left_join(&right, |k, l, r| both(k, Some(l), r)).to_stream());
    }, [];
    suppressed_tables_outer_join: slow(), |b| {
        let (left, right) = (calm(b, "left", 10), calm(b, "right", 30));
        out(&left.outer_join(&right, both).to_stream());
    }, [];
    suppressed_mapped_table_join: slow(), |b| {
        let left = calm(b, "left", 20).map_values(|_, v| format!("{v}+"));
        let right = unnamed_table(b, "right").filter(|_, v| v != "7");
        out(&left.join(&right, |k, l, r| both(k, Some(l), Some(r))).to_stream());
    }, [];
    suppressed_join_suppressed: slow(), |b| {
        let (left, right) = (calm(b, "left", 10), unnamed_table(b, "right"));
        let joined = left.outer_join_into(&right, both, Store::default().with_value_serde(vigie_streams::serde::Utf8));
        let later = Suppressed::until_time_limit(ms(10), BufferConfig::unbounded());
        out(&joined.suppress(later).to_stream());
    }, [];
    stream_joins_suppressed_table: slow(), |b| {
        let left = stream(b, "left");
        let right = calm(b, "right", 20);
        out(&left.join(&right, |_, l, r| format!("{l},{r}"), Joined::default()));
    }, [];
    windowed_tables_join: edges(), |b| {
        let left = grouped(b, "left").windowed_by(tumbling()).count(Store::default());
        let right = grouped(b, "right").windowed_by(tumbling()).reduce(|a, v| a + &v, Store::default());
        windows_out(&left.join(&right, |k, l, r| both(k, Some(l), Some(r))));
    }, [];
    windowed_tables_outer_join: edges(), |b| {
        let left = grouped(b, "left").windowed_by(hopping()).count(Store::default());
        let right = grouped(b, "right").windowed_by(hopping()).count(Store::default());
        windows_out(&left.outer_join(&right, both));
    }, [];
    windowed_tables_join_at_their_end: edges(), |b| {
        let left = grouped(b, "left").windowed_by(tumbling()).reduce(|a, v| a + &v, Store::default());
        let right = grouped(b, "right").windowed_by(tumbling()).reduce(|a, v| a + &v, Store::default());
        let (left, right) = (left.suppress(at_end("left-ends")), right.suppress(at_end("right-ends")));
        windows_out(&left.outer_join(&right, both));
    }, [];
    sliding_tables_left_join: edges(), |b| {
        let left = grouped(b, "left").windowed_by(sliding()).count(Store::default());
        let right = grouped(b, "right").windowed_by(sliding()).count(Store::default());
        windows_out(&left.left_join(&right, |k, l, r| both(k, Some(l), r)));
    }, [];
    session_tables_outer_join: edges(), |b| {
        let left = grouped(b, "left").windowed_by(sessions()).reduce(|a, v| a + &v, Store::default());
        let right = grouped(b, "right").windowed_by(sessions()).reduce(|a, v| a + &v, Store::default());
        windows_out(&left.outer_join(&right, both));
    }, [];
    versioned_count: late_alone(), |b| {
        out(&grouped(b, "right").count(versioned("counts", 40)).to_stream().map_values(i64::to_string));
    }, [];
    versioned_reduce: late_alone(), |b| {
        out(&grouped(b, "right").reduce(|a, v| a + &v, versioned("texts", 5_000)).to_stream());
    }, [];
    versioned_aggregate_that_deletes: late_alone(), |b| {
        let folded = |_: &Key, v: &String, a: String| (v != "8").then(|| a + v);
        out(&grouped(b, "right").aggregate(String::new, folded, versioned("texts", 40)).to_stream());
    }, [];
    versioned_reduce_then_join: late(), |b| {
        let left = grouped(b, "left").reduce(|a, v| a + &v, versioned("l", 5_000));
        let right = grouped(b, "right").reduce(|a, v| a + &v, versioned("r", 40));
        out(&left.join(&right, |k, l, r| both(k, Some(l), Some(r))).to_stream());
    }, [];
    versioned_reduce_looked_up: late(), |b| {
        let table = grouped(b, "right").reduce(|a, v| a + &v, versioned("r", 5_000));
        out(&stream(b, "left").left_join(&table, |_, l, r| format!("{l},{}", or(r)), Joined::default()));
    }, [];
    versioned_reduce_then_filter: late_alone(), |b| {
        let table = grouped(b, "right").reduce(|a, v| a + &v, versioned("r", 40));
        out(&table.filter(|_, v| v.len() > 2).to_stream());
    }, [];
    versioned_group_of_table: late_alone(), |b| {
        let groups = unnamed_table(b, "right")
            .group_by(|k, v| (Some(v.clone()), k.clone().unwrap_or_default()), Grouped::default());
        let changes = groups.aggregate(
            String::new,
            |_, v, a: String| format!("{a}+{v}"),
            |_, v, a: String| format!("{a}-{v}"),
            versioned("changes", 40),
        );
        out(&changes.to_stream());
    }, [];
    versioned_cogroup: late(), |b| {
        let (left, right) = (grouped(b, "left"), grouped(b, "right"));
        let folded = left
            .cogroup(|_, v, a: String| a + v)
            .cogroup(&right, |_, v, a| (v != "9").then(|| a + "+" + v));
        out(&folded.aggregate(String::new, versioned("both", 40)).to_stream());
    }, [];
}
