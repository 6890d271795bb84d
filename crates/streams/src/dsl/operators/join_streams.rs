//! Joins of two streams within a window of time.
//!
//! Each side keeps its records for as long as the other side may still reach them. Records of an outer side that found no partner wait
//! in a store that both sides share, and leave it, joined with nothing, when their window and its grace are over; how often that is looked
//! for is limited on the wall clock, since the look is a scan.

use std::ops::Bound;

use vigie_log::Timestamp;

use super::join_buffer::next_number;
use super::join_tables::RowJoiner;
use super::store;
use crate::dsl::join_windows::JoinWindows;
use crate::error::StateError;
use crate::processor::{Cx, Flow, Operator, Out};
use crate::record::{Headers, Record};
use crate::serde::{Serde, SerdeError, SerdeRef};
use crate::state::{SidedKey, StampedKey, TypedStore};

/// What the two sides know together. Begins anew with the task, as in Kafka Streams.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JoinTime {
    /// The largest time of both sides.
    stream_time: Timestamp,
    /// No record without a partner is older.
    min_time: Timestamp,
    /// When to look for closed windows again, on the wall clock.
    next_look: Timestamp,
}

impl Default for JoinTime {
    fn default() -> Self {
        Self { stream_time: -1, min_time: Timestamp::MAX, next_look: 0 }
    }
}

/// A value of either side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Side<L, R> {
    Left(L),
    Right(R),
}

/// Keeps a side's records. They are passed on first, so that a record never meets itself.
pub(crate) struct KeepForJoin<K, V> {
    pub key: SerdeRef<K>,
    pub store: usize,
    pub number: u32,
    pub out: Out<K, V>,
}

impl<K, V> Operator<K, V> for KeepForJoin<K, V>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
{
    fn init(&mut self, cx: &mut Cx<'_>) -> Flow {
        self.number = next_number(store::<StampedKey<K>, V>(cx, self.store), |key| key.number)?;
        Ok(())
    }

    fn process(&mut self, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        let time = record.timestamp;
        let (key, value) = (record.key.clone(), record.value.clone());
        self.out.forward(record, cx)?;
        let Some(value) = value.filter(|_| !self.key.is_null(&key)) else { return Ok(()) };
        let held = store::<StampedKey<K>, V>(cx, self.store);
        if held.is_too_late(time) {
            cx.task.counts.late += 1;
            return Ok(());
        }
        self.number = self.number.wrapping_add(1);
        Ok(held.append(&StampedKey { key, time, number: self.number }, Some(value), time)?)
    }
}

/// The records of a key from `from` to `to`, in order of time and arrival, each with its time.
pub(super) fn kept_between<K, T>(
    held: &mut TypedStore<StampedKey<K>, T>,
    key: &K,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<(T, Timestamp)>, StateError>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    T: Clone + Send + 'static,
{
    let mut found = Vec::new();
    for (low, high) in held.stamped_ranges(key, from, to)? {
        for entry in held.scan(Bound::Included(low), Bound::Included(high), false)? {
            let (stamped, value, _) = entry?;
            if stamped.key == *key {
                found.push((value, stamped.time));
            }
        }
    }
    Ok(found)
}

/// One side: a record of `V` meets the records of `T` that the other side keeps.
pub(crate) struct JoinSide<K, V, T, L, R, W> {
    /// `(key, this side's value, the other's)`.
    pub join: RowJoiner<K, V, T, W>,
    /// `(key, the left side's value, the right side's)`.
    pub both: RowJoiner<K, L, R, W>,
    pub hold: fn(V) -> Side<L, R>,
    pub left: bool,
    /// Whether this side's records are joined with nothing when they find no partner.
    pub outer: bool,
    pub windows: JoinWindows,
    pub key: SerdeRef<K>,
    pub other: usize,
    /// The store of records without a partner, if either side is outer.
    pub lonely: Option<usize>,
    pub look_every_ms: Option<i64>,
    pub out: Out<K, W>,
    pub types: std::marker::PhantomData<fn(T)>,
}

impl<K, V, T, L, R, W> Operator<K, V> for JoinSide<K, V, T, L, R, W>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
    T: Clone + Send + 'static,
    L: Clone + Send + 'static,
    R: Clone + Send + 'static,
    W: Clone + Send + 'static,
{
    fn process(&mut self, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        let at = record.timestamp;
        let mut stream_time = at;
        if let Some(lonely) = self.lonely {
            let time = cx.task.join_times.entry(lonely).or_default();
            time.stream_time = time.stream_time.max(at);
            stream_time = time.stream_time;
        }
        let Record { key, value, headers, .. } = record;
        let null_key = self.key.is_null(&key);
        let Some(value) = value.filter(|_| !null_key || self.outer) else {
            cx.task.counts.skipped += 1;
            return Ok(());
        };
        if null_key {
            let joined = (self.join)(&key, Some(&value), None);
            let record = Record { key, value: Some(joined), timestamp: at, headers };
            return self.out.forward(record, cx);
        }
        if at == stream_time
            && let Some(lonely) = self.lonely
        {
            self.emit_closed(lonely, &headers, cx)?;
        }
        let (before, after) = self.reach();
        let (from, to) = (at.saturating_sub(before).max(0), at.saturating_add(after).max(0));
        let matches = self.matches(&key, &value, from, to, cx)?;
        if matches.is_empty() && self.outer {
            match self.lonely {
                Some(lonely) if to >= stream_time => {
                    let time = cx.task.join_times.entry(lonely).or_default();
                    time.min_time = time.min_time.min(at);
                    let held = store::<SidedKey<K>, Vec<Side<L, R>>>(cx, lonely);
                    let slot = held.slot(&SidedKey { time: at, left: self.left, key })?;
                    let mut list = held.take(slot).map(|(list, _)| list).unwrap_or_default();
                    list.push((self.hold)(value));
                    held.set(slot, Some(list), at);
                    return Ok(());
                }
                _ => {
                    let joined = (self.join)(&key, Some(&value), None);
                    let record = Record { key, value: Some(joined), timestamp: at, headers };
                    return self.out.forward(record, cx);
                }
            }
        }
        for (joined, other) in matches {
            if let Some(lonely) = self.lonely {
                let held = store::<SidedKey<K>, Vec<Side<L, R>>>(cx, lonely);
                let partner = SidedKey { time: other, left: !self.left, key: key.clone() };
                let slot = held.slot(&partner)?;
                if held.at(slot).is_some() {
                    held.set(slot, None, other);
                }
            }
            let (key, headers) = (key.clone(), headers.clone());
            self.out.forward(Record { key, value: Some(joined), timestamp: at.max(other), headers }, cx)?;
        }
        Ok(())
    }
}

impl<K, V, T, L, R, W> JoinSide<K, V, T, L, R, W>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
    T: Clone + Send + 'static,
    L: Clone + Send + 'static,
    R: Clone + Send + 'static,
    W: Clone + Send + 'static,
{
    /// How far the other side's records may lie before and after this one's.
    fn reach(&self) -> (i64, i64) {
        let JoinWindows { before_ms, after_ms, .. } = self.windows;
        if self.left { (before_ms, after_ms) } else { (after_ms, before_ms) }
    }

    /// The results with the other side's records from `from` to `to`, in order of time and arrival, each with the other's time.
    fn matches(
        &self,
        key: &K,
        value: &V,
        from: Timestamp,
        to: Timestamp,
        cx: &mut Cx<'_>,
    ) -> Result<Vec<(W, Timestamp)>, StateError> {
        let held = store::<StampedKey<K>, T>(cx, self.other);
        let kept = kept_between(held, key, from, to)?;
        Ok(kept
            .into_iter()
            .map(|(other, time)| ((self.join)(key, Some(value), Some(&other)), time))
            .collect())
    }

    /// Joins what found no partner, and can find none any more, with nothing.
    fn emit_closed(&self, lonely: usize, headers: &Headers, cx: &mut Cx<'_>) -> Flow {
        let (now, look_every_ms) = (cx.task.wall_clock, cx.task.emit_interval);
        let time = cx.task.join_times.entry(lonely).or_default();
        let (_, after) = self.reach();
        // Wraps around while nothing is known to wait, as Kafka Streams' sum does: the store is then looked at, which after a start it must.
        let closed_below = time.min_time.wrapping_add(after).wrapping_add(self.windows.grace_ms);
        if closed_below >= time.stream_time || now < time.next_look {
            return Ok(());
        }
        time.next_look = now.saturating_add(self.look_every_ms.unwrap_or(look_every_ms));
        let stream_time = time.stream_time;
        let (mut min_time, mut left_open, mut right_open) = (Timestamp::MAX, false, false);
        let mut closed = Vec::new();
        let held = store::<SidedKey<K>, Vec<Side<L, R>>>(cx, lonely);
        'look: for entry in held.scan(Bound::Unbounded, Bound::Unbounded, false)? {
            let (key, list, _) = entry?;
            let reach = if key.left { self.windows.after_ms } else { self.windows.before_ms };
            let end = key.time.saturating_add(reach).saturating_add(self.windows.grace_ms);
            // Value by value, as Kafka Streams looks: where it stops decides when it looks again.
            for _ in &list {
                min_time = key.time;
                if left_open && right_open {
                    break 'look;
                }
                if end >= stream_time {
                    *(if key.left { &mut left_open } else { &mut right_open }) = true;
                }
            }
            if end < stream_time {
                closed.push((key, list));
            }
        }
        for (key, _) in &closed {
            held.put(key, None, key.time)?;
        }
        cx.task.join_times.entry(lonely).or_default().min_time = min_time;
        for (key, list) in closed {
            for value in list {
                let joined = match &value {
                    Side::Left(value) => (self.both)(&key.key, Some(value), None),
                    Side::Right(value) => (self.both)(&key.key, None, Some(value)),
                };
                let record = Record {
                    key: key.key.clone(),
                    value: Some(joined),
                    timestamp: key.time,
                    headers: headers.clone(),
                };
                self.out.forward(record, cx)?;
            }
        }
        Ok(())
    }
}

/// The results of both sides together.
pub(crate) use super::stateless::PassThrough as JoinOutput;

/// Values without a partner: `u8 version | each: u8 side (1: left) | u32 length | value`, numbers little endian.
pub(crate) struct SidesSerde<L, R> {
    pub left: SerdeRef<L>,
    pub right: SerdeRef<R>,
}

const VERSION: u8 = 1;

impl<L, R> Serde<Vec<Side<L, R>>> for SidesSerde<L, R> {
    fn encode(&self, list: &Vec<Side<L, R>>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.push(VERSION);
        for value in list {
            out.push(u8::from(matches!(value, Side::Left(_))));
            let begin = out.len();
            out.extend_from_slice(&[0; 4]);
            match value {
                Side::Left(value) => self.left.encode(value, out)?,
                Side::Right(value) => self.right.encode(value, out)?,
            }
            let length = u32::try_from(out.len() - begin - 4)
                .map_err(|e| SerdeError::new("a value of less than 4 GiB", e))?;
            if let Some(place) = out.get_mut(begin..begin + 4) {
                place.copy_from_slice(&length.to_le_bytes());
            }
        }
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<Side<L, R>>, SerdeError> {
        let broken = || SerdeError::new("values of an outer join", "they are cut off or of another version");
        let (version, mut rest) = bytes.split_first().ok_or_else(broken)?;
        if *version != VERSION {
            return Err(broken());
        }
        let mut list = Vec::new();
        while let Some((head, tail)) = rest.split_first_chunk::<5>() {
            let [side, l0, l1, l2, l3] = *head;
            let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            let (value, tail) = tail.split_at_checked(length).ok_or_else(broken)?;
            list.push(match side {
                0 => Side::Right(self.right.decode(value)?),
                _ => Side::Left(self.left.decode(value)?),
            });
            rest = tail;
        }
        if rest.is_empty() { Ok(list) } else { Err(broken()) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::serde::{I64, Utf8};

    #[test]
    fn values_without_a_partner_survive_as_bytes() {
        let serde = SidesSerde::<String, i64> { left: Arc::new(Utf8), right: Arc::new(I64) };
        let list = vec![Side::Left(String::from("a")), Side::Right(7), Side::Left(String::new())];
        let mut out = Vec::new();
        serde.encode(&list, &mut out).unwrap();
        assert_eq!(serde.decode(&out).unwrap(), list);
        for broken in [&[][..], &[2], &[1, 1, 9, 0, 0, 0, b'a'], &[1, 1, 0]] {
            assert!(serde.decode(broken).is_err(), "{broken:?}");
        }
    }
}
