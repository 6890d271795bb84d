//! Versioned key-value stores (KIP-889): a row as it was at a time, as far back as the history is kept.
//!
//! The latest version of a row lies under its key alone and never expires; older versions lie in segments of time, by when they ended, which
//! expire whole. The changelog has one record for each put, in the order of the puts, and restoring repeats them.
//!
//! # Format
//! ```text
//! local key       segment, or the largest number for the latest version | key     (8 bytes, ordered)
//! changelog       key -> value, at the version's time
//! ```

use std::hash::Hash;
use std::sync::Arc;

use vigie_log::{BatchBuilder, RecordBatch, Timestamp};

use super::format::{ordered, too_short};
use super::versions::{Cell, CellSerde, Past};
use super::{AnyStore, Committed, KeyFormat, MemoryBudget, Retention, StoreBatch, StoreMark, TypedStore};
use crate::error::StateError;
use crate::serde::{SerdeError, SerdeRef};

/// One version of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VersionedRecord<V> {
    /// The value.
    pub value: V,
    /// Since when it is valid, in milliseconds since the epoch.
    pub timestamp: Timestamp,
    /// When the next version begins; `None` for the latest one.
    pub valid_to: Option<Timestamp>,
}

/// What became of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutResult {
    /// It is the latest version of its row.
    Latest,
    /// A newer version begins then.
    ValidTo(Timestamp),
    /// It is older than the history; nothing was put.
    Expired,
}

/// Where versions of a key lie.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct VersionSlot<K> {
    /// `None` for the latest version.
    pub segment: Option<i64>,
    pub key: K,
}

pub(crate) struct VersionKeys<K> {
    pub inner: SerdeRef<K>,
    pub segment_ms: i64,
}

const LATEST: i64 = i64::MAX;

impl<K> KeyFormat<VersionSlot<K>> for VersionKeys<K> {
    fn local(&self, slot: &VersionSlot<K>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend_from_slice(&ordered(slot.segment.unwrap_or(LATEST)));
        self.inner.encode(&slot.key, out)
    }
    fn read_local(&self, bytes: &[u8]) -> Result<VersionSlot<K>, SerdeError> {
        const EXPECTED: &str = "a versioned store's key (segment, key)";
        let (segment, key) = bytes.split_first_chunk::<8>().ok_or_else(|| too_short(EXPECTED, bytes))?;
        let segment = Some(super::format::from_ordered(*segment)).filter(|segment| *segment != LATEST);
        Ok(VersionSlot { segment, key: self.inner.decode(key)? })
    }
    fn write_changelog(&self, local: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(local.get(8..).unwrap_or_default());
    }
    fn read_changelog(&self, key: &[u8], out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend_from_slice(&ordered(LATEST));
        out.extend_from_slice(key);
        Ok(())
    }
    fn time(&self, slot: &VersionSlot<K>) -> Option<Timestamp> {
        slot.segment.map(|segment| segment.saturating_mul(self.segment_ms))
    }
    fn local_time(&self, local: &[u8]) -> Option<Timestamp> {
        let (segment, _) = local.split_first_chunk::<8>()?;
        let segment = Some(super::format::from_ordered(*segment)).filter(|segment| *segment != LATEST);
        segment.map(|segment| segment.saturating_mul(self.segment_ms))
    }
}

/// How history is kept: Kafka Streams' segments, smaller ones for shorter histories.
pub(crate) fn history(retention_ms: i64) -> Retention {
    let segment_ms = match retention_ms {
        ..=60_000 => (retention_ms / 3).max(2_000),
        60_001..=300_000 => (retention_ms / 5).max(20_000),
        300_001..=3_600_000 => (retention_ms / 12).max(60_000),
        _ => (retention_ms / 24).max(300_000),
    };
    Retention { retention_ms, segment_ms }
}

/// A put that the changelog has not seen: key, time, value.
type Logged = (Vec<u8>, Timestamp, Option<Vec<u8>>);

pub(crate) struct VersionedStore<K, V> {
    inner: TypedStore<VersionSlot<K>, Cell<V>>,
    keys: SerdeRef<K>,
    values: SerdeRef<V>,
    history: Retention,
    /// Whether there is a changelog to write puts to.
    logged: bool,
    unlogged: Vec<Logged>,
}

impl<K: Hash + Eq + Clone + Send + 'static, V: Clone + Send + 'static> VersionedStore<K, V> {
    pub(crate) fn new(
        name: Arc<str>,
        keys: SerdeRef<K>,
        values: SerdeRef<V>,
        history: Retention,
        logged: bool,
        committed: Arc<dyn Committed>,
    ) -> Result<Self, StateError> {
        let formats = Arc::new(VersionKeys { inner: Arc::clone(&keys), segment_ms: history.segment_ms });
        let cells = Arc::new(CellSerde(Arc::clone(&values)));
        let inner = TypedStore::new(name, formats, cells, Some(history), committed)?;
        Ok(Self { inner, keys, values, history, logged, unlogged: Vec::new() })
    }

    fn segment(&self, at: Timestamp) -> i64 {
        at.div_euclid(self.history.segment_ms)
    }

    /// The oldest time that is still kept.
    fn kept_from(&self) -> Timestamp {
        self.inner.observed().saturating_sub(self.history.retention_ms)
    }

    fn is_live(&self, segment: i64) -> bool {
        segment >= self.segment(self.kept_from())
    }

    /// The segments that may hold versions that ended at or after a time, newest first.
    fn segments_from(&self, at: Timestamp) -> impl Iterator<Item = i64> + use<K, V> {
        let first = self.segment(at).max(self.segment(self.kept_from()));
        (first..=self.segment(self.inner.observed())).rev()
    }

    fn latest(&mut self, key: &K) -> Result<Option<(V, Timestamp)>, StateError> {
        let slot = VersionSlot { segment: None, key: key.clone() };
        Ok(match self.inner.get(&slot)? {
            Some((Cell::Latest(value), at)) => Some((value.clone(), *at)),
            _ => None,
        })
    }

    fn past(&mut self, segment: i64, key: &K) -> Result<Option<&Past<V>>, StateError> {
        let slot = VersionSlot { segment: Some(segment), key: key.clone() };
        Ok(match self.inner.get(&slot)? {
            Some((Cell::Past(past), _)) => Some(past),
            _ => None,
        })
    }

    /// Changes the versions of a key in a segment, or makes them.
    fn change(
        &mut self,
        segment: i64,
        key: &K,
        at: Timestamp,
        change: impl FnOnce(Option<Past<V>>) -> Past<V>,
    ) -> Result<(), StateError> {
        let slot = self.inner.slot(&VersionSlot { segment: Some(segment), key: key.clone() })?;
        let before = match self.inner.take(slot) {
            Some((Cell::Past(past), _)) => Some(past),
            _ => None,
        };
        self.inner.set(slot, Some(Cell::Past(change(before))), at);
        Ok(())
    }

    fn set_latest(&mut self, key: &K, value: Option<V>, at: Timestamp) -> Result<(), StateError> {
        self.inner.put(&VersionSlot { segment: None, key: key.clone() }, value.map(Cell::Latest), at)
    }

    /// Puts a version; `None` removes the row from then on.
    pub(crate) fn put(&mut self, key: &K, value: Option<V>, at: Timestamp) -> Result<PutResult, StateError> {
        let logged = if self.logged && at >= self.kept_from() {
            let encode_error = |source| StateError::Encode { store: self.inner.name.to_string(), source };
            let mut bytes = Vec::new();
            self.keys.encode(key, &mut bytes).map_err(encode_error)?;
            let value = value.as_ref().map(|value| {
                let mut bytes = Vec::new();
                self.values.encode(value, &mut bytes).map(|()| bytes)
            });
            Some((bytes, at, value.transpose().map_err(encode_error)?))
        } else {
            None
        };
        let result = self.apply(key, value, at)?;
        if result != PutResult::Expired {
            self.unlogged.extend(logged);
        }
        Ok(result)
    }

    fn apply(&mut self, key: &K, value: Option<V>, at: Timestamp) -> Result<PutResult, StateError> {
        if at < self.kept_from() {
            return Ok(PutResult::Expired);
        }
        self.inner.observe(at);
        let mut newer = None;
        if let Some((latest, from)) = self.latest(key)? {
            if at >= from {
                let segment = self.segment(at);
                if at > from && self.is_live(segment) {
                    self.change(segment, key, at, |past| match past {
                        None => Past::with(Some(latest), from, at),
                        Some(mut past) => {
                            past.insert_newest(from, at, Some(latest));
                            past
                        }
                    })?;
                }
                self.set_latest(key, value, at)?;
                return Ok(PutResult::Latest);
            }
            newer = Some(from);
        }
        let kept_from = self.kept_from();
        for segment in self.segments_from(at) {
            let Some((next, min)) = self.past(segment, key)?.map(|past| (past.next, past.min())) else {
                continue;
            };
            if next <= at {
                break;
            }
            if min <= at {
                return self.put_between(segment, key, value, at);
            }
            if min < kept_from {
                return Ok(PutResult::Expired);
            }
            newer = Some(min);
        }
        match newer {
            Some(to) => self.put_before(key, value, at, to),
            None => self.put_alone(key, value, at),
        }
    }

    /// Puts a version among others of a segment.
    fn put_between(
        &mut self,
        segment: i64,
        key: &K,
        value: Option<V>,
        at: Timestamp,
    ) -> Result<PutResult, StateError> {
        let Some(found) = self.past(segment, key)?.and_then(|past| past.find(at)) else {
            return Ok(PutResult::Expired);
        };
        let own = self.segment(at);
        let mut older = None;
        self.change(segment, key, at, |past| {
            let mut past = past.unwrap_or_else(|| Past::with(None, at, at));
            if found.from == at {
                past.update(found.index, at, value);
            } else if own != segment {
                // The version before now ends in an older segment, and moves there.
                older = past.update(found.index, at, value);
            } else {
                past.insert(found.index, at, value);
            }
            past
        })?;
        if found.from != at && own != segment && self.is_live(own) {
            self.change(own, key, at, |past| match past {
                None => Past::with(older, found.from, at),
                Some(mut past) => {
                    past.insert_newest(found.from, at, older);
                    past
                }
            })?;
        }
        Ok(PutResult::ValidTo(found.to))
    }

    /// Puts a version that ends at `to`, where nothing is known to lie before it.
    fn put_before(
        &mut self,
        key: &K,
        value: Option<V>,
        at: Timestamp,
        to: Timestamp,
    ) -> Result<PutResult, StateError> {
        let segment = self.segment(to);
        if !self.is_live(segment) {
            return Ok(PutResult::Expired);
        }
        self.change(segment, key, at, |past| match past {
            None => Past::with(value, at, to),
            Some(mut past) if past.next <= at => {
                past.insert_newest(at, to, value);
                past
            }
            Some(mut past) => {
                past.insert_oldest(at, value);
                past
            }
        })?;
        Ok(PutResult::ValidTo(to))
    }

    /// Puts a version that no newer one follows, of a row that is not there.
    fn put_alone(&mut self, key: &K, value: Option<V>, at: Timestamp) -> Result<PutResult, StateError> {
        if value.is_some() {
            self.set_latest(key, value, at)?;
            return Ok(PutResult::Latest);
        }
        let segment = self.segment(at);
        if !self.is_live(segment) {
            return Ok(PutResult::Expired);
        }
        if self.past(segment, key)?.is_some_and(|past| past.next == at) {
            return Ok(PutResult::Latest);
        }
        self.change(segment, key, at, |past| match past {
            None => Past::with(None, at, at),
            Some(mut past) => {
                past.insert_newest(past.next, at, None);
                past
            }
        })?;
        Ok(PutResult::Latest)
    }

    /// The latest version of a row.
    pub(crate) fn get(&mut self, key: &K) -> Result<Option<VersionedRecord<V>>, StateError> {
        let latest = self.latest(key)?;
        Ok(latest.map(|(value, timestamp)| VersionedRecord { value, timestamp, valid_to: None }))
    }

    /// The version of a row that was valid at a time.
    pub(crate) fn get_as_of(
        &mut self,
        key: &K,
        at: Timestamp,
    ) -> Result<Option<VersionedRecord<V>>, StateError> {
        let observed = self.inner.observed();
        let (inner, history) = (&mut self.inner, self.history);
        find_as_of(key, at, observed, history, &mut |slot| Ok(inner.get(slot)?.cloned()))
    }
}

/// Finds what lies under a key, with its time.
pub(crate) type FindCell<'f, K, V> =
    &'f mut dyn FnMut(&VersionSlot<K>) -> Result<Option<(Cell<V>, Timestamp)>, StateError>;

/// Looks for the version of a time among cells.
pub(crate) fn find_as_of<K: Clone, V>(
    key: &K,
    at: Timestamp,
    observed: Timestamp,
    history: Retention,
    cell: FindCell<'_, K, V>,
) -> Result<Option<VersionedRecord<V>>, StateError> {
    if let Some((Cell::Latest(value), timestamp)) = cell(&VersionSlot { segment: None, key: key.clone() })?
        && timestamp <= at
    {
        return Ok(Some(VersionedRecord { value, timestamp, valid_to: None }));
    }
    // The latest version never expires; older ones are gone for good once they are older than the history.
    if at < observed.saturating_sub(history.retention_ms) {
        return Ok(None);
    }
    let segment = |at: Timestamp| at.div_euclid(history.segment_ms);
    for segment in (segment(at)..=segment(observed)).rev() {
        let slot = VersionSlot { segment: Some(segment), key: key.clone() };
        let Some((Cell::Past(mut past), _)) = cell(&slot)? else { continue };
        if past.next <= at {
            return Ok(None);
        }
        let Some(found) = past.find(at) else { continue };
        let value = past.update(found.index, found.from, None);
        return Ok(value.map(|value| VersionedRecord {
            value,
            timestamp: found.from,
            valid_to: Some(found.to),
        }));
    }
    Ok(None)
}

impl<K: Hash + Eq + Clone + Send + 'static, V: Clone + Send + 'static> AnyStore for VersionedStore<K, V> {
    fn name(&self) -> &Arc<str> {
        &self.inner.name
    }

    fn flush(&mut self, changelog: Option<&mut BatchBuilder>) -> Result<(), StateError> {
        let puts = std::mem::take(&mut self.unlogged);
        if let Some(changelog) = changelog {
            for (key, at, value) in puts {
                changelog.push(at.max(0), Some(&key), value.as_deref(), &[]);
            }
        }
        self.inner.flush(None)
    }

    fn is_dirty(&self) -> bool {
        self.inner.is_dirty()
    }

    fn is_full(&self, entries: usize) -> bool {
        self.unlogged.len() > entries || self.inner.is_full(entries)
    }

    fn count_in(&mut self, budget: &MemoryBudget) {
        self.inner.count_in(budget);
    }

    fn stage(&mut self, batch: &mut StoreBatch, mark: Option<i64>) -> Result<(), StateError> {
        self.inner.stage(batch, mark)
    }

    fn committed(&mut self, cache_entries: usize) {
        self.inner.committed(cache_entries);
    }

    fn abort(&mut self) {
        self.unlogged.clear();
        self.inner.abort();
    }

    fn restore(&mut self, batches: &[RecordBatch], from: i64, position: i64) -> Result<u64, StateError> {
        let mut applied = 0;
        for record in batches.iter().flat_map(RecordBatch::iter).filter(|record| record.offset >= from) {
            let Some(key) = record.key else { continue };
            let decode_error = |source| StateError::Decode { store: self.inner.name.to_string(), source };
            let key = self.keys.decode(key).map_err(decode_error)?;
            let value =
                record.value.map(|value| self.values.decode(value)).transpose().map_err(decode_error)?;
            self.apply(&key, value, record.timestamp)?;
            applied += 1;
        }
        self.inner.flush(None)?;
        let mut batch = StoreBatch::default();
        self.inner.stage(&mut batch, Some(position))?;
        for (committed, writes) in batch.stores {
            committed.write(&writes)?;
        }
        self.inner.committed(0);
        Ok(applied)
    }

    fn mark(&self) -> Result<Option<StoreMark>, StateError> {
        self.inner.mark()
    }

    fn wipe(&mut self) -> Result<(), StateError> {
        self.unlogged.clear();
        self.inner.wipe()
    }

    fn reader(&self) -> Arc<dyn Committed> {
        self.inner.reader()
    }

    fn approximate_len(&self) -> u64 {
        self.inner.approximate_len()
    }

    fn observed_time(&self) -> Timestamp {
        self.inner.observed_time()
    }
}

/// Rows with their history, uncommitted changes included
/// ([`ProcessorContext::versioned`](crate::ProcessorContext::versioned)).
pub struct VersionedKeyValueStore<'s, K, V> {
    store: &'s mut VersionedStore<K, V>,
}

impl<'s, K: Hash + Eq + Clone + Send + 'static, V: Clone + Send + 'static> VersionedKeyValueStore<'s, K, V> {
    pub(crate) fn new(store: &'s mut VersionedStore<K, V>) -> Self {
        Self { store }
    }

    /// Puts a version that is valid from `timestamp` on; `None` means that there is no row from then on.
    pub fn put(
        &mut self,
        key: K,
        value: impl Into<Option<V>>,
        timestamp: Timestamp,
    ) -> Result<PutResult, StateError> {
        self.store.put(&key, value.into(), timestamp)
    }

    /// Removes the row from `timestamp` on; gives the version that was valid then. Nothing happens behind the history.
    pub fn delete(
        &mut self,
        key: &K,
        timestamp: Timestamp,
    ) -> Result<Option<VersionedRecord<V>>, StateError> {
        if timestamp < self.store.kept_from() {
            return Ok(None);
        }
        let held = self.store.get_as_of(key, timestamp)?;
        self.store.put(key, None, timestamp)?;
        Ok(held)
    }

    /// The latest version; `None` if the row is not there.
    pub fn get(&mut self, key: &K) -> Result<Option<VersionedRecord<V>>, StateError> {
        self.store.get(key)
    }

    /// The version that was valid at `timestamp`; `None` too when that is longer ago than the history is kept, unless the latest version
    /// is older still.
    pub fn get_as_of(
        &mut self,
        key: &K,
        timestamp: Timestamp,
    ) -> Result<Option<VersionedRecord<V>>, StateError> {
        self.store.get_as_of(key, timestamp)
    }
}
