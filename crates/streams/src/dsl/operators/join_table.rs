//! Looks each record of a stream up in a table.

use std::sync::Arc;

use super::store;
use crate::processor::{Cx, Flow, Operator, Out};
use crate::record::Record;
use crate::serde::SerdeRef;

/// `(key, value of the stream, row of the table)`.
pub(crate) type Joiner<K, V, T, W> = Arc<dyn Fn(&K, V, Option<&T>) -> W + Send + Sync>;

pub(crate) struct JoinTable<K, V, T, W> {
    pub join: Joiner<K, V, T, W>,
    pub key: SerdeRef<K>,
    pub left: bool,
    pub table: usize,
    pub out: Out<K, W>,
}

impl<K, V, T, W> Operator<K, V> for JoinTable<K, V, T, W>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
    T: Clone + Send + 'static,
    W: Clone + Send + 'static,
{
    fn process(&mut self, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        let Record { key, value, timestamp, headers } = record;
        let null_key = self.key.is_null(&key);
        let value = match value {
            Some(value) if self.left || !null_key => value,
            _ => {
                cx.task.counts.skipped += 1;
                return Ok(());
            }
        };
        let row = if null_key { None } else { store::<K, T>(cx, self.table).get(&key)? };
        let joined = match row {
            Some((row, _)) => (self.join)(&key, value, Some(row)),
            None if self.left => (self.join)(&key, value, None),
            None => return Ok(()),
        };
        self.out.forward(Record { key, value: Some(joined), timestamp, headers }, cx)
    }
}
