//! Interactive queries of versioned stores.

use std::sync::Arc;

use vigie_log::Timestamp;

use super::query::{StoreTypes, decode_error};
use super::registry::{Staleness, StoreRegistry};
use super::typed::decode_value;
use super::{Cell, Retention, VersionSlot, VersionedRecord, find_as_of};
use crate::error::{StateError, StreamsError};

impl StoreRegistry {
    pub(crate) fn versioned<K: 'static, V: 'static>(
        self: &Arc<Self>,
        name: &str,
    ) -> Result<ReadOnlyVersionedStore<K, V>, StreamsError> {
        let types = self.types::<VersionSlot<K>, Cell<V>>(name, Staleness::Active)?;
        Ok(ReadOnlyVersionedStore { name: name.into(), types, registry: Arc::clone(self) })
    }
}

/// Committed rows with their history, of all partitions that this program owns now.
pub struct ReadOnlyVersionedStore<K, V> {
    name: Arc<str>,
    types: Arc<StoreTypes<VersionSlot<K>, Cell<V>>>,
    registry: Arc<StoreRegistry>,
}

impl<K: Clone, V> ReadOnlyVersionedStore<K, V> {
    /// The latest committed version of a row.
    pub fn get(&self, key: &K) -> Result<Option<VersionedRecord<V>>, StateError> {
        self.get_as_of(key, Timestamp::MAX)
    }

    /// The committed version of a row that was valid at `timestamp`; `None` too when that is longer ago than the history is kept.
    pub fn get_as_of(&self, key: &K, timestamp: Timestamp) -> Result<Option<VersionedRecord<V>>, StateError> {
        for (_, store) in self.registry.partitions(&self.name, Staleness::Active).0 {
            let observed = store.mark()?.map_or(-1, |mark| mark.observed_time);
            let history = self.types.retention.unwrap_or(Retention::of(i64::MAX));
            let at = timestamp.min(observed);
            let found = find_as_of(key, at, observed, history, &mut |slot| {
                let mut local = Vec::new();
                self.types
                    .keys
                    .local(slot, &mut local)
                    .map_err(|source| StateError::Encode { store: self.name.to_string(), source })?;
                let bytes = store.get(&local)?;
                let cell = bytes.map(|bytes| decode_value(&*self.types.values, &bytes)).transpose();
                cell.map_err(decode_error(&self.name))
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}
