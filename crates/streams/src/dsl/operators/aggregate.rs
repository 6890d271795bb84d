//! `count`, `reduce` and `aggregate` of a grouped stream, without windows.

use std::sync::Arc;

use super::{send_held, store};
use crate::processor::{Cx, Flow, Operator, Out};
use crate::record::{Change, Record};
use crate::serde::SerdeRef;
use crate::state::Before;

/// The aggregate after a record: `(key, value, aggregate before, if any)`; `None` removes it.
pub(crate) type Fold<K, V, A> = Arc<dyn Fn(&K, V, Option<A>) -> Option<A> + Send + Sync>;

pub(crate) struct Aggregate<K, V, A> {
    pub fold: Fold<K, V, A>,
    pub key: SerdeRef<K>,
    pub store: usize,
    pub send_old: bool,
    pub out: Out<K, Change<A>>,
}

impl<K, V, A> Operator<K, V> for Aggregate<K, V, A>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
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
        let held = cx.task.record_cache;
        let state = store::<K, A>(cx, self.store);
        let slot = state.slot(&key)?;
        let (before, timestamp) = match state.take(slot) {
            Some((before, at)) => (Some(before), timestamp.max(at)),
            None => (None, timestamp),
        };
        let old = if self.send_old { before.clone() } else { None };
        let existed = before.is_some();
        let new = (self.fold)(&key, value, before);
        if self.out.is_empty() {
            state.set(slot, new, timestamp);
            return Ok(());
        }
        if held && state.hold(slot, Before { existed, copy: old.clone() }, &headers) {
            state.set(slot, new, timestamp);
            return Ok(());
        }
        state.set(slot, new.clone(), timestamp);
        self.out.forward(Record { key, value: Some(Change::of(new, old)), timestamp, headers }, cx)
    }

    fn before_commit(&mut self, cx: &mut Cx<'_>) -> Flow {
        send_held(self.store, &self.out, cx, |key: K| key)
    }
}
