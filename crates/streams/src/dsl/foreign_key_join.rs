//! Foreign-key joins of tables: a row of the left table names the row of the right table that it belongs to (KIP-213, KIP-1104).

use std::rc::Rc;
use std::sync::Arc;

use super::builder::{GraphRef, add_source, serde_or_error};
use super::join_options::{KeyPartitioner, TableJoined};
use super::join_stores::subscriptions_def;
use super::operators::foreign_key::{Answer, ForeignKeyOf, Notify, Receive, Resolve, Subscribe};
use super::operators::foreign_key_format::{Response, ResponseSerde, Subscription, SubscriptionSerde};
use super::operators::join_tables::RowJoiner;
use super::operators::sink::{Sink, Target};
use super::options::{Key, Partitioner, Store, Value};
use super::stream::KStream;
use super::table::KTable;
use crate::error::TopologyError;
use crate::processor::{Node, Wiring};
use crate::serde::{Nullable, SerdeRef};
use crate::state::CombinedKeys;
use crate::topology::{NodeId, NodeKind, RepartitionDef, TopicName};

impl<K: Key, V: Value> KTable<K, V> {
    /// Joins each row with the row of the other table that its foreign key names (Kafka Streams: `join` with a foreign-key extractor). Follows
    /// both tables: a row that changes its foreign key, a row of the other table that changes under many. A row without a foreign key
    /// (`None`) is not joined.
    ///
    /// Rows are sent to where the other table's rows lie, and answers come back, through two topics of the program's own.
    ///
    /// ```
    /// use vigie_streams::serde::{I64, Utf8};
    /// use vigie_streams::{Consumed, Produced, Store, StreamsBuilder, TableJoined, TopologyTestDriver};
    /// let mut builder = StreamsBuilder::new();
    /// // order -> customer, customer -> name
    /// let orders = builder.table("orders", Consumed::<i64, String>::default(), Store::default());
    /// let customers = builder.table("customers", Consumed::<String, String>::default(), Store::default());
    /// orders
    ///     .join_foreign_key(
    ///         &customers,
    ///         |_, customer| customer.clone(),
    ///         |_, _, name| name.clone(),
    ///         TableJoined::default(),
    ///         Store::default().with_value_serde(Utf8),
    ///     )
    ///     .to_stream()
    ///     .to("out", Produced::with(I64, Utf8));
    /// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
    /// driver.input("orders", I64, Utf8).pipe(&1, &"ann".into(), 10)?;
    /// driver.input("orders", I64, Utf8).pipe(&2, &"ann".into(), 20)?;
    /// driver.input("customers", Utf8, Utf8).pipe(&"ann".into(), &"Ann".into(), 30)?;
    /// let joined = driver.output("out", I64, Utf8).read_key_values()?;
    /// assert_eq!(joined, [(1, Some(String::from("Ann"))), (2, Some(String::from("Ann")))]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join_foreign_key<F: Key, T: Value, W: Value, R: Into<Option<F>>>(
        &self,
        other: &KTable<F, T>,
        foreign_key: impl Fn(&K, &V) -> R + Send + Sync + 'static,
        joiner: impl Fn(&K, &V, &T) -> W + Send + Sync + 'static,
        joined: TableJoined<K, F>,
        store: Store<K, W>,
    ) -> KTable<K, W> {
        let joiner: RowJoiner<K, V, T, W> = Arc::new(move |key, left, right| {
            let left = left.expect("a foreign-key join is only called with a left row");
            joiner(key, left, right.expect("an inner join is only called with both rows"))
        });
        let extract: ForeignKeyOf<K, V, F> = Arc::new(move |key, row| foreign_key(key, row).into());
        self.join_on_foreign_key(other, extract, joiner, false, joined, store)
    }

    /// As [`join_foreign_key`](Self::join_foreign_key), but each row has a result, joined with nothing while the other table has no such row
    /// (Kafka Streams: `leftJoin` with a foreign-key extractor).
    ///
    /// ```
    /// use vigie_streams::serde::{I64, Utf8};
    /// use vigie_streams::{Consumed, Produced, Store, StreamsBuilder, TableJoined, TopologyTestDriver};
    /// let mut builder = StreamsBuilder::new();
    /// let orders = builder.table("orders", Consumed::<i64, String>::default(), Store::default());
    /// let customers = builder.table("customers", Consumed::<String, String>::default(), Store::default());
    /// orders
    ///     .left_join_foreign_key(
    ///         &customers,
    ///         |_, customer| Some(customer.clone()).filter(|customer| !customer.is_empty()),
    ///         |_, customer, name| name.unwrap_or(customer).clone(),
    ///         TableJoined::default().named("with-names"),
    ///         Store::named("orders-with-names").with_value_serde(Utf8),
    ///     )
    ///     .to_stream()
    ///     .to("out", Produced::default());
    /// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
    /// driver.input("orders", I64, Utf8).pipe(&1, &"ann".into(), 10)?;
    /// driver.input("customers", Utf8, Utf8).pipe(&"ann".into(), &"Ann".into(), 30)?;
    /// assert_eq!(driver.store::<i64, String>("orders-with-names")?.get(&1)?, Some(String::from("Ann")));
    /// let joined = driver.output("out", I64, Utf8).read_key_values()?;
    /// assert_eq!(joined, [(1, Some(String::from("ann"))), (1, Some(String::from("Ann")))]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn left_join_foreign_key<F: Key, T: Value, W: Value, R: Into<Option<F>>>(
        &self,
        other: &KTable<F, T>,
        foreign_key: impl Fn(&K, &V) -> R + Send + Sync + 'static,
        joiner: impl Fn(&K, &V, Option<&T>) -> W + Send + Sync + 'static,
        joined: TableJoined<K, F>,
        store: Store<K, W>,
    ) -> KTable<K, W> {
        let joiner: RowJoiner<K, V, T, W> = Arc::new(move |key, left, right| {
            joiner(key, left.expect("a foreign-key join is only called with a left row"), right)
        });
        let extract: ForeignKeyOf<K, V, F> = Arc::new(move |key, row| foreign_key(key, row).into());
        self.join_on_foreign_key(other, extract, joiner, true, joined, store)
    }

    fn join_on_foreign_key<F: Key, T: Value, W: Value>(
        &self,
        other: &KTable<F, T>,
        extract: ForeignKeyOf<K, V, F>,
        joiner: RowJoiner<K, V, T, W>,
        left: bool,
        joined: TableJoined<K, F>,
        store: Store<K, W>,
    ) -> KTable<K, W> {
        let graph = &self.graph;
        let given = joined.name.clone().or_else(|| self.next_name.clone());
        let name = |suffix: &str, prefix: &str| {
            let given = given.as_ref().map(|name| Arc::<str>::from(format!("{name}{suffix}")));
            graph.borrow_mut().name(given, prefix)
        };
        let own_name: Arc<str> = graph.borrow().node_name(self.node).into();
        if !Rc::ptr_eq(graph, &other.graph) {
            let node = own_name.to_string();
            graph.borrow_mut().errors.push(TopologyError::ForeignStream { node });
            return KTable::new(graph, self.node, self.key.clone(), None, None);
        }
        // A row that changes its foreign key must leave the old one.
        graph.borrow_mut().send_old(other.node);
        graph.borrow_mut().send_old(self.node);
        let key = serde_or_error(graph, self.key.clone(), &own_name, "key");
        let value = serde_or_error(graph, self.value.clone(), &own_name, "value");
        let other_name = graph.borrow().node_name(other.node);
        let foreign_key = serde_or_error(graph, other.key.clone(), &other_name, "key");
        let other_value = serde_or_error(graph, other.value.clone(), &other_name, "value");

        let topic = name("-subscription-registration", &format!("{FK_JOIN}SUBSCRIPTION-REGISTRATION-"));
        let registration: Arc<str> = format!("{topic}-topic").into();
        let subscribe =
            name("-subscription-registration-processor", &format!("{FK_JOIN}SUBSCRIPTION-REGISTRATION-"));
        let nullable: SerdeRef<Option<F>> = Arc::new(Nullable::new(Arc::clone(&foreign_key)));
        let subscriptions: SerdeRef<Subscription<K>> = Arc::new(SubscriptionSerde(Arc::clone(&key)));
        let subscribe = {
            let (node_name, foreign_key, value) =
                (Arc::clone(&subscribe), Arc::clone(&foreign_key), Arc::clone(&value));
            let versioned = self.versioned;
            graph.borrow_mut().add_processor(subscribe, &[self.node], Vec::new(), move |wiring| {
                Node::boxed(Subscribe::<K, V, F> {
                    name: Arc::clone(&node_name),
                    extract: Arc::clone(&extract),
                    foreign_key: Arc::clone(&foreign_key),
                    value: Arc::clone(&value),
                    left,
                    versioned,
                    out: wiring.out(),
                })
            })
        };
        let by_foreign_key = joined.other_partitioner.map(|choose: KeyPartitioner<F>| {
            let choose: Partitioner<Option<F>, Subscription<K>> =
                Arc::new(move |key: &Option<F>, _, n| key.as_ref().and_then(|key| choose(key, n)));
            choose
        });
        let through =
            Through { topic: registration, key: nullable, value: subscriptions, partitioner: by_foreign_key };
        let sink = name("-subscription-registration-sink", "KTABLE-SINK-");
        let source = name("-subscription-registration-source", "KTABLE-SOURCE-");
        let registered = through.add(graph, &[subscribe], sink, source);
        copartition(graph, registered, other.node);

        let store_name = name("-subscription-store", &format!("{FK_JOIN}SUBSCRIPTION-STATE-STORE-"));
        graph.borrow_mut().add_store(subscriptions_def::<F, K>(
            &store_name,
            Arc::clone(&foreign_key),
            Arc::clone(&key),
        ));
        let receive = name("-subscription-receive", &format!("{FK_JOIN}SUBSCRIPTION-PROCESSOR-"));
        let receive = {
            let (of_node, stores) = (Arc::clone(&store_name), vec![Arc::clone(&store_name)]);
            graph.borrow_mut().add_processor(receive, &[registered], stores, move |wiring| {
                Node::boxed(Receive::<K, F> { store: wiring.store(&of_node), out: wiring.out() })
            })
        };
        let answer = name("-subscription-join-foreign", &format!("{FK_JOIN}SUBSCRIPTION-PROCESSOR-"));
        let answer = {
            let view = other.view_for(&answer);
            let make = view.make;
            graph.borrow_mut().add_processor(answer, &[receive], view.stores, move |wiring| {
                Node::boxed(Answer::<K, F, T> { right: make(wiring), out: wiring.out() })
            })
        };
        let notify = name("-foreign-join-subscription", &format!("{FK_JOIN}SUBSCRIPTION-PROCESSOR-"));
        let notify = {
            let keys = Arc::new(CombinedKeys { foreign: foreign_key, key: Arc::clone(&key) });
            let (of_node, node_name, versioned) =
                (Arc::clone(&store_name), Arc::clone(&notify), other.versioned);
            graph.borrow_mut().add_processor(notify, &[other.node], vec![store_name], move |wiring| {
                Node::boxed(Notify::<K, F, T> {
                    name: Arc::clone(&node_name),
                    store: wiring.store(&of_node),
                    keys: Arc::clone(&keys),
                    versioned,
                    out: wiring.out(),
                })
            })
        };

        let topic = name("-subscription-response", &format!("{FK_JOIN}SUBSCRIPTION-RESPONSE-"));
        let responses: SerdeRef<Response<T>> = Arc::new(ResponseSerde(other_value));
        let partitioner = joined.partitioner;
        let to_asker: Partitioner<K, Response<T>> =
            Arc::new(move |key, response: Option<&Response<T>>, n| match &partitioner {
                Some(choose) => choose(key, n),
                None => response.and_then(|response| response.partition),
            });
        let through = Through {
            topic: format!("{topic}-topic").into(),
            key: Arc::clone(&key),
            value: responses,
            partitioner: Some(to_asker),
        };
        let sink = name("-subscription-response-sink", "KTABLE-SINK-");
        let source = name("-subscription-response-source", "KTABLE-SOURCE-");
        let answered = through.add(graph, &[answer, notify], sink, source);
        copartition(graph, answered, self.node);

        let resolve = name(
            "-subscription-response-resolver",
            &format!("{FK_JOIN}SUBSCRIPTION-RESPONSE-RESOLVER-PROCESSOR-"),
        );
        let resolve = {
            let view = self.view_for(&resolve);
            let (make, node_name) = (view.make, Arc::clone(&resolve));
            graph.borrow_mut().add_processor(resolve, &[answered], view.stores, move |wiring| {
                Node::boxed(Resolve::<K, V, T, W> {
                    name: Arc::clone(&node_name),
                    join: Arc::clone(&joiner),
                    value: Arc::clone(&value),
                    left,
                    table: make(wiring),
                    out: wiring.out(),
                })
            })
        };
        let output = name("-result", &format!("{FK_JOIN}OUTPUT-"));
        let result_store = match &store.name {
            Some(name) => Arc::clone(name),
            None => graph.borrow_mut().generate(&format!("{FK_JOIN}OUTPUT-STATE-STORE-")),
        };
        let results = KStream::<K, W>::new(graph, resolve, Some(key), None, false);
        results.make_lazy_table(output, result_store, store)
    }
}

const FK_JOIN: &str = "KTABLE-FK-JOIN-";

/// A topic of the engine's own between two parts of a join.
struct Through<K, V> {
    topic: Arc<str>,
    key: SerdeRef<K>,
    value: SerdeRef<V>,
    partitioner: Option<Partitioner<K, V>>,
}

impl<K: Value, V: Value> Through<K, V> {
    /// Adds the sink and the source; gives the source.
    fn add(self, graph: &GraphRef, parents: &[NodeId], sink: Arc<str>, source: Arc<str>) -> NodeId {
        let topic = TopicName::Internal(Arc::clone(&self.topic));
        let (node_name, target) = (Arc::clone(&sink), topic.clone());
        let (key, value, partitioner) = (Arc::clone(&self.key), Arc::clone(&self.value), self.partitioner);
        let factory = Arc::new(move |wiring: &mut Wiring<'_>| {
            let target = target.resolve(wiring.application_id);
            Node::boxed(Sink::<K, V> {
                name: Arc::clone(&node_name),
                target: Target::Fixed(wiring.outputs.index(&target)),
                key: Arc::clone(&key),
                value: Arc::clone(&value),
                partitioner: partitioner.clone(),
            })
        });
        {
            let mut graph = graph.borrow_mut();
            graph.add(sink, NodeKind::Sink { topic: Some(topic.clone()), factory }, parents, Vec::new());
            graph.repartitions.push(RepartitionDef { name: self.topic, partitions: None });
        }
        add_source(graph, source, vec![topic], self.key, self.value, None)
    }
}

/// The topic behind `source` has as many partitions as those above `table`.
fn copartition(graph: &GraphRef, source: NodeId, table: NodeId) {
    let mut graph = graph.borrow_mut();
    let mut sources = graph.sources_above(table);
    sources.push(source);
    graph.copartitioned.push((source, sources));
}
