//! The archive: records of the log in files that never change, for batch analysis and for keeping.
//!
//! # Format
//! ```text
//! <folder>/<topic>/event_date=YYYY-MM-DD/<topic>-<partition>-<first offset, 20 digits>.jsonl
//! one line a record: {"topic","partition","offset","timestamp","key"|"key_base64","value"|"value_base64","headers"?}
//! ```
//! A key, value or header that is UTF-8 is text, otherwise base64. The date is that of ingestion, so that a range of offsets never
//! spans folders; the event time is in the lines. The last line gives the last offset, so a file needs no index and no trailer that a
//! reader of lines would have to skip.
//!
//! Invariants:
//! - a file is published whole: temporary file, fsync, hard link under its name (which fails if that exists), fsync of the folder;
//! - offsets go on strictly after those published, so a restart leaves neither gap nor duplicate.

mod folder;
mod line;
mod writer;

pub use folder::FolderArchive;
pub use writer::{ArchiveWriter, Roll};

use vigie_log::{Offset, RecordRef, Timestamp, TopicPartition};

use crate::Result;

/// A record as the archive holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedRecord {
    /// Its offset.
    pub offset: Offset,
    /// Its event time.
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// What travels beside it.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl From<RecordRef<'_>> for ArchivedRecord {
    fn from(record: RecordRef<'_>) -> Self {
        Self {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record
                .headers
                .iter()
                .map(|header| (header.name.to_owned(), header.value.map(<[u8]>::to_vec)))
                .collect(),
        }
    }
}

/// A published file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArchiveFile {
    /// Whose records.
    pub partition: TopicPartition,
    /// The first offset in it.
    pub first: Offset,
    /// Its path within the archive, with `/`.
    pub path: String,
}

/// Files of records, published whole.
pub trait Archive: Send + Sync {
    /// Where it is, for messages.
    fn address(&self) -> String;
    /// The last offset published of a partition.
    fn last_offset(&self, partition: &TopicPartition) -> Result<Option<Offset>>;
    /// Publishes a file of these records, which must be in order of offset, after the last one published. `ingestion` is now, by the
    /// caller's clock.
    fn publish(
        &self,
        partition: &TopicPartition,
        records: &[ArchivedRecord],
        ingestion: Timestamp,
    ) -> Result<ArchiveFile>;
    /// The files of a topic, by partition and offset.
    fn files(&self, topic: &str) -> Result<Vec<ArchiveFile>>;
    /// The records of a file.
    fn read(&self, file: &ArchiveFile) -> Result<Vec<ArchivedRecord>>;
}
