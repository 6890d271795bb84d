//! Tables: from a topic or a stream, filtered, mapped, and back to a stream.

use std::sync::Arc;

use super::store;
use crate::processor::{Cx, Flow, Operator, Out};
use crate::record::{Change, Record};
use crate::serde::SerdeRef;

/// A stream of rows becomes a table: `table` and `to_table`.
pub(crate) struct TableSource<K, V> {
    pub key: SerdeRef<K>,
    /// `None` while nobody needs the rows kept.
    pub store: Option<usize>,
    pub send_old: bool,
    pub out: Out<K, Change<V>>,
}

impl<K, V> Operator<K, V> for TableSource<K, V>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
{
    fn process(&mut self, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        if self.key.is_null(&record.key) {
            cx.task.counts.skipped += 1;
            return Ok(());
        }
        let mut old = None;
        if let Some(index) = self.store {
            let state = store::<K, V>(cx, index);
            let slot = state.slot(&record.key)?;
            old = state.take(slot).map(|(value, _)| value);
            state.set(slot, record.value.clone(), record.timestamp);
        }
        let old = old.filter(|_| self.send_old);
        let Record { key, value: new, timestamp, headers } = record;
        self.out.forward(Record { key, value: Some(Change { new, old }), timestamp, headers }, cx)
    }
}

/// `(key, row) -> row or none`: filters and mappers of tables.
pub(crate) type RowMap<K, V, W> = Arc<dyn Fn(&K, &V) -> Option<W> + Send + Sync>;

pub(crate) struct TableMap<K, V, W> {
    pub map: RowMap<K, V, W>,
    /// Filters leave out updates of rows that were not there before and are not now.
    pub filter: bool,
    pub store: Option<usize>,
    pub send_old: bool,
    pub out: Out<K, Change<W>>,
}

impl<K, V, W> Operator<K, Change<V>> for TableMap<K, V, W>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
    W: Clone + Send + 'static,
{
    fn process(&mut self, record: Record<K, Change<V>>, cx: &mut Cx<'_>) -> Flow {
        let Record { key, value, timestamp, headers } = record;
        let Some(change) = value else { return Ok(()) };
        let new = change.new.as_ref().and_then(|row| (self.map)(&key, row));
        let old = match self.store {
            Some(index) => {
                let state = store::<K, W>(cx, index);
                let slot = state.slot(&key)?;
                let old = state.take(slot).map(|(value, _)| value);
                state.set(slot, new.clone(), timestamp);
                old.filter(|_| self.send_old)
            }
            None if self.send_old => change.old.as_ref().and_then(|row| (self.map)(&key, row)),
            None => None,
        };
        if self.filter && self.send_old && old.is_none() && new.is_none() {
            return Ok(());
        }
        self.out.forward(Record { key, value: Some(Change { new, old }), timestamp, headers }, cx)
    }
}

/// The updates of a table as a stream; removed rows are tombstones.
pub(crate) struct ToStream<K, V> {
    pub out: Out<K, V>,
}

impl<K: Clone + Send + 'static, V: Clone + Send + 'static> Operator<K, Change<V>> for ToStream<K, V> {
    #[inline]
    fn process(&mut self, record: Record<K, Change<V>>, cx: &mut Cx<'_>) -> Flow {
        let Record { key, value, timestamp, headers } = record;
        let value = value.and_then(|change| change.new);
        self.out.forward(Record { key, value, timestamp, headers }, cx)
    }
}
