//! The window store as a processor sees it.

use std::hash::Hash;
use std::ops::Bound;

use vigie_log::Timestamp;

use super::format::ordered;
use super::{KeyFormat, Retention, TypedStore, WindowKey};
use crate::error::StateError;
use crate::serde::SerdeError;

/// Values by key and start of window, kept for the store's retention.
pub struct WindowStore<'s, K, V> {
    store: &'s mut TypedStore<WindowKey<K>, V>,
    at: Timestamp,
}

impl<'s, K: Hash + Eq + Clone + Send + 'static, V: Clone + Send + 'static> WindowStore<'s, K, V> {
    pub(crate) fn new(store: &'s mut TypedStore<WindowKey<K>, V>, at: Timestamp) -> Self {
        Self { store, at }
    }

    /// The value of a key in the window that starts at `start`.
    pub fn get(&mut self, key: &K, start: Timestamp) -> Result<Option<V>, StateError> {
        if self.store.expired(start) {
            return Ok(None);
        }
        let key = WindowKey { key: key.clone(), start };
        Ok(self.store.get(&key)?.map(|(value, _)| value.clone()))
    }

    /// Puts a value; `None` removes it. Returns whether the window is still kept; if not, nothing is put.
    pub fn put(&mut self, key: K, start: Timestamp, value: impl Into<Option<V>>) -> Result<bool, StateError> {
        if self.store.expired(start) {
            return Ok(false);
        }
        self.store.put(&WindowKey { key, start }, value.into(), self.at)?;
        Ok(true)
    }

    /// The windows of a key that start from `from` to `to`, both included, in order of time.
    pub fn fetch(
        &mut self,
        key: &K,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Timestamp, V)>, StateError> {
        let retention = self.store.retention.unwrap_or(Retention::of(i64::MAX));
        let observed = self.store.latest();
        let mut found = Vec::new();
        for (low, high) in key_ranges(&*self.store.keys, key, from, to, retention, observed)
            .map_err(|source| StateError::Encode { store: self.store.name.to_string(), source })?
        {
            for entry in self.store.scan(Bound::Included(low), Bound::Included(high), false)? {
                let (window, value, _) = entry?;
                if window.key == *key {
                    found.push((window.start, value));
                }
            }
        }
        Ok(found)
    }

    /// All windows that start from `from` to `to`, both included: by segment, then key, then time.
    pub fn fetch_all(
        &mut self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<impl Iterator<Item = Result<(WindowKey<K>, V), StateError>> + '_, StateError> {
        let from = self.store.retention.map_or(from, |r| from.max(r.live_from(self.store.latest())));
        let scan = self.store.scan(Bound::Unbounded, Bound::Unbounded, false)?;
        Ok(scan.filter_map(move |entry| match entry {
            Ok((window, value, _)) => (from..=to).contains(&window.start).then_some(Ok((window, value))),
            Err(error) => Some(Err(error)),
        }))
    }

    /// All windows that are kept.
    pub fn all(
        &mut self,
    ) -> Result<impl Iterator<Item = Result<(WindowKey<K>, V), StateError>> + '_, StateError> {
        self.fetch_all(Timestamp::MIN, Timestamp::MAX)
    }
}

/// First and last local key, both included.
pub(crate) type KeyRange = (Vec<u8>, Vec<u8>);

/// The ranges of local keys, one a segment, that hold the windows of `key` starting within `from..=to`; windows of longer keys may lie
/// between them.
pub(crate) fn key_ranges<K: Clone>(
    keys: &dyn KeyFormat<WindowKey<K>>,
    key: &K,
    from: Timestamp,
    to: Timestamp,
    retention: Retention,
    observed: Timestamp,
) -> Result<Vec<KeyRange>, SerdeError> {
    let from = from.max(retention.live_from(observed));
    let to = to.min(observed);
    if from > to {
        return Ok(Vec::new());
    }
    // The key between its segment and its start.
    let mut local = Vec::new();
    keys.local(&WindowKey { key: key.clone(), start: from }, &mut local)?;
    let end = local.len().saturating_sub(8);
    let key_bytes = local.get(8..end).unwrap_or_default();
    let bound = |segment: i64, start: Timestamp| {
        let mut bytes = Vec::with_capacity(local.len());
        bytes.extend_from_slice(&ordered(segment));
        bytes.extend_from_slice(key_bytes);
        bytes.extend_from_slice(&ordered(start));
        bytes
    };
    let segment = |time: Timestamp| time.div_euclid(retention.segment_ms);
    Ok((segment(from)..=segment(to)).map(|s| (bound(s, from), bound(s, to))).collect())
}
