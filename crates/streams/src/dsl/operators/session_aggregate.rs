//! `count`, `reduce` and `aggregate` of a grouped stream in sessions.
//!
//! A record joins all sessions of its key within the gap: their aggregates are merged in order of their ends, the sessions are removed (each with a tombstone
//! downstream), and the record is added to what they make together.

use vigie_log::Timestamp;

use super::final_results::FinalResults;
use super::window_fold::WindowFold;
use super::{send_held, store};
use crate::dsl::windows::SessionWindows;
use crate::processor::{Cx, Flow, Operator, Out};
use crate::record::{Change, Headers, Record, Window, Windowed};
use crate::serde::SerdeRef;
use crate::state::{Before, SessionKey, find_sessions, sessions_between};

pub(crate) struct SessionAggregate<K, V, A> {
    pub fold: WindowFold<K, V, A>,
    pub windows: SessionWindows,
    pub key: SerdeRef<K>,
    pub store: usize,
    pub send_old: bool,
    pub out: Out<Windowed<K>, Change<A>>,
    /// The largest timestamp of the records seen here, kept by the store.
    pub observed: Timestamp,
    pub finals: Option<FinalResults>,
}

impl<K, V, A> Operator<K, V> for SessionAggregate<K, V, A>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    fn init(&mut self, cx: &mut Cx<'_>) -> Flow {
        self.observed = store::<SessionKey<K>, A>(cx, self.store).observed();
        let close = self.close_time();
        if let Some(finals) = &mut self.finals {
            finals.resume(close);
        }
        Ok(())
    }

    fn process(&mut self, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        let Record { key, value, timestamp, headers } = record;
        if self.key.is_null(&key) || value.is_none() && !self.fold.nulls {
            cx.task.counts.skipped += 1;
            return Ok(());
        }
        self.observed = self.observed.max(timestamp);
        let close = self.close_time();
        let gap = self.windows.gap_ms;
        let state = store::<SessionKey<K>, A>(cx, self.store);
        let found = find_sessions(state, &key, timestamp.saturating_sub(gap), timestamp.saturating_add(gap))?;
        let mut session = SessionKey { key, start: timestamp, end: timestamp };
        for (held, _) in &found {
            session.start = session.start.min(held.start);
            session.end = session.end.max(held.end);
        }
        if session.end < close {
            cx.task.counts.late += 1;
        } else {
            self.extend(session, value, found, (timestamp, timestamp), cx)?;
        }
        let due = self.finals.as_mut().is_some_and(|finals| finals.due(close, cx));
        if due { self.send_finals(&headers, cx) } else { Ok(()) }
    }

    fn before_commit(&mut self, cx: &mut Cx<'_>) -> Flow {
        match &self.finals {
            Some(finals) if finals.pending(self.close_time()) => self.send_finals(&Headers::new(), cx),
            Some(_) => Ok(()),
            None => send_held(self.store, &self.out, cx, windowed),
        }
    }
}

impl<K, V, A> SessionAggregate<K, V, A>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    /// Sessions that end before this time are closed.
    fn close_time(&self) -> Timestamp {
        self.observed.saturating_sub(self.windows.grace_ms).saturating_sub(self.windows.gap_ms)
    }

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
        if self.out.is_empty() || self.finals.is_some() {
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
        let key = windowed(session);
        let value = Some(Change::of(new, old.filter(|_| self.send_old)));
        self.out.forward(Record { key, value, timestamp, headers: Headers::new() }, cx)
    }

    #[cold]
    fn send_finals(&mut self, headers: &Headers, cx: &mut Cx<'_>) -> Flow {
        let close = self.close_time();
        let Some(finals) = &mut self.finals else { return Ok(()) };
        let to = close.saturating_sub(1);
        if to < 0 {
            return Ok(());
        }
        let from = finals.advance(close).max(0);
        let state = store::<SessionKey<K>, A>(cx, self.store);
        for (session, aggregate) in sessions_between(state, &self.key, from, to)? {
            let timestamp = session.end;
            let key = windowed(session);
            let value = Some(Change::of(Some(aggregate), None));
            self.out.forward(Record { key, value, timestamp, headers: headers.clone() }, cx)?;
        }
        Ok(())
    }
}

fn windowed<K>(session: SessionKey<K>) -> Windowed<K> {
    Windowed { key: session.key, window: Window { start: session.start, end: session.end } }
}
