//! Tables grouped by another key: the old row is taken out of its group, the new one is put into its own.
//!
//! # Format of a change in the repartition topic (version 1)
//! ```text
//! u8 version | u8 flags (1: new, 2: old) | u32 length of new (little endian) | new | old
//! ```

use std::sync::Arc;

use super::{send_held, store};
use crate::processor::{Cx, Flow, Operator, Out};
use crate::record::{Change, Record};
use crate::serde::{Serde, SerdeError, SerdeRef};
use crate::state::Before;

const VERSION: u8 = 1;
const NEW: u8 = 1;
const OLD: u8 = 2;

pub(crate) struct ChangeSerde<V>(pub SerdeRef<V>);

impl<V> Serde<Change<V>> for ChangeSerde<V> {
    fn encode(&self, change: &Change<V>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        let flags = if change.new.is_some() { NEW } else { 0 } | if change.old.is_some() { OLD } else { 0 };
        out.extend_from_slice(&[VERSION, flags]);
        let mut part = Vec::new();
        if let Some(new) = &change.new {
            self.0.encode(new, &mut part)?;
        }
        let length = u32::try_from(part.len()).map_err(|e| SerdeError::new("a row of less than 4 GiB", e))?;
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&part);
        change.old.as_ref().map_or(Ok(()), |old| self.0.encode(old, out))
    }

    fn decode(&self, bytes: &[u8]) -> Result<Change<V>, SerdeError> {
        let broken = || SerdeError::new("a change of a table's row", "it is cut off or of another version");
        let ([version, flags, l0, l1, l2, l3], rest) = bytes.split_first_chunk::<6>().ok_or_else(broken)?;
        if *version != VERSION {
            return Err(broken());
        }
        let length = u32::from_le_bytes([*l0, *l1, *l2, *l3]) as usize;
        let (new, old) = rest.split_at_checked(length).ok_or_else(broken)?;
        let read = |flag: u8, bytes: &[u8]| (flags & flag != 0).then(|| self.0.decode(bytes)).transpose();
        Ok(Change::of(read(NEW, new)?, read(OLD, old)?))
    }
}

pub(crate) type Regroup<K, V, L, W> = Arc<dyn Fn(&K, &V) -> (L, W) + Send + Sync>;

/// Sends the old row to its old group and the new one to its new group.
pub(crate) struct TableSelect<K, V, L, W> {
    pub select: Regroup<K, V, L, W>,
    pub key: SerdeRef<L>,
    /// Whether the table is versioned: late updates are then no part of an aggregate.
    pub versioned: bool,
    pub out: Out<L, Change<W>>,
}

impl<K, V, L, W> Operator<K, Change<V>> for TableSelect<K, V, L, W>
where
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
    L: Clone + Eq + Send + 'static,
    W: Clone + Send + 'static,
{
    fn process(&mut self, record: Record<K, Change<V>>, cx: &mut Cx<'_>) -> Flow {
        let Record { key, value, timestamp, headers } = record;
        let Some(change) = value.filter(|change| change.latest || !self.versioned) else { return Ok(()) };
        let pair = |row: &Option<V>| {
            let pair = row.as_ref().map(|row| (self.select)(&key, row));
            pair.filter(|(group, _)| !self.key.is_null(group))
        };
        let (new, old) = (pair(&change.new), pair(&change.old));
        let mut send = |key: L, change: Change<W>| {
            self.out.forward(Record { key, value: Some(change), timestamp, headers: headers.clone() }, cx)
        };
        match (new, old) {
            (Some((group, new)), Some((before, old))) if group == before => {
                send(group, Change::of(Some(new), Some(old)))
            }
            (new, old) => {
                if let Some((group, old)) = old {
                    send(group, Change::of(None, Some(old)))?;
                }
                new.map_or(Ok(()), |(group, new)| send(group, Change::of(Some(new), None)))
            }
        }
    }
}

pub(crate) type Adder<K, V, A> = Arc<dyn Fn(&K, V, Option<A>) -> Option<A> + Send + Sync>;
pub(crate) type Subtractor<K, V, A> = Arc<dyn Fn(&K, V, A) -> Option<A> + Send + Sync>;

pub(crate) struct TableAggregate<K, V, A> {
    pub add: Adder<K, V, A>,
    pub subtract: Subtractor<K, V, A>,
    pub store: usize,
    pub send_old: bool,
    pub out: Out<K, Change<A>>,
}

/// The aggregate after a row has left the group, and one has come.
#[inline]
pub(super) fn regrouped<K, V, A>(
    key: &K,
    change: Change<V>,
    before: Option<A>,
    add: &Adder<K, V, A>,
    subtract: &Subtractor<K, V, A>,
) -> Option<A> {
    let left = match (change.old, before) {
        (Some(row), Some(before)) => subtract(key, row, before),
        (_, before) => before,
    };
    match change.new {
        Some(row) => add(key, row, left),
        None => left,
    }
}

impl<K, V, A> Operator<K, Change<V>> for TableAggregate<K, V, A>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    fn process(&mut self, record: Record<K, Change<V>>, cx: &mut Cx<'_>) -> Flow {
        let Record { key, value, timestamp, headers } = record;
        let Some(change) = value else { return Ok(()) };
        let held = cx.task.record_cache;
        let state = store::<K, A>(cx, self.store);
        let slot = state.slot(&key)?;
        let (before, timestamp) = match state.take(slot) {
            Some((before, at)) => (Some(before), timestamp.max(at)),
            None => (None, timestamp),
        };
        let old = if self.send_old { before.clone() } else { None };
        let existed = before.is_some();
        let new = regrouped(&key, change, before, &self.add, &self.subtract);
        if held && state.hold(slot, Before { existed, copy: old.clone() }, &headers) {
            state.set(slot, new, timestamp);
            return Ok(());
        }
        state.set(slot, new.clone(), timestamp);
        self.out.forward(Record { key, value: Some(Change::of(new, old)), timestamp, headers }, cx)
    }

    fn before_commit(&mut self, cx: &mut Cx<'_>) -> Flow {
        send_held(self.store, &self.out, cx, |key: K| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serde::Utf8;

    #[test]
    fn changes_survive_as_bytes() {
        let serde = ChangeSerde::<String>(Arc::new(Utf8));
        for (new, old) in [(Some("a"), Some("bc")), (None, Some("")), (Some(""), None), (None, None)] {
            let change = Change::of(new.map(String::from), old.map(String::from));
            let mut out = Vec::new();
            serde.encode(&change, &mut out).unwrap();
            assert_eq!(serde.decode(&out).unwrap(), change);
        }
        for broken in [&[][..], &[1, 3, 9, 0, 0, 0, 1], &[2, 0, 0, 0, 0, 0]] {
            assert!(serde.decode(broken).is_err(), "{broken:?}");
        }
    }
}
