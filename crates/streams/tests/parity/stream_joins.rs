//! Joins of two streams.

use std::time::Duration;

use vigie_streams::{JoinWindows, StreamJoined, StreamsBuilder};

use crate::joins::{keyed, or, two_streams};
use crate::scenario::Plan;
use crate::text::{Key, out, stream};

type Joined = StreamJoined<Key, String, String>;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn within(difference: u64, grace: u64) -> JoinWindows {
    JoinWindows::of_time_difference_and_grace(ms(difference), ms(grace))
}

/// Time moves in small steps, so that windows' edges are met to the millisecond; sometimes far ahead.
fn plan() -> Plan {
    Plan::two_inputs()
        .forward(&[0, 0, 1, 1, 2, 3, 5, 9, 10, 11, 40])
        .back(&[1, 2, 3, 5, 9, 10, 11, 15, 16, 25])
}

/// One input.
fn alone() -> Plan {
    plan().inputs(&[("left", "a a b -", "1 2 3 4 5 -")])
}

/// The same, and the wall clock moves too.
fn clocked() -> Plan {
    plan().wall_clock(&[1, 500, 999, 1_000, 1_001])
}

/// As running programs do; both drivers look at each record.
fn each_second() -> Joined {
    StreamJoined::default().emit_interval(ms(1_000))
}

fn inner(builder: &mut StreamsBuilder, windows: JoinWindows) {
    let (left, right) = two_streams(builder);
    out(&left.join_stream(&right, |k, l, r| keyed(k, Some(l), Some(r)), windows, Joined::default()));
}

fn left(builder: &mut StreamsBuilder, windows: JoinWindows, joined: Joined) {
    let (left, right) = two_streams(builder);
    out(&left.left_join_stream(&right, |k, l, r| keyed(k, Some(l), r), windows, joined));
}

fn outer(builder: &mut StreamsBuilder, windows: JoinWindows, joined: Joined) {
    let (left, right) = two_streams(builder);
    out(&left.outer_join_stream(&right, keyed, windows, joined));
}

parity! {
    stream_join: plan(), |b| inner(b, within(10, 5)), [];
    stream_join_no_grace: plan(), |b| inner(b, within(10, 0)), [];
    /// Segments of stores are a minute long at least: here whole ones expire.
    stream_join_expiring: Plan::two_inputs()
        .forward(&[0, 1, 100, 10_000, 30_000, 30_001, 70_000])
        .back(&[1, 10_000, 29_999, 30_000, 30_001, 69_999, 70_000, 70_001, 130_000, 200_000]),
        |b| inner(b, within(30_000, 10_000)), [];
    stream_join_asymmetric: plan(), |b| inner(b, within(10, 5).before(ms(3)).after(ms(20))), [];
    stream_join_afterwards: plan(), |b| inner(b, within(10, 5).between(2, 10)), [];
    stream_left_join: plan(), |b| left(b, within(10, 5), Joined::default()), [];
    stream_left_join_throttled: clocked(), |b| left(b, within(10, 5), each_second()), [];
    stream_left_join_asymmetric: plan(), |b| left(b, within(10, 5).before(ms(20)).after(ms(0)), Joined::default()), [];
    stream_outer_join: plan(), |b| outer(b, within(10, 5), Joined::default()), [];
    stream_outer_join_throttled: clocked(), |b| {
        outer(b, within(10, 0), each_second().named("join").store_named("sides"));
    }, [];
    stream_outer_join_asymmetric: plan(), |b| outer(b, within(10, 5).before(ms(2)).after(ms(25)), Joined::default()), [];
    stream_left_join_repartitioned: plan(), |b| {
        let left = stream(b, "left").filter(|_, _| true).map(|k, v| (k.clone(), v.clone()));
        let right = stream(b, "right").filter(|_, _| true).map(|k, v| (k.clone(), v.clone()));
        let serdes = StreamJoined::with(
            vigie_streams::serde::Nullable::new(vigie_streams::serde::Utf8),
            vigie_streams::serde::Utf8,
            vigie_streams::serde::Utf8,
        );
        out(&left.left_join_stream(&right, |k, l, r| keyed(k, Some(l), r), within(10, 5), serdes));
    }, [];
    stream_self_join: alone(), |b| {
        let stream = stream(b, "left");
        out(&stream.join_stream(&stream, |k, l, r| keyed(k, Some(l), Some(r)), within(10, 5), Joined::default()));
    }, [];
    stream_self_join_repartitioned: alone(), |b| {
        let stream = stream(b, "left").filter(|_, _| true).select_key(|k, _| Some(format!("{}!", or(k.as_ref()))));
        let joined = StreamJoined::with(
            vigie_streams::serde::Nullable::new(vigie_streams::serde::Utf8),
            vigie_streams::serde::Utf8,
            vigie_streams::serde::Utf8,
        );
        out(&stream.join_stream(&stream, |k, l, r| keyed(k, Some(l), Some(r)), within(10, 5), joined));
    }, [];
}
