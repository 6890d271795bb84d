//! What `build()` refuses, and how it finds the sub-topologies.

use std::collections::HashMap;
use std::sync::Arc;

use super::graph::{Graph, NodeId, NodeKind, TopicName};
use super::{Checked, SubTopology, Topology};
use crate::error::TopologyError;

impl Graph {
    /// Checks everything that can be known without a log.
    pub(crate) fn check(mut self) -> Result<Topology, TopologyError> {
        if let Some(error) = std::mem::take(&mut self.errors).into_iter().next() {
            return Err(error);
        }
        self.check_sources()?;
        self.check_order()?;
        self.check_stores()?;
        let subs = self.sub_topologies();
        Ok(Topology {
            inner: Arc::new(Checked {
                nodes: self.nodes,
                stores: self.stores,
                repartitions: self.repartitions,
                copartitioned: self.copartitioned,
                subs,
                globals: self.globals,
            }),
        })
    }

    fn check_sources(&self) -> Result<(), TopologyError> {
        let mut readers: HashMap<&TopicName, &str> = HashMap::new();
        for node in &self.nodes {
            let NodeKind::Source { topics, .. } = &node.kind else { continue };
            for topic in topics {
                if let Some(first) = readers.insert(topic, &node.name) {
                    return Err(TopologyError::TopicReadTwice {
                        topic: topic.shown().to_string(),
                        first: first.to_owned(),
                        second: node.name.to_string(),
                    });
                }
            }
            if topics.is_empty() {
                return Err(TopologyError::UnknownSource {
                    node: node.name.to_string(),
                    reason: String::from("it reads no topic; name at least one"),
                });
            }
        }
        if readers.is_empty() {
            return Err(TopologyError::Empty);
        }
        for (id, node) in self.nodes.iter().enumerate() {
            if self.sources_above(id).is_empty() {
                return Err(TopologyError::UnknownSource {
                    node: node.name.to_string(),
                    reason: String::from("connect it to a stream that begins with a topic"),
                });
            }
        }
        Ok(())
    }

    /// Children stand behind their parents; the arena of a task relies on it.
    fn check_order(&self) -> Result<(), TopologyError> {
        for (id, node) in self.nodes.iter().enumerate() {
            if node.children.iter().any(|child| *child <= id) {
                return Err(TopologyError::Cycle { node: node.name.to_string() });
            }
        }
        Ok(())
    }

    fn check_stores(&self) -> Result<(), TopologyError> {
        for node in &self.nodes {
            for store in &node.stores {
                let known = self.stores.iter().any(|held| held.name == *store)
                    || self.globals.iter().any(|held| held.store == *store);
                if !known {
                    return Err(TopologyError::UnknownStore {
                        node: node.name.to_string(),
                        store: store.to_string(),
                    });
                }
            }
        }
        for store in &self.stores {
            if !self.nodes.iter().any(|node| node.stores.contains(&store.name)) {
                return Err(TopologyError::UnconnectedStore { store: store.name.to_string() });
            }
        }
        Ok(())
    }

    /// Nodes joined by edges or by shared stores; numbered in order of their first nodes, as Kafka Streams does: what writes a topic comes before
    /// what reads it.
    fn sub_topologies(&self) -> Vec<SubTopology> {
        let mut group: Vec<usize> = (0..self.nodes.len()).collect();
        fn root(group: &mut [usize], mut id: usize) -> usize {
            while let Some(parent) = group.get(id).copied().filter(|parent| *parent != id) {
                id = parent;
            }
            id
        }
        let unite = |group: &mut Vec<usize>, a: usize, b: usize| {
            let (a, b) = (root(group, a), root(group, b));
            if let Some(place) = group.get_mut(a.max(b)) {
                *place = a.min(b);
            }
        };
        let mut store_users: HashMap<&str, NodeId> = HashMap::new();
        for (id, node) in self.nodes.iter().enumerate() {
            for child in &node.children {
                unite(&mut group, id, *child);
            }
            for store in &node.stores {
                let first = *store_users.entry(store).or_insert(id);
                unite(&mut group, first, id);
            }
        }
        let mut roots: Vec<usize> = Vec::new();
        for id in 0..self.nodes.len() {
            let found = root(&mut group, id);
            if !roots.contains(&found) {
                roots.push(found);
            }
        }
        let subs = roots.into_iter().map(|found| {
            let nodes: Vec<NodeId> =
                (0..self.nodes.len()).filter(|id| root(&mut group, *id) == found).collect();
            let mut stores: Vec<Arc<str>> = Vec::new();
            for store in nodes.iter().filter_map(|id| self.nodes.get(*id)).flat_map(|node| &node.stores) {
                if !stores.contains(store) {
                    stores.push(Arc::clone(store));
                }
            }
            let global = nodes.iter().any(|id| self.globals.iter().any(|global| global.source == *id));
            SubTopology { nodes, stores, global }
        });
        subs.collect()
    }
}
