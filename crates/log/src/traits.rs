//! The traits that every log implements, and the protocol between a caller and a log.
//!
//! The exactly-once loop of a stream thread:
//! ```text
//! member.poll ──▶ process ──▶ producer.begin ▶ append* ▶ add_offsets(member.membership()) ▶ commit
//!      ▲                                                                             │
//!      └────────────────── the stores' overlays are applied only now ◀───────────────┘
//! ```
//! Records and offsets of one transaction appear together or not at all, whatever moment the process dies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::{
    BatchBuilder, GroupDescription, Offset, PartitionId, PartitionOffsets, RecordBatch, Result, Timestamp,
    TopicDescription, TopicPartition, TopicSpec,
};

/// A log: makes administrators, producers, members and readers. Cheap to share behind an `Arc`.
pub trait Log: Send + Sync {
    /// Where it is, for messages: a folder or an address.
    fn address(&self) -> String;
    /// What tells this log from any other, through restarts and moves; `None` where it cannot be told. Local state that was derived from another
    /// log is not used.
    fn identity(&self) -> Result<Option<String>> {
        Ok(None)
    }
    /// Creates, describes and deletes topics; tells offsets and groups.
    fn admin(&self) -> Box<dyn Admin>;
    /// A producer. With a transactional id, older producers of that id are fenced from now on.
    fn producer(&self, config: ProducerConfig) -> Result<Box<dyn Producer>>;
    /// Joins a group.
    fn member(&self, config: MemberConfig) -> Result<Box<dyn Member>>;
    /// Reads given partitions without a group, each from its earliest offset until told otherwise.
    fn reader(&self, partitions: &[TopicPartition]) -> Result<Box<dyn Reader>>;
}

/// Administration of topics, offsets and groups.
pub trait Admin: Send + Sync {
    /// Creates a topic. [`TopicExists`](crate::LogError::TopicExists) when there is one of that name.
    fn create_topic(&self, spec: &TopicSpec) -> Result<()>;
    /// Adds partitions to a topic; `partitions` is the new total, never fewer than now.
    fn add_partitions(&self, topic: &str, partitions: u32) -> Result<()>;
    /// Deletes a topic with its records and all groups' offsets in it.
    fn delete_topic(&self, topic: &str) -> Result<()>;
    /// Deletes records before `offset` of one partition.
    fn delete_records(&self, partition: &TopicPartition, before: Offset) -> Result<()>;
    /// The names of all topics, sorted; with internal ones if asked.
    fn list_topics(&self, with_internal: bool) -> Result<Vec<String>>;
    /// One topic in full.
    fn describe_topic(&self, topic: &str) -> Result<TopicDescription>;
    /// Where each partition of a topic begins and ends, in order of partitions.
    fn offsets(&self, topic: &str) -> Result<Vec<PartitionOffsets>>;
    /// The first offset whose record's timestamp is at least `at`; `None` when all are older.
    fn offset_for_time(&self, partition: &TopicPartition, at: Timestamp) -> Result<Option<Offset>>;
    /// All groups, sorted.
    fn list_groups(&self) -> Result<Vec<String>>;
    /// One group: members and committed offsets. An unknown group has neither.
    fn describe_group(&self, group: &str) -> Result<GroupDescription>;
    /// Sets a group's committed offsets (for resets); refused while it has members.
    fn alter_offsets(&self, group: &str, offsets: &[(TopicPartition, Offset)]) -> Result<()>;
    /// Forgets a group; refused while it has members.
    fn delete_group(&self, group: &str) -> Result<()>;
}

/// How a producer behaves.
#[derive(Debug, Clone, Default)]
pub struct ProducerConfig {
    /// Identity across restarts: a newer producer of the same id fences the older one. `None`: never fenced.
    pub transactional_id: Option<String>,
}

/// Appends records in transactions. `begin`, any number of `append` and `add_offsets`, then `commit` or `abort`.
pub trait Producer: Send {
    /// Opens a transaction.
    fn begin(&mut self) -> Result<()>;
    /// Adds records for one partition. The builder is drained, so that its memory is used again.
    fn append(&mut self, partition: &TopicPartition, records: &mut BatchBuilder) -> Result<()>;
    /// Adds the member's consumed positions (next offsets to read) to the transaction.
    fn add_offsets(&mut self, member: &Membership, offsets: &[(TopicPartition, Offset)]) -> Result<()>;
    /// Commits: when this returns `Ok`, all of it is durable and visible. Returns the base offset given to the records of each
    /// partition, where the log knows it, in the order of first `append`.
    fn commit(&mut self) -> Result<Vec<(TopicPartition, Offset)>>;
    /// Aborts: none of it will ever be seen.
    fn abort(&mut self) -> Result<()>;
}

/// Where a group without a committed offset starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartAt {
    /// With the first record there is.
    #[default]
    Earliest,
    /// With the next record to come.
    Latest,
}

/// How a member joins.
#[derive(Debug, Clone)]
pub struct MemberConfig {
    /// The group.
    pub group: String,
    /// Topics to share among the group's members. A topic that does not exist yet is an error.
    pub topics: Vec<String>,
    /// Where to start without a committed offset.
    pub start: StartAt,
    /// A name for messages and metrics.
    pub client_id: String,
    /// At most this many bytes of records are handed out by one `poll`.
    pub max_poll_bytes: usize,
    /// Settings passed through to the log, by the log's own names.
    pub config: BTreeMap<String, String>,
    /// The program's tasks, for logs whose groups assign tasks and standby copies themselves (Kafka's streams groups). Where it is
    /// given, `topics` are its topics all the same.
    pub topology: Option<Arc<GroupTopology>>,
    /// Host and port where other members can ask this one for the state that it owns.
    pub endpoint: Option<(String, u16)>,
    /// Members of one process share it: a standby copy never lies beside its active task.
    pub process_id: String,
    /// Standby copies that the group shall keep of each task with a changelog; needs `topology`. A log whose groups take the number
    /// from a setting of their own (Kafka's `streams.num.standby.replicas`) sets it there, or says why it cannot.
    pub standby_replicas: u32,
}

/// A program's tasks as a group coordinator sees them (Kafka's KIP-1071).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupTopology {
    /// Numbered from 0, in this order. Task `n` of a sub-topology is partition `n` of all its sources.
    pub sub_topologies: Vec<GroupSubTopology>,
}

/// One sub-topology of a [`GroupTopology`]; all names are resolved topic names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupSubTopology {
    /// Its name: Kafka Streams' number, as text.
    pub id: String,
    /// Topics of others that it reads.
    pub sources: Vec<String>,
    /// Repartition topics that it reads; 0 partitions: as many as their writer has.
    pub repartition_sources: Vec<TopicSpec>,
    /// Repartition topics that it writes.
    pub repartition_sinks: Vec<String>,
    /// Changelogs of its stores; as many partitions as it has tasks.
    pub changelogs: Vec<TopicSpec>,
    /// Sets of its inputs that must have the same number of partitions.
    pub copartitioned: Vec<Vec<String>>,
}

/// A copy of a task's state that this member keeps ready without running the task.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StandbyTask {
    /// [`GroupSubTopology::id`].
    pub sub_topology: String,
    /// The task's partition.
    pub partition: PartitionId,
}

/// Where a member of the group can be asked for the state that it owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberEndpoint {
    /// Its host and port, as it said when it joined.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Inputs of its active tasks.
    pub active: Vec<TopicPartition>,
    /// Inputs of its standby tasks.
    pub standby: Vec<TopicPartition>,
}

impl MemberConfig {
    /// A member of `group` on `topics`, from the earliest record, at most 4 MiB a poll.
    pub fn new(group: impl Into<String>, topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            group: group.into(),
            topics: topics.into_iter().map(Into::into).collect(),
            start: StartAt::Earliest,
            client_id: String::from("vigie"),
            max_poll_bytes: 4 << 20,
            config: BTreeMap::new(),
            topology: None,
            endpoint: None,
            process_id: String::new(),
            standby_replicas: 0,
        }
    }
}

/// Proof of membership at one generation of a group; a commit with an old one is refused with
/// [`NotOwner`](crate::LogError::NotOwner).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The group.
    pub group: Arc<str>,
    /// The member.
    pub member: Arc<str>,
    /// The generation (member epoch).
    pub generation: i32,
}

/// What one poll brought.
#[derive(Debug, Default)]
pub struct Polled {
    /// Partitions that this member must give up: it still owns them until its next `poll`, so that it can commit first.
    pub revoked: Vec<TopicPartition>,
    /// Partitions that somebody else owns already: drop what is uncommitted.
    pub lost: Vec<TopicPartition>,
    /// Partitions that this member owns from now on, each positioned at the group's committed offset.
    pub assigned: Vec<TopicPartition>,
    /// All standby copies that this member keeps from now on; `None`: as before.
    pub standbys: Option<Vec<StandbyTask>>,
    /// A member has asked for the whole application to stop ([`Member::request_shutdown`]).
    pub shutdown: bool,
    /// Batches in order of offset within each partition; positions advance past them.
    pub batches: Vec<Fetched>,
}

/// One batch of one partition.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Where it comes from.
    pub partition: TopicPartition,
    /// Its records. The first ones may lie before the position asked for: skip them by offset.
    pub batch: RecordBatch,
    /// The end of the partition's committed records when it was read, for lag.
    pub end: Offset,
}

/// A member of a group. Of all members, exactly one owns a partition at a time; partition `n` of each of the group's topics
/// goes to the same member (range assignment), so that co-partitioned topics stay together.
pub trait Member: Send {
    /// Waits at most `timeout` for a change of assignment or for records.
    fn poll(&mut self, timeout: Duration) -> Result<Polled>;
    /// Proof of membership now, for [`Producer::add_offsets`].
    fn membership(&self) -> Membership;
    /// What this member owns, sorted.
    fn assignment(&self) -> Vec<TopicPartition>;
    /// The next offset that `poll` hands out of a partition, past offsets that hold no records (ends of transactions, aborted ones);
    /// `None` where the log does not know. A task with several inputs waits for one that has not reached its end.
    fn position(&self, _partition: &TopicPartition) -> Option<Offset> {
        None
    }
    /// The group's committed positions.
    fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<Offset>>>;
    /// The next `poll` reads this partition from `offset`.
    fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<()>;
    /// No records of these partitions until `resume`.
    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()>;
    /// Records of these partitions again.
    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()>;
    /// Commits positions outside a transaction (at least once).
    fn commit(&mut self, offsets: &[(TopicPartition, Offset)]) -> Result<()>;
    /// The members of the group that said where they can be asked, with what they own. Empty where the log does not know.
    fn endpoints(&mut self) -> Result<Vec<MemberEndpoint>> {
        Ok(Vec::new())
    }
    /// Asks all members of the group to stop: their next [`poll`](Self::poll) says so. Tells whether the log passes it on.
    fn request_shutdown(&mut self) -> Result<bool> {
        Ok(false)
    }
    /// Leaves the group; what it owned goes to the others at once. Dropping a member leaves too.
    fn close(self: Box<Self>) -> Result<()>;
}

/// Reads partitions without a group.
pub trait Reader: Send {
    /// Waits at most `timeout` for records; empty when there are none.
    fn poll(&mut self, timeout: Duration) -> Result<Vec<Fetched>>;
    /// The next `poll` reads this partition from `offset`; one beyond the ends is moved to the nearer end.
    fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<()>;
    /// The next offset to be read of a partition.
    fn position(&self, partition: &TopicPartition) -> Option<Offset>;
}

/// Number of partitions of a topic, a short cut.
impl dyn Admin {
    /// How many partitions the topic has.
    pub fn partition_count(&self, topic: &str) -> Result<PartitionId> {
        Ok(PartitionId::try_from(self.offsets(topic)?.len()).unwrap_or(PartitionId::MAX))
    }
}
