//! Interactive queries: committed state, read from any thread while tasks run.

use std::hash::Hash;
use std::ops::Bound;
use std::sync::Arc;

use vigie_log::{PartitionId, Timestamp, partition_for_key};

use super::committed::Committed;
use super::registry::{Partition, Staleness, StoreRegistry};
use super::scan::Scan;
use super::typed::decode_value;
use super::window::key_ranges;
use super::{KeyFormat, Retention, WindowKey};
use crate::error::StateError;
use crate::serde::{SerdeError, SerdeRef};

/// The types of a store, for readers.
pub(crate) struct StoreTypes<Q, V> {
    pub keys: Arc<dyn KeyFormat<Q>>,
    pub values: SerdeRef<V>,
    pub retention: Option<Retention>,
}

pub(super) fn decode_error(store: &str) -> impl FnOnce(SerdeError) -> StateError {
    let store = store.to_owned();
    move |source| StateError::Decode { store, source }
}

/// Committed keys and values of all partitions that are here now: of active tasks, and of standby copies if [`Staleness`] allows. Follows the tasks as they move.
pub struct ReadOnlyStore<K, V> {
    name: Arc<str>,
    types: Arc<StoreTypes<K, V>>,
    registry: Arc<StoreRegistry>,
    staleness: Staleness,
}

impl<K, V> ReadOnlyStore<K, V> {
    pub(super) fn new(
        name: &str,
        types: Arc<StoreTypes<K, V>>,
        registry: &Arc<StoreRegistry>,
        staleness: Staleness,
    ) -> Self {
        Self { name: name.into(), types, registry: Arc::clone(registry), staleness }
    }

    /// The partitions that are asked now: those of active tasks here, and of standby copies that are fresh enough.
    pub fn partitions(&self) -> Vec<PartitionId> {
        self.held().0.into_iter().map(|(partition, _)| partition).collect()
    }

    fn held(&self) -> (Vec<Partition>, u32) {
        self.registry.partitions(&self.name, self.staleness)
    }
}

impl<K, V> ReadOnlyStore<K, V> {
    /// The committed value of a key. [`StateError::Migrated`] when nothing here has it and its partition, by the default partitioner, is
    /// elsewhere.
    pub fn get(&self, key: &K) -> Result<Option<V>, StateError> {
        Ok(self.get_with_timestamp(key)?.map(|(value, _)| value))
    }

    /// The committed value and its timestamp.
    pub fn get_with_timestamp(&self, key: &K) -> Result<Option<(V, Timestamp)>, StateError> {
        let mut local = Vec::new();
        self.types
            .keys
            .local(key, &mut local)
            .map_err(|source| StateError::Encode { store: self.name.to_string(), source })?;
        let (mut partitions, count) = self.held();
        // The default partitioner's choice first; producers may have chosen otherwise.
        let likely = partition_for_key(&local, count.max(1));
        let here = partitions.iter().any(|(partition, _)| *partition == likely);
        partitions.sort_by_key(|(partition, _)| *partition != likely);
        for (_, store) in partitions {
            if let Some(bytes) = store.get(&local)? {
                return decode_value(&*self.types.values, &bytes).map(Some).map_err(decode_error(&self.name));
            }
        }
        if here || count == 0 {
            return Ok(None);
        }
        Err(StateError::Migrated { store: self.name.to_string(), partition: likely })
    }

    /// All entries, partition by partition, each in order of the keys' bytes. Changes committed meanwhile may or may not show.
    pub fn all(&self) -> impl Iterator<Item = Result<(K, V), StateError>> + '_ {
        self.held().0.into_iter().flat_map(move |(_, store)| {
            let scan = Scan::over_committed(
                &self.name,
                &*self.types.keys,
                &self.types.values,
                store,
                Bound::Unbounded,
                Bound::Unbounded,
                false,
            );
            scan.map(|entry| entry.map(|(key, value, _)| (key, value)))
        })
    }

    /// Entries from `from` to `to`, both included, partition by partition.
    pub fn range(
        &self,
        from: &K,
        to: &K,
    ) -> Result<impl Iterator<Item = Result<(K, V), StateError>> + '_, StateError> {
        let local = |key: &K| {
            let mut out = Vec::new();
            let encoded = self.types.keys.local(key, &mut out);
            encoded
                .map(|()| out)
                .map_err(|source| StateError::Encode { store: self.name.to_string(), source })
        };
        let (from, to) = (local(from)?, local(to)?);
        Ok(self.held().0.into_iter().flat_map(move |(_, store)| {
            let (from, to) = (Bound::Included(from.clone()), Bound::Included(to.clone()));
            Scan::over_committed(&self.name, &*self.types.keys, &self.types.values, store, from, to, false)
                .map(|entry| entry.map(|(key, value, _)| (key, value)))
        }))
    }

    /// Entries, about.
    pub fn approximate_len(&self) -> u64 {
        self.held().0.iter().map(|(_, store)| store.approximate_len()).sum()
    }
}

/// Committed windows of all partitions that are here now: of active tasks, and of standby copies if [`Staleness`] allows.
pub struct ReadOnlyWindowStore<K, V> {
    name: Arc<str>,
    types: Arc<StoreTypes<WindowKey<K>, V>>,
    registry: Arc<StoreRegistry>,
    staleness: Staleness,
}

impl<K, V> ReadOnlyWindowStore<K, V> {
    pub(super) fn new(
        name: &str,
        types: Arc<StoreTypes<WindowKey<K>, V>>,
        registry: &Arc<StoreRegistry>,
        staleness: Staleness,
    ) -> Self {
        Self { name: name.into(), types, registry: Arc::clone(registry), staleness }
    }

    /// The partitions that are asked now: those of active tasks here, and of standby copies that are fresh enough.
    pub fn partitions(&self) -> Vec<PartitionId> {
        self.held().0.into_iter().map(|(partition, _)| partition).collect()
    }

    fn held(&self) -> (Vec<Partition>, u32) {
        self.registry.partitions(&self.name, self.staleness)
    }
}

impl<K: Clone + Hash + Eq, V> ReadOnlyWindowStore<K, V> {
    fn retention(&self) -> Retention {
        self.types.retention.unwrap_or(Retention::of(i64::MAX))
    }

    /// The committed value of a key in the window that starts at `start`.
    pub fn get(&self, key: &K, start: Timestamp) -> Result<Option<V>, StateError> {
        Ok(self.fetch(key, start, start)?.pop().map(|(_, value)| value))
    }

    /// The windows of a key that start from `from` to `to`, both included, in order of time. [`StateError::Migrated`] when nothing here
    /// has one and the key's partition, by the default partitioner, is elsewhere.
    pub fn fetch(&self, key: &K, from: Timestamp, to: Timestamp) -> Result<Vec<(Timestamp, V)>, StateError> {
        let mut found = Vec::new();
        let (partitions, count) = self.held();
        let held: Vec<PartitionId> = partitions.iter().map(|(partition, _)| *partition).collect();
        for (_, store) in partitions {
            let observed = store.mark()?.map_or(-1, |mark| mark.latest_window);
            let ranges = key_ranges(&*self.types.keys, key, from, to, self.retention(), observed)
                .map_err(|source| StateError::Encode { store: self.name.to_string(), source })?;
            for (low, high) in ranges {
                for entry in self.scan(&store, Bound::Included(low), Bound::Included(high)) {
                    let (window, value, _) = entry?;
                    if window.key == *key && (from..=to).contains(&window.start) {
                        found.push((window.start, value));
                    }
                }
            }
        }
        if found.is_empty() && held.len() < count as usize {
            let likely = self.likely_partition(key, count)?;
            if !held.contains(&likely) {
                return Err(StateError::Migrated { store: self.name.to_string(), partition: likely });
            }
        }
        found.sort_by_key(|(start, _)| *start);
        Ok(found)
    }

    /// The default partitioner's choice for a key.
    fn likely_partition(&self, key: &K, count: u32) -> Result<PartitionId, StateError> {
        let mut local = Vec::new();
        let window = WindowKey { key: key.clone(), start: 0 };
        let encoded = self.types.keys.local(&window, &mut local);
        encoded.map_err(|source| StateError::Encode { store: self.name.to_string(), source })?;
        // The key stands between its segment and its start.
        let bytes = local.get(8..local.len().saturating_sub(8)).unwrap_or_default();
        Ok(partition_for_key(bytes, count.max(1)))
    }

    /// All windows that start from `from` to `to`, both included.
    pub fn fetch_all(&self, from: Timestamp, to: Timestamp) -> Result<Vec<(WindowKey<K>, V)>, StateError> {
        let mut found = Vec::new();
        for (_, store) in self.held().0 {
            let observed = store.mark()?.map_or(-1, |mark| mark.latest_window);
            let live = from.max(self.retention().live_from(observed));
            // Segments are the first part of the key, so that old ones are not even read.
            let first = super::format::ordered(live.div_euclid(self.retention().segment_ms)).to_vec();
            for entry in self.scan(&store, Bound::Included(first), Bound::Unbounded) {
                let (window, value, _) = entry?;
                if (live..=to).contains(&window.start) {
                    found.push((window, value));
                }
            }
        }
        Ok(found)
    }

    /// All windows that are kept.
    pub fn all(&self) -> Result<Vec<(WindowKey<K>, V)>, StateError> {
        self.fetch_all(Timestamp::MIN, Timestamp::MAX)
    }

    /// The largest timestamp that the store has seen, over all partitions; `None` before the first.
    pub fn observed_time(&self) -> Result<Option<Timestamp>, StateError> {
        let mut latest = None;
        for (_, store) in self.held().0 {
            latest = latest.max(store.mark()?.map(|mark| mark.observed_time));
        }
        Ok(latest.filter(|at| *at >= 0))
    }

    fn scan(
        &self,
        store: &Arc<dyn Committed>,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
    ) -> Scan<'_, WindowKey<K>, V> {
        let store = Arc::clone(store);
        Scan::over_committed(&self.name, &*self.types.keys, &self.types.values, store, from, to, false)
    }
}
