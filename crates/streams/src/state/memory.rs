//! Committed state in memory: rebuilt from the changelog at each start.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use vigie_log::PartitionId;

use super::committed::{Backend, Committed, StoreBatch, StoreMark, Visit, Writes};
use super::supplied::Supplier;
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

    fn write(&self, batch: &Writes) -> Result<(), StateError> {
        let mut content = self.lock();
        for (key, value) in batch.iter() {
            match value {
                Some(value) => content.entries.insert(key.to_vec(), value.to_vec()),
                None => content.entries.remove(key),
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
    fn open(&self, _: &str, _: PartitionId, _: bool) -> Result<Arc<dyn Committed>, StateError> {
        Ok(Arc::new(MemoryStore::default()))
    }

    fn apply(&self, batch: &StoreBatch) -> Result<(), StateError> {
        batch.stores.iter().try_for_each(|(store, writes)| store.write(writes))
    }
}

/// Stores in memory that stay when a task lets them go, so that whoever holds the task next in this process finds them as they were
/// committed, as it would find files. [`forget_unused`](Self::forget_unused) frees them.
#[derive(Default)]
pub(crate) struct KeptMemory(Mutex<BTreeMap<(String, PartitionId), Kept>>);

struct Kept {
    store: Arc<dyn Committed>,
    unused_since: Option<Duration>,
}

impl KeptMemory {
    fn keep(
        &self,
        store: &str,
        partition: PartitionId,
        make: impl FnOnce() -> Result<Arc<dyn Committed>, StateError>,
    ) -> Result<Arc<dyn Committed>, StateError> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = match all.entry((store.to_owned(), partition)) {
            Entry::Occupied(kept) => kept.into_mut(),
            Entry::Vacant(place) => place.insert(Kept { store: make()?, unused_since: None }),
        };
        kept.unused_since = None;
        Ok(Arc::clone(&kept.store))
    }

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
    fn open(&self, store: &str, partition: PartitionId, _: bool) -> Result<Arc<dyn Committed>, StateError> {
        self.keep(store, partition, || Ok(Arc::new(MemoryStore::default())))
    }

    fn open_supplied(
        &self,
        store: &str,
        partition: PartitionId,
        supplier: &Supplier,
    ) -> Result<Arc<dyn Committed>, StateError> {
        self.keep(store, partition, || supplier.open(store, partition))
    }

    fn apply(&self, batch: &StoreBatch) -> Result<(), StateError> {
        MemoryBackend.apply(batch)
    }
}

/// Disks of a process in the simulation: memory that survives the process, under the resident stores that the real ones are under.
#[cfg(any(test, feature = "simulation"))]
pub(crate) struct SurvivingBackend {
    disks: Survivors,
    residents: super::resident::Residents,
    /// Tells whether the process dies in the middle of a flush.
    dies: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// What survives.
#[cfg(any(test, feature = "simulation"))]
#[derive(Clone, Default)]
pub(crate) struct Survivors(Arc<std::sync::Mutex<Disks>>);

#[cfg(any(test, feature = "simulation"))]
type Disks = BTreeMap<(String, PartitionId), Arc<MemoryStore>>;

#[cfg(any(test, feature = "simulation"))]
struct SurvivingDisk {
    store: Arc<MemoryStore>,
    dies: Arc<dyn Fn() -> bool + Send + Sync>,
}

#[cfg(any(test, feature = "simulation"))]
impl SurvivingBackend {
    pub(crate) fn new(
        disks: &Survivors,
        budget: &super::MemoryBudget,
        dies: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let residents = super::resident::Residents::new(budget.clone());
        Self { disks: disks.clone(), residents, dies: Arc::new(dies) }
    }
}

#[cfg(any(test, feature = "simulation"))]
impl Backend for SurvivingBackend {
    fn open(
        &self,
        store: &str,
        partition: PartitionId,
        logged: bool,
    ) -> Result<Arc<dyn Committed>, StateError> {
        let held = Arc::clone(
            self.disks
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry((store.to_owned(), partition))
                .or_default(),
        );
        if !logged {
            return Ok(held);
        }
        let dies = Arc::clone(&self.dies);
        self.residents.open(store, partition, || Ok(Arc::new(SurvivingDisk { store: held, dies })))
    }

    fn apply(&self, batch: &StoreBatch) -> Result<(), StateError> {
        MemoryBackend.apply(batch)?;
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

#[cfg(any(test, feature = "simulation"))]
impl Committed for SurvivingDisk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.store.get(key)
    }
    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
        visit: Visit<'_>,
    ) -> Result<(), StateError> {
        self.store.scan(from, to, reverse, visit)
    }
    fn approximate_len(&self) -> u64 {
        self.store.approximate_len()
    }
    fn mark(&self) -> Result<Option<StoreMark>, StateError> {
        self.store.mark()
    }
    fn write(&self, batch: &Writes) -> Result<(), StateError> {
        self.store.write(batch)
    }
    fn wipe(&self) -> Result<(), StateError> {
        self.store.wipe()
    }
}

#[cfg(any(test, feature = "simulation"))]
impl super::committed::Disk for SurvivingDisk {
    fn put_mark(&self, mark: StoreMark) -> Result<(), StateError> {
        self.store.lock().mark = Some(mark);
        Ok(())
    }

    /// Visible all at once; but the process may die behind it, before the mark.
    fn ingest(&self, fill: super::committed::Fill<'_>) -> Result<(), StateError> {
        let died = || StateError::Database {
            place: String::from("simulation"),
            reason: String::from("killed in flush"),
        };
        let mut last: Option<Vec<u8>> = None;
        let mut writes = Writes::default();
        let when = (self.dies)();
        fill(&mut |key, value| {
            assert!(last.as_deref().is_none_or(|last| last < key), "each key once, in order");
            last = Some(key.to_vec());
            writes.push(key, value);
            Ok(())
        })?;
        if when && writes.iter().count() % 2 == 0 {
            return Err(died());
        }
        self.store.write(&writes)?;
        if when { Err(died()) } else { Ok(()) }
    }
}
