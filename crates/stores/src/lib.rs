//! The stores: where results are kept to be looked up.
//!
//! ```text
//! log ──▶ sink (one thread) ──▶ documents, tables, and the consumed offsets: one transaction
//!     └─▶ archive sink      ──▶ whole files, whose names and last lines are the offsets
//! ```
//! The traits are those of the big systems, made small: [`Documents`] after MongoDB, [`Tables`] after Cassandra, [`Archive`] after
//! object stores. [`SqliteStore`] implements the first two in one file, [`FolderArchive`] the third in one folder.
//!
//! Invariants:
//! - every write is idempotent: its key comes from the record, and older data never replaces newer (`only_if_newer`);
//! - a sink's data and its offsets are written together or not at all, so a crash neither loses nor repeats;
//! - only this crate names rusqlite; no clock and no randomness but from outside.

pub mod archive;
pub mod contract;
mod documents;
mod error;
mod sink;
mod sqlite;
mod tables;
mod write;

pub use archive::{Archive, ArchiveFile, ArchiveWriter, ArchivedRecord, FolderArchive, Roll};
pub use documents::{CollectionSpec, Document, Documents, Filter, Op, Page, Query, Sort};
pub use error::{Result, StoreError};
pub use sink::{Circuit, Mapper, Poison, RunningSink, Sink, SinkOptions, SinkRecord, SinkStatus};
pub use sqlite::SqliteStore;
pub use tables::{
    Cell, CellKind, Column, Order, Row, TableSchema, Tables, random_user_keyspace, read_buckets_backwards,
};
pub use write::{OffsetStep, Store, Write};
