//! What a broker needs of the thing that keeps its bytes, and the entries it keeps there.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Offset, PartitionId, RecordBatch, Result, Timestamp, TopicPartition};

/// Keeps batches, topics, offsets and epochs. One implementation in memory, one on disk.
///
/// Invariants that a broker relies on:
/// - [`write`](Self::write) does all or nothing, whatever moment the process dies, and is never called by two threads at once;
/// - when it returns `Ok`, what it wrote is as durable as this storage promises; after an error it writes nothing more;
/// - [`read`](Self::read) and [`floor`](Self::floor) see one consistent state each.
pub trait Storage: Send + Sync + 'static {
    /// Where it is, for messages.
    fn address(&self) -> String;
    /// What was there when it was opened.
    fn load(&self) -> Result<Contents>;
    /// Does all of it, atomically.
    fn write(&self, writes: Vec<Write>) -> Result<()>;
    /// Batches of a partition in order, at least one if there is one, about `max_bytes` of them.
    fn read(&self, slot: Slot, span: Span, max_bytes: usize) -> Result<Vec<Entry>>;
    /// The last batch whose base offset is at most `offset`.
    fn floor(&self, slot: Slot, offset: Offset) -> Result<Option<Entry>>;
    /// Removes all records of a topic that [`Write::DeleteTopic`] has already hidden. May take several writes.
    fn purge(&self, topic: TopicId) -> Result<()>;
    /// Gives back an error when nothing can be served any more.
    fn check(&self) -> Result<()>;
}

/// A topic's number, never used twice.
pub type TopicId = u32;

/// One partition, as storage names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionId,
}

/// Which batches are meant.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// Batches whose base offset is at least this,
    pub from: Offset,
    /// and below this;
    pub until: Offset,
    /// and, if set, also the batch before them when it reaches over `from`.
    pub overlapping: bool,
}

/// One stored batch with what the broker notes beside it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Notes.
    pub note: Note,
    /// The records.
    pub batch: RecordBatch,
}

/// What the broker notes beside a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Note {
    /// Bytes ever appended to the partition before this batch: gives sizes of partitions without a scan.
    pub appended_before: u64,
    /// The largest timestamp of this and all earlier batches: never falls, so that times can be searched for by halving.
    pub running_max: Timestamp,
    /// When compaction may remove the tombstones of this batch; `None`: it has not met them.
    pub tombstones_until: Option<Timestamp>,
}

/// A partition's numbers that cannot be told from its batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// First offset that is there.
    pub earliest: Offset,
    /// No record gets an offset below this.
    pub latest: Offset,
    /// Bytes ever appended, at `latest`.
    pub appended: u64,
    /// Bytes still there, at `latest`.
    pub live: u64,
    /// Compaction has seen everything before this offset.
    pub cleaned: Offset,
    /// The earliest moment at which a tombstone may be removed.
    pub tombstones_until: Option<Timestamp>,
}

/// A topic as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTopic {
    /// Its number.
    pub id: TopicId,
    /// Its name.
    pub name: Arc<str>,
    /// How many partitions it has.
    pub partitions: u32,
    /// Its settings, as they were asked for.
    pub config: BTreeMap<String, String>,
}

/// Everything but the records.
#[derive(Debug, Default, Clone)]
pub struct Contents {
    /// All topics.
    pub topics: Vec<StoredTopic>,
    /// No topic has had this number yet, nor a larger one.
    pub next_topic: TopicId,
    /// Bounds of the partitions that have some.
    pub bounds: BTreeMap<Slot, Bounds>,
    /// Committed offsets.
    pub offsets: Vec<(String, TopicPartition, Offset)>,
    /// Epochs of transactional ids.
    pub epochs: BTreeMap<String, u32>,
    /// Topics that were deleted, but whose records may still be there.
    pub purge: Vec<TopicId>,
}

/// One change.
#[derive(Debug, Clone)]
pub enum Write {
    /// A topic is there from now on (or again, with more partitions).
    PutTopic(StoredTopic),
    /// A topic is gone; its records are to be purged.
    DeleteTopic {
        /// Its number.
        id: TopicId,
        /// Its name.
        name: Arc<str>,
    },
    /// A batch follows all others of its partition.
    Append {
        /// Where.
        slot: Slot,
        /// What.
        entry: Entry,
    },
    /// A batch takes the place of the one with the same base offset.
    Replace {
        /// Where.
        slot: Slot,
        /// What.
        entry: Entry,
    },
    /// The batch with this base offset is gone.
    RemoveBatch {
        /// Where.
        slot: Slot,
        /// Its base offset.
        base: Offset,
    },
    /// A partition's bounds.
    PutBounds {
        /// Where.
        slot: Slot,
        /// What.
        bounds: Bounds,
    },
    /// A group's committed offset; `None` forgets it.
    PutOffset {
        /// The group.
        group: Arc<str>,
        /// The partition.
        partition: TopicPartition,
        /// The next offset to read.
        offset: Option<Offset>,
    },
    /// The epoch of a transactional id.
    PutEpoch {
        /// The id.
        id: Arc<str>,
        /// Its newest producer.
        epoch: u32,
    },
}
