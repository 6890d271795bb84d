//! Looks each record of a stream up in a table.

use std::sync::Arc;

use super::join_buffer::Waiting;
use crate::dsl::view::Look;
use crate::processor::{Cx, Flow, Operator, Out};
use crate::record::Record;
use crate::serde::SerdeRef;

/// `(key, value of the stream, row of the table)`.
pub(crate) type Joiner<K, V, T, W> = Arc<dyn Fn(&K, V, Option<&T>) -> W + Send + Sync>;

pub(crate) struct JoinTable<K, V, T, W> {
    pub join: Joiner<K, V, T, W>,
    pub key: SerdeRef<K>,
    pub left: bool,
    pub table: Box<dyn Look<K, T>>,
    /// Whether the row is the one of the record's own time.
    pub versioned: bool,
    /// Where records wait for the table, if they are given a grace period.
    pub waiting: Option<Waiting>,
    pub out: Out<K, W>,
}

impl<K, V, T, W> Operator<K, V> for JoinTable<K, V, T, W>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
    T: Clone + Send + 'static,
    W: Clone + Send + 'static,
{
    fn init(&mut self, cx: &mut Cx<'_>) -> Flow {
        self.waiting.as_mut().map_or(Ok(()), |waiting| waiting.init::<K, V>(cx))
    }

    fn process(&mut self, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        if record.value.is_none() || !self.left && self.key.is_null(&record.key) {
            cx.task.counts.skipped += 1;
            return Ok(());
        }
        // A null key has nothing to wait for.
        let waits = self.waiting.as_mut().filter(|_| !self.key.is_null(&record.key));
        let Some(waiting) = waits else { return self.join(record, cx) };
        let Some(record) = waiting.put(record, cx)? else {
            let mut due = waiting.due::<K, V>(cx)?;
            let now = cx.task.metadata.clone();
            let joined = due.drain(..).try_for_each(|(record, origin)| {
                cx.task.metadata = origin;
                self.join(record, cx)
            });
            cx.task.metadata = now;
            return joined;
        };
        self.join(record, cx)
    }
}

impl<K, V, T, W> JoinTable<K, V, T, W>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    T: Clone + Send + 'static,
    W: Clone + Send + 'static,
{
    fn join(&mut self, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        let Record { key, value, timestamp, headers } = record;
        let (mut value, mut joined) = (value, None);
        let (left, join) = (self.left, &self.join);
        let mut with = |row: Option<&T>| {
            if let Some(value) = value.take().filter(|_| left || row.is_some()) {
                joined = Some(join(&key, value, row));
            }
        };
        if self.key.is_null(&key) {
            with(None);
        } else {
            let as_of = self.versioned.then_some(timestamp);
            self.table.look(cx.task, &key, as_of, &mut |row| with(row.map(|(row, _)| row)))?;
        }
        match joined {
            Some(value) => self.out.forward(Record { key, value: Some(value), timestamp, headers }, cx),
            None => Ok(()),
        }
    }
}
