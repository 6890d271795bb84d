//! `count`, `reduce` and `aggregate` of a grouped stream in sessions.
//!
//! A record joins all sessions of its key within the gap: their aggregates are merged in order of their ends, the sessions are removed (each with a tombstone
//! downstream), and the record is added to what they make together.

use vigie_log::Timestamp;

use super::store;
use super::windowed::{Closed, Cutting, WindowedAggregate};
use crate::dsl::windows::SessionWindows;
use crate::error::{Failure, StateError};
use crate::processor::{Cx, Flow};
use crate::record::{Change, Headers, Record, Window, Windowed};
use crate::serde::SerdeRef;
use crate::state::{Before, SessionKey, TypedStore, find_sessions, sessions_between};

impl<K, V, A> Cutting<K, V, A> for SessionWindows
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    type Place = SessionKey<K>;

    /// Sessions that end before this time are closed.
    fn close_time(self, observed: Timestamp) -> Timestamp {
        observed.saturating_sub(self.grace_ms).saturating_sub(self.gap_ms)
    }

    fn window(self, session: SessionKey<K>) -> Windowed<K> {
        Windowed { key: session.key, window: Window { start: session.start, end: session.end } }
    }

    fn add(
        node: &mut WindowedAggregate<K, V, A, Self>,
        record: Record<K, V>,
        close: Timestamp,
        cx: &mut Cx<'_>,
    ) -> Result<bool, Box<Failure>> {
        let Record { key, value, timestamp, .. } = record;
        let gap = node.windows.gap_ms;
        let state = store::<SessionKey<K>, A>(cx, node.store);
        let found = find_sessions(state, &key, timestamp.saturating_sub(gap), timestamp.saturating_add(gap))?;
        let mut session = SessionKey { key, start: timestamp, end: timestamp };
        for (held, _) in &found {
            session.start = session.start.min(held.start);
            session.end = session.end.max(held.end);
        }
        if session.end < close {
            cx.task.counts.late += 1;
        } else {
            node.extend(session, value, found, (timestamp, timestamp), cx)?;
        }
        Ok(true)
    }

    fn last_closed(self, close: Timestamp) -> Timestamp {
        close.saturating_sub(1)
    }

    fn closed(
        self,
        state: &mut TypedStore<SessionKey<K>, A>,
        key: &SerdeRef<K>,
        before: Timestamp,
        last: Timestamp,
    ) -> Result<Vec<Closed<SessionKey<K>, A>>, StateError> {
        let found = sessions_between(state, key, before.max(0), last)?;
        Ok(found.into_iter().map(|(session, aggregate)| (session.clone(), aggregate, session.end)).collect())
    }
}

impl<K, V, A> WindowedAggregate<K, V, A, SessionWindows>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    /// Replaces the sessions found by one that holds the record too; `alone` is what the record would be without them.
    fn extend(
        &mut self,
        session: SessionKey<K>,
        value: Option<V>,
        found: Vec<(SessionKey<K>, A)>,
        alone: (Timestamp, Timestamp),
        cx: &mut Cx<'_>,
    ) -> Flow {
        let mut merged = if found.is_empty() { None } else { (self.fold.initial)() };
        let replaces = (session.start, session.end) != alone;
        for (held, aggregate) in found {
            if replaces {
                self.put(held, None, Some(aggregate.clone()), cx)?;
            }
            merged = (self.fold.merge)(&session.key, merged, aggregate);
        }
        let new = (self.fold.add)(&session.key, value, merged);
        self.put(session, new, None, cx)
    }

    /// Puts or removes a session and sends that on.
    fn put(&self, session: SessionKey<K>, new: Option<A>, old: Option<A>, cx: &mut Cx<'_>) -> Flow {
        let timestamp = session.end;
        let held = cx.task.record_cache;
        let state = store::<SessionKey<K>, A>(cx, self.store);
        let slot = state.slot(&session)?;
        if self.is_quiet() {
            state.set(slot, new, timestamp);
            return Ok(());
        }
        if held {
            // A session that was removed and comes back within one commit has been there before.
            let before = state.at(slot).map(|(before, _)| before);
            let before =
                Before { existed: before.is_some(), copy: before.filter(|_| self.send_old).cloned() };
            if state.hold(slot, before, &Headers::new()) {
                state.set(slot, new, timestamp);
                return Ok(());
            }
        }
        state.set(slot, new.clone(), timestamp);
        let key = Windowed { key: session.key, window: Window { start: session.start, end: timestamp } };
        let value = Some(Change::of(new, old.filter(|_| self.send_old)));
        self.out.forward(Record { key, value, timestamp, headers: Headers::new() }, cx)
    }
}
