//! How records move inside a task: nodes in one arena, each calling its children directly.
//!
//! Nodes stand in an order in which children come behind their parents, so that a node can be borrowed mutably while the
//! rest of the arena behind it is lent to it as [`Cx::nodes`]: no reference counting, no locks, no unsafe code, and two
//! parents may share a child. A type check per call (one comparison) keeps the wiring honest.

mod api;
mod context;
mod punctuation;

use std::any::Any;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

pub(crate) use api::FixedKey;
pub use api::{FixedKeyContext, FixedKeyProcessor, Processor};
pub use context::ProcessorContext;
pub(crate) use context::user_failure;
pub(crate) use punctuation::Punctuations;
pub use punctuation::{PunctuationId, PunctuationType};

use vigie_log::Timestamp;

use crate::dsl::JoinTime;
use crate::error::Failure;
use crate::record::{Record, RecordMetadata};
use crate::runtime::output::Outputs;
use crate::state::{AnyStore, Globals};
use crate::topology::TaskId;

/// Success, or why the record failed.
pub(crate) type Flow = Result<(), Box<Failure>>;

/// A node that takes records of one type.
pub(crate) trait Operator<K, V>: Send {
    fn init(&mut self, _cx: &mut Cx<'_>) -> Flow {
        Ok(())
    }
    fn process(&mut self, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow;
    fn punctuate(&mut self, _id: PunctuationId, _at: Timestamp, _cx: &mut Cx<'_>) -> Flow {
        Ok(())
    }
    /// Called before the task's changes are committed: the last chance to send what must not wait.
    fn before_commit(&mut self, _cx: &mut Cx<'_>) -> Flow {
        Ok(())
    }
    fn close(&mut self) {}
}

/// A node without its type.
pub(crate) trait AnyNode: Any + Send {
    fn init(&mut self, cx: &mut Cx<'_>) -> Flow;
    fn punctuate(&mut self, id: PunctuationId, at: Timestamp, cx: &mut Cx<'_>) -> Flow;
    fn before_commit(&mut self, cx: &mut Cx<'_>) -> Flow;
    fn close(&mut self);
}

pub(crate) struct Node<K, V>(Box<dyn Operator<K, V>>);

impl<K: 'static, V: 'static> Node<K, V> {
    pub(crate) fn boxed(operator: impl Operator<K, V> + 'static) -> Box<dyn AnyNode> {
        Box::new(Self(Box::new(operator)))
    }
}

impl<K: Send + 'static> Node<K, ()> {
    /// A node that looks at keys only, for records with values.
    pub(crate) fn for_any_value<V: 'static>(node: Box<dyn AnyNode>) -> Box<dyn AnyNode> {
        let node: Box<dyn Any> = node;
        let Self(inner) = *node.downcast::<Self>().expect("the DSL adapts nodes without values only");
        Node::<K, V>::boxed(KeysOnly(inner))
    }
}

/// Drops the values before a node that looks at none.
struct KeysOnly<K>(Box<dyn Operator<K, ()>>);

impl<K, V> Operator<K, V> for KeysOnly<K> {
    fn init(&mut self, cx: &mut Cx<'_>) -> Flow {
        self.0.init(cx)
    }
    fn process(&mut self, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        let Record { key, value, timestamp, headers } = record;
        self.0.process(Record { key, value: value.map(|_| ()), timestamp, headers }, cx)
    }
    fn punctuate(&mut self, id: PunctuationId, at: Timestamp, cx: &mut Cx<'_>) -> Flow {
        self.0.punctuate(id, at, cx)
    }
    fn before_commit(&mut self, cx: &mut Cx<'_>) -> Flow {
        self.0.before_commit(cx)
    }
    fn close(&mut self) {
        self.0.close();
    }
}

impl<K: 'static, V: 'static> AnyNode for Node<K, V> {
    fn init(&mut self, cx: &mut Cx<'_>) -> Flow {
        self.0.init(cx)
    }
    fn punctuate(&mut self, id: PunctuationId, at: Timestamp, cx: &mut Cx<'_>) -> Flow {
        self.0.punctuate(id, at, cx)
    }
    fn before_commit(&mut self, cx: &mut Cx<'_>) -> Flow {
        self.0.before_commit(cx)
    }
    fn close(&mut self) {
        self.0.close();
    }
}

/// A node at the top: reads records from bytes.
pub(crate) trait SourceNode: Send {
    fn process(&mut self, record: &vigie_log::RecordRef<'_>, cx: &mut Cx<'_>) -> Flow;
}

/// What a task lends to its nodes.
pub(crate) struct TaskState {
    pub id: TaskId,
    pub application_id: Arc<str>,
    pub stores: Vec<Box<dyn AnyStore>>,
    pub outputs: Outputs,
    pub punctuations: Punctuations,
    /// The largest timestamp of all records processed; -1 before the first.
    pub stream_time: Timestamp,
    pub wall_clock: Timestamp,
    pub metadata: RecordMetadata,
    pub counts: Counts,
    pub commit_requested: bool,
    /// At most once in this time (milliseconds of the wall clock) results are sent on because windows have closed.
    pub emit_interval: i64,
    /// Whether aggregates send on the last result of each key with the commit, instead of each.
    pub record_cache: bool,
    /// What the two sides of an outer join know together, by the index of the store that they share.
    pub join_times: BTreeMap<usize, JoinTime>,
}

/// Counters of a task since they were last handed to the metrics.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub records_in: u64,
    pub records_out: u64,
    /// Null keys or values where none may be.
    pub skipped: u64,
    /// Behind the grace of their window.
    pub late: u64,
    pub errors: u64,
}

/// A node's view while it works: the nodes behind it, and the task.
pub(crate) struct Cx<'a> {
    pub nodes: &'a mut [Box<dyn AnyNode>],
    pub task: &'a mut TaskState,
}

/// The children of a node, which all take `Record<K, V>`.
pub(crate) struct Out<K, V> {
    /// Distances from the node in the arena to its children; 0 is the next one. For sources: positions in the arena.
    children: Box<[usize]>,
    types: PhantomData<fn(K, V)>,
}

impl<K: Clone + 'static, V: Clone + 'static> Out<K, V> {
    pub(crate) fn new(children: &[usize]) -> Self {
        Self { children: children.into(), types: PhantomData }
    }

    /// Whether a result would go nowhere, so that it need not be made.
    pub(crate) fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    #[inline]
    pub(crate) fn forward(&self, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        match &*self.children {
            [] => Ok(()),
            [only] => Self::send(*only, record, cx),
            [others @ .., last] => {
                for child in others {
                    Self::send(*child, record.clone(), cx)?;
                }
                Self::send(*last, record, cx)
            }
        }
    }

    /// To the `index`th child only.
    #[inline]
    pub(crate) fn forward_to(&self, index: usize, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        self.children.get(index).map_or(Ok(()), |child| Self::send(*child, record, cx))
    }

    #[inline]
    fn send(child: usize, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        let (node, rest) = cx
            .nodes
            .get_mut(child..)
            .and_then(<[_]>::split_first_mut)
            .expect("children stand behind their parents in the arena");
        let node: &mut dyn Any = node.as_mut();
        let node = node.downcast_mut::<Node<K, V>>().expect("the DSL wires nodes of equal types");
        node.0.process(record, &mut Cx { nodes: rest, task: cx.task })
    }
}

/// Finds what a node needs when a task is made.
pub(crate) struct Wiring<'a> {
    pub children: &'a [usize],
    /// Names of the children, in the same order.
    pub child_names: &'a [Arc<str>],
    /// The node's stores: name and index in the task.
    pub stores: &'a [(Arc<str>, usize)],
    pub outputs: &'a mut Outputs,
    pub application_id: &'a str,
    /// The node's place in the arena.
    pub position: usize,
    /// Whether a table's node sends the row before the change too.
    pub send_old: bool,
    /// Whether a repartition lets null keys pass.
    pub null_keys: bool,
    /// The global tables of the program.
    pub globals: &'a Globals,
}

impl Wiring<'_> {
    pub(crate) fn out<K: Clone + 'static, V: Clone + 'static>(&self) -> Out<K, V> {
        Out::new(self.children)
    }

    /// The task's index of one of the node's stores.
    pub(crate) fn store(&self, name: &str) -> usize {
        self.find_store(name).expect("build() has checked that the node's stores exist")
    }

    /// The same for stores that are made only when needed.
    pub(crate) fn find_store(&self, name: &str) -> Option<usize> {
        self.stores.iter().find(|(held, _)| &**held == name).map(|(_, index)| *index)
    }
}
