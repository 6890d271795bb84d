//! The topology as a graph for screens: what `describe()` says, as data.

use serde::{Deserialize, Serialize};

use super::Topology;
use super::graph::{NodeKind, TopicName};

/// A whole topology.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopologyView {
    /// Its sub-topologies, by number.
    pub sub_topologies: Vec<SubTopologyView>,
    /// All topics it reads or writes by fixed name, sorted.
    pub topics: Vec<TopicView>,
}

/// One sub-topology.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubTopologyView {
    /// Its number.
    pub id: u32,
    /// Its nodes, parents before children.
    pub nodes: Vec<NodeView>,
    /// Who calls whom.
    pub edges: Vec<EdgeView>,
    /// Its stores.
    pub stores: Vec<StoreView>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// `source`, `processor` or `sink`.
    pub kind: String,
    /// Topics it reads or writes.
    pub topics: Vec<String>,
    /// Stores it uses.
    pub stores: Vec<String>,
}

/// An edge from node to node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeView {
    /// Name of the parent.
    pub from: String,
    /// Name of the child.
    pub to: String,
}

/// One store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreView {
    /// Its name.
    pub name: String,
    /// Whether it survives on disk when a state directory is configured.
    pub persistent: bool,
    /// Its changelog topic, without the application's id; for an optimised table the topic that it is read from.
    pub changelog: Option<String>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TopicView {
    /// Its name, without the application's id.
    pub name: String,
    /// Whether the engine makes it.
    pub internal: bool,
}

impl Topology {
    /// The topology as a graph.
    pub fn view(&self) -> TopologyView {
        let mut topics = Vec::new();
        let mut seen = |topic: &TopicName| {
            let internal = matches!(topic, TopicName::Internal(_));
            topics.push(TopicView { name: topic.shown().to_string(), internal });
            topic.shown().to_string()
        };
        let checked = &self.inner;
        let subs = checked.subs.iter().enumerate().map(|(id, sub)| {
            let nodes = sub.nodes.iter().map(|id| {
                let node = checked.node(*id);
                let (kind, topics) = match &node.kind {
                    NodeKind::Source { topics, .. } => ("source", topics.iter().map(&mut seen).collect()),
                    NodeKind::Processor { .. } => ("processor", Vec::new()),
                    NodeKind::Sink { topic, .. } => ("sink", topic.iter().map(&mut seen).collect()),
                };
                let stores = node.stores.iter().map(ToString::to_string).collect();
                NodeView { name: node.name.to_string(), kind: kind.to_owned(), topics, stores }
            });
            let nodes = nodes.collect();
            let edges = sub.nodes.iter().flat_map(|id| {
                let node = checked.node(*id);
                node.children.iter().map(|child| EdgeView {
                    from: node.name.to_string(),
                    to: checked.node(*child).name.to_string(),
                })
            });
            let stores = sub.stores.iter().map(|name| {
                let name = name.to_string();
                if let Some(global) = checked.globals.iter().find(|global| *global.store == *name) {
                    return StoreView { name, persistent: global.persistent, changelog: None };
                }
                let store = checked.store(&name);
                let source = store.source.as_ref().map(|source| source.topic.to_string());
                let changelog = source.or_else(|| store.logged.then(|| format!("{name}-changelog")));
                StoreView { name, persistent: store.persistent, changelog }
            });
            SubTopologyView {
                id: u32::try_from(id).unwrap_or(u32::MAX),
                nodes,
                edges: edges.collect(),
                stores: stores.collect(),
            }
        });
        let sub_topologies = subs.collect();
        topics.sort();
        topics.dedup();
        TopologyView { sub_topologies, topics }
    }
}
