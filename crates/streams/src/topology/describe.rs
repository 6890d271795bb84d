//! `Topology::describe()`: the text form of Kafka Streams, character by character, so that its visualisers read ours too.

use std::collections::HashMap;
use std::fmt::Write;

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
            let _ = writeln!(out, "  Sub-topology: {number}");
            self.describe_sub(sub, &mut out);
            out.push('\n');
        }
        out
    }

    /// Size of the tree below each node, the node included: large ones are printed first.
    fn sizes(&self, sub: &SubTopology) -> HashMap<NodeId, u64> {
        let mut sizes: HashMap<NodeId, u64> = HashMap::new();
        for id in sub.nodes.iter().rev() {
            let below =
                self.inner.node(*id).children.iter().map(|child| sizes.get(child).copied().unwrap_or(0));
            let size = below.fold(1_u64, u64::saturating_add);
            sizes.insert(*id, size);
        }
        sizes
    }

    fn describe_sub(&self, sub: &SubTopology, out: &mut String) {
        let sizes = self.sizes(sub);
        let sorted = |ids: &[NodeId]| {
            let mut ids = ids.to_vec();
            ids.sort_by_key(|id| {
                (std::cmp::Reverse(sizes.get(id).copied()), self.inner.node(*id).name.clone())
            });
            ids
        };
        let names = |ids: &[NodeId]| {
            let names: Vec<_> = sorted(ids).iter().map(|id| self.inner.node(*id).name.to_string()).collect();
            if names.is_empty() { String::from("none") } else { names.join(", ") }
        };
        for id in sorted(&sub.nodes) {
            let node = self.inner.node(id);
            let (children, parents) = (names(&node.children), names(&node.parents));
            let name = &node.name;
            let _ = match &node.kind {
                NodeKind::Source { topics, .. } => {
                    let topics: Vec<_> = topics.iter().map(|topic| topic.shown().to_string()).collect();
                    let topics = topics.join(", ");
                    write!(out, "    Source: {name} (topics: [{topics}])\n      --> {children}\n")
                }
                NodeKind::Processor { .. } => {
                    let mut stores: Vec<_> = node.stores.iter().map(ToString::to_string).collect();
                    stores.sort();
                    let stores = stores.join(", ");
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
