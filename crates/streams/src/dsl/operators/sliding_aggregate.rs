//! `count`, `reduce` and `aggregate` of a grouped stream in sliding windows.
//!
//! A record at `t` belongs to its left window `[t - d, t]`, to the windows already there that hold `t`, and to the right window of the record before it. Its own right window
//! `[t + 1, t + 1 + d]` is made as soon as it holds a record. Which windows are updated or made, and in which order, is Kafka Streams' rule,
//! the reach of its store included: what has fallen out of its retention is not found.

use vigie_log::Timestamp;

use super::store;
use super::windowed::{Closed, Cutting, WindowedAggregate};
use crate::dsl::windows::SlidingWindows;
use crate::error::{Failure, StateError};
use crate::processor::{Cx, Flow};
use crate::record::{Change, Record, Window, Windowed};
use crate::serde::SerdeRef;
use crate::state::{Before, TypedStore, WindowKey, windows_between, windows_of};

/// A window of the record's key as it was before the record.
struct Held<A> {
    start: Timestamp,
    aggregate: A,
    /// The largest timestamp of its records.
    newest: Timestamp,
}

impl<K, V, A> Cutting<K, V, A> for SlidingWindows
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    type Place = WindowKey<K>;

    const SEES_NULLS: bool = false;

    /// Windows that end before this time are closed.
    fn close_time(self, observed: Timestamp) -> Timestamp {
        observed.saturating_sub(self.grace_ms)
    }

    fn window(self, place: WindowKey<K>) -> Windowed<K> {
        let window = Window { start: place.start, end: place.start.saturating_add(self.difference_ms) };
        Windowed { key: place.key, window }
    }

    fn add(
        node: &mut WindowedAggregate<K, V, A, Self>,
        record: Record<K, V>,
        close: Timestamp,
        cx: &mut Cx<'_>,
    ) -> Result<bool, Box<Failure>> {
        let (timestamp, difference) = (record.timestamp, node.windows.difference_ms);
        if timestamp.saturating_add(difference) < close {
            cx.task.counts.late += 1;
            return Ok(false);
        }
        if timestamp < difference {
            // Kafka Streams sends no final results with a record of the first window.
            node.process_early(&record, cx)?;
            return Ok(false);
        }
        node.process_reverse(&record, cx)?;
        Ok(true)
    }

    fn last_closed(self, close: Timestamp) -> Timestamp {
        close.saturating_sub(self.difference_ms).saturating_sub(1)
    }

    fn closed(
        self,
        state: &mut TypedStore<WindowKey<K>, A>,
        key: &SerdeRef<K>,
        before: Timestamp,
        last: Timestamp,
    ) -> Result<Vec<Closed<WindowKey<K>, A>>, StateError> {
        windows_between(state, key, before.saturating_sub(self.difference_ms).max(0), last)
    }
}

impl<K, V, A> WindowedAggregate<K, V, A, SlidingWindows>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    /// The windows of the key that start within these bounds and can still be found, in order of their starts.
    fn held(
        &self,
        key: &K,
        from: Timestamp,
        to: Timestamp,
        cx: &mut Cx<'_>,
    ) -> Result<Vec<Held<A>>, Box<Failure>> {
        let found = windows_of(store::<WindowKey<K>, A>(cx, self.store), key, from.max(0), to)?;
        Ok(found.into_iter().map(|(start, aggregate, newest)| Held { start, aggregate, newest }).collect())
    }

    /// Puts an aggregate and sends it on.
    fn put(
        &mut self,
        record: &Record<K, V>,
        start: Timestamp,
        new: Option<A>,
        timestamp: Timestamp,
        cx: &mut Cx<'_>,
    ) -> Flow {
        let held = cx.task.record_cache;
        let state = store::<WindowKey<K>, A>(cx, self.store);
        let slot = state.slot(&WindowKey { key: record.key.clone(), start })?;
        let before = state.take(slot).map(|(old, _)| old);
        let existed = before.is_some();
        let old = before.filter(|_| self.send_old);
        if self.is_quiet() {
            state.set(slot, new, timestamp);
            return Ok(());
        }
        if held && state.hold(slot, Before { existed, copy: old.clone() }, &record.headers) {
            state.set(slot, new, timestamp);
            return Ok(());
        }
        state.set(slot, new.clone(), timestamp);
        let window = Window { start, end: start.saturating_add(self.windows.difference_ms) };
        let key = Windowed { key: record.key.clone(), window };
        let (value, headers) = (Some(Change::of(new, old)), record.headers.clone());
        self.out.forward(Record { key, value, timestamp, headers }, cx)
    }

    /// Adds the record to a window that holds `before`.
    fn update(
        &mut self,
        record: &Record<K, V>,
        start: Timestamp,
        before: Option<(A, Timestamp)>,
        cx: &mut Cx<'_>,
    ) -> Flow {
        if start.saturating_add(self.windows.difference_ms)
            < self.observed.saturating_sub(self.windows.grace_ms)
        {
            cx.task.counts.late += 1;
            return Ok(());
        }
        let (before, timestamp) = match before {
            Some((before, newest)) => (Some(before), record.timestamp.max(newest)),
            None => (None, record.timestamp),
        };
        let new = (self.fold.add)(&record.key, record.value.clone(), before);
        self.put(record, start, new, timestamp, cx)
    }

    /// Makes the window behind the record, unless it is there or would be empty.
    fn make_right(
        &mut self,
        record: &Record<K, V>,
        there: bool,
        right: Option<(A, Timestamp)>,
        cx: &mut Cx<'_>,
    ) -> Flow {
        match right {
            Some((aggregate, newest)) if !there && newest > record.timestamp => {
                self.put(record, record.timestamp + 1, Some(aggregate), newest, cx)
            }
            _ => Ok(()),
        }
    }

    fn process_reverse(&mut self, record: &Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        let (timestamp, difference) = (record.timestamp, self.windows.difference_ms);
        let (mut right, mut left, mut previous) = (None, None, None);
        let (mut left_there, mut right_there) = (false, false);
        let mut starts = Vec::new();
        let held = self.held(&record.key, timestamp.saturating_sub(2 * difference), timestamp + 1, cx)?;
        for window in held.into_iter().rev() {
            starts.push(window.start);
            let end = window.start + difference;
            if window.start == timestamp + 1 {
                right_there = true;
            } else if end > timestamp {
                let before = (window.aggregate, window.newest);
                right.get_or_insert_with(|| before.clone());
                self.update(record, window.start, Some(before), cx)?;
            } else if end == timestamp {
                left_there = true;
                self.update(record, window.start, Some((window.aggregate, window.newest)), cx)?;
                if window.newest >= timestamp {
                    // Another record has this timestamp: all windows are there.
                    return Ok(());
                }
                previous = Some(window.newest);
            } else {
                previous = Some(window.newest);
                left = Some((window.aggregate, window.newest));
                break;
            }
        }
        if let Some(previous) = previous {
            let start = previous + 1;
            if !starts.contains(&start) && start + difference >= timestamp {
                self.update(record, start, None, cx)?;
            }
        }
        if !left_there {
            let reaches = previous.is_some_and(|previous| timestamp - difference <= previous);
            // What the window before held lies within this one too; its timestamp is that of the record.
            let before = left.filter(|_| reaches).map(|(aggregate, _)| (aggregate, timestamp));
            self.update(record, timestamp - difference, before, cx)?;
        }
        self.make_right(record, right_there, right, cx)
    }

    /// Records whose left window would begin before 0 share the window that begins at 0.
    fn process_early(&mut self, record: &Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        let timestamp = record.timestamp;
        let (mut first, mut right, mut previous) = (None, None, None);
        let mut right_there = false;
        let mut starts = Vec::new();
        for window in self.held(&record.key, 0, timestamp + 1, cx)? {
            starts.push(window.start);
            let before = (window.aggregate, window.newest);
            if window.start == 0 {
                previous = Some(before.1).filter(|newest| *newest < timestamp);
                first = Some(before);
            } else if window.start <= timestamp {
                right = Some(before.clone());
                self.update(record, window.start, Some(before), cx)?;
            } else {
                right_there = true;
            }
        }
        // Without a window in between, all that the first window holds and is newer than the record follows it.
        let right = right.or_else(|| first.clone().filter(|(_, newest)| *newest > timestamp));
        self.make_right(record, right_there, right, cx)?;
        if let Some(start) = previous.map(|previous| previous + 1).filter(|start| !starts.contains(start)) {
            self.update(record, start, None, cx)?;
        }
        self.update(record, 0, first, cx)
    }
}
