//! `TimeWindowedKStream`: a grouped stream, cut into tumbling or hopping windows.

use std::sync::Arc;

use super::builder::serde_or_error;
use super::grouped::{AGGREGATE, Prepared, REDUCE, prepare};
use super::operators::aggregate::Fold;
use super::operators::window_aggregate::WindowAggregate;
use super::options::{Grouped, Key, Store, Value};
use super::stores::window_def;
use super::stream::KStream;
use super::table::KTable;
use super::windows::TimeWindows;
use crate::error::TopologyError;
use crate::processor::Node;
use crate::record::Windowed;
use crate::serde::TimeWindowed;

/// A stream grouped by key and window. Records behind the grace of their window are dropped and counted as late.
pub struct TimeWindowedKStream<K, V> {
    pub(crate) stream: KStream<K, V>,
    pub(crate) grouped: Grouped<K, V>,
    pub(crate) windows: TimeWindows,
}

impl<K: Key, V: Value> TimeWindowedKStream<K, V> {
    /// Names the node that the next call adds.
    pub fn named(mut self, name: &str) -> Self {
        self.stream.next_name = Some(name.into());
        self
    }

    /// How many records each key has in each window.
    pub fn count(&self, store: Store<K, i64>) -> KTable<Windowed<K>, i64> {
        self.fold(AGGREGATE, store, Arc::new(|_, _, before| Some(before.unwrap_or(0) + 1)))
    }

    /// Combines the values of each key in each window, two at a time.
    pub fn reduce(
        &self,
        reducer: impl Fn(V, V) -> V + Send + Sync + 'static,
        mut store: Store<K, V>,
    ) -> KTable<Windowed<K>, V> {
        store.value =
            store.value.or_else(|| self.grouped.value.clone()).or_else(|| self.stream.value.clone());
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

    /// Folds the values of each key in each window into an aggregate that begins with `initial`; `None` removes it.
    pub fn aggregate<A: Value, R: Into<Option<A>>>(
        &self,
        initial: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K, &V, A) -> R + Send + Sync + 'static,
        store: Store<K, A>,
    ) -> KTable<Windowed<K>, A> {
        let fold = move |key: &K, value: V, before: Option<A>| {
            aggregator(key, &value, before.unwrap_or_else(&initial)).into()
        };
        self.fold(AGGREGATE, store, Arc::new(fold))
    }

    fn fold<A: Value>(
        &self,
        prefix: &str,
        store: Store<K, A>,
        fold: Fold<K, V, A>,
    ) -> KTable<Windowed<K>, A> {
        let prepared = prepare(&self.stream, &self.grouped, prefix, &store);
        let graph = &self.stream.graph;
        let value = serde_or_error(graph, store.value, &prepared.name, "aggregate");
        let Prepared { name, store_name, key, source } = prepared;
        let windows = self.windows;
        if let Err(reason) = windows.check() {
            let node = name.to_string();
            graph.borrow_mut().errors.push(TopologyError::Invalid { node, reason });
        }
        // Kafka Streams keeps windows a day by default; here exactly as long as records may still reach them.
        let kept = windows.size_ms.saturating_add(windows.grace_ms);
        let def = window_def(&store_name, &store.settings, Arc::clone(&key), Arc::clone(&value), kept);
        graph.borrow_mut().add_store(def);
        let (key_of_node, store_of_node) = (Arc::clone(&key), Arc::clone(&store_name));
        let stores = vec![store_name];
        let node = graph.borrow_mut().add_processor(name, &[source.node], stores, move |wiring| {
            Node::boxed(WindowAggregate::<K, V, A> {
                fold: Arc::clone(&fold),
                windows,
                key: Arc::clone(&key_of_node),
                store: wiring.store(&store_of_node),
                send_old: wiring.send_old,
                out: wiring.out(),
                observed: -1,
            })
        });
        let key = Arc::new(TimeWindowed::new(key, windows.size_ms));
        KTable::new(graph, node, Some(key), Some(value), None)
    }
}
