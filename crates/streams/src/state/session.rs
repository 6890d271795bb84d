//! The session store as a processor sees it.

use std::hash::Hash;
use std::ops::Bound;

use vigie_log::Timestamp;

use super::window::{KeyRange, key_bytes};
use super::{KeyFormat, Retention, SessionKey, TypedStore};
use crate::error::StateError;
use crate::serde::{SerdeError, SerdeRef};
use crate::state::format::ordered;

/// Values by key and session, kept for the store's retention.
pub struct SessionStore<'s, K, V> {
    store: &'s mut TypedStore<SessionKey<K>, V>,
    at: Timestamp,
}

impl<'s, K: Hash + Eq + Clone + Send + 'static, V: Clone + Send + 'static> SessionStore<'s, K, V> {
    pub(crate) fn new(store: &'s mut TypedStore<SessionKey<K>, V>, at: Timestamp) -> Self {
        Self { store, at }
    }

    /// The value of one session.
    pub fn get(&mut self, session: &SessionKey<K>) -> Result<Option<V>, StateError> {
        if self.store.expired(session.end) {
            return Ok(None);
        }
        Ok(self.store.get(session)?.map(|(value, _)| value.clone()))
    }

    /// Puts a session's value; `None` removes it. Returns whether the session is still kept; if not, nothing is put.
    pub fn put(&mut self, session: SessionKey<K>, value: impl Into<Option<V>>) -> Result<bool, StateError> {
        if self.store.expired(session.end) {
            return Ok(false);
        }
        self.store.put(&session, value.into(), self.at)?;
        Ok(true)
    }

    /// The sessions of a key that end at or after `earliest_end` and start at or before `latest_start`, in order of their ends.
    pub fn find(
        &mut self,
        key: &K,
        earliest_end: Timestamp,
        latest_start: Timestamp,
    ) -> Result<Vec<(SessionKey<K>, V)>, StateError> {
        find_sessions(self.store, key, earliest_end, latest_start)
    }

    /// All sessions that are kept: by segment, then key, then end.
    pub fn all(
        &mut self,
    ) -> Result<impl Iterator<Item = Result<(SessionKey<K>, V), StateError>> + '_, StateError> {
        let live = self.store.retention.map_or(Timestamp::MIN, |r| r.live_from(self.store.latest()));
        let scan = self.store.scan(Bound::Unbounded, Bound::Unbounded, false)?;
        Ok(scan.filter_map(move |entry| match entry {
            Ok((session, value, _)) => (session.end >= live).then_some(Ok((session, value))),
            Err(error) => Some(Err(error)),
        }))
    }
}

pub(crate) fn find_sessions<K: Hash + Eq + Clone + Send + 'static, V: Clone + Send + 'static>(
    store: &mut TypedStore<SessionKey<K>, V>,
    key: &K,
    earliest_end: Timestamp,
    latest_start: Timestamp,
) -> Result<Vec<(SessionKey<K>, V)>, StateError> {
    let Some(retention) = store.retention else { return Ok(Vec::new()) };
    let latest = store.latest();
    let from = earliest_end.max(retention.live_from(latest));
    let ranges = session_ranges(&*store.keys, key, from, latest_start, retention, latest)
        .map_err(|source| StateError::Encode { store: store.name.to_string(), source })?;
    let mut found = Vec::new();
    for (low, high) in ranges {
        for entry in store.scan(Bound::Included(low), Bound::Included(high), false)? {
            let (session, value, _) = entry?;
            if session.key == *key && session.end >= from && session.start <= latest_start {
                found.push((session, value));
            }
        }
    }
    Ok(found)
}

/// The ranges of local keys, one a segment, that hold the sessions of `key` ending at or after `from`; other sessions may lie between them.
pub(super) fn session_ranges<K: Clone>(
    keys: &dyn KeyFormat<SessionKey<K>>,
    key: &K,
    from: Timestamp,
    latest_start: Timestamp,
    retention: Retention,
    latest: Timestamp,
) -> Result<Vec<KeyRange>, SerdeError> {
    let mut local = Vec::new();
    keys.local(&SessionKey { key: key.clone(), start: 0, end: from }, &mut local)?;
    // The key between its segment and its bounds.
    let key_bytes = local.get(8..local.len().saturating_sub(16)).unwrap_or_default();
    let bound = |segment: i64, end: Timestamp, start: Timestamp| {
        let mut bytes = ordered(segment).to_vec();
        bytes.extend_from_slice(key_bytes);
        bytes.extend_from_slice(&ordered(end));
        bytes.extend_from_slice(&ordered(start));
        bytes
    };
    let segment = |time: Timestamp| time.div_euclid(retention.segment_ms);
    // A session ends no later than the latest end ever put.
    let segments = segment(from)..=segment(latest.max(from));
    Ok(segments.map(|s| (bound(s, from, Timestamp::MIN), bound(s, Timestamp::MAX, latest_start))).collect())
}

/// All sessions that end from `from` to `to`: by end, then start, then the key's bytes.
pub(crate) fn sessions_between<K: Hash + Eq + Clone + Send + 'static, V: Clone + Send + 'static>(
    store: &mut TypedStore<SessionKey<K>, V>,
    key: &SerdeRef<K>,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<(SessionKey<K>, V)>, StateError> {
    let (low, high) = store.segments(from, to);
    let mut found = Vec::new();
    for entry in store.scan(low, high, false)? {
        let (session, value, _) = entry?;
        if (from..=to).contains(&session.end) {
            found.push((session, value));
        }
    }
    found.sort_by_cached_key(|(session, _)| (session.end, session.start, key_bytes(key, &session.key)));
    Ok(found)
}
