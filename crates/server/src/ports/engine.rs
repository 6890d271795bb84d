//! The stream engine and the sinks behind it, as the server sees them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The stream engine of the running program.
pub trait Engine: Send + Sync {
    /// The topology as text and as a graph.
    fn topology(&self) -> TopologyView;
    /// What each task has done.
    fn tasks(&self) -> Vec<TaskStatus>;
    /// What the engine has done as a whole.
    fn stats(&self) -> EngineStats;
    /// The sinks that write the stores.
    fn sinks(&self) -> Vec<SinkStatus>;
    /// Interactive query: views per page in the window that contains `now` (ms since the epoch); pages without a view are absent.
    /// Of all instances that share the work.
    fn page_counts(&self, now: i64) -> BTreeMap<String, i64>;
    /// The same for the partitions that this instance owns: what the others ask for.
    fn page_counts_here(&self, now: i64) -> BTreeMap<String, i64> {
        self.page_counts(now)
    }
    /// Size of a page window, ms.
    fn page_window_ms(&self) -> i64;
}

/// The topology.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TopologyView {
    /// As Kafka Streams' `describe()` prints it.
    pub text: String,
    /// The same, to be drawn.
    pub graph: Graph,
}

/// The topology as a graph.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Graph {
    /// Parts that share no node.
    pub sub_topologies: Vec<SubTopology>,
}

/// One part of the topology.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SubTopology {
    /// Its number.
    pub id: u32,
    /// Its nodes.
    pub nodes: Vec<TopologyNode>,
}

/// One node of the topology.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TopologyNode {
    /// Its name.
    pub name: String,
    /// `source`, `processor` or `sink`.
    pub kind: String,
    /// Topics read or written.
    pub topics: Vec<String>,
    /// State stores used.
    pub stores: Vec<String>,
    /// Nodes that follow.
    pub successors: Vec<String>,
}

/// One task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TaskStatus {
    /// `sub-topology_partition`.
    pub id: String,
    /// Its sub-topology.
    pub sub_topology: u32,
    /// Its partition.
    pub partition: u32,
    /// Stream time, ms since the epoch; absent before the first record.
    pub stream_time: Option<i64>,
    /// Records processed.
    pub records: u64,
    /// `running`, `restoring`, ...
    pub state: String,
}

/// Progress of a restore.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Restore {
    /// Records restored.
    pub done: u64,
    /// Records to restore.
    pub total: u64,
}

/// What the engine has done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EngineStats {
    /// `running`, `rebalancing`, `error`, ...
    pub state: String,
    /// Why it has stopped by itself.
    pub error: Option<String>,
    /// Records read.
    pub records_in: u64,
    /// Records written.
    pub records_out: u64,
    /// Records skipped (null keys and the like).
    pub skipped: u64,
    /// Records that came after their window had closed.
    pub late: u64,
    /// Transactions committed.
    pub commits: u64,
    /// A restore under way.
    pub restore: Option<Restore>,
}

/// One sink.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SinkStatus {
    /// Its name.
    pub name: String,
    /// `closed` (all well), `open` (the store is left alone for a while) or `half_open` (one attempt is under way).
    pub circuit: String,
    /// Records written.
    pub written: u64,
    /// Attempts repeated.
    pub retries: u64,
    /// Records that wait.
    pub lag: u64,
    /// The last failure.
    pub last_error: Option<String>,
}
