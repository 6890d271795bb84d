//! Session, sliding and unlimited windows, emission on close, suppression, co-grouping, printing, value transformers.

use std::time::Duration;

use vigie_streams::{
    BufferConfig, CogroupedKStream, EmitStrategy, Grouped, KGroupedStream, KTable, Printed, ProcessorContext,
    SessionWindows, SlidingWindows, Store, StreamsBuilder, Suppressed, TimeWindows, UnlimitedWindows,
    Windowed,
};

use crate::scenario::Plan;
use crate::text::{
    Key, count_sessions, count_sessions_by_key, count_store, count_windows, count_windows_by_time,
    counts_out, out, stream, table, text_sessions, text_sessions_by_key, text_store, text_windows,
    windows_out,
};

parity! {
    session_count: with_nulls(), |b| windows_out(&grouped(b).windowed_by(sessions()).count(Store::named("counts"))),
        [count_sessions("counts")];
    session_count_without_grace: with_nulls(), |b| {
        let windows = SessionWindows::with_gap(millis(40));
        windows_out(&grouped(b).windowed_by(windows).count(Store::default()));
    }, [];
    session_reduce: edges(), |b| {
        windows_out(&grouped(b).windowed_by(sessions()).reduce(|a, v| format!("{a}{v}"), Store::named("store")));
    }, [text_sessions("store")];
    session_aggregate: edges(), |b| windows_out(&joined(&grouped(b), EmitStrategy::on_window_update())),
        [text_sessions("store")];
    session_aggregate_that_deletes: edges(), |b| {
        windows_out(&grouped(b).windowed_by(sessions()).aggregate(
            || String::from("<"),
            |_, v, a: String| (v != "3").then(|| a + v),
            |_, a, b| a + &b,
            Store::named("store"),
        ));
    }, [text_sessions("store")];
    sliding_count: edges(), |b| windows_out(&grouped(b).windowed_by(sliding(100, 30)).count(Store::named("counts"))),
        [count_windows("counts", 100)];
    sliding_count_with_nulls: with_nulls(), |b| {
        windows_out(&grouped(b).windowed_by(sliding(50, 0)).count(Store::named("counts")));
    }, [count_windows("counts", 50)];
    sliding_with_long_grace: edges(), |b| {
        windows_out(&grouped(b).windowed_by(sliding(40, 400)).count(Store::named("counts")));
    }, [count_windows("counts", 40)];
    sliding_without_grace: edges(), |b| {
        windows_out(&grouped(b).windowed_by(sliding(100, 0)).count(Store::named("counts")));
    }, [count_windows("counts", 100)];
    sliding_early: edges(), |b| {
        windows_out(&grouped(b).windowed_by(sliding(1_200, 100)).count(Store::named("counts")));
    }, [count_windows("counts", 1_200)];
    sliding_reduce: edges(), |b| {
        let windowed = grouped(b).windowed_by(sliding(100, 30));
        windows_out(&windowed.reduce(|a, v| format!("{a}{v}"), Store::named("store")));
    }, [text_windows("store", 100)];
    sliding_aggregate: edges(), |b| {
        let windowed = grouped(b).windowed_by(sliding(100, 30));
        windows_out(&windowed.aggregate(|| String::from("<"), |_, v, a: String| a + v, Store::named("store")));
    }, [text_windows("store", 100)];
    unlimited_count: with_nulls(), |b| {
        let windows = UnlimitedWindows::start_on(1_100);
        windows_out(&grouped(b).windowed_by(windows).count(Store::named("counts")));
    }, [];
    unlimited_reduce: edges(), |b| {
        let windows = UnlimitedWindows::default();
        windows_out(&grouped(b).windowed_by(windows).reduce(|a, v| format!("{a}{v}"), Store::default()));
    }, [];
    tumbling_on_close: with_nulls(), |b| {
        let windowed = grouped(b).windowed_by(TimeWindows::tumbling(millis(100)).grace(millis(30)));
        windows_out(&windowed.emit_strategy(EmitStrategy::on_window_close()).count(kept("counts")));
    }, [count_windows_by_time("counts", 100)];
    hopping_on_close: edges(), |b| {
        let windows = TimeWindows::hopping(millis(100), millis(40)).grace(millis(30));
        let windowed = grouped(b).windowed_by(windows).emit_strategy(EmitStrategy::on_window_close());
        windows_out(&windowed.reduce(|a, v| format!("{a}{v}"), kept("store")));
    }, [text_windows("store", 100)];
    sliding_on_close: edges(), |b| {
        let windowed = grouped(b).windowed_by(sliding(100, 30));
        windows_out(&windowed.emit_strategy(EmitStrategy::on_window_close()).count(kept("counts")));
    }, [count_windows_by_time("counts", 100)];
    session_on_close: with_nulls(), |b| {
        let windowed = grouped(b).windowed_by(sessions());
        windows_out(&windowed.emit_strategy(EmitStrategy::on_window_close()).count(Store::named("counts")));
    }, [count_sessions_by_key("counts")];
    session_aggregate_on_close: edges(), |b| windows_out(&joined(&grouped(b), EmitStrategy::on_window_close())),
        [text_sessions_by_key("store")];
    suppress_tumbling: with_nulls(), |b| {
        let counts = grouped(b).windowed_by(tumbling()).count(Store::named("counts"));
        windows_out(&counts.suppress(Suppressed::until_window_closes(BufferConfig::unbounded())));
    }, [count_windows("counts", 100)];
    suppress_hopping: edges(), |b| {
        let windows = TimeWindows::hopping(millis(100), millis(40)).grace(millis(30));
        let folded = grouped(b).windowed_by(windows).reduce(|a, v| format!("{a}{v}"), Store::default());
        windows_out(&folded.suppress(Suppressed::until_window_closes(BufferConfig::unbounded()).named("last")));
    }, [];
    suppress_sliding: edges(), |b| {
        let counts = grouped(b).windowed_by(sliding(100, 30)).count(Store::default());
        windows_out(&counts.suppress(Suppressed::until_window_closes(BufferConfig::unbounded())));
    }, [];
    suppress_sessions: with_nulls(), |b| {
        let counts = grouped(b).windowed_by(sessions()).count(Store::default());
        windows_out(&counts.suppress(Suppressed::until_window_closes(BufferConfig::unbounded())));
    }, [];
    suppress_filtered: with_nulls(), |b| {
        let counts = grouped(b).windowed_by(sessions()).count(Store::default());
        let some = counts.filter(|_, n| n % 2 == 0);
        windows_out(&some.suppress(Suppressed::until_window_closes(BufferConfig::unbounded())));
    }, [];
    suppress_for_a_time: Plan::new(), |b| {
        let held = Suppressed::until_time_limit(millis(30), BufferConfig::unbounded());
        out(&table(b, "in").suppress(held).to_stream());
    }, [text_store("table")];
    suppress_many_keys: many_keys(), |b| {
        let held = Suppressed::until_time_limit(millis(60), BufferConfig::max_records(3));
        out(&table(b, "in").suppress(held.named("held")).to_stream());
    }, [text_store("table")];
    suppress_many_bytes: many_keys(), |b| {
        let held = Suppressed::until_time_limit(millis(60), BufferConfig::max_bytes(120));
        out(&table(b, "in").suppress(held).to_stream());
    }, [];
    suppress_then_group: Plan::new(), |b| {
        let held = Suppressed::until_time_limit(millis(20), BufferConfig::unbounded());
        let groups = table(b, "in").suppress(held).group_by(|_, v| (Some(v.clone()), v.clone()), Grouped::default());
        counts_out(&groups.count(Store::named("counts")));
    }, [count_store("counts")];
    cogroup: Plan::two_inputs(), |b| out(&both(b).aggregate(String::new, Store::named("store")).to_stream()),
        [text_store("store")];
    cogroup_repartitioned: Plan::two_inputs(), |b| {
        let left = stream(b, "left").group_by_key();
        let right = stream(b, "right").filter(|_, _| true).group_by(|_, v| Some(v.clone()));
        let folded = left.cogroup(|_, v, a: String| a + v).cogroup(&right, |_, v, a| a + "+" + v);
        out(&folded.aggregate(String::new, Store::default()).to_stream());
    }, [];
    cogroup_tumbling: two_edges(), |b| {
        windows_out(&both(b).windowed_by(tumbling()).named("both").aggregate(String::new, Store::named("store")));
    }, [text_windows("store", 100)];
    cogroup_sliding: two_edges(), |b| {
        windows_out(&both(b).windowed_by(sliding(100, 30)).aggregate(String::new, Store::named("store")));
    }, [text_windows("store", 100)];
    cogroup_sessions: two_edges(), |b| {
        let windowed = both(b).windowed_by(sessions());
        windows_out(&windowed.aggregate(String::new, |_, a, b| a + "|" + &b, Store::named("store")));
    }, [text_sessions("store")];
    cogroup_then_filter: Plan::two_inputs().inputs(&[("left", "a a b -", "1 2"), ("right", "a a b -", "3 4")]), |b| {
        let lengths = both(b).aggregate(String::new, Store::named("store")).filter(|_, text| text.len() > 2);
        out(&lengths.to_stream());
    }, [text_store("store")];
    count_then_group: Plan::new(), |b| {
        let sizes = grouped(b).count(Store::named("counts")).group_by(parity_of, by_text());
        counts_out(&sizes.count(Store::named("sizes")));
    }, [count_store("counts"), count_store("sizes")];
    tumbling_count_then_group: with_nulls(), |b| {
        let counts = grouped(b).windowed_by(tumbling()).count(Store::named("counts"));
        counts_out(&counts.group_by(parity_of, by_text()).count(Store::named("sizes")));
    // The window store is left out: Kafka Streams' cache still shows windows that its store has forgotten.
    }, [count_store("sizes")];
    print: Plan::new(), |b| {
        let words = stream(b, "in");
        words.map_values(|v| format!("<{v}>")).print(
            Printed::by(|k: &Key, v: Option<&String>| format!("{k:?}, {v:?}"))
                .with_label("words")
                .to_writer(std::io::sink()),
        );
        out(&words);
    }, [];
    transform_values: Plan::new(), |b| out(&table(b, "in").transform_values(|| around, &[]).to_stream()),
        [text_store("table")];
    transform_values_into_store: Plan::new(), |b| {
        out(&table(b, "in").transform_values_into(|| around, &[], Store::named("store")).to_stream());
    }, [text_store("store"), text_store("table")];
    transform_values_then_group: Plan::new(), |b| {
        let around = b.table("in", vigie_streams::Consumed::default(), Store::default()).transform_values(|| around, &[]);
        let groups = around.group_by(|_, v: &String| (Some(v.clone()), v.clone()), Grouped::default());
        counts_out(&groups.count(Store::named("counts")));
    }, [count_store("counts")];
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a transformer")]
fn around(
    _: &mut ProcessorContext<'_, '_, (), ()>,
    _: &Key,
    value: Option<&String>,
) -> Result<Option<String>, vigie_streams::BoxError> {
    Ok(value.map(|value| format!("<{value}>")))
}

fn parity_of<K>(_: &K, count: &i64) -> (Key, String) {
    let text = if count % 2 == 0 { "even" } else { "odd" };
    (Some(text.to_owned()), text.to_owned())
}

fn by_text() -> Grouped<Key, String> {
    Grouped::default()
}

/// Time moves to, before and beyond the edges of windows. Without null values, which functions of ours never see.
fn edges() -> Plan {
    Plan::new()
        .inputs(&[("in", "a a b b c -", "1 2 3 4 5")])
        .forward(&[0, 1, 9, 10, 30, 31, 39, 40, 41, 69, 70, 71, 99, 100, 101, 129, 130, 131])
        .back(&[1, 10, 29, 30, 31, 39, 40, 41, 69, 70, 71, 99, 100, 101, 129, 130, 131, 199, 200, 230, 231])
}

/// The same with null values: counts count them.
fn with_nulls() -> Plan {
    edges().inputs(&[("in", "a a b b c -", "1 2 3 -")])
}

fn two_edges() -> Plan {
    edges().inputs(&[("left", "a a b b c -", "1 2 3 4"), ("right", "a a b b c -", "6 7 8 9")])
}

/// More keys than a buffer takes.
fn many_keys() -> Plan {
    Plan::new().inputs(&[("in", "a b c d e f g h -", "1 22 333 4444 -")])
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn grouped(builder: &mut StreamsBuilder) -> KGroupedStream<Key, String> {
    stream(builder, "in").group_by_key()
}

fn both(builder: &mut StreamsBuilder) -> CogroupedKStream<Key, String> {
    let left = stream(builder, "left").group_by_key();
    let right = stream(builder, "right").group_by_key();
    left.cogroup(|_, v, a: String| a + v).cogroup(&right, |_, v, a| a + "+" + v)
}

fn joined(grouped: &KGroupedStream<Key, String>, emit: EmitStrategy) -> KTable<Windowed<Key>, String> {
    grouped.windowed_by(sessions()).emit_strategy(emit).aggregate(
        || String::from("<"),
        |_, v, a: String| a + v,
        |_, a, b| a + "|" + &b,
        Store::named("store"),
    )
}

/// A store that keeps its windows long enough for Kafka Streams to find them when they close.
fn kept<V>(name: &str) -> Store<Key, V> {
    Store::named(name).retention(Duration::from_secs(86_400))
}

fn tumbling() -> TimeWindows {
    TimeWindows::tumbling(millis(100)).grace(millis(30))
}

fn sessions() -> SessionWindows {
    SessionWindows::with_gap(millis(40)).grace(millis(30))
}

fn sliding(difference: u64, grace: u64) -> SlidingWindows {
    SlidingWindows::with_time_difference(millis(difference)).grace(millis(grace))
}
