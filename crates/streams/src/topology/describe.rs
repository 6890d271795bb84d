//! `Topology::describe()`: the text form of Kafka Streams, character by character, so that its visualisers read ours too.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use super::graph::{NodeId, NodeKind};
use super::{SubTopology, Topology};

impl Topology {
    /// The topology as text, in Kafka Streams' form.
    ///
    /// ```
    /// use vigie_streams::{Consumed, Produced, StreamsBuilder};
    /// let mut builder = StreamsBuilder::new();
    /// builder.stream("in", Consumed::<String, String>::default()).to("out", Produced::default());
    /// let expect = "Topologies:
    ///    Sub-topology: 0
    ///     Source: KSTREAM-SOURCE-0000000000 (topics: [in])
    ///       --> KSTREAM-SINK-0000000001
    ///     Sink: KSTREAM-SINK-0000000001 (topic: out)
    ///       <-- KSTREAM-SOURCE-0000000000
    ///
    /// ";
    /// assert_eq!(builder.build().unwrap().describe(), expect);
    /// ```
    pub fn describe(&self) -> String {
        let mut out = String::from("Topologies:\n ");
        for (number, sub) in self.inner.subs.iter().enumerate() {
            let kind = if sub.global { " for global store (will not generate tasks)" } else { "" };
            let _ = writeln!(out, "  Sub-topology: {number}{kind}");
            self.describe_sub(sub, &mut out);
            if !sub.global {
                out.push('\n');
            }
        }
        out
    }

    fn describe_sub(&self, sub: &SubTopology, out: &mut String) {
        let order = Order::of(self, sub);
        let names = |ids: Option<&Vec<NodeId>>| {
            let names: Vec<_> =
                ids.into_iter().flatten().map(|id| self.inner.node(*id).name.to_string()).collect();
            if names.is_empty() { String::from("none") } else { names.join(", ") }
        };
        let mut nodes = sub.nodes.clone();
        nodes.sort_by_key(|id| order.rank(self, *id));
        for id in nodes {
            let node = self.inner.node(id);
            let (children, parents) = (names(order.children.get(&id)), names(order.parents.get(&id)));
            let name = &node.name;
            let _ = match &node.kind {
                NodeKind::Source { topics, .. } => {
                    let topics: Vec<_> = topics.iter().map(|topic| topic.shown().to_string()).collect();
                    let topics = topics.join(", ");
                    write!(out, "    Source: {name} (topics: [{topics}])\n      --> {children}\n")
                }
                NodeKind::Processor { .. } => {
                    let stores = in_a_java_set(&node.stores).join(", ");
                    write!(
                        out,
                        "    Processor: {name} (stores: [{stores}])\n      --> {children}\n      <-- {parents}\n"
                    )
                }
                NodeKind::Sink { topic: Some(topic), .. } => {
                    let topic = topic.shown();
                    write!(out, "    Sink: {name} (topic: {topic})\n      <-- {parents}\n")
                }
                NodeKind::Sink { topic: None, .. } => {
                    write!(out, "    Sink: {name} (extractor class: closure)\n      <-- {parents}\n")
                }
            };
        }
    }
}

/// The order in which Kafka Streams prints nodes and their neighbours: by the size of the tree below a node, then by name. For the
/// neighbours those sizes count that were known when they were linked, and they are linked in the order of a Java hash map.
#[derive(Default)]
struct Order {
    sizes: HashMap<NodeId, u64>,
    parents: HashMap<NodeId, Vec<NodeId>>,
    children: HashMap<NodeId, Vec<NodeId>>,
}

impl Order {
    fn of(topology: &Topology, sub: &SubTopology) -> Self {
        let mut order = Self::default();
        order.sizes.extend(sub.nodes.iter().map(|id| (*id, 1)));
        let mut linked = sub.nodes.clone();
        linked.sort_by_key(|id| java_bucket(&topology.inner.node(*id).name, sub.nodes.len()));
        for id in linked {
            for parent in &topology.inner.node(id).parents {
                order.insert(topology, id, *parent, true);
                order.insert(topology, *parent, id, false);
                let size = order.sizes.get(&id).copied().unwrap_or(1);
                order.grow(*parent, size);
            }
        }
        order
    }

    fn rank(&self, topology: &Topology, id: NodeId) -> (std::cmp::Reverse<u64>, Arc<str>) {
        let size = self.sizes.get(&id).copied().unwrap_or(1);
        (std::cmp::Reverse(size), Arc::clone(&topology.inner.node(id).name))
    }

    fn insert(&mut self, topology: &Topology, of: NodeId, neighbour: NodeId, above: bool) {
        let rank = self.rank(topology, neighbour);
        let held = if above { &self.parents } else { &self.children }.get(&of).map_or(&[][..], Vec::as_slice);
        let at = held.iter().take_while(|other| self.rank(topology, **other) <= rank).count();
        let list = if above { &mut self.parents } else { &mut self.children }.entry(of).or_default();
        if !list.contains(&neighbour) {
            list.insert(at.min(list.len()), neighbour);
        }
    }

    /// A node's tree grew, and so did those of the nodes above it as far as they are linked.
    fn grow(&mut self, id: NodeId, by: u64) {
        if let Some(size) = self.sizes.get_mut(&id) {
            *size = size.saturating_add(by);
        }
        for parent in self.parents.get(&id).cloned().unwrap_or_default() {
            self.grow(parent, by);
        }
    }
}

/// Where a name lies in a Java `HashMap` of so many entries.
fn java_bucket(name: &str, entries: usize) -> u32 {
    let hash =
        name.encode_utf16().fold(0_u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)));
    let mut capacity = 16_usize;
    while entries * 4 > capacity * 3 {
        capacity *= 2;
    }
    (hash ^ (hash >> 16)) & (u32::try_from(capacity).unwrap_or(u32::MAX) - 1)
}

/// Names in the order of a Java `HashSet` of them, which is how Kafka Streams prints a node's stores.
fn in_a_java_set(names: &[std::sync::Arc<str>]) -> Vec<&str> {
    let mut sorted: Vec<&str> = names.iter().map(|name| &**name).collect();
    sorted.sort_by_key(|name| java_bucket(name, names.len()));
    sorted
}
