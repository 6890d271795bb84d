//! Foreign-key joins. The foreign key is what follows a row's first character.

use vigie_streams::{Store, TableJoined};

use crate::joins::{both, two_tables, unnamed_table};
use crate::scenario::Plan;
use crate::text::{Key, out, text_store};

pub fn plan() -> Plan {
    Plan::two_inputs()
        .inputs(&[("left", "a a b b c -", "1x 2x 1y 2y 1z 3 -"), ("right", "x x y y z -", "6 7 8 9 -")])
}

pub fn foreign(row: &str) -> Key {
    Some(row[1..].to_owned()).filter(|foreign| !foreign.is_empty())
}

parity! {
    foreign_key_join: plan(), |b| {
        let (left, right) = two_tables(b);
        let join = |k: &Key, l: &String, r: &String| both(k, Some(l), Some(r));
        let joined = left.join_foreign_key(&right, |_, v| foreign(v), join, TableJoined::default(), Store::default());
        out(&joined.to_stream());
    }, [];
    foreign_key_left_join: plan(), |b| {
        let (left, right) = two_tables(b);
        let join = |k: &Key, l: &String, r: Option<&String>| both(k, Some(l), r);
        let joined = left.left_join_foreign_key(&right, |_, v| foreign(v), join, TableJoined::default(), Store::default());
        out(&joined.to_stream());
    }, [];
    foreign_key_join_into_store: plan(), |b| {
        let (left, right) = two_tables(b);
        let join = |k: &Key, l: &String, r: &String| both(k, Some(l), Some(r));
        let named = TableJoined::default().named("join");
        out(&left.join_foreign_key(&right, |_, v| foreign(v), join, named, Store::named("joined")).to_stream());
    }, [text_store("joined")];
    foreign_key_left_join_into_store: plan(), |b| {
        let (left, right) = two_tables(b);
        let join = |k: &Key, l: &String, r: Option<&String>| both(k, Some(l), r);
        let default = TableJoined::default();
        out(&left.left_join_foreign_key(&right, |_, v| foreign(v), join, default, Store::named("joined")).to_stream());
    }, [text_store("joined")];
    foreign_key_of_key_and_value: plan(), |b| {
        let (left, right) = two_tables(b);
        let extract = |k: &Key, v: &String| {
            foreign(v).map(|foreign| if k.as_deref() == Some("a") { String::from("x") } else { foreign })
        };
        let join = |k: &Key, l: &String, r: &String| both(k, Some(l), Some(r));
        out(&left.join_foreign_key(&right, extract, join, TableJoined::default(), Store::default()).to_stream());
    }, [];
    foreign_key_join_then_filter: plan(), |b| {
        let (left, right) = two_tables(b);
        let join = |k: &Key, l: &String, r: Option<&String>| both(k, Some(l), r);
        let joined = left.left_join_foreign_key(
            &right,
            |_, v| foreign(v),
            join,
            TableJoined::default(),
            // Filtered, the result may have to be kept.
            Store::default().with_value_serde(vigie_streams::serde::Utf8),
        );
        out(&joined.filter(|_, v| !v.ends_with('-')).to_stream());
    }, [];
    foreign_key_join_of_filtered: plan(), |b| {
        let left = unnamed_table(b, "left").filter(|_, v| !v.starts_with('2'));
        let right = unnamed_table(b, "right").map_values(|_, v| format!("{v}+"));
        let join = |k: &Key, l: &String, r: &String| both(k, Some(l), Some(r));
        out(&left.join_foreign_key(&right, |_, v| foreign(v), join, TableJoined::default(), Store::default()).to_stream());
    }, [];
}
