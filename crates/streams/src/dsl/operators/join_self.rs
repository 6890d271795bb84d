//! A stream joined with itself, kept once: the optimised form of two joiners over two stores.
//!
//! The results are those of the two joiners, in the same order. A record meets itself too, in its place among the results by time.

use std::any::Any;
use std::marker::PhantomData;

use vigie_log::Timestamp;

use super::join_streams::kept_between;
use super::join_tables::RowJoiner;
use super::store;
use crate::dsl::join_windows::JoinWindows;
use crate::processor::{Cx, Flow, Operator, Out};
use crate::record::Record;
use crate::serde::SerdeRef;
use crate::state::StampedKey;

/// `V` and `T` are one type: that of the stream, as its left and as its right side.
pub(crate) struct JoinSelf<K, V, T, W> {
    pub join: RowJoiner<K, V, T, W>,
    pub windows: JoinWindows,
    pub key: SerdeRef<K>,
    pub store: usize,
    /// The largest time so far. Begins anew with the task, as in Kafka Streams.
    pub stream_time: Timestamp,
    pub out: Out<K, W>,
    pub types: PhantomData<fn(V, T)>,
}

impl<K, V, T, W> Operator<K, V> for JoinSelf<K, V, T, W>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
    T: Clone + Send + 'static,
    W: Clone + Send + 'static,
{
    fn process(&mut self, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        let Record { key, value, timestamp: at, headers } = record;
        let Some(value) = value.filter(|_| !self.key.is_null(&key)) else {
            cx.task.counts.skipped += 1;
            return Ok(());
        };
        self.stream_time = self.stream_time.max(at);
        let JoinWindows { before_ms, after_ms, grace_ms } = self.windows;
        let retention = self.windows.size_ms().saturating_add(grace_ms);
        // What is too late to be kept meets what is kept, but not itself.
        let mut meets_itself = at > self.stream_time.saturating_sub(retention).saturating_add(1);
        let join = |left: &V, right: &V| {
            let right = (right as &dyn Any).downcast_ref::<T>();
            (self.join)(
                &key,
                Some(left),
                Some(right.expect("a stream joined with itself has one type of values")),
            )
        };
        let around =
            |before: i64, after: i64| (at.saturating_sub(before).max(0), at.saturating_add(after).max(0));
        let mut results = Vec::new();
        let kept = |cx: &mut Cx<'_>, (from, to)| {
            kept_between(store::<StampedKey<K>, V>(cx, self.store), &key, from, to)
        };
        for (other, time) in kept(cx, around(before_ms, after_ms))? {
            results.push((join(&value, &other), at.max(time)));
        }
        for (other, time) in kept(cx, around(after_ms, before_ms))? {
            if time > at && std::mem::take(&mut meets_itself) {
                results.push((join(&value, &value), at));
            }
            results.push((join(&other, &value), at.max(time)));
        }
        if meets_itself {
            results.push((join(&value, &value), at));
        }
        for (value, timestamp) in results {
            let (key, headers) = (key.clone(), headers.clone());
            self.out.forward(Record { key, value: Some(value), timestamp, headers }, cx)?;
        }
        Ok(())
    }
}
