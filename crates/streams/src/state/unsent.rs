//! Results that wait for the commit, so that a key which changes often is sent on once: Kafka Streams' record cache.
//!
//! What waits is where the value lies in the typed cache, not the value: the newest one is taken when it is sent. Places are valid until
//! the commit, and all are sent before it. As in Kafka Streams, results go in the order of their keys' last changes, with the
//! headers of the last record, beside the row as it was at the commit before; what came and went in between is not sent at all.

use std::hash::Hash;

use vigie_log::Timestamp;

use super::TypedStore;
use crate::record::Headers;

/// The value of an entry before it changed.
pub(crate) struct Before<V> {
    /// Whether there was one.
    pub existed: bool,
    /// A copy, if somebody wants it.
    pub copy: Option<V>,
}

pub(super) struct Unsent<V> {
    slot: usize,
    /// As of the last commit.
    before: Before<V>,
    headers: Headers,
    /// Number of its last change.
    changed: u64,
}

/// What a store has not sent on yet.
pub(super) struct Waiting<V> {
    all: Vec<Unsent<V>>,
    changes: u64,
}

impl<V> Default for Waiting<V> {
    fn default() -> Self {
        Self { all: Vec::new(), changes: 0 }
    }
}

impl<V> Waiting<V> {
    pub(super) fn clear(&mut self) {
        self.all.clear();
        self.changes = 0;
    }
}

/// A result to be sent on.
pub(crate) struct Result<Q, V> {
    pub key: Q,
    pub new: Option<V>,
    pub old: Option<V>,
    pub timestamp: Timestamp,
    pub headers: Headers,
}

impl<Q: Hash + Eq + Clone + Send + 'static, V: Clone + Send + 'static> TypedStore<Q, V> {
    /// Keeps the result that was just put into a slot for the commit. Tells whether it does; a store without cache has its results sent at once.
    #[inline]
    pub(crate) fn hold(&mut self, slot: usize, before: Before<V>, headers: &Headers) -> bool {
        if !self.cached {
            return false;
        }
        let waiting = &mut self.waiting;
        waiting.changes += 1;
        let Some((_, entry)) = self.cache.get_index_mut(slot) else { return false };
        match entry.unsent.checked_sub(1).and_then(|place| waiting.all.get_mut(place as usize)) {
            Some(unsent) => {
                unsent.changed = waiting.changes;
                if !(unsent.headers.is_empty() && headers.is_empty()) {
                    unsent.headers = headers.clone();
                }
            }
            None => {
                let (headers, changed) = (headers.clone(), waiting.changes);
                waiting.all.push(Unsent { slot, before, headers, changed });
                // More entries than this do not fit between two commits.
                entry.unsent = u32::try_from(waiting.all.len()).unwrap_or(0);
            }
        }
        true
    }

    /// All results that wait.
    pub(crate) fn take_unsent(&mut self) -> Vec<Result<Q, V>> {
        let mut all = std::mem::take(&mut self.waiting).all;
        all.sort_unstable_by_key(|unsent| unsent.changed);
        let results = all.into_iter().filter_map(|Unsent { slot, before, headers, .. }| {
            let (key, entry) = self.cache.get_index_mut(slot)?;
            entry.unsent = 0;
            let (new, timestamp) = match &entry.value {
                Some((value, at)) => (Some(value.clone()), *at),
                None => (None, entry.written),
            };
            (new.is_some() || before.existed).then(|| Result {
                key: key.clone(),
                new,
                old: before.copy,
                timestamp,
                headers,
            })
        });
        results.collect()
    }
}
