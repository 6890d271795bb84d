//! How topologies of this test read and write: text everywhere, windowed keys as key@start/end.

use vigie_streams::serde::{FnSerde, Nullable, Utf8};
use vigie_streams::{
    Consumed, KStream, KTable, Produced, SessionKey, StreamsBuilder, TopologyTestDriver, WindowKey, Windowed,
};

use crate::harness::Store;

/// Keys may be null.
pub type Key = Option<String>;

/// Bytes as text.
pub fn of(bytes: Option<Vec<u8>>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8(bytes).unwrap())
}

/// A stream of texts.
pub fn stream(builder: &mut StreamsBuilder, topic: &str) -> KStream<Key, String> {
    builder.stream(topic, Consumed::default())
}

/// A table of texts in a store called `table`.
pub fn table(builder: &mut StreamsBuilder, topic: &str) -> KTable<Key, String> {
    builder.table(topic, Consumed::default(), vigie_streams::Store::named("table"))
}

/// To topic `out`.
pub fn out(stream: &KStream<Key, String>) {
    stream.to("out", Produced::default());
}

/// A table of counts, to topic `out` as text.
pub fn counts_out(table: &KTable<Key, i64>) {
    table
        .to_stream()
        .to("out", Produced::with(Nullable::new(Utf8), FnSerde::text(|count: &i64| count.to_string())));
}

/// A windowed table, to topic `out` with keys as key@start/end.
pub fn windows_out<V: Clone + Send + Sync + ToString + 'static>(table: &KTable<Windowed<Key>, V>) {
    table.to_stream().to("out", Produced::with(FnSerde::text(windowed), FnSerde::text(V::to_string)));
}

/// A windowed key.
pub fn windowed(key: &Windowed<Key>) -> String {
    let plain = key.key.as_deref().unwrap_or("null");
    format!("{plain}@{}/{}", key.window.start, key.window.end)
}

/// Whether a text is an odd number.
pub fn odd(text: &str) -> bool {
    text.parse::<i64>().unwrap() % 2 == 1
}

/// A key-value store of texts.
pub fn text_store(name: &'static str) -> Store {
    key_values::<String>(name)
}

/// A key-value store of counts.
pub fn count_store(name: &'static str) -> Store {
    key_values::<i64>(name)
}

/// A window store of texts; `size` of its windows in milliseconds.
pub fn text_windows(name: &'static str, size: i64) -> Store {
    windows::<String>(name, size)
}

/// A window store of counts; `size` of its windows in milliseconds.
pub fn count_windows(name: &'static str, size: i64) -> Store {
    windows::<i64>(name, size)
}

/// A session store of texts.
pub fn text_sessions(name: &'static str) -> Store {
    sessions::<String>(name, false)
}

/// A session store of counts.
pub fn count_sessions(name: &'static str) -> Store {
    sessions::<i64>(name, false)
}

/// A session store of texts, whose order is that of the keys in Kafka Streams.
pub fn text_sessions_by_key(name: &'static str) -> Store {
    sessions::<String>(name, true)
}

/// A session store of counts, whose order is that of the keys in Kafka Streams.
pub fn count_sessions_by_key(name: &'static str) -> Store {
    sessions::<i64>(name, true)
}

/// A window store of counts, whose order is that of the windows' starts in Kafka Streams; `size` in milliseconds.
pub fn count_windows_by_time(name: &'static str, size: i64) -> Store {
    windows_in_order::<i64>(name, size, true)
}

fn sessions<V: Clone + Send + ToString + 'static>(name: &'static str, by_key: bool) -> Store {
    let dump = move |driver: &TopologyTestDriver| {
        let mut entries = driver.session_store::<Key, V>(name).unwrap().all().unwrap();
        if by_key {
            entries.sort_by_key(|(session, _)| (session.key.clone(), session.end, session.start));
        }
        let text =
            |key: SessionKey<Key>| format!("{}@{}/{}", key.key.unwrap_or_default(), key.start, key.end);
        entries.into_iter().map(|(key, value)| (text(key), value.to_string())).collect()
    };
    Store { name, dump: Box::new(dump) }
}

fn key_values<V: Clone + Send + ToString + 'static>(name: &'static str) -> Store {
    let dump = move |driver: &TopologyTestDriver| {
        let store = driver.store::<Key, V>(name).unwrap();
        let entries = store.all().map(|entry| entry.unwrap());
        entries.map(|(key, value)| (key.unwrap_or_default(), value.to_string())).collect()
    };
    Store { name, dump: Box::new(dump) }
}

fn windows<V: Clone + Send + ToString + 'static>(name: &'static str, size: i64) -> Store {
    windows_in_order::<V>(name, size, false)
}

fn windows_in_order<V: Clone + Send + ToString + 'static>(
    name: &'static str,
    size: i64,
    by_time: bool,
) -> Store {
    let dump = move |driver: &TopologyTestDriver| {
        let mut entries = driver.window_store::<Key, V>(name).unwrap().all().unwrap();
        if by_time {
            entries.sort_by_key(|(window, _)| (window.start, window.key.clone()));
        }
        let text = |key: WindowKey<Key>| {
            format!("{}@{}/{}", key.key.unwrap_or_default(), key.start, key.start + size)
        };
        entries.into_iter().map(|(key, value)| (text(key), value.to_string())).collect()
    };
    Store { name, dump: Box::new(dump) }
}
