//! Tables: from a topic or a stream, filtered, mapped, and back to a stream.

use std::sync::Arc;

use vigie_log::Timestamp;

use super::{store, versioned_of};
use crate::error::StateError;
use crate::processor::{Cx, Flow, Operator, Out, Wiring};
use crate::record::{Change, Record};
use crate::serde::SerdeRef;
use crate::state::PutResult;

/// Where a table keeps its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Nowhere: nobody needs them kept.
    No,
    Plain(usize),
    Versioned(usize),
}

impl Kept {
    pub(crate) fn of(wiring: &Wiring<'_>, store: &str, versioned: bool) -> Self {
        match wiring.find_store(store) {
            None => Self::No,
            Some(index) if versioned => Self::Versioned(index),
            Some(index) => Self::Plain(index),
        }
    }

    /// Puts a row. Gives the row before and whether the new one is the latest; `None` when it came too late for a versioned store.
    #[inline]
    pub(crate) fn swap<K, V>(
        self,
        cx: &mut Cx<'_>,
        key: &K,
        new: Option<&V>,
        at: Timestamp,
    ) -> Result<Option<(Option<V>, bool)>, StateError>
    where
        K: Clone + std::hash::Hash + Eq + Send + 'static,
        V: Clone + Send + 'static,
    {
        match self {
            Self::No => Ok(Some((None, true))),
            Self::Plain(index) => {
                let state = store::<K, V>(cx, index);
                let slot = state.slot(key)?;
                let old = state.take(slot).map(|(value, _)| value);
                state.set(slot, new.cloned(), at);
                Ok(Some((old, true)))
            }
            Self::Versioned(index) => {
                let state = versioned_of::<K, V>(cx.task, index);
                let old = state.get(key)?.map(|row| row.value);
                Ok(match state.put(key, new.cloned(), at)? {
                    PutResult::Expired => None,
                    PutResult::Latest => Some((old, true)),
                    PutResult::ValidTo(_) => Some((old, false)),
                })
            }
        }
    }
}

/// A stream of rows becomes a table: `table` and `to_table`.
pub(crate) struct TableSource<K, V> {
    pub key: SerdeRef<K>,
    pub kept: Kept,
    pub send_old: bool,
    pub out: Out<K, Change<V>>,
}

impl<K, V> Operator<K, V> for TableSource<K, V>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
{
    fn process(&mut self, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        let Record { key, value: new, timestamp, headers } = record;
        if self.key.is_null(&key) {
            cx.task.counts.skipped += 1;
            return Ok(());
        }
        let Some((old, latest)) = self.kept.swap(cx, &key, new.as_ref(), timestamp)? else {
            cx.task.counts.late += 1;
            return Ok(());
        };
        let old = old.filter(|_| self.send_old);
        self.out.forward(Record { key, value: Some(Change { new, old, latest }), timestamp, headers }, cx)
    }
}

/// `(key, row) -> row or none`: filters and mappers of tables.
pub(crate) type RowMap<K, V, W> = Arc<dyn Fn(&K, &V) -> Option<W> + Send + Sync>;

pub(crate) struct TableMap<K, V, W> {
    pub map: RowMap<K, V, W>,
    /// Filters leave out updates of rows that were not there before and are not now; not those of versioned tables.
    pub drops_nothings: bool,
    pub kept: Kept,
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
        let drops = self.drops_nothings && self.send_old && new.is_none();
        let (old, latest) = if self.kept == Kept::No {
            let old = change.old.as_ref().filter(|_| self.send_old).and_then(|row| (self.map)(&key, row));
            (old, change.latest)
        } else {
            if drops && !self.kept.holds::<K, W>(cx, &key)? {
                return Ok(());
            }
            let Some((old, latest)) = self.kept.swap(cx, &key, new.as_ref(), timestamp)? else {
                cx.task.counts.late += 1;
                return Ok(());
            };
            (old.filter(|_| self.send_old), latest)
        };
        if drops && old.is_none() {
            return Ok(());
        }
        self.out.forward(Record { key, value: Some(Change { new, old, latest }), timestamp, headers }, cx)
    }
}

impl Kept {
    /// Whether a row is kept.
    fn holds<K, V>(self, cx: &mut Cx<'_>, key: &K) -> Result<bool, StateError>
    where
        K: Clone + std::hash::Hash + Eq + Send + 'static,
        V: Clone + Send + 'static,
    {
        match self {
            Self::No => Ok(false),
            Self::Plain(index) => Ok(store::<K, V>(cx, index).get(key)?.is_some()),
            Self::Versioned(index) => Ok(versioned_of::<K, V>(cx.task, index).get(key)?.is_some()),
        }
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
