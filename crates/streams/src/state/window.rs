//! The window store as a processor sees it.

use std::hash::Hash;
use std::ops::Bound;

use vigie_log::Timestamp;

use super::format::ordered;
use super::{KeyFormat, Retention, TypedStore, WindowKey};
use crate::error::StateError;
use crate::serde::{SerdeError, SerdeRef};

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
        let found = windows_of(self.store, key, from, to)?;
        Ok(found.into_iter().map(|(start, value, _)| (start, value)).collect())
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

/// The windows of a key that start from `from` to `to`, with the times of their last changes, in order of their starts.
pub(crate) fn windows_of<K: Hash + Eq + Clone + Send + 'static, V: Clone + Send + 'static>(
    store: &mut TypedStore<WindowKey<K>, V>,
    key: &K,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<(Timestamp, V, Timestamp)>, StateError> {
    let retention = store.retention.unwrap_or(Retention::of(i64::MAX));
    let ranges = key_ranges(&*store.keys, key, from, to, retention, store.latest())
        .map_err(|source| StateError::Encode { store: store.name.to_string(), source })?;
    let mut found = Vec::new();
    for (low, high) in ranges {
        for entry in store.scan(Bound::Included(low), Bound::Included(high), false)? {
            let (window, value, at) = entry?;
            if window.key == *key && (from..=to).contains(&window.start) {
                found.push((window.start, value, at));
            }
        }
    }
    Ok(found)
}

/// All windows that start from `from` to `to`, expired or not, with the times of their last changes: by start, then by the key's bytes.
pub(crate) fn windows_between<K: Hash + Eq + Clone + Send + 'static, V: Clone + Send + 'static>(
    store: &mut TypedStore<WindowKey<K>, V>,
    key: &SerdeRef<K>,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<(WindowKey<K>, V, Timestamp)>, StateError> {
    let (low, high) = store.segments(from, to);
    let mut found = Vec::new();
    for entry in store.scan(low, high, false)? {
        let (window, value, at) = entry?;
        if (from..=to).contains(&window.start) {
            found.push((window, value, at));
        }
    }
    found.sort_by_cached_key(|(window, ..)| (window.start, key_bytes(key, &window.key)));
    Ok(found)
}

/// The bytes of a key that has been encoded before.
pub(super) fn key_bytes<K>(serde: &SerdeRef<K>, key: &K) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A key that came out of the store has bytes; if not, the order of its results is all that is lost.
    let _ = serde.encode(key, &mut bytes);
    bytes
}

/// More ranges than this are scanned as one.
const MAX_RANGES: i64 = 256;

/// First and last local key, both included.
pub(crate) type KeyRange = (Vec<u8>, Vec<u8>);

/// The ranges of local keys, one a segment or one for all of many, that hold the windows of `key` starting within `from..=to`; windows of other
/// keys and starts may lie between them.
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
    if segment(to) - segment(from) > MAX_RANGES {
        return Ok(vec![(ordered(segment(from)).to_vec(), ordered(segment(to).saturating_add(1)).to_vec())]);
    }
    Ok((segment(from)..=segment(to)).map(|s| (bound(s, from), bound(s, to))).collect())
}
