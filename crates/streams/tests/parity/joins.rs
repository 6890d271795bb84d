//! Joins of streams and tables.

use vigie_streams::Joined;

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
