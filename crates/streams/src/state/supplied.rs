//! Stores that a user writes: bytes by key, in order of keys. The engine puts its types, caches, changelogs, transactions, queries and standby copies around
//! them, as around its own.

use std::fmt;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use vigie_log::PartitionId;

use super::committed::{Committed, StoreMark, Visit, Writes};
use super::persistent::{decode_mark, encode_mark};
use crate::error::{BoxError, StateError};

/// Called for each entry of a scan, key and value; says whether to go on.
pub type StoreVisitor<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// Where the committed entries of one partition of a store are kept. Written by one thread, read by many at the same time.
///
/// An example is `examples/own_store.rs`; the rules are those of every store: what [`write`](Self::write) was given is there entirely or
/// not at all, whatever moment the process dies, and the note with it. A store that forgets everything with the process is fine too: it is then
/// restored from its changelog.
pub trait StateStore: Send + Sync + 'static {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, BoxError>;
    /// Calls `visit` with the entries between two keys, in order of their bytes or in the reverse of it, until it says stop.
    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
        visit: StoreVisitor<'_>,
    ) -> Result<(), BoxError>;
    /// Puts entries and, with `None`, removes them; the last of a key wins. Keeps `note` beside them.
    fn write(
        &self,
        entries: &mut dyn Iterator<Item = (&[u8], Option<&[u8]>)>,
        note: Option<&[u8]>,
    ) -> Result<(), BoxError>;
    /// The note of the last write that had one: how far the store is in its changelog.
    fn note(&self) -> Result<Option<Vec<u8>>, BoxError>;
    /// Removes everything, the note too.
    fn wipe(&self) -> Result<(), BoxError>;
    /// Entries, about.
    fn approximate_len(&self) -> u64;
}

/// Makes the committed side of one partition of a store.
#[derive(Clone)]
pub(crate) struct Supplier(Arc<Supply>);

type Supply = dyn Fn(&str, PartitionId) -> Result<Arc<dyn Committed>, StateError> + Send + Sync;

impl Supplier {
    pub(crate) fn new(
        supply: impl Fn(&str, PartitionId) -> Result<Arc<dyn Committed>, StateError> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(supply))
    }

    /// Around what a user supplies.
    pub(crate) fn of_user(
        supply: impl Fn(&str, PartitionId) -> Result<Arc<dyn StateStore>, BoxError> + Send + Sync + 'static,
    ) -> Self {
        Self::new(move |name, partition| {
            let store = supply(name, partition).map_err(|source| failed(name, partition, source))?;
            Ok(Arc::new(Supplied { store, name: name.into(), partition }))
        })
    }

    pub(crate) fn open(&self, name: &str, partition: PartitionId) -> Result<Arc<dyn Committed>, StateError> {
        (self.0)(name, partition)
    }
}

impl fmt::Debug for Supplier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Supplier")
    }
}

fn failed(name: &str, partition: PartitionId, source: BoxError) -> StateError {
    StateError::Supplied { store: name.to_owned(), partition, source }
}

struct Supplied {
    store: Arc<dyn StateStore>,
    name: Arc<str>,
    partition: PartitionId,
}

impl Supplied {
    fn failed(&self) -> impl FnOnce(BoxError) -> StateError + '_ {
        |source| failed(&self.name, self.partition, source)
    }
}

impl Committed for Supplied {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.store.get(key).map_err(self.failed())
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
        self.store.scan(from, to, reverse, visit).map_err(self.failed())
    }

    fn approximate_len(&self) -> u64 {
        self.store.approximate_len()
    }

    fn mark(&self) -> Result<Option<StoreMark>, StateError> {
        Ok(self.store.note().map_err(self.failed())?.as_deref().and_then(decode_mark))
    }

    fn write(&self, batch: &Writes) -> Result<(), StateError> {
        let note = batch.mark.map(encode_mark);
        self.store.write(&mut batch.iter(), note.as_deref()).map_err(self.failed())
    }

    fn wipe(&self) -> Result<(), StateError> {
        self.store.wipe().map_err(self.failed())
    }
}
