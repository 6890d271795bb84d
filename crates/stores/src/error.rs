//! What can go wrong with a store, classed by its consequence.

use vigie_log::Consequence;

/// A result of a store call.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// An error of a store. Each message says what happened, where, and what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No room for what was to be written.
    #[error(
        "no room on the disk of {place}: {reason}; free some space: writing goes on by itself, nothing is lost meanwhile"
    )]
    DiskFull {
        /// File or folder.
        place: String,
        /// What the system said.
        reason: String,
    },
    /// The file or folder cannot be written to.
    #[error(
        "{place} cannot be written: {reason}; check its owner and permissions, or choose another folder with --data"
    )]
    NotWritable {
        /// File or folder.
        place: String,
        /// What the system said.
        reason: String,
    },
    /// Another process has it open.
    #[error(
        "{place} is in use by another process ({holder}); stop that one, or choose another folder with --data"
    )]
    Locked {
        /// The file.
        place: String,
        /// What is known of the holder.
        holder: String,
    },
    /// The content is not what was written.
    #[error("{place} is damaged: {reason}; keep a copy, then delete it: it is filled again from the log")]
    Corrupt {
        /// The file.
        place: String,
        /// What did not fit.
        reason: String,
    },
    /// Written by a newer version of the program.
    #[error(
        "{place} was written by a newer version (format {found}, this one reads up to {supported}); install that version again, or delete the file: it is filled again from the log"
    )]
    NewerFormat {
        /// The file.
        place: String,
        /// The format found.
        found: i64,
        /// The newest that this program reads.
        supported: i64,
    },
    /// The store is busy or out of reach for the moment.
    #[error("{place} does not answer for the moment: {reason}; it is tried again")]
    Busy {
        /// The file or address.
        place: String,
        /// What it said.
        reason: String,
    },
    /// A table that nobody declared.
    #[error("table `{table}` is not declared; declare it with Tables::declare before use")]
    UnknownTable {
        /// Its name.
        table: String,
    },
    /// A declaration that cannot be used.
    #[error("`{name}` cannot be declared: {reason}")]
    InvalidSchema {
        /// Collection or table.
        name: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A question that the store does not answer.
    #[error("query on `{name}`: {reason}")]
    InvalidQuery {
        /// Collection or table.
        name: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A row or document that does not fit: one bad record, not a broken store.
    #[error("a record for `{name}` does not fit: {reason}")]
    BadRecord {
        /// Collection or table.
        name: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The stored offset is not the one that this writer continued from: somebody else has written meanwhile.
    #[error(
        "group `{group}`, {partition}: the store stands at {found:?}, this writer continued from {expected:?}; it starts again from the store"
    )]
    OffsetMoved {
        /// The group.
        group: String,
        /// Topic and partition.
        partition: String,
        /// Where the writer thought it was.
        expected: Option<i64>,
        /// Where the store is.
        found: Option<i64>,
    },
    /// An archive file of this name, or with these offsets, is there already.
    #[error("{place} is published already; list the archive and go on after its last offset")]
    AlreadyPublished {
        /// The file.
        place: String,
    },
    /// Anything else, with its source.
    #[error("{context}: {source}")]
    Other {
        /// What was being done.
        context: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl StoreError {
    /// What the caller must do.
    pub fn consequence(&self) -> Consequence {
        match self {
            Self::DiskFull { .. } | Self::Busy { .. } => Consequence::Retriable,
            Self::OffsetMoved { .. } | Self::AlreadyPublished { .. } => Consequence::TaskMigrated,
            Self::BadRecord { .. } => Consequence::Abort,
            _ => Consequence::Fatal,
        }
    }

    /// Whether one record is to blame: skip it, report it, go on.
    pub fn is_bad_record(&self) -> bool {
        matches!(self, Self::BadRecord { .. })
    }

    pub(crate) fn other(
        context: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Other { context: context.into(), source: source.into() }
    }

    /// Classes an error of the file system.
    pub(crate) fn io(place: &std::path::Path, error: std::io::Error) -> Self {
        use std::io::ErrorKind as Kind;
        let place = place.display().to_string();
        match error.kind() {
            Kind::StorageFull | Kind::QuotaExceeded => Self::DiskFull { place, reason: error.to_string() },
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem | Kind::NotADirectory | Kind::IsADirectory => {
                Self::NotWritable { place, reason: error.to_string() }
            }
            Kind::Interrupted | Kind::WouldBlock | Kind::TimedOut => {
                Self::Busy { place, reason: error.to_string() }
            }
            _ => Self::other(place, error),
        }
    }
}
