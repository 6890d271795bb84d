//! Topology optimisation: Kafka Streams' `topology.optimization`, rule by rule, on the finished graph.
//!
//! ```text
//! reuse.ktable.source.topics   table ◀─ topic, table ─▶ changelog      becomes   table ◀─ topic (which is the changelog too)
//! merge.repartition.topics     map ─┬▶ repartition ─▶ count            becomes   map ─▶ repartition ─┬▶ count
//!                                   └▶ repartition ─▶ join                                           └▶ join
//! single.store.self.join       two windows, two joiners                becomes   one window, one joiner
//! ```
//! Names and numbers of nodes are Kafka Streams': a merged topic has the name of the first that it stands for, its nodes have new numbers.
//!
//! Invariant: a rule is applied only where the result is that of the topology as written. Kafka Streams merges in a few places more, where it
//! then has records in the wrong partition: behind `process` and `process_values`, and behind a merge whose other input was not repartitioned.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::str::FromStr;
use std::sync::Arc;

use super::graph::{Graph, NodeFactory, NodeId, NodeKind, SourceTopic};
use crate::processor::AnyNode;

/// Which rules [`StreamsBuilder::build_with`](crate::StreamsBuilder::build_with) applies (Kafka Streams: `topology.optimization`). None by
/// default, as in Kafka Streams. Switching one on or off changes topics and stores: do it together with a new application id, or reset.
///
/// ```
/// use vigie_streams::Optimization;
/// let merged = Optimization::NONE.merge_repartition_topics();
/// assert_eq!("merge.repartition.topics".parse(), Ok(merged));
/// assert_eq!("all".parse(), Ok(Optimization::ALL));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Optimization {
    reuse_ktable_source_topics: bool,
    merge_repartition_topics: bool,
    single_store_self_join: bool,
}

impl Optimization {
    /// The topology as it was written.
    pub const NONE: Self = Self {
        reuse_ktable_source_topics: false,
        merge_repartition_topics: false,
        single_store_self_join: false,
    };
    /// All rules.
    pub const ALL: Self = Self {
        reuse_ktable_source_topics: true,
        merge_repartition_topics: true,
        single_store_self_join: true,
    };

    /// A table that is read from a topic has that topic as its changelog, instead of a copy of it. The topic must be compacted; it is restored
    /// from as far as the group has committed, and standby copies follow the commits.
    pub fn reuse_ktable_source_topics(mut self) -> Self {
        self.reuse_ktable_source_topics = true;
        self
    }

    /// Several groupings or joins behind one operator that changes keys share one repartition topic, as long as nothing between changes the
    /// values.
    pub fn merge_repartition_topics(mut self) -> Self {
        self.merge_repartition_topics = true;
        self
    }

    /// A stream that is joined with itself is kept once.
    pub fn single_store_self_join(mut self) -> Self {
        self.single_store_self_join = true;
        self
    }
}

/// A rule of a name that there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no topology optimisation: use `none`, `all`, or some of `reuse.ktable.source.topics`, `merge.repartition.topics` and `single.store.self.join`, separated by commas"
)]
pub struct UnknownOptimization(pub String);

impl FromStr for Optimization {
    type Err = UnknownOptimization;

    /// Reads what Kafka Streams' setting `topology.optimization` takes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "none" => return Ok(Self::NONE),
            "all" => return Ok(Self::ALL),
            _ => {}
        }
        text.split(',').try_fold(Self::NONE, |rules, rule| match rule.trim() {
            "reuse.ktable.source.topics" => Ok(rules.reuse_ktable_source_topics()),
            "merge.repartition.topics" => Ok(rules.merge_repartition_topics()),
            "single.store.self.join" => Ok(rules.single_store_self_join()),
            other => Err(UnknownOptimization(other.to_owned())),
        })
    }
}

/// What a node does to the records that pass, as far as repartitioning them earlier or later makes a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Changes {
    Keys,
    /// Values, or anything else that must come before what is written to the topic.
    Values,
    /// Nothing, but it has several inputs.
    Merges,
}

/// Adds the nodes of a repartition behind a node: its filter, its sink and its source.
pub(crate) type Place = Rc<dyn Fn(&mut Graph, NodeId) -> [NodeId; 3]>;

/// A repartition that may be merged with others.
pub(crate) struct Movable {
    pub nodes: [NodeId; 3],
    pub topic: Arc<str>,
    pub place: Place,
    /// Where those behind it look at keys only.
    pub lean: Option<Lean>,
}

/// A repartition whose topic carries no values.
pub(crate) struct Lean {
    pub place: Place,
    /// Makes a node behind it one for records with values.
    pub adapt: Adapt,
}

/// Makes a node that looks at keys only take records with values.
pub(crate) type Adapt = Arc<dyn Fn(Box<dyn AnyNode>) -> Box<dyn AnyNode> + Send + Sync>;

impl Movable {
    fn filter(&self) -> NodeId {
        self.nodes[0]
    }
    fn source(&self) -> NodeId {
        self.nodes[2]
    }
}

/// A join of two streams, which may be one and the same.
pub(crate) struct JoinOfStreams {
    /// The nodes that keep this side's records and the other's.
    pub kept: [NodeId; 2],
    /// The nodes that join this side and the other.
    pub sides: [NodeId; 2],
    pub merge: NodeId,
    pub this_store: Arc<str>,
    pub other_stores: Vec<Arc<str>>,
    /// The one joiner of a stream with itself.
    pub alone: NodeFactory,
}

/// What the DSL notes for the rules while it adds nodes.
#[derive(Default)]
pub(crate) struct Notes {
    pub changes: BTreeMap<NodeId, Changes>,
    pub movable: Vec<Movable>,
    pub joins: Vec<JoinOfStreams>,
    /// Stores of tables that are read from topics.
    pub tables: Vec<(Arc<str>, SourceTopic)>,
}

/// Which nodes go, and where the new ones stand.
#[derive(Default)]
struct Edit {
    gone: HashSet<NodeId>,
    behind: HashMap<NodeId, NodeId>,
}

impl Graph {
    /// Applies the rules. Comes before [`relax_null_keys`](Self::relax_null_keys), as in Kafka Streams.
    pub(crate) fn optimize(&mut self, rules: Optimization) {
        if rules.reuse_ktable_source_topics {
            for (store, source) in std::mem::take(&mut self.notes.tables) {
                if let Some(def) = self.stores.iter_mut().find(|def| def.name == store) {
                    def.logged = false;
                    def.source = Some(source);
                }
            }
        }
        let mut edit = Edit::default();
        if rules.merge_repartition_topics {
            self.merge_repartitions(&mut edit);
        }
        if rules.single_store_self_join {
            self.join_alone(&mut edit);
        }
        if !edit.gone.is_empty() {
            self.rebuild(&edit);
        }
    }

    fn parents(&self, id: NodeId) -> &[NodeId] {
        self.nodes.get(id).map_or(&[], |node| &node.parents)
    }

    /// The first node that matches on the way up, first parents first.
    fn find_above(&self, id: NodeId, matches: &dyn Fn(NodeId) -> bool) -> Option<NodeId> {
        self.parents(id).iter().find_map(|parent| {
            if matches(*parent) { Some(*parent) } else { self.find_above(*parent, matches) }
        })
    }

    fn is_above(&self, id: NodeId, above: NodeId) -> bool {
        self.find_above(id, &|node| node == above).is_some()
    }

    /// Whether what reaches a node has the keys and values that it had at `from`, or is partitioned by its keys anyway.
    fn is_unchanged_since(&self, id: NodeId, from: NodeId) -> bool {
        let changes = |id: NodeId| self.notes.changes.get(&id).copied();
        self.parents(id).iter().all(|parent| {
            *parent == from
                || !matches!(changes(*parent), Some(Changes::Keys | Changes::Values))
                    && self.is_unchanged_since(*parent, from)
        })
    }

    /// Which repartitions can be one, and the node that it comes behind: an operator that changes keys, or a merge of several such.
    fn mergeable(&self, movable: &[Movable]) -> Vec<(NodeId, Vec<usize>)> {
        let changes = |id: NodeId| self.notes.changes.get(&id).copied();
        let of_kind = |kind| self.notes.changes.iter().filter(move |(_, c)| **c == kind).map(|(id, _)| *id);
        let mut groups: Vec<(NodeId, Vec<usize>)> =
            of_kind(Changes::Keys).map(|id| (id, Vec::new())).collect();
        for (index, repartition) in movable.iter().enumerate() {
            let changed = |id| matches!(changes(id), Some(Changes::Keys | Changes::Values));
            let above = self.find_above(repartition.filter(), &changed);
            if let Some((_, members)) = groups.iter_mut().find(|(id, _)| Some(*id) == above) {
                members.push(index);
            }
        }
        // The merge that is nearest takes them all.
        let mut merged = Vec::new();
        for merge in of_kind(Changes::Merges).collect::<Vec<_>>().into_iter().rev() {
            let mut taken = Vec::new();
            groups.retain(|(changer, members)| {
                let below = |index: &usize| {
                    movable.get(*index).is_some_and(|repartition| self.is_above(repartition.filter(), merge))
                };
                let takes = members.iter().all(below) && self.is_above(merge, *changer);
                if takes {
                    taken.extend(members);
                }
                !takes
            });
            merged.insert(0, (merge, taken));
        }
        groups.extend(merged);
        for (node, members) in &mut groups {
            members.retain(|index| {
                movable.get(*index).is_some_and(|found| self.is_unchanged_since(found.filter(), *node))
            });
        }
        groups.retain(|(_, members)| !members.is_empty());
        groups
    }

    fn merge_repartitions(&mut self, edit: &mut Edit) {
        let movable = std::mem::take(&mut self.notes.movable);
        for (node, members) in self.mergeable(&movable) {
            let members: Vec<&Movable> = members.iter().filter_map(|index| movable.get(*index)).collect();
            let Some(first) = members.first() else { continue };
            for repartition in &members {
                edit.gone.extend(repartition.nodes);
                self.repartitions.retain(|def| def.name != repartition.topic);
                for id in repartition.nodes {
                    if let Some(def) = self.nodes.get_mut(id) {
                        // Its name may be needed again.
                        def.name = format!("merged.{id}").into();
                    }
                }
            }
            // Without values only if nobody at all looks at them.
            let lean =
                members.iter().all(|found| found.lean.is_some() && self.parents(found.filter()) == [node]);
            let place = first.lean.as_ref().filter(|_| lean).map_or(&first.place, |lean| &lean.place);
            let placed = place(self, node);
            edit.behind.extend(placed.map(|id| (id, node)));
            let [_, _, source] = placed;
            for repartition in &members {
                let leads =
                    |id: &NodeId| *id == repartition.filter() || self.is_above(repartition.filter(), *id);
                let moved: Vec<NodeId> = (0..self.nodes.len())
                    .filter(|id| !placed.contains(id) && self.parents(*id).contains(&node) && leads(id))
                    .collect();
                for id in moved {
                    self.replace_parent(id, node, &[source]);
                }
                let above = self.parents(repartition.filter()).to_vec();
                for id in 0..self.nodes.len() {
                    if !self.parents(id).contains(&repartition.source()) {
                        continue;
                    }
                    self.replace_parent(id, repartition.source(), &above);
                    if let Some(Lean { adapt, .. }) = repartition.lean.as_ref().filter(|_| !lean) {
                        self.adapt(id, adapt);
                    }
                }
                for (_, sources) in &mut self.copartitioned {
                    for held in sources.iter_mut().filter(|held| **held == repartition.source()) {
                        *held = source;
                    }
                }
            }
        }
    }

    fn adapt(&mut self, id: NodeId, adapt: &Adapt) {
        let Some(NodeKind::Processor { factory }) = self.nodes.get_mut(id).map(|node| &mut node.kind) else {
            return;
        };
        let (make, adapt) = (Arc::clone(factory), Arc::clone(adapt));
        *factory = Arc::new(move |wiring| adapt(make(wiring)));
    }

    fn replace_parent(&mut self, id: NodeId, old: NodeId, new: &[NodeId]) {
        let Some(node) = self.nodes.get_mut(id).filter(|node| node.parents.contains(&old)) else { return };
        let mut parents: Vec<NodeId> = Vec::new();
        for parent in std::mem::take(&mut node.parents) {
            let replaced = if parent == old { new } else { &[parent] };
            for parent in replaced {
                if !parents.contains(parent) {
                    parents.push(*parent);
                }
            }
        }
        node.parents = parents;
    }

    /// Joins of a stream with itself.
    fn join_alone(&mut self, edit: &mut Edit) {
        for join in std::mem::take(&mut self.notes.joins) {
            let [this, other] = join.kept;
            if self.parents(this) != self.parents(other) {
                continue;
            }
            edit.gone.insert(other);
            edit.gone.extend(join.sides);
            self.stores.retain(|store| !join.other_stores.contains(&store.name));
            if let Some(node) = self.nodes.get_mut(join.merge) {
                node.kind = NodeKind::Processor { factory: join.alone };
                node.parents = vec![this];
                node.stores = vec![join.this_store];
            }
        }
    }

    /// Leaves out the nodes that are gone and brings the others into Kafka Streams' order: parents first, and by when they were written.
    fn rebuild(&mut self, edit: &Edit) {
        let mut order: Vec<NodeId> = (0..self.nodes.len()).filter(|id| !edit.gone.contains(id)).collect();
        order.sort_by_key(|id| (edit.behind.get(id).copied().unwrap_or(*id), *id));
        let place: HashMap<NodeId, NodeId> = order.iter().enumerate().map(|(new, old)| (*old, new)).collect();
        let moved = |ids: &[NodeId]| -> Vec<NodeId> {
            let mut ids: Vec<NodeId> = ids.iter().filter_map(|id| place.get(id).copied()).collect();
            let mut seen = HashSet::new();
            ids.retain(|id| seen.insert(*id));
            ids
        };
        let mut nodes: Vec<_> = order.iter().filter_map(|id| self.nodes.get(*id).cloned()).collect();
        let mut children = vec![Vec::new(); nodes.len()];
        for (id, node) in nodes.iter_mut().enumerate() {
            node.parents = moved(&node.parents);
            for parent in &node.parents {
                if let Some(list) = children.get_mut(*parent) {
                    list.push(id);
                }
            }
        }
        for (node, children) in nodes.iter_mut().zip(children) {
            node.children = children;
        }
        self.nodes = nodes;
        self.copartitioned = std::mem::take(&mut self.copartitioned)
            .into_iter()
            .filter_map(|(node, sources)| Some((*place.get(&node)?, moved(&sources))))
            .collect();
        self.null_key_joins = moved(&self.null_key_joins);
        for global in &mut self.globals {
            global.source = place.get(&global.source).copied().unwrap_or(global.source);
        }
    }
}
