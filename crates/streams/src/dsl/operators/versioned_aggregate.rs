//! Aggregates of streams and of grouped tables that are kept with their history.
//!
//! An aggregate's time is the largest of its records'. Only where it was removed meanwhile can a late record come before its latest version: the
//! result is then put into the history, and marked as not the latest, or is too old to be kept and goes nowhere.

use vigie_log::Timestamp;

use super::aggregate::Fold;
use super::table_aggregate::{Adder, Subtractor, regrouped};
use super::versioned_of;
use crate::error::StateError;
use crate::processor::{Cx, Flow, Operator, Out};
use crate::record::{Change, Record};
use crate::serde::SerdeRef;
use crate::state::PutResult;

/// Puts what `fold` makes of an aggregate; gives the change with its time, or nothing if it came too late.
fn replace<K, A>(
    cx: &mut Cx<'_>,
    index: usize,
    key: &K,
    at: Timestamp,
    fold: impl FnOnce(Option<A>) -> Option<A>,
) -> Result<Option<(Change<A>, Timestamp)>, StateError>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    A: Clone + Send + 'static,
{
    let state = versioned_of::<K, A>(cx.task, index);
    let (old, at) = match state.get(key)? {
        Some(row) => (Some(row.value), at.max(row.timestamp)),
        None => (None, at),
    };
    let new = fold(old.clone());
    let latest = match state.put(key, new.clone(), at)? {
        PutResult::Latest => true,
        PutResult::ValidTo(_) => false,
        PutResult::Expired => {
            cx.task.counts.late += 1;
            return Ok(None);
        }
    };
    Ok(Some((Change { new, old, latest }, at)))
}

/// `count`, `reduce` and `aggregate` of a stream.
pub(crate) struct VersionedAggregate<K, V, A> {
    pub fold: Fold<K, V, A>,
    pub key: SerdeRef<K>,
    pub store: usize,
    pub send_old: bool,
    pub out: Out<K, Change<A>>,
}

impl<K, V, A> Operator<K, V> for VersionedAggregate<K, V, A>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    fn process(&mut self, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        let Record { key, value, timestamp, headers } = record;
        let Some(value) = value.filter(|_| !self.key.is_null(&key)) else {
            cx.task.counts.skipped += 1;
            return Ok(());
        };
        let fold = |before| (self.fold)(&key, value, before);
        let Some((mut change, timestamp)) = replace(cx, self.store, &key, timestamp, fold)? else {
            return Ok(());
        };
        change.old = change.old.filter(|_| self.send_old);
        self.out.forward(Record { key, value: Some(change), timestamp, headers }, cx)
    }
}

/// The same of a table grouped by another key.
pub(crate) struct VersionedTableAggregate<K, V, A> {
    pub add: Adder<K, V, A>,
    pub subtract: Subtractor<K, V, A>,
    pub store: usize,
    pub send_old: bool,
    pub out: Out<K, Change<A>>,
}

impl<K, V, A> Operator<K, Change<V>> for VersionedTableAggregate<K, V, A>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    fn process(&mut self, record: Record<K, Change<V>>, cx: &mut Cx<'_>) -> Flow {
        let Record { key, value, timestamp, headers } = record;
        let Some(change) = value else { return Ok(()) };
        let fold = |before| regrouped(&key, change, before, &self.add, &self.subtract);
        let Some((mut change, timestamp)) = replace(cx, self.store, &key, timestamp, fold)? else {
            return Ok(());
        };
        change.old = change.old.filter(|_| self.send_old);
        self.out.forward(Record { key, value: Some(change), timestamp, headers }, cx)
    }
}
