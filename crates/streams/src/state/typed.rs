//! The typed cache in front of a committed store: a hot key is touched in memory and serialised once a commit.
//!
//! An entry is *fresh* when its value is newer than its bytes. Fresh entries become bytes at a scan (into the overlay) or at a
//! commit (into the overlay's place in the batch, and into the changelog).

use std::collections::BTreeMap;
use std::hash::Hash;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use vigie_log::{BatchBuilder, RecordBatch, Timestamp};

use super::budget::{Held, MemoryBudget};
use super::committed::{Committed, StoreBatch, StoreMark, Writes};
use super::format::ordered;
use super::scan::Scan;
use super::unsent::Waiting;
use super::{AnyStore, KeyFormat, TIMESTAMP_BYTES};
use crate::error::StateError;
use crate::serde::{SerdeError, SerdeRef};

/// How long windows are kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    pub retention_ms: i64,
    pub segment_ms: i64,
}

impl Retention {
    /// Kafka Streams' rule: half of the retention, at least a minute.
    pub(crate) fn of(retention_ms: i64) -> Self {
        Self { retention_ms, segment_ms: (retention_ms / 2).max(60_000) }
    }

    /// The same in other segments: small ones are found quickly by time, large ones by key.
    pub(crate) fn with_segments(self, segment_ms: i64) -> Self {
        Self { segment_ms: segment_ms.max(1), ..self }
    }

    /// The first time that is still kept.
    pub(crate) fn live_from(&self, observed: Timestamp) -> Timestamp {
        observed.saturating_sub(self.retention_ms).saturating_add(1)
    }

    pub(super) fn live_segment(&self, observed: Timestamp) -> i64 {
        observed.saturating_sub(self.retention_ms).div_euclid(self.segment_ms)
    }
}

/// So many windows stay in the cache whether they change or not.
const OLD_WINDOWS: usize = if cfg!(test) { 4 } else { 1024 };
/// Expired windows removed by one commit, at most.
const EXPIRE_AT_ONCE: usize = 65_536;

pub(super) struct Entry<V> {
    pub(super) value: Option<(V, Timestamp)>,
    /// When the entry was last written, for tombstones too.
    pub(super) written: Timestamp,
    fresh: bool,
    /// The number of the last commit that it changed in.
    changed: u32,
    /// Its place among the results that wait for the commit, counted from 1; 0: none does.
    pub(super) unsent: u32,
}

/// Uncommitted bytes: local key to timestamp and value (with its timestamp before it).
pub(crate) type Overlay = BTreeMap<Vec<u8>, (Timestamp, Option<Vec<u8>>)>;

/// Keys and values of a store, with what reads and writes them.
pub(crate) struct TypedStore<Q, V> {
    pub(crate) name: Arc<str>,
    pub(crate) keys: Arc<dyn KeyFormat<Q>>,
    pub(crate) values: SerdeRef<V>,
    pub(crate) retention: Option<Retention>,
    pub(super) cache: IndexMap<Q, Entry<V>, FxBuildHasher>,
    /// Positions in the cache of the fresh entries.
    fresh: Vec<usize>,
    pub(super) overlay: Overlay,
    /// What the next store batch will hold, after a flush.
    staged: Writes,
    pub(super) committed: Arc<dyn Committed>,
    observed: Timestamp,
    committed_observed: Timestamp,
    /// The latest start of a window or end of a session.
    latest: Timestamp,
    committed_latest: Timestamp,
    /// The segment up to which everything has been removed.
    expired_to: Option<i64>,
    scratch: Vec<u8>,
    /// Whether entries stay in the cache after a commit.
    pub(super) cached: bool,
    pub(super) waiting: Waiting<V>,
    /// Counts commits, around and around.
    commit: u32,
    /// Entries that changed since the last.
    changes: usize,
    /// The cache's part of the memory budget; not counted in tests and in the test driver.
    held: Option<(MemoryBudget, Held)>,
    /// Bytes of a key and its value as they were written last, on average: what they have on the heap is about that.
    entry_bytes: usize,
}

impl<Q: Hash + Eq + Clone + Send + 'static, V: Clone + Send + 'static> TypedStore<Q, V> {
    pub(crate) fn new(
        name: Arc<str>,
        keys: Arc<dyn KeyFormat<Q>>,
        values: SerdeRef<V>,
        retention: Option<Retention>,
        committed: Arc<dyn Committed>,
    ) -> Result<Self, StateError> {
        let mark = committed.mark()?;
        let observed = mark.map_or(-1, |mark| mark.observed_time);
        let latest = mark.map_or(-1, |mark| mark.latest_window);
        Ok(Self {
            name,
            keys,
            values,
            retention,
            cache: IndexMap::default(),
            fresh: Vec::new(),
            overlay: Overlay::new(),
            staged: Writes::default(),
            committed,
            observed,
            committed_observed: observed,
            latest,
            committed_latest: latest,
            expired_to: None,
            scratch: Vec::new(),
            cached: true,
            waiting: Waiting::default(),
            commit: 0,
            changes: 0,
            held: None,
            entry_bytes: 32,
        })
    }

    /// Memory of the typed cache, about: entries, their index, and what keys and values have on the heap, with the allocator's part.
    fn cache_bytes(&self) -> usize {
        self.cache.capacity() * (size_of::<(Q, Entry<V>)>() + 16) + self.cache.len() * (self.entry_bytes + 24)
    }

    /// Entries leave the cache with each commit.
    pub(crate) fn without_cache(self) -> Self {
        Self { cached: false, ..self }
    }

    /// Stages the removal of what a store of bounded size has no room for, and says so to the changelog.
    fn make_room(&mut self, changelog: &mut Option<&mut BatchBuilder>) -> Result<(), StateError> {
        for key in self.committed.overflow(&self.staged)? {
            if let Some(changelog) = changelog {
                self.scratch.clear();
                self.keys.write_changelog(&key, &mut self.scratch);
                changelog.push(self.observed.max(0), Some(&self.scratch), None, &[]);
            }
            self.staged.push(&key, None);
        }
        Ok(())
    }

    fn encode_error(&self, source: SerdeError) -> StateError {
        StateError::Encode { store: self.name.to_string(), source }
    }

    pub(super) fn decode_error(&self, source: SerdeError) -> StateError {
        StateError::Decode { store: self.name.to_string(), source }
    }

    /// The largest timestamp put.
    pub(crate) fn observed(&self) -> Timestamp {
        self.observed
    }

    /// The latest start of a window, or end of a session, put.
    pub(crate) fn latest(&self) -> Timestamp {
        self.latest
    }

    /// Whether an entry of this time has expired.
    #[inline]
    pub(crate) fn expired(&self, time: Timestamp) -> bool {
        self.retention.is_some_and(|retention| time < retention.live_from(self.latest))
    }

    /// The position of a key in the cache, loaded from the committed store if need be. Valid until the next commit or abort.
    #[inline]
    pub(crate) fn slot(&mut self, key: &Q) -> Result<usize, StateError> {
        match self.cache.get_index_of(key) {
            Some(found) => Ok(found),
            None => self.load(key),
        }
    }

    #[cold]
    fn load(&mut self, key: &Q) -> Result<usize, StateError> {
        let mut local = std::mem::take(&mut self.scratch);
        local.clear();
        let encoded = self.keys.local(key, &mut local);
        let found = match encoded {
            Ok(()) => self.committed.get(&local),
            Err(source) => Err(self.encode_error(source)),
        };
        self.scratch = local;
        let value = match found? {
            Some(bytes) => Some(decode_value(&*self.values, &bytes).map_err(|e| self.decode_error(e))?),
            None => None,
        };
        let written = value.as_ref().map_or(-1, |(_, at)| *at);
        let (index, _) = self
            .cache
            .insert_full(key.clone(), Entry { value, written, fresh: false, changed: 0, unsent: 0 });
        Ok(index)
    }

    /// The value at a slot.
    #[inline]
    pub(crate) fn at(&self, slot: usize) -> Option<&(V, Timestamp)> {
        self.cache.get_index(slot).and_then(|(_, entry)| entry.value.as_ref())
    }

    /// Takes the value out of a slot; [`set`](Self::set) must follow.
    #[inline]
    pub(crate) fn take(&mut self, slot: usize) -> Option<(V, Timestamp)> {
        self.cache.get_index_mut(slot).and_then(|(_, entry)| entry.value.take())
    }

    /// Puts a value into a slot; `written` is the time of the change.
    #[inline]
    pub(crate) fn set(&mut self, slot: usize, value: Option<V>, written: Timestamp) {
        self.observed = self.observed.max(written);
        if let Some((key, entry)) = self.cache.get_index_mut(slot) {
            if self.retention.is_some() {
                self.latest = self.latest.max(self.keys.time(key).unwrap_or(-1));
            }
            entry.value = value.map(|value| (value, written));
            entry.written = written;
            if !entry.fresh {
                entry.fresh = true;
                self.fresh.push(slot);
            }
        }
    }

    /// The value of a key.
    pub(crate) fn get(&mut self, key: &Q) -> Result<Option<&(V, Timestamp)>, StateError> {
        let slot = self.slot(key)?;
        Ok(self.at(slot))
    }

    /// Puts or, with `None`, removes a value.
    pub(crate) fn put(&mut self, key: &Q, value: Option<V>, written: Timestamp) -> Result<(), StateError> {
        let slot = self.slot(key)?;
        self.set(slot, value, written);
        Ok(())
    }

    /// Takes note of a time.
    pub(crate) fn observe(&mut self, time: Timestamp) {
        self.observed = self.observed.max(time);
        if self.retention.is_some() {
            self.latest = self.latest.max(time);
        }
    }

    /// Puts or removes an entry past the cache: for stores that are read by scans only, since no `get` would see it.
    pub(crate) fn append(&mut self, key: &Q, value: Option<V>, written: Timestamp) -> Result<(), StateError> {
        self.observe(written);
        let mut local = Vec::with_capacity(32);
        let encoded = self.keys.local(key, &mut local);
        let value = value.map(|value| (value, written));
        let mut bytes = Vec::with_capacity(TIMESTAMP_BYTES + 8);
        let encoded = encoded.and_then(|()| encode_value(&*self.values, value.as_ref(), &mut bytes));
        let present = encoded.map_err(|e| self.encode_error(e))?;
        self.overlay.insert(local, (written, present.then_some(bytes)));
        Ok(())
    }

    /// Makes bytes of the fresh entries, so that a scan sees them.
    pub(crate) fn spill(&mut self) -> Result<(), StateError> {
        for slot in std::mem::take(&mut self.fresh) {
            let Some((key, entry)) = self.cache.get_index_mut(slot) else { continue };
            (entry.fresh, entry.changed) = (false, self.commit);
            let mut local = Vec::with_capacity(32);
            let encoded = self.keys.local(key, &mut local);
            let mut value = Vec::with_capacity(TIMESTAMP_BYTES + 8);
            let encoded =
                encoded.and_then(|()| encode_value(&*self.values, entry.value.as_ref(), &mut value));
            let written = entry.written;
            let present = encoded.map_err(|e| self.encode_error(e))?;
            self.overlay.insert(local, (written, present.then_some(value)));
        }
        Ok(())
    }

    /// Entries between two local keys, uncommitted ones included.
    pub(crate) fn scan(
        &mut self,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        reverse: bool,
    ) -> Result<Scan<'_, Q, V>, StateError> {
        self.spill()?;
        Ok(Scan::over_store(self, from, to, reverse))
    }

    /// The local keys of the segments that hold these times.
    pub(crate) fn segments(&self, from: Timestamp, to: Timestamp) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        let Some(retention) = self.retention else { return (Bound::Unbounded, Bound::Unbounded) };
        let segment = |time: Timestamp| time.div_euclid(retention.segment_ms);
        let behind = ordered(segment(to).saturating_add(1)).to_vec();
        (Bound::Included(ordered(segment(from)).to_vec()), Bound::Excluded(behind))
    }

    /// The first local key that has not expired, if windows expire here.
    fn live_from(&self) -> Option<[u8; 8]> {
        self.retention.map(|retention| ordered(retention.live_segment(self.latest)))
    }

    /// Stages the removal of windows whose whole segment has expired, and says so to the changelog: its records carry event times,
    /// so that the log's own retention, which goes by the wall clock, would remove too much in a replay.
    fn expire(&mut self, changelog: &mut Option<&mut BatchBuilder>) -> Result<(), StateError> {
        let (Some(retention), Some(live)) = (self.retention, self.live_from()) else { return Ok(()) };
        let segment = retention.live_segment(self.latest);
        if self.expired_to == Some(segment) {
            return Ok(());
        }
        let mut expired: Vec<Vec<u8>> = Vec::new();
        let done = self.expired_to.map(ordered);
        let from = done.as_ref().map_or(Bound::Unbounded, |done| Bound::Included(done.as_slice()));
        let to = std::ops::Bound::Excluded(live.as_slice());
        self.committed.scan(from, to, false, &mut |key, _| {
            expired.push(key.to_vec());
            if expired.len() == EXPIRE_AT_ONCE { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        // What did not fit goes with the next commit.
        if expired.len() < EXPIRE_AT_ONCE {
            self.expired_to = Some(segment);
        }
        for key in expired {
            if let Some(changelog) = changelog {
                self.scratch.clear();
                self.keys.write_changelog(&key, &mut self.scratch);
                changelog.push(self.observed.max(0), Some(&self.scratch), None, &[]);
            }
            self.staged.push(&key, None);
        }
        let keys = &self.keys;
        self.cache.retain(|key, _| {
            keys.time(key).is_none_or(|time| time.div_euclid(retention.segment_ms) >= segment)
        });
        Ok(())
    }
}

/// Appends `timestamp | value`; tells whether there is a value.
pub(crate) fn encode_value<V>(
    serde: &dyn crate::serde::Serde<V>,
    value: Option<&(V, Timestamp)>,
    out: &mut Vec<u8>,
) -> Result<bool, SerdeError> {
    let Some((value, at)) = value else { return Ok(false) };
    out.extend_from_slice(&at.to_be_bytes());
    serde.encode(value, out)?;
    Ok(true)
}

/// Reads what [`encode_value`] wrote.
pub(crate) fn decode_value<V>(
    serde: &dyn crate::serde::Serde<V>,
    bytes: &[u8],
) -> Result<(V, Timestamp), SerdeError> {
    let (at, value) = bytes
        .split_first_chunk::<TIMESTAMP_BYTES>()
        .ok_or_else(|| SerdeError::new("a value with its timestamp", "found fewer than 8 bytes"))?;
    Ok((serde.decode(value)?, Timestamp::from_be_bytes(*at)))
}

impl<Q: Hash + Eq + Clone + Send + 'static, V: Clone + Send + 'static> AnyStore for TypedStore<Q, V> {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn is_dirty(&self) -> bool {
        !self.fresh.is_empty() || !self.overlay.is_empty()
    }

    fn is_full(&self, entries: usize) -> bool {
        let uncommitted = self.fresh.len() + self.overlay.len();
        if uncommitted > entries {
            return true;
        }
        let each = size_of::<(Q, Entry<V>)>() + 40 + self.entry_bytes;
        // Above its share by what is uncommitted alone: a commit is the only way to get below it.
        self.held.as_ref().is_some_and(|(budget, _)| uncommitted * each > budget.cache_share())
    }

    fn count_in(&mut self, budget: &MemoryBudget) {
        self.held = Some((budget.clone(), budget.cache()));
    }

    fn flush(&mut self, mut changelog: Option<&mut BatchBuilder>) -> Result<(), StateError> {
        let live = self.live_from();
        let gone = |local: &[u8]| live.is_some_and(|live| local < live.as_slice());
        let mut key_out = std::mem::take(&mut self.scratch);
        let mut log = |key: &[u8], written: Timestamp, value: Option<&[u8]>, keys: &dyn KeyFormat<Q>| {
            if let Some(changelog) = &mut changelog {
                key_out.clear();
                keys.write_changelog(key, &mut key_out);
                let value = value.and_then(|value| value.get(TIMESTAMP_BYTES..));
                changelog.push(written.max(0), Some(&key_out), value, &[]);
            }
        };
        self.changes = self.fresh.len() + self.overlay.len();
        if self.overlay.is_empty() {
            let (mut bytes, mut count) = (0, 0);
            for slot in self.fresh.drain(..) {
                let Some((key, entry)) = self.cache.get_index_mut(slot) else { continue };
                (entry.fresh, entry.changed) = (false, self.commit);
                let put = self.staged.push_with(
                    |out| self.keys.local(key, out),
                    |out| encode_value(&*self.values, entry.value.as_ref(), out),
                );
                let (local, value) =
                    put.map_err(|source| StateError::Encode { store: self.name.to_string(), source })?;
                let expired = value.is_some() && gone(local);
                log(local, entry.written, value.filter(|_| !expired), &*self.keys);
                bytes += local.len() + value.map_or(0, <[u8]>::len);
                count += 1;
                if expired {
                    self.staged.remove_last();
                }
            }
            if let Some(average) = usize::checked_div(bytes, count) {
                self.entry_bytes = average;
            }
        } else {
            self.spill()?;
            for (key, (written, value)) in std::mem::take(&mut self.overlay) {
                let value = value.filter(|_| !gone(&key));
                log(&key, written, value.as_deref(), &*self.keys);
                self.staged.push(&key, value.as_deref());
            }
        }
        self.scratch = key_out;
        self.make_room(&mut changelog)?;
        self.expire(&mut changelog)
    }

    fn stage(&mut self, batch: &mut StoreBatch, mark: Option<i64>) -> Result<(), StateError> {
        let position = match mark {
            Some(position) => Some(position),
            None => self.committed.mark()?.map(|mark| mark.position),
        };
        let mut writes = std::mem::take(&mut self.staged);
        writes.mark = Some(StoreMark::at(position.unwrap_or(0), self.observed, self.latest));
        batch.stores.push((Arc::clone(&self.committed), writes));
        Ok(())
    }

    fn committed(&mut self, cache_entries: usize) {
        self.committed_observed = self.observed;
        self.committed_latest = self.latest;
        if self.retention.is_some() && self.cache.len() > 4 * self.changes + OLD_WINDOWS {
            // Windows pass: what the last commit did not touch is for the most part never touched again.
            let now = self.commit;
            self.cache.retain(|_, entry| entry.changed == now);
            self.cache.shrink_to(2 * self.cache.len() + OLD_WINDOWS);
        }
        self.commit = self.commit.wrapping_add(1);
        let bytes = self.cache_bytes();
        let share = self.held.as_ref().map_or(usize::MAX, |(budget, _)| budget.cache_share());
        if self.cache.len() > cache_entries || bytes > share || !self.cached {
            let each = bytes / self.cache.len().max(1);
            self.cache.clear();
            self.cache.shrink_to(cache_entries.min(share / each.max(1)) / 2);
        }
        let bytes = self.cache_bytes();
        if let Some((_, held)) = &mut self.held {
            held.set(bytes);
        }
    }

    fn abort(&mut self) {
        self.cache.clear();
        self.fresh.clear();
        self.waiting.clear();
        self.overlay.clear();
        self.staged = Writes::default();
        self.observed = self.committed_observed;
        self.latest = self.committed_latest;
        self.expired_to = None;
    }

    fn restore(&mut self, batches: &[RecordBatch], from: i64, position: i64) -> Result<u64, StateError> {
        let mut writes = Writes::default();
        let mut applied = 0;
        for record in batches.iter().flat_map(RecordBatch::iter).filter(|record| record.offset >= from) {
            let Some(key) = record.key else { continue };
            let put = writes.push_with(
                |out| self.keys.read_changelog(key, out),
                |out| {
                    let Some(value) = record.value else { return Ok(false) };
                    out.extend_from_slice(&record.timestamp.to_be_bytes());
                    out.extend_from_slice(value);
                    Ok(true)
                },
            );
            let (local, _) =
                put.map_err(|e| StateError::Decode { store: self.name.to_string(), source: e })?;
            self.latest = self.latest.max(self.keys.local_time(local).unwrap_or(-1));
            self.observed = self.observed.max(record.timestamp);
            applied += 1;
        }
        writes.mark = Some(StoreMark::at(position, self.observed, self.latest));
        self.committed.write(&writes)?;
        self.committed_observed = self.observed;
        self.committed_latest = self.latest;
        Ok(applied)
    }

    fn mark(&self) -> Result<Option<StoreMark>, StateError> {
        self.committed.mark()
    }

    fn wipe(&mut self) -> Result<(), StateError> {
        self.committed_observed = -1;
        self.committed_latest = -1;
        self.abort();
        self.committed.wipe()
    }

    fn reader(&self) -> Arc<dyn Committed> {
        Arc::clone(&self.committed)
    }

    fn approximate_len(&self) -> u64 {
        self.committed.approximate_len()
    }

    fn observed_time(&self) -> Timestamp {
        self.observed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serde::{I64, Utf8};
    use crate::state::{Backend, MemoryBackend, PlainKeys};

    /// A log hands out whole batches: what lies before the position asked for is in the store already, or was removed from it.
    #[test]
    fn restore_applies_nothing_before_its_position() {
        let mut builder = BatchBuilder::new();
        for n in 0..6_i64 {
            builder.push(n * 10, Some(format!("k{n}").as_bytes()), Some(&n.to_be_bytes()), &[]);
        }
        let batch = builder.build(100);
        let check = |from: i64, expect: &[&str]| {
            let committed = MemoryBackend.open("s", 0, true).unwrap();
            let keys: Arc<dyn KeyFormat<String>> = Arc::new(PlainKeys(Arc::new(Utf8)));
            let mut store =
                TypedStore::<String, i64>::new("s".into(), keys, Arc::new(I64), None, committed).unwrap();
            let applied = store.restore(std::slice::from_ref(&batch), from, 106).unwrap();
            assert_eq!(applied, expect.len() as u64, "from {from}");
            let scan = store.scan(Bound::Unbounded, Bound::Unbounded, false).unwrap();
            let found: Vec<String> = scan.map(|entry| entry.unwrap().0).collect();
            assert_eq!(found, expect, "from {from}");
            assert_eq!(store.mark().unwrap().unwrap().position, 106);
        };
        check(0, &["k0", "k1", "k2", "k3", "k4", "k5"]);
        check(100, &["k0", "k1", "k2", "k3", "k4", "k5"]);
        check(103, &["k3", "k4", "k5"]);
        check(105, &["k5"]);
        check(106, &[]);
    }
}
