//! The rules of every store, whatever its entries are kept in: bytes against a model, then the typed stores with commits, aborts, changelogs and expiry.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Mutex};

use vigie_log::{BatchBuilder, PartitionId};

use super::supplied::{StateStore, Supplier};
use super::{
    AnyStore, Backend, Committed, KeptMemory, KeyFormat, KeyValueStore, LruStore, MemoryBackend,
    MemoryBudget, PersistentBackend, PlainKeys, Retention, SessionKey, SessionKeys, SessionStore, StoreBatch,
    StoreMark, TypedStore, WindowKey, WindowKeys, WindowStore,
};
use crate::error::{BoxError, StateError};
use crate::serde::{I64, Utf8};

/// A store as a user might write it.
#[derive(Default)]
struct Own(Mutex<Content>);

/// Entries and the note.
type Content = (Model, Option<Vec<u8>>);

impl StateStore for Own {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, BoxError> {
        Ok(self.0.lock().unwrap().0.get(key).cloned())
    }
    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
        visit: super::StoreVisitor<'_>,
    ) -> Result<(), BoxError> {
        let held = self.0.lock().unwrap();
        let mut range = held.0.range::<[u8], _>((from, to));
        while let Some((key, value)) = if reverse { range.next_back() } else { range.next() } {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
    fn write(
        &self,
        entries: &mut dyn Iterator<Item = (&[u8], Option<&[u8]>)>,
        note: Option<&[u8]>,
    ) -> Result<(), BoxError> {
        let mut held = self.0.lock().unwrap();
        for (key, value) in entries {
            match value {
                Some(value) => held.0.insert(key.to_vec(), value.to_vec()),
                None => held.0.remove(key),
            };
        }
        if let Some(note) = note {
            held.1 = Some(note.to_vec());
        }
        Ok(())
    }
    fn note(&self) -> Result<Option<Vec<u8>>, BoxError> {
        Ok(self.0.lock().unwrap().1.clone())
    }
    fn wipe(&self) -> Result<(), BoxError> {
        *self.0.lock().unwrap() = Default::default();
        Ok(())
    }
    fn approximate_len(&self) -> u64 {
        self.0.lock().unwrap().0.len() as u64
    }
}

/// What stores are kept in, and whether it is there after everything was closed.
pub(super) trait Kind {
    fn name(&self) -> &'static str;
    fn open(&self, store: &str, partition: PartitionId) -> Arc<dyn Committed>;
    fn apply(&self, batch: &StoreBatch) -> Result<(), StateError>;
    /// Closes what is open and opens it again.
    fn reopen(&mut self) -> bool {
        false
    }
}

struct Backed<B>(&'static str, B, Option<Supplier>);

impl<B: Backend> Kind for Backed<B> {
    fn name(&self) -> &'static str {
        self.0
    }
    fn open(&self, store: &str, partition: PartitionId) -> Arc<dyn Committed> {
        match &self.2 {
            Some(supplier) => self.1.open_supplied(store, partition, supplier).unwrap(),
            None => self.1.open(store, partition, true).unwrap(),
        }
    }
    fn apply(&self, batch: &StoreBatch) -> Result<(), StateError> {
        self.1.apply(batch)
    }
}

struct OnDisk {
    name: &'static str,
    logged: bool,
    dir: tempfile::TempDir,
    backend: Option<PersistentBackend>,
}

impl OnDisk {
    fn new(name: &'static str, logged: bool) -> Self {
        let mut disk = Self { name, logged, dir: tempfile::tempdir().unwrap(), backend: None };
        disk.reopen();
        disk
    }
}

impl Kind for OnDisk {
    fn name(&self) -> &'static str {
        self.name
    }
    fn open(&self, store: &str, partition: PartitionId) -> Arc<dyn Committed> {
        self.backend.as_ref().unwrap().open(store, partition, self.logged).unwrap()
    }
    fn apply(&self, batch: &StoreBatch) -> Result<(), StateError> {
        self.backend.as_ref().unwrap().apply(batch)
    }
    fn reopen(&mut self) -> bool {
        if let Some(backend) = self.backend.take() {
            backend.flush().unwrap();
        }
        let budget = MemoryBudget::new(8 << 20);
        self.backend = Some(PersistentBackend::open_at(self.dir.path(), "app", &budget).unwrap());
        true
    }
}

pub(super) fn kinds() -> Vec<Box<dyn Kind>> {
    vec![
        Box::new(Backed("in memory", MemoryBackend, None)),
        Box::new(Backed("in memory, kept", KeptMemory::default(), None)),
        Box::new(OnDisk::new("on disk, logged", true)),
        Box::new(OnDisk::new("on disk, not logged", false)),
        Box::new(Backed(
            "least recently used",
            KeptMemory::default(),
            Some(Supplier::new(|_, _| Ok(Arc::new(LruStore::new(1 << 20))))),
        )),
        Box::new(Backed(
            "user-written",
            KeptMemory::default(),
            Some(Supplier::of_user(|_, _| Ok(Arc::new(Own::default())))),
        )),
    ]
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
    fn key(&mut self) -> Vec<u8> {
        let len = self.below(4);
        (0..len).map(|_| [0, 1, 7, 255][self.below(4) as usize]).collect()
    }
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn scanned(
    store: &dyn Committed,
    from: Bound<&[u8]>,
    to: Bound<&[u8]>,
    reverse: bool,
    most: usize,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    store
        .scan(from, to, reverse, &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            if found.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    found
}

fn same(name: &str, store: &dyn Committed, model: &Model, dice: &mut Dice) {
    let all: Vec<_> = model.clone().into_iter().collect();
    assert_eq!(scanned(store, Bound::Unbounded, Bound::Unbounded, false, usize::MAX), all, "{name}");
    let (low, high) = (dice.key(), dice.key());
    let bound = |dice: &mut Dice, key: &'_ [u8]| match dice.below(3) {
        0 => Bound::Included(key.to_vec()),
        1 => Bound::Excluded(key.to_vec()),
        _ => Bound::Unbounded,
    };
    let (from, to) = (bound(dice, &low), bound(dice, &high));
    let (from, to) = (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
    let inside = |key: &[u8]| {
        let above = match from {
            Bound::Included(from) => key >= from,
            Bound::Excluded(from) => key > from,
            Bound::Unbounded => true,
        };
        let below = match to {
            Bound::Included(to) => key <= to,
            Bound::Excluded(to) => key < to,
            Bound::Unbounded => true,
        };
        above && below
    };
    let most = 1 + dice.below(5) as usize;
    let expect: Vec<_> = all.iter().filter(|(key, _)| inside(key)).cloned().collect();
    assert_eq!(
        scanned(store, from, to, false, most),
        expect[..most.min(expect.len())],
        "{name} {from:?} {to:?}"
    );
    let backwards: Vec<_> = expect.into_iter().rev().take(most).collect();
    assert_eq!(scanned(store, from, to, true, most), backwards, "{name} {from:?} {to:?} reversed");
    let key = dice.key();
    assert_eq!(store.get(&key).unwrap(), model.get(&key).cloned(), "{name}");
}

#[test]
fn bytes_are_those_of_a_model() {
    for mut kind in kinds() {
        let mut dice = Dice(7);
        // Two partitions of one store, and one of another: none sees the others.
        let places = [("s", 0), ("s", 1), ("t", 0)];
        let mut models: Vec<(Model, Option<StoreMark>)> = vec![Default::default(); 3];
        let mut stores: Vec<_> = places.iter().map(|(name, p)| kind.open(name, *p)).collect();
        for step in 0..300_i64 {
            let chosen = dice.below(3) as usize;
            match dice.below(20) {
                0 => {
                    stores[chosen].wipe().unwrap();
                    models[chosen] = Default::default();
                }
                1 => {
                    stores.clear();
                    if kind.reopen() || kind.name() == "in memory, kept" {
                        stores = places.iter().map(|(name, p)| kind.open(name, *p)).collect();
                    } else {
                        // What is not kept begins anew.
                        stores = places.iter().map(|(name, p)| kind.open(name, *p)).collect();
                        for store in &stores {
                            store.wipe().unwrap();
                        }
                        models = vec![Default::default(); 3];
                    }
                }
                _ => {
                    let mut batch = StoreBatch::default();
                    let mut writes = super::committed::Writes::default();
                    for _ in 0..dice.below(8) {
                        let (key, value) = (dice.key(), dice.key());
                        if dice.below(3) == 0 {
                            writes.push(&key, None);
                            models[chosen].0.remove(&key);
                        } else {
                            writes.push(&key, Some(&value));
                            models[chosen].0.insert(key, value);
                        }
                    }
                    let mark = StoreMark::at(step, step * 2, step * 3);
                    writes.mark = Some(mark);
                    models[chosen].1 = Some(mark);
                    batch.stores.push((Arc::clone(&stores[chosen]), writes));
                    kind.apply(&batch).unwrap();
                }
            }
            for (store, (model, mark)) in stores.iter().zip(&models) {
                same(kind.name(), &**store, model, &mut dice);
                assert_eq!(
                    store.mark().unwrap().map(|m| (m.position, m.observed_time, m.latest_window)),
                    mark.map(|m| (m.position, m.observed_time, m.latest_window)),
                    "{}",
                    kind.name()
                );
            }
        }
    }
}

pub(super) fn typed<Q: std::hash::Hash + Eq + Clone + Send + 'static>(
    kind: &dyn Kind,
    name: &str,
    keys: Arc<dyn KeyFormat<Q>>,
    retention: Option<Retention>,
    partition: PartitionId,
) -> TypedStore<Q, i64> {
    TypedStore::new(name.into(), keys, Arc::new(I64), retention, kind.open(name, partition)).unwrap()
}

/// Commits as a task does; gives what goes to the changelog.
pub(super) fn commit<Q: std::hash::Hash + Eq + Clone + Send + 'static>(
    kind: &dyn Kind,
    store: &mut TypedStore<Q, i64>,
    position: &mut i64,
) -> Option<vigie_log::RecordBatch> {
    let mut changelog = BatchBuilder::new();
    store.flush(Some(&mut changelog)).unwrap();
    let logged = (!changelog.is_empty()).then(|| changelog.build(*position));
    *position = logged.as_ref().map_or(*position, |batch| batch.last_offset() + 1);
    let mut batch = StoreBatch::default();
    store.stage(&mut batch, Some(*position)).unwrap();
    kind.apply(&batch).unwrap();
    AnyStore::committed(store, 1_000);
    logged
}

#[test]
fn key_value_stores_keep_order_and_only_what_was_committed() {
    for kind in kinds() {
        let kind = &*kind;
        let keys: Arc<dyn KeyFormat<String>> = Arc::new(PlainKeys(Arc::new(Utf8)));
        let mut store = typed(kind, "kv", Arc::clone(&keys), None, 0);
        let (mut position, mut logged) = (0, Vec::new());
        for round in 0..4_i64 {
            let mut kv = KeyValueStore::new(&mut store, round);
            for key in ["a", "ab", "b", "c", "\u{e9}"] {
                kv.put(key.to_owned(), round).unwrap();
            }
            kv.delete(&"c".to_owned()).unwrap();
            assert_eq!(kv.put_if_absent("b".to_owned(), 99).unwrap(), Some(round));
            let check = |kv: &mut KeyValueStore<'_, String, i64>| {
                let names = |entries: Vec<Result<(String, i64), StateError>>| -> Vec<String> {
                    entries.into_iter().map(|entry| entry.unwrap().0).collect()
                };
                let (a, b) = ("a".to_owned(), "b".to_owned());
                assert_eq!(names(kv.all().unwrap().collect()), ["a", "ab", "b", "\u{e9}"], "{}", kind.name());
                assert_eq!(names(kv.reverse_all().unwrap().collect()), ["\u{e9}", "b", "ab", "a"]);
                assert_eq!(names(kv.range(&a, &b).unwrap().collect()), ["a", "ab", "b"]);
                assert_eq!(names(kv.reverse_range(&a, &b).unwrap().collect()), ["b", "ab", "a"]);
                assert_eq!(names(kv.range(&b, &a).unwrap().collect()), [""; 0]);
                assert_eq!(names(kv.prefix(b"a").unwrap().collect()), ["a", "ab"]);
                assert_eq!(kv.get_with_timestamp(&a).unwrap(), Some((round, round)));
                assert_eq!(kv.get(&"c".to_owned()).unwrap(), None);
            };
            check(&mut kv);
            logged.extend(commit(kind, &mut store, &mut position));
            let mut kv = KeyValueStore::new(&mut store, round);
            check(&mut kv);
            kv.put("z".to_owned(), 1).unwrap();
            kv.delete(&"a".to_owned()).unwrap();
            store.abort();
            check(&mut KeyValueStore::new(&mut store, round));
        }
        // Another partition, made from the changelog alone.
        let mut again = typed(kind, "kv", keys, None, 1);
        again.restore(&logged, 0, position).unwrap();
        let entries = |store: &mut TypedStore<String, i64>| -> Vec<(String, i64)> {
            KeyValueStore::new(store, 0).all().unwrap().map(Result::unwrap).collect()
        };
        assert_eq!(entries(&mut again), entries(&mut store), "{}", kind.name());
        assert_eq!(again.mark().unwrap().unwrap().position, position);
        again.wipe().unwrap();
        assert!(entries(&mut again).is_empty() && again.mark().unwrap().is_none());
    }
}

#[test]
fn windows_are_found_by_time_and_expire() {
    for kind in kinds() {
        let kind = &*kind;
        let retention = Retention::of(120_000);
        let keys: Arc<dyn KeyFormat<WindowKey<String>>> =
            Arc::new(WindowKeys { inner: Arc::new(Utf8), segment_ms: retention.segment_ms });
        let mut store = typed(kind, "w", Arc::clone(&keys), Some(retention), 0);
        let (mut position, mut logged) = (0, Vec::new());
        let (k, kk) = ("k".to_owned(), "kk".to_owned());
        for start in [0, 30_000, 60_000, 90_000] {
            let mut windows = WindowStore::new(&mut store, start);
            assert!(windows.put(k.clone(), start, start).unwrap());
            assert!(windows.put(kk.clone(), start, -start).unwrap());
            logged.extend(commit(kind, &mut store, &mut position));
        }
        let mut windows = WindowStore::new(&mut store, 90_000);
        assert_eq!(
            windows.fetch(&k, 30_000, 60_000).unwrap(),
            [(30_000, 30_000), (60_000, 60_000)],
            "{}",
            kind.name()
        );
        assert_eq!(windows.get(&kk, 60_000).unwrap(), Some(-60_000));
        assert_eq!(windows.fetch_all(30_000, 30_000).unwrap().count(), 2);
        assert_eq!(windows.all().unwrap().count(), 8);
        // Time goes on: what is older than the retention is gone, from the changelog too.
        assert!(windows.put(k.clone(), 400_000, 4).unwrap());
        assert!(!windows.put(k.clone(), 90_000, 9).unwrap(), "too late");
        assert_eq!(windows.fetch(&k, 0, 400_000).unwrap(), [(400_000, 4)]);
        logged.extend(commit(kind, &mut store, &mut position));
        let mut left = Vec::new();
        store
            .reader()
            .scan(Bound::Unbounded, Bound::Unbounded, false, &mut |key, _| {
                left.push(key.to_vec());
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(left.len(), 1, "{}: expired windows are removed", kind.name());
        let mut again = typed(kind, "w", keys, Some(retention), 1);
        again.restore(&logged, 0, position).unwrap();
        let mut windows = WindowStore::new(&mut again, 0);
        let all: Vec<_> = windows.all().unwrap().map(Result::unwrap).collect();
        assert_eq!(all, [(WindowKey { key: k, start: 400_000 }, 4)], "{}", kind.name());
    }
}

#[test]
fn sessions_are_found_by_their_bounds() {
    for kind in kinds() {
        let kind = &*kind;
        let retention = Retention::of(600_000);
        let keys: Arc<dyn KeyFormat<SessionKey<String>>> =
            Arc::new(SessionKeys { inner: Arc::new(Utf8), segment_ms: retention.segment_ms });
        let mut store = typed(kind, "s", Arc::clone(&keys), Some(retention), 0);
        let (mut position, mut logged) = (0, Vec::new());
        let session = |key: &str, start, end| SessionKey { key: key.to_owned(), start, end };
        for (key, start, end) in [("k", 0, 10), ("k", 50, 90), ("k", 400_000, 400_010), ("kk", 50, 60)] {
            let mut sessions = SessionStore::new(&mut store, end);
            assert!(sessions.put(session(key, start, end), end).unwrap());
            logged.extend(commit(kind, &mut store, &mut position));
        }
        let check = |store: &mut TypedStore<SessionKey<String>, i64>| {
            let mut sessions = SessionStore::new(store, 400_010);
            let k = "k".to_owned();
            let found = |sessions: &mut SessionStore<'_, String, i64>, from, to| -> Vec<i64> {
                sessions.find(&k, from, to).unwrap().into_iter().map(|(_, value)| value).collect()
            };
            assert_eq!(found(&mut sessions, 0, i64::MAX), [10, 90, 400_010], "{}", kind.name());
            assert_eq!(found(&mut sessions, 11, 49), [0_i64; 0]);
            assert_eq!(found(&mut sessions, 11, 50), [90]);
            assert_eq!(sessions.get(&session("kk", 50, 60)).unwrap(), Some(60));
            assert_eq!(sessions.all().unwrap().count(), 4);
        };
        check(&mut store);
        let mut again = typed(kind, "s", keys, Some(retention), 1);
        again.restore(&logged, 0, position).unwrap();
        check(&mut again);
        SessionStore::new(&mut store, 0).put(session("k", 50, 90), None).unwrap();
        logged.extend(commit(kind, &mut store, &mut position));
        assert_eq!(SessionStore::new(&mut store, 0).all().unwrap().count(), 3);
    }
}
