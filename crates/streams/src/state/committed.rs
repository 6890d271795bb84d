//! Committed state as bytes: what memory and disk must offer.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use vigie_log::{Offset, PartitionId, Timestamp};

use crate::error::StateError;

/// What a store remembers beside its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoreMark {
    /// The next offset of the changelog to apply.
    pub position: Offset,
    /// The largest timestamp ever put: windows behind it minus retention are gone.
    pub observed_time: Timestamp,
    /// The latest window's start (or session's end): what has expired is reckoned from it.
    pub latest_window: Timestamp,
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
    fn write(&self, batch: Writes) -> Result<(), StateError>;
    /// Removes everything, the mark too.
    fn wipe(&self) -> Result<(), StateError>;
    /// This store's place in a batch over several stores, if its backend has such batches.
    fn place(&self) -> Option<&super::persistent::Place> {
        None
    }
}

/// Writes to one store: pairs in any order, the last of a key wins.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    pub entries: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub mark: Option<StoreMark>,
}

/// Writes to the stores of one task, to be applied together.
#[derive(Default)]
pub(crate) struct StoreBatch {
    pub stores: Vec<(Arc<dyn Committed>, Writes)>,
}

/// Makes committed stores.
pub(crate) trait Backend: Send + Sync {
    fn open(&self, store: &str, partition: PartitionId) -> Result<Arc<dyn Committed>, StateError>;
    /// Applies a batch; on disk all of it or nothing.
    fn apply(&self, batch: StoreBatch) -> Result<(), StateError>;
}
