//! Operators that look at one record at a time. Their functions are not called for tombstones (null values), which
//! pass through mappers unchanged and match no predicate.

use std::sync::Arc;

use crate::processor::{Cx, Flow, Operator, Out};
use crate::record::Record;

pub(crate) type Predicate<K, V> = Arc<dyn Fn(&K, &V) -> bool + Send + Sync>;

pub(crate) struct Filter<K, V> {
    pub predicate: Predicate<K, V>,
    /// Keep what does not match.
    pub not: bool,
    pub out: Out<K, V>,
}

impl<K: Clone + Send + 'static, V: Clone + Send + 'static> Operator<K, V> for Filter<K, V> {
    #[inline]
    fn process(&mut self, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        let matches = record.value.as_ref().is_some_and(|value| (self.predicate)(&record.key, value));
        if matches == self.not { Ok(()) } else { self.out.forward(record, cx) }
    }
}

/// Drops records whose key would be written as null.
pub(crate) struct NotNullKey<K, V> {
    pub key: crate::serde::SerdeRef<K>,
    /// Lets null keys pass too, because a left or outer join behind it takes them.
    pub all: bool,
    pub out: Out<K, V>,
}

impl<K: Clone + Send + 'static, V: Clone + Send + 'static> Operator<K, V> for NotNullKey<K, V> {
    #[inline]
    fn process(&mut self, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        if !self.all && self.key.is_null(&record.key) {
            cx.task.counts.skipped += 1;
            return Ok(());
        }
        self.out.forward(record, cx)
    }
}

/// A new record, or several, or none, for each: `map`, `flat_map`, `select_key`, `map_values`, ... in one.
pub(crate) struct Transform<K, V, L, W> {
    #[expect(clippy::type_complexity, reason = "a function from a record to records, said once")]
    pub function: Arc<dyn Fn(Record<K, V>, &mut dyn FnMut(Record<L, W>) -> Flow) -> Flow + Send + Sync>,
    pub out: Out<L, W>,
}

impl<K, V, L, W> Operator<K, V> for Transform<K, V, L, W>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    L: Clone + Send + 'static,
    W: Clone + Send + 'static,
{
    #[inline]
    fn process(&mut self, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        (self.function)(record, &mut |made| self.out.forward(made, cx))
    }
}

/// Looks at each record and passes it on (`peek`) or not (`for_each`, whose `out` is empty).
pub(crate) struct Peek<K, V> {
    #[expect(clippy::type_complexity, reason = "an action, said once")]
    pub action: Arc<dyn Fn(&Record<K, V>) + Send + Sync>,
    pub out: Out<K, V>,
}

impl<K: Clone + Send + 'static, V: Clone + Send + 'static> Operator<K, V> for Peek<K, V> {
    #[inline]
    fn process(&mut self, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        (self.action)(&record);
        self.out.forward(record, cx)
    }
}

/// Passes records on: `merge`, and the heads of branches.
pub(crate) struct PassThrough<K, V> {
    pub out: Out<K, V>,
}

impl<K: Clone + Send + 'static, V: Clone + Send + 'static> Operator<K, V> for PassThrough<K, V> {
    #[inline]
    fn process(&mut self, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        self.out.forward(record, cx)
    }
}
