//! A checked topology: sub-topologies, their nodes, stores and topics. What [`StreamsBuilder::build`](crate::StreamsBuilder::build) gives.

mod check;
mod describe;
mod graph;
mod optimize;
mod structure;

use std::fmt;
use std::sync::Arc;

pub(crate) use graph::check_name;
pub(crate) use graph::{
    GlobalDef, Graph, NodeDef, NodeFactory, NodeId, NodeKind, ReadGlobal, ReadRow, RepartitionDef,
    SourceTopic, StoreDef, TopicName,
};
pub(crate) use optimize::{Changes, JoinOfStreams, Lean, Movable, Place};
pub use optimize::{Optimization, UnknownOptimization};
pub use structure::{EdgeView, NodeView, StoreView, SubTopologyView, TopicView, TopologyView};

/// One sub-topology on one partition: the unit of work that moves between threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId {
    /// The sub-topology.
    pub sub_topology: u32,
    /// The partition.
    pub partition: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.sub_topology, self.partition)
    }
}

/// Nodes that are connected with each other other than through topics.
#[derive(Debug, Clone)]
pub(crate) struct SubTopology {
    /// In order of creation: parents before children.
    pub nodes: Vec<NodeId>,
    pub stores: Vec<Arc<str>>,
    /// Whether it is a global table: no task runs it.
    pub global: bool,
}

/// A topology that `build()` has checked. Cheap to clone.
#[derive(Clone)]
pub struct Topology {
    pub(crate) inner: Arc<Checked>,
}

pub(crate) struct Checked {
    pub nodes: Vec<NodeDef>,
    pub stores: Vec<StoreDef>,
    pub repartitions: Vec<RepartitionDef>,
    pub copartitioned: Vec<(NodeId, Vec<NodeId>)>,
    pub subs: Vec<SubTopology>,
    pub globals: Vec<GlobalDef>,
}

impl Checked {
    pub(crate) fn node(&self, id: NodeId) -> &NodeDef {
        self.nodes.get(id).expect("node ids come from this topology")
    }

    pub(crate) fn store(&self, name: &str) -> &StoreDef {
        self.stores.iter().find(|store| &*store.name == name).expect("build() has checked the stores' names")
    }

    /// The stores of a sub-topology's tasks; none for a global table.
    pub(crate) fn stores_of<'s>(&'s self, sub: &'s SubTopology) -> impl Iterator<Item = &'s StoreDef> {
        sub.stores.iter().filter(|_| !sub.global).map(|name| self.store(name))
    }

    /// The topics that the tasks of a sub-topology read, with the source node of each; none for a global table.
    pub(crate) fn inputs<'s>(
        &'s self,
        sub: &'s SubTopology,
    ) -> impl Iterator<Item = (&'s TopicName, NodeId)> {
        sub.nodes.iter().filter(|_| !sub.global).flat_map(|id| match &self.node(*id).kind {
            NodeKind::Source { topics, .. } => topics.iter().map(|topic| (topic, *id)).collect(),
            _ => Vec::new(),
        })
    }

    /// The fixed topics that a sub-topology writes, with the sink of each.
    pub(crate) fn outputs<'s>(
        &'s self,
        sub: &'s SubTopology,
    ) -> impl Iterator<Item = (&'s TopicName, NodeId)> {
        sub.nodes.iter().filter_map(|id| match &self.node(*id).kind {
            NodeKind::Sink { topic: Some(topic), .. } => Some((topic, *id)),
            _ => None,
        })
    }
}

impl fmt::Debug for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}
