//! `KGroupedTable`: rows on their way to an aggregate, which follows them as they change.

use std::sync::Arc;

use super::builder::{GraphRef, add_source, serde_or_error};
use super::operators::sink::{Sink, Target};
use super::operators::table_aggregate::{Adder, ChangeSerde, Subtractor, TableAggregate};
use super::operators::versioned_aggregate::VersionedTableAggregate;
use super::options::{Key, Store, Value};
use super::stores::table_def;
use super::table::KTable;
use crate::processor::{Node, Wiring};
use crate::record::Change;
use crate::serde::SerdeRef;
use crate::topology::{NodeId, NodeKind, RepartitionDef, TopicName};

/// A table grouped by another key than its own.
pub struct KGroupedTable<K, V> {
    pub(crate) graph: GraphRef,
    pub(crate) node: NodeId,
    pub(crate) key: SerdeRef<K>,
    pub(crate) value: SerdeRef<V>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) next_name: Option<Arc<str>>,
}

impl<K: Key, V: Value> KGroupedTable<K, V> {
    /// Names the node that the next call adds.
    pub fn named(mut self, name: &str) -> Self {
        self.next_name = Some(name.into());
        self
    }

    /// How many rows each group has now.
    pub fn count(&self, store: Store<K, i64>) -> KTable<K, i64> {
        let add: Adder<K, V, i64> = Arc::new(|_, _, before| Some(before.unwrap_or(0) + 1));
        self.fold("KTABLE-AGGREGATE-", store, add, Arc::new(|_, _, before| Some(before - 1)))
    }

    /// Combines the rows of each group: `add` for a row that comes, `subtract` for one that leaves.
    pub fn reduce(
        &self,
        add: impl Fn(V, V) -> V + Send + Sync + 'static,
        subtract: impl Fn(V, V) -> V + Send + Sync + 'static,
        mut store: Store<K, V>,
    ) -> KTable<K, V> {
        store.value = store.value.or_else(|| Some(Arc::clone(&self.value)));
        let adder: Adder<K, V, V> = Arc::new(move |_, row, before| {
            Some(match before {
                Some(before) => add(before, row),
                None => row,
            })
        });
        let subtractor = Arc::new(move |_: &K, row, before| Some(subtract(before, row)));
        self.fold("KTABLE-REDUCE-", store, adder, subtractor)
    }

    /// Folds the rows of each group: `add` for a row that comes, `subtract` for one that leaves.
    pub fn aggregate<A: Value, R: Into<Option<A>>, S: Into<Option<A>>>(
        &self,
        initial: impl Fn() -> A + Send + Sync + 'static,
        add: impl Fn(&K, &V, A) -> R + Send + Sync + 'static,
        subtract: impl Fn(&K, &V, A) -> S + Send + Sync + 'static,
        store: Store<K, A>,
    ) -> KTable<K, A> {
        let adder: Adder<K, V, A> =
            Arc::new(move |key, row, before| add(key, &row, before.unwrap_or_else(&initial)).into());
        let subtractor = Arc::new(move |key: &K, row: V, before: A| subtract(key, &row, before).into());
        self.fold("KTABLE-AGGREGATE-", store, adder, subtractor)
    }

    fn fold<A: Value>(
        &self,
        prefix: &str,
        store: Store<K, A>,
        add: Adder<K, V, A>,
        subtract: Subtractor<K, V, A>,
    ) -> KTable<K, A> {
        let graph = &self.graph;
        let (store_name, sink_name, source_name, name) = {
            let mut graph = graph.borrow_mut();
            let store_name = match &store.name {
                Some(name) => Arc::clone(name),
                None => graph.generate(&format!("{prefix}STATE-STORE-")),
            };
            (
                store_name,
                graph.generate("KSTREAM-SINK-"),
                graph.generate("KSTREAM-SOURCE-"),
                graph.name(self.next_name.clone(), prefix),
            )
        };
        let topic: Arc<str> = format!("{}-repartition", self.name.as_deref().unwrap_or(&store_name)).into();
        let topic_name = TopicName::Internal(Arc::clone(&topic));
        let changes: SerdeRef<Change<V>> = Arc::new(ChangeSerde(Arc::clone(&self.value)));
        let (key, value) = (Arc::clone(&self.key), Arc::clone(&changes));
        let (node_name, target) = (Arc::clone(&sink_name), topic_name.clone());
        let factory = Arc::new(move |wiring: &mut Wiring<'_>| {
            let target = target.resolve(wiring.application_id);
            Node::boxed(Sink::<K, Change<V>> {
                name: Arc::clone(&node_name),
                target: Target::Fixed(wiring.outputs.index(&target)),
                key: Arc::clone(&key),
                value: Arc::clone(&value),
                partitioner: None,
            })
        });
        {
            let mut graph = graph.borrow_mut();
            let kind = NodeKind::Sink { topic: Some(topic_name.clone()), factory };
            graph.add(sink_name, kind, &[self.node], Vec::new());
            graph.repartitions.push(RepartitionDef { name: topic, partitions: None });
        }
        let source = add_source(graph, source_name, vec![topic_name], Arc::clone(&self.key), changes, None);
        let key = store.key.unwrap_or_else(|| Arc::clone(&self.key));
        let value = serde_or_error(graph, store.value, &name, "aggregate");
        let def = table_def(&store_name, &store.settings, Arc::clone(&key), Arc::clone(&value));
        let versioned = store.settings.history.is_some();
        graph.borrow_mut().add_store(def);
        let of_node = Arc::clone(&store_name);
        let stores = vec![Arc::clone(&store_name)];
        let node = graph.borrow_mut().add_processor(name, &[source], stores, move |wiring| {
            let (add, subtract) = (Arc::clone(&add), Arc::clone(&subtract));
            let (store, send_old) = (wiring.store(&of_node), wiring.send_old);
            if versioned {
                let out = wiring.out();
                Node::boxed(VersionedTableAggregate::<K, V, A> { add, subtract, store, send_old, out })
            } else {
                let out = wiring.out();
                Node::boxed(TableAggregate::<K, V, A> { add, subtract, store, send_old, out })
            }
        });
        KTable::new(graph, node, Some(key), Some(value), Some(store_name)).with_history(versioned)
    }
}
