//! The key-value store as a processor sees it.

use std::hash::Hash;
use std::ops::Bound;

use vigie_log::Timestamp;

use super::TypedStore;
use crate::error::StateError;

type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// Keys and values of one task, uncommitted changes included.
pub struct KeyValueStore<'s, K, V> {
    store: &'s mut TypedStore<K, V>,
    at: Timestamp,
}

impl<'s, K: Hash + Eq + Clone + Send + 'static, V: Clone + Send + 'static> KeyValueStore<'s, K, V> {
    pub(crate) fn new(store: &'s mut TypedStore<K, V>, at: Timestamp) -> Self {
        Self { store, at }
    }

    /// The value of a key.
    pub fn get(&mut self, key: &K) -> Result<Option<V>, StateError> {
        Ok(self.store.get(key)?.map(|(value, _)| value.clone()))
    }

    /// The value of a key and the time of the record that wrote it.
    pub fn get_with_timestamp(&mut self, key: &K) -> Result<Option<(V, Timestamp)>, StateError> {
        Ok(self.store.get(key)?.cloned())
    }

    /// Puts a value; `None` removes it. The entry carries the current record's timestamp.
    pub fn put(&mut self, key: K, value: impl Into<Option<V>>) -> Result<(), StateError> {
        self.store.put(&key, value.into(), self.at)
    }

    /// Puts a value with a timestamp of one's own.
    pub fn put_at(&mut self, key: K, value: impl Into<Option<V>>, at: Timestamp) -> Result<(), StateError> {
        self.store.put(&key, value.into(), at)
    }

    /// Puts a value unless the key has one; returns the one it has.
    pub fn put_if_absent(&mut self, key: K, value: V) -> Result<Option<V>, StateError> {
        let held = self.get(&key)?;
        if held.is_none() {
            self.put(key, value)?;
        }
        Ok(held)
    }

    /// Removes a key; returns what it had.
    pub fn delete(&mut self, key: &K) -> Result<Option<V>, StateError> {
        let slot = self.store.slot(key)?;
        let held = self.store.take(slot).map(|(value, _)| value);
        self.store.set(slot, None, self.at);
        Ok(held)
    }

    fn bounds(&self, from: Bound<&K>, to: Bound<&K>) -> Result<Bounds, StateError> {
        let encode = |bound: Bound<&K>| -> Result<Bound<Vec<u8>>, StateError> {
            let local = |key: &K| {
                let mut out = Vec::new();
                let encoded = self.store.keys.local(key, &mut out);
                encoded
                    .map(|()| out)
                    .map_err(|source| StateError::Encode { store: self.store.name.to_string(), source })
            };
            Ok(match bound {
                Bound::Included(key) => Bound::Included(local(key)?),
                Bound::Excluded(key) => Bound::Excluded(local(key)?),
                Bound::Unbounded => Bound::Unbounded,
            })
        };
        Ok((encode(from)?, encode(to)?))
    }

    /// All entries, in order of the keys' bytes.
    pub fn all(&mut self) -> Result<impl Iterator<Item = Result<(K, V), StateError>> + '_, StateError> {
        self.scan(Bound::Unbounded, Bound::Unbounded, false)
    }

    /// All entries, in reverse order.
    pub fn reverse_all(
        &mut self,
    ) -> Result<impl Iterator<Item = Result<(K, V), StateError>> + '_, StateError> {
        self.scan(Bound::Unbounded, Bound::Unbounded, true)
    }

    /// Entries from `from` to `to`, both included, in order of the keys' bytes.
    pub fn range(
        &mut self,
        from: &K,
        to: &K,
    ) -> Result<impl Iterator<Item = Result<(K, V), StateError>> + '_, StateError> {
        let (from, to) = self.bounds(Bound::Included(from), Bound::Included(to))?;
        self.scan(from, to, false)
    }

    /// As [`range`](Self::range), in reverse order.
    pub fn reverse_range(
        &mut self,
        from: &K,
        to: &K,
    ) -> Result<impl Iterator<Item = Result<(K, V), StateError>> + '_, StateError> {
        let (from, to) = self.bounds(Bound::Included(from), Bound::Included(to))?;
        self.scan(from, to, true)
    }

    /// Entries whose key's bytes begin with `prefix`.
    pub fn prefix(
        &mut self,
        prefix: &[u8],
    ) -> Result<impl Iterator<Item = Result<(K, V), StateError>> + '_, StateError> {
        self.scan(Bound::Included(prefix.to_vec()), after_prefix(prefix), false)
    }

    fn scan(
        &mut self,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        reverse: bool,
    ) -> Result<impl Iterator<Item = Result<(K, V), StateError>> + '_, StateError> {
        let scan = self.store.scan(from, to, reverse)?;
        Ok(scan.map(|entry| entry.map(|(key, value, _)| (key, value))))
    }

    /// Entries committed, about.
    pub fn approximate_len(&self) -> u64 {
        super::AnyStore::approximate_len(self.store)
    }
}

/// The first key behind all those that begin with `prefix`.
pub(crate) fn after_prefix(prefix: &[u8]) -> Bound<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Bound::Excluded(end);
        }
    }
    Bound::Unbounded
}
