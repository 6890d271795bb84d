//! The rules of interactive queries, over whatever a store's entries are kept in: both directions, ranges, beginnings of keys, two partitions,
//! and nothing that is not committed.

use std::sync::Arc;

use super::contract::{Kind, commit, kinds, typed};
use super::{
    AnyStore, KeyFormat, KeyValueStore, PlainKeys, Retention, SessionKey, SessionKeys, SessionStore,
    Staleness, StoreRegistry, StoreTypes, TypedStore, WindowKey, WindowKeys, WindowStore,
};
use crate::serde::{I64, Utf8};

/// A registry in which the two partitions of a store can be asked.
fn registered<Q: std::hash::Hash + Eq + Clone + Send + 'static>(
    name: &str,
    keys: &Arc<dyn KeyFormat<Q>>,
    retention: Option<Retention>,
    partitions: &[TypedStore<Q, i64>],
) -> Arc<StoreRegistry> {
    let registry = Arc::new(StoreRegistry::default());
    let types = StoreTypes::<Q, i64> { keys: Arc::clone(keys), values: Arc::new(I64), retention };
    registry.know(&name.into(), Arc::new(types), 2);
    for (number, store) in (0..).zip(partitions) {
        registry.add(name, number, store.reader(), None);
    }
    registry
}

/// Two empty partitions.
fn two<Q: std::hash::Hash + Eq + Clone + Send + 'static>(
    kind: &dyn Kind,
    name: &str,
    keys: &Arc<dyn KeyFormat<Q>>,
    retention: Option<Retention>,
) -> [TypedStore<Q, i64>; 2] {
    [0, 1].map(|partition| typed(kind, name, Arc::clone(keys), retention, partition))
}

fn text(key: &str) -> String {
    key.to_owned()
}

#[test]
fn keys_and_values() {
    for kind in kinds() {
        let kind = &*kind;
        let keys: Arc<dyn KeyFormat<String>> = Arc::new(PlainKeys(Arc::new(Utf8)));
        let mut stores = two(kind, "queried", &keys, None);
        for (store, held) in stores.iter_mut().zip([["a", "ab", "b"], ["aa", "c", "z"]]) {
            for key in held {
                KeyValueStore::new(store, 1).put(text(key), 1).unwrap();
            }
            commit(kind, store, &mut 0);
            KeyValueStore::new(store, 1).put(text("uncommitted"), 1).unwrap();
        }
        let registry = registered("queried", &keys, None, &stores);
        let asked = registry.key_value::<String, i64>("queried", Staleness::Active).unwrap();
        let check = |name: &str, found: Vec<String>, expect: &[&str]| {
            assert_eq!(found, expect, "{}: {name}", kind.name());
        };
        macro_rules! found {
            ($entries:expr) => {
                $entries.map(|entry| entry.unwrap().0).collect()
            };
        }
        check("all", found!(asked.all()), &["a", "ab", "b", "aa", "c", "z"]);
        check("reverse all", found!(asked.reverse_all()), &["z", "c", "aa", "b", "ab", "a"]);
        let (low, high) = (text("aa"), text("c"));
        check("range", found!(asked.range(&low, &high).unwrap()), &["ab", "b", "aa", "c"]);
        check("reverse range", found!(asked.reverse_range(&low, &high).unwrap()), &["c", "aa", "b", "ab"]);
        check("empty range", found!(asked.range(&high, &low).unwrap()), &[]);
        check("prefix", found!(asked.prefix(b"a")), &["a", "ab", "aa"]);
        check("no prefix", found!(asked.prefix(b"")), &["a", "ab", "b", "aa", "c", "z"]);
        check("a prefix that nothing has", found!(asked.prefix(&[255])), &[]);
        assert_eq!(asked.get(&text("uncommitted")).unwrap(), None);
    }
}

#[test]
fn windows() {
    for kind in kinds() {
        let kind = &*kind;
        let retention = Retention::of(120_000);
        let keys: Arc<dyn KeyFormat<WindowKey<String>>> =
            Arc::new(WindowKeys { inner: Arc::new(Utf8), segment_ms: retention.segment_ms });
        let mut stores = two(kind, "queried-windows", &keys, Some(retention));
        for (store, held) in stores.iter_mut().zip([["a", "b"], ["ab", "c"]]) {
            for start in [0, 30_000, 90_000] {
                for key in held {
                    assert!(WindowStore::new(store, start).put(text(key), start, start).unwrap());
                }
            }
            commit(kind, store, &mut 0);
            WindowStore::new(store, 90_000).put(text("a"), 60_000, 1).unwrap();
        }
        let registry = registered("queried-windows", &keys, Some(retention), &stores);
        let asked = registry.window::<String, i64>("queried-windows", Staleness::Active).unwrap();
        let a = text("a");
        assert_eq!(asked.fetch(&a, 0, 60_000).unwrap(), [(0, 0), (30_000, 30_000)], "{}", kind.name());
        assert_eq!(asked.backward_fetch(&a, 0, 60_000).unwrap(), [(30_000, 30_000), (0, 0)]);
        let mut forward = asked.all().unwrap();
        assert_eq!(forward.len(), 12);
        forward.reverse();
        assert_eq!(asked.backward_all().unwrap(), forward, "{}", kind.name());
        let mut some = asked.fetch_all(30_000, 30_000).unwrap();
        assert_eq!(some.len(), 4);
        some.reverse();
        assert_eq!(asked.backward_fetch_all(30_000, 30_000).unwrap(), some);
        let names = |found: Vec<(WindowKey<String>, i64)>| -> Vec<(String, i64)> {
            found.into_iter().map(|(window, _)| (window.key, window.start)).collect()
        };
        let (first, last) = (text("ab"), text("b"));
        let range = names(asked.fetch_range(&first, &last, 0, 30_000).unwrap());
        assert_eq!(range.len(), 4);
        assert!(range.iter().all(|(key, _)| key == "ab" || key == "b"), "{range:?}");
        let backwards = names(asked.backward_fetch_range(&first, &last, 0, 30_000).unwrap());
        assert_eq!(backwards.into_iter().rev().collect::<Vec<_>>(), range);
        assert!(asked.fetch_range(&last, &first, 0, 30_000).unwrap().is_empty());
    }
}

#[test]
fn sessions() {
    for kind in kinds() {
        let kind = &*kind;
        let retention = Retention::of(600_000);
        let keys: Arc<dyn KeyFormat<SessionKey<String>>> =
            Arc::new(SessionKeys { inner: Arc::new(Utf8), segment_ms: retention.segment_ms });
        let mut stores = two(kind, "queried-sessions", &keys, Some(retention));
        for (store, held) in stores.iter_mut().zip([["a", "b"], ["ab", "c"]]) {
            for (start, end) in [(0, 10), (50, 90), (400_000, 400_010)] {
                for key in held {
                    assert!(
                        SessionStore::new(store, end)
                            .put(SessionKey { key: text(key), start, end }, end)
                            .unwrap()
                    );
                }
            }
            commit(kind, store, &mut 0);
            SessionStore::new(store, 1).put(SessionKey { key: text("a"), start: 200, end: 300 }, 1).unwrap();
        }
        let registry = registered("queried-sessions", &keys, Some(retention), &stores);
        let asked = registry.session::<String, i64>("queried-sessions", Staleness::Active).unwrap();
        let ends = |found: Vec<(SessionKey<String>, i64)>| -> Vec<i64> {
            found.into_iter().map(|(session, _)| session.end).collect()
        };
        let a = text("a");
        assert_eq!(ends(asked.fetch(&a).unwrap()), [10, 90, 400_010], "{}", kind.name());
        assert_eq!(ends(asked.backward_fetch(&a).unwrap()), [400_010, 90, 10]);
        assert_eq!(ends(asked.find(&a, 10, 60).unwrap()), [10, 90]);
        assert_eq!(ends(asked.backward_find(&a, 10, 60).unwrap()), [90, 10]);
        let range = asked.fetch_range(&text("ab"), &text("b")).unwrap();
        assert_eq!(range.len(), 6);
        assert!(range.iter().all(|(session, _)| session.key == "ab" || session.key == "b"), "{range:?}");
        let backwards = asked.backward_fetch_range(&text("ab"), &text("b")).unwrap();
        assert_eq!(backwards.into_iter().rev().collect::<Vec<_>>(), range);
    }
}
