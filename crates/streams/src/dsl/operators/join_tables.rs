//! Joins of two tables: one node for each side, and one that brings their results together.

use std::sync::Arc;

use super::table::Kept;
use crate::dsl::view::{Look, Then};
use crate::error::StateError;
use crate::processor::{Cx, Flow, Operator, Out, TaskState};
use crate::record::{Change, Record};
use crate::serde::SerdeRef;

/// `(key, row of this side, row of the other side)`.
pub(crate) type RowJoiner<K, V, T, W> = Arc<dyn Fn(&K, Option<&V>, Option<&T>) -> W + Send + Sync>;

/// What a side must find to have a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// A row on both sides.
    Both,
    /// A row on this side: the left side of a left join.
    This,
    /// A row on the other side: the right side of a left join.
    Other,
    /// A row on either side.
    Either,
}

impl Needs {
    fn met(self, this: bool, other: bool) -> bool {
        match self {
            Self::Both => this && other,
            Self::This => this,
            Self::Other => other,
            Self::Either => this || other,
        }
    }
}

/// One side: a change of `V` is joined with the other table's row as it is now.
pub(crate) struct TableSide<K, V, T, W> {
    pub join: RowJoiner<K, V, T, W>,
    pub needs: Needs,
    pub key: SerdeRef<K>,
    pub other: Box<dyn Look<K, T>>,
    /// Whether this side's table is versioned: its late updates then change nothing.
    pub versioned: bool,
    pub send_old: bool,
    pub out: Out<K, Change<W>>,
}

impl<K, V, T, W> Operator<K, Change<V>> for TableSide<K, V, T, W>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    T: Clone + Send + 'static,
    W: Clone + Send + 'static,
{
    fn process(&mut self, record: Record<K, Change<V>>, cx: &mut Cx<'_>) -> Flow {
        let Record { key, value, timestamp, headers } = record;
        let Some(change) = value else { return Ok(()) };
        if self.key.is_null(&key) || self.versioned && !change.latest {
            cx.task.counts.skipped += 1;
            return Ok(());
        }
        let (needs, join, send_old) = (self.needs, &self.join, self.send_old);
        let mut joined = None;
        self.other.look(cx.task, &key, None, &mut |row| {
            let (other, at) = row.map_or((None, timestamp), |(row, at)| (Some(row), timestamp.max(at)));
            // Without a row on the other side an inner join has nothing to take back either.
            let nothing = other.is_none()
                && (matches!(needs, Needs::Both | Needs::Other)
                    || change.new.is_none() && change.old.is_none());
            if nothing {
                return;
            }
            let result =
                |row: Option<&V>| needs.met(row.is_some(), other.is_some()).then(|| join(&key, row, other));
            let new = result(change.new.as_ref());
            let old = if send_old { result(change.old.as_ref()) } else { None };
            joined = Some((Change { new, old, latest: change.latest }, at));
        })?;
        let Some((change, timestamp)) = joined else { return Ok(()) };
        self.out.forward(Record { key, value: Some(change), timestamp, headers }, cx)
    }
}

/// Both sides' results: kept if asked for.
pub(crate) struct Merge<K, W> {
    pub kept: Kept,
    pub send_old: bool,
    pub out: Out<K, Change<W>>,
}

impl<K, W> Operator<K, Change<W>> for Merge<K, W>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    W: Clone + Send + 'static,
{
    fn process(&mut self, mut record: Record<K, Change<W>>, cx: &mut Cx<'_>) -> Flow {
        let Some(change) = &mut record.value else { return Ok(()) };
        if self.kept != Kept::No {
            let put = self.kept.swap(cx, &record.key, change.new.as_ref(), record.timestamp)?;
            let Some((_, latest)) = put else {
                cx.task.counts.late += 1;
                return Ok(());
            };
            change.latest = latest;
        }
        if !self.send_old {
            change.old = None;
        }
        self.out.forward(record, cx)
    }
}

/// The rows of a join that is not kept, worked out when asked for.
pub(crate) struct JoinedLook<K, V, T, W> {
    pub join: RowJoiner<K, V, T, W>,
    pub needs: Needs,
    pub this: Box<dyn Look<K, V>>,
    pub other: Box<dyn Look<K, T>>,
}

impl<K, V, T, W> Look<K, W> for JoinedLook<K, V, T, W>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    T: Clone + Send + 'static,
    W: Clone + Send + 'static,
{
    fn look(
        &mut self,
        task: &mut TaskState,
        key: &K,
        _: Option<i64>,
        then: Then<'_, W>,
    ) -> Result<(), StateError> {
        let this = self.this.row(task, key)?;
        let other = self.other.row(task, key)?;
        if !self.needs.met(this.is_some(), other.is_some()) {
            then(None);
            return Ok(());
        }
        let at = this.as_ref().map_or(-1, |(_, at)| *at).max(other.as_ref().map_or(-1, |(_, at)| *at));
        let row = (self.join)(key, this.as_ref().map(|(row, _)| row), other.as_ref().map(|(row, _)| row));
        then(Some((&row, at)));
        Ok(())
    }
}
