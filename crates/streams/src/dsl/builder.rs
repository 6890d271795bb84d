//! Where a topology begins: sources, stores, and `build()`.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::operators::source::Source;
use super::operators::table::{Kept, TableSource};
use super::options::{Consumed, Key, Store, Value};
use super::stores::{StoreBuilder, table_def};
use super::stream::KStream;
use super::table::KTable;
use crate::error::TopologyError;
use crate::processor::Node;
use crate::serde::{Ignored, Missing, NoBytes, Serde, SerdeRef};
use crate::topology::{
    Graph, Lean, Movable, NodeId, NodeKind, Optimization, Place, ReadRow, RepartitionDef, SourceTopic,
    TopicName, Topology,
};

pub(crate) type GraphRef = Rc<RefCell<Graph>>;

/// One topic's name or several.
pub trait Topics {
    /// The names.
    fn names(self) -> Vec<String>;
}

impl Topics for &str {
    fn names(self) -> Vec<String> {
        vec![self.to_owned()]
    }
}
impl Topics for String {
    fn names(self) -> Vec<String> {
        vec![self]
    }
}
impl Topics for &String {
    fn names(self) -> Vec<String> {
        vec![self.clone()]
    }
}
impl<S: AsRef<str>> Topics for Vec<S> {
    fn names(self) -> Vec<String> {
        self.iter().map(|name| name.as_ref().to_owned()).collect()
    }
}
impl<S: AsRef<str>, const N: usize> Topics for [S; N] {
    fn names(self) -> Vec<String> {
        self.iter().map(|name| name.as_ref().to_owned()).collect()
    }
}

/// Collects the nodes of a topology. The handles that it gives out (streams, tables) belong to it.
///
/// ```
/// use vigie_streams::{Consumed, Produced, StreamsBuilder};
/// let mut builder = StreamsBuilder::new();
/// builder
///     .stream("words", Consumed::<Option<String>, String>::default())
///     .map_values(|word| word.to_uppercase())
///     .to("shouts", Produced::default());
/// let topology = builder.build()?;
/// # Ok::<(), vigie_streams::TopologyError>(())
/// ```
#[derive(Default)]
pub struct StreamsBuilder {
    pub(crate) graph: GraphRef,
}

impl StreamsBuilder {
    /// An empty topology.
    pub fn new() -> Self {
        Self::default()
    }

    /// The serde of a type, wherever none is given. Strings, numbers, bytes, `Option`s of these and `()` have one already.
    pub fn register_serde<T: 'static>(&mut self, serde: impl Serde<T> + 'static) {
        self.graph.borrow_mut().serdes.register::<T>(Arc::new(serde));
    }

    /// The records of one topic or of several.
    pub fn stream<K: Value, V: Value>(
        &mut self,
        topics: impl Topics,
        consumed: Consumed<K, V>,
    ) -> KStream<K, V> {
        let topics = topics.names().into_iter().map(|name| TopicName::External(name.into())).collect();
        source(&self.graph, topics, consumed)
    }

    /// The records of a topic as rows of a table: the last value of each key; null removes it. Kept in a store if it is named
    /// or if an operator behind it needs it.
    pub fn table<K: Key, V: Value>(
        &mut self,
        topic: &str,
        consumed: Consumed<K, V>,
        store: Store<K, V>,
    ) -> KTable<K, V> {
        let name = match &store.name {
            Some(name) => Arc::clone(name),
            None => self.graph.borrow_mut().generate(&format!("{topic}-STATE-STORE-")),
        };
        let table_name = consumed.name.clone();
        let mut consumed = consumed;
        consumed.name = consumed.name.map(|name| format!("{name}-source").into());
        let timestamp = consumed.timestamp.clone();
        let rows = source(&self.graph, vec![TopicName::External(topic.into())], consumed);
        let table = rows.make_table(table_name, "KTABLE-SOURCE-", Arc::clone(&name), store);
        if let (Some(key), Some(value), Some(to_key), Some(to_value)) =
            (rows.key, rows.value, &table.key, &table.value)
        {
            let to = (Arc::clone(to_key), Arc::clone(to_value));
            let source = SourceTopic { topic: topic.into(), read: read_row((key, value), to, timestamp) };
            self.graph.borrow_mut().notes.tables.push((name, source));
        }
        table
    }

    /// A store for processors, connected to those that name it.
    pub fn add_state_store(&mut self, store: StoreBuilder) -> &mut Self {
        let def = store.into_def(&self.graph);
        self.graph.borrow_mut().add_store(def);
        self
    }

    /// Checks the topology; the error names the node.
    pub fn build(self) -> Result<Topology, TopologyError> {
        self.build_with(Optimization::NONE)
    }

    /// As [`build`](Self::build), with rules that save topics and stores (Kafka Streams: `build(props)` with `topology.optimization`).
    ///
    /// ```
    /// use vigie_streams::{Consumed, Optimization, Store, StreamsBuilder};
    /// let mut builder = StreamsBuilder::new();
    /// let words = builder.stream("lines", Consumed::<(), String>::default()).select_key(|_, line| line.len() as i64);
    /// words.group_by_key().count(Store::named("lines-of-a-length"));
    /// words.filter(|_, line| line.ends_with('?')).group_by_key().count(Store::named("questions-of-a-length"));
    /// let topology = builder.build_with(Optimization::ALL)?;
    /// // One topic instead of two.
    /// let view = topology.view();
    /// let topics: Vec<&str> = view.topics.iter().map(|topic| &*topic.name).collect();
    /// assert_eq!(topics, ["lines", "lines-of-a-length-repartition"]);
    /// # Ok::<(), vigie_streams::TopologyError>(())
    /// ```
    pub fn build_with(self, optimization: Optimization) -> Result<Topology, TopologyError> {
        let mut graph = self.graph.take();
        graph.optimize(optimization);
        graph.relax_null_keys();
        graph.check()
    }
}

/// The serde given, or the one of the type; if there is neither, `build()` will say so.
pub(crate) fn serde_or_error<T: 'static>(
    graph: &GraphRef,
    given: Option<SerdeRef<T>>,
    node: &str,
    what: &'static str,
) -> SerdeRef<T> {
    let mut graph = graph.borrow_mut();
    given.or_else(|| graph.serdes.get::<T>()).unwrap_or_else(|| {
        graph.errors.push(TopologyError::MissingSerde {
            node: node.to_owned(),
            what,
            type_name: std::any::type_name::<T>(),
        });
        Arc::new(Missing)
    })
}

pub(crate) fn source<K: Value, V: Value>(
    graph: &GraphRef,
    topics: Vec<TopicName>,
    consumed: Consumed<K, V>,
) -> KStream<K, V> {
    let name = graph.borrow_mut().name(consumed.name, "KSTREAM-SOURCE-");
    let key = serde_or_error(graph, consumed.key, &name, "key");
    let value = serde_or_error(graph, consumed.value, &name, "value");
    let node = add_source(graph, name, topics, Arc::clone(&key), Arc::clone(&value), consumed.timestamp);
    KStream::new(graph, node, Some(key), Some(value), false)
}

pub(crate) fn add_source<K: Value, V: Value>(
    graph: &GraphRef,
    name: Arc<str>,
    topics: Vec<TopicName>,
    key: SerdeRef<K>,
    value: SerdeRef<V>,
    timestamp: Option<super::options::TimestampOf<K, V>>,
) -> NodeId {
    let kind = source_kind(&name, topics, key, value, timestamp);
    graph.borrow_mut().add(name, kind, &[], Vec::new())
}

fn source_kind<K: Value, V: Value>(
    name: &Arc<str>,
    topics: Vec<TopicName>,
    key: SerdeRef<K>,
    value: SerdeRef<V>,
    timestamp: Option<super::options::TimestampOf<K, V>>,
) -> NodeKind {
    let node_name = Arc::clone(name);
    let factory = Arc::new(move |wiring: &mut crate::processor::Wiring<'_>| {
        Box::new(Source {
            name: Arc::clone(&node_name),
            key: Arc::clone(&key),
            value: Arc::clone(&value),
            timestamp: timestamp.clone(),
            out: wiring.out(),
        }) as Box<dyn crate::processor::SourceNode>
    });
    NodeKind::Source { topics, factory }
}

/// How a record of a table's topic reads in a changelog of the table's store. What the source skips has no row; nor has what it cannot read,
/// which the deserialisation handler has let pass once already.
fn read_row<K: Value, V: Value>(
    (key, value): (SerdeRef<K>, SerdeRef<V>),
    (to_key, to_value): (SerdeRef<K>, SerdeRef<V>),
    timestamp: Option<super::options::TimestampOf<K, V>>,
) -> ReadRow {
    let same = Arc::ptr_eq(&key, &to_key) && Arc::ptr_eq(&value, &to_value);
    Arc::new(move |record, out| {
        let Some(key_bytes) = record.key else { return };
        let Ok(row_key) = key.decode(key_bytes) else { return };
        let Ok(row) = record.value.map(|bytes| value.decode(bytes)).transpose() else { return };
        let at =
            timestamp.as_ref().map_or(record.timestamp, |of| of(&row_key, row.as_ref(), record.timestamp));
        if at < 0 || key.is_null(&row_key) {
            return;
        }
        if same {
            out.push(at, Some(key_bytes), record.value, &[]);
            return;
        }
        let (mut key_bytes, mut value_bytes) = (Vec::new(), Vec::new());
        let encoded = to_key.encode(&row_key, &mut key_bytes).and_then(|()| match &row {
            Some(row) => to_value.encode(row, &mut value_bytes),
            None => Ok(()),
        });
        if encoded.is_ok() {
            out.push(at, Some(&key_bytes), row.map(|_| &*value_bytes), &[]);
        }
    })
}

impl<K: Key, V: Value> KStream<K, V> {
    /// A table of this name whose store is real only if it was asked for or becomes needed.
    pub(crate) fn make_lazy_table(
        &self,
        name: Arc<str>,
        store_name: Arc<str>,
        store: Store<K, V>,
    ) -> KTable<K, V> {
        self.make_table(Some(name), "KTABLE-SOURCE-", store_name, store)
    }

    /// Adds the node that keeps rows; real only if the store was asked for or becomes needed.
    pub(crate) fn make_table(
        &self,
        name: Option<Arc<str>>,
        prefix: &str,
        store_name: Arc<str>,
        store: Store<K, V>,
    ) -> KTable<K, V> {
        let name = name.unwrap_or_else(|| self.graph.borrow_mut().generate(prefix));
        let key = serde_or_error(&self.graph, store.key.or_else(|| self.key.clone()), &name, "key");
        let value = serde_or_error(&self.graph, store.value.or_else(|| self.value.clone()), &name, "value");
        let versioned = store.settings.history.is_some();
        let def = table_def(&store_name, &store.settings, Arc::clone(&key), Arc::clone(&value));
        let key_of_node = Arc::clone(&key);
        let node = self.graph.borrow_mut().add_processor(name, &[self.node], Vec::new(), move |wiring| {
            Node::boxed(TableSource::<K, V> {
                key: Arc::clone(&key_of_node),
                kept: Kept::of(wiring, &store_name, versioned),
                send_old: wiring.send_old,
                out: wiring.out(),
            })
        });
        let mut graph = self.graph.borrow_mut();
        let keep = store.settings.given || prefix != "KTABLE-SOURCE-";
        let store_name = Arc::clone(&def.name);
        graph.lazy_stores.insert(node, def);
        if keep {
            graph.materialize(node);
        }
        drop(graph);
        KTable::new(&self.graph, node, Some(key), Some(value), Some(store_name)).with_history(versioned)
    }
}

/// Sends a stream through an internal topic, so that records of one key meet in one task. Names and numbers are Kafka Streams'.
pub(crate) struct Repartition<K, V> {
    pub prefix: Arc<str>,
    pub key: SerdeRef<K>,
    pub value: SerdeRef<V>,
    pub partitions: Option<u32>,
    pub partitioner: Option<super::options::Partitioner<K, V>>,
}

const REPARTITION: &str = "-repartition";

impl<K: Value, V: Value> Repartition<K, V> {
    pub(crate) fn of(prefix: Arc<str>, key: SerdeRef<K>, value: SerdeRef<V>) -> Self {
        Self { prefix, key, value, partitions: None, partitioner: None }
    }

    pub(crate) fn add(self, graph: &GraphRef, parent: NodeId) -> KStream<K, V> {
        let generate = is_generated(&self.prefix);
        let [_, _, source] = self.place(&mut graph.borrow_mut(), parent, generate, &self.value);
        KStream::new(graph, source, Some(self.key), Some(self.value), false)
    }

    /// The same, for one that may be merged with others.
    pub(crate) fn add_movable(self, graph: &GraphRef, parent: NodeId) -> KStream<K, V> {
        let value = Arc::clone(&self.value);
        self.add_noted(graph, parent, value, None)
    }

    /// For who looks at keys only (`count`): the topic's records have their values' nulls, and no bytes. Neither is a value made into bytes, nor
    /// are bytes made into a value.
    pub(crate) fn add_without_values(self, graph: &GraphRef, parent: NodeId) -> KStream<K, ()> {
        let lean = Self {
            prefix: Arc::clone(&self.prefix),
            key: Arc::clone(&self.key),
            value: Arc::new(NoBytes(Arc::clone(&self.value))),
            partitions: None,
            partitioner: None,
        };
        self.add_noted(graph, parent, Arc::new(Ignored), Some(lean))
    }

    /// Adds it, or its `lean` form that carries no values, and notes how a merged one would stand in its place.
    fn add_noted<W: Value>(
        self,
        graph: &GraphRef,
        parent: NodeId,
        read: SerdeRef<W>,
        lean: Option<Self>,
    ) -> KStream<K, W> {
        let (key, topic, generate) = (Arc::clone(&self.key), self.topic(), is_generated(&self.prefix));
        let written = lean.as_ref().unwrap_or(&self);
        let nodes = written.place(&mut graph.borrow_mut(), parent, generate, &read);
        let [_, _, source] = nodes;
        // Those that are merged are named after their topic, whoever named that.
        let reads = Arc::clone(&read);
        let lean = lean.map(|lean| Lean {
            place: Rc::new(move |graph: &mut Graph, parent| lean.place(graph, parent, false, &reads)),
            adapt: Arc::new(Node::<K, ()>::for_any_value::<V>),
        });
        let place: Place = Rc::new(move |graph, parent| self.place(graph, parent, false, &self.value));
        graph.borrow_mut().notes.movable.push(Movable { nodes, topic, place, lean });
        KStream::new(graph, source, Some(key), Some(read), false)
    }

    fn topic(&self) -> Arc<str> {
        match self.prefix.strip_suffix(REPARTITION) {
            Some(_) => Arc::clone(&self.prefix),
            None => format!("{}{REPARTITION}", self.prefix).into(),
        }
    }

    /// Adds the filter, the sink and the source, with generated names or named after the topic.
    fn place<W: Value>(
        &self,
        graph: &mut Graph,
        parent: NodeId,
        generate: bool,
        read: &SerdeRef<W>,
    ) -> [NodeId; 3] {
        use super::operators::sink::{Sink, Target};
        use super::operators::stateless::NotNullKey;
        let topic = self.topic();
        // The numbers are used up in any case, as in Kafka Streams.
        let generated = [
            graph.generate("KSTREAM-SINK-"),
            graph.generate("KSTREAM-FILTER-"),
            graph.generate("KSTREAM-SOURCE-"),
        ];
        let [sink_name, filter_name, source_name] = if generate {
            generated
        } else {
            ["sink", "filter", "source"].map(|end| format!("{topic}-{end}").into())
        };
        let key = Arc::clone(&self.key);
        let filter = graph.add_processor(filter_name, &[parent], Vec::new(), move |wiring| {
            let all = wiring.null_keys;
            Node::boxed(NotNullKey::<K, V> { key: Arc::clone(&key), all, out: wiring.out() })
        });
        let name = TopicName::Internal(Arc::clone(&topic));
        let (key, value) = (Arc::clone(&self.key), Arc::clone(&self.value));
        let (node_name, target) = (Arc::clone(&sink_name), name.clone());
        let partitioner = self.partitioner.clone();
        let factory = Arc::new(move |wiring: &mut crate::processor::Wiring<'_>| {
            let target = target.resolve(wiring.application_id);
            Node::boxed(Sink::<K, V> {
                name: Arc::clone(&node_name),
                target: Target::Fixed(wiring.outputs.index(&target)),
                key: Arc::clone(&key),
                value: Arc::clone(&value),
                partitioner: partitioner.clone(),
            })
        });
        let kind = NodeKind::Sink { topic: Some(name.clone()), factory };
        let sink = graph.add(sink_name, kind, &[filter], Vec::new());
        graph.repartitions.push(RepartitionDef { name: topic, partitions: self.partitions });
        let kind = source_kind(&source_name, vec![name], Arc::clone(&self.key), Arc::clone(read), None);
        let source = graph.add(source_name, kind, &[], Vec::new());
        [filter, sink, source]
    }
}

/// Whether a name was made by [`Graph::generate`] for a stream.
fn is_generated(name: &str) -> bool {
    let number = name.rsplit('-').next().unwrap_or_default();
    name.starts_with("KSTREAM") && number.len() == 10 && number.bytes().all(|b| b.is_ascii_digit())
}
