//! Interactive queries: committed state, read from any thread while tasks run.

use std::hash::Hash;
use std::ops::Bound;
use std::sync::Arc;

use vigie_log::{PartitionId, Timestamp, partition_for_key};

use super::committed::Committed;
use super::key_value::after_prefix;
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
        let local = self.local(key)?;
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
        self.scan(Bound::Unbounded, Bound::Unbounded, false)
    }

    /// All entries in the reverse order, the last partition first.
    ///
    /// ```
    /// use vigie_streams::serde::{I64, Utf8};
    /// use vigie_streams::{Consumed, Store, StreamsBuilder, TopologyTestDriver};
    /// let mut builder = StreamsBuilder::new();
    /// builder.table("prices", Consumed::<String, i64>::default(), Store::named("prices"));
    /// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
    /// for (name, price) in [("tea", 3), ("teapot", 30), ("coffee", 4), ("milk", 1)] {
    ///     driver.input("prices", Utf8, I64).pipe(&name.into(), &price, 0)?;
    /// }
    /// let prices = driver.store::<String, i64>("prices")?;
    /// let backwards: Vec<(String, i64)> = prices.reverse_all().collect::<Result<_, _>>()?;
    /// assert_eq!(backwards[0], ("teapot".into(), 30));
    /// let teas: Vec<(String, i64)> = prices.prefix(b"tea").collect::<Result<_, _>>()?;
    /// assert_eq!(teas, [("tea".into(), 3), ("teapot".into(), 30)]);
    /// let (from, to) = ("d".to_owned(), "tea".to_owned());
    /// let between: Vec<(String, i64)> = prices.reverse_range(&from, &to)?.collect::<Result<_, _>>()?;
    /// assert_eq!(between, [("tea".into(), 3), ("milk".into(), 1)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reverse_all(&self) -> impl Iterator<Item = Result<(K, V), StateError>> + '_ {
        self.scan(Bound::Unbounded, Bound::Unbounded, true)
    }

    /// Entries from `from` to `to`, both included, partition by partition, each in order of the keys' bytes.
    pub fn range(
        &self,
        from: &K,
        to: &K,
    ) -> Result<impl Iterator<Item = Result<(K, V), StateError>> + '_, StateError> {
        Ok(self.scan(Bound::Included(self.local(from)?), Bound::Included(self.local(to)?), false))
    }

    /// Entries from `from` to `to`, both included, in the reverse order, the last partition first.
    pub fn reverse_range(
        &self,
        from: &K,
        to: &K,
    ) -> Result<impl Iterator<Item = Result<(K, V), StateError>> + '_, StateError> {
        Ok(self.scan(Bound::Included(self.local(from)?), Bound::Included(self.local(to)?), true))
    }

    /// Entries whose key's bytes begin with `prefix`, partition by partition, each in order of the keys' bytes (Kafka Streams: `prefixScan`).
    pub fn prefix(&self, prefix: &[u8]) -> impl Iterator<Item = Result<(K, V), StateError>> + '_ {
        self.scan(Bound::Included(prefix.to_vec()), after_prefix(prefix), false)
    }

    fn local(&self, key: &K) -> Result<Vec<u8>, StateError> {
        let mut out = Vec::new();
        let encoded = self.types.keys.local(key, &mut out);
        encoded.map_err(|source| StateError::Encode { store: self.name.to_string(), source })?;
        Ok(out)
    }

    fn scan(
        &self,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        reverse: bool,
    ) -> impl Iterator<Item = Result<(K, V), StateError>> + '_ {
        let mut partitions = self.held().0;
        if reverse {
            partitions.reverse();
        }
        partitions.into_iter().flat_map(move |(_, store)| {
            let (keys, values) = (&*self.types.keys, &self.types.values);
            Scan::over_committed(&self.name, keys, values, store, from.clone(), to.clone(), reverse)
                .map(|entry| entry.map(|(key, value, _)| (key, value)))
        })
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
        Ok(partition_for_key(&self.key_bytes(key)?, count.max(1)))
    }

    fn key_bytes(&self, key: &K) -> Result<Vec<u8>, StateError> {
        let mut local = Vec::new();
        let window = WindowKey { key: key.clone(), start: 0 };
        let encoded = self.types.keys.local(&window, &mut local);
        encoded.map_err(|source| StateError::Encode { store: self.name.to_string(), source })?;
        // The key stands between its segment and its start.
        local.truncate(local.len().saturating_sub(8));
        Ok(local.split_off(local.len().min(8)))
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

    /// As [`fetch`](Self::fetch), the latest window first (Kafka Streams: `backwardFetch`).
    ///
    /// ```
    /// use std::time::Duration;
    /// use vigie_streams::serde::Utf8;
    /// use vigie_streams::{Consumed, Store, StreamsBuilder, TimeWindows, TopologyTestDriver};
    /// let mut builder = StreamsBuilder::new();
    /// builder
    ///     .stream("clicks", Consumed::<String, String>::default())
    ///     .group_by_key()
    ///     .windowed_by(TimeWindows::tumbling(Duration::from_secs(10)).grace(Duration::from_secs(60)))
    ///     .count(Store::named("clicks"));
    /// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
    /// for (user, at) in [("ann", 1_000), ("ann", 2_000), ("bob", 3_000), ("ann", 21_000)] {
    ///     driver.input("clicks", Utf8, Utf8).pipe(&user.into(), &"/".into(), at)?;
    /// }
    /// let clicks = driver.window_store::<String, i64>("clicks")?;
    /// assert_eq!(clicks.backward_fetch(&"ann".into(), 0, 30_000)?, [(20_000, 1), (0, 2)]);
    /// assert_eq!(clicks.backward_all()?[0].1, 1);
    /// let of_two = clicks.fetch_range(&"ann".into(), &"bob".into(), 0, 9_999)?;
    /// assert_eq!(of_two.iter().map(|(window, n)| (window.key.as_str(), *n)).collect::<Vec<_>>(), [("ann", 2), ("bob", 1)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn backward_fetch(
        &self,
        key: &K,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Timestamp, V)>, StateError> {
        let mut found = self.fetch(key, from, to)?;
        found.reverse();
        Ok(found)
    }

    /// The windows of the keys from `first` to `last`, in order of their bytes and both included, that start from `from` to `to`, both
    /// included; in the order of [`fetch_all`](Self::fetch_all).
    pub fn fetch_range(
        &self,
        first: &K,
        last: &K,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(WindowKey<K>, V)>, StateError> {
        let keys = self.key_bytes(first)?..=self.key_bytes(last)?;
        let mut found = Vec::new();
        for (window, value) in self.fetch_all(from, to)? {
            if keys.contains(&self.key_bytes(&window.key)?) {
                found.push((window, value));
            }
        }
        Ok(found)
    }

    /// As [`fetch_range`](Self::fetch_range), in the reverse order (Kafka Streams: `backwardFetch`).
    pub fn backward_fetch_range(
        &self,
        first: &K,
        last: &K,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(WindowKey<K>, V)>, StateError> {
        let mut found = self.fetch_range(first, last, from, to)?;
        found.reverse();
        Ok(found)
    }

    /// As [`fetch_all`](Self::fetch_all), in the reverse order (Kafka Streams: `backwardFetchAll`).
    pub fn backward_fetch_all(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(WindowKey<K>, V)>, StateError> {
        let mut found = self.fetch_all(from, to)?;
        found.reverse();
        Ok(found)
    }

    /// All windows that are kept, in the reverse order (Kafka Streams: `backwardAll`).
    pub fn backward_all(&self) -> Result<Vec<(WindowKey<K>, V)>, StateError> {
        self.backward_fetch_all(Timestamp::MIN, Timestamp::MAX)
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
