//! Keys of the stores behind joins, as bytes.
//!
//! # Format
//! ```text
//! kind       store                                                 local                               changelog
//! stamped    records of one side of a join of streams              segment | key | time | u32 n        key | time | u32 n
//! sided      records of either side without a partner yet          time | u8 left | key                the same
//! timed      records that wait for a versioned table               time | key | u32 n                  the same
//! combined   subscriptions of a foreign-key join                   u32 length | foreign key | key      the same
//! ```
//! Numbers are big endian; local times have the sign bit flipped, so that order of bytes is order of time. `n` keeps records of equal key
//! and time apart, in the order in which they came.

use vigie_log::Timestamp;

use super::TypedStore;
use super::format::{KeyFormat, from_ordered, ordered, split_last, too_short};
use super::window::KeyRange;
use crate::error::StateError;
use crate::serde::{SerdeError, SerdeRef};

/// A record of a stream in its store: many may have one key and one time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct StampedKey<K> {
    pub key: K,
    pub time: Timestamp,
    pub number: u32,
}

pub(crate) struct StampedKeys<K> {
    pub inner: SerdeRef<K>,
    pub segment_ms: i64,
}

const STAMPED: &str = "a joined stream's key (key, time, number)";

impl<K> KeyFormat<StampedKey<K>> for StampedKeys<K> {
    fn local(&self, key: &StampedKey<K>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend_from_slice(&ordered(key.time.div_euclid(self.segment_ms)));
        self.inner.encode(&key.key, out)?;
        out.extend_from_slice(&ordered(key.time));
        out.extend_from_slice(&key.number.to_be_bytes());
        Ok(())
    }
    fn read_local(&self, bytes: &[u8]) -> Result<StampedKey<K>, SerdeError> {
        let (rest, number) = split_number(bytes.get(8..).unwrap_or_default(), STAMPED)?;
        let (key, time) = split_last(rest).ok_or_else(|| too_short(STAMPED, bytes))?;
        Ok(StampedKey { key: self.inner.decode(key)?, time: from_ordered(time), number })
    }
    fn write_changelog(&self, local: &[u8], out: &mut Vec<u8>) {
        let parts = local.get(8..).and_then(<[u8]>::split_last_chunk::<4>);
        if let Some((key, time, number)) =
            parts.and_then(|(rest, number)| split_last(rest).map(|(key, time)| (key, time, number)))
        {
            out.extend_from_slice(key);
            out.extend_from_slice(&from_ordered(time).to_be_bytes());
            out.extend_from_slice(number);
        }
    }
    fn read_changelog(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), SerdeError> {
        let (rest, number) = split_number(bytes, STAMPED)?;
        let (key, time) = split_last(rest).ok_or_else(|| too_short(STAMPED, bytes))?;
        let time = i64::from_be_bytes(time);
        out.extend_from_slice(&ordered(time.div_euclid(self.segment_ms)));
        out.extend_from_slice(key);
        out.extend_from_slice(&ordered(time));
        out.extend_from_slice(&number.to_be_bytes());
        Ok(())
    }
    fn time(&self, key: &StampedKey<K>) -> Option<Timestamp> {
        Some(key.time)
    }
    fn local_time(&self, local: &[u8]) -> Option<Timestamp> {
        let (rest, _) = local.split_last_chunk::<4>()?;
        split_last(rest).map(|(_, time)| from_ordered(time))
    }
}

fn split_number<'a>(bytes: &'a [u8], expected: &'static str) -> Result<(&'a [u8], u32), SerdeError> {
    let (rest, number) = bytes.split_last_chunk::<4>().ok_or_else(|| too_short(expected, bytes))?;
    Ok((rest, u32::from_be_bytes(*number)))
}

fn split_time<'a>(bytes: &'a [u8], expected: &'static str) -> Result<(Timestamp, &'a [u8]), SerdeError> {
    let (time, rest) = bytes.split_first_chunk::<8>().ok_or_else(|| too_short(expected, bytes))?;
    Ok((from_ordered(*time), rest))
}

macro_rules! same_in_changelog {
    () => {
        fn write_changelog(&self, local: &[u8], out: &mut Vec<u8>) {
            out.extend_from_slice(local);
        }
        fn read_changelog(&self, key: &[u8], out: &mut Vec<u8>) -> Result<(), SerdeError> {
            out.extend_from_slice(key);
            Ok(())
        }
    };
}

impl<K, V> TypedStore<StampedKey<K>, V>
where
    K: std::hash::Hash + Eq + Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    /// Whether a record of this time comes too late to be kept: its whole segment has expired.
    pub(crate) fn is_too_late(&self, time: Timestamp) -> bool {
        self.retention.is_some_and(|retention| {
            time.div_euclid(retention.segment_ms) < retention.live_segment(self.latest().max(time))
        })
    }

    /// The ranges of local keys, one a segment, both ends included, that hold a key's records from `from` to `to`; records of longer keys
    /// may lie between them.
    pub(crate) fn stamped_ranges(
        &self,
        key: &K,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<KeyRange>, StateError> {
        let Some(retention) = self.retention else { return Ok(Vec::new()) };
        let (from, to) = (from.max(retention.live_from(self.latest())), to.min(self.latest()));
        if from > to {
            return Ok(Vec::new());
        }
        let mut probe = Vec::new();
        self.keys
            .local(&StampedKey { key: key.clone(), time: from, number: 0 }, &mut probe)
            .map_err(|source| StateError::Encode { store: self.name.to_string(), source })?;
        let key_bytes = probe.get(8..probe.len().saturating_sub(12)).unwrap_or_default();
        let bound = |segment: i64, time: Timestamp, number: u32| {
            let mut bytes = Vec::with_capacity(probe.len());
            bytes.extend_from_slice(&ordered(segment));
            bytes.extend_from_slice(key_bytes);
            bytes.extend_from_slice(&ordered(time));
            bytes.extend_from_slice(&number.to_be_bytes());
            bytes
        };
        let segment = |time: Timestamp| time.div_euclid(retention.segment_ms);
        let ranges = (segment(from)..=segment(to)).map(|s| (bound(s, from, 0), bound(s, to, u32::MAX)));
        Ok(ranges.collect())
    }
}

/// A record without a partner: its time, its side, its key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SidedKey<K> {
    pub time: Timestamp,
    pub left: bool,
    pub key: K,
}

pub(crate) struct SidedKeys<K>(pub SerdeRef<K>);

const SIDED: &str = "an outer join's key (time, side, key)";

impl<K> KeyFormat<SidedKey<K>> for SidedKeys<K> {
    fn local(&self, key: &SidedKey<K>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend_from_slice(&ordered(key.time));
        out.push(u8::from(key.left));
        self.0.encode(&key.key, out)
    }
    fn read_local(&self, bytes: &[u8]) -> Result<SidedKey<K>, SerdeError> {
        let (time, rest) = split_time(bytes, SIDED)?;
        let (side, key) = rest.split_first().ok_or_else(|| too_short(SIDED, bytes))?;
        Ok(SidedKey { time, left: *side != 0, key: self.0.decode(key)? })
    }
    same_in_changelog!();
}

/// A record that waits: its time, its key, its number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TimedKey<K> {
    pub time: Timestamp,
    pub key: K,
    pub number: u32,
}

pub(crate) struct TimedKeys<K>(pub SerdeRef<K>);

const TIMED: &str = "a waiting record's key (time, key, number)";

impl<K> KeyFormat<TimedKey<K>> for TimedKeys<K> {
    fn local(&self, key: &TimedKey<K>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend_from_slice(&ordered(key.time));
        self.0.encode(&key.key, out)?;
        out.extend_from_slice(&key.number.to_be_bytes());
        Ok(())
    }
    fn read_local(&self, bytes: &[u8]) -> Result<TimedKey<K>, SerdeError> {
        let (time, rest) = split_time(bytes, TIMED)?;
        let (key, number) = split_number(rest, TIMED)?;
        Ok(TimedKey { time, key: self.0.decode(key)?, number })
    }
    same_in_changelog!();
}

/// Who wants to hear of which foreign key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct CombinedKey<F, K> {
    pub foreign: F,
    pub key: K,
}

pub(crate) struct CombinedKeys<F, K> {
    pub foreign: SerdeRef<F>,
    pub key: SerdeRef<K>,
}

const COMBINED: &str = "a subscription's key (foreign key, key)";

impl<F, K> CombinedKeys<F, K> {
    /// What the local keys of all subscriptions to a foreign key begin with.
    pub(crate) fn prefix(&self, foreign: &F, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        let begin = out.len();
        out.extend_from_slice(&[0; 4]);
        self.foreign.encode(foreign, out)?;
        let length = u32::try_from(out.len() - begin - 4)
            .map_err(|e| SerdeError::new("a foreign key of less than 4 GiB", e))?;
        if let Some(place) = out.get_mut(begin..begin + 4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        Ok(())
    }
}

impl<F, K> KeyFormat<CombinedKey<F, K>> for CombinedKeys<F, K> {
    fn local(&self, key: &CombinedKey<F, K>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.prefix(&key.foreign, out)?;
        self.key.encode(&key.key, out)
    }
    fn read_local(&self, bytes: &[u8]) -> Result<CombinedKey<F, K>, SerdeError> {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| too_short(COMBINED, bytes))?;
        let (foreign, key) = rest
            .split_at_checked(u32::from_be_bytes(*length) as usize)
            .ok_or_else(|| too_short(COMBINED, bytes))?;
        Ok(CombinedKey { foreign: self.foreign.decode(foreign)?, key: self.key.decode(key)? })
    }
    same_in_changelog!();
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;
    use std::sync::Arc;

    use super::*;
    use crate::serde::Utf8;
    use crate::state::format::check_format;

    fn check<Q: PartialEq + Debug + Clone>(format: &dyn KeyFormat<Q>, key: Q, changelog: &[u8]) {
        check_format(format, key.clone(), changelog);
        let mut local = Vec::new();
        format.local(&key, &mut local).unwrap();
        for cut in 0..local.len().min(6) {
            assert!(format.read_local(&local[..cut]).is_err(), "{cut} bytes of {key:?}");
        }
    }

    #[test]
    fn keys_survive_both_ways() {
        let text = || Arc::new(Utf8) as SerdeRef<String>;
        let k = || String::from("k");
        check(
            &StampedKeys { inner: text(), segment_ms: 60_000 },
            StampedKey { key: k(), time: 61_000, number: 7 },
            b"k\0\0\0\0\0\0\xee\x48\0\0\0\x07",
        );
        check(&SidedKeys(text()), SidedKey { time: 1, left: true, key: k() }, b"\x80\0\0\0\0\0\0\x01\x01k");
        check(
            &TimedKeys(text()),
            TimedKey { time: 1, key: k(), number: 2 },
            b"\x80\0\0\0\0\0\0\x01k\0\0\0\x02",
        );
        check(
            &CombinedKeys { foreign: text(), key: text() },
            CombinedKey { foreign: String::from("fk"), key: k() },
            b"\0\0\0\x02fkk",
        );
    }

    #[test]
    fn a_longer_foreign_key_is_no_neighbour() {
        let keys = CombinedKeys { foreign: Arc::new(Utf8), key: Arc::new(Utf8) };
        let (mut prefix, mut other) = (Vec::new(), Vec::new());
        keys.prefix(&String::from("a"), &mut prefix).unwrap();
        keys.local(&CombinedKey { foreign: String::from("ab"), key: String::new() }, &mut other).unwrap();
        assert!(!other.starts_with(&prefix));
    }
}
