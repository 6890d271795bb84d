//! Committed state on disk: one fjall database for each application, one keyspace a store, keys prefixed with the partition.
//!
//! # Format (version 3)
//! ```text
//! keyspace "s.<store>"   u32 partition, big endian | local key -> value
//! keyspace "marks"       "<store>/<partition>" -> u8 version | u32 crc32 of the rest | i64 position | i64 observed time
//!                        | i64 latest window | i64 reach        (little endian; version 2 had no reach: it was the position)
//! ```
//! Stores with a changelog are [`Resident`](super::resident): they come here sorted and in bulk, their mark behind them. Those without
//! one are written with each commit, in one batch, which fjall applies entirely or not at all.

use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::Arc;

use fjall::config::PartitioningPolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Slice};
use vigie_log::PartitionId;

use super::budget::MemoryBudget;
use super::committed::{Backend, Committed, Disk, Fill, StoreBatch, StoreMark, Visit, Writes};
use super::resident::Residents;
use crate::error::StateError;

const VERSION: u8 = 3;
/// Marks without a reach.
const VERSION_2: u8 = 2;
/// Write buffers of the database: only marks and stores without a changelog go through one.
const WRITE_BUFFER: u64 = 4 << 20;
/// Entries removed in one batch when a range is dropped.
const REMOVE_AT_ONCE: usize = 8192;

/// Where a store lives in the database.
pub(crate) struct Place {
    database: Database,
    keyspace: Keyspace,
    marks: Keyspace,
    prefix: [u8; 4],
    mark_key: Vec<u8>,
    place: Arc<str>,
}

impl Place {
    fn key(&self, key: &[u8]) -> Vec<u8> {
        let mut full = Vec::with_capacity(4 + key.len());
        full.extend_from_slice(&self.prefix);
        full.extend_from_slice(key);
        full
    }

    fn error(&self, error: &fjall::Error) -> StateError {
        database_error(&self.place, error)
    }

    fn stage(&self, batch: &mut fjall::OwnedWriteBatch, writes: &Writes) {
        for (key, value) in writes.iter() {
            match value {
                Some(value) => batch.insert(&self.keyspace, self.key(key), value),
                None => batch.remove(&self.keyspace, self.key(key)),
            }
        }
        if let Some(mark) = writes.mark {
            batch.insert(&self.marks, self.mark_key.clone(), encode_mark(mark));
        }
    }

    /// The bounds of a range with the partition before them.
    fn bounds(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        let from = match from {
            Bound::Included(key) => Bound::Included(self.key(key)),
            Bound::Excluded(key) => Bound::Excluded(self.key(key)),
            Bound::Unbounded => Bound::Included(self.prefix.to_vec()),
        };
        let to = match to {
            Bound::Included(key) => Bound::Included(self.key(key)),
            Bound::Excluded(key) => Bound::Excluded(self.key(key)),
            Bound::Unbounded => {
                let next = u32::from_be_bytes(self.prefix).saturating_add(1);
                Bound::Excluded(next.to_be_bytes().to_vec())
            }
        };
        (from, to)
    }
}

fn database_error(place: &str, error: &fjall::Error) -> StateError {
    StateError::Database { place: place.to_owned(), reason: error.to_string() }
}

pub(super) fn encode_mark(mark: StoreMark) -> Vec<u8> {
    let mut body = Vec::with_capacity(37);
    body.extend_from_slice(&[VERSION, 0, 0, 0, 0]);
    body.extend_from_slice(&mark.position.to_le_bytes());
    body.extend_from_slice(&mark.observed_time.to_le_bytes());
    body.extend_from_slice(&mark.latest_window.to_le_bytes());
    body.extend_from_slice(&mark.reach.to_le_bytes());
    let (head, tail) = body.split_at_mut(5);
    let crc = crc32fast::hash(tail).to_le_bytes();
    for (place, byte) in head.iter_mut().skip(1).zip(crc) {
        *place = byte;
    }
    body
}

/// A mark that cannot be read counts as none: the store is then rebuilt from its changelog.
pub(super) fn decode_mark(bytes: &[u8]) -> Option<StoreMark> {
    let (head, tail) = bytes.split_first_chunk::<5>()?;
    let [version, crc @ ..] = *head;
    if u32::from_le_bytes(crc) != crc32fast::hash(tail) {
        return None;
    }
    let (position, tail) = tail.split_first_chunk::<8>()?;
    let (observed, tail) = tail.split_first_chunk::<8>()?;
    let (latest, tail) = tail.split_first_chunk::<8>()?;
    let position = i64::from_le_bytes(*position);
    let reach = match version {
        VERSION_2 if tail.is_empty() => position,
        VERSION => i64::from_le_bytes(tail.try_into().ok()?),
        _ => return None,
    };
    Some(StoreMark {
        position,
        observed_time: i64::from_le_bytes(*observed),
        latest_window: i64::from_le_bytes(*latest),
        reach,
    })
}

impl Committed for Place {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        let found = self.keyspace.get(self.key(key)).map_err(|e| self.error(&e))?;
        Ok(found.map(|slice: Slice| slice.to_vec()))
    }

    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
        visit: Visit<'_>,
    ) -> Result<(), StateError> {
        if super::memory::is_empty_range(from, to) {
            return Ok(());
        }
        let mut range = self.keyspace.range::<Vec<u8>, _>(self.bounds(from, to));
        while let Some(guard) = if reverse { range.next_back() } else { range.next() } {
            let (key, value) = guard.into_inner().map_err(|e| self.error(&e))?;
            if visit(key.get(4..).unwrap_or_default(), &value) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn approximate_len(&self) -> u64 {
        self.keyspace.approximate_len() as u64
    }

    fn mark(&self) -> Result<Option<StoreMark>, StateError> {
        let found = self.marks.get(&self.mark_key).map_err(|e| self.error(&e))?;
        Ok(found.as_deref().and_then(decode_mark))
    }

    fn write(&self, writes: &Writes) -> Result<(), StateError> {
        let mut batch = self.database.batch();
        self.stage(&mut batch, writes);
        batch.commit().map_err(|e| self.error(&e))
    }

    fn wipe(&self) -> Result<(), StateError> {
        // The mark goes first: a crash in between leaves a store without a mark, which is rebuilt.
        self.marks.remove(self.mark_key.clone()).map_err(|e| self.error(&e))?;
        self.remove(Bound::Unbounded, Bound::Unbounded)
    }

    fn place(&self) -> Option<&Place> {
        Some(self)
    }
}

impl Disk for Place {
    fn put_mark(&self, mark: StoreMark) -> Result<(), StateError> {
        self.marks.insert(self.mark_key.clone(), encode_mark(mark)).map_err(|e| self.error(&e))?;
        self.database.persist(PersistMode::SyncData).map_err(|e| self.error(&e))
    }

    fn ingest(&self, fill: Fill<'_>) -> Result<(), StateError> {
        let mut ingestion = self.keyspace.start_ingestion().map_err(|e| self.error(&e))?;
        let mut full = self.prefix.to_vec();
        fill(&mut |key, value| {
            full.truncate(self.prefix.len());
            full.extend_from_slice(key);
            let written = match value {
                Some(value) => ingestion.write(full.as_slice(), value),
                None => ingestion.write_tombstone(full.as_slice()),
            };
            written.map_err(|e| self.error(&e))
        })?;
        ingestion.finish().map_err(|e| self.error(&e))
    }
}

impl Place {
    fn remove(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<(), StateError> {
        let mut batch = self.database.batch();
        let mut staged = 0;
        for guard in self.keyspace.range::<Vec<u8>, _>(self.bounds(from, to)) {
            batch.remove(&self.keyspace, guard.key().map_err(|e| self.error(&e))?);
            staged += 1;
            if staged == REMOVE_AT_ONCE {
                std::mem::replace(&mut batch, self.database.batch()).commit().map_err(|e| self.error(&e))?;
                staged = 0;
            }
        }
        batch.commit().map_err(|e| self.error(&e))
    }
}

/// Stores of one application on disk.
pub(crate) struct PersistentBackend {
    database: Database,
    marks: Keyspace,
    residents: Residents,
    place: Arc<str>,
}

impl PersistentBackend {
    /// Opens `<state_dir>/<application id>`, made if need be.
    pub(crate) fn open_at(
        state_dir: &Path,
        application_id: &str,
        budget: &MemoryBudget,
    ) -> Result<Self, StateError> {
        let folder = state_dir.join(application_id);
        let place: Arc<str> = folder.display().to_string().into();
        std::fs::create_dir_all(&folder)
            .map_err(|e| StateError::Database { place: place.to_string(), reason: e.to_string() })?;
        let database = Database::builder(&folder)
            .cache_size(budget.block_cache() as u64)
            .worker_threads(1)
            // What is in the journal is read again at each start.
            .max_journaling_size(64 << 20)
            .open();
        let database = database.map_err(|error| match error {
            fjall::Error::Locked => StateError::Locked { place: place.to_string() },
            other => database_error(&place, &other),
        })?;
        let marks = database.keyspace("marks", options).map_err(|e| database_error(&place, &e))?;
        Ok(Self { database, marks, residents: Residents::new(budget.clone()), place })
    }

    fn place(&self, store: &str, partition: PartitionId) -> Result<Arc<Place>, StateError> {
        let keyspace = self
            .database
            .keyspace(&format!("s.{store}"), options)
            .map_err(|e| database_error(&self.place, &e))?;
        Ok(Arc::new(Place {
            database: self.database.clone(),
            keyspace,
            marks: self.marks.clone(),
            prefix: partition.to_be_bytes(),
            mark_key: format!("{store}/{partition}").into_bytes(),
            place: Arc::clone(&self.place),
        }))
    }
}

fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(WRITE_BUFFER)
        // IMPORTANT: whole filters and indexes of files that were ingested would go through the block cache, a megabyte for each key
        // that is looked up; in parts it is a few kilobytes.
        .filter_block_partitioning_policy(PartitioningPolicy::all(true))
        .index_block_partitioning_policy(PartitioningPolicy::all(true))
}

impl Backend for PersistentBackend {
    fn open(
        &self,
        store: &str,
        partition: PartitionId,
        logged: bool,
    ) -> Result<Arc<dyn Committed>, StateError> {
        if logged {
            self.residents.open(store, partition, || Ok(self.place(store, partition)?))
        } else {
            Ok(self.place(store, partition)?)
        }
    }

    fn stored(&self) -> Result<Vec<(String, PartitionId)>, StateError> {
        let mut found = Vec::new();
        for guard in self.marks.iter() {
            let key = guard.key().map_err(|e| database_error(&self.place, &e))?;
            let name = std::str::from_utf8(&key).ok().and_then(|name| name.rsplit_once('/'));
            if let Some((store, partition)) = name
                && let Ok(partition) = partition.parse()
            {
                found.push((store.to_owned(), partition));
            }
        }
        Ok(found)
    }

    fn apply(&self, batch: &StoreBatch) -> Result<(), StateError> {
        let mut all = self.database.batch();
        for (store, writes) in &batch.stores {
            match store.place() {
                Some(place) => place.stage(&mut all, writes),
                None => store.write(writes)?,
            }
        }
        if !all.is_empty() {
            all.commit().map_err(|e| database_error(&self.place, &e))?;
        }
        let stores: Vec<_> = batch.stores.iter().map(|(store, _)| Arc::clone(store)).collect();
        self.residents.tend(&stores, true)
    }

    fn tend(&self, stores: &[Arc<dyn Committed>], flush_due: bool) -> Result<(), StateError> {
        self.residents.tend(stores, flush_due)
    }

    fn flush(&self) -> Result<(), StateError> {
        self.residents.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_mark_counts_as_none() {
        let mark = StoreMark { position: 7, observed_time: -1, latest_window: -1, reach: 9 };
        let bytes = encode_mark(mark);
        assert_eq!(decode_mark(&bytes), Some(mark));
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            assert_eq!(decode_mark(&damaged), None, "byte {place}");
        }
        assert_eq!(decode_mark(&bytes[..20]), None);
    }

    /// A mark of format 2 as it stands on disks: position 5, observed time 6, latest window 7.
    #[test]
    fn a_mark_of_format_2_is_readable() {
        let body = [5_i64, 6, 7].map(i64::to_le_bytes).concat();
        let bytes = [&[2][..], &crc32fast::hash(&body).to_le_bytes(), &body].concat();
        assert_eq!(decode_mark(&bytes), Some(StoreMark::at(5, 6, 7)));
    }
}
