//! Global tables: every instance holds the whole table, so that streams of any partitioning can be joined with it by any key.

use std::any::TypeId;
use std::rc::Rc;
use std::sync::Arc;

use vigie_log::RecordRef;

use super::builder::{GraphRef, StreamsBuilder, add_source, serde_or_error};
use super::operators::join_global::{GlobalJoiner, GlobalKey, JoinGlobal};
use super::operators::table::{Kept, TableSource};
use super::options::{Consumed, Key, Store, Value};
use super::stream::KStream;
use crate::error::{Failure, TopologyError};
use crate::processor::Node;
use crate::serde::SerdeRef;
use crate::state::{GlobalRows, PlainKeys, StoreTypes, encode_value};
use crate::topology::{Changes, GlobalDef, ReadGlobal, TopicName};

/// A table that every instance holds whole.
pub struct GlobalKTable<K, V> {
    graph: GraphRef,
    store: Arc<str>,
    key: SerdeRef<K>,
    value: SerdeRef<V>,
    queryable: bool,
}

impl<K, V> Clone for GlobalKTable<K, V> {
    fn clone(&self) -> Self {
        Self {
            graph: Rc::clone(&self.graph),
            store: Arc::clone(&self.store),
            key: Arc::clone(&self.key),
            value: Arc::clone(&self.value),
            queryable: self.queryable,
        }
    }
}

impl<K, V> GlobalKTable<K, V> {
    /// The name of the store, if it was given one under which it can be queried.
    pub fn queryable_store_name(&self) -> Option<&str> {
        self.queryable.then_some(&*self.store)
    }
}

impl StreamsBuilder {
    /// A topic as a table that every instance reads whole, from all partitions. It is read to its end before the first record of the program
    /// is processed, and followed by a thread of its own from then on; records that meet it meet its newest rows, whatever their own time. It
    /// has no changelog beside its topic, which is therefore best compacted.
    pub fn global_table<K: Key, V: Value>(
        &mut self,
        topic: &str,
        consumed: Consumed<K, V>,
        store: Store<K, V>,
    ) -> GlobalKTable<K, V> {
        let graph = &self.graph;
        let queryable = store.settings.given;
        let store_name = match &store.name {
            Some(name) => Arc::clone(name),
            None => graph.borrow_mut().generate(&format!("{topic}-STATE-STORE-")),
        };
        let source_name = consumed.name.as_ref().map(|name| format!("{name}-source").into());
        let source_name = graph.borrow_mut().name(source_name, "KSTREAM-SOURCE-");
        let name = graph.borrow_mut().name(consumed.name.clone(), "KTABLE-SOURCE-");
        let key = serde_or_error(graph, store.key.or(consumed.key), &name, "key");
        let value = serde_or_error(graph, store.value.or(consumed.value), &name, "value");
        if store.settings.history.is_some() {
            let reason = String::from("a global table cannot be versioned; use `StreamsBuilder::table`");
            graph.borrow_mut().errors.push(TopologyError::Invalid { node: name.to_string(), reason });
        }
        let topics = vec![TopicName::External(topic.into())];
        let source = add_source(
            graph,
            Arc::clone(&source_name),
            topics,
            Arc::clone(&key),
            Arc::clone(&value),
            consumed.timestamp.clone(),
        );
        let key_of_node = Arc::clone(&key);
        // Never made into a node of a task: the global thread does its work, with `read` below.
        let node = graph.borrow_mut().add_processor(name, &[source], Vec::new(), move |wiring| {
            let key = Arc::clone(&key_of_node);
            Node::boxed(TableSource::<K, V> { key, kept: Kept::No, send_old: false, out: wiring.out() })
        });
        let (keys, values, timestamp) = (Arc::clone(&key), Arc::clone(&value), consumed.timestamp);
        let read: ReadGlobal = Arc::new(move |record: &RecordRef<'_>| {
            let decode = |what, source| Failure::Decode { node: (&*source_name).into(), what, source };
            let Some(key_bytes) = record.key else { return Ok(None) };
            let key = keys.decode(key_bytes).map_err(|e| decode("key", e))?;
            let value = record.value.map(|bytes| values.decode(bytes)).transpose();
            let value = value.map_err(|e| decode("value", e))?;
            let mut at = record.timestamp;
            if let Some(extract) = &timestamp {
                at = extract(&key, value.as_ref(), at);
            }
            if at < 0 || keys.is_null(&key) {
                return Ok(None);
            }
            let row = value.map(|value| (value, at));
            let mut bytes = Vec::new();
            let present = encode_value(&*values, row.as_ref(), &mut bytes).map_err(|e| decode("value", e))?;
            Ok(Some((key_bytes.to_vec(), present.then_some(bytes))))
        });
        let types = StoreTypes::<K, V> {
            keys: Arc::new(PlainKeys(Arc::clone(&key))),
            values: Arc::clone(&value),
            retention: None,
        };
        graph.borrow_mut().add_global(
            node,
            GlobalDef {
                topic: topic.into(),
                source,
                store: Arc::clone(&store_name),
                persistent: store.settings.persistent,
                types: Arc::new(types),
                read,
            },
        );
        GlobalKTable { graph: Rc::clone(graph), store: store_name, key, value, queryable }
    }
}

impl<K: Value, V: Value> KStream<K, V> {
    /// Joins each record with the row of a global table whose key `key` makes of the record; records without one are dropped. Nothing is
    /// repartitioned (Kafka Streams: `join` of a `GlobalKTable`).
    ///
    /// ```
    /// use vigie_streams::serde::Utf8;
    /// use vigie_streams::{Consumed, Produced, Store, StreamsBuilder, TopologyTestDriver};
    /// let mut builder = StreamsBuilder::new();
    /// let countries = builder.global_table("countries", Consumed::<String, String>::default(), Store::default());
    /// builder
    ///     .stream("visits", Consumed::<String, String>::default())
    ///     .join_global(&countries, |_, code| code.clone(), |_, _, country| country.clone())
    ///     .to("out", Produced::with(Utf8, Utf8));
    /// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
    /// driver.input("countries", Utf8, Utf8).pipe(&"no".into(), &"Norway".into(), 0)?;
    /// driver.input("visits", Utf8, Utf8).pipe(&"ann".into(), &"no".into(), 1)?;
    /// driver.input("visits", Utf8, Utf8).pipe(&"bob".into(), &"fr".into(), 2)?;
    /// let joined = driver.output("out", Utf8, Utf8).read_key_values()?;
    /// assert_eq!(joined, [(String::from("ann"), Some(String::from("Norway")))]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join_global<G: Key, T: Value, W: Value, R: Into<Option<G>>>(
        &self,
        table: &GlobalKTable<G, T>,
        key: impl Fn(&K, &V) -> R + Send + Sync + 'static,
        joiner: impl Fn(&K, &V, &T) -> W + Send + Sync + 'static,
    ) -> KStream<K, W> {
        let joiner: GlobalJoiner<K, V, T, W> = Arc::new(move |own, value, row| {
            joiner(own, value, row.expect("an inner join is only called with a row"))
        });
        self.join_whole(table, Arc::new(move |own, value| key(own, value).into()), joiner, false)
    }

    /// As [`join_global`](Self::join_global), but each record has a result, with `None` where there is no row (Kafka Streams: `leftJoin` of a
    /// `GlobalKTable`).
    ///
    /// ```
    /// use vigie_streams::serde::Utf8;
    /// use vigie_streams::{Consumed, Produced, Store, StreamsBuilder, TopologyTestDriver};
    /// let mut builder = StreamsBuilder::new();
    /// let countries = builder.global_table("countries", Consumed::<String, String>::default(), Store::named("countries"));
    /// builder
    ///     .stream("visits", Consumed::<String, String>::default())
    ///     .left_join_global(&countries, |_, code| Some(code.clone()), |_, code, country| country.unwrap_or(code).clone())
    ///     .to("out", Produced::with(Utf8, Utf8));
    /// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
    /// driver.input("visits", Utf8, Utf8).pipe(&"bob".into(), &"fr".into(), 2)?;
    /// let joined = driver.output("out", Utf8, Utf8).read_key_values()?;
    /// assert_eq!(joined, [(String::from("bob"), Some(String::from("fr")))]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn left_join_global<G: Key, T: Value, W: Value, R: Into<Option<G>>>(
        &self,
        table: &GlobalKTable<G, T>,
        key: impl Fn(&K, &V) -> R + Send + Sync + 'static,
        joiner: impl Fn(&K, &V, Option<&T>) -> W + Send + Sync + 'static,
    ) -> KStream<K, W> {
        self.join_whole(table, Arc::new(move |own, value| key(own, value).into()), Arc::new(joiner), true)
    }

    fn join_whole<G: Key, T: Value, W: Value>(
        &self,
        table: &GlobalKTable<G, T>,
        select: GlobalKey<K, V, G>,
        join: GlobalJoiner<K, V, T, W>,
        left: bool,
    ) -> KStream<K, W> {
        // Kafka Streams names inner joins so too.
        let name = self.name_for("KSTREAM-LEFTJOIN-");
        self.check_same_builder(&table.graph, &name);
        let (store, key, value) =
            (Arc::clone(&table.store), Arc::clone(&table.key), Arc::clone(&table.value));
        let node = self.graph.borrow_mut().add_processor(name, &[self.node], Vec::new(), move |wiring| {
            Node::boxed(JoinGlobal::<K, V, G, T, W> {
                join: Arc::clone(&join),
                select: Arc::clone(&select),
                key: Arc::clone(&key),
                left,
                table: GlobalRows::new(&store, Arc::clone(&key), Arc::clone(&value), wiring.globals),
                out: wiring.out(),
            })
        });
        if left {
            self.graph.borrow_mut().null_key_joins.push(node);
        }
        if TypeId::of::<V>() != TypeId::of::<W>() {
            self.graph.borrow_mut().notes.changes.insert(node, Changes::Values);
        }
        KStream::new(&self.graph, node, self.key.clone(), None, self.repartition)
    }
}
