//! Joins of a stream with a table: each record of the stream is looked up in the table as it is then.

use std::sync::Arc;
use std::time::Duration;

use super::builder::serde_or_error;
use super::join_stores::waiting_def;
use super::operators::join_buffer::Waiting;
use super::operators::join_table::{JoinTable, Joiner};
use super::options::{Joined, Key, Value, millis};
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
        let given = joined.key.or_else(|| self.key.clone()).or_else(|| table.key.clone());
        let key = serde_or_error(graph, given, &own_name, "key");
        let value = joined.value.or_else(|| self.value.clone());
        let stream = if self.repartition {
            let value = serde_or_error(graph, value.clone(), &own_name, "value");
            self.repartition_for_join(&joined.name, "", &key, &value)
        } else {
            self.clone()
        };
        let name = graph.borrow_mut().name(joined.name.or_else(|| self.next_name.clone()), prefix);
        self.check_same_builder(&table.graph, &name);
        let view = table.view_for(&name);
        let mut stores = view.stores;
        let waiting = joined.grace.map(|grace| {
            let buffer: Arc<str> = format!("{name}-Buffer").into();
            self.check_grace(&name, grace, table.versioned, &stores);
            let value = serde_or_error(graph, value, &name, "value");
            graph.borrow_mut().add_store(waiting_def(&buffer, Arc::clone(&key), value));
            stores.push(Arc::clone(&buffer));
            (buffer, millis(grace))
        });
        let (key_of_node, make, versioned) = (Arc::clone(&key), view.make, table.versioned);
        let node = graph.borrow_mut().add_processor(name, &[stream.node], stores, move |wiring| {
            Node::boxed(JoinTable::<K, V, T, W> {
                join: Arc::clone(&join),
                key: Arc::clone(&key_of_node),
                left,
                table: make(wiring),
                versioned,
                waiting: waiting.as_ref().map(|(buffer, grace)| Waiting::new(wiring.store(buffer), *grace)),
                out: wiring.out(),
            })
        });
        let mut borrowed = graph.borrow_mut();
        let mut sources = borrowed.sources_above(node);
        sources.extend(borrowed.sources_above(table.node));
        borrowed.copartitioned.push((node, sources));
        if left {
            borrowed.null_key_joins.push(node);
        }
        drop(borrowed);
        KStream::new(graph, node, Some(key), None, false)
    }

    /// Records can only wait for a table that knows what it was, for as long as they wait.
    fn check_grace(&self, node: &str, grace: Duration, versioned: bool, stores: &[Arc<str>]) {
        let mut graph = self.graph.borrow_mut();
        let short = |name: &Arc<str>| {
            let store = graph.stores.iter().find(|store| store.name == *name);
            store.and_then(|store| store.history_ms).filter(|history| *history < millis(grace))
        };
        let reason = if !versioned {
            String::from("a grace period needs a versioned table; give it a store with `Store::versioned`")
        } else if let Some(history) = stores.iter().find_map(short) {
            let grace = millis(grace);
            format!(
                "the table keeps {history} ms of history, less than the grace period of {grace} ms; keep it longer"
            )
        } else {
            return;
        };
        graph.errors.push(TopologyError::Invalid { node: node.to_owned(), reason });
    }
}
