//! Joins of two tables by their keys.

use std::rc::Rc;
use std::sync::Arc;

use super::builder::serde_or_error;
use super::operators::join_tables::{JoinedLook, Merge, Needs, RowJoiner, TableSide};
use super::operators::table::Kept;
use super::options::{Key, Store, Value};
use super::stores::table_def;
use super::table::KTable;
use super::view::{Look, View, ViewOf};
use crate::processor::Node;

impl<K: Key, V: Value> KTable<K, V> {
    /// The rows that both tables have, joined; follows both tables as they change (Kafka Streams: `join` of a `KTable`). A result has the
    /// larger of both rows' times.
    ///
    /// ```
    /// use vigie_streams::serde::{I64, Utf8};
    /// use vigie_streams::{Consumed, Headers, Produced, Store, StreamsBuilder, TopologyTestDriver};
    /// let mut builder = StreamsBuilder::new();
    /// let stock = builder.table("stock", Consumed::<String, i64>::default(), Store::default());
    /// let prices = builder.table("prices", Consumed::<String, i64>::default(), Store::default());
    /// stock.join(&prices, |_, pieces, price| pieces * price).to_stream().to("worth", Produced::with(Utf8, I64));
    /// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
    /// driver.input("stock", Utf8, I64).pipe(&"tea".into(), &3, 10)?;
    /// driver.input("prices", Utf8, I64).pipe(&"tea".into(), &5, 20)?;
    /// driver.input("stock", Utf8, I64).pipe_with(&"tea".into(), None, 30, Headers::new())?;
    /// let worth = driver.output("worth", Utf8, I64).read_key_values()?;
    /// assert_eq!(worth, [("tea".into(), Some(15)), ("tea".into(), None)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join<T: Value, W: Value>(
        &self,
        other: &KTable<K, T>,
        joiner: impl Fn(&K, &V, &T) -> W + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.join_into(other, joiner, Store::default())
    }

    /// As [`join`](Self::join), kept in a store.
    pub fn join_into<T: Value, W: Value>(
        &self,
        other: &KTable<K, T>,
        joiner: impl Fn(&K, &V, &T) -> W + Send + Sync + 'static,
        store: Store<K, W>,
    ) -> KTable<K, W> {
        let joiner: RowJoiner<K, V, T, W> = Arc::new(move |key, left, right| {
            let left = left.expect("an inner join is only called with both rows");
            joiner(key, left, right.expect("an inner join is only called with both rows"))
        });
        self.join_tables(other, joiner, (Needs::Both, Needs::Both), store)
    }

    /// The rows of this table, each joined with the other table's row if it has one (Kafka Streams: `leftJoin`).
    ///
    /// ```
    /// use vigie_streams::serde::{I64, Utf8};
    /// use vigie_streams::{Consumed, Produced, Store, StreamsBuilder, TopologyTestDriver};
    /// let mut builder = StreamsBuilder::new();
    /// let names = builder.table("names", Consumed::<i64, String>::default(), Store::default());
    /// let cities = builder.table("cities", Consumed::<i64, String>::default(), Store::default());
    /// names
    ///     .left_join(&cities, |_, name, city| format!("{name} of {}", city.map_or("nowhere", String::as_str)))
    ///     .to_stream()
    ///     .to("out", Produced::with(I64, Utf8));
    /// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
    /// driver.input("names", I64, Utf8).pipe(&1, &"Ann".into(), 10)?;
    /// driver.input("cities", I64, Utf8).pipe(&1, &"Oslo".into(), 5)?;
    /// let rows = driver.output("out", I64, Utf8).read()?;
    /// let rows: Vec<_> = rows.into_iter().map(|row| (row.value.unwrap(), row.timestamp)).collect();
    /// assert_eq!(rows, [(String::from("Ann of nowhere"), 10), (String::from("Ann of Oslo"), 10)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn left_join<T: Value, W: Value>(
        &self,
        other: &KTable<K, T>,
        joiner: impl Fn(&K, &V, Option<&T>) -> W + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.left_join_into(other, joiner, Store::default())
    }

    /// As [`left_join`](Self::left_join), kept in a store.
    pub fn left_join_into<T: Value, W: Value>(
        &self,
        other: &KTable<K, T>,
        joiner: impl Fn(&K, &V, Option<&T>) -> W + Send + Sync + 'static,
        store: Store<K, W>,
    ) -> KTable<K, W> {
        let joiner: RowJoiner<K, V, T, W> = Arc::new(move |key, left, right| {
            joiner(key, left.expect("a left join is only called with a left row"), right)
        });
        self.join_tables(other, joiner, (Needs::This, Needs::Other), store)
    }

    /// The rows that either table has, joined (Kafka Streams: `outerJoin`). At least one side is there.
    ///
    /// ```
    /// use vigie_streams::serde::{I64, Utf8};
    /// use vigie_streams::{Consumed, Produced, Store, StreamsBuilder, TopologyTestDriver};
    /// let mut builder = StreamsBuilder::new();
    /// let bought = builder.table("bought", Consumed::<String, i64>::default(), Store::default());
    /// let sold = builder.table("sold", Consumed::<String, i64>::default(), Store::default());
    /// bought
    ///     .outer_join(&sold, |_, bought, sold| bought.copied().unwrap_or(0) - sold.copied().unwrap_or(0))
    ///     .to_stream()
    ///     .to("left", Produced::with(Utf8, I64));
    /// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
    /// driver.input("sold", Utf8, I64).pipe(&"tea".into(), &2, 0)?;
    /// driver.input("bought", Utf8, I64).pipe(&"tea".into(), &9, 1)?;
    /// let left = driver.output("left", Utf8, I64).read_key_values()?;
    /// assert_eq!(left, [("tea".into(), Some(-2)), ("tea".into(), Some(7))]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn outer_join<T: Value, W: Value>(
        &self,
        other: &KTable<K, T>,
        joiner: impl Fn(&K, Option<&V>, Option<&T>) -> W + Send + Sync + 'static,
    ) -> KTable<K, W> {
        self.outer_join_into(other, joiner, Store::default())
    }

    /// As [`outer_join`](Self::outer_join), kept in a store.
    pub fn outer_join_into<T: Value, W: Value>(
        &self,
        other: &KTable<K, T>,
        joiner: impl Fn(&K, Option<&V>, Option<&T>) -> W + Send + Sync + 'static,
        store: Store<K, W>,
    ) -> KTable<K, W> {
        self.join_tables(other, Arc::new(joiner), (Needs::Either, Needs::Either), store)
    }

    fn join_tables<T: Value, W: Value>(
        &self,
        other: &KTable<K, T>,
        joiner: RowJoiner<K, V, T, W>,
        needs: (Needs, Needs),
        store: Store<K, W>,
    ) -> KTable<K, W> {
        let graph = &self.graph;
        let (store_name, merge, this_name, other_name) = {
            let mut graph = graph.borrow_mut();
            let given = self.next_name.as_deref();
            let suffixed = |suffix: &str| given.map(|name| Arc::<str>::from(format!("{name}{suffix}")));
            let store_name = match &store.name {
                Some(name) => Some(Arc::clone(name)),
                None => store.settings.given.then(|| graph.generate("KTABLE-MERGE-STATE-STORE-")),
            };
            let merge = graph.name(given.map(Arc::from), "KTABLE-MERGE-");
            let this_name = graph.name(suffixed("-join-this"), "KTABLE-JOINTHIS-");
            let other_name = graph.name(suffixed("-join-other"), "KTABLE-JOINOTHER-");
            (store_name, merge, this_name, other_name)
        };
        if !Rc::ptr_eq(graph, &other.graph) {
            let node = merge.to_string();
            graph.borrow_mut().errors.push(crate::error::TopologyError::ForeignStream { node });
            return KTable::new(graph, self.node, self.key.clone(), None, None);
        }
        // What an outer side loses must be taken back from the result.
        if needs.0 != Needs::Both {
            graph.borrow_mut().send_old(self.node);
        }
        if needs.0 == Needs::Either {
            graph.borrow_mut().send_old(other.node);
        }
        let key = store.key.clone().or_else(|| self.key.clone());
        let key = serde_or_error(graph, key, &merge, "key");
        let (this_view, other_view) = (self.view_for(&merge), other.view_for(&merge));
        let turned = Arc::clone(&joiner);
        let turned: RowJoiner<K, T, V, W> = Arc::new(move |key, right, left| turned(key, left, right));
        let left = self.add_side(this_name, &other_view, &joiner, needs.0, &key);
        let right = other.add_side(other_name, &this_view, &turned, needs.1, &key);
        let versioned = store.settings.history.is_some();
        let of_node = store_name.clone();
        let merge_name = merge.to_string();
        let mut borrowed = graph.borrow_mut();
        let node = borrowed.add_processor(merge, &[left, right], Vec::new(), move |wiring| {
            let kept = of_node.as_deref().map_or(Kept::No, |name| Kept::of(wiring, name, versioned));
            Node::boxed(Merge::<K, W> { kept, send_old: wiring.send_old, out: wiring.out() })
        });
        for (node, parents) in [
            (left, vec![self.node, other.node]),
            (right, vec![self.node, other.node]),
            (node, vec![left, right]),
        ] {
            borrowed.merged_tables.insert(node, parents);
        }
        let sources = borrowed.sources_above(node);
        borrowed.copartitioned.push((node, sources));
        drop(borrowed);
        let Some(store_name) = store_name else {
            let (this, that, joiner) = (Rc::clone(&self.view), Rc::clone(&other.view), joiner);
            let view: ViewOf<K, W> = Rc::new(move || Some(joined_view(this()?, that()?, &joiner, needs.0)));
            return KTable::new(graph, node, Some(key), store.value, None).seen_through(false, view);
        };
        let value = serde_or_error(graph, store.value, &merge_name, "value");
        let def = table_def(&store_name, &store.settings, Arc::clone(&key), Arc::clone(&value));
        let mut borrowed = graph.borrow_mut();
        borrowed.lazy_stores.insert(node, def);
        borrowed.materialize(node);
        drop(borrowed);
        KTable::new(graph, node, Some(key), Some(value), Some(store_name)).with_history(versioned)
    }

    fn add_side<T: Value, W: Value>(
        &self,
        name: Arc<str>,
        other: &View<K, T>,
        joiner: &RowJoiner<K, V, T, W>,
        needs: Needs,
        key: &crate::serde::SerdeRef<K>,
    ) -> crate::topology::NodeId {
        let (make, join, key) = (Arc::clone(&other.make), Arc::clone(joiner), Arc::clone(key));
        let versioned = self.versioned;
        let stores = other.stores.clone();
        self.graph.borrow_mut().add_processor(name, &[self.node], stores, move |wiring| {
            Node::boxed(TableSide::<K, V, T, W> {
                join: Arc::clone(&join),
                needs,
                key: Arc::clone(&key),
                other: make(wiring),
                versioned,
                send_old: wiring.send_old,
                out: wiring.out(),
            })
        })
    }
}

/// The view of a join that is not kept: it looks into both tables.
fn joined_view<K: Key, V: Value, T: Value, W: Value>(
    this: View<K, V>,
    other: View<K, T>,
    joiner: &RowJoiner<K, V, T, W>,
    needs: Needs,
) -> View<K, W> {
    let mut stores = this.stores;
    stores.extend(other.stores.into_iter().filter(|name| !stores.contains(name)).collect::<Vec<_>>());
    let (this, other, joiner) = (this.make, other.make, Arc::clone(joiner));
    let make = Arc::new(move |wiring: &crate::processor::Wiring<'_>| {
        Box::new(JoinedLook { join: Arc::clone(&joiner), needs, this: this(wiring), other: other(wiring) })
            as Box<dyn Look<K, W>>
    });
    View { stores, make }
}
