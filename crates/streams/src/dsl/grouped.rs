//! `KGroupedStream`: a stream on its way to an aggregate.

use std::sync::Arc;

use super::builder::{GraphRef, Repartition, serde_or_error};
use super::operators::aggregate::{Aggregate, Fold};
use super::operators::versioned_aggregate::VersionedAggregate;
use super::options::{Grouped, Key, Store, Value};
use super::stores::table_def;
use super::stream::KStream;
use super::table::KTable;
use super::windowed::Windows;
use crate::processor::Node;
use crate::serde::SerdeRef;
use crate::topology::NodeId;

/// A stream grouped by key. Records with a null key or a null value are skipped and counted.
pub struct KGroupedStream<K, V> {
    pub(crate) stream: KStream<K, V>,
    pub(crate) grouped: Grouped<K, V>,
}

impl<K, V> Clone for KGroupedStream<K, V> {
    fn clone(&self) -> Self {
        let Grouped { key, value, name } = &self.grouped;
        let grouped = Grouped { key: key.clone(), value: value.clone(), name: name.clone() };
        Self { stream: self.stream.clone(), grouped }
    }
}

pub(crate) const AGGREGATE: &str = "KSTREAM-AGGREGATE-";
pub(crate) const REDUCE: &str = "KSTREAM-REDUCE-";

impl<K: Key, V: Value> KGroupedStream<K, V> {
    pub(crate) fn new(stream: KStream<K, V>, grouped: Grouped<K, V>) -> Self {
        Self { stream, grouped }
    }

    /// Names the node that the next call adds.
    pub fn named(mut self, name: &str) -> Self {
        self.stream.next_name = Some(name.into());
        self
    }

    /// How many records each key has.
    ///
    /// ```
    /// # use vigie_streams::{Consumed, Produced, Store, StreamsBuilder};
    /// # let mut builder = StreamsBuilder::new();
    /// builder
    ///     .stream("words", Consumed::<Option<String>, String>::default())
    ///     .group_by(|_, word| word.clone())
    ///     .count(Store::named("counts"))
    ///     .to_stream()
    ///     .to("counts", Produced::default());
    /// # builder.build().unwrap();
    /// ```
    pub fn count(&self, store: Store<K, i64>) -> KTable<K, i64> {
        let (stream, grouped) = (&self.stream, &self.grouped);
        if stream.repartition {
            let keys = prepare_keys(stream, grouped, AGGREGATE, &store);
            return aggregate(keys, store, Arc::new(|_, (), before| Some(before.unwrap_or(0) + 1)));
        }
        self.fold(AGGREGATE, store, Arc::new(|_, _, before| Some(before.unwrap_or(0) + 1)))
    }

    /// Combines the values of each key, two at a time.
    pub fn reduce(
        &self,
        reducer: impl Fn(V, V) -> V + Send + Sync + 'static,
        store: Store<K, V>,
    ) -> KTable<K, V> {
        let store = self.inherit_value(store);
        self.fold(
            REDUCE,
            store,
            Arc::new(move |_, value, before| {
                Some(match before {
                    Some(before) => reducer(before, value),
                    None => value,
                })
            }),
        )
    }

    /// Folds the values of each key into an aggregate that begins with `initial`. An aggregator that returns `None`
    /// (its result may be `A` or `Option<A>`) removes the aggregate.
    pub fn aggregate<A: Value, R: Into<Option<A>>>(
        &self,
        initial: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K, &V, A) -> R + Send + Sync + 'static,
        store: Store<K, A>,
    ) -> KTable<K, A> {
        let fold = move |key: &K, value: V, before: Option<A>| {
            aggregator(key, &value, before.unwrap_or_else(&initial)).into()
        };
        self.fold(AGGREGATE, store, Arc::new(fold))
    }

    /// Groups by windows of event time too: [`TimeWindows`](crate::TimeWindows) (tumbling and hopping),
    /// [`SlidingWindows`](crate::SlidingWindows), [`SessionWindows`](crate::SessionWindows) or [`UnlimitedWindows`](crate::UnlimitedWindows).
    pub fn windowed_by<W: Windows>(&self, windows: W) -> W::Stream<K, V> {
        windows.cut(self)
    }

    fn inherit_value(&self, mut store: Store<K, V>) -> Store<K, V> {
        store.value =
            store.value.or_else(|| self.grouped.value.clone()).or_else(|| self.stream.value.clone());
        store
    }

    fn fold<A: Value>(&self, prefix: &str, store: Store<K, A>, fold: Fold<K, V, A>) -> KTable<K, A> {
        aggregate(prepare(&self.stream, &self.grouped, prefix, &store), store, fold)
    }
}

/// Adds the node of an aggregate without windows, and its store.
fn aggregate<K: Key, V: Value, A: Value>(
    prepared: Prepared<K, V>,
    store: Store<K, A>,
    fold: Fold<K, V, A>,
) -> KTable<K, A> {
    let Prepared { name, store_name, key, source } = prepared;
    let graph = &source.graph;
    let value = serde_or_error(graph, store.value, &name, "aggregate");
    let def = table_def(&store_name, &store.settings, Arc::clone(&key), Arc::clone(&value));
    graph.borrow_mut().add_store(def);
    let versioned = store.settings.history.is_some();
    let node = AggregateNode { name, key: Arc::clone(&key), store: Arc::clone(&store_name), versioned, fold };
    let node = node.add(graph, source.node);
    KTable::new(graph, node, Some(key), Some(value), Some(store_name)).with_history(versioned)
}

/// A node that aggregates without windows.
pub(crate) struct AggregateNode<K, V, A> {
    pub name: Arc<str>,
    pub key: SerdeRef<K>,
    pub store: Arc<str>,
    /// Whether the store keeps older versions.
    pub versioned: bool,
    pub fold: Fold<K, V, A>,
}

impl<K: Key, V: Value, A: Value> AggregateNode<K, V, A> {
    pub(crate) fn add(self, graph: &GraphRef, parent: NodeId) -> NodeId {
        let Self { name, key, store, versioned, fold } = self;
        let stores = vec![Arc::clone(&store)];
        graph.borrow_mut().add_processor(name, &[parent], stores, move |wiring| {
            let (fold, key) = (Arc::clone(&fold), Arc::clone(&key));
            let (store, send_old) = (wiring.store(&store), wiring.send_old);
            if versioned {
                Node::boxed(VersionedAggregate::<K, V, A> { fold, key, store, send_old, out: wiring.out() })
            } else {
                Node::boxed(Aggregate::<K, V, A> { fold, key, store, send_old, out: wiring.out() })
            }
        })
    }
}

/// What every aggregate needs, named and numbered in Kafka Streams' order.
pub(crate) struct Prepared<K, V> {
    pub name: Arc<str>,
    pub store_name: Arc<str>,
    pub key: SerdeRef<K>,
    /// The stream, repartitioned if need be.
    pub source: KStream<K, V>,
}

pub(crate) fn prepare<K: Key, V: Value, A>(
    stream: &KStream<K, V>,
    grouped: &Grouped<K, V>,
    prefix: &str,
    store: &Store<K, A>,
) -> Prepared<K, V> {
    let Named { name, store_name, key, topic } = Named::of(stream, grouped, prefix, store);
    let source = stream.repartition_if_needed(&topic, &key, || value_of_topic(stream, grouped, &name));
    Prepared { name, store_name, key, source }
}

/// The same for a stream whose keys may have changed, where the aggregate looks at no value (`count`): the repartition topic then carries none. What
/// internal topics hold is each engine's own affair; Kafka Streams writes the values.
pub(crate) fn prepare_keys<K: Key, V: Value, A>(
    stream: &KStream<K, V>,
    grouped: &Grouped<K, V>,
    prefix: &str,
    store: &Store<K, A>,
) -> Prepared<K, ()> {
    let Named { name, store_name, key, topic } = Named::of(stream, grouped, prefix, store);
    let value = value_of_topic(stream, grouped, &name);
    let source =
        Repartition::of(topic, Arc::clone(&key), value).add_without_values(&stream.graph, stream.node);
    Prepared { name, store_name, key, source }
}

fn value_of_topic<K, V: Value>(stream: &KStream<K, V>, grouped: &Grouped<K, V>, node: &str) -> SerdeRef<V> {
    let given = grouped.value.clone().or_else(|| stream.value.clone());
    serde_or_error(&stream.graph, given, node, "value")
}

/// Names of an aggregate, and the serde of its keys.
struct Named<K> {
    name: Arc<str>,
    store_name: Arc<str>,
    key: SerdeRef<K>,
    /// The name of the repartition topic, if there is one.
    topic: Arc<str>,
}

impl<K: Key> Named<K> {
    fn of<V: Value, A>(
        stream: &KStream<K, V>,
        grouped: &Grouped<K, V>,
        prefix: &str,
        store: &Store<K, A>,
    ) -> Self {
        let (store_name, name) = {
            let mut graph = stream.graph.borrow_mut();
            let store_name = match &store.name {
                Some(name) => Arc::clone(name),
                None => graph.generate(&format!("{prefix}STATE-STORE-")),
            };
            (store_name, graph.name(stream.next_name.clone(), prefix))
        };
        let given = grouped.key.clone().or_else(|| store.key.clone()).or_else(|| stream.key.clone());
        let key = serde_or_error(&stream.graph, given, &name, "key");
        let topic = grouped.name.clone().unwrap_or_else(|| Arc::clone(&store_name));
        Self { name, store_name, key, topic }
    }
}
