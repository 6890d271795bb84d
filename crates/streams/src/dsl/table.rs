//! `KTable`: the last value of each key.

use std::rc::Rc;
use std::sync::Arc;

use super::builder::{GraphRef, serde_or_error};
use super::grouped_table::KGroupedTable;
use super::operators::table::{Kept, RowMap, TableMap, ToStream};
use super::operators::table_aggregate::TableSelect;
use super::options::{Grouped, Key, Store, Value};
use super::stores::table_def;
use super::stream::KStream;
use super::view::{self, View, ViewOf};
use crate::error::TopologyError;
use crate::processor::Node;
use crate::serde::SerdeRef;
use crate::topology::NodeId;

/// A table: rows by key, changing with time.
pub struct KTable<K, V> {
    pub(crate) graph: GraphRef,
    pub(crate) node: NodeId,
    pub(crate) key: Option<SerdeRef<K>>,
    pub(crate) value: Option<SerdeRef<V>>,
    /// The key-value store that holds the rows, real or not yet.
    pub(crate) store: Option<Arc<str>>,
    /// Whether the rows come with their history.
    pub(crate) versioned: bool,
    /// How joins look into the table.
    pub(crate) view: ViewOf<K, V>,
    pub(crate) next_name: Option<Arc<str>>,
}

impl<K, V> Clone for KTable<K, V> {
    fn clone(&self) -> Self {
        Self {
            graph: Rc::clone(&self.graph),
            node: self.node,
            key: self.key.clone(),
            value: self.value.clone(),
            store: self.store.clone(),
            versioned: self.versioned,
            view: Rc::clone(&self.view),
            next_name: self.next_name.clone(),
        }
    }
}

impl<K: Key, V: Value> KTable<K, V> {
    pub(crate) fn new(
        graph: &GraphRef,
        node: NodeId,
        key: Option<SerdeRef<K>>,
        value: Option<SerdeRef<V>>,
        store: Option<Arc<str>>,
    ) -> Self {
        let (graph_of_view, of_view) = (Rc::clone(graph), store.clone());
        // Looking into a table keeps it, if it is not kept yet.
        let view: ViewOf<K, V> = Rc::new(move || {
            let store = of_view.clone()?;
            graph_of_view.borrow_mut().materialize(node);
            Some(view::of_store(store, false))
        });
        Self { graph: Rc::clone(graph), node, key, value, store, versioned: false, view, next_name: None }
    }

    /// The same table, whose rows are looked up in this way.
    pub(crate) fn seen_through(mut self, versioned: bool, view: ViewOf<K, V>) -> Self {
        self.versioned = versioned;
        self.view = view;
        self
    }

    /// The same table, whose rows are in a versioned store.
    pub(crate) fn with_history(self, versioned: bool) -> Self {
        let Some(store) = self.store.clone().filter(|_| versioned) else { return self };
        let (graph, node) = (Rc::clone(&self.graph), self.node);
        self.seen_through(
            true,
            Rc::new(move || {
                graph.borrow_mut().materialize(node);
                Some(view::of_store(Arc::clone(&store), true))
            }),
        )
    }

    /// What a node needs to look into the table; if it cannot be looked into, `build()` will say so.
    pub(crate) fn view_for(&self, node: &str) -> View<K, V> {
        (self.view)().unwrap_or_else(|| {
            let reason = String::from(
                "the table it looks into has no rows that can be looked up by key; give it a store (`filter_into`, `map_values_into`, `to_table`)",
            );
            self.graph.borrow_mut().errors.push(TopologyError::Invalid { node: node.to_owned(), reason });
            view::nothing()
        })
    }

    /// Names the node that the next call adds.
    pub fn named(&self, name: &str) -> Self {
        Self { next_name: Some(name.into()), ..self.clone() }
    }

    /// The name of the store that can be queried, if this table has one.
    pub fn queryable_store_name(&self) -> Option<&str> {
        let graph = self.graph.borrow();
        self.store.as_deref().filter(|name| graph.stores.iter().any(|store| &*store.name == *name))
    }

    fn mapped<W: Value>(
        &self,
        prefix: &str,
        filter: bool,
        map: RowMap<K, V, W>,
        value: Option<SerdeRef<W>>,
        store: Store<K, W>,
    ) -> KTable<K, W> {
        let (name, store_name) = {
            let mut graph = self.graph.borrow_mut();
            let name = graph.name(self.next_name.clone(), prefix);
            // A store that nobody asked for is named after the node, so that it uses up no number.
            let unnamed = || format!("{name}-STATE-STORE").into();
            let store_name = store.name.clone().unwrap_or_else(unnamed);
            (name, store_name)
        };
        let value = store.value.or(value).or_else(|| self.graph.borrow().serdes.get::<W>());
        let key = store.key.or_else(|| self.key.clone()).or_else(|| self.graph.borrow().serdes.get::<K>());
        let given = store.settings.given;
        let versioned = if given { store.settings.history.is_some() } else { self.versioned };
        // A filter over a kept table knows which rows were there, and leaves out what changes nothing.
        let sends_old = filter && self.graph.borrow_mut().send_old_if_kept(self.node);
        let (of_node, of_map) = (Arc::clone(&store_name), Arc::clone(&map));
        let drops_nothings = filter && !self.versioned;
        let node = self.graph.borrow_mut().add_processor(name, &[self.node], Vec::new(), move |wiring| {
            Node::boxed(TableMap::<K, V, W> {
                map: Arc::clone(&of_map),
                drops_nothings,
                kept: Kept::of(wiring, &of_node, versioned),
                send_old: wiring.send_old,
                out: wiring.out(),
            })
        });
        let mut graph = self.graph.borrow_mut();
        if sends_old && let Some(def) = graph.nodes.get_mut(node) {
            def.send_old = true;
        }
        if !given {
            graph.table_parents.insert(node, self.node);
            drop(graph);
            let parent = Rc::clone(&self.view);
            let view: ViewOf<K, W> = Rc::new(move || Some(view::mapped(parent()?, &map)));
            return KTable::new(&self.graph, node, key, value, None).seen_through(versioned, view);
        }
        drop(graph);
        let node_name = self.graph.borrow().node_name(node);
        let key = serde_or_error::<K>(&self.graph, key, &node_name, "key");
        let value = serde_or_error::<W>(&self.graph, value, &node_name, "value");
        let def = table_def(&store_name, &store.settings, Arc::clone(&key), Arc::clone(&value));
        let mut graph = self.graph.borrow_mut();
        graph.lazy_stores.insert(node, def);
        graph.materialize(node);
        drop(graph);
        KTable::new(&self.graph, node, Some(key), Some(value), Some(store_name)).with_history(versioned)
    }

    /// The rows that match; a row that stops matching is removed.
    pub fn filter(&self, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> KTable<K, V> {
        self.filter_into(predicate, Store::default())
    }

    /// As [`filter`](Self::filter), kept in a store.
    pub fn filter_into(
        &self,
        predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static,
        store: Store<K, V>,
    ) -> KTable<K, V> {
        let map: RowMap<K, V, V> = Arc::new(move |key, row| predicate(key, row).then(|| row.clone()));
        self.mapped("KTABLE-FILTER-", true, map, self.value.clone(), store)
    }

    /// The rows that do not match.
    pub fn filter_not(&self, predicate: impl Fn(&K, &V) -> bool + Send + Sync + 'static) -> KTable<K, V> {
        self.filter(move |key, row| !predicate(key, row))
    }

    /// Each row with a new value.
    pub fn map_values<W: Value>(&self, mapper: impl Fn(&K, &V) -> W + Send + Sync + 'static) -> KTable<K, W> {
        self.map_values_into(mapper, Store::default())
    }

    /// As [`map_values`](Self::map_values), kept in a store.
    pub fn map_values_into<W: Value>(
        &self,
        mapper: impl Fn(&K, &V) -> W + Send + Sync + 'static,
        store: Store<K, W>,
    ) -> KTable<K, W> {
        let map: RowMap<K, V, W> = Arc::new(move |key, row| Some(mapper(key, row)));
        self.mapped("KTABLE-MAPVALUES-", false, map, None, store)
    }

    /// The updates of the table; a removed row is a tombstone.
    pub fn to_stream(&self) -> KStream<K, V> {
        let name = self.graph.borrow_mut().name(self.next_name.clone(), "KTABLE-TOSTREAM-");
        let node = self.graph.borrow_mut().add_processor(name, &[self.node], Vec::new(), |wiring| {
            Node::boxed(ToStream::<K, V> { out: wiring.out() })
        });
        KStream::new(&self.graph, node, self.key.clone(), self.value.clone(), false)
    }

    /// Groups the rows by another key; when a row changes, its old value leaves its old group.
    pub fn group_by<L: Key, W: Value>(
        &self,
        select: impl Fn(&K, &V) -> (L, W) + Send + Sync + 'static,
        grouped: Grouped<L, W>,
    ) -> KGroupedTable<L, W> {
        let given = grouped.name.clone().or_else(|| self.next_name.clone());
        let name = self.graph.borrow_mut().name(given, "KTABLE-SELECT-");
        let key = serde_or_error(&self.graph, grouped.key, &name, "key");
        let value = serde_or_error(&self.graph, grouped.value, &name, "value");
        self.graph.borrow_mut().send_old(self.node);
        let select: super::operators::table_aggregate::Regroup<K, V, L, W> = Arc::new(select);
        let (key_of_node, versioned) = (Arc::clone(&key), self.versioned);
        let node = self.graph.borrow_mut().add_processor(name, &[self.node], Vec::new(), move |wiring| {
            Node::boxed(TableSelect {
                select: Arc::clone(&select),
                key: Arc::clone(&key_of_node),
                versioned,
                out: wiring.out(),
            })
        });
        KGroupedTable { graph: Rc::clone(&self.graph), node, key, value, name: grouped.name, next_name: None }
    }
}
