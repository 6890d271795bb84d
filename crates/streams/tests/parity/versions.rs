//! Versioned tables, and global ones.

use std::time::Duration;

use vigie_streams::{Consumed, Grouped, Joined, KTable, Store, StreamsBuilder, TableJoined};

use crate::foreign_keys::foreign;
use crate::joins::{both, keyed, unnamed_table};
use crate::scenario::Plan;
use crate::text::{Key, count_store, out, stream, text_store};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn versioned(builder: &mut StreamsBuilder, topic: &str, store: &str, history: u64) -> KTable<Key, String> {
    builder.table(topic, Consumed::default(), Store::named(store).versioned(ms(history)))
}

fn grace(millis: u64) -> Joined<Key, String> {
    Joined::default().named("join").grace_period(ms(millis))
}

/// Times that meet, and that reach back as far as history does and farther.
fn plan() -> Plan {
    Plan::two_inputs().forward(&[0, 0, 1, 2, 5, 10, 20]).back(&[1, 2, 5, 10, 20, 39, 40, 41, 60, 100, 101])
}

/// The same over segments of seconds.
fn long() -> Plan {
    plan()
        .forward(&[0, 0, 1, 500, 1_000, 2_500])
        .back(&[1, 500, 1_000, 1_999, 2_000, 2_500, 4_999, 5_000, 5_001, 7_000])
}

parity! {
    stream_versioned_table_join: plan(), |b| {
        let table = versioned(b, "right", "table", 40);
        out(&stream(b, "left").join(&table, |k, l, r| keyed(k, Some(l), Some(r)), Joined::default()));
    }, [];
    stream_versioned_table_left_join: long(), |b| {
        let table = versioned(b, "right", "table", 5_000);
        let left = stream(b, "left");
        out(&left.left_join(&table.filter(|_, v| v != "8"), |k, l, r| keyed(k, Some(l), r), Joined::default()));
    }, [];
    stream_versioned_table_join_with_grace: plan(), |b| {
        let table = versioned(b, "right", "table", 100);
        out(&stream(b, "left").join(&table, |k, l, r| keyed(k, Some(l), Some(r)), grace(25)));
    }, [];
    /// Without null keys: Kafka Streams fails on them here.
    stream_versioned_table_left_join_with_grace: plan().inputs(&[
        ("left", "a a b c", "1 2 3 4 5 -"),
        ("right", "a a b b c -", "6 7 8 9 -"),
    ]), |b| {
        let table = versioned(b, "right", "table", 100);
        out(&stream(b, "left").left_join(&table, |k, l, r| keyed(k, Some(l), r), grace(10)));
    }, [];
    versioned_table: plan().inputs(&[("right", "a a b -", "6 7 8 9 - -")]), |b| {
        out(&versioned(b, "right", "table", 40).to_stream());
    }, [];
    versioned_table_long_history: long().inputs(&[("right", "a a b -", "6 7 8 9 - -")]), |b| {
        out(&versioned(b, "right", "table", 5_000).map_values(|_, v| format!("{v}+")).to_stream());
    }, [];
    versioned_tables_join: plan(), |b| {
        let left = versioned(b, "left", "l", 40);
        let right = versioned(b, "right", "r", 5_000);
        out(&left.join(&right, |k, l, r| both(k, Some(l), Some(r))).to_stream());
    }, [];
    versioned_tables_outer_join: plan(), |b| {
        let left = versioned(b, "left", "l", 40);
        let right = unnamed_table(b, "right");
        out(&left.outer_join(&right, both).to_stream());
    }, [];
    versioned_join_into_versioned_store: long(), |b| {
        let left = versioned(b, "left", "l", 5_000);
        let right = versioned(b, "right", "r", 5_000);
        let kept = Store::named("joined").versioned(ms(40));
        out(&left.left_join_into(&right, |k, l, r| both(k, Some(l), r), kept).to_stream());
    }, [];
    versioned_table_group: plan().inputs(&[("right", "a a b -", "6 7 8 9 - -")]), |b| {
        let table = versioned(b, "right", "r", 40);
        let grouped = table.group_by(|k, v| (Some(v.clone()), k.clone().unwrap_or_default()), Grouped::default());
        out(&grouped.count(Store::named("counts")).to_stream().map_values(i64::to_string));
    }, [count_store("counts")];
    versioned_foreign_key_join: long().inputs(&[
        ("left", "a a b b c -", "1x 2x 1y 2y 1z 3 -"),
        ("right", "x x y y z -", "6 7 8 9 -"),
    ]), |b| {
        let left = versioned(b, "left", "l", 5_000);
        let right = versioned(b, "right", "r", 5_000);
        let join = |k: &Key, l: &String, r: &String| both(k, Some(l), Some(r));
        let joined = left.join_foreign_key(&right, |_, v| foreign(v), join, TableJoined::default(), Store::default());
        out(&joined.to_stream());
    }, [];
    global_join: globals(), |b| {
        let table = b.global_table("right", Consumed::<Key, String>::default(), Store::named("table"));
        out(&stream(b, "left").join_global(&table, |_, v| wanted(v), |k, l, r| keyed(k, Some(l), Some(r))));
    }, [text_store("table")];
    global_left_join: globals(), |b| {
        let table = b.global_table("right", Consumed::<Key, String>::default(), Store::default());
        out(&stream(b, "left").left_join_global(&table, |_, v| wanted(v), |k, l, r| keyed(k, Some(l), r)));
    }, [];
}

fn globals() -> Plan {
    Plan::two_inputs().inputs(&[("left", "a b -", "x y z 3 -"), ("right", "x x y y z -", "6 7 8 9 -")])
}

/// The key of the global table; none for `3`.
fn wanted(value: &str) -> Key {
    Some(value.to_owned()).filter(|value| value != "3")
}
