//! What flows through a topology: records with their headers, windows, and changes of a table.
//!
//! A value may be null at the level of the record ([`Record::value`] is an `Option`): a tombstone. Keys are null only where
//! their type says so (`Option<K>`).

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use vigie_log::{Header, Headers as LogHeaders, Offset, PartitionId, Timestamp};

/// One header of a record, owned.
pub type OwnedHeader = (Arc<str>, Option<Bytes>);

/// The headers that travel beside a record, in order; names may repeat. Cheap to clone; empty ones take no memory.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Option<Arc<Vec<OwnedHeader>>>);

impl Headers {
    /// No headers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a header behind the others, by value.
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.add(name, Some(value.as_ref()));
        self
    }

    /// Adds a header behind the others.
    pub fn add(&mut self, name: &str, value: Option<&[u8]>) {
        let list = Arc::make_mut(self.0.get_or_insert_with(Default::default));
        list.push((Arc::from(name), value.map(Bytes::copy_from_slice)));
    }

    /// Removes all headers of this name.
    pub fn remove(&mut self, name: &str) {
        if let Some(list) = &mut self.0 {
            Arc::make_mut(list).retain(|(held, _)| &**held != name);
        }
    }

    /// The value of the last header of this name; `None` when there is none or it is null.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().filter(|(held, _)| *held == name).last().and_then(|(_, value)| value)
    }

    /// As [`get`](Self::get), read as UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |list| list.len())
    }

    /// All headers in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        self.0.iter().flat_map(|list| list.iter()).map(|(name, value)| (&**name, value.as_deref()))
    }

    #[inline]
    pub(crate) fn from_log(headers: LogHeaders<'_>) -> Self {
        if headers.is_empty() {
            return Self(None);
        }
        let list = headers.iter().map(|h| (Arc::from(h.name), h.value.map(Bytes::copy_from_slice))).collect();
        Self(Some(Arc::new(list)))
    }

    pub(crate) fn to_log(&self) -> Vec<Header<'_>> {
        self.iter().map(|(name, value)| Header { name, value }).collect()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|(name, value)| (name, value.map(<[u8]>::escape_ascii))))
            .finish()
    }
}

/// One record on its way through a topology.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<K, V> {
    /// Its key.
    pub key: K,
    /// Its value; `None` is a tombstone.
    pub value: Option<V>,
    /// Its event time, in milliseconds since the epoch.
    pub timestamp: Timestamp,
    /// What travels beside it.
    pub headers: Headers,
}

impl<K, V> Record<K, V> {
    /// A record without headers.
    pub fn new(key: K, value: V, timestamp: Timestamp) -> Self {
        Self { key, value: Some(value), timestamp, headers: Headers::new() }
    }

    /// The same record with another value.
    pub fn with_value<W>(self, value: Option<W>) -> Record<K, W> {
        Record { key: self.key, value, timestamp: self.timestamp, headers: self.headers }
    }

    /// The same record with another key.
    pub fn with_key<L>(self, key: L) -> Record<L, V> {
        Record { key, value: self.value, timestamp: self.timestamp, headers: self.headers }
    }
}

/// Where the record being processed came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordMetadata {
    /// The topic it was read from.
    pub topic: Arc<str>,
    /// The partition it was read from.
    pub partition: PartitionId,
    /// Its offset there; -1 while a punctuation runs.
    pub offset: Offset,
    /// Its event time when it was read.
    pub timestamp: Timestamp,
}

/// A window of event time: `start` inclusive; `end` exclusive for tumbling and hopping windows, inclusive for sliding and session ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Window {
    /// First millisecond.
    pub start: Timestamp,
    /// End, in milliseconds.
    pub end: Timestamp,
}

/// A key within a window.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Windowed<K> {
    /// The key.
    pub key: K,
    /// The window.
    pub window: Window,
}

/// A table's row before and after an update; `None` where there is no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change<V> {
    pub new: Option<V>,
    pub old: Option<V>,
    /// `false` only for an update of a versioned table that came later than a newer version of its row.
    pub latest: bool,
}

impl<V> Change<V> {
    /// A change to what is the row now.
    pub(crate) fn of(new: Option<V>, old: Option<V>) -> Self {
        Self { new, old, latest: true }
    }
}
