//! `count`, `reduce` and `aggregate` of a grouped stream in tumbling, hopping and unlimited windows.

use vigie_log::Timestamp;

use super::store;
use super::windowed::{Closed, Cutting, WindowedAggregate};
use crate::dsl::windows::FixedWindows;
use crate::error::{Failure, StateError};
use crate::processor::Cx;
use crate::record::{Change, Record, Window, Windowed};
use crate::serde::SerdeRef;
use crate::state::{Before, TypedStore, WindowKey, windows_between};

impl<K, V, A> Cutting<K, V, A> for FixedWindows
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    type Place = WindowKey<K>;

    /// Windows that end at or before this time are closed.
    #[inline]
    fn close_time(self, observed: Timestamp) -> Timestamp {
        observed.saturating_sub(self.grace_ms())
    }

    fn window(self, place: WindowKey<K>) -> Windowed<K> {
        let window = Window { start: place.start, end: place.start.saturating_add(self.size_ms()) };
        Windowed { key: place.key, window }
    }

    #[inline]
    fn add(
        node: &mut WindowedAggregate<K, V, A, Self>,
        record: Record<K, V>,
        close: Timestamp,
        cx: &mut Cx<'_>,
    ) -> Result<bool, Box<Failure>> {
        let Record { key, value, timestamp, headers } = record;
        let held = cx.task.record_cache;
        let mut windows = node.windows.windows_for(timestamp);
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
            let state = store::<WindowKey<K>, A>(cx, node.store);
            let place = WindowKey { key, start: window.start };
            let slot = state.slot(&place)?;
            // With several streams in one store (`cogroup`), a window may be open to this one and forgotten by the store.
            let forgotten = state.expired(window.start);
            let (before, at) = match state.take(slot).filter(|_| !forgotten) {
                Some((before, at)) => (Some(before), timestamp.max(at)),
                None => (None, timestamp),
            };
            let old = if node.send_old { before.clone() } else { None };
            let existed = before.is_some();
            let new = (node.fold.add)(&place.key, value, before);
            if node.is_quiet() || held && state.hold(slot, Before { existed, copy: old.clone() }, &headers) {
                state.set(slot, new, at);
                continue;
            }
            state.set(slot, new.clone(), at);
            let key = Windowed { key: place.key, window };
            let change = Some(Change::of(new, old));
            node.out.forward(Record { key, value: change, timestamp: at, headers: headers.clone() }, cx)?;
        }
        Ok(true)
    }

    fn last_closed(self, close: Timestamp) -> Timestamp {
        close.saturating_sub(self.size_ms())
    }

    fn closed(
        self,
        state: &mut TypedStore<WindowKey<K>, A>,
        key: &SerdeRef<K>,
        before: Timestamp,
        last: Timestamp,
    ) -> Result<Vec<Closed<WindowKey<K>, A>>, StateError> {
        let from = before.saturating_sub(self.size_ms()).saturating_add(1).max(0);
        if self.last_start(last) < from {
            return Ok(Vec::new());
        }
        windows_between(state, key, from, last)
    }
}
