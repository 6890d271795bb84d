//! `count`, `reduce` and `aggregate` of a grouped stream in sessions.
//!
//! A record joins all sessions of its key within the gap: their aggregates are merged in order of their ends, the sessions are removed (each with a tombstone
//! downstream), and the record is added to what they make together.

use vigie_log::Timestamp;

use super::final_results::FinalResults;
use super::store;
use super::window_fold::WindowFold;
use crate::dsl::windows::SessionWindows;
use crate::processor::{Cx, Flow, Operator, Out};
use crate::record::{Change, Headers, Record, Window, Windowed};
use crate::serde::SerdeRef;
use crate::state::{SessionKey, find_sessions, sessions_between};

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
            _ => Ok(()),
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
                let state = store::<SessionKey<K>, A>(cx, self.store);
                state.put(&held, None, held.end)?;
                self.send(held, Change::of(None, Some(aggregate.clone())), cx)?;
            }
            merged = (self.fold.merge)(&session.key, merged, aggregate);
        }
        let new = (self.fold.add)(&session.key, value, merged);
        store::<SessionKey<K>, A>(cx, self.store).put(&session, new.clone(), session.end)?;
        self.send(session, Change::of(new, None), cx)
    }

    fn send(&self, session: SessionKey<K>, mut change: Change<A>, cx: &mut Cx<'_>) -> Flow {
        if self.out.is_empty() || self.finals.is_some() {
            return Ok(());
        }
        change.old = change.old.filter(|_| self.send_old);
        let (start, timestamp) = (session.start, session.end);
        let key = Windowed { key: session.key, window: Window { start, end: timestamp } };
        self.out.forward(Record { key, value: Some(change), timestamp, headers: Headers::new() }, cx)
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
            let window = Window { start: session.start, end: session.end };
            let key = Windowed { key: session.key, window };
            let value = Some(Change::of(Some(aggregate), None));
            self.out.forward(Record { key, value, timestamp, headers: headers.clone() }, cx)?;
        }
        Ok(())
    }
}
