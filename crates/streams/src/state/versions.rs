//! The older versions of one row within one segment of time, newest first, and the rules by which versions move into it. They are those of
//! Kafka Streams' versioned store, down to what is forgotten: results of joins depend on them.
//!
//! # Format of a version cell (version 1)
//! ```text
//! u8 version | u8 1: the latest | value
//! u8 version | u8 0: older ones | i64 next | each, newest first: i64 from | i32 length (-1: the row was removed) | value
//! ```
//! Numbers are little endian.

use vigie_log::Timestamp;

use crate::serde::{Serde, SerdeError, SerdeRef};

/// What lies under one key of a versioned store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell<V> {
    /// The latest version of a row that is there; its time is the entry's.
    Latest(V),
    /// Versions that ended within one segment.
    Past(Past<V>),
}

/// Versions in a row, each valid until the one before it in the list begins; the first until `next`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Past<V> {
    pub next: Timestamp,
    /// Never empty. `None` is a time without a row.
    pub versions: Vec<(Timestamp, Option<V>)>,
}

/// A version found in a [`Past`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub index: usize,
    pub from: Timestamp,
    pub to: Timestamp,
}

impl<V> Past<V> {
    pub(crate) fn with(value: Option<V>, from: Timestamp, to: Timestamp) -> Self {
        Self { next: to, versions: vec![(from, value)] }
    }

    /// When the oldest version begins.
    pub(crate) fn min(&self) -> Timestamp {
        self.versions.last().map_or(self.next, |(from, _)| *from)
    }

    /// Holds nothing but the time at which a row was removed.
    fn is_mark(&self) -> bool {
        self.next == self.min()
    }

    /// The version of a time from `min` up to, but not including, `next`.
    pub(crate) fn find(&self, at: Timestamp) -> Option<Found> {
        let index = self.versions.iter().position(|(from, _)| *from <= at)?;
        let from = self.versions.get(index).map(|(from, _)| *from)?;
        let to = match index.checked_sub(1).and_then(|newer| self.versions.get(newer)) {
            Some((newer, _)) => *newer,
            None => self.next,
        };
        Some(Found { index, from, to })
    }

    /// Adds a version newer than all others, which ends at `to`; a gap before it is a time without a row.
    pub(crate) fn insert_newest(&mut self, from: Timestamp, to: Timestamp, value: Option<V>) {
        if from < self.next {
            // Only where a crash left this segment ahead of the rest: the changelog brings what is cut off again.
            self.versions.retain(|(begin, _)| *begin < from);
            if self.versions.is_empty() {
                self.versions.push((from, None));
            }
            self.next = from;
        }
        let mark = self.is_mark();
        if self.next == from {
            if mark {
                self.versions.clear();
            }
            self.versions.insert(0, (from, value));
        } else {
            if mark {
                self.versions.clear();
            }
            self.versions.insert(0, (self.next, None));
            self.versions.insert(0, (from, value));
        }
        self.next = to;
    }

    /// Adds a version older than all others, which ends where they begin.
    pub(crate) fn insert_oldest(&mut self, from: Timestamp, value: Option<V>) {
        if self.is_mark() {
            self.versions.clear();
        }
        self.versions.push((from, value));
    }

    pub(crate) fn insert(&mut self, index: usize, from: Timestamp, value: Option<V>) {
        self.versions.insert(index.min(self.versions.len()), (from, value));
    }

    /// Replaces a version; gives its old value.
    pub(crate) fn update(&mut self, index: usize, from: Timestamp, value: Option<V>) -> Option<V> {
        let place = self.versions.get_mut(index)?;
        std::mem::replace(place, (from, value)).1
    }
}

const VERSION: u8 = 1;

pub(crate) struct CellSerde<V>(pub SerdeRef<V>);

impl<V> Serde<Cell<V>> for CellSerde<V> {
    fn encode(&self, cell: &Cell<V>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.push(VERSION);
        let past = match cell {
            Cell::Latest(value) => {
                out.push(1);
                return self.0.encode(value, out);
            }
            Cell::Past(past) => past,
        };
        out.push(0);
        out.extend_from_slice(&past.next.to_le_bytes());
        for (from, value) in &past.versions {
            out.extend_from_slice(&from.to_le_bytes());
            let begin = out.len();
            out.extend_from_slice(&(-1_i32).to_le_bytes());
            let Some(value) = value else { continue };
            self.0.encode(value, out)?;
            let length = i32::try_from(out.len() - begin - 4)
                .map_err(|e| SerdeError::new("a value of less than 2 GiB", e))?;
            if let Some(place) = out.get_mut(begin..begin + 4) {
                place.copy_from_slice(&length.to_le_bytes());
            }
        }
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Cell<V>, SerdeError> {
        let broken = || {
            SerdeError::new(
                "versions of a row",
                "they are cut off or written by another version of this program",
            )
        };
        let ([version, kind], rest) = bytes.split_first_chunk::<2>().ok_or_else(broken)?;
        if *version != VERSION {
            return Err(broken());
        }
        if *kind == 1 {
            return Ok(Cell::Latest(self.0.decode(rest)?));
        }
        let (next, mut rest) = rest.split_first_chunk::<8>().ok_or_else(broken)?;
        let mut versions = Vec::new();
        while !rest.is_empty() {
            let (from, tail) = rest.split_first_chunk::<8>().ok_or_else(broken)?;
            let (length, tail) = tail.split_first_chunk::<4>().ok_or_else(broken)?;
            let length = usize::try_from(i32::from_le_bytes(*length)).ok();
            let (value, tail) = tail.split_at_checked(length.unwrap_or(0)).ok_or_else(broken)?;
            let value = length.map(|_| self.0.decode(value)).transpose()?;
            versions.push((i64::from_le_bytes(*from), value));
            rest = tail;
        }
        if versions.is_empty() {
            return Err(broken());
        }
        Ok(Cell::Past(Past { next: i64::from_le_bytes(*next), versions }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::serde::Utf8;

    #[test]
    fn cells_survive_as_bytes() {
        let serde = CellSerde::<String>(Arc::new(Utf8));
        let past = Past {
            next: 9,
            versions: vec![(7, None), (3, Some(String::from("x"))), (1, Some(String::new()))],
        };
        for cell in [Cell::Latest(String::from("v")), Cell::Past(past)] {
            let mut out = Vec::new();
            serde.encode(&cell, &mut out).unwrap();
            assert_eq!(serde.decode(&out).unwrap(), cell);
        }
        for broken in [&[][..], &[1], &[2, 1], &[1, 0, 0, 0], &[1, 0, 9, 0, 0, 0, 0, 0, 0, 0]] {
            assert!(serde.decode(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn a_gap_is_a_time_without_a_row() {
        let mut past = Past::with(Some('a'), 1, 3);
        past.insert_newest(5, 9, Some('b'));
        assert_eq!(past.versions, [(5, Some('b')), (3, None), (1, Some('a'))]);
        assert_eq!(past.find(4), Some(Found { index: 1, from: 3, to: 5 }));
        assert_eq!(past.find(8), Some(Found { index: 0, from: 5, to: 9 }));
        assert_eq!(past.find(0), None);
    }

    #[test]
    fn a_mark_gives_way() {
        let mut past: Past<char> = Past::with(None, 4, 4);
        past.insert_oldest(2, Some('a'));
        assert_eq!(past, Past { next: 4, versions: vec![(2, Some('a'))] });
        let mut past: Past<char> = Past::with(None, 4, 4);
        past.insert_newest(6, 8, Some('b'));
        assert_eq!(past, Past { next: 8, versions: vec![(6, Some('b')), (4, None)] });
    }

    #[test]
    fn what_is_put_again_after_a_crash_lies_there_once() {
        let mut past = Past::with(Some('a'), 1, 3);
        past.insert_newest(3, 6, Some('b'));
        let whole = past.clone();
        past.insert_newest(3, 6, Some('b'));
        assert_eq!(past, whole);
        let mut past = Past::with(Some('a'), 1, 3);
        past.insert_newest(1, 3, Some('a'));
        assert_eq!(past, Past::with(Some('a'), 1, 3));
    }
}
