//! Joins of two tables, and of a stream with a join of tables.

use vigie_streams::{Grouped, Joined, Store};

use crate::joins::{both, keyed, two_tables, unnamed_table};
use crate::scenario::Plan;
use crate::text::{out, stream, text_store};

fn three_inputs() -> Plan {
    Plan::two_inputs().inputs(&[
        ("left", "a a b b c -", "1 2 3 4 5 -"),
        ("right", "a a b b c -", "6 7 8 9 -"),
        ("third", "a a b b c -", "0 -"),
    ])
}

parity! {
    table_join: Plan::two_inputs(), |b| {
        let (left, right) = two_tables(b);
        out(&left.join(&right, |k, l, r| both(k, Some(l), Some(r))).to_stream());
    }, [];
    table_left_join: Plan::two_inputs(), |b| {
        let (left, right) = two_tables(b);
        out(&left.left_join(&right, |k, l, r| both(k, Some(l), r)).to_stream());
    }, [];
    table_outer_join: Plan::two_inputs(), |b| {
        let (left, right) = two_tables(b);
        out(&left.outer_join(&right, both).to_stream());
    }, [];
    table_join_into_store: Plan::two_inputs(), |b| {
        let (left, right) = two_tables(b);
        let joined = left.named("join").join_into(&right, |k, l, r| both(k, Some(l), Some(r)), Store::named("joined"));
        out(&joined.to_stream());
    }, [text_store("joined")];
    table_outer_join_into_store: Plan::two_inputs(), |b| {
        let (left, right) = two_tables(b);
        out(&left.outer_join_into(&right, both, Store::named("joined")).to_stream());
    }, [text_store("joined")];
    table_join_then_filter: Plan::two_inputs(), |b| {
        let (left, right) = two_tables(b);
        let joined = left.left_join(&right, |k, l, r| both(k, Some(l), r));
        out(&joined.filter(|_, v| v.ends_with(['-', '7', '9'])).to_stream());
    }, [];
    table_filter_then_join: Plan::two_inputs(), |b| {
        let left = unnamed_table(b, "left").filter(|_, v| v != "2");
        let right = unnamed_table(b, "right").map_values(|_, v| format!("{v}+"));
        out(&left.outer_join(&right, both).to_stream());
    }, [];
    table_join_of_joins: three_inputs(), |b| {
        let (left, right) = two_tables(b);
        let joined = left.outer_join(&right, both);
        let third = unnamed_table(b, "third");
        out(&joined.left_join(&third, |k, l, r| both(k, Some(l), r)).to_stream());
    }, [];
    table_join_then_group: Plan::two_inputs(), |b| {
        let (left, right) = two_tables(b);
        let groups = left.outer_join(&right, both).group_by(
            |_, v| (Some(v[..1].to_owned()), v.clone()),
            Grouped::default(),
        );
        let changes = groups.aggregate(
            String::new,
            |_, v, a: String| format!("{a}+{v}"),
            |_, v, a: String| format!("{a}~{v}"),
            Store::named("changes"),
        );
        out(&changes.to_stream());
    }, [text_store("changes")];
    stream_joins_joined_tables: three_inputs(), |b| {
        let third = stream(b, "third");
        let (left, right) = two_tables(b);
        let rows = left.outer_join(&right, both);
        out(&third.left_join(&rows, |k, v, row| keyed(k, Some(v), row), Joined::default()));
    }, [];
}
