//! Interactive queries of session stores: committed state, read from any thread while tasks run.

use std::hash::Hash;
use std::ops::Bound;
use std::sync::Arc;

use vigie_log::{PartitionId, Timestamp};

use super::SessionKey;
use super::committed::Committed;
use super::query::StoreTypes;
use super::registry::{Staleness, StoreRegistry};
use super::scan::Scan;
use super::session::session_ranges;
use crate::error::StateError;

/// Committed sessions of all partitions that are here now: of active tasks, and of standby copies if [`Staleness`] allows.
pub struct ReadOnlySessionStore<K, V> {
    name: Arc<str>,
    types: Arc<StoreTypes<SessionKey<K>, V>>,
    registry: Arc<StoreRegistry>,
    staleness: Staleness,
}

impl<K, V> ReadOnlySessionStore<K, V> {
    pub(super) fn new(
        name: &str,
        types: Arc<StoreTypes<SessionKey<K>, V>>,
        registry: &Arc<StoreRegistry>,
        staleness: Staleness,
    ) -> Self {
        Self { name: name.into(), types, registry: Arc::clone(registry), staleness }
    }

    /// The partitions that are asked now: those of active tasks here, and of standby copies that are fresh enough.
    pub fn partitions(&self) -> Vec<PartitionId> {
        let held = self.registry.partitions(&self.name, self.staleness).0;
        held.into_iter().map(|(partition, _)| partition).collect()
    }
}

impl<K: Clone + Hash + Eq, V> ReadOnlySessionStore<K, V> {
    /// The committed value of one session; `None` also where its partition is elsewhere.
    pub fn get(&self, session: &SessionKey<K>) -> Result<Option<V>, StateError> {
        let mut found = self.find(&session.key, session.end, session.start)?;
        found.retain(|(held, _)| held == session);
        Ok(found.pop().map(|(_, value)| value))
    }

    /// All sessions of a key, in order of their ends.
    pub fn fetch(&self, key: &K) -> Result<Vec<(SessionKey<K>, V)>, StateError> {
        self.find(key, Timestamp::MIN, Timestamp::MAX)
    }

    /// The sessions of a key that end at or after `earliest_end` and start at or before `latest_start`, in order of their ends.
    pub fn find(
        &self,
        key: &K,
        earliest_end: Timestamp,
        latest_start: Timestamp,
    ) -> Result<Vec<(SessionKey<K>, V)>, StateError> {
        let mut found = Vec::new();
        self.each(|store, latest| {
            let Some(retention) = self.types.retention else { return Ok(()) };
            let from = earliest_end.max(retention.live_from(latest));
            let ranges = session_ranges(&*self.types.keys, key, from, latest_start, retention, latest)
                .map_err(|source| StateError::Encode { store: self.name.to_string(), source })?;
            for (low, high) in ranges {
                for entry in self.scan(store, Bound::Included(low), Bound::Included(high)) {
                    let (session, value, _) = entry?;
                    if session.key == *key && session.end >= from && session.start <= latest_start {
                        found.push((session, value));
                    }
                }
            }
            Ok(())
        })?;
        found.sort_by_key(|(session, _)| (session.end, session.start));
        Ok(found)
    }

    /// As [`fetch`](Self::fetch), the session that ends last first (Kafka Streams: `backwardFetch`).
    ///
    /// ```
    /// use std::time::Duration;
    /// use vigie_streams::serde::Utf8;
    /// use vigie_streams::{Consumed, SessionWindows, Store, StreamsBuilder, TopologyTestDriver};
    /// let mut builder = StreamsBuilder::new();
    /// builder
    ///     .stream("pages", Consumed::<String, String>::default())
    ///     .group_by_key()
    ///     .windowed_by(SessionWindows::with_gap(Duration::from_secs(30)).grace(Duration::from_secs(300)))
    ///     .count(Store::named("visits"));
    /// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
    /// for at in [0, 20_000, 100_000] {
    ///     driver.input("pages", Utf8, Utf8).pipe(&"ann".into(), &"/".into(), at)?;
    /// }
    /// let visits = driver.session_store::<String, i64>("visits")?;
    /// let ends = |found: Vec<(vigie_streams::SessionKey<String>, i64)>| found.iter().map(|(visit, _)| visit.end).collect::<Vec<_>>();
    /// assert_eq!(ends(visits.backward_fetch(&"ann".into())?), [100_000, 20_000]);
    /// assert_eq!(ends(visits.backward_find(&"ann".into(), 10_000, 90_000)?), [20_000]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn backward_fetch(&self, key: &K) -> Result<Vec<(SessionKey<K>, V)>, StateError> {
        self.backward_find(key, Timestamp::MIN, Timestamp::MAX)
    }

    /// As [`find`](Self::find), the session that ends last first (Kafka Streams: `backwardFindSessions`).
    pub fn backward_find(
        &self,
        key: &K,
        earliest_end: Timestamp,
        latest_start: Timestamp,
    ) -> Result<Vec<(SessionKey<K>, V)>, StateError> {
        let mut found = self.find(key, earliest_end, latest_start)?;
        found.reverse();
        Ok(found)
    }

    /// All sessions of the keys from `first` to `last`, in order of their bytes and both included; in the order of [`all`](Self::all).
    pub fn fetch_range(&self, first: &K, last: &K) -> Result<Vec<(SessionKey<K>, V)>, StateError> {
        let keys = self.key_bytes(first)?..=self.key_bytes(last)?;
        let mut found = Vec::new();
        for (session, value) in self.all()? {
            if keys.contains(&self.key_bytes(&session.key)?) {
                found.push((session, value));
            }
        }
        Ok(found)
    }

    /// As [`fetch_range`](Self::fetch_range), in the reverse order (Kafka Streams: `backwardFetch`).
    pub fn backward_fetch_range(&self, first: &K, last: &K) -> Result<Vec<(SessionKey<K>, V)>, StateError> {
        let mut found = self.fetch_range(first, last)?;
        found.reverse();
        Ok(found)
    }

    fn key_bytes(&self, key: &K) -> Result<Vec<u8>, StateError> {
        let mut local = Vec::new();
        let session = SessionKey { key: key.clone(), start: 0, end: 0 };
        let encoded = self.types.keys.local(&session, &mut local);
        encoded.map_err(|source| StateError::Encode { store: self.name.to_string(), source })?;
        // The key stands between its segment and its two bounds.
        local.truncate(local.len().saturating_sub(16));
        Ok(local.split_off(local.len().min(8)))
    }

    /// All sessions that are kept, partition by partition: by segment, then key, then end.
    pub fn all(&self) -> Result<Vec<(SessionKey<K>, V)>, StateError> {
        let mut found = Vec::new();
        self.each(|store, latest| {
            let live = self.types.retention.map_or(Timestamp::MIN, |r| r.live_from(latest));
            for entry in self.scan(store, Bound::Unbounded, Bound::Unbounded) {
                let (session, value, _) = entry?;
                if session.end >= live {
                    found.push((session, value));
                }
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn each(
        &self,
        mut visit: impl FnMut(&Arc<dyn Committed>, Timestamp) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        for (_, store) in self.registry.partitions(&self.name, self.staleness).0 {
            let latest = store.mark()?.map_or(-1, |mark| mark.latest_window);
            visit(&store, latest)?;
        }
        Ok(())
    }

    fn scan(
        &self,
        store: &Arc<dyn Committed>,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
    ) -> Scan<'_, SessionKey<K>, V> {
        let store = Arc::clone(store);
        Scan::over_committed(&self.name, &*self.types.keys, &self.types.values, store, from, to, false)
    }
}
