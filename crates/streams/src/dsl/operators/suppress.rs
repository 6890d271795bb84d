//! Holds a table's updates back: a buffer in order of time, kept in a store with a changelog.
//!
//! A key keeps the place in the order that its first update held back took; later updates replace the value there. Order, sizes and the moment
//! of eviction are Kafka Streams'. Only the order (times, keys, sizes) is in memory beside the store; it is made anew from the store at the start.
//!
//! # Format of a value held back (version 1)
//! ```text
//! u8 version | u8 flags (1: new, 2: old, 4: prior) | i64 buffer time | i64 timestamp | i64 offset | u32 partition | bytes topic
//! | u32 number of headers | (bytes name | u8 has value | bytes value if it has one)* | bytes new | bytes old | bytes prior (each if flagged)
//! bytes: u32 length | that many bytes; numbers are big endian
//! ```

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use vigie_log::Timestamp;

use super::store;
use crate::error::Failure;
use crate::processor::{Cx, Flow, Operator, Out};
use crate::record::{Change, Headers, Record, RecordMetadata};
use crate::serde::{Serde, SerdeError, SerdeRef};

/// The last update of a key that is held back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Buffered<V> {
    pub time: Timestamp,
    pub change: Change<V>,
    /// The row before the first update held back.
    pub prior: Option<V>,
    pub timestamp: Timestamp,
    pub headers: Headers,
    pub metadata: RecordMetadata,
}

pub(crate) struct Suppress<K, V> {
    pub name: Arc<str>,
    pub wait_ms: i64,
    /// The end of the key's window, where results wait for it; otherwise the record's timestamp counts.
    pub window_end: Option<fn(&K) -> Timestamp>,
    pub max_records: Option<usize>,
    pub max_bytes: Option<u64>,
    pub emit_when_full: bool,
    pub key: SerdeRef<K>,
    pub value: SerdeRef<V>,
    pub store: usize,
    pub out: Out<K, Change<V>>,
    pub observed: Timestamp,
    /// Keys in the order in which they will be sent on, with their sizes.
    pub order: BTreeMap<(Timestamp, Vec<u8>), (K, u64)>,
    /// The time of each key that is held back.
    pub times: HashMap<Vec<u8>, Timestamp>,
    pub bytes: u64,
}

impl<K, V> Operator<K, Change<V>> for Suppress<K, V>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
{
    fn init(&mut self, cx: &mut Cx<'_>) -> Flow {
        let state = store::<K, Buffered<V>>(cx, self.store);
        self.observed = state.observed();
        let mut held = Vec::new();
        for entry in state.scan(Bound::Unbounded, Bound::Unbounded, false)? {
            let (key, buffered, _) = entry?;
            held.push((key, buffered));
        }
        for (key, buffered) in held {
            let bytes = self.encode(&key)?;
            let size = self.size(&bytes, &buffered)?;
            self.enqueue(buffered.time, bytes, key, size);
        }
        Ok(())
    }

    fn process(&mut self, record: Record<K, Change<V>>, cx: &mut Cx<'_>) -> Flow {
        let Record { key, value, timestamp, headers } = record;
        let Some(change) = value else { return Ok(()) };
        self.observed = self.observed.max(timestamp);
        let bytes = self.encode(&key)?;
        let metadata = RecordMetadata { timestamp, ..cx.task.metadata.clone() };
        let state = store::<K, Buffered<V>>(cx, self.store);
        let slot = state.slot(&key)?;
        let (time, prior) = match state.take(slot) {
            Some((held, _)) => (held.time, held.prior),
            None => (self.window_end.map_or(timestamp, |end| end(&key)), change.old.clone()),
        };
        let buffered = Buffered { time, change, prior, timestamp, headers, metadata };
        let size = self.size(&bytes, &buffered)?;
        state.set(slot, Some(buffered), timestamp);
        self.enqueue(time, bytes, key, size);
        let expired = self.observed.saturating_sub(self.wait_ms);
        while self.order.first_key_value().is_some_and(|((time, _), _)| *time <= expired) {
            self.send_first(cx)?;
        }
        if !self.over_capacity() {
            return Ok(());
        }
        if !self.emit_when_full {
            return Err(self.full());
        }
        while self.over_capacity() && !self.order.is_empty() {
            self.send_first(cx)?;
        }
        Ok(())
    }
}

impl<K, V> Suppress<K, V>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
{
    fn failed(&self, what: &'static str, source: SerdeError) -> Box<Failure> {
        let topic = "(held back)".into();
        Box::new(Failure::Encode { node: (&*self.name).into(), what, topic, source })
    }

    fn encode(&self, key: &K) -> Result<Vec<u8>, Box<Failure>> {
        let mut bytes = Vec::new();
        self.key.encode(key, &mut bytes).map_err(|source| self.failed("key", source))?;
        Ok(bytes)
    }

    /// What the entry takes, as Kafka Streams reckons; 0 where nobody asks.
    fn size(&self, key: &[u8], held: &Buffered<V>) -> Result<u64, Box<Failure>> {
        if self.max_bytes.is_none() {
            return Ok(0);
        }
        let encode = |row: &Option<V>| -> Result<Option<Vec<u8>>, Box<Failure>> {
            let Some(row) = row else { return Ok(None) };
            let mut bytes = Vec::new();
            self.value.encode(row, &mut bytes).map_err(|source| self.failed("value", source))?;
            Ok(Some(bytes))
        };
        let (new, old, prior) = (encode(&held.change.new)?, encode(&held.change.old)?, encode(&held.prior)?);
        let length = |row: &Option<Vec<u8>>| row.as_ref().map_or(0, Vec::len);
        // An old row that is the prior one too is held once.
        let rows = length(&new) + length(&prior) + if old == prior { 0 } else { length(&old) };
        let headers: usize = held
            .headers
            .iter()
            .map(|(name, value)| name.chars().count() + value.map_or(0, <[u8]>::len))
            .sum();
        // Buffer time, timestamp, offset and partition.
        let fixed = 8 + 8 + 8 + 4;
        let size = fixed + key.len() + rows + held.metadata.topic.chars().count() + headers;
        Ok(size as u64)
    }

    fn enqueue(&mut self, time: Timestamp, bytes: Vec<u8>, key: K, size: u64) {
        self.times.insert(bytes.clone(), time);
        self.bytes += size;
        if let Some((_, before)) = self.order.insert((time, bytes), (key, size)) {
            self.bytes -= before;
        }
    }

    fn over_capacity(&self) -> bool {
        self.max_records.is_some_and(|most| self.times.len() > most)
            || self.max_bytes.is_some_and(|most| self.bytes > most)
    }

    fn full(&self) -> Box<Failure> {
        let most = |limit: Option<u64>| limit.map_or(String::from("unlimited"), |limit| limit.to_string());
        let reason = format!(
            "the buffer is full: {} of {} records, {} of {} bytes; raise its limits, or use `until_time_limit` with `emit_early_when_full`",
            self.times.len(),
            most(self.max_records.map(|records| records as u64)),
            self.bytes,
            most(self.max_bytes),
        );
        Box::new(Failure::User { node: (&*self.name).into(), source: reason.into() })
    }

    /// Sends the first of the order on and forgets it.
    fn send_first(&mut self, cx: &mut Cx<'_>) -> Flow {
        let Some(((_, bytes), (key, size))) = self.order.pop_first() else { return Ok(()) };
        self.times.remove(&bytes);
        self.bytes -= size;
        let observed = self.observed;
        let state = store::<K, Buffered<V>>(cx, self.store);
        let slot = state.slot(&key)?;
        let held = state.take(slot);
        state.set(slot, None, observed);
        let Some((held, _)) = held else { return Ok(()) };
        // Nothing was ever sent for a window that is still held back, so that there is nothing to take back.
        if held.change.new.is_none() && self.window_end.is_some() {
            return Ok(());
        }
        let current = std::mem::replace(&mut cx.task.metadata, held.metadata);
        let record =
            Record { key, value: Some(held.change), timestamp: held.timestamp, headers: held.headers };
        let sent = self.out.forward(record, cx);
        cx.task.metadata = current;
        sent
    }
}

const VERSION: u8 = 1;

/// Writes and reads what is held back, rows by the table's serde.
pub(crate) struct BufferedSerde<V>(pub SerdeRef<V>);

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), SerdeError> {
    let length = u32::try_from(bytes.len()).map_err(|e| SerdeError::new("less than 4 GiB", e))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

fn broken() -> SerdeError {
    SerdeError::new("an update that a suppression holds back", "it is cut off or of another version")
}

struct Cursor<'b>(&'b [u8]);

impl<'b> Cursor<'b> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], SerdeError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or_else(broken)?;
        self.0 = rest;
        Ok(*head)
    }
    fn number(&mut self) -> Result<i64, SerdeError> {
        self.take::<8>().map(i64::from_be_bytes)
    }
    fn length(&mut self) -> Result<usize, SerdeError> {
        self.take::<4>().map(|bytes| u32::from_be_bytes(bytes) as usize)
    }
    fn bytes(&mut self) -> Result<&'b [u8], SerdeError> {
        let length = self.length()?;
        let (head, rest) = self.0.split_at_checked(length).ok_or_else(broken)?;
        self.0 = rest;
        Ok(head)
    }
    fn text(&mut self) -> Result<&'b str, SerdeError> {
        std::str::from_utf8(self.bytes()?).map_err(|e| SerdeError::new("UTF-8", e))
    }
}

impl<V> Serde<Buffered<V>> for BufferedSerde<V> {
    fn encode(&self, held: &Buffered<V>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        let rows = [(1, &held.change.new), (2, &held.change.old), (4, &held.prior)];
        let flags = rows.iter().filter(|(_, row)| row.is_some()).fold(0_u8, |flags, (flag, _)| flags | flag);
        out.extend_from_slice(&[VERSION, flags]);
        for number in [held.time, held.timestamp, held.metadata.offset] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&held.metadata.partition.to_be_bytes());
        put_bytes(held.metadata.topic.as_bytes(), out)?;
        let count = u32::try_from(held.headers.len()).map_err(|e| SerdeError::new("fewer headers", e))?;
        out.extend_from_slice(&count.to_be_bytes());
        for (name, value) in held.headers.iter() {
            put_bytes(name.as_bytes(), out)?;
            out.push(u8::from(value.is_some()));
            if let Some(value) = value {
                put_bytes(value, out)?;
            }
        }
        for row in rows.iter().filter_map(|(_, row)| row.as_ref()) {
            let mut bytes = Vec::new();
            self.0.encode(row, &mut bytes)?;
            put_bytes(&bytes, out)?;
        }
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Buffered<V>, SerdeError> {
        let mut cursor = Cursor(bytes);
        let [version, flags] = cursor.take::<2>()?;
        if version != VERSION {
            return Err(broken());
        }
        let (time, timestamp, offset) = (cursor.number()?, cursor.number()?, cursor.number()?);
        let partition = u32::from_be_bytes(cursor.take()?);
        let topic: Arc<str> = cursor.text()?.into();
        let mut headers = Headers::new();
        for _ in 0..cursor.length()? {
            let name = cursor.text()?;
            let value = if cursor.take::<1>()? == [0] { None } else { Some(cursor.bytes()?) };
            headers.add(name, value);
        }
        let mut row = |flag: u8| (flags & flag != 0).then(|| self.0.decode(cursor.bytes()?)).transpose();
        let change = Change::of(row(1)?, row(2)?);
        let prior = row(4)?;
        let metadata = RecordMetadata { topic, partition, offset, timestamp };
        Ok(Buffered { time, change, prior, timestamp, headers, metadata })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serde::Utf8;

    #[test]
    fn what_is_held_back_survives_as_bytes() {
        let serde = BufferedSerde::<String>(Arc::new(Utf8));
        let metadata = RecordMetadata { topic: "tëa".into(), partition: 3, offset: i64::MAX, timestamp: 7 };
        let mut headers = Headers::new().with("h", "v");
        headers.add("null", None);
        for (new, old, prior) in
            [(None, None, None), (Some("n"), Some(""), None), (None, Some("o"), Some("p"))]
        {
            let row = |row: Option<&str>| row.map(String::from);
            let held = Buffered {
                time: -1,
                change: Change::of(row(new), row(old)),
                prior: row(prior),
                timestamp: 7,
                headers: headers.clone(),
                metadata: metadata.clone(),
            };
            let mut bytes = Vec::new();
            serde.encode(&held, &mut bytes).unwrap();
            assert_eq!(serde.decode(&bytes).unwrap(), held);
            for cut in 0..bytes.len() {
                assert!(serde.decode(&bytes[..cut]).is_err(), "cut at {cut}");
            }
        }
    }

    /// Version 1, byte by byte: changelogs out there hold it.
    #[test]
    fn version_1_is_read_for_ever() {
        let mut bytes = vec![1, 1 | 4];
        for number in [10_i64, 9, 8] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&[0, 0, 0, 7, 0, 0, 0, 2, b'i', b'n']);
        bytes.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1, b'h', 1, 0, 0, 0, 1, b'v']);
        bytes.extend_from_slice(&[0, 0, 0, 1, b'n', 0, 0, 0, 1, b'p']);
        let serde = BufferedSerde::<String>(Arc::new(Utf8));
        let held = serde.decode(&bytes).unwrap();
        let metadata = RecordMetadata { topic: "in".into(), partition: 7, offset: 8, timestamp: 9 };
        let change = Change::of(Some(String::from("n")), None);
        let prior = Some(String::from("p"));
        let headers = Headers::new().with("h", "v");
        assert_eq!(held, Buffered { time: 10, change, prior, timestamp: 9, headers, metadata });
        let mut again = Vec::new();
        serde.encode(&held, &mut again).unwrap();
        assert_eq!(again, bytes);
        bytes[0] = 2;
        assert!(serde.decode(&bytes).is_err());
    }
}
