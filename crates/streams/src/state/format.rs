//! How typed keys become bytes: locally, ordered for the scans that a store needs, and in the changelog, as Kafka Streams writes them.
//!
//! # Format
//! ```text
//! kind     local                                  changelog
//! plain    key                                    key
//! window   segment | key | start                  key | start | u32 0
//! session  segment | key | end | start            key | end | start
//! ```
//! Numbers have 8 bytes, big endian; local ones with the sign bit flipped, so that order of bytes is order of numbers. A segment is
//! `time / segment length`: all of a segment expires at once.

use std::sync::Arc;

use vigie_log::Timestamp;

use crate::serde::{SerdeError, SerdeRef};

/// A key and the start of a window.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WindowKey<K> {
    /// The key.
    pub key: K,
    /// First millisecond of the window.
    pub start: Timestamp,
}

/// A key and the bounds of a session, both inclusive.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SessionKey<K> {
    /// The key.
    pub key: K,
    /// Timestamp of the first record.
    pub start: Timestamp,
    /// Timestamp of the last record.
    pub end: Timestamp,
}

/// Typed keys to bytes and back.
pub(crate) trait KeyFormat<Q>: Send + Sync {
    fn local(&self, key: &Q, out: &mut Vec<u8>) -> Result<(), SerdeError>;
    fn read_local(&self, bytes: &[u8]) -> Result<Q, SerdeError>;
    /// The changelog's key of a local key.
    fn write_changelog(&self, local: &[u8], out: &mut Vec<u8>);
    /// The local key of a changelog's key.
    fn read_changelog(&self, key: &[u8], out: &mut Vec<u8>) -> Result<(), SerdeError>;
    /// The time by which an entry expires, for windows and sessions.
    fn time(&self, _key: &Q) -> Option<Timestamp> {
        None
    }
    /// The same of a local key.
    fn local_time(&self, _local: &[u8]) -> Option<Timestamp> {
        None
    }
}

const SIGN: u64 = 1 << 63;

/// `number` in 8 bytes whose order is that of the numbers.
pub(crate) fn ordered(number: i64) -> [u8; 8] {
    ((number as u64) ^ SIGN).to_be_bytes()
}

pub(super) fn from_ordered(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ SIGN) as i64
}

pub(super) fn too_short(expected: &'static str, bytes: &[u8]) -> SerdeError {
    SerdeError::new(expected, format!("found only {} bytes", bytes.len()))
}

/// Splits the last 8 bytes off.
pub(super) fn split_last(bytes: &[u8]) -> Option<(&[u8], [u8; 8])> {
    bytes.split_last_chunk::<8>().map(|(rest, last)| (rest, *last))
}

/// Keys as they are.
pub(crate) struct PlainKeys<K>(pub SerdeRef<K>);

impl<K> KeyFormat<K> for PlainKeys<K> {
    fn local(&self, key: &K, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.0.encode(key, out)
    }
    fn read_local(&self, bytes: &[u8]) -> Result<K, SerdeError> {
        self.0.decode(bytes)
    }
    fn write_changelog(&self, local: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(local);
    }
    fn read_changelog(&self, key: &[u8], out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend_from_slice(key);
        Ok(())
    }
}

/// Keys of window stores.
pub(crate) struct WindowKeys<K> {
    pub inner: SerdeRef<K>,
    pub segment_ms: i64,
}

const WINDOW: &str = "a window store's key (key, start)";

impl<K> KeyFormat<WindowKey<K>> for WindowKeys<K> {
    fn local(&self, key: &WindowKey<K>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend_from_slice(&ordered(key.start.div_euclid(self.segment_ms)));
        self.inner.encode(&key.key, out)?;
        out.extend_from_slice(&ordered(key.start));
        Ok(())
    }
    fn read_local(&self, bytes: &[u8]) -> Result<WindowKey<K>, SerdeError> {
        let rest = bytes.get(8..).ok_or_else(|| too_short(WINDOW, bytes))?;
        let (key, start) = split_last(rest).ok_or_else(|| too_short(WINDOW, bytes))?;
        Ok(WindowKey { key: self.inner.decode(key)?, start: from_ordered(start) })
    }
    fn write_changelog(&self, local: &[u8], out: &mut Vec<u8>) {
        if let Some((key, start)) = local.get(8..).and_then(split_last) {
            out.extend_from_slice(key);
            out.extend_from_slice(&from_ordered(start).to_be_bytes());
            out.extend_from_slice(&[0; 4]);
        }
    }
    fn read_changelog(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), SerdeError> {
        let rest = bytes.len().checked_sub(4).and_then(|end| bytes.get(..end));
        let (key, start) = rest.and_then(split_last).ok_or_else(|| too_short(WINDOW, bytes))?;
        let start = i64::from_be_bytes(start);
        out.extend_from_slice(&ordered(start.div_euclid(self.segment_ms)));
        out.extend_from_slice(key);
        out.extend_from_slice(&ordered(start));
        Ok(())
    }
    fn time(&self, key: &WindowKey<K>) -> Option<Timestamp> {
        Some(key.start)
    }
    fn local_time(&self, local: &[u8]) -> Option<Timestamp> {
        split_last(local).map(|(_, start)| from_ordered(start))
    }
}

/// Keys of session stores.
pub(crate) struct SessionKeys<K> {
    pub inner: SerdeRef<K>,
    pub segment_ms: i64,
}

const SESSION: &str = "a session store's key (key, end, start)";

impl<K> KeyFormat<SessionKey<K>> for SessionKeys<K> {
    fn local(&self, key: &SessionKey<K>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend_from_slice(&ordered(key.end.div_euclid(self.segment_ms)));
        self.inner.encode(&key.key, out)?;
        out.extend_from_slice(&ordered(key.end));
        out.extend_from_slice(&ordered(key.start));
        Ok(())
    }
    fn read_local(&self, bytes: &[u8]) -> Result<SessionKey<K>, SerdeError> {
        let rest = bytes.get(8..).ok_or_else(|| too_short(SESSION, bytes))?;
        let (rest, start) = split_last(rest).ok_or_else(|| too_short(SESSION, bytes))?;
        let (key, end) = split_last(rest).ok_or_else(|| too_short(SESSION, bytes))?;
        Ok(SessionKey { key: self.inner.decode(key)?, start: from_ordered(start), end: from_ordered(end) })
    }
    fn write_changelog(&self, local: &[u8], out: &mut Vec<u8>) {
        let parts = local.get(8..).and_then(split_last).and_then(|(rest, start)| {
            let (key, end) = split_last(rest)?;
            Some((key, end, start))
        });
        if let Some((key, end, start)) = parts {
            out.extend_from_slice(key);
            out.extend_from_slice(&from_ordered(end).to_be_bytes());
            out.extend_from_slice(&from_ordered(start).to_be_bytes());
        }
    }
    fn read_changelog(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), SerdeError> {
        let (rest, start) = split_last(bytes).ok_or_else(|| too_short(SESSION, bytes))?;
        let (key, end) = split_last(rest).ok_or_else(|| too_short(SESSION, bytes))?;
        let end = i64::from_be_bytes(end);
        out.extend_from_slice(&ordered(end.div_euclid(self.segment_ms)));
        out.extend_from_slice(key);
        out.extend_from_slice(&ordered(end));
        out.extend_from_slice(&ordered(i64::from_be_bytes(start)));
        Ok(())
    }
    fn time(&self, key: &SessionKey<K>) -> Option<Timestamp> {
        Some(key.end)
    }
    fn local_time(&self, local: &[u8]) -> Option<Timestamp> {
        split_last(split_last(local)?.0).map(|(_, end)| from_ordered(end))
    }
}

impl<Q, F: KeyFormat<Q> + ?Sized> KeyFormat<Q> for Arc<F> {
    fn local(&self, key: &Q, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        (**self).local(key, out)
    }
    fn read_local(&self, bytes: &[u8]) -> Result<Q, SerdeError> {
        (**self).read_local(bytes)
    }
    fn write_changelog(&self, local: &[u8], out: &mut Vec<u8>) {
        (**self).write_changelog(local, out);
    }
    fn read_changelog(&self, key: &[u8], out: &mut Vec<u8>) -> Result<(), SerdeError> {
        (**self).read_changelog(key, out)
    }
    fn time(&self, key: &Q) -> Option<Timestamp> {
        (**self).time(key)
    }
    fn local_time(&self, local: &[u8]) -> Option<Timestamp> {
        (**self).local_time(local)
    }
}

/// Whether a key comes back from its bytes, local and logged, and its logged bytes are those given.
#[cfg(test)]
pub(super) fn check_format<Q: PartialEq + std::fmt::Debug>(
    format: &dyn KeyFormat<Q>,
    key: Q,
    changelog: &[u8],
) {
    let (mut local, mut logged, mut again) = (Vec::new(), Vec::new(), Vec::new());
    format.local(&key, &mut local).unwrap();
    assert_eq!(format.read_local(&local).unwrap(), key);
    format.write_changelog(&local, &mut logged);
    assert_eq!(logged, changelog, "{key:?}");
    format.read_changelog(&logged, &mut again).unwrap();
    assert_eq!(again, local);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serde::Utf8;
    use crate::state::format::check_format as check;

    #[test]
    fn keys_survive_both_ways() {
        check(&PlainKeys(Arc::new(Utf8)), String::from("k"), b"k");
        let window = WindowKeys { inner: Arc::new(Utf8), segment_ms: 60_000 };
        check(&window, WindowKey { key: String::from("k"), start: 1 }, b"k\0\0\0\0\0\0\0\x01\0\0\0\0");
        check(
            &window,
            WindowKey { key: String::new(), start: -1 },
            b"\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
        );
        let session = SessionKeys { inner: Arc::new(Utf8), segment_ms: 60_000 };
        check(
            &session,
            SessionKey { key: String::from("k"), start: 1, end: 2 },
            b"k\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01",
        );
    }

    #[test]
    fn order_of_bytes_is_order_of_numbers() {
        for (less, more) in [(-1, 0), (i64::MIN, -1), (0, 1), (255, 256), (1, i64::MAX)] {
            assert!(ordered(less) < ordered(more));
        }
    }
}
