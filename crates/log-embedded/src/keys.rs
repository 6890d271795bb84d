//! How things are written in the store: keys, and the values beside the batches themselves.
//!
//! # Keyspace `records`, big endian keys
//! ```text
//! key    u32 topic | u32 partition | u64 base offset
//! value  u8 version | u64 bytes appended before | i64 running maximum of timestamps
//!        | i64 tombstones may go at (i64::MIN: not met yet) | the batch, see vigie-log's batch format      (little endian)
//! ```
//! # Keyspace `meta`; each value begins with a version byte
//! ```text
//! t | u32 topic                       u32 partitions | text name | u32 settings | (text name | text value)*
//! b | u32 topic | u32 partition       bounds: i64 earliest | i64 latest | u64 appended | u64 live | i64 cleaned | i64 tombstones
//! o | text group | text topic | u32   i64 committed offset
//! e | transactional id                u32 epoch
//! n                                   u32 number of the next topic
//! x | u32 topic                       deleted, records to be purged
//! text: u16 length | UTF-8
//! ```

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes};
use vigie_log::broker::{Bounds, Entry, Note, Slot, StoredTopic, TopicId};
use vigie_log::{Offset, RecordBatch, TopicPartition};

const VERSION: u8 = 1;
const NEVER: i64 = i64::MIN;

/// Why bytes in the store cannot be read.
pub(crate) type Unreadable = String;

pub(crate) fn record_key(slot: Slot, base: Offset) -> [u8; 16] {
    let mut key = [0; 16];
    let mut rest = key.as_mut_slice();
    rest.put_u32(slot.topic);
    rest.put_u32(slot.partition);
    // Offsets are never negative; one that is sorts before all.
    rest.put_u64(u64::try_from(base).unwrap_or(0));
    key
}

/// Bytes before the batch in the value of an entry.
pub(crate) const NOTE_BYTES: usize = 1 + 8 + 8 + 8;

pub(crate) fn entry_value(entry: &Entry) -> Vec<u8> {
    let mut value = Vec::with_capacity(NOTE_BYTES + entry.batch.bytes());
    value.put_u8(VERSION);
    value.put_u64_le(entry.note.appended_before);
    value.put_i64_le(entry.note.running_max);
    value.put_i64_le(entry.note.tombstones_until.unwrap_or(NEVER));
    entry.batch.encode_into(&mut value);
    value
}

pub(crate) fn read_entry(mut value: Bytes) -> Result<Entry, Unreadable> {
    let mut read = Reading(&value);
    read.version()?;
    let note = Note {
        appended_before: read.u64_le()?,
        running_max: read.u64_le()? as i64,
        tombstones_until: Some(read.u64_le()? as i64).filter(|until| *until != NEVER),
    };
    let rest = read.0.len();
    value.advance(value.len() - rest);
    let batch = RecordBatch::decode(value).map_err(|error| error.to_string())?;
    Ok(Entry { note, batch })
}

/// One kind of entry in `meta`, by its first byte.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meta {
    Topic(StoredTopic),
    Bounds(Slot, Bounds),
    Offset(String, TopicPartition, Offset),
    Epoch(String, u32),
    NextTopic(TopicId),
    Purge(TopicId),
}

pub(crate) fn topic_key(id: TopicId) -> Vec<u8> {
    key(b't', |key| key.put_u32(id))
}

pub(crate) fn bounds_key(slot: Slot) -> Vec<u8> {
    key(b'b', |key| {
        key.put_u32(slot.topic);
        key.put_u32(slot.partition);
    })
}

pub(crate) fn offset_key(group: &str, partition: &TopicPartition) -> Vec<u8> {
    key(b'o', |key| {
        put_text(key, group);
        put_text(key, &partition.topic);
        key.put_u32(partition.partition);
    })
}

pub(crate) fn epoch_key(id: &str) -> Vec<u8> {
    key(b'e', |key| key.put_slice(id.as_bytes()))
}

pub(crate) const NEXT_TOPIC_KEY: &[u8] = b"n";

pub(crate) fn purge_key(id: TopicId) -> Vec<u8> {
    key(b'x', |key| key.put_u32(id))
}

fn key(kind: u8, rest: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut key = vec![kind];
    rest(&mut key);
    key
}

pub(crate) fn topic_value(topic: &StoredTopic) -> Vec<u8> {
    value(|value| {
        value.put_u32_le(topic.partitions);
        put_text(value, &topic.name);
        value.put_u32_le(u32::try_from(topic.config.len()).unwrap_or(u32::MAX));
        for (name, setting) in &topic.config {
            put_text(value, name);
            put_text(value, setting);
        }
    })
}

pub(crate) fn bounds_value(bounds: &Bounds) -> Vec<u8> {
    value(|value| {
        value.put_i64_le(bounds.earliest);
        value.put_i64_le(bounds.latest);
        value.put_u64_le(bounds.appended);
        value.put_u64_le(bounds.live);
        value.put_i64_le(bounds.cleaned);
        value.put_i64_le(bounds.tombstones_until.unwrap_or(NEVER));
    })
}

pub(crate) fn i64_value(number: i64) -> Vec<u8> {
    value(|value| value.put_i64_le(number))
}

pub(crate) fn u32_value(number: u32) -> Vec<u8> {
    value(|value| value.put_u32_le(number))
}

fn value(rest: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut value = vec![VERSION];
    rest(&mut value);
    value
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    // Topics, settings and groups have short names: the broker refuses others.
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.put_u16_le(len);
    out.put_slice(text.as_bytes().get(..usize::from(len)).unwrap_or_default());
}

pub(crate) fn read_meta(key: &[u8], value: &[u8]) -> Result<Meta, Unreadable> {
    let mut key = Reading(key);
    let mut value = Reading(value);
    let kind = key.u8()?;
    value.version()?;
    match kind {
        b't' => {
            let id = key.u32_be()?;
            let partitions = value.u32_le()?;
            let name = value.text()?.into();
            let mut config = BTreeMap::new();
            for _ in 0..value.u32_le()? {
                config.insert(value.text()?, value.text()?);
            }
            Ok(Meta::Topic(StoredTopic { id, name, partitions, config }))
        }
        b'b' => {
            let slot = Slot { topic: key.u32_be()?, partition: key.u32_be()? };
            let bounds = Bounds {
                earliest: value.u64_le()? as i64,
                latest: value.u64_le()? as i64,
                appended: value.u64_le()?,
                live: value.u64_le()?,
                cleaned: value.u64_le()? as i64,
                tombstones_until: Some(value.u64_le()? as i64).filter(|until| *until != NEVER),
            };
            Ok(Meta::Bounds(slot, bounds))
        }
        b'o' => {
            let group = key.text()?;
            let topic = key.text()?;
            let partition = key.u32_be()?;
            Ok(Meta::Offset(group, TopicPartition::new(topic, partition), value.u64_le()? as i64))
        }
        b'e' => {
            let id = String::from_utf8(key.0.to_vec()).map_err(|_| String::from("an id is not UTF-8"))?;
            Ok(Meta::Epoch(id, value.u32_le()?))
        }
        b'n' => Ok(Meta::NextTopic(value.u32_le()?)),
        b'x' => Ok(Meta::Purge(key.u32_be()?)),
        other => Err(format!("an entry of unknown kind {other}")),
    }
}

struct Reading<'a>(&'a [u8]);

impl<'a> Reading<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or("cut off")?;
        self.0 = rest;
        Ok(*taken)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or("cut off")?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, Unreadable> {
        self.array().map(u8::from_le_bytes)
    }

    fn u32_be(&mut self) -> Result<u32, Unreadable> {
        self.array().map(u32::from_be_bytes)
    }

    fn u32_le(&mut self) -> Result<u32, Unreadable> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64_le(&mut self) -> Result<u64, Unreadable> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<String, Unreadable> {
        let len = self.array().map(u16::from_le_bytes)?;
        let bytes = self.take(usize::from(len))?;
        String::from_utf8(bytes.to_vec()).map_err(|_| String::from("a text is not UTF-8"))
    }

    fn version(&mut self) -> Result<(), Unreadable> {
        match self.u8()? {
            VERSION => Ok(()),
            other => Err(format!("version {other} of an entry, this program knows {VERSION}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigie_log::BatchBuilder;

    #[test]
    fn keys_sort_as_offsets() {
        let slot = Slot { topic: 1, partition: 2 };
        let mut keys: Vec<_> = [0, 1, 255, 256, 1 << 40].map(|base| record_key(slot, base)).to_vec();
        keys.push(record_key(Slot { topic: 1, partition: 3 }, 0));
        keys.push(record_key(Slot { topic: 2, partition: 0 }, 0));
        assert!(keys.is_sorted());
    }

    #[test]
    fn meta_is_read_as_written() {
        let slot = Slot { topic: 7, partition: 3 };
        let topic = StoredTopic {
            id: 7,
            name: "événements".into(),
            partitions: 4,
            config: BTreeMap::from([(String::from("retention.ms"), String::from("-1"))]),
        };
        let bounds =
            Bounds { earliest: 1, latest: 2, appended: 3, live: 4, cleaned: 5, tombstones_until: Some(6) };
        let partition = TopicPartition::new("t", 9);
        for (key, value, expect) in [
            (topic_key(7), topic_value(&topic), Meta::Topic(topic)),
            (bounds_key(slot), bounds_value(&bounds), Meta::Bounds(slot, bounds)),
            (bounds_key(slot), bounds_value(&Bounds::default()), Meta::Bounds(slot, Bounds::default())),
            (offset_key("g", &partition), i64_value(-5), Meta::Offset("g".into(), partition, -5)),
            (epoch_key("app-1"), u32_value(8), Meta::Epoch("app-1".into(), 8)),
            (NEXT_TOPIC_KEY.to_vec(), u32_value(12), Meta::NextTopic(12)),
            (purge_key(4), u32_value(0), Meta::Purge(4)),
        ] {
            assert_eq!(read_meta(&key, &value), Ok(expect));
            for cut in 0..value.len() {
                let read = read_meta(&key, &value[..cut]);
                assert!(read.is_err() || key[0] == b'x', "cut at {cut}: {read:?}");
            }
        }
    }

    /// Bytes of format 1 as they stand on disks: they must be readable for ever.
    #[test]
    fn an_entry_of_format_1_is_readable() {
        #[rustfmt::skip]
        let stored: &'static [u8] = &[
            1, 10, 0, 0, 0, 0, 0, 0, 0, 1, 152, 247, 62, 93, 1, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1,
            130, 131, 122, 81, 40, 0, 0, 0, 0, 0, 0, 0, 0, 152, 247, 62, 93, 1, 0, 0, 0, 152,
            247, 62, 93, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 107, 2, 118, 0,
        ];
        let mut builder = BatchBuilder::new();
        builder.push(1_500_000_000_000, Some(b"k"), Some(b"v"), &[]);
        let note = Note { appended_before: 10, running_max: 1_500_000_000_001, tombstones_until: Some(3) };
        assert_eq!(entry_value(&Entry { note, batch: builder.build(40) }), stored);
        let read = read_entry(Bytes::from_static(stored)).unwrap();
        assert_eq!(read.note, note);
        assert_eq!(read.batch.iter().map(|r| (r.offset, r.key)).collect::<Vec<_>>(), [(40, Some(&b"k"[..]))]);
    }
}
