//! Interactive queries: committed state, read from any thread while tasks run.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use vigie_log::{PartitionId, Timestamp, partition_for_key};

use super::committed::Committed;
use super::scan::Scan;
use super::typed::decode_value;
use super::window::key_ranges;
use super::{KeyFormat, Retention, WindowKey};
use crate::error::{StateError, StreamsError};
use crate::serde::{SerdeError, SerdeRef};

/// The types of a store, for readers.
pub(crate) struct StoreTypes<Q, V> {
    pub keys: Arc<dyn KeyFormat<Q>>,
    pub values: SerdeRef<V>,
    pub retention: Option<Retention>,
}

/// A partition with its committed store.
type Partition = (PartitionId, Arc<dyn Committed>);

struct Registered {
    /// A [`StoreTypes`].
    types: Arc<dyn Any + Send + Sync>,
    partitions: BTreeMap<PartitionId, Arc<dyn Committed>>,
    partition_count: u32,
}

/// The stores of the tasks that run here now.
#[derive(Default)]
pub(crate) struct StoreRegistry(RwLock<HashMap<Arc<str>, Registered>>);

impl StoreRegistry {
    pub(crate) fn add(
        &self,
        name: &Arc<str>,
        types: Arc<dyn Any + Send + Sync>,
        partition: PartitionId,
        partition_count: u32,
        committed: Arc<dyn Committed>,
    ) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let entry = all.entry(Arc::clone(name)).or_insert_with(|| Registered {
            types,
            partitions: BTreeMap::new(),
            partition_count,
        });
        entry.partition_count = partition_count;
        entry.partitions.insert(partition, committed);
    }

    pub(crate) fn remove(&self, name: &str, partition: PartitionId) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = all.get_mut(name) {
            entry.partitions.remove(&partition);
        }
    }

    /// Entries of each store here, about.
    pub(crate) fn sizes(&self) -> BTreeMap<String, u64> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .map(|(name, entry)| {
                (name.to_string(), entry.partitions.values().map(|store| store.approximate_len()).sum())
            })
            .collect()
    }

    fn types<Q: 'static, V: 'static>(&self, name: &str) -> Result<Arc<StoreTypes<Q, V>>, StreamsError> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let entry = all.get(name).ok_or_else(|| StreamsError::NoSuchStore(name.to_owned()))?;
        Arc::clone(&entry.types).downcast::<StoreTypes<Q, V>>().map_err(|_| StreamsError::WrongStoreType {
            store: name.to_owned(),
            asked: std::any::type_name::<(Q, V)>(),
        })
    }

    fn partitions(&self, name: &str) -> (Vec<Partition>, u32) {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(name).map_or((Vec::new(), 1), |entry| {
            (
                entry.partitions.iter().map(|(p, store)| (*p, Arc::clone(store))).collect(),
                entry.partition_count,
            )
        })
    }

    pub(crate) fn key_value<K: 'static, V: 'static>(
        self: &Arc<Self>,
        name: &str,
    ) -> Result<ReadOnlyStore<K, V>, StreamsError> {
        let types = self.types::<K, V>(name)?;
        Ok(ReadOnlyStore { name: name.into(), types, registry: Arc::clone(self) })
    }

    pub(crate) fn window<K: 'static, V: 'static>(
        self: &Arc<Self>,
        name: &str,
    ) -> Result<ReadOnlyWindowStore<K, V>, StreamsError> {
        let types = self.types::<WindowKey<K>, V>(name)?;
        Ok(ReadOnlyWindowStore { name: name.into(), types, registry: Arc::clone(self) })
    }
}

fn decode_error(store: &str) -> impl FnOnce(SerdeError) -> StateError {
    let store = store.to_owned();
    move |source| StateError::Decode { store, source }
}

/// Committed keys and values of all partitions that this program owns now. Follows the tasks as they move.
pub struct ReadOnlyStore<K, V> {
    name: Arc<str>,
    types: Arc<StoreTypes<K, V>>,
    registry: Arc<StoreRegistry>,
}

impl<K, V> ReadOnlyStore<K, V> {
    /// The committed value of a key; `None` also when its partition is not owned by this program.
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
        let (mut partitions, count) = self.registry.partitions(&self.name);
        // The default partitioner's choice first; producers may have chosen otherwise.
        let likely = partition_for_key(&local, count);
        partitions.sort_by_key(|(partition, _)| *partition != likely);
        for (_, store) in partitions {
            if let Some(bytes) = store.get(&local)? {
                return decode_value(&*self.types.values, &bytes).map(Some).map_err(decode_error(&self.name));
            }
        }
        Ok(None)
    }

    /// All entries, partition by partition, each in order of the keys' bytes. Changes committed meanwhile may or may not show.
    pub fn all(&self) -> impl Iterator<Item = Result<(K, V), StateError>> + '_ {
        self.registry.partitions(&self.name).0.into_iter().flat_map(move |(_, store)| {
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
        Ok(self.registry.partitions(&self.name).0.into_iter().flat_map(move |(_, store)| {
            let (from, to) = (Bound::Included(from.clone()), Bound::Included(to.clone()));
            Scan::over_committed(&self.name, &*self.types.keys, &self.types.values, store, from, to, false)
                .map(|entry| entry.map(|(key, value, _)| (key, value)))
        }))
    }

    /// Entries, about.
    pub fn approximate_len(&self) -> u64 {
        self.registry.partitions(&self.name).0.iter().map(|(_, store)| store.approximate_len()).sum()
    }
}

/// Committed windows of all partitions that this program owns now.
pub struct ReadOnlyWindowStore<K, V> {
    name: Arc<str>,
    types: Arc<StoreTypes<WindowKey<K>, V>>,
    registry: Arc<StoreRegistry>,
}

impl<K: Clone + Hash + Eq, V> ReadOnlyWindowStore<K, V> {
    fn retention(&self) -> Retention {
        self.types.retention.unwrap_or(Retention::of(i64::MAX))
    }

    /// The committed value of a key in the window that starts at `start`.
    pub fn get(&self, key: &K, start: Timestamp) -> Result<Option<V>, StateError> {
        Ok(self.fetch(key, start, start)?.pop().map(|(_, value)| value))
    }

    /// The windows of a key that start from `from` to `to`, both included, in order of time.
    pub fn fetch(&self, key: &K, from: Timestamp, to: Timestamp) -> Result<Vec<(Timestamp, V)>, StateError> {
        let mut found = Vec::new();
        for (_, store) in self.registry.partitions(&self.name).0 {
            let observed = store.mark()?.map_or(-1, |mark| mark.observed_time);
            let ranges = key_ranges(&*self.types.keys, key, from, to, self.retention(), observed)
                .map_err(|source| StateError::Encode { store: self.name.to_string(), source })?;
            for (low, high) in ranges {
                for entry in self.scan(&store, Bound::Included(low), Bound::Included(high)) {
                    let (window, value, _) = entry?;
                    if window.key == *key {
                        found.push((window.start, value));
                    }
                }
            }
        }
        found.sort_by_key(|(start, _)| *start);
        Ok(found)
    }

    /// All windows that start from `from` to `to`, both included.
    pub fn fetch_all(&self, from: Timestamp, to: Timestamp) -> Result<Vec<(WindowKey<K>, V)>, StateError> {
        let mut found = Vec::new();
        for (_, store) in self.registry.partitions(&self.name).0 {
            let observed = store.mark()?.map_or(-1, |mark| mark.observed_time);
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
        for (_, store) in self.registry.partitions(&self.name).0 {
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
