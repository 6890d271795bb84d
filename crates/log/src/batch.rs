//! A batch of records in one flat buffer, read without copying.
//!
//! One batch is what a log stores and hands out; the cost per record is then the reading, not the storing.
//!
//! # Format (version 1), little endian
//! ```text
//! header  u8 version | u32 crc32 of all that follows | i64 base offset | i64 base timestamp | i64 max timestamp
//!         | u32 records | u32 last offset delta | body
//! record  varint offset delta to the record before (first: to the base)
//!         | zigzag varint timestamp - base timestamp
//!         | varint key length + 1 (0: null) | key | varint value length + 1 (0: null) | value
//!         | varint headers | header*
//! header  varint name length | name (UTF-8) | varint value length + 1 (0: null) | value
//! ```
//! [`RecordBatch::decode`] checks the sum and the whole structure once, so that iteration afterwards cannot fail.

use bytes::{BufMut, Bytes};

use crate::{Offset, Timestamp};

const VERSION: u8 = 1;
const HEADER: usize = 1 + 4 + 8 + 8 + 8 + 4 + 4;

/// Bytes that are not a batch, or no longer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid record batch: {0}")]
pub struct CorruptBatch(&'static str);

/// A name and a value beside a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value; may be null.
    pub value: Option<&'a [u8]>,
}

/// The headers of one record, in order; names may repeat.
#[derive(Debug, Clone, Copy, Default)]
pub struct Headers<'a> {
    count: u32,
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// The headers in order.
    pub fn iter(&self) -> impl Iterator<Item = Header<'a>> + use<'a> {
        let mut cursor = Cursor { rest: self.bytes };
        (0..self.count).map_while(move |_| cursor.header().ok())
    }

    /// The last header of this name, as Kafka's `lastHeader`.
    pub fn get(&self, name: &str) -> Option<Header<'a>> {
        self.iter().filter(|header| header.name == name).last()
    }
}

/// One record, borrowed from its batch.
#[derive(Debug, Clone, Copy)]
pub struct RecordRef<'a> {
    /// Its position.
    pub offset: Offset,
    /// Its event time.
    pub timestamp: Timestamp,
    /// Its key; may be null.
    pub key: Option<&'a [u8]>,
    /// Its value; null is a tombstone in compacted topics.
    pub value: Option<&'a [u8]>,
    /// What travels beside it.
    pub headers: Headers<'a>,
}

/// Records of one partition, in order of offsets.
#[derive(Debug, Clone)]
pub struct RecordBatch {
    base_offset: Offset,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
    count: u32,
    last_offset_delta: u32,
    body: Bytes,
}

impl RecordBatch {
    /// Offset of the first record (or, after compaction, at most that).
    pub fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> Offset {
        self.base_offset + Offset::from(self.last_offset_delta)
    }

    /// The largest timestamp in it.
    pub fn max_timestamp(&self) -> Timestamp {
        self.max_timestamp
    }

    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Size in memory and, about, on disk.
    pub fn bytes(&self) -> usize {
        HEADER + self.body.len()
    }

    /// The same records, the first one at `base_offset`.
    pub fn at(mut self, base_offset: Offset) -> Self {
        self.base_offset = base_offset;
        self
    }

    /// The same batch, its records read where they lie in `encoded`, what [`encode`](Self::encode) made of it: so that a log which keeps those bytes keeps
    /// the records once.
    pub fn in_place(self, encoded: &Bytes) -> Self {
        match encoded.len() == self.bytes() {
            true => Self { body: encoded.slice(HEADER..), ..self },
            false => self,
        }
    }

    /// The records in order.
    pub fn iter(&self) -> Records<'_> {
        Records {
            cursor: Cursor { rest: &self.body },
            left: self.count,
            offset: self.base_offset,
            base_timestamp: self.base_timestamp,
        }
    }

    /// The batch as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes());
        self.encode_into(&mut out);
        out
    }

    /// Adds the batch as bytes to `out`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_u8(VERSION);
        out.put_u32_le(0);
        out.put_i64_le(self.base_offset);
        out.put_i64_le(self.base_timestamp);
        out.put_i64_le(self.max_timestamp);
        out.put_u32_le(self.count);
        out.put_u32_le(self.last_offset_delta);
        out.extend_from_slice(&self.body);
        let crc = crc32fast::hash(out.get(start + 5..).unwrap_or_default());
        if let Some(place) = out.get_mut(start + 1..start + 5) {
            place.copy_from_slice(&crc.to_le_bytes());
        }
    }

    /// Reads what [`encode`](Self::encode) wrote; checks the sum and that every record can be read.
    pub fn decode(bytes: Bytes) -> Result<Self, CorruptBatch> {
        let (head, tail) = bytes.split_at_checked(5).ok_or(CorruptBatch("shorter than its header"))?;
        match head.first() {
            Some(&VERSION) => {}
            Some(_) => return Err(CorruptBatch("a format version that this program does not know")),
            None => return Err(CorruptBatch("empty")),
        }
        let mut sum = Cursor { rest: head.get(1..).unwrap_or_default() };
        if sum.array()? != crc32fast::hash(tail).to_le_bytes() {
            return Err(CorruptBatch("its checksum does not fit"));
        }
        let mut cursor = Cursor { rest: tail };
        let batch = Self {
            base_offset: i64::from_le_bytes(cursor.array()?),
            base_timestamp: i64::from_le_bytes(cursor.array()?),
            max_timestamp: i64::from_le_bytes(cursor.array()?),
            count: u32::from_le_bytes(cursor.array()?),
            last_offset_delta: u32::from_le_bytes(cursor.array()?),
            body: bytes.slice(HEADER..),
        };
        let mut records = batch.iter();
        let mut last = batch.base_offset;
        for _ in 0..batch.count {
            last = records.read()?.offset;
        }
        if !records.cursor.rest.is_empty() {
            return Err(CorruptBatch("bytes behind the last record"));
        }
        if batch.count > 0 && last > batch.last_offset() {
            return Err(CorruptBatch("an offset beyond its end"));
        }
        Ok(batch)
    }
}

/// The records of a batch, in order.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    cursor: Cursor<'a>,
    left: u32,
    offset: Offset,
    base_timestamp: Timestamp,
}

impl<'a> Records<'a> {
    #[inline]
    fn read(&mut self) -> Result<RecordRef<'a>, CorruptBatch> {
        let delta = self.cursor.varint()?;
        self.offset = self.offset.wrapping_add(delta as i64);
        let zigzag = self.cursor.varint()?;
        let since_base = ((zigzag >> 1) as i64) ^ -((zigzag & 1) as i64);
        let key = self.cursor.nullable()?;
        let value = self.cursor.nullable()?;
        let count = u32::try_from(self.cursor.varint()?).map_err(|_| CorruptBatch("too many headers"))?;
        let before = self.cursor.rest;
        for _ in 0..count {
            self.cursor.header()?;
        }
        let used = before.len() - self.cursor.rest.len();
        let headers = Headers { count, bytes: before.get(..used).unwrap_or_default() };
        Ok(RecordRef {
            offset: self.offset,
            timestamp: self.base_timestamp.wrapping_add(since_base),
            key,
            value,
            headers,
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = RecordRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<RecordRef<'a>> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        self.read().ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

#[derive(Debug, Clone)]
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Most numbers are below 128: one byte, and no loop.
    #[inline(always)]
    fn varint(&mut self) -> Result<u64, CorruptBatch> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, CorruptBatch> {
        let mut value = 0_u64;
        let mut shift = 0;
        loop {
            let (&byte, rest) = self.rest.split_first().ok_or(CorruptBatch("a number is cut off"))?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
            shift += 7;
            if shift > 63 {
                return Err(CorruptBatch("a number is too long"));
            }
        }
    }

    #[inline]
    fn take(&mut self, len: u64) -> Result<&'a [u8], CorruptBatch> {
        let len = usize::try_from(len).map_err(|_| CorruptBatch("a length is too large"))?;
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(CorruptBatch("a value is cut off"))?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn nullable(&mut self) -> Result<Option<&'a [u8]>, CorruptBatch> {
        match self.varint()? {
            0 => Ok(None),
            len => self.take(len - 1).map(Some),
        }
    }

    fn header(&mut self) -> Result<Header<'a>, CorruptBatch> {
        let len = self.varint()?;
        let name =
            std::str::from_utf8(self.take(len)?).map_err(|_| CorruptBatch("a header's name is not UTF-8"))?;
        Ok(Header { name, value: self.nullable()? })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CorruptBatch> {
        let (taken, rest) =
            self.rest.split_first_chunk::<N>().ok_or(CorruptBatch("shorter than its header"))?;
        self.rest = rest;
        Ok(*taken)
    }
}

/// Collects records into a batch. What it needed for the last batch it asks for at once for the next.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    body: Vec<u8>,
    /// Bytes of the last batch.
    expected: usize,
    count: u32,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
    last_delta: u32,
    largest: usize,
}

impl BatchBuilder {
    /// An empty builder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record behind those already there.
    #[inline]
    pub fn push(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) {
        let delta = if self.count == 0 { 0 } else { self.last_delta + 1 };
        self.push_at(delta, timestamp, key, value, headers);
    }

    /// Adds a record whose offset is the batch's base plus `offset_delta`, which must be larger than the last one's: for logs
    /// whose records have gaps between them.
    #[inline]
    pub fn push_at(
        &mut self,
        offset_delta: u32,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) {
        let start = self.body.len();
        let body = &mut self.body;
        if self.count == 0 {
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
            body.reserve(self.expected);
            put_varint(body, u64::from(offset_delta));
        } else {
            self.max_timestamp = self.max_timestamp.max(timestamp);
            put_varint(body, u64::from(offset_delta - self.last_delta));
        }
        self.last_delta = offset_delta;
        let since_base = timestamp.wrapping_sub(self.base_timestamp);
        put_varint(body, ((since_base << 1) ^ (since_base >> 63)) as u64);
        put_nullable(body, key);
        put_nullable(body, value);
        put_varint(body, headers.len() as u64);
        for header in headers {
            put_varint(body, header.name.len() as u64);
            body.extend_from_slice(header.name.as_bytes());
            put_nullable(body, header.value);
        }
        self.count += 1;
        self.largest = self.largest.max(self.body.len() - start);
    }

    /// Adds a copy of a record, with its headers.
    pub fn push_record(&mut self, record: &RecordRef<'_>) {
        let headers: Vec<Header<'_>> = record.headers.iter().collect();
        self.push(record.timestamp, record.key, record.value, &headers);
    }

    /// Whether nothing has been added since the last [`build`](Self::build).
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many records have been added.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Bytes collected.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    /// Bytes of the largest record, for limits.
    pub fn largest_record(&self) -> usize {
        self.largest
    }

    /// The batch, its first record at `base_offset` (plus its delta); the builder is empty afterwards.
    pub fn build(&mut self, base_offset: Offset) -> RecordBatch {
        let batch = RecordBatch {
            base_offset,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            count: self.count,
            last_offset_delta: self.last_delta,
            body: {
                self.expected = self.body.len();
                let mut body = std::mem::take(&mut self.body);
                // Batches are kept for long: what was reserved in vain is given back.
                if body.capacity() > body.len() + body.len() / 8 {
                    body.shrink_to_fit();
                }
                Bytes::from(body)
            },
        };
        self.clear();
        batch
    }

    /// Forgets what was added.
    pub fn clear(&mut self) {
        self.body.clear();
        self.count = 0;
        self.last_delta = 0;
        self.largest = 0;
    }
}

#[inline(always)]
fn put_varint(out: &mut Vec<u8>, value: u64) {
    if value < 0x80 {
        out.push(value as u8);
    } else {
        put_long_varint(out, value);
    }
}

fn put_long_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[inline(always)]
fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => out.push(0),
        Some(bytes) => {
            put_varint(out, bytes.len() as u64 + 1);
            out.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> RecordBatch {
        let mut builder = BatchBuilder::new();
        builder.push(1000, Some(b"k"), Some(b"v"), &[Header { name: "h", value: Some(b"1") }]);
        builder.push(900, None, Some(b""), &[]);
        builder.push(
            i64::MAX,
            Some(b"k"),
            None,
            &[Header { name: "h", value: None }, Header { name: "h", value: Some(b"2") }],
        );
        builder.build(40)
    }

    #[test]
    fn what_is_put_in_comes_out() {
        let encoded = Bytes::from(sample().encode());
        let in_place = sample().in_place(&encoded);
        assert!(encoded.as_ptr_range().contains(&in_place.body.as_ptr()));
        for batch in [sample(), RecordBatch::decode(encoded).unwrap(), in_place] {
            let records: Vec<_> = batch.iter().collect();
            assert_eq!(records.iter().map(|r| r.offset).collect::<Vec<_>>(), [40, 41, 42]);
            assert_eq!(records.iter().map(|r| r.timestamp).collect::<Vec<_>>(), [1000, 900, i64::MAX]);
            assert_eq!(
                records.iter().map(|r| r.key).collect::<Vec<_>>(),
                [Some(&b"k"[..]), None, Some(b"k")]
            );
            assert_eq!(
                records.iter().map(|r| r.value).collect::<Vec<_>>(),
                [Some(&b"v"[..]), Some(b""), None]
            );
            assert_eq!(records[2].headers.get("h").unwrap().value, Some(&b"2"[..]));
            assert_eq!(batch.max_timestamp(), i64::MAX);
            assert_eq!(batch.last_offset(), 42);
        }
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_noticed() {
        let bytes = sample().encode();
        for cut in 0..bytes.len() {
            assert!(RecordBatch::decode(Bytes::copy_from_slice(&bytes[..cut])).is_err(), "cut at {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert!(RecordBatch::decode(Bytes::from(altered)).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn gaps_survive() {
        let mut builder = BatchBuilder::new();
        builder.push_at(3, 1, None, None, &[]);
        builder.push_at(900, 1, None, None, &[]);
        let batch = builder.build(10);
        assert_eq!(batch.iter().map(|r| r.offset).collect::<Vec<_>>(), [13, 910]);
        assert_eq!(batch.last_offset(), 910);
        assert!(builder.is_empty());
    }
}
