//! The graph under construction: nodes, stores and topics, without types (each node's factory knows its own).

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use vigie_log::{BatchBuilder, RecordRef};

use super::optimize::Notes;
use crate::error::{Failure, StateError, TopologyError};
use crate::processor::{AnyNode, SourceNode, Wiring};
use crate::serde::SerdeRegistry;
use crate::state::{AnyStore, Committed, Supplier};

pub(crate) type NodeId = usize;
pub(crate) type NodeFactory = Arc<dyn Fn(&mut Wiring<'_>) -> Box<dyn AnyNode> + Send + Sync>;
pub(crate) type SourceFactory = Arc<dyn Fn(&mut Wiring<'_>) -> Box<dyn SourceNode> + Send + Sync>;
pub(crate) type StoreFactory =
    Arc<dyn Fn(Arc<dyn Committed>) -> Result<Box<dyn AnyStore>, StateError> + Send + Sync>;

/// A topic of the user's, or one of the engine's own, whose full name begins with the application's id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum TopicName {
    External(Arc<str>),
    Internal(Arc<str>),
}

impl TopicName {
    /// As `describe()` shows it: without the application's id.
    pub(crate) fn shown(&self) -> &Arc<str> {
        match self {
            Self::External(name) | Self::Internal(name) => name,
        }
    }

    pub(crate) fn resolve(&self, application_id: &str) -> Arc<str> {
        match self {
            Self::External(name) => Arc::clone(name),
            Self::Internal(name) => format!("{application_id}-{name}").into(),
        }
    }
}

#[derive(Clone)]
pub(crate) enum NodeKind {
    Source {
        topics: Vec<TopicName>,
        factory: SourceFactory,
    },
    Processor {
        factory: NodeFactory,
    },
    /// `topic` is `None` when it is chosen for each record.
    Sink {
        topic: Option<TopicName>,
        factory: NodeFactory,
    },
}

#[derive(Clone)]
pub(crate) struct NodeDef {
    pub name: Arc<str>,
    pub kind: NodeKind,
    pub parents: Vec<NodeId>,
    pub children: Vec<NodeId>,
    pub stores: Vec<Arc<str>>,
    /// Whether a table's node sends the row before the change too.
    pub send_old: bool,
    /// Whether a repartition lets null keys pass, because a left or outer join behind it wants them.
    pub null_keys: bool,
}

/// A state store as the topology knows it.
#[derive(Clone)]
pub(crate) struct StoreDef {
    pub name: Arc<str>,
    pub persistent: bool,
    /// Whether it has a changelog topic of its own.
    pub logged: bool,
    /// The topic that is its changelog, where that is its table's own input.
    pub source: Option<SourceTopic>,
    /// Additional settings of the changelog topic.
    pub topic_config: BTreeMap<String, String>,
    /// How long a versioned store keeps older versions.
    pub history_ms: Option<i64>,
    /// Makes its committed side, where that is not the engine's own.
    pub supplier: Option<Supplier>,
    pub factory: StoreFactory,
    /// The `StoreTypes` that readers downcast.
    pub types: Arc<dyn Any + Send + Sync>,
}

impl StoreDef {
    /// Whether the store can be made whole from a topic.
    pub(crate) fn is_restorable(&self) -> bool {
        self.logged || self.source.is_some()
    }
}

/// An internal topic through which records are sent to the right partition.
#[derive(Debug, Clone)]
pub(crate) struct RepartitionDef {
    pub name: Arc<str>,
    /// As asked for; otherwise as many as the widest topic upstream.
    pub partitions: Option<u32>,
}

/// What became of one record of a global table's topic: the bytes of its row, `None` for a removed one.
pub(crate) type GlobalRow = (Vec<u8>, Option<Vec<u8>>);
/// Reads a record of a global table's topic; `None` when it is skipped for its null key.
pub(crate) type ReadGlobal = Arc<dyn Fn(&RecordRef<'_>) -> Result<Option<GlobalRow>, Failure> + Send + Sync>;

/// Adds what the changelog of a table's store would have for a record of the table's topic; nothing where the table skipped the record.
pub(crate) type ReadRow = Arc<dyn Fn(&RecordRef<'_>, &mut BatchBuilder) + Send + Sync>;

/// A table's topic, which is the changelog of its store as well.
#[derive(Clone)]
pub(crate) struct SourceTopic {
    pub topic: Arc<str>,
    pub read: ReadRow,
}

/// A table that every instance holds whole.
#[derive(Clone)]
pub(crate) struct GlobalDef {
    pub topic: Arc<str>,
    pub source: NodeId,
    pub store: Arc<str>,
    pub persistent: bool,
    pub types: Arc<dyn Any + Send + Sync>,
    pub read: ReadGlobal,
}

#[derive(Default)]
pub(crate) struct Graph {
    pub nodes: Vec<NodeDef>,
    pub stores: Vec<StoreDef>,
    pub repartitions: Vec<RepartitionDef>,
    /// Sources (by node) that must have equal numbers of partitions, with the node that needs it.
    pub copartitioned: Vec<(NodeId, Vec<NodeId>)>,
    pub errors: Vec<TopologyError>,
    pub serdes: SerdeRegistry,
    /// Stores of tables, made real only when somebody needs them.
    pub lazy_stores: HashMap<NodeId, StoreDef>,
    /// The table nodes that a table node without a store of its own takes its rows from.
    pub table_parents: HashMap<NodeId, NodeId>,
    /// Table nodes that pass on what several others send, or join their rows.
    pub merged_tables: HashMap<NodeId, Vec<NodeId>>,
    /// Windowed aggregations: how long behind the end of a window its results are final, in milliseconds.
    pub close_after: HashMap<NodeId, i64>,
    /// Left and outer joins, which take records with a null key.
    pub null_key_joins: Vec<NodeId>,
    /// Repartitions that joins share: the node before each, and the source behind it.
    pub repartitioned: HashMap<NodeId, NodeId>,
    /// Global tables, in order of creation.
    pub globals: Vec<GlobalDef>,
    /// What `optimize` asks.
    pub notes: Notes,
    counter: u32,
}

impl Graph {
    /// The next number of Kafka Streams' generated names.
    pub(crate) fn generate(&mut self, prefix: &str) -> Arc<str> {
        let name = format!("{prefix}{:010}", self.counter);
        self.counter += 1;
        name.into()
    }

    /// The name given, or the next generated one. A number is used up in any case, as in Kafka Streams.
    pub(crate) fn name(&mut self, given: Option<Arc<str>>, prefix: &str) -> Arc<str> {
        let generated = self.generate(prefix);
        given.unwrap_or(generated)
    }

    pub(crate) fn add(
        &mut self,
        name: Arc<str>,
        kind: NodeKind,
        parents: &[NodeId],
        stores: Vec<Arc<str>>,
    ) -> NodeId {
        if self.nodes.iter().any(|node| node.name == name) {
            self.errors.push(TopologyError::DuplicateName { kind: "node", name: name.to_string() });
        }
        if let Err(reason) = check_name(&name) {
            self.errors.push(TopologyError::Invalid { node: name.to_string(), reason });
        }
        let id = self.nodes.len();
        for parent in parents {
            if let Some(parent) = self.nodes.get_mut(*parent) {
                parent.children.push(id);
            }
        }
        self.nodes.push(NodeDef {
            name,
            kind,
            parents: parents.to_vec(),
            children: Vec::new(),
            stores,
            send_old: false,
            null_keys: false,
        });
        id
    }

    pub(crate) fn add_processor(
        &mut self,
        name: Arc<str>,
        parents: &[NodeId],
        stores: Vec<Arc<str>>,
        factory: impl Fn(&mut Wiring<'_>) -> Box<dyn AnyNode> + Send + Sync + 'static,
    ) -> NodeId {
        self.add(name, NodeKind::Processor { factory: Arc::new(factory) }, parents, stores)
    }

    pub(crate) fn add_store(&mut self, store: StoreDef) {
        if self.stores.iter().any(|held| held.name == store.name) {
            self.errors
                .push(TopologyError::DuplicateName { kind: "state store", name: store.name.to_string() });
        }
        if let Err(reason) = check_name(&store.name) {
            self.errors.push(TopologyError::Invalid { node: store.name.to_string(), reason });
        }
        self.stores.push(store);
    }

    /// A global table, whose store lies under this node.
    pub(crate) fn add_global(&mut self, node: NodeId, global: GlobalDef) {
        let taken = self.stores.iter().any(|held| held.name == global.store)
            || self.globals.iter().any(|held| held.store == global.store);
        if taken {
            let name = global.store.to_string();
            self.errors.push(TopologyError::DuplicateName { kind: "state store", name });
        }
        if let Err(reason) = check_name(&global.store) {
            self.errors.push(TopologyError::Invalid { node: global.store.to_string(), reason });
        }
        if let Some(node) = self.nodes.get_mut(node) {
            node.stores.push(Arc::clone(&global.store));
        }
        self.globals.push(global);
    }

    pub(crate) fn node_name(&self, id: NodeId) -> String {
        self.nodes.get(id).map_or_else(String::new, |node| node.name.to_string())
    }

    /// Makes the store of a table real; does nothing if it is.
    pub(crate) fn materialize(&mut self, node: NodeId) {
        if let Some(store) = self.lazy_stores.remove(&node) {
            if let Some(node) = self.nodes.get_mut(node) {
                node.stores.push(Arc::clone(&store.name));
            }
            self.add_store(store);
        }
    }

    /// Makes a table's node send old rows; the tables it takes its rows from must too, up to one that has a store.
    pub(crate) fn send_old(&mut self, node: NodeId) {
        self.old_rows(node, true);
    }

    /// The same, but only if that needs no store that is not there yet; tells whether it sends them.
    pub(crate) fn send_old_if_kept(&mut self, node: NodeId) -> bool {
        self.old_rows(node, false)
    }

    fn old_rows(&mut self, node: NodeId, make_store: bool) -> bool {
        if self.nodes.get(node).is_none_or(|def| def.send_old) {
            return true;
        }
        if let Some(parents) = self.merged_tables.get(&node).cloned() {
            for parent in parents {
                self.old_rows(parent, true);
            }
        } else if let Some(parent) = self.table_parents.get(&node).copied() {
            if !self.old_rows(parent, make_store) {
                return false;
            }
        } else if self.lazy_stores.contains_key(&node) {
            if !make_store {
                return false;
            }
            self.materialize(node);
        }
        if let Some(def) = self.nodes.get_mut(node) {
            def.send_old = true;
        }
        true
    }

    /// Lets null keys through each repartition that has a left or outer join anywhere behind it.
    pub(crate) fn relax_null_keys(&mut self) {
        let mut open = self.null_key_joins.clone();
        let mut seen = vec![false; self.nodes.len()];
        while let Some(id) = open.pop() {
            if seen.get_mut(id).is_none_or(|seen| std::mem::replace(seen, true)) {
                continue;
            }
            let Some(def) = self.nodes.get_mut(id) else { continue };
            def.null_keys = true;
            open.extend(&def.parents);
            if let NodeKind::Source { topics, .. } = &def.kind {
                let internal: Vec<TopicName> =
                    topics.iter().filter(|topic| matches!(topic, TopicName::Internal(_))).cloned().collect();
                let writes = |def: &NodeDef| matches!(&def.kind, NodeKind::Sink { topic: Some(topic), .. } if internal.contains(topic));
                open.extend(self.nodes.iter().enumerate().filter(|(_, def)| writes(def)).map(|(id, _)| id));
            }
        }
    }

    /// How long behind the end of a window the results that reach a node are final: the longest of the windowed aggregations above it, all ways up
    /// counted; `None` if a way up has none.
    pub(crate) fn close_after(&self, node: NodeId) -> Option<i64> {
        if let Some(found) = self.close_after.get(&node) {
            return Some(*found);
        }
        let parents = &self.nodes.get(node)?.parents;
        let mut longest = None;
        for parent in parents {
            longest = longest.max(Some(self.close_after(*parent)?));
        }
        longest
    }

    /// The sources above a node, in its own sub-topology.
    pub(crate) fn sources_above(&self, node: NodeId) -> Vec<NodeId> {
        let mut found = Vec::new();
        let mut open = vec![node];
        let mut seen = vec![false; self.nodes.len()];
        while let Some(id) = open.pop() {
            let (Some(def), Some(mark)) = (self.nodes.get(id), seen.get_mut(id)) else { continue };
            if std::mem::replace(mark, true) {
                continue;
            }
            if matches!(def.kind, NodeKind::Source { .. }) {
                found.push(id);
            }
            open.extend(&def.parents);
        }
        found.sort_unstable();
        found
    }
}

/// What topics' names allow, since topics are named after nodes and stores.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let legal = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if name.is_empty() || name.len() > 200 || !legal {
        return Err(format!("`{name}` is not a valid name: use 1 to 200 letters, digits, `.`, `_` or `-`"));
    }
    Ok(())
}
