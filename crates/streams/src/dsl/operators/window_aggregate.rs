//! `count`, `reduce` and `aggregate` of a grouped stream in tumbling and hopping windows.

use super::aggregate::Fold;
use super::store;
use crate::dsl::windows::TimeWindows;
use crate::processor::{Cx, Flow, Operator, Out};
use crate::record::{Change, Record, Windowed};
use crate::serde::SerdeRef;
use crate::state::WindowKey;

pub(crate) struct WindowAggregate<K, V, A> {
    pub fold: Fold<K, V, A>,
    pub windows: TimeWindows,
    pub key: SerdeRef<K>,
    pub store: usize,
    pub send_old: bool,
    pub out: Out<Windowed<K>, Change<A>>,
    /// The largest timestamp of the records seen here. Read from the store at the start, so that what was late
    /// before a restart is late after it.
    pub observed: i64,
}

impl<K, V, A> Operator<K, V> for WindowAggregate<K, V, A>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    fn init(&mut self, cx: &mut Cx<'_>) -> Flow {
        self.observed = store::<WindowKey<K>, A>(cx, self.store).observed();
        Ok(())
    }

    #[inline]
    fn process(&mut self, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        let Record { key, value, timestamp, headers } = record;
        let value = match value {
            Some(value) if !self.key.is_null(&key) => value,
            _ => {
                cx.task.counts.skipped += 1;
                return Ok(());
            }
        };
        self.observed = self.observed.max(timestamp);
        let close = self.observed.saturating_sub(self.windows.grace_ms);
        let mut open = self.windows.windows_for(timestamp).filter(|window| window.end > close).peekable();
        let total = (self.windows.size_ms + self.windows.advance_ms - 1) / self.windows.advance_ms;
        let mut counted = 0;
        let (mut next_key, mut next_value) = (Some(key), Some(value));
        while let Some(window) = open.next() {
            counted += 1;
            // The last window takes the key and the value themselves, so that tumbling windows copy nothing.
            let last = open.peek().is_none();
            let (Some(key), Some(value)) = (
                if last { next_key.take() } else { next_key.clone() },
                if last { next_value.take() } else { next_value.clone() },
            ) else {
                break;
            };
            let state = store::<WindowKey<K>, A>(cx, self.store);
            let place = WindowKey { key, start: window.start };
            let slot = state.slot(&place)?;
            let (before, at) = match state.take(slot) {
                Some((before, at)) => (Some(before), timestamp.max(at)),
                None => (None, timestamp),
            };
            let old = if self.send_old { before.clone() } else { None };
            let new = (self.fold)(&place.key, value, before);
            if self.out.is_empty() {
                state.set(slot, new, at);
                continue;
            }
            state.set(slot, new.clone(), at);
            let key = Windowed { key: place.key, window };
            let change = Some(Change { new, old });
            self.out.forward(Record { key, value: change, timestamp: at, headers: headers.clone() }, cx)?;
        }
        if counted < total {
            let possible = self.windows.windows_for(timestamp).count() as i64;
            cx.task.counts.late += u64::try_from(possible - counted).unwrap_or(0);
        }
        Ok(())
    }
}
