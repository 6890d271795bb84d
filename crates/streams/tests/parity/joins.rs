//! Joins of streams and tables.

use vigie_streams::{Joined, KStream, KTable, StreamsBuilder};

use crate::scenario::Plan;
use crate::text::{Key, out, stream, table, text_store};

parity! {
    stream_table_join: Plan::two_inputs(), |b| {
        let table = table(b, "right");
        let joined = stream(b, "left").join(&table, |k: &Key, l, r| format!("{}{l}{r}", k.clone().unwrap_or_default()), Joined::default());
        out(&joined);
    }, [text_store("table")];
    stream_table_left_join: Plan::two_inputs(), |b| {
        let table = table(b, "right");
        let join = |k: &Key, l: &String, r: Option<&String>| {
            format!("{}{l}{}", k.as_deref().unwrap_or("null"), r.map_or("-", String::as_str))
        };
        out(&stream(b, "left").left_join(&table, join, Joined::default()));
    }, [text_store("table")];
}

/// A side that may be missing.
pub fn or(side: Option<&String>) -> &str {
    side.map_or("-", String::as_str)
}

/// Both sides of a join as text.
pub fn both(_: &Key, left: Option<&String>, right: Option<&String>) -> String {
    format!("{},{}", or(left), or(right))
}

/// The same with the key.
pub fn keyed(key: &Key, left: Option<&String>, right: Option<&String>) -> String {
    format!("{},{},{}", or(key.as_ref()), or(left), or(right))
}

/// A table of texts without a store of a name.
pub fn unnamed_table(builder: &mut StreamsBuilder, topic: &str) -> KTable<Key, String> {
    builder.table(topic, vigie_streams::Consumed::default(), vigie_streams::Store::default())
}

/// A stream from `left`, one from `right`.
pub fn two_streams(builder: &mut StreamsBuilder) -> (KStream<Key, String>, KStream<Key, String>) {
    (stream(builder, "left"), stream(builder, "right"))
}

/// A table from `left`, one from `right`.
pub fn two_tables(builder: &mut StreamsBuilder) -> (KTable<Key, String>, KTable<Key, String>) {
    (unnamed_table(builder, "left"), unnamed_table(builder, "right"))
}
