//! Joins of a stream with a table.

use vigie_streams::serde::{I64, Nullable, Utf8};
use vigie_streams::{Consumed, Headers, Joined, Produced, Store, StreamsBuilder, TopologyTestDriver};

#[test]
fn records_are_looked_up_in_the_table_as_it_is_then() {
    let mut builder = StreamsBuilder::new();
    let users = builder.table("users", Consumed::<Option<String>, String>::default(), Store::default());
    let clicks = builder.stream("clicks", Consumed::<Option<String>, i64>::default());
    let text = || Produced::with(Nullable::new(Utf8), Utf8);
    clicks.join(&users, |_, n, user| format!("{user}{n}"), Joined::default()).to("inner", text());
    clicks.left_join(&users, |_, n, user| format!("{user:?}{n}"), Joined::default()).to("left", text());
    // A new key sends the stream through a repartition topic first; a filtered table is kept for the join.
    clicks
        .map(|key, n| (key.as_ref().map(|key| key.to_lowercase()), n * 2))
        .join(
            &users.filter(|_, user| user != "nobody"),
            |_, n, user| format!("{user}{n}"),
            Joined::default().with_value_serde(I64),
        )
        .to("moved", text());
    let topology = builder.build().unwrap();
    assert!(topology.describe().contains("KSTREAM-MAP-"), "{}", topology.describe());
    let driver = TopologyTestDriver::new(&topology, Default::default()).unwrap();
    let user = |key: &str, name: Option<&str>| {
        let name = name.map(String::from);
        driver
            .input("users", Nullable::new(Utf8), Utf8)
            .pipe_with(&Some(key.into()), name.as_ref(), 0, Headers::new())
            .unwrap();
    };
    let click = |key: Option<&str>, n: i64| {
        driver.input("clicks", Nullable::new(Utf8), I64).pipe(&key.map(String::from), &n, 1).unwrap();
    };
    click(Some("a"), 1);
    user("a", Some("Ann"));
    click(Some("a"), 2);
    click(Some("A"), 3);
    click(None, 4);
    user("a", Some("nobody"));
    click(Some("a"), 5);
    user("a", None);
    click(Some("a"), 6);
    let read = |topic: &str| -> Vec<String> {
        let rows = driver.output(topic, Nullable::new(Utf8), Utf8).read_key_values().unwrap();
        rows.into_iter().filter_map(|(_, value)| value).collect()
    };
    assert_eq!(read("inner"), ["Ann2", "nobody5"]);
    let left = ["None1", "Some(\"Ann\")2", "None3", "None4", "Some(\"nobody\")5", "None6"];
    assert_eq!(read("left"), left);
    assert_eq!(read("moved"), ["Ann4", "Ann6"]);
}
