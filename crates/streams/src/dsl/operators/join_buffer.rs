//! Records of a stream that wait a grace period for the versioned table that they are joined with.
//!
//! They leave in order of time, then of their keys' bytes, then of arrival, once the largest time put is the grace period ahead of them. A
//! record that comes later than that does not wait.
//!
//! # Format of a waiting record (version 1)
//! ```text
//! u8 version | u32 partition | i64 offset | u32 length, topic | u32 headers, each: u32 length, name, i32 length (-1: null), value | value
//! ```
//! Numbers are little endian.

use std::ops::Bound;
use std::sync::Arc;

use vigie_log::Timestamp;

use super::{store, store_of};
use crate::error::StateError;
use crate::processor::{Cx, Flow};
use crate::record::{Headers, Record, RecordMetadata};
use crate::serde::{Serde, SerdeError, SerdeRef};
use crate::state::{TimedKey, TypedStore};

/// A waiting record's value, with what else the record had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Buffered<V> {
    pub value: V,
    pub headers: Headers,
    pub topic: Arc<str>,
    pub partition: u32,
    pub offset: i64,
}

/// A record that has waited long enough, and where it came from.
type Due<K, V> = (Record<K, V>, RecordMetadata);

/// The buffer as its operator sees it.
pub(crate) struct Waiting {
    store: usize,
    grace_ms: i64,
    number: u32,
    /// No waiting record is older.
    oldest: Timestamp,
}

impl Waiting {
    pub(crate) fn new(store: usize, grace_ms: i64) -> Self {
        Self { store, grace_ms, number: 0, oldest: Timestamp::MIN }
    }

    pub(crate) fn init<K, V>(&mut self, cx: &mut Cx<'_>) -> Flow
    where
        K: Clone + std::hash::Hash + Eq + Send + 'static,
        V: Clone + Send + 'static,
    {
        self.number = next_number(store::<TimedKey<K>, Buffered<V>>(cx, self.store), |key| key.number)?;
        Ok(())
    }

    /// Lets a record wait; gives it back if it is too late for that.
    pub(crate) fn put<K, V>(
        &mut self,
        record: Record<K, V>,
        cx: &mut Cx<'_>,
    ) -> Result<Option<Record<K, V>>, StateError>
    where
        K: Clone + std::hash::Hash + Eq + Send + 'static,
        V: Clone + Send + 'static,
    {
        let task = &mut *cx.task;
        let (partition, offset) = (task.metadata.partition, task.metadata.offset);
        let topic = Arc::clone(&task.metadata.topic);
        let held = store_of::<TimedKey<K>, Buffered<V>>(task, self.store);
        let time = record.timestamp;
        if held.observed().saturating_sub(self.grace_ms) > time {
            return Ok(Some(record));
        }
        let Record { key, value: Some(value), headers, .. } = record else { return Ok(None) };
        self.number = self.number.wrapping_add(1);
        let key = TimedKey { time, key, number: self.number };
        held.append(&key, Some(Buffered { value, headers, topic, partition, offset }), time)?;
        self.oldest = self.oldest.min(time);
        Ok(None)
    }

    /// Takes the records that have waited long enough, each with where it came from.
    pub(crate) fn due<K, V>(&mut self, cx: &mut Cx<'_>) -> Result<Vec<Due<K, V>>, StateError>
    where
        K: Clone + std::hash::Hash + Eq + Send + 'static,
        V: Clone + Send + 'static,
    {
        let held = store::<TimedKey<K>, Buffered<V>>(cx, self.store);
        let until = held.observed().saturating_sub(self.grace_ms);
        if until < self.oldest {
            return Ok(Vec::new());
        }
        let after = crate::state::ordered(until.saturating_add(1)).to_vec();
        let due: Result<Vec<_>, StateError> =
            held.scan(Bound::Unbounded, Bound::Excluded(after), false)?.collect();
        let due = due?;
        for (key, _, _) in &due {
            held.append(key, None, key.time)?;
        }
        self.oldest = until.saturating_add(1);
        let leave = |(key, held, _): (TimedKey<K>, Buffered<V>, Timestamp)| {
            let record =
                Record { key: key.key, value: Some(held.value), timestamp: key.time, headers: held.headers };
            let origin = RecordMetadata {
                topic: held.topic,
                partition: held.partition,
                offset: held.offset,
                timestamp: key.time,
            };
            (record, origin)
        };
        Ok(due.into_iter().map(leave).collect())
    }
}

/// A number that no record of a store has, after a restart too: a changelog grows by one offset or more a record. Without a changelog the
/// entries are looked at.
pub(crate) fn next_number<Q, V>(
    held: &mut TypedStore<Q, V>,
    number: impl Fn(&Q) -> u32,
) -> Result<u32, StateError>
where
    Q: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
{
    let position = crate::state::AnyStore::mark(held)?.map_or(0, |mark| mark.position);
    if position > 0 {
        return Ok(u32::try_from(position & i64::from(u32::MAX)).unwrap_or(0));
    }
    let mut last = 0;
    for entry in held.scan(Bound::Unbounded, Bound::Unbounded, false)? {
        last = last.max(number(&entry?.0));
    }
    Ok(last)
}

const VERSION: u8 = 1;

pub(crate) struct BufferedSerde<V>(pub SerdeRef<V>);

fn put_sized(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), SerdeError> {
    let length = u32::try_from(bytes.len()).map_err(|e| SerdeError::new("less than 4 GiB", e))?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// Reads what `Buffered` wrote, front to back.
struct Parts<'b>(&'b [u8]);

impl<'b> Parts<'b> {
    fn broken() -> SerdeError {
        SerdeError::new("a waiting record", "it is cut off or of another version")
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], SerdeError> {
        let (first, rest) = self.0.split_first_chunk::<N>().ok_or_else(Self::broken)?;
        self.0 = rest;
        Ok(*first)
    }
    fn bytes(&mut self, length: usize) -> Result<&'b [u8], SerdeError> {
        let (first, rest) = self.0.split_at_checked(length).ok_or_else(Self::broken)?;
        self.0 = rest;
        Ok(first)
    }
    fn text(&mut self) -> Result<&'b str, SerdeError> {
        let length = u32::from_le_bytes(self.array()?) as usize;
        std::str::from_utf8(self.bytes(length)?).map_err(|e| SerdeError::new("a waiting record", e))
    }
}

impl<V> Serde<Buffered<V>> for BufferedSerde<V> {
    fn encode(&self, held: &Buffered<V>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.push(VERSION);
        out.extend_from_slice(&held.partition.to_le_bytes());
        out.extend_from_slice(&held.offset.to_le_bytes());
        put_sized(held.topic.as_bytes(), out)?;
        let headers = u32::try_from(held.headers.len()).map_err(|e| SerdeError::new("few headers", e))?;
        out.extend_from_slice(&headers.to_le_bytes());
        for (name, value) in held.headers.iter() {
            put_sized(name.as_bytes(), out)?;
            match value {
                None => out.extend_from_slice(&(-1_i32).to_le_bytes()),
                Some(value) => {
                    let length =
                        i32::try_from(value.len()).map_err(|e| SerdeError::new("less than 2 GiB", e))?;
                    out.extend_from_slice(&length.to_le_bytes());
                    out.extend_from_slice(value);
                }
            }
        }
        self.0.encode(&held.value, out)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Buffered<V>, SerdeError> {
        let mut parts = Parts(bytes);
        if parts.array::<1>()? != [VERSION] {
            return Err(Parts::broken());
        }
        let partition = u32::from_le_bytes(parts.array()?);
        let offset = i64::from_le_bytes(parts.array()?);
        let topic = parts.text()?.into();
        let mut headers = Headers::new();
        for _ in 0..u32::from_le_bytes(parts.array()?) {
            let name = parts.text()?;
            let length = i32::from_le_bytes(parts.array()?);
            let value = usize::try_from(length).ok().map(|length| parts.bytes(length)).transpose()?;
            headers.add(name, value);
        }
        Ok(Buffered { value: self.0.decode(parts.0)?, headers, topic, partition, offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serde::Utf8;

    #[test]
    fn waiting_records_survive_as_bytes() {
        let serde = BufferedSerde::<String>(Arc::new(Utf8));
        let mut headers = Headers::new().with("a", "1");
        headers.add("b", None);
        let held =
            Buffered { value: String::from("v"), headers, topic: "t".into(), partition: 3, offset: 1 << 40 };
        let mut out = Vec::new();
        serde.encode(&held, &mut out).unwrap();
        assert_eq!(serde.decode(&out).unwrap(), held);
        for cut in 0..out.len() - 1 {
            assert!(serde.decode(&out[..cut]).is_err(), "{cut} bytes");
        }
    }
}
