//! Joins of a stream with a table: each record of the stream is looked up in the table as it is then.

use std::sync::Arc;

use super::builder::serde_or_error;
use super::operators::join_table::{JoinTable, Joiner};
use super::options::{Joined, Key, Value};
use super::stream::KStream;
use super::table::KTable;
use crate::error::TopologyError;
use crate::processor::Node;

impl<K: Key, V: Value> KStream<K, V> {
    /// Joins each record with the table's row of its key; records without one are dropped.
    pub fn join<T: Value, W: Value>(
        &self,
        table: &KTable<K, T>,
        joiner: impl Fn(&K, &V, &T) -> W + Send + Sync + 'static,
        joined: Joined<K, V>,
    ) -> KStream<K, W> {
        let joiner: Joiner<K, V, T, W> = Arc::new(move |key, value, row| {
            let row = row.expect("an inner join is only called with a row");
            joiner(key, &value, row)
        });
        self.join_table("KSTREAM-JOIN-", table, false, joiner, joined)
    }

    /// Joins each record with the table's row of its key, if there is one.
    pub fn left_join<T: Value, W: Value>(
        &self,
        table: &KTable<K, T>,
        joiner: impl Fn(&K, &V, Option<&T>) -> W + Send + Sync + 'static,
        joined: Joined<K, V>,
    ) -> KStream<K, W> {
        let joiner: Joiner<K, V, T, W> = Arc::new(move |key, value, row| joiner(key, &value, row));
        self.join_table("KSTREAM-LEFTJOIN-", table, true, joiner, joined)
    }

    fn join_table<T: Value, W: Value>(
        &self,
        prefix: &str,
        table: &KTable<K, T>,
        left: bool,
        join: Joiner<K, V, T, W>,
        joined: Joined<K, V>,
    ) -> KStream<K, W> {
        let graph = &self.graph;
        let own_name: Arc<str> = graph.borrow().node_name(self.node).into();
        let topic = joined.name.clone().unwrap_or(own_name);
        let given = joined.key.or_else(|| self.key.clone()).or_else(|| table.key.clone());
        let key = serde_or_error(graph, given, &topic, "key");
        let stream = self.repartition_if_needed(&topic, &key, || {
            serde_or_error(graph, joined.value.or_else(|| self.value.clone()), &topic, "value")
        });
        let name = graph.borrow_mut().name(joined.name.or_else(|| self.next_name.clone()), prefix);
        self.check_same_builder(&table.graph, &name);
        graph.borrow_mut().materialize(table.node);
        let Some(store) = table.store.clone() else {
            let reason = String::from(
                "the table it looks into has no key-value store; give it one (`filter_into`, `map_values_into`, `to_table`)",
            );
            graph.borrow_mut().errors.push(TopologyError::Invalid { node: name.to_string(), reason });
            return KStream::new(graph, stream.node, self.key.clone(), None, false);
        };
        let (key_of_node, of_node) = (Arc::clone(&key), Arc::clone(&store));
        let node = graph.borrow_mut().add_processor(name, &[stream.node], vec![store], move |wiring| {
            Node::boxed(JoinTable::<K, V, T, W> {
                join: Arc::clone(&join),
                key: Arc::clone(&key_of_node),
                left,
                table: wiring.store(&of_node),
                out: wiring.out(),
            })
        });
        let mut borrowed = graph.borrow_mut();
        let mut sources = borrowed.sources_above(node);
        sources.extend(borrowed.sources_above(table.node));
        borrowed.copartitioned.push((node, sources));
        drop(borrowed);
        KStream::new(graph, node, Some(key), None, false)
    }
}
