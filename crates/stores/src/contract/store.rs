//! What every store that sinks write to must do: data and offsets together or not at all.

use serde_json::json;
use vigie_log::TopicPartition;

use crate::{CellKind, OffsetStep, Query, Row, Store, StoreError, TableSchema, Write};

const GO: &str = "the store under test answers";

/// Runs the suite on an empty store.
pub fn store(store: &dyn Store) {
    let table = TableSchema::new("s_rows").partition("id", CellKind::Text).column("n", CellKind::Int);
    store.declare_table(&table).expect(GO);
    let partition = TopicPartition::new("events", 3);
    let step = |from, to| OffsetStep { partition: partition.clone(), from, to };
    let document = |id: &str, version| Write::document("s-docs", id, json!({"v": version})).if_newer(version);
    let row = |n: i64| Write::row("s_rows", Row::new().with("id", "r").with("n", n)).if_newer(n);
    assert_eq!(store.offset("g", &partition).expect(GO), None);

    assert_eq!(store.apply("g", &[document("a", 1), row(1)], &[step(None, 5)]).expect(GO), 2);
    assert_eq!(store.offset("g", &partition).expect(GO), Some(5));
    assert_eq!(store.offset("other", &partition).expect(GO), None);
    assert_eq!(store.offset("g", &TopicPartition::new("events", 2)).expect(GO), None);

    // Another writer has gone on meanwhile: nothing of the stale one is written.
    for stale in [None, Some(4), Some(6)] {
        let error =
            store.apply("g", &[document("stale", 9)], &[step(stale, 7)]).expect_err("a stale writer is told");
        assert!(matches!(error, StoreError::OffsetMoved { found: Some(5), .. }), "{error}");
    }
    // One bad record: neither its neighbours nor the offset.
    let bad = Write::row("s_rows", Row::new().with("n", 1_i64));
    let error =
        store.apply("g", &[document("stale", 9), bad], &[step(Some(5), 6)]).expect_err("it is refused");
    assert!(error.is_bad_record(), "{error}");
    assert_eq!(store.get_document("s-docs", "stale").expect(GO), None);
    assert_eq!(store.offset("g", &partition).expect(GO), Some(5));

    // Older data, as in a replay, changes nothing; the offset moves, also backwards when a topic was made anew.
    assert_eq!(store.apply("g", &[document("a", 0), row(0)], &[step(Some(5), 2)]).expect(GO), 0);
    assert_eq!(store.offset("g", &partition).expect(GO), Some(2));
    let kept = store.get_row("s_rows", &["r".into()]).expect(GO).expect("it is there");
    assert_eq!(kept.get("n").as_i64(), Some(1));
    assert_eq!(store.apply("g", &[row(2)], &[]).expect(GO), 1);

    let delete = |version| Write::DeleteDocument {
        collection: String::from("s-docs"),
        id: String::from("a"),
        only_if_newer: version,
    };
    assert_eq!(store.apply("g", &[delete(Some(0))], &[]).expect(GO), 0);
    assert_eq!(store.apply("g", &[delete(Some(1))], &[]).expect(GO), 1);
    assert_eq!(store.count_documents("s-docs", &Query::new()).expect(GO), 0);
    let gone = Write::DeleteRow { table: String::from("s_rows"), key: vec!["r".into()] };
    assert_eq!(store.apply("g", &[gone.clone(), gone], &[]).expect(GO), 1);
}
