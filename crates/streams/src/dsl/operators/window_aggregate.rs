//! `count`, `reduce` and `aggregate` of a grouped stream in tumbling, hopping and unlimited windows.

use vigie_log::Timestamp;

use super::final_results::FinalResults;
use super::window_fold::WindowFold;
use super::{send_held, store};
use crate::dsl::windows::FixedWindows;
use crate::processor::{Cx, Flow, Operator, Out};
use crate::record::{Change, Headers, Record, Window, Windowed};
use crate::serde::SerdeRef;
use crate::state::{Before, WindowKey, windows_between};

pub(crate) struct WindowAggregate<K, V, A> {
    pub fold: WindowFold<K, V, A>,
    pub windows: FixedWindows,
    pub key: SerdeRef<K>,
    pub store: usize,
    pub send_old: bool,
    pub out: Out<Windowed<K>, Change<A>>,
    /// The largest timestamp of the records seen here. Read from the store at the start, so that what was late
    /// before a restart is late after it.
    pub observed: Timestamp,
    /// Where results are sent on when windows close, instead of with each update.
    pub finals: Option<FinalResults>,
}

impl<K, V, A> Operator<K, V> for WindowAggregate<K, V, A>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    fn init(&mut self, cx: &mut Cx<'_>) -> Flow {
        self.observed = store::<WindowKey<K>, A>(cx, self.store).observed();
        let close = self.close_time();
        if let Some(finals) = &mut self.finals {
            finals.resume(close);
        }
        Ok(())
    }

    #[inline]
    fn process(&mut self, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        let Record { key, value, timestamp, headers } = record;
        if self.key.is_null(&key) || value.is_none() && !self.fold.nulls {
            cx.task.counts.skipped += 1;
            return Ok(());
        }
        self.observed = self.observed.max(timestamp);
        let held = cx.task.record_cache;
        let close = self.close_time();
        let mut windows = self.windows.windows_for(timestamp);
        let (mut next_key, mut next_value) = (Some(key), value);
        loop {
            // The last window takes the key and the value themselves, so that tumbling windows copy nothing.
            let last = windows.at_last();
            let Some(window) = windows.next() else { break };
            if window.end <= close {
                cx.task.counts.late += 1;
                continue;
            }
            let key = if last { next_key.take() } else { next_key.clone() };
            let value = if last { next_value.take() } else { next_value.clone() };
            let Some(key) = key else { break };
            let state = store::<WindowKey<K>, A>(cx, self.store);
            let place = WindowKey { key, start: window.start };
            let slot = state.slot(&place)?;
            // With several streams in one store (`cogroup`), a window may be open to this one and forgotten by the store.
            let forgotten = state.expired(window.start);
            let (before, at) = match state.take(slot).filter(|_| !forgotten) {
                Some((before, at)) => (Some(before), timestamp.max(at)),
                None => (None, timestamp),
            };
            let old = if self.send_old { before.clone() } else { None };
            let existed = before.is_some();
            let new = (self.fold.add)(&place.key, value, before);
            if self.out.is_empty() || self.finals.is_some() {
                state.set(slot, new, at);
                continue;
            }
            if held && state.hold(slot, Before { existed, copy: old.clone() }, &headers) {
                state.set(slot, new, at);
                continue;
            }
            state.set(slot, new.clone(), at);
            let key = Windowed { key: place.key, window };
            let change = Some(Change::of(new, old));
            self.out.forward(Record { key, value: change, timestamp: at, headers: headers.clone() }, cx)?;
        }
        let due = self.finals.as_mut().is_some_and(|finals| finals.due(close, cx));
        if due { self.send_finals(&headers, cx) } else { Ok(()) }
    }

    fn before_commit(&mut self, cx: &mut Cx<'_>) -> Flow {
        match &self.finals {
            Some(finals) if finals.pending(self.close_time()) => self.send_finals(&Headers::new(), cx),
            Some(_) => Ok(()),
            None => {
                let size = self.windows.size_ms();
                send_held(self.store, &self.out, cx, |place: WindowKey<K>| {
                    let window = Window { start: place.start, end: place.start.saturating_add(size) };
                    Windowed { key: place.key, window }
                })
            }
        }
    }
}

impl<K, V, A> WindowAggregate<K, V, A>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    /// Windows that end at or before this time are closed.
    #[inline]
    fn close_time(&self) -> Timestamp {
        self.observed.saturating_sub(self.windows.grace_ms())
    }

    #[cold]
    fn send_finals(&mut self, headers: &Headers, cx: &mut Cx<'_>) -> Flow {
        let (close, size) = (self.close_time(), self.windows.size_ms());
        let Some(finals) = &mut self.finals else { return Ok(()) };
        let to = close.saturating_sub(size);
        if to < 0 {
            return Ok(());
        }
        let before = finals.advance(close);
        let from = before.saturating_sub(size).saturating_add(1).max(0);
        if self.windows.last_start(to) < from {
            return Ok(());
        }
        let state = store::<WindowKey<K>, A>(cx, self.store);
        for (place, aggregate, timestamp) in windows_between(state, &self.key, from, to)? {
            let window = Window { start: place.start, end: place.start.saturating_add(size) };
            let key = Windowed { key: place.key, window };
            let value = Some(Change::of(Some(aggregate), None));
            self.out.forward(Record { key, value, timestamp, headers: headers.clone() }, cx)?;
        }
        Ok(())
    }
}
