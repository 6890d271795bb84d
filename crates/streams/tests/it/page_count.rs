//! The page count of the README, through the driver.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vigie_streams::serde::{FnSerde, I64, Json, Nullable, Utf8};
use vigie_streams::{
    Consumed, Headers, Produced, Store, StreamsBuilder, TimeWindows, Topology, TopologyTestDriver, Windowed,
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PageEvent {
    pub name: String,
    pub user: String,
    pub date: i64,
    pub duration: i64,
}

pub fn page_count() -> Topology {
    let mut builder = StreamsBuilder::new();
    builder
        .stream("R2", Consumed::json::<Option<String>, PageEvent>())
        .filter(|_, event| event.duration > 100)
        .group_by(|_, event| event.name.clone())
        .windowed_by(TimeWindows::tumbling(Duration::from_secs(5)))
        .count(Store::named("page-count").retention(Duration::from_secs(60)))
        .to_stream()
        .to(
            "R4",
            Produced::with(
                FnSerde::text(|w: &Windowed<String>| {
                    format!("=>{}{}{}", w.window.start, w.window.end, w.key)
                }),
                I64,
            ),
        );
    builder.build().unwrap()
}

pub fn event(name: &str, duration: i64) -> PageEvent {
    PageEvent { name: name.into(), user: "U1".into(), date: 0, duration }
}

#[test]
fn counts_by_window_with_late_records_dropped_and_headers_kept() {
    let driver = TopologyTestDriver::new(&page_count(), Default::default()).unwrap();
    let input = driver.input("R2", Nullable::new(Utf8), Json::<PageEvent>::new());
    let pipe = |name, duration, at, headers| {
        input.pipe_with(&None::<String>, Some(&event(name, duration)), at, headers).unwrap();
    };
    pipe("P1", 200, 1_000, Headers::new().with("correlation-id", "7"));
    pipe("P1", 100, 2_000, Headers::new());
    pipe("P1", 101, 4_999, Headers::new());
    pipe("P2", 101, 5_000, Headers::new());
    pipe("P1", 999, 4_000, Headers::new());
    let out = driver.read_raw("R4");
    let shown: Vec<_> = out
        .iter()
        .map(|r| {
            let key = String::from_utf8(r.key.clone().unwrap()).unwrap();
            (key, i64::from_be_bytes(r.value.clone().unwrap().try_into().unwrap()), r.timestamp)
        })
        .collect();
    assert_eq!(
        shown,
        [("=>05000P1".into(), 1, 1_000), ("=>05000P1".into(), 2, 4_999), ("=>500010000P2".into(), 1, 5_000)]
    );
    assert_eq!(out[0].headers.get_str("correlation-id"), Some("7"));
    assert_eq!(driver.skipped_and_late(), (0, 1));
    let store = driver.window_store::<String, i64>("page-count").unwrap();
    assert_eq!(store.fetch(&"P1".into(), 0, 9_999).unwrap(), [(0, 2)]);
    assert_eq!(store.get(&"P2".into(), 5_000).unwrap(), Some(1));
    assert!(driver.store::<String, i64>("page-count").is_err(), "it is a window store");
    assert!(driver.store::<String, i64>("nothing").is_err());
}
