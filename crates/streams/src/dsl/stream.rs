//! `KStream`: a stream of independent records.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use super::builder::{GraphRef, Repartition, serde_or_error, source};
use super::grouped::KGroupedStream;
use super::operators::branch::Branch;
use super::operators::sink::{ChooseTopic, Sink, Target};
use super::operators::stateless::{Filter, PassThrough, Peek, Predicate, Transform};
use super::options::{Consumed, Grouped, Key, Produced, Repartitioned, Store, Value};
use super::table::KTable;
use crate::error::TopologyError;
use crate::processor::{Flow, Node};
use crate::record::Record;
use crate::serde::SerdeRef;
use crate::topology::{Changes, Graph, NodeId, NodeKind, TopicName};

/// A stream of records. A handle: cheap to clone, and each method adds a node behind it and returns the handle of that node.
///
/// Functions given to operators see values that are not null. A tombstone (null value) passes through mappers unchanged, matches no
/// predicate, is not peeked at; [`nullable`](Self::nullable) makes nulls visible as `Option`.
pub struct KStream<K, V> {
    pub(crate) graph: GraphRef,
    pub(crate) node: NodeId,
    pub(crate) key: Option<SerdeRef<K>>,
    pub(crate) value: Option<SerdeRef<V>>,
    /// Whether the key may have changed since the records were last partitioned.
    pub(crate) repartition: bool,
    pub(crate) next_name: Option<Arc<str>>,
}

impl<K, V> Clone for KStream<K, V> {
    fn clone(&self) -> Self {
        Self {
            graph: Rc::clone(&self.graph),
            node: self.node,
            key: self.key.clone(),
            value: self.value.clone(),
            repartition: self.repartition,
            next_name: self.next_name.clone(),
        }
    }
}

impl<K: Value, V: Value> KStream<K, V> {
    pub(crate) fn new(
        graph: &GraphRef,
        node: NodeId,
        key: Option<SerdeRef<K>>,
        value: Option<SerdeRef<V>>,
        repartition: bool,
    ) -> Self {
        Self { graph: Rc::clone(graph), node, key, value, repartition, next_name: None }
    }

    /// Names the node that the next call adds (Kafka Streams: `Named.as`).
    pub fn named(&self, name: &str) -> Self {
        Self { next_name: Some(name.into()), ..self.clone() }
    }

    pub(crate) fn name_for(&self, prefix: &str) -> Arc<str> {
        self.graph.borrow_mut().name(self.next_name.clone(), prefix)
    }

    fn filtered(&self, not: bool, predicate: Predicate<K, V>) -> Self {
        let name = self.name_for("KSTREAM-FILTER-");
        let node = self.graph.borrow_mut().add_processor(name, &[self.node], Vec::new(), move |wiring| {
            Node::boxed(Filter { predicate: Arc::clone(&predicate), not, out: wiring.out() })
        });
        Self { node, next_name: None, ..self.clone() }
    }

    /// Keeps the records that match. Tombstones do not.
    pub fn filter(&self, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.filtered(false, Arc::new(predicate))
    }

    /// Keeps the records that do not match, tombstones among them.
    pub fn filter_not(&self, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> Self {
        self.filtered(true, Arc::new(predicate))
    }

    fn transform<L: Value, W: Value>(
        &self,
        prefix: &str,
        keys_change: bool,
        serdes: (Option<SerdeRef<L>>, Option<SerdeRef<W>>),
        function: impl Fn(Record<K, V>, &mut dyn FnMut(Record<L, W>) -> Flow) -> Flow + Send + Sync + 'static,
    ) -> KStream<L, W> {
        let name = self.name_for(prefix);
        #[expect(
            clippy::type_complexity,
            reason = "the operator's own type, spelt out for the closure's sake"
        )]
        let function: Arc<
            dyn Fn(Record<K, V>, &mut dyn FnMut(Record<L, W>) -> Flow) -> Flow + Send + Sync,
        > = Arc::new(function);
        let node = self.graph.borrow_mut().add_processor(name, &[self.node], Vec::new(), move |wiring| {
            Node::boxed(Transform { function: Arc::clone(&function), out: wiring.out() })
        });
        let changes = if keys_change { Changes::Keys } else { Changes::Values };
        self.graph.borrow_mut().notes.changes.insert(node, changes);
        KStream::new(&self.graph, node, serdes.0, serdes.1, self.repartition || keys_change)
    }

    /// A new key and a new value for each record. Grouping or joining afterwards repartitions; prefer [`map_values`](Self::map_values).
    pub fn map<L: Value, W: Value>(
        &self,
        mapper: impl Fn(&K, &V) -> (L, W) + Send + Sync + 'static,
    ) -> KStream<L, W> {
        self.transform("KSTREAM-MAP-", true, (None, None), move |record, emit| {
            let Some(value) = &record.value else { return Ok(()) };
            let (key, value) = mapper(&record.key, value);
            emit(Record { key, value: Some(value), timestamp: record.timestamp, headers: record.headers })
        })
    }

    /// A new value for each record.
    pub fn map_values<W: Value>(&self, mapper: impl Fn(&V) -> W + Send + Sync + 'static) -> KStream<K, W> {
        self.transform("KSTREAM-MAPVALUES-", false, (self.key.clone(), None), move |record, emit| {
            let value = record.value.as_ref().map(&mapper);
            emit(record.with_value(value))
        })
    }

    /// A new value for each record, with a look at the key.
    pub fn map_values_with_key<W: Value>(
        &self,
        mapper: impl Fn(&K, &V) -> W + Send + Sync + 'static,
    ) -> KStream<K, W> {
        self.transform("KSTREAM-MAPVALUES-", false, (self.key.clone(), None), move |record, emit| {
            let value = record.value.as_ref().map(|value| mapper(&record.key, value));
            emit(record.with_value(value))
        })
    }

    /// Any number of new records for each.
    pub fn flat_map<L: Value, W: Value, I: IntoIterator<Item = (L, W)>>(
        &self,
        mapper: impl Fn(&K, &V) -> I + Send + Sync + 'static,
    ) -> KStream<L, W> {
        self.transform("KSTREAM-FLATMAP-", true, (None, None), move |record, emit| {
            let Some(value) = &record.value else { return Ok(()) };
            for (key, value) in mapper(&record.key, value) {
                let (timestamp, headers) = (record.timestamp, record.headers.clone());
                emit(Record { key, value: Some(value), timestamp, headers })?;
            }
            Ok(())
        })
    }

    /// Any number of new values for each record.
    pub fn flat_map_values<W: Value, I: IntoIterator<Item = W>>(
        &self,
        mapper: impl Fn(&V) -> I + Send + Sync + 'static,
    ) -> KStream<K, W> {
        self.transform("KSTREAM-FLATMAPVALUES-", false, (self.key.clone(), None), move |record, emit| {
            for value in record.value.as_ref().map(&mapper).into_iter().flatten() {
                let (key, headers) = (record.key.clone(), record.headers.clone());
                emit(Record { key, value: Some(value), timestamp: record.timestamp, headers })?;
            }
            Ok(())
        })
    }

    /// A new key for each record; a tombstone, which has nothing to choose from, is dropped.
    pub fn select_key<L: Value>(
        &self,
        select: impl Fn(&K, &V) -> L + Send + Sync + 'static,
    ) -> KStream<L, V> {
        self.transform("KSTREAM-KEY-SELECT-", true, (None, self.value.clone()), move |record, emit| {
            let Some(value) = &record.value else { return Ok(()) };
            let key = select(&record.key, value);
            emit(record.with_key(key))
        })
    }

    /// The same stream with nulls as values of their own: functions behind it see tombstones as `None`.
    pub fn nullable(&self) -> KStream<K, Option<V>> {
        let value =
            self.value.clone().map(|inner| Arc::new(crate::serde::Nullable::new(inner)) as SerdeRef<_>);
        self.transform("KSTREAM-MAPVALUES-", false, (self.key.clone(), value), |mut record, emit| {
            let value = record.value.take();
            emit(record.with_value(Some(value)))
        })
    }

    fn peeked(&self, prefix: &str, action: impl Fn(&Record<K, V>) + Send + Sync + 'static) -> Self {
        let name = self.name_for(prefix);
        #[expect(
            clippy::type_complexity,
            reason = "the operator's own type, spelt out for the closure's sake"
        )]
        let action: Arc<dyn Fn(&Record<K, V>) + Send + Sync> = Arc::new(action);
        let node = self.graph.borrow_mut().add_processor(name, &[self.node], Vec::new(), move |wiring| {
            Node::boxed(Peek { action: Arc::clone(&action), out: wiring.out() })
        });
        Self { node, next_name: None, ..self.clone() }
    }

    /// Looks at each record and passes it on. What is done here may be done again after a crash.
    pub fn peek(&self, action: impl Fn(&K, &V) + Send + Sync + 'static) -> Self {
        self.peeked("KSTREAM-PEEK-", move |record| {
            if let Some(value) = &record.value {
                action(&record.key, value);
            }
        })
    }

    /// Looks at each record, last of all. What is done here may be done again after a crash.
    pub fn for_each(&self, action: impl Fn(&K, &V) + Send + Sync + 'static) {
        self.peeked("KSTREAM-FOREACH-", move |record| {
            if let Some(value) = &record.value {
                action(&record.key, value);
            }
        });
    }

    /// As [`for_each`](Self::for_each), with timestamp, headers and tombstones.
    pub fn for_each_record(&self, action: impl Fn(&Record<K, V>) + Send + Sync + 'static) {
        self.peeked("KSTREAM-FOREACH-", action);
    }

    /// Splits the stream: each record goes to the first branch that it matches.
    ///
    /// ```
    /// # use vigie_streams::{Consumed, StreamsBuilder};
    /// # let mut builder = StreamsBuilder::new();
    /// let numbers = builder.stream("numbers", Consumed::<String, i64>::default());
    /// let split = numbers.split();
    /// let small = split.branch(|_, n| *n < 10);
    /// let large = split.default_branch();
    /// # small.for_each(|_, _| ());
    /// # large.for_each(|_, _| ());
    /// # builder.build().unwrap();
    /// ```
    pub fn split(&self) -> Split<K, V> {
        let name = self.name_for("KSTREAM-BRANCH-");
        let branches: SharedBranches<K, V> = Arc::default();
        let of_node = Arc::clone(&branches);
        let node = self.graph.borrow_mut().add_processor(
            Arc::clone(&name),
            &[self.node],
            Vec::new(),
            move |wiring| {
                let branches = of_node.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Node::boxed(Branch { branches, out: wiring.out() })
            },
        );
        let parent = Self { node, next_name: None, ..self.clone() };
        Split { parent, name, branches, made: RefCell::new(0), next_name: RefCell::default() }
    }

    /// The records of both streams, in no particular order between them.
    pub fn merge(&self, other: &Self) -> Self {
        let name = self.name_for("KSTREAM-MERGE-");
        self.check_same_builder(&other.graph, &name);
        let parents = [self.node, other.node];
        let node = self.graph.borrow_mut().add_processor(name, &parents, Vec::new(), |wiring| {
            Node::boxed(PassThrough::<K, V> { out: wiring.out() })
        });
        self.graph.borrow_mut().notes.changes.insert(node, Changes::Merges);
        Self { node, repartition: self.repartition || other.repartition, next_name: None, ..self.clone() }
    }

    pub(crate) fn check_same_builder(&self, other: &GraphRef, node: &str) {
        if !Rc::ptr_eq(&self.graph, other) {
            let error = TopologyError::ForeignStream { node: node.to_owned() };
            self.graph.borrow_mut().errors.push(error);
        }
    }

    fn sink(
        &self,
        topic: Option<TopicName>,
        produced: Produced<K, V>,
        target: impl Fn(&mut crate::processor::Wiring<'_>) -> Target<K, V> + Send + Sync + 'static,
    ) {
        let name = produced.name.or_else(|| self.next_name.clone());
        let name = self.graph.borrow_mut().name(name, "KSTREAM-SINK-");
        let key = serde_or_error(&self.graph, produced.key.or_else(|| self.key.clone()), &name, "key");
        let value =
            serde_or_error(&self.graph, produced.value.or_else(|| self.value.clone()), &name, "value");
        let (node_name, partitioner) = (Arc::clone(&name), produced.partitioner);
        let factory = Arc::new(move |wiring: &mut crate::processor::Wiring<'_>| {
            Node::boxed(Sink {
                name: Arc::clone(&node_name),
                target: target(wiring),
                key: Arc::clone(&key),
                value: Arc::clone(&value),
                partitioner: partitioner.clone(),
            })
        });
        self.graph.borrow_mut().add(name, NodeKind::Sink { topic, factory }, &[self.node], Vec::new());
    }

    /// Writes the stream to a topic.
    pub fn to(&self, topic: &str, produced: Produced<K, V>) {
        let name: Arc<str> = topic.into();
        let topic = TopicName::External(Arc::clone(&name));
        self.sink(Some(topic), produced, move |wiring| Target::Fixed(wiring.outputs.index(&name)));
    }

    /// Writes each record to the topic that `choose` names.
    pub fn to_chosen<T: Into<Arc<str>>>(
        &self,
        choose: impl Fn(&Record<K, V>) -> T + Send + Sync + 'static,
        produced: Produced<K, V>,
    ) {
        let choose: ChooseTopic<K, V> = Arc::new(move |record| choose(record).into());
        self.sink(None, produced, move |_| Target::Chosen(Arc::clone(&choose)));
    }

    /// Writes the stream to a topic of the user's and goes on with what is read from it.
    pub fn through(&self, topic: &str, produced: Produced<K, V>) -> Self {
        let (key, value) = (
            produced.key.clone().or_else(|| self.key.clone()),
            produced.value.clone().or_else(|| self.value.clone()),
        );
        self.to(topic, produced);
        let consumed = Consumed { key, value, ..Consumed::default() };
        source(&self.graph, vec![TopicName::External(topic.into())], consumed)
    }

    /// Sends the stream through an internal topic `<application.id>-<name>-repartition`.
    pub fn repartition(&self, options: Repartitioned<K, V>) -> Self {
        let name = options.name.clone().or_else(|| self.next_name.clone());
        // Kafka Streams uses up no number here when a name is given.
        let name = name.unwrap_or_else(|| self.graph.borrow_mut().generate("KSTREAM-REPARTITION-"));
        let key = serde_or_error(&self.graph, options.key.or_else(|| self.key.clone()), &name, "key");
        let value = serde_or_error(&self.graph, options.value.or_else(|| self.value.clone()), &name, "value");
        Repartition {
            partitions: options.partitions,
            partitioner: options.partitioner,
            ..Repartition::of(name, key, value)
        }
        .add(&self.graph, self.node)
    }

    /// Repartitions only if the key may have changed.
    pub(crate) fn repartition_if_needed(
        &self,
        prefix: &Arc<str>,
        key: &SerdeRef<K>,
        value: impl FnOnce() -> SerdeRef<V>,
    ) -> Self {
        if !self.repartition {
            return self.clone();
        }
        Repartition::of(Arc::clone(prefix), Arc::clone(key), value()).add_movable(&self.graph, self.node)
    }

    /// Groups by a key chosen for each record; records are repartitioned by it.
    pub fn group_by<L: Key>(
        &self,
        select: impl Fn(&K, &V) -> L + Send + Sync + 'static,
    ) -> KGroupedStream<L, V> {
        self.group_by_with(select, Grouped::default())
    }

    /// As [`group_by`](Self::group_by), with serdes and a name.
    pub fn group_by_with<L: Key>(
        &self,
        select: impl Fn(&K, &V) -> L + Send + Sync + 'static,
        grouped: Grouped<L, V>,
    ) -> KGroupedStream<L, V> {
        let selected = self.select_key(select);
        KGroupedStream::new(selected, grouped)
    }
}

impl<K: Key, V: Value> KStream<K, V> {
    /// Groups by the key as it is.
    pub fn group_by_key(&self) -> KGroupedStream<K, V> {
        self.group_by_key_with(Grouped::default())
    }

    /// As [`group_by_key`](Self::group_by_key), with serdes and a name.
    pub fn group_by_key_with(&self, grouped: Grouped<K, V>) -> KGroupedStream<K, V> {
        KGroupedStream::new(self.clone(), grouped)
    }

    /// The stream as updates of a table: the last value of each key.
    pub fn to_table(&self, store: Store<K, V>) -> KTable<K, V> {
        const PREFIX: &str = "KSTREAM-TOTABLE-";
        let mut graph: std::cell::RefMut<'_, Graph> = self.graph.borrow_mut();
        let name = graph.name(self.next_name.clone(), PREFIX);
        let store_name = match &store.name {
            Some(name) => Arc::clone(name),
            None => graph.generate(&format!("{PREFIX}STATE-STORE-")),
        };
        drop(graph);
        let key = serde_or_error(&self.graph, store.key.clone().or_else(|| self.key.clone()), &name, "key");
        let stream = self.repartition_if_needed(&name, &key, || {
            serde_or_error(&self.graph, store.value.clone().or_else(|| self.value.clone()), &name, "value")
        });
        stream.make_table(Some(name), PREFIX, store_name, store)
    }
}

impl<K: Value, V: Value> KStream<K, Option<V>> {
    /// The opposite of [`nullable`](KStream::nullable): `None` becomes a tombstone again.
    pub fn tombstones(&self) -> KStream<K, V> {
        self.transform("KSTREAM-MAPVALUES-", false, (self.key.clone(), None), |mut record, emit| {
            let value = record.value.take().flatten();
            emit(record.with_value(value))
        })
    }
}

type SharedBranches<K, V> = Arc<Mutex<Vec<Option<Predicate<K, V>>>>>;

/// A stream being split into branches.
pub struct Split<K, V> {
    parent: KStream<K, V>,
    name: Arc<str>,
    branches: SharedBranches<K, V>,
    made: RefCell<u32>,
    next_name: RefCell<Option<String>>,
}

impl<K: Value, V: Value> Split<K, V> {
    /// Names the next branch: the node is called after the split and this name together.
    pub fn named(&self, name: &str) -> &Self {
        *self.next_name.borrow_mut() = Some(name.to_owned());
        self
    }

    fn add(&self, predicate: Option<Predicate<K, V>>, number: u32) -> KStream<K, V> {
        let end = self.next_name.borrow_mut().take().unwrap_or_else(|| number.to_string());
        let name = format!("{}{end}", self.name);
        // As in Kafka Streams, each branch uses up a number that it does not show.
        let _ = self.parent.graph.borrow_mut().generate("KSTREAM-BRANCHCHILD-");
        self.branches.lock().unwrap_or_else(PoisonError::into_inner).push(predicate);
        let parent = &self.parent;
        let node =
            parent.graph.borrow_mut().add_processor(name.into(), &[parent.node], Vec::new(), |wiring| {
                Node::boxed(PassThrough::<K, V> { out: wiring.out() })
            });
        KStream { node, ..parent.clone() }
    }

    /// The records that match this predicate and none of the earlier ones.
    pub fn branch(&self, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> KStream<K, V> {
        *self.made.borrow_mut() += 1;
        let number = *self.made.borrow();
        self.add(Some(Arc::new(predicate)), number)
    }

    /// The records that match no predicate. Without it they are dropped.
    pub fn default_branch(self) -> KStream<K, V> {
        self.add(None, 0)
    }
}
