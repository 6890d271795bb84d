//! `describe()` against Kafka Streams' own text.

use vigie_streams::{Consumed, Grouped, Produced, Store, StreamsBuilder, TopologyError};

fn check(build: impl FnOnce(&mut StreamsBuilder), expect: &str) {
    let mut builder = StreamsBuilder::new();
    build(&mut builder);
    assert_eq!(builder.build().unwrap().describe(), expect);
}

#[test]
fn word_count_reads_as_in_kafka_streams_book() {
    check(
        |builder| {
            builder
                .stream("streams-plaintext-input", Consumed::<String, String>::default())
                .flat_map_values(|line| line.split(' ').map(String::from).collect::<Vec<_>>())
                .group_by_with(
                    |_, word| word.clone(),
                    Grouped::default().with_value_serde(vigie_streams::serde::Utf8),
                )
                .count(Store::named("counts-store"))
                .to_stream()
                .to("streams-wordcount-output", Produced::default());
        },
        "Topologies:
   Sub-topology: 0
    Source: KSTREAM-SOURCE-0000000000 (topics: [streams-plaintext-input])
      --> KSTREAM-FLATMAPVALUES-0000000001
    Processor: KSTREAM-FLATMAPVALUES-0000000001 (stores: [])
      --> KSTREAM-KEY-SELECT-0000000002
      <-- KSTREAM-SOURCE-0000000000
    Processor: KSTREAM-KEY-SELECT-0000000002 (stores: [])
      --> counts-store-repartition-filter
      <-- KSTREAM-FLATMAPVALUES-0000000001
    Processor: counts-store-repartition-filter (stores: [])
      --> counts-store-repartition-sink
      <-- KSTREAM-KEY-SELECT-0000000002
    Sink: counts-store-repartition-sink (topic: counts-store-repartition)
      <-- counts-store-repartition-filter

  Sub-topology: 1
    Source: counts-store-repartition-source (topics: [counts-store-repartition])
      --> KSTREAM-AGGREGATE-0000000003
    Processor: KSTREAM-AGGREGATE-0000000003 (stores: [counts-store])
      --> KTABLE-TOSTREAM-0000000007
      <-- counts-store-repartition-source
    Processor: KTABLE-TOSTREAM-0000000007 (stores: [])
      --> KSTREAM-SINK-0000000008
      <-- KSTREAM-AGGREGATE-0000000003
    Sink: KSTREAM-SINK-0000000008 (topic: streams-wordcount-output)
      <-- KTABLE-TOSTREAM-0000000007

",
    );
}

#[test]
fn unnamed_stores_and_tables_use_numbers_up_as_in_kafka_streams() {
    check(
        |builder| {
            let table = builder.table("users", Consumed::<String, String>::default(), Store::default());
            let stream = builder.stream("clicks", Consumed::<String, String>::default());
            stream
                .join(&table, |_, click, user| format!("{user}: {click}"), vigie_streams::Joined::default())
                .to("named-clicks", Produced::default().with_value_serde(vigie_streams::serde::Utf8));
        },
        "Topologies:
   Sub-topology: 0
    Source: KSTREAM-SOURCE-0000000003 (topics: [clicks])
      --> KSTREAM-JOIN-0000000004
    Processor: KSTREAM-JOIN-0000000004 (stores: [users-STATE-STORE-0000000000])
      --> KSTREAM-SINK-0000000005
      <-- KSTREAM-SOURCE-0000000003
    Source: KSTREAM-SOURCE-0000000001 (topics: [users])
      --> KTABLE-SOURCE-0000000002
    Sink: KSTREAM-SINK-0000000005 (topic: named-clicks)
      <-- KSTREAM-JOIN-0000000004
    Processor: KTABLE-SOURCE-0000000002 (stores: [users-STATE-STORE-0000000000])
      --> none
      <-- KSTREAM-SOURCE-0000000001

",
    );
}

fn refused(build: impl FnOnce(&mut StreamsBuilder)) -> TopologyError {
    let mut builder = StreamsBuilder::new();
    build(&mut builder);
    builder.build().unwrap_err()
}

#[derive(Clone)]
struct NoSerde;

#[test]
fn build_refuses_and_names_the_node() {
    let strings = Consumed::<String, String>::default;
    let cases: Vec<(TopologyError, &str)> = vec![
        (refused(|_| ()), "no source"),
        (
            refused(|b| {
                b.stream("a", strings());
                b.stream("a", strings());
            }),
            "`KSTREAM-SOURCE-0000000000` and `KSTREAM-SOURCE-0000000001`",
        ),
        (
            refused(|b| b.stream("a", strings()).map_values(|_| NoSerde).to("b", Produced::default())),
            "`KSTREAM-SINK-0000000002` needs a serde for its value",
        ),
        (
            refused(|b| {
                b.stream("a", strings()).named("x").filter(|_, _| true).named("x").filter(|_, _| true);
            }),
            "`x` is defined twice",
        ),
        (
            refused(|b| {
                b.stream("a", strings()).named("no blanks").filter(|_, _| true);
            }),
            "`no blanks` is not a valid name",
        ),
        (
            refused(|b| {
                b.stream("a", strings()).group_by_key().count(Store::named("s"));
                b.stream("b", strings()).group_by_key().count(Store::named("s"));
            }),
            "state store `s` is defined twice",
        ),
        (
            refused(|b| {
                let other = StreamsBuilder::new().stream("b", strings());
                b.stream("a", strings()).merge(&other);
            }),
            "two different builders",
        ),
    ];
    for (error, expect) in cases {
        assert!(error.to_string().contains(expect), "{error}\n  should contain {expect}");
    }
}
