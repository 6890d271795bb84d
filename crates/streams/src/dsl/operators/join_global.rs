//! Looks each record of a stream up in a global table, by a key made from the record.

use std::sync::Arc;

use crate::processor::{Cx, Flow, Operator, Out};
use crate::record::Record;
use crate::serde::SerdeRef;
use crate::state::GlobalRows;

/// `(key and value of the stream, row of the table)`.
pub(crate) type GlobalJoiner<K, V, T, W> = Arc<dyn Fn(&K, &V, Option<&T>) -> W + Send + Sync>;
/// `(key and value of the stream) -> key of the table`.
pub(crate) type GlobalKey<K, V, G> = Arc<dyn Fn(&K, &V) -> Option<G> + Send + Sync>;

pub(crate) struct JoinGlobal<K, V, G, T, W> {
    pub join: GlobalJoiner<K, V, T, W>,
    pub select: GlobalKey<K, V, G>,
    pub key: SerdeRef<G>,
    pub left: bool,
    pub table: GlobalRows<G, T>,
    pub out: Out<K, W>,
}

impl<K, V, G, T, W> Operator<K, V> for JoinGlobal<K, V, G, T, W>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    G: 'static,
    T: Clone + Send + 'static,
    W: Clone + Send + 'static,
{
    fn process(&mut self, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        let Some(value) = &record.value else {
            cx.task.counts.skipped += 1;
            return Ok(());
        };
        let key = (self.select)(&record.key, value).filter(|key| !self.key.is_null(key));
        let row = match key {
            Some(key) => self.table.get(&key)?.map(|(row, _)| row),
            None if self.left => None,
            None => {
                cx.task.counts.skipped += 1;
                return Ok(());
            }
        };
        if row.is_none() && !self.left {
            return Ok(());
        }
        let joined = (self.join)(&record.key, value, row.as_ref());
        self.out.forward(record.with_value(Some(joined)), cx)
    }
}
