//! Joins of tables: results that go with their rows, and after a restart.

use std::sync::Arc;
use std::time::Duration;

use vigie_log::Log;
use vigie_streams::serde::Utf8;
use vigie_streams::{
    Config, Consumed, Headers, Produced, State, Store, Streams, StreamsBuilder, Topology, TopologyTestDriver,
};

use crate::running::{PATIENCE, end, log, until};
use crate::stream_joins::{send_at, values};

fn topology() -> Topology {
    let mut builder = StreamsBuilder::new();
    let left = builder.table("left", Consumed::<String, String>::default(), Store::default());
    let right = builder.table("right", Consumed::<String, String>::default(), Store::default());
    left.left_join_into(
        &right,
        |key, l, r| format!("{key}:{l}+{}", r.map_or("-", String::as_str)),
        Store::named("joined"),
    )
    .to_stream()
    .to("out", Produced::default());
    builder.build().unwrap()
}

#[test]
fn a_result_goes_with_its_row() {
    let driver = TopologyTestDriver::new(&topology(), Default::default()).unwrap();
    let put = |topic: &str, value: Option<&str>, at: i64| {
        let value = value.map(String::from);
        let input = driver.input(topic, Utf8, Utf8);
        input.pipe_with(&String::from("k"), value.as_ref(), at, Headers::new()).unwrap();
        let records = driver.output("out", Utf8, Utf8).read().unwrap();
        records.into_iter().map(|record| (record.value, record.timestamp)).collect::<Vec<_>>()
    };
    let joined = |value: &str, at: i64| vec![(Some(String::from(value)), at)];
    assert_eq!(put("right", Some("b"), 5), vec![]);
    assert_eq!(put("left", Some("a"), 3), joined("k:a+b", 5));
    assert_eq!(put("right", None, 2), joined("k:a+-", 3));
    assert_eq!(driver.store::<String, String>("joined").unwrap().get(&"k".into()).unwrap().unwrap(), "k:a+-");
    assert_eq!(put("left", None, 9), vec![(None, 9)]);
    assert_eq!(driver.store::<String, String>("joined").unwrap().get(&"k".into()).unwrap(), None);
    assert_eq!(put("left", None, 9), vec![], "nothing was there, nothing goes");
}

#[test]
fn a_suppressed_table_has_the_rows_that_it_has_sent_on() {
    let mut builder = StreamsBuilder::new();
    let calm = vigie_streams::Suppressed::until_time_limit(
        Duration::from_secs(1),
        vigie_streams::BufferConfig::unbounded(),
    );
    let suppressed =
        builder.table("left", Consumed::<String, String>::default(), Store::default()).suppress(calm);
    let right = builder.table("right", Consumed::<String, String>::default(), Store::default());
    right.join(&suppressed, |_, l, r| l.clone() + r).to_stream().to("out", Produced::default());
    let driver = TopologyTestDriver::new(&builder.build().unwrap(), Default::default()).unwrap();
    let pipe = |topic: &str, key: &str, value: &str, at| {
        driver.input(topic, Utf8, Utf8).pipe(&key.to_owned(), &value.to_owned(), at).unwrap();
    };
    pipe("left", "k", "a", 0);
    pipe("right", "k", "b", 10);
    assert!(driver.read_raw("out").is_empty(), "`a` is held back");
    pipe("left", "other", "x", 1_000);
    let out = driver.output("out", Utf8, Utf8).read_key_values().unwrap();
    assert_eq!(out, [("k".to_owned(), Some("ba".to_owned()))]);
}

#[test]
fn tables_are_joined_after_a_restart_from_changelogs() {
    let log = log(&[("left", 2), ("right", 2), ("out", 2)]);
    for round in 0..2 {
        let config =
            Config::new("app", Arc::clone(&log) as Arc<dyn Log>).commit_interval(Duration::from_millis(10));
        let app = Streams::new(topology(), config).start().unwrap();
        assert!(app.wait_for(State::Running, PATIENCE));
        if round == 0 {
            send_at(&log, "left", 1, "k", Some("a"), 10);
            until("a result without the right row", || end(&log, "out") == 1);
        } else {
            send_at(&log, "right", 1, "k", Some("b"), 20);
            until("a result with both rows", || end(&log, "out") == 2);
            let joined = app.store::<String, String>("joined").unwrap();
            until("the store follows", || joined.get(&"k".into()).unwrap() == Some("k:a+b".into()));
        }
        assert!(app.close(PATIENCE));
    }
    let found: Vec<String> = values(&log, "out").into_iter().flatten().collect();
    assert_eq!(found, ["k:a+-", "k:a+b"]);
}
