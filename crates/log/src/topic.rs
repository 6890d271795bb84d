//! Names and positions in a log: topics, partitions, offsets, and what an administrator is told about them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::Timestamp;

/// A position in a partition. The first record has offset 0; offsets increase strictly, gaps are allowed.
pub type Offset = i64;
/// The number of a partition within its topic, from 0.
pub type PartitionId = u32;

/// One partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: PartitionId,
}

impl TopicPartition {
    /// Partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: PartitionId) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// What is asked for when a topic is created. Settings have Kafka's names and spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Letters, digits, `.`, `_`, `-`; at most 249 characters.
    pub name: String,
    /// At least 1.
    pub partitions: u32,
    /// Copies of each partition. The embedded log keeps one and says so when more are asked for.
    pub replication_factor: u16,
    /// `cleanup.policy` (`delete`, `compact`, `compact,delete`), `retention.ms`, `retention.bytes`,
    /// `max.message.bytes`, `min.compaction.lag.ms`, `delete.retention.ms`. -1 means without limit.
    pub config: BTreeMap<String, String>,
}

impl TopicSpec {
    /// A topic with defaults: one copy, kept by the log's default retention.
    pub fn new(name: impl Into<String>, partitions: u32) -> Self {
        Self { name: name.into(), partitions, replication_factor: 1, config: BTreeMap::new() }
    }

    /// Adds one setting.
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.config.insert(key.to_owned(), value.into());
        self
    }

    /// A compacted topic without time limit: the last value of each key is kept.
    pub fn compacted(name: impl Into<String>, partitions: u32) -> Self {
        Self::new(name, partitions).with("cleanup.policy", "compact").with("retention.ms", "-1")
    }
}

/// One topic as the log sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// The topic.
    pub name: String,
    /// Whether the engine made it for itself (repartition, changelog).
    pub internal: bool,
    /// Copies of each partition.
    pub replication_factor: u16,
    /// Its settings, defaults included.
    pub config: BTreeMap<String, String>,
    /// One entry a partition, in order.
    pub partitions: Vec<PartitionDescription>,
}

/// One partition as the log sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDescription {
    /// The partition.
    pub partition: PartitionId,
    /// Node that takes writes; 0 on the embedded log.
    pub leader: i32,
    /// Nodes that hold a copy.
    pub replicas: Vec<i32>,
    /// Those of them that are up to date.
    pub in_sync_replicas: Vec<i32>,
    /// Where it begins and ends.
    pub offsets: PartitionOffsets,
    /// Bytes on disk, where the log knows.
    pub bytes: Option<u64>,
    /// Timestamp of the newest record, where the log knows.
    pub latest_timestamp: Option<Timestamp>,
}

/// Where a partition begins and ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartitionOffsets {
    /// The first offset that is still there.
    pub earliest: Offset,
    /// The offset that the next record will get (of committed data: the last stable offset).
    pub latest: Offset,
}

/// One group as the log sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// The group.
    pub group: String,
    /// Members now joined, with what each owns.
    pub members: Vec<(String, Vec<TopicPartition>)>,
    /// Committed position of each partition.
    pub committed: Vec<(TopicPartition, Offset)>,
}
