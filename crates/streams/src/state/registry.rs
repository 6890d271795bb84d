//! Which stores can be asked here now: those of active tasks and those of standby copies, with how fresh the copies are.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use vigie_log::{Clock, Offset, PartitionId};

use super::committed::Committed;
use super::query::{ReadOnlyStore, ReadOnlyWindowStore, StoreTypes};
use super::session_query::ReadOnlySessionStore;
use crate::error::StreamsError;
use crate::state::{SessionKey, WindowKey};

/// How old an answer may be: whether standby copies are asked where the active task runs elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Staleness {
    /// Active tasks only: what is committed.
    #[default]
    Active,
    /// Copies too that lack at most so many records of their changelog.
    Records(u64),
    /// Copies too that were complete within this time. A copy looks about once a second.
    Age(Duration),
    /// Any copy.
    Any,
}

/// How far a standby copy is; shared by the thread that keeps it and those who ask.
#[derive(Default)]
pub(crate) struct Freshness(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    position: Offset,
    end: Option<Offset>,
    complete_at: Option<Duration>,
}

impl Freshness {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The copy has reached `position`; `end`, if it was looked up, is where the changelog ended at `now`.
    pub(crate) fn update(&self, position: Offset, end: Option<Offset>, now: Duration) {
        let mut seen = self.seen();
        seen.position = position;
        if let Some(end) = end {
            seen.end = Some(end.max(position));
            if position >= end {
                seen.complete_at = Some(now);
            }
        }
    }

    /// The next offset to apply, and the end as last seen.
    pub(crate) fn reached(&self) -> (Offset, Offset) {
        let seen = self.seen();
        (seen.position, seen.end.unwrap_or(seen.position))
    }

    fn suffices(&self, staleness: Staleness, now: Duration) -> bool {
        let seen = self.seen();
        match staleness {
            Staleness::Active => false,
            Staleness::Records(most) => {
                seen.end.is_some_and(|end| u64::try_from(end - seen.position).unwrap_or(0) <= most)
            }
            Staleness::Age(most) => seen.complete_at.is_some_and(|at| now.saturating_sub(at) <= most),
            Staleness::Any => true,
        }
    }
}

/// A partition with its committed store.
pub(crate) type Partition = (PartitionId, Arc<dyn Committed>);

struct Held {
    committed: Arc<dyn Committed>,
    /// `None` for an active task.
    standby: Option<Arc<Freshness>>,
}

struct Registered {
    /// A [`StoreTypes`].
    types: Arc<dyn Any + Send + Sync>,
    partitions: BTreeMap<PartitionId, Held>,
    partition_count: u32,
}

/// The stores of a program, with those partitions that are here now.
#[derive(Default)]
pub(crate) struct StoreRegistry {
    all: RwLock<HashMap<Arc<str>, Registered>>,
    clock: Option<Arc<dyn Clock>>,
}

impl StoreRegistry {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { all: RwLock::default(), clock: Some(clock) }
    }

    /// The topology has a store of this name.
    pub(crate) fn know(&self, name: &Arc<str>, types: Arc<dyn Any + Send + Sync>, partition_count: u32) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let registered = Registered { types, partitions: BTreeMap::new(), partition_count };
        all.insert(Arc::clone(name), registered);
    }

    /// A partition of a known store can be asked from now on.
    pub(crate) fn add(
        &self,
        name: &str,
        partition: PartitionId,
        committed: Arc<dyn Committed>,
        standby: Option<Arc<Freshness>>,
    ) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = all.get_mut(name) {
            entry.partitions.insert(partition, Held { committed, standby });
        }
    }

    pub(crate) fn remove(&self, name: &str, partition: PartitionId) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = all.get_mut(name) {
            entry.partitions.remove(&partition);
        }
    }

    /// Entries of each store of active tasks here, about.
    pub(crate) fn sizes(&self) -> BTreeMap<String, u64> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let active = |entry: &Registered| {
            let active = entry.partitions.values().filter(|held| held.standby.is_none());
            active.map(|held| held.committed.approximate_len()).sum()
        };
        let here = all.iter().filter(|(_, entry)| !entry.partitions.is_empty());
        here.map(|(name, entry)| (name.to_string(), active(entry))).collect()
    }

    /// The partitions that may be asked, and how many the store has in all.
    pub(crate) fn partitions(&self, name: &str, staleness: Staleness) -> (Vec<Partition>, u32) {
        let now = self.clock.as_ref().map_or(Duration::ZERO, |clock| clock.monotonic());
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = all.get(name) else { return (Vec::new(), 1) };
        let fresh = |held: &Held| held.standby.as_ref().is_none_or(|seen| seen.suffices(staleness, now));
        let here = entry.partitions.iter().filter(|(_, held)| fresh(held));
        (here.map(|(p, held)| (*p, Arc::clone(&held.committed))).collect(), entry.partition_count)
    }

    /// The types of a store of which something is here.
    pub(crate) fn types<Q: 'static, V: 'static>(
        &self,
        name: &str,
        staleness: Staleness,
    ) -> Result<Arc<StoreTypes<Q, V>>, StreamsError> {
        let types = {
            let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
            let entry = all.get(name).ok_or_else(|| StreamsError::NoSuchStore(name.to_owned()))?;
            Arc::clone(&entry.types)
        };
        let types = types.downcast::<StoreTypes<Q, V>>().map_err(|_| StreamsError::WrongStoreType {
            store: name.to_owned(),
            asked: std::any::type_name::<(Q, V)>(),
        })?;
        let (here, count) = self.partitions(name, staleness);
        // A store without a partition has nothing that could be elsewhere.
        if here.is_empty() && count > 0 {
            return Err(StreamsError::StoreMigrated { store: name.to_owned() });
        }
        Ok(types)
    }

    pub(crate) fn key_value<K: 'static, V: 'static>(
        self: &Arc<Self>,
        name: &str,
        staleness: Staleness,
    ) -> Result<ReadOnlyStore<K, V>, StreamsError> {
        Ok(ReadOnlyStore::new(name, self.types::<K, V>(name, staleness)?, self, staleness))
    }

    pub(crate) fn window<K: 'static, V: 'static>(
        self: &Arc<Self>,
        name: &str,
        staleness: Staleness,
    ) -> Result<ReadOnlyWindowStore<K, V>, StreamsError> {
        Ok(ReadOnlyWindowStore::new(name, self.types::<WindowKey<K>, V>(name, staleness)?, self, staleness))
    }

    pub(crate) fn session<K: 'static, V: 'static>(
        self: &Arc<Self>,
        name: &str,
        staleness: Staleness,
    ) -> Result<ReadOnlySessionStore<K, V>, StreamsError> {
        Ok(ReadOnlySessionStore::new(name, self.types::<SessionKey<K>, V>(name, staleness)?, self, staleness))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_as_fresh_as_it_was_seen() {
        let at = Duration::from_secs;
        let freshness = Freshness::default();
        let suffices = |staleness, now| freshness.suffices(staleness, at(now));
        assert!(!suffices(Staleness::Records(1_000), 0), "nobody has looked where the changelog ends");
        assert!(suffices(Staleness::Any, 0) && !suffices(Staleness::Active, 0));
        freshness.update(10, Some(15), at(1));
        assert!(suffices(Staleness::Records(5), 1) && !suffices(Staleness::Records(4), 1));
        assert!(!suffices(Staleness::Age(at(100)), 1));
        freshness.update(15, Some(15), at(2));
        assert!(suffices(Staleness::Records(0), 2) && suffices(Staleness::Age(at(1)), 3));
        assert!(!suffices(Staleness::Age(at(1)), 4));
        assert_eq!(freshness.reached(), (15, 15));
    }
}
