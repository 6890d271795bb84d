//! What can go wrong with a log, classed by its consequence.

use std::error::Error as StdError;

/// What the caller must do about an error (Kafka Streams classes its errors the same way).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// The same call may succeed later: back off and repeat it. Of a commit, see also [`LogError::TransactionLost`].
    Retriable,
    /// The transaction must be aborted; the producer remains usable.
    Abort,
    /// This member or producer has been replaced: close the tasks, drop what is uncommitted, join again.
    TaskMigrated,
    /// Nothing that the program can do mends it: stop and tell a person.
    Fatal,
}

/// A result of a log call.
pub type Result<T, E = LogError> = std::result::Result<T, E>;

/// An error of a log. Each message says what happened, where, and what to check.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The topic does not exist.
    #[error(
        "topic `{topic}` does not exist; list the topics with `vigie topics list`, create it with `vigie topics create {topic}`"
    )]
    UnknownTopic {
        /// The topic asked for.
        topic: String,
    },
    /// The topic has fewer partitions.
    #[error("topic `{topic}` has no partition {partition} (it has {count})")]
    UnknownPartition {
        /// The topic asked for.
        topic: String,
        /// The partition asked for.
        partition: u32,
        /// How many there are.
        count: u32,
    },
    /// A topic of this name is there already.
    #[error("topic `{topic}` exists already; describe it with `vigie topics describe {topic}`")]
    TopicExists {
        /// The topic asked for.
        topic: String,
    },
    /// The name or the settings of a topic are not acceptable.
    #[error("topic `{topic}` cannot be created: {reason}")]
    InvalidTopic {
        /// The topic asked for.
        topic: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A record or a batch is larger than the topic accepts.
    #[error(
        "a record of {size} bytes is too large for topic `{topic}` (at most {limit}); raise `max.message.bytes` of the topic or send less"
    )]
    TooLarge {
        /// Where it was sent.
        topic: String,
        /// Its size in bytes.
        size: usize,
        /// The topic's limit in bytes.
        limit: usize,
    },
    /// The log refused for lack of a permission.
    #[error("not authorised: {permission} on {resource}; ask the operator of the log for this permission")]
    NotAuthorised {
        /// For example `topic evenements` or `group vigie`.
        resource: String,
        /// For example `Write`.
        permission: String,
    },
    /// The log cannot be reached.
    #[error(
        "the log at {address} cannot be reached: {reason}; check that it runs, the address, and the network between"
    )]
    Unreachable {
        /// The address or folder.
        address: String,
        /// What the attempt gave.
        reason: String,
    },
    /// A newer producer with the same transactional id has taken over.
    #[error(
        "producer `{transactional_id}` was fenced: a newer one with the same transactional id is at work; this one must close"
    )]
    Fenced {
        /// The id in question.
        transactional_id: String,
    },
    /// The member's generation is over, or the partition belongs to somebody else now.
    #[error("member `{member}` of group `{group}` no longer owns what it commits: {reason}")]
    NotOwner {
        /// The group.
        group: String,
        /// The member.
        member: String,
        /// Which partition or generation.
        reason: String,
    },
    /// The offset asked for is no longer, or not yet, there.
    #[error(
        "offset {offset} of {topic}-{partition} is out of range ({earliest}..={latest}): retention may have removed it"
    )]
    OffsetOutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The offset asked for.
        offset: i64,
        /// The first one there.
        earliest: i64,
        /// The next one to be written.
        latest: i64,
    },
    /// A transaction that can no longer be committed, because its records did not reach the brokers in time: repeating the commit is of
    /// no use. Aborted and made once more from its beginning, it may succeed.
    #[error(
        "the transaction of `{transactional_id}` can no longer be committed ({reason}); abort it and repeat all of it, and check that the brokers run"
    )]
    TransactionLost {
        /// The producer's transactional id.
        transactional_id: String,
        /// What happened to it.
        reason: String,
    },
    /// A call that the protocol of begin, append, commit does not allow at this moment.
    #[error("wrong order of calls: {0}")]
    InvalidState(&'static str),
    /// Bytes on disk or on the wire are not what was written.
    #[error(
        "corrupt data in {place}: {reason}; keep a copy of the folder and restore it from a backup, or delete it to start afresh"
    )]
    Corrupt {
        /// File, partition or key.
        place: String,
        /// What did not fit.
        reason: String,
    },
    /// No room for what was to be written.
    #[error(
        "no room on the disk of {place}: {reason}; free some space, then start again: nothing acknowledged is lost"
    )]
    DiskFull {
        /// The folder.
        place: String,
        /// What the system said.
        reason: String,
    },
    /// The folder cannot be written to.
    #[error(
        "folder {place} cannot be written: {reason}; check its owner and permissions, or choose another with --data"
    )]
    NotWritable {
        /// The folder.
        place: String,
        /// What the system said.
        reason: String,
    },
    /// Another process has the folder open.
    #[error(
        "{place} is in use by another process ({holder}); stop that one, or choose another folder with --data"
    )]
    Locked {
        /// The folder.
        place: String,
        /// What is known of the holder, such as its process id.
        holder: String,
    },
    /// The folder was written by a newer version of the program.
    #[error(
        "{place} was written by a newer version (format {found}, this one reads up to {supported}); install that version again, or choose another folder with --data"
    )]
    NewerFormat {
        /// The folder.
        place: String,
        /// The format found.
        found: u32,
        /// The newest format that this program reads.
        supported: u32,
    },
    /// A failed write to disk: what the disk holds is unknown until the log is opened again, so it serves nothing more.
    #[error(
        "the log in {place} stopped after a failed write: {reason}; restart the program, it recovers what was acknowledged"
    )]
    Poisoned {
        /// The folder.
        place: String,
        /// The first failure.
        reason: String,
    },
    /// The log has been closed.
    #[error("the log is closed")]
    Closed,
    /// Anything else, with its source.
    #[error("{context}: {source}")]
    Other {
        /// What was being done.
        context: String,
        /// The cause.
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl LogError {
    /// What the caller must do.
    pub fn consequence(&self) -> Consequence {
        match self {
            Self::Unreachable { .. } | Self::TransactionLost { .. } => Consequence::Retriable,
            Self::Fenced { .. } | Self::NotOwner { .. } => Consequence::TaskMigrated,
            Self::TooLarge { .. } | Self::UnknownTopic { .. } | Self::UnknownPartition { .. } => {
                Consequence::Abort
            }
            _ => Consequence::Fatal,
        }
    }

    /// Wraps any other error with what was being done.
    pub fn other(context: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Other { context: context.into(), source: source.into() }
    }

    /// The same error once more, for each of several callers that waited for one attempt. The source of
    /// [`Other`](Self::Other) becomes its text.
    pub fn to_shared(&self) -> Self {
        match self {
            Self::UnknownTopic { topic } => Self::UnknownTopic { topic: topic.clone() },
            Self::UnknownPartition { topic, partition, count } => {
                Self::UnknownPartition { topic: topic.clone(), partition: *partition, count: *count }
            }
            Self::TopicExists { topic } => Self::TopicExists { topic: topic.clone() },
            Self::InvalidTopic { topic, reason } => {
                Self::InvalidTopic { topic: topic.clone(), reason: reason.clone() }
            }
            Self::TooLarge { topic, size, limit } => {
                Self::TooLarge { topic: topic.clone(), size: *size, limit: *limit }
            }
            Self::NotAuthorised { resource, permission } => {
                Self::NotAuthorised { resource: resource.clone(), permission: permission.clone() }
            }
            Self::Unreachable { address, reason } => {
                Self::Unreachable { address: address.clone(), reason: reason.clone() }
            }
            Self::Fenced { transactional_id } => Self::Fenced { transactional_id: transactional_id.clone() },
            Self::NotOwner { group, member, reason } => {
                Self::NotOwner { group: group.clone(), member: member.clone(), reason: reason.clone() }
            }
            Self::OffsetOutOfRange { topic, partition, offset, earliest, latest } => Self::OffsetOutOfRange {
                topic: topic.clone(),
                partition: *partition,
                offset: *offset,
                earliest: *earliest,
                latest: *latest,
            },
            Self::TransactionLost { transactional_id, reason } => {
                Self::TransactionLost { transactional_id: transactional_id.clone(), reason: reason.clone() }
            }
            Self::InvalidState(what) => Self::InvalidState(what),
            Self::Corrupt { place, reason } => Self::Corrupt { place: place.clone(), reason: reason.clone() },
            Self::DiskFull { place, reason } => {
                Self::DiskFull { place: place.clone(), reason: reason.clone() }
            }
            Self::NotWritable { place, reason } => {
                Self::NotWritable { place: place.clone(), reason: reason.clone() }
            }
            Self::Locked { place, holder } => Self::Locked { place: place.clone(), holder: holder.clone() },
            Self::NewerFormat { place, found, supported } => {
                Self::NewerFormat { place: place.clone(), found: *found, supported: *supported }
            }
            Self::Poisoned { place, reason } => {
                Self::Poisoned { place: place.clone(), reason: reason.clone() }
            }
            Self::Closed => Self::Closed,
            Self::Other { context, source } => {
                Self::Other { context: context.clone(), source: source.to_string().into() }
            }
        }
    }
}
