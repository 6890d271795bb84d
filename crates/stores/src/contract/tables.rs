//! What every store of tables must do.

use crate::{Cell, CellKind, Order, Row, TableSchema, Tables, read_buckets_backwards};

const GO: &str = "the store under test answers";

/// Runs the suite on an empty store.
pub fn tables(store: &dyn Tables) {
    rows(store);
    partitions(store);
    schemas(store);
}

fn rows(store: &dyn Tables) {
    let schema = TableSchema::new("t_rows")
        .partition("country", CellKind::Text)
        .column("count", CellKind::Int)
        .column("avg_age", CellKind::Float)
        .column("at", CellKind::Timestamp)
        .column("ok", CellKind::Bool);
    store.declare_table(&schema).expect(GO);
    let row = Row::new()
        .with("country", "Côte d'Ivoire")
        .with("count", 3_i64)
        .with("avg_age", 30.0)
        .with("ok", true);
    assert_eq!(store.upsert_rows("t_rows", std::slice::from_ref(&row)).expect(GO), 1);
    let key = [Cell::from("Côte d'Ivoire")];
    assert_eq!(store.get_row("t_rows", &key).expect(GO), Some(row.clone()));
    // Columns that are not given stay.
    store
        .upsert_rows("t_rows", &[Row::new().with("country", "Côte d'Ivoire").with("count", 4_i64)])
        .expect(GO);
    assert_eq!(store.get_row("t_rows", &key).expect(GO), Some(row.with("count", 4_i64)));
    assert_eq!(store.count_rows("t_rows").expect(GO), 1);
    for bad in [
        Row::new().with("count", 1_i64),
        Row::new().with("country", Cell::Null).with("count", 1_i64),
        Row::new().with("country", "x").with("count", "one"),
        Row::new().with("country", "x").with("avg_age", f64::NAN),
        Row::new().with("country", "x").with("surplus", 1_i64),
        Row::new().with("country", 7_i64),
    ] {
        let good = Row::new().with("country", "good");
        let error = store.upsert_rows("t_rows", &[good, bad.clone()]).expect_err("a bad row is refused");
        assert!(error.is_bad_record(), "{bad:?}: {error}");
    }
    // All or none.
    assert_eq!(store.count_rows("t_rows").expect(GO), 1);
    assert_eq!(store.delete_rows("t_rows", &[key.to_vec(), vec![Cell::from("nobody")]]).expect(GO), 1);
    assert_eq!(store.scan_all("t_rows", 10).expect(GO), []);
}

fn partitions(store: &dyn Tables) {
    let schema = TableSchema::new("t_latest")
        .partition("bucket", CellKind::Int)
        .descending("ingestion_time", CellKind::Timestamp)
        .ascending("user_id", CellKind::Text);
    store.declare_table(&schema).expect(GO);
    let row = |bucket: i64, at: i64, user: &str| {
        Row::new().with("bucket", bucket).with("ingestion_time", at).with("user_id", user)
    };
    let all = [
        row(1, 10, "b"),
        row(1, 12, "c"),
        row(1, 12, "a"),
        row(1, 11, "d"),
        row(3, 30, "e"),
        row(2, 20, "f"),
    ];
    store.upsert_rows("t_latest", &all).expect(GO);
    let users = |rows: Vec<Row>| -> Vec<String> {
        rows.iter().filter_map(|row| row.get("user_id").as_str().map(str::to_owned)).collect()
    };
    let scan = |bucket: i64, order, limit| {
        users(store.scan("t_latest", &[Cell::Int(bucket)], order, limit).expect(GO))
    };
    assert_eq!(scan(1, Order::Clustering, 10), ["a", "c", "d", "b"]);
    assert_eq!(scan(1, Order::Reversed, 10), ["b", "d", "c", "a"]);
    assert_eq!(scan(1, Order::Clustering, 2), ["a", "c"]);
    assert_eq!(scan(9, Order::Clustering, 2), [""; 0]);
    let back = |newest, buckets, limit| {
        users(read_buckets_backwards(store, "t_latest", newest, buckets, limit).expect(GO))
    };
    assert_eq!(back(4, 24, 4), ["e", "f", "a", "c"]);
    assert_eq!(back(4, 2, 4), ["e"]);
    assert_eq!(back(i64::MIN, 3, 4), [""; 0]);
    assert_eq!(store.scan_all("t_latest", 100).expect(GO).len(), 6);
    assert_eq!(store.scan_all("t_latest", 4).expect(GO).len(), 4);
    assert!(store.get_row("t_latest", &[Cell::Int(1)]).is_err());
    assert!(store.scan("t_latest", &[], Order::Clustering, 1).is_err());
}

fn schemas(store: &dyn Tables) {
    let schema = TableSchema::new("t_grows").partition("id", CellKind::Text).column("a", CellKind::Int);
    store.declare_table(&schema).expect(GO);
    store.upsert_rows("t_grows", &[Row::new().with("id", "x").with("a", 1_i64)]).expect(GO);
    // A column more is fine, an older program with a column less too; another key or type is not.
    store.declare_table(&schema.clone().column("b", CellKind::Text)).expect(GO);
    store.declare_table(&schema).expect(GO);
    let row = Row::new().with("id", "x").with("a", 1_i64).with("b", "new");
    store.upsert_rows("t_grows", std::slice::from_ref(&row)).expect(GO);
    assert_eq!(store.get_row("t_grows", &["x".into()]).expect(GO), Some(row));
    for bad in [
        TableSchema::new("t_grows").partition("other", CellKind::Text),
        TableSchema::new("t_grows").partition("id", CellKind::Text).column("a", CellKind::Text),
        TableSchema::new("t_keyless").column("a", CellKind::Int),
        TableSchema::new("t_twice").partition("a", CellKind::Int).column("A", CellKind::Int),
        TableSchema::new("t\"x").partition("a", CellKind::Int),
    ] {
        assert!(store.declare_table(&bad).is_err(), "{bad:?}");
    }
    assert!(store.scan_all("t_nothing", 1).is_err());
    assert!(store.tables().expect(GO).iter().any(|table| table.name == "t_grows"));
}
