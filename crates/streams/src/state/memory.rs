//! Committed state in memory: rebuilt from the changelog at each start.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use vigie_log::PartitionId;

use super::committed::{Backend, Committed, StoreBatch, StoreMark, Visit, Writes};
use crate::error::StateError;

#[derive(Default)]
struct Content {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    mark: Option<StoreMark>,
}

#[derive(Default)]
struct MemoryStore(RwLock<Content>);

impl MemoryStore {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Content> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
    fn lock(&self) -> std::sync::RwLockWriteGuard<'_, Content> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a range holds nothing by its bounds alone; `BTreeMap::range` panics on some of these.
pub(super) fn is_empty_range(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Included(a), Bound::Included(b)) => a > b,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Included(b) | Bound::Excluded(b)) => a >= b,
        _ => false,
    }
}

impl Committed for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        Ok(self.read().entries.get(key).cloned())
    }

    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
        visit: Visit<'_>,
    ) -> Result<(), StateError> {
        if is_empty_range(from, to) {
            return Ok(());
        }
        let content = self.read();
        let mut range = content.entries.range::<[u8], _>((from, to));
        while let Some((key, value)) = if reverse { range.next_back() } else { range.next() } {
            if visit(key, value) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn approximate_len(&self) -> u64 {
        self.read().entries.len() as u64
    }

    fn mark(&self) -> Result<Option<StoreMark>, StateError> {
        Ok(self.read().mark)
    }

    fn write(&self, batch: Writes) -> Result<(), StateError> {
        let mut content = self.lock();
        for (key, value) in batch.entries {
            match value {
                Some(value) => content.entries.insert(key, value),
                None => content.entries.remove(&key),
            };
        }
        if batch.mark.is_some() {
            content.mark = batch.mark;
        }
        Ok(())
    }

    fn wipe(&self) -> Result<(), StateError> {
        *self.lock() = Content::default();
        Ok(())
    }
}

/// Stores in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryBackend;

impl Backend for MemoryBackend {
    fn open(&self, _: &str, _: PartitionId) -> Result<Arc<dyn Committed>, StateError> {
        Ok(Arc::new(MemoryStore::default()))
    }

    fn apply(&self, batch: StoreBatch) -> Result<(), StateError> {
        batch.stores.into_iter().try_for_each(|(store, writes)| store.write(writes))
    }
}

/// Stores in memory that stay when a task lets them go, so that whoever holds the task next in this process finds them as they were
/// committed, as it would find files. [`forget_unused`](Self::forget_unused) frees them.
#[derive(Default)]
pub(crate) struct KeptMemory(Mutex<BTreeMap<(String, PartitionId), Kept>>);

struct Kept {
    store: Arc<MemoryStore>,
    unused_since: Option<Duration>,
}

impl KeptMemory {
    /// Frees what nobody has used for this long; `now` is any clock that goes on.
    pub(crate) fn forget_unused(&self, now: Duration, after: Duration) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, kept| {
            // Every task, copy and query that uses it holds a reference of its own.
            if Arc::strong_count(&kept.store) > 1 {
                kept.unused_since = None;
                return true;
            }
            let since = *kept.unused_since.get_or_insert(now);
            now.saturating_sub(since) < after
        });
    }
}

impl Backend for KeptMemory {
    fn open(&self, store: &str, partition: PartitionId) -> Result<Arc<dyn Committed>, StateError> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = all
            .entry((store.to_owned(), partition))
            .or_insert_with(|| Kept { store: Arc::default(), unused_since: None });
        kept.unused_since = None;
        Ok(Arc::clone(&kept.store) as Arc<dyn Committed>)
    }

    fn apply(&self, batch: StoreBatch) -> Result<(), StateError> {
        MemoryBackend.apply(batch)
    }
}

/// Stores in memory that survive being closed, as files do: for the simulation.
#[cfg(test)]
#[derive(Default, Clone)]
pub(crate) struct SurvivingBackend(Arc<Mutex<Survivors>>);

#[cfg(test)]
type Survivors = BTreeMap<(String, PartitionId), Arc<MemoryStore>>;

#[cfg(test)]
impl Backend for SurvivingBackend {
    fn open(&self, store: &str, partition: PartitionId) -> Result<Arc<dyn Committed>, StateError> {
        let mut all = self.0.lock().unwrap();
        Ok(Arc::clone(all.entry((store.to_owned(), partition)).or_default()) as Arc<dyn Committed>)
    }

    fn apply(&self, batch: StoreBatch) -> Result<(), StateError> {
        MemoryBackend.apply(batch)
    }
}
