//! What every collection of documents must do.

use serde_json::json;

use crate::{CollectionSpec, Document, Documents, Op, Page, Query};

const GO: &str = "the store under test answers";

/// Runs the suite on an empty store.
pub fn documents(store: &dyn Documents) {
    by_id(store);
    newer_wins(store);
    queries(store);
    declarations(store);
}

fn ids(page: &Page) -> Vec<&str> {
    page.items.iter().map(|item| item.id.as_str()).collect()
}

fn by_id(store: &dyn Documents) {
    assert_eq!(store.get_document("d-nothing", "a").expect(GO), None);
    assert_eq!(store.find("d-nothing", &Query::new()).expect(GO), Page::default());
    assert_eq!(store.delete_documents("d-nothing", &["a"]).expect(GO), 0);
    let odd = Document::new(
        "é \u{1f600} '\"",
        json!({"a": [1, {"b": null}], "t": "<script>", "f": 0.1, "i": i64::MAX}),
    );
    assert_eq!(store.upsert_many("d-ids", std::slice::from_ref(&odd)).expect(GO), 1);
    assert_eq!(store.get_document("d-ids", &odd.id).expect(GO), Some(odd.clone()));
    // Written twice is stored once.
    store.upsert_many("d-ids", &[odd.clone(), odd.clone()]).expect(GO);
    assert_eq!(store.count_documents("d-ids", &Query::new()).expect(GO), 1);
    assert!(store.collections().expect(GO).contains(&String::from("d-ids")));
    assert_eq!(store.delete_documents("d-ids", &[&odd.id, "nobody"]).expect(GO), 1);
    assert_eq!(store.get_document("d-ids", &odd.id).expect(GO), None);
}

fn newer_wins(store: &dyn Documents) {
    let write = |version: Option<i64>, text: &str| {
        let document = Document { id: String::from("x"), doc: json!({"text": text}), version };
        store.upsert_many("d-versions", &[document]).expect(GO)
    };
    for (version, text, written, after) in [
        (Some(10), "first", 1, "first"),
        (Some(9), "older", 0, "first"),
        (Some(10), "same age", 1, "same age"),
        (Some(11), "newer", 1, "newer"),
        (Some(-5), "much older", 0, "newer"),
        (None, "whatever", 1, "whatever"),
        (Some(1), "over none", 1, "over none"),
    ] {
        assert_eq!(write(version, text), written, "{text}");
        let stored = store.get_document("d-versions", "x").expect(GO).expect("it is there");
        assert_eq!(stored.doc, json!({"text": after}), "{text}");
    }
}

fn queries(store: &dyn Documents) {
    let spec =
        CollectionSpec::new("d-queries").index("score.p").index("state").search(["name", "score.place"]);
    store.declare_collection(&spec).expect(GO);
    let doc = |id: &str, name: &str, p: serde_json::Value, state: &str, open: bool| {
        Document::new(
            id,
            json!({"name": name, "score": {"p": p, "place": "Paris"}, "state": state, "open": open, "n": id.len()}),
        )
    };
    let all = [
        doc("a", "Élodie Martin", json!(0.5), "open", true),
        doc("b", "Bob 100%", json!(0.25), "open", false),
        doc("c", "élodie DUPONT", json!(1), "done", true),
        doc("dd", "Under_score", json!(0.25), "done", false),
        doc("e", "No Score", json!(null), "open", true),
    ];
    store.upsert_many("d-queries", &all).expect(GO);
    let q = Query::new;
    for (query, total, expected) in [
        (q(), 5, vec!["a", "b", "c", "dd", "e"]),
        (q().ascending("score.p"), 5, vec!["e", "b", "dd", "a", "c"]),
        (q().descending("score.p"), 5, vec!["c", "a", "dd", "b", "e"]),
        (q().descending("score.p").page(1, 2), 5, vec!["a", "dd"]),
        (q().page(5, 10), 5, vec![]),
        (q().page(0, 0), 5, vec![]),
        (q().eq("state", "open"), 3, vec!["a", "b", "e"]),
        (q().eq("score.p", 0.25), 2, vec!["b", "dd"]),
        (q().eq("score.p", 1), 1, vec!["c"]),
        (q().gt("score.p", 0.25), 2, vec!["a", "c"]),
        (q().lt("score.p", 0.5), 2, vec!["b", "dd"]),
        (q().gt("score.p", "0"), 0, vec![]),
        (q().filter("score.p", Op::Ne(json!(0.25))), 3, vec!["a", "c", "e"]),
        (q().filter("score.p", Op::Eq(json!(null))), 1, vec!["e"]),
        (q().filter("score.p", Op::Ne(json!(null))), 4, vec!["a", "b", "c", "dd"]),
        (q().filter("state", Op::In(vec![json!("done"), json!("x")])), 2, vec!["c", "dd"]),
        (q().filter("state", Op::In(vec![])), 0, vec![]),
        // Not indexed.
        (q().eq("open", true), 3, vec!["a", "c", "e"]),
        (q().eq("n", 2), 1, vec!["dd"]),
        (q().gt("name", "E"), 4, vec!["a", "c", "dd", "e"]),
        (q().eq("no.such.field", 1), 0, vec![]),
        (q().eq("state", "open").gt("score.p", 0.3), 1, vec!["a"]),
        (q().search("élodie"), 2, vec!["a", "c"]),
        (q().search("DUPONT ÉLO"), 1, vec!["c"]),
        (q().search("100%"), 1, vec!["b"]),
        (q().search("_"), 1, vec!["dd"]),
        (q().search("paris"), 5, vec!["a", "b", "c", "dd", "e"]),
        (q().search("' OR 1=1 --"), 0, vec![]),
        (q().search("  "), 5, vec!["a", "b", "c", "dd", "e"]),
        (q().search("o").eq("state", "open").descending("score.p"), 3, vec!["a", "b", "e"]),
    ] {
        let page = store.find("d-queries", &query).expect(GO);
        assert_eq!((page.total, ids(&page)), (total, expected), "{query:?}");
        assert_eq!(store.count_documents("d-queries", &query).expect(GO), total, "{query:?}");
    }
    for query in [q().eq("a'b", 1), q().ascending(""), q().eq("state", json!([1])), q().ascending("a..b")] {
        assert!(store.find("d-queries", &query).is_err(), "{query:?}");
    }
}

fn declarations(store: &dyn Documents) {
    // Declared after the documents are there, and declared anew with other indexes.
    let all: Vec<Document> = (0..50)
        .map(|n| Document::new(format!("{n:02}"), json!({"n": 49 - n, "name": format!("Name x{n}y")})))
        .collect();
    store.upsert_many("d-late", &all).expect(GO);
    assert!(store.find("d-late", &Query::new().search("name")).is_err());
    for spec in [
        CollectionSpec::new("d-late").index("n").search(["name"]),
        CollectionSpec::new("d-late").index("name").search(["name", "n"]),
        CollectionSpec::new("d-late").index("n").index("name").search(["name"]),
    ] {
        store.declare_collection(&spec).expect(GO);
        store.declare_collection(&spec).expect(GO);
        let page = store.find("d-late", &Query::new().ascending("n").page(0, 2)).expect(GO);
        assert_eq!(ids(&page), ["49", "48"]);
        let page = store.find("d-late", &Query::new().search("NAME X7Y")).expect(GO);
        assert_eq!(ids(&page), ["07"]);
    }
    for bad in [CollectionSpec::new("a\"b"), CollectionSpec::new(""), CollectionSpec::new("x").index("a'")] {
        assert!(store.declare_collection(&bad).is_err(), "{bad:?}");
    }
}
