//! Topologies built with all rules of optimisation.

use std::time::Duration;

use vigie_streams::serde::{FnSerde, Nullable, Utf8};
use vigie_streams::{
    Consumed, Grouped, JoinWindows, Joined, KStream, Produced, Repartitioned, SessionWindows, Store,
    StreamJoined, StreamsBuilder, TimeWindows,
};

use crate::joins::{both, keyed};
use crate::scenario::Plan;
use crate::text::{
    Key, count_sessions, count_store, count_windows, out, stream, table, text_store, windowed, windows_out,
};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn within(difference: u64, grace: u64) -> JoinWindows {
    JoinWindows::of_time_difference_and_grace(ms(difference), ms(grace))
}

fn joined() -> StreamJoined<Key, String, String> {
    StreamJoined::with(Nullable::new(Utf8), Utf8, Utf8)
}

/// Keys are the values, with a mark.
fn rekeyed(builder: &mut StreamsBuilder, topic: &str) -> KStream<Key, String> {
    stream(builder, topic).filter(|_, _| true).select_key(|_, v| Some(format!("k{v}")))
}

/// The same, but some records have no key.
fn half_keyed(builder: &mut StreamsBuilder, topic: &str) -> KStream<Key, String> {
    stream(builder, topic).filter(|_, _| true).select_key(|k, v| k.clone().filter(|_| v != "3"))
}

fn count(stream: &KStream<Key, String>, store: &str, topic: &str) {
    let text = FnSerde::text(|count: &i64| count.to_string());
    let counts = stream.group_by_key().count(Store::named(store));
    counts.to_stream().to(topic, Produced::with(Nullable::new(Utf8), text));
}

fn concat(stream: &KStream<Key, String>, store: &str, topic: &str) {
    let texts = stream.group_by_key().reduce(|a, v| a + &v, Store::named(store));
    texts.to_stream().to(topic, Produced::default());
}

/// Two inputs with the same values.
fn alike() -> Plan {
    Plan::two_inputs().inputs(&[("left", "a b -", "1 2 3 4 -"), ("right", "a b -", "1 2 3 4 -")])
}

/// Time moves in small steps, so that windows' edges are met to the millisecond; sometimes far ahead.
fn edges() -> Plan {
    Plan::two_inputs()
        .forward(&[0, 0, 1, 1, 2, 3, 5, 9, 10, 11, 40])
        .back(&[1, 2, 3, 5, 9, 10, 11, 15, 16, 25])
}

/// One input.
fn alone() -> Plan {
    edges().inputs(&[("left", "a a b -", "1 2 3 4 5 -")])
}

/// Segments of stores are a minute long at least: here whole ones expire.
fn expiring() -> Plan {
    alone()
        .forward(&[0, 1, 100, 10_000, 30_000, 30_001, 70_000])
        .back(&[1, 10_000, 29_999, 30_000, 30_001, 69_999, 70_000, 70_001, 130_000, 200_000])
}

fn join_itself(
    stream: &KStream<Key, String>,
    windows: JoinWindows,
    joined: StreamJoined<Key, String, String>,
) {
    out(&stream.join_stream(stream, |k, l, r| keyed(k, Some(l), Some(r)), windows, joined));
}

parity! {
    optimized, vigie_streams::Optimization::ALL;
    optimized_table: Plan::new(), |b| out(&table(b, "in").to_stream()), [text_store("table")];
    optimized_table_join: Plan::two_inputs(), |b| {
        let (left, right) = crate::joins::two_tables(b);
        out(&left.join(&right, |k, l, r| both(k, Some(l), Some(r))).to_stream());
    }, [];
    optimized_table_filter_then_group: Plan::new(), |b| {
        let grouped = table(b, "in").filter(|_, v| v != "2")
            .group_by(|k, v| (Some(v.clone()), k.clone().unwrap_or_default()), Grouped::default());
        out(&grouped.count(Store::named("by-value")).to_stream().map_values(i64::to_string));
    }, [text_store("table"), count_store("by-value")];
    optimized_versioned_table: Plan::new().back(&[1, 5, 10, 30, 60, 100]), |b| {
        let table = b.table::<Key, String>("in", Consumed::default(), Store::named("table").versioned(ms(40)));
        out(&table.to_stream());
    }, [];
    optimized_to_table: Plan::new(), |b| {
        let stream = rekeyed(b, "in");
        out(&stream.to_table(Store::named("table")).to_stream());
        count(&stream, "counts", "counted");
    }, [text_store("table"), count_store("counts")];
    optimized_one_count: Plan::new(), |b| count(&rekeyed(b, "in"), "counts", "out"), [count_store("counts")];
    optimized_two_counts: Plan::new(), |b| {
        let stream = rekeyed(b, "in");
        count(&stream, "counts", "out");
        concat(&stream, "texts", "texts");
    }, [count_store("counts"), text_store("texts")];
    optimized_unnamed: Plan::new(), |b| {
        let stream = rekeyed(b, "in");
        out(&stream.group_by_key().reduce(|a, v| a + &v, Store::default()).to_stream());
        let texts = stream.group_by_key().reduce(|a, v| v + &a, Store::default());
        texts.to_stream().to("texts", Produced::default());
    }, [];
    optimized_named: Plan::new(), |b| {
        let stream = rekeyed(b, "in");
        let grouped = |name: &str| stream.group_by_key_with(Grouped::default().named(name));
        out(&grouped("first").reduce(|a, v| a + &v, Store::named("one")).to_stream());
        let texts = grouped("second").reduce(|a, v| v + &a, Store::named("two"));
        texts.to_stream().to("texts", Produced::default());
    }, [text_store("one"), text_store("two")];
    optimized_filters_between: Plan::new(), |b| {
        let stream = rekeyed(b, "in");
        let some = stream.filter(|_, v| v != "2");
        some.to("raw", Produced::default());
        count(&some.peek(|_, _| ()), "counts", "out");
        concat(&stream.filter_not(|_, v| v == "1"), "texts", "texts");
        stream.to("all", Produced::default());
    }, [count_store("counts"), text_store("texts")];
    optimized_values_between: Plan::new(), |b| {
        let stream = rekeyed(b, "in");
        concat(&stream.map_values(|v| format!("{v}+")), "plus", "out");
        concat(&stream, "texts", "texts");
        count(&stream, "counts", "counted");
    }, [text_store("plus"), text_store("texts"), count_store("counts")];
    optimized_two_changers: Plan::new(), |b| {
        let stream = rekeyed(b, "in");
        count(&stream, "counts", "counted");
        let again = stream.select_key(|k, _| k.as_ref().map(|k| format!("{k}!")));
        count(&again, "again", "out");
        concat(&again, "texts", "texts");
        concat(&stream, "more", "more");
    }, [count_store("counts"), count_store("again"), text_store("texts"), text_store("more")];
    optimized_group_of_groups: Plan::new(), |b| {
        let texts = rekeyed(b, "in").group_by_key().reduce(|a, v| a + &v, Store::named("texts"));
        let lengths = texts.to_stream().select_key(|_, v| Some(format!("n{}", v.len())));
        count(&lengths, "lengths", "out");
        concat(&lengths, "by-length", "texts");
    }, [text_store("texts"), count_store("lengths"), text_store("by-length")];
    optimized_merge: alike(), |b| {
        let stream = rekeyed(b, "left").merge(&rekeyed(b, "right"));
        count(&stream, "counts", "out");
        concat(&stream.filter(|_, v| v != "2"), "texts", "texts");
    }, [count_store("counts"), text_store("texts")];
    optimized_merge_of_one: alike().with_silent_drops(), |b| {
        let stream = rekeyed(b, "left").merge(&stream(b, "right"));
        count(&stream, "counts", "out");
    }, [count_store("counts")];
    optimized_branches: Plan::new(), |b| {
        let split = rekeyed(b, "in").named("size-").split();
        let small = split.named("small").branch(|_, v| v.as_str() < "3");
        let _ = split.named("large");
        let large = split.default_branch();
        count(&small, "small", "out");
        large.to("texts", Produced::default());
    }, [count_store("small")];
    optimized_windows: Plan::new().inputs(&[("in", "a a b b c -", "1 2 3 4 5")]), |b| {
        let stream = rekeyed(b, "in");
        let tumbling = TimeWindows::tumbling(ms(100)).grace(ms(30));
        windows_out(&stream.group_by_key().windowed_by(tumbling).count(Store::named("tumbling")));
        let sessions = SessionWindows::with_gap(ms(20)).grace(ms(10));
        let sessions = stream.group_by_key().windowed_by(sessions).count(Store::named("sessions"));
        let text = FnSerde::text(|count: &i64| count.to_string());
        sessions.to_stream().to("sessions", Produced::with(FnSerde::text(windowed), text));
    }, [count_windows("tumbling", 100), count_sessions("sessions")];
    optimized_cogroup: alike(), |b| {
        let changed = rekeyed(b, "left");
        let right = stream(b, "right").group_by_key();
        let folded = changed.group_by_key().cogroup(|_, v, a: String| a + v).cogroup(&right, |_, v, a| a + "+" + v);
        out(&folded.aggregate(String::new, Store::named("both")).to_stream());
        count(&changed, "counts", "counted");
    }, [text_store("both"), count_store("counts")];
    optimized_with_nulls: Plan::new().with_silent_drops(), |b| {
        let stream = half_keyed(b, "in");
        stream.filter(|_, v| v != "1").to("raw", Produced::default());
        count(&stream, "counts", "out");
        concat(&stream.filter(|_, v| v != "2"), "texts", "texts");
    }, [count_store("counts"), text_store("texts")];
    optimized_repartition: Plan::new(), |b| {
        let stream = rekeyed(b, "in");
        concat(&stream.repartition(Repartitioned::default().named("own")), "texts", "texts");
        count(&stream, "counts", "out");
    }, [count_store("counts"), text_store("texts")];
    optimized_table_lookups: Plan::two_inputs(), |b| {
        let table = table(b, "right");
        let stream = half_keyed(b, "left");
        out(&stream.left_join(&table, |k, l, r| keyed(k, Some(l), r), Joined::default()));
        let second = stream.join(&table, |k, l, r| keyed(k, Some(l), Some(r)), Joined::default().named("second"));
        second.to("texts", Produced::with(Nullable::new(Utf8), Utf8));
        count(&stream, "counts", "counted");
    }, [text_store("table"), count_store("counts")];
    optimized_stream_join: edges(), |b| {
        let (left, right) = (rekeyed(b, "left"), rekeyed(b, "right"));
        out(&left.outer_join_stream(&right, keyed, within(10, 5), joined()));
        count(&left, "lefts", "counted");
        count(&right.filter(|_, v| v != "9"), "rights", "texts");
    }, [count_store("lefts"), count_store("rights")];
    optimized_global_join: Plan::two_inputs().inputs(&[("left", "a b -", "x y z 3 -"), ("right", "x x y y z -", "6 7 8 9 -")]), |b| {
        let table = b.global_table("right", Consumed::<Key, String>::default(), Store::default());
        let stream = rekeyed(b, "left")
            .join_global(&table, |_, v| Some(Some(v.clone())), |k, l, r| keyed(k, Some(l), Some(r)));
        let grouped = Grouped::with(Nullable::new(Utf8), Utf8);
        let counts = stream.group_by_key_with(grouped).count(Store::named("counts"));
        let text = FnSerde::text(|count: &i64| count.to_string());
        counts.to_stream().to("out", Produced::with(Nullable::new(Utf8), text));
    }, [count_store("counts")];
    optimized_self_join: alone(), |b| join_itself(&stream(b, "left"), within(10, 5), joined()), [];
    optimized_self_join_asymmetric: alone(), |b| {
        let windows = within(10, 5).before(ms(3)).after(ms(20));
        join_itself(&stream(b, "left"), windows, joined().named("self").store_named("kept"));
    }, [];
    optimized_self_join_afterwards: alone(), |b| {
        join_itself(&stream(b, "left"), within(10, 5).between(2, 10), joined());
    }, [];
    optimized_self_join_expiring: expiring(), |b| join_itself(&stream(b, "left"), within(30_000, 10_000), joined()), [];
    optimized_self_left_join: alone(), |b| {
        let stream = stream(b, "left");
        out(&stream.left_join_stream(&stream, |k, l, r| keyed(k, Some(l), r), within(10, 5), joined()));
    }, [];
    optimized_self_join_repartitioned: alone(), |b| join_itself(&rekeyed(b, "left"), within(10, 5), joined()), [];
    optimized_self_join_named_repartitions: alone(), |b| {
        let stream = rekeyed(b, "left");
        join_itself(&stream, within(10, 5), joined().named("self"));
        count(&stream, "counts", "counted");
    }, [count_store("counts")];
    optimized_two_self_joins: alone(), |b| {
        let stream = stream(b, "left");
        let twice = stream
            .join_stream(&stream, |k, l, r| keyed(k, Some(l), Some(r)), within(10, 5), joined())
            .join_stream(&stream, |k, l, r| keyed(k, Some(l), Some(r)), within(5, 5), joined());
        out(&twice);
        let third = stream.join_stream(&stream, |k, l, r| both(k, Some(l), Some(r)), within(3, 5), joined());
        third.to("texts", Produced::with(Nullable::new(Utf8), Utf8));
    }, [];
}
