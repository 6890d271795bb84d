//! What a running program says of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vigie_log::{Offset, PartitionId, Timestamp};

use super::status::State;
use crate::processor::Counts;

/// A moment of a running program. Counters start at zero with the program and never fall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricsSnapshot {
    /// Its state.
    pub state: State,
    /// Records read from inputs, repartition topics included.
    pub records_in: u64,
    /// Records written by sinks, repartition topics included.
    pub records_out: u64,
    /// Records skipped: null keys or values where none may be, negative timestamps.
    pub skipped: u64,
    /// Records behind the grace of their window.
    pub late: u64,
    /// Records given to an error handler.
    pub errors: u64,
    /// Commits.
    pub commits: u64,
    /// Transactions aborted.
    pub aborts: u64,
    /// Rebalances seen by a thread.
    pub rebalances: u64,
    /// The tasks that run here, by id.
    pub tasks: Vec<TaskSnapshot>,
    /// Entries of each store here, about.
    pub stores: BTreeMap<String, u64>,
    /// Memory of the state.
    pub memory: MemoryUse,
    /// Threads alive.
    pub threads: usize,
    /// The standby copies kept here, by id of their task.
    #[serde(default)]
    pub standbys: Vec<StandbySnapshot>,
}

/// One standby copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandbySnapshot {
    /// `<sub-topology>_<partition>`.
    pub id: String,
    /// The sub-topology.
    pub sub_topology: u32,
    /// The partition.
    pub partition: PartitionId,
    /// The thread that keeps it.
    pub thread: String,
    /// How far the copy of each store is in its changelog.
    pub changelogs: Vec<PartitionLag>,
}

/// Memory of all state of a program, against its budget ([`Config::memory_budget`](super::config::Config::memory_budget)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MemoryUse {
    /// Bytes that it may take.
    pub budget: usize,
    /// Bytes of typed caches, as of the last commit.
    pub caches: usize,
    /// Bytes of entries held as bytes.
    pub tables: usize,
    /// The most that the database's block cache takes.
    pub block_cache: usize,
    /// How often entries were put on disk to make room.
    pub spills: u64,
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSnapshot {
    /// `<sub-topology>_<partition>`.
    pub id: String,
    /// The sub-topology.
    pub sub_topology: u32,
    /// The partition.
    pub partition: PartitionId,
    /// The thread that owns it.
    pub thread: String,
    /// `restoring` or `running`.
    pub state: String,
    /// The largest timestamp processed.
    pub stream_time: Option<Timestamp>,
    /// Records processed since the task came here.
    pub records: u64,
    /// How far each input is.
    pub inputs: Vec<PartitionLag>,
    /// How far the restore is, while it lasts.
    pub restore: Option<RestoreProgress>,
}

/// How far one input is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionLag {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: PartitionId,
    /// The next offset to process.
    pub position: Offset,
    /// The end of the partition as last seen.
    pub end: Offset,
    /// Records between the two.
    pub lag: i64,
}

/// How far a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreProgress {
    /// Offsets applied since the restore began.
    pub done: i64,
    /// Offsets to apply in all.
    pub total: i64,
}

/// Totals of one thread; the others read them under a lock that is taken a few times a second.
#[derive(Debug, Default, Clone)]
pub(crate) struct ThreadTotals {
    pub counts: Counts,
    pub commits: u64,
    pub aborts: u64,
    pub rebalances: u64,
    pub tasks: Vec<TaskSnapshot>,
    pub standbys: Vec<StandbySnapshot>,
}

impl ThreadTotals {
    /// Adds counters and lists.
    pub(crate) fn add(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        self.commits += other.commits;
        self.aborts += other.aborts;
        self.rebalances += other.rebalances;
        self.tasks.extend(other.tasks.iter().cloned());
        self.standbys.extend(other.standbys.iter().cloned());
    }
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.records_in += other.records_in;
        self.records_out += other.records_out;
        self.skipped += other.skipped;
        self.late += other.late;
        self.errors += other.errors;
    }
}
