//! Joins in the simulation: two streams in a window, two tables, and tables by foreign key, whatever dies in between.
//!
//! Streams and tables that join are parts of one input, so that the order within a partition, and with it every result, is that of the test
//! driver. Behind a repartition the order of partitions among each other is anyone's; there only the last result of a key can be compared.

use std::collections::BTreeMap;
use std::time::Duration;

use super::World;
use super::windows::{Results, sorted};
use crate::{
    Consumed, JoinWindows, KStream, KTable, Produced, Store, StreamJoined, StreamsBuilder, TableJoined,
    Topology,
};

/// Topics of results.
pub(super) const TOPICS: [&str; 3] = ["matched", "paired", "named"];

fn text(value: Option<&i64>) -> String {
    value.map_or_else(|| String::from("-"), i64::to_string)
}

/// Adds the joins within a partition.
pub(super) fn add(input: &KStream<String, i64>) {
    // A key has values of both kinds.
    let even = input.filter(|_, value| value / 6 % 2 == 0);
    let odd = input.filter_not(|_, value| value / 6 % 2 == 0);
    even.outer_join_stream(
        &odd,
        |_, left, right| format!("{}:{}", text(left), text(right)),
        JoinWindows::of_time_difference_and_grace(Duration::from_millis(40), Duration::from_millis(300)),
        StreamJoined::default(),
    )
    .to("matched", Produced::<String, String>::default());
    let (even, odd) = (even.to_table(Store::named("even")), odd.to_table(Store::named("odd")));
    even.outer_join(&odd, |_, left, right| format!("{}:{}", text(left), text(right)))
        .to_stream()
        .to("paired", Produced::<String, String>::default());
}

/// Adds a join by foreign key: the greatest value of each of twelve groups, with the name that belongs to it.
pub(super) fn add_foreign(input: &KStream<String, i64>, names: &KTable<String, String>) {
    input
        .group_by(|_, value| format!("f{}", value % 12))
        .reduce(|a, b| a.max(b), Store::named("greatest"))
        .left_join_foreign_key(
            names,
            |_, value| Some(format!("k{}", value / 12 % 6)),
            |_, value, name| format!("{value}:{}", name.map_or("-", String::as_str)),
            TableJoined::default(),
            Store::named("named"),
        )
        .to_stream()
        .to("named", Produced::<String, String>::default());
}

impl World {
    /// At least once, results may come again and what builds on them may differ: the last one of a key may not.
    pub(super) fn check_joins(&self) {
        if self.exactly_once() {
            let mut builder = StreamsBuilder::new();
            add(&builder.stream("in", Consumed::default()));
            let topology = builder.build().unwrap();
            self.check_against_driver(&topology, &["paired"]);
            self.check_matched(&topology);
        }
        let mut greatest: BTreeMap<String, i64> = BTreeMap::new();
        for record in self.sent.iter().flatten() {
            let value = record >> 16;
            let entry = greatest.entry(format!("f{}", value % 12)).or_default();
            *entry = value.max(*entry);
        }
        let expect: BTreeMap<String, String> = greatest
            .into_iter()
            .map(|(key, value)| {
                // There are four names.
                let name = value / 12 % 6;
                (key, if name < 4 { format!("{value}:n{name}") } else { format!("{value}:-") })
            })
            .collect();
        let last: BTreeMap<String, String> = self
            .read("named")
            .into_iter()
            .map(|(key, values)| (key, String::from_utf8(values.into_iter().next_back().unwrap()).unwrap()))
            .collect();
        assert_eq!(last, expect, "the last result of each key behind the foreign keys");
    }

    /// Of two streams, what has found its match is exact. When a record comes out without one depends on the wall clock, as in Kafka Streams,
    /// and a late match may still follow it: each comes at most once.
    fn check_matched(&self, topology: &Topology) {
        let alone = |result: &(Option<Vec<u8>>, i64)| result.0.as_ref().is_some_and(|v| v.contains(&b'-'));
        let split = |all: Results| -> (Results, Results) {
            let mut parts = (Results::new(), Results::new());
            for (key, results) in all {
                let (lone, pairs) = results.into_iter().partition(alone);
                parts.0.insert(key.clone(), lone);
                parts.1.insert(key, pairs);
            }
            (parts.0, parts.1)
        };
        let pairs = |mut all: Results| {
            all.retain(|_, results| !results.is_empty());
            sorted(all)
        };
        let expect = self.results_of_driver(topology, &["matched"]).remove("matched").unwrap_or_default();
        let (lone, found) = split(self.results("matched"));
        assert_eq!(pairs(found), pairs(split(expect).1), "matches, each once");
        let mut sent: Results = Results::new();
        for record in self.sent.iter().flatten() {
            let (value, at) = (record >> 16, record & 0xffff);
            let result = if value / 6 % 2 == 0 { format!("{value}:-") } else { format!("-:{value}") };
            sent.entry(format!("k{}", value % 6).into_bytes())
                .or_default()
                .push((Some(result.into_bytes()), at));
        }
        for (key, results) in lone {
            for result in results {
                let sent = sent.entry(key.clone()).or_default();
                let place = sent.iter().position(|sent| *sent == result);
                assert!(place.is_some(), "{key:?} has {result:?}, which comes once too often");
                sent.swap_remove(place.unwrap());
            }
        }
    }
}
