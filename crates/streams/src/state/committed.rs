//! Committed state as bytes: what memory and disk must offer.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use vigie_log::{Offset, PartitionId, Timestamp};

use super::supplied::Supplier;
use crate::error::StateError;

/// What a store remembers beside its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoreMark {
    /// The next offset of the changelog to apply; negative: unknown, all of it.
    pub position: Offset,
    /// The largest timestamp ever put: windows behind it minus retention are gone.
    pub observed_time: Timestamp,
    /// The latest window's start (or session's end): what has expired is reckoned from it.
    pub latest_window: Timestamp,
    /// How far the changelog had come when the newest value was written. Behind a flush that was cut short it is ahead of
    /// `position`; a changelog that ends before it is not this store's.
    pub reach: Offset,
}

impl StoreMark {
    /// All values are those of this position.
    pub(crate) fn at(position: Offset, observed_time: Timestamp, latest_window: Timestamp) -> Self {
        Self { position, observed_time, latest_window, reach: position }
    }
}

/// What a scan calls for each entry: key, value.
pub(crate) type Visit<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// The committed entries of one store of one partition, in order of bytes.
pub(crate) trait Committed: Send + Sync {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError>;
    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
        visit: Visit<'_>,
    ) -> Result<(), StateError>;
    fn approximate_len(&self) -> u64;
    fn mark(&self) -> Result<Option<StoreMark>, StateError>;
    /// Writes a batch, all or nothing.
    fn write(&self, batch: &Writes) -> Result<(), StateError>;
    /// Removes everything, the mark too.
    fn wipe(&self) -> Result<(), StateError>;
    /// Keys that must go when these writes come, for a store of bounded size.
    fn overflow(&self, _staged: &Writes) -> Result<Vec<Vec<u8>>, StateError> {
        Ok(Vec::new())
    }
    /// This store's place in a batch over several stores, if its backend has such batches.
    fn place(&self) -> Option<&super::persistent::Place> {
        None
    }
}

/// What takes large sorted writes: the disk under a [`Resident`](super::resident::Resident) store.
pub(crate) trait Disk: Committed {
    /// Writes the mark; it is on disk when this returns.
    fn put_mark(&self, mark: StoreMark) -> Result<(), StateError>;
    /// Calls `fill` with what takes entries in order of keys, each key once (`None` removes it). All of them become visible at the end, or none.
    fn ingest(&self, fill: Fill<'_>) -> Result<(), StateError>;
}

/// Takes one entry.
pub(crate) type Take<'t> = &'t mut dyn FnMut(&[u8], Option<&[u8]>) -> Result<(), StateError>;
/// Gives entries to what takes them.
pub(crate) type Fill<'f> = &'f mut dyn FnMut(Take<'_>) -> Result<(), StateError>;

/// Writes to one store: pairs in any order, the last of a key wins. All of them lie in one piece of memory.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    bytes: Vec<u8>,
    /// Lengths of key and value; no value: removed.
    entries: Vec<(u32, Option<u32>)>,
    pub mark: Option<StoreMark>,
}

impl Writes {
    /// Adds a pair.
    pub(crate) fn push(&mut self, key: &[u8], value: Option<&[u8]>) {
        let added: Result<_, std::convert::Infallible> = self.push_with(
            |out| {
                out.extend_from_slice(key);
                Ok(())
            },
            |out| {
                out.extend_from_slice(value.unwrap_or_default());
                Ok(value.is_some())
            },
        );
        let Ok(_) = added;
    }

    /// Adds a pair that `key` and `value` append to the bytes given; `value` tells whether there is one. Gives the pair back.
    #[inline]
    pub(crate) fn push_with<E>(
        &mut self,
        key: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
        value: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>,
    ) -> Result<(&[u8], Option<&[u8]>), E> {
        let start = self.bytes.len();
        let added = key(&mut self.bytes).and_then(|()| {
            let middle = self.bytes.len();
            Ok((middle, value(&mut self.bytes)?))
        });
        let (middle, present) = match added {
            Ok(added) => added,
            Err(error) => {
                self.bytes.truncate(start);
                return Err(error);
            }
        };
        if !present {
            self.bytes.truncate(middle);
        }
        let value_len = present.then(|| (self.bytes.len() - middle) as u32);
        self.entries.push(((middle - start) as u32, value_len));
        let (key, value) =
            self.bytes.get(start..).unwrap_or_default().split_at_checked(middle - start).unwrap_or_default();
        Ok((key, present.then_some(value)))
    }

    /// Turns the last pair into a removal.
    pub(crate) fn remove_last(&mut self) {
        if let Some((_, value)) = self.entries.last_mut()
            && let Some(len) = value.take()
        {
            self.bytes.truncate(self.bytes.len() - len as usize);
        }
    }

    /// The pairs in the order in which they were added.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let mut rest = self.bytes.as_slice();
        self.entries.iter().map(move |(key, value)| {
            let (key, tail) = rest.split_at_checked(*key as usize).unwrap_or_default();
            let (bytes, tail) = tail.split_at_checked(value.unwrap_or(0) as usize).unwrap_or_default();
            rest = tail;
            (key, value.map(|_| bytes))
        })
    }
}

/// Writes to the stores of one task, to be applied together.
#[derive(Default)]
pub(crate) struct StoreBatch {
    pub stores: Vec<(Arc<dyn Committed>, Writes)>,
}

/// Makes committed stores.
pub(crate) trait Backend: Send + Sync {
    /// Opens a store. One that is `logged` can be made whole from its changelog, so that it may be behind on disk.
    fn open(
        &self,
        store: &str,
        partition: PartitionId,
        logged: bool,
    ) -> Result<Arc<dyn Committed>, StateError>;
    /// The stores and partitions of which something is kept beyond the process.
    fn stored(&self) -> Result<Vec<(String, PartitionId)>, StateError> {
        Ok(Vec::new())
    }
    /// Opens a store that is made elsewhere.
    fn open_supplied(
        &self,
        store: &str,
        partition: PartitionId,
        supplier: &Supplier,
    ) -> Result<Arc<dyn Committed>, StateError> {
        supplier.open(store, partition)
    }
    /// Applies a batch. What is not logged is then on disk, all of it or nothing.
    fn apply(&self, batch: &StoreBatch) -> Result<(), StateError>;
    /// After writes to these stores other than by [`apply`](Self::apply): keeps within the memory budget, and with `flush_due` puts on disk
    /// what has waited for long enough.
    fn tend(&self, _stores: &[Arc<dyn Committed>], _flush_due: bool) -> Result<(), StateError> {
        Ok(())
    }
    /// Puts on disk what is not there yet.
    fn flush(&self) -> Result<(), StateError> {
        Ok(())
    }
}
