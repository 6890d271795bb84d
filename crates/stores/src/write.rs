//! What a sink writes, and the store that takes it in one transaction with the offsets.

use serde_json::Value;
use vigie_log::{Offset, TopicPartition};

use crate::{Cell, Documents, Result, Row, Tables};

/// One write. All are idempotent.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Writes a document.
    UpsertDocument {
        /// Where.
        collection: String,
        /// Its id, made from the record.
        id: String,
        /// Its content.
        doc: Value,
        /// Only if what is there has no greater version than this.
        only_if_newer: Option<i64>,
    },
    /// Deletes a document.
    DeleteDocument {
        /// Where.
        collection: String,
        /// Which.
        id: String,
        /// Only if what is there has no greater version than this.
        only_if_newer: Option<i64>,
    },
    /// Writes the columns of a row that are given.
    UpsertRow {
        /// Where.
        table: String,
        /// All of the key, and the columns to set.
        row: Row,
        /// Only if what is there has no greater version than this.
        only_if_newer: Option<i64>,
    },
    /// Deletes a row.
    DeleteRow {
        /// Where.
        table: String,
        /// The whole primary key.
        key: Vec<Cell>,
    },
}

impl Write {
    /// Writes a document whatever is there.
    pub fn document(collection: impl Into<String>, id: impl Into<String>, doc: Value) -> Self {
        Self::UpsertDocument { collection: collection.into(), id: id.into(), doc, only_if_newer: None }
    }

    /// Writes a row whatever is there.
    pub fn row(table: impl Into<String>, row: Row) -> Self {
        Self::UpsertRow { table: table.into(), row, only_if_newer: None }
    }

    /// The same write, only over what is not newer than `version` (event time or offset).
    pub fn if_newer(mut self, version: i64) -> Self {
        match &mut self {
            Self::UpsertDocument { only_if_newer, .. }
            | Self::DeleteDocument { only_if_newer, .. }
            | Self::UpsertRow { only_if_newer, .. } => *only_if_newer = Some(version),
            Self::DeleteRow { .. } => {}
        }
        self
    }
}

/// The step that a group takes in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetStep {
    /// The partition.
    pub partition: TopicPartition,
    /// Where the store stood when the writer read it; another value there means another writer.
    pub from: Option<Offset>,
    /// The next offset to read.
    pub to: Offset,
}

/// Documents and tables that take writes and offsets in one transaction.
pub trait Store: Documents + Tables {
    /// Where it is, for messages.
    fn address(&self) -> String;
    /// Applies writes and the group's steps: all or nothing. Returns how many writes took effect (older ones do not).
    fn apply(&self, group: &str, writes: &[Write], steps: &[OffsetStep]) -> Result<u64>;
    /// The next offset to read of a partition, as the last `apply` left it.
    fn offset(&self, group: &str, partition: &TopicPartition) -> Result<Option<Offset>>;
    /// Size on disk in bytes, where it is known.
    fn size_bytes(&self) -> Option<u64>;
}
