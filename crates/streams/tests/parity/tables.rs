//! Tables: sources, filters, mappers, grouping.

use vigie_streams::{Grouped, KTable, Store, StreamsBuilder};

use crate::scenario::Plan;
use crate::text::{Key, count_store, counts_out, odd, out, stream, table, text_store};

parity! {
    table_source: Plan::new(), |b| out(&table(b, "in").to_stream()), [text_store("table")];
    to_table: Plan::new(), |b| out(&stream(b, "in").to_table(Store::named("table")).to_stream()), [text_store("table")];
    table_filter: Plan::new(), |b| out(&table(b, "in").filter(|_, v| odd(v)).to_stream()), [text_store("table")];
    table_filter_not: Plan::new(), |b| out(&table(b, "in").filter_not(|_, v| odd(v)).to_stream()), [text_store("table")];
    table_filter_into_store: Plan::new(), |b| {
        out(&table(b, "in").filter_into(|_, v| odd(v), Store::named("odd")).to_stream());
    }, [text_store("table"), text_store("odd")];
    table_map_values: Plan::new(), |b| out(&plus(b, "in").to_stream()), [text_store("table")];
    table_map_values_into_store: Plan::new(), |b| {
        out(&table(b, "in").map_values_into(|_, v| format!("{v}+"), Store::named("mapped")).to_stream());
    }, [text_store("table"), text_store("mapped")];
    table_group_count: Plan::new(), |b| {
        counts_out(&table(b, "in").group_by(|k, v| (Some(v.clone()), k.clone().unwrap_or_default()), Grouped::default())
            .count(Store::named("by-value")));
    }, [text_store("table"), count_store("by-value")];
    table_group_reduce: Plan::new(), |b| {
        let grouped = table(b, "in").group_by(|_, v| (parity_of(v), v.clone()), Grouped::default());
        let sums = grouped.reduce(|a, v| sum(&a, &v, 1), |a, v| sum(&a, &v, -1), Store::named("sums"));
        out(&sums.to_stream());
    }, [text_store("table"), text_store("sums")];
    table_group_aggregate: Plan::new(), |b| {
        let grouped = table(b, "in").group_by(|_, v| (parity_of(v), v.clone()), Grouped::default());
        let changes = grouped.aggregate(
            String::new,
            |_, v, a: String| format!("{a}+{v}"),
            |_, v, a: String| format!("{a}-{v}"),
            Store::named("changes"),
        );
        out(&changes.to_stream());
    }, [text_store("table"), text_store("changes")];
    table_filter_then_group: Plan::new(), |b| {
        let odds = table(b, "in").filter(|_, v| odd(v));
        counts_out(&odds.group_by(|k, v| (Some(v.clone()), k.clone().unwrap_or_default()), Grouped::default())
            .count(Store::named("by-value")));
    }, [text_store("table"), count_store("by-value")];
}

fn plus(builder: &mut StreamsBuilder, topic: &str) -> KTable<Key, String> {
    table(builder, topic).map_values(|_, v| format!("{v}+"))
}

fn parity_of(value: &str) -> Key {
    Some(String::from(if odd(value) { "odd" } else { "even" }))
}

fn sum(aggregate: &str, value: &str, sign: i64) -> String {
    (aggregate.parse::<i64>().unwrap() + sign * value.parse::<i64>().unwrap()).to_string()
}
