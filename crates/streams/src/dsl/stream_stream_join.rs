//! Joins of two streams.

use std::marker::PhantomData;
use std::sync::Arc;

use super::builder::{GraphRef, serde_or_error};
use super::join_options::StreamJoined;
use super::join_stores::{lonely_def, side_def};
use super::join_windows::JoinWindows;
use super::operators::join_self::JoinSelf;
use super::operators::join_streams::{JoinOutput, JoinSide, KeepForJoin, Side};
use super::operators::join_tables::RowJoiner;
use super::options::{Key, Value, millis};
use super::stream::KStream;
use crate::error::TopologyError;
use crate::processor::Node;
use crate::serde::SerdeRef;
use crate::topology::{JoinOfStreams, NodeFactory, NodeId};

/// Which sides' records are joined with nothing when they find no partner.
#[derive(Clone, Copy)]
struct Outer {
    left: bool,
    right: bool,
}

impl<K: Key, V: Value> KStream<K, V> {
    /// Joins each record with the records of equal key in the other stream whose time is within the window (Kafka Streams: `join` of a
    /// `KStream`). The result has the larger of both times. Null keys and null values are skipped.
    ///
    /// ```
    /// use std::time::Duration;
    /// use vigie_streams::serde::Utf8;
    /// use vigie_streams::{Consumed, JoinWindows, Produced, StreamJoined, StreamsBuilder, TopologyTestDriver};
    /// let mut builder = StreamsBuilder::new();
    /// let views = builder.stream("views", Consumed::<String, String>::default());
    /// let clicks = builder.stream("clicks", Consumed::<String, String>::default());
    /// let window = JoinWindows::of_time_difference_and_grace(Duration::from_secs(10), Duration::from_secs(1));
    /// views
    ///     .join_stream(&clicks, |_, view, click| format!("{view}+{click}"), window, StreamJoined::default())
    ///     .to("out", Produced::with(Utf8, Utf8));
    /// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
    /// driver.input("views", Utf8, Utf8).pipe(&"user".into(), &"page".into(), 1_000)?;
    /// driver.input("clicks", Utf8, Utf8).pipe(&"user".into(), &"buy".into(), 11_000)?;
    /// driver.input("clicks", Utf8, Utf8).pipe(&"user".into(), &"too late".into(), 11_001)?;
    /// let joined = driver.output("out", Utf8, Utf8).read_key_values()?;
    /// assert_eq!(joined, [(String::from("user"), Some(String::from("page+buy")))]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join_stream<T: Value, W: Value>(
        &self,
        other: &KStream<K, T>,
        joiner: impl Fn(&K, &V, &T) -> W + Send + Sync + 'static,
        windows: JoinWindows,
        joined: StreamJoined<K, V, T>,
    ) -> KStream<K, W> {
        let both: RowJoiner<K, V, T, W> = Arc::new(move |key, left, right| {
            let left = left.expect("an inner join is only called with both sides");
            joiner(key, left, right.expect("an inner join is only called with both sides"))
        });
        self.join_streams(other, both, Outer { left: false, right: false }, windows, joined)
    }

    /// As [`join_stream`](Self::join_stream), and each record of this stream that found no partner is joined with nothing, once its window
    /// and the grace are over (Kafka Streams: `leftJoin`). A null key finds no partner and is joined with nothing at once.
    ///
    /// ```
    /// use std::time::Duration;
    /// use vigie_streams::serde::Utf8;
    /// use vigie_streams::{Consumed, JoinWindows, Produced, StreamJoined, StreamsBuilder, TopologyTestDriver};
    /// let mut builder = StreamsBuilder::new();
    /// let orders = builder.stream("orders", Consumed::<String, String>::default());
    /// let payments = builder.stream("payments", Consumed::<String, String>::default());
    /// let window = JoinWindows::of_time_difference_with_no_grace(Duration::from_secs(10));
    /// let paid = |_: &String, order: &String, payment: Option<&String>| match payment {
    ///     Some(payment) => format!("{order} paid by {payment}"),
    ///     None => format!("{order} not paid"),
    /// };
    /// orders.left_join_stream(&payments, paid, window, StreamJoined::default()).to("out", Produced::with(Utf8, Utf8));
    /// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
    /// driver.input("orders", Utf8, Utf8).pipe(&"a".into(), &"tea".into(), 1_000)?;
    /// assert!(driver.read_raw("out").is_empty()); // a payment may still come
    /// driver.input("orders", Utf8, Utf8).pipe(&"b".into(), &"coffee".into(), 11_001)?;
    /// let joined = driver.output("out", Utf8, Utf8).read_key_values()?;
    /// assert_eq!(joined, [(String::from("a"), Some(String::from("tea not paid")))]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn left_join_stream<T: Value, W: Value>(
        &self,
        other: &KStream<K, T>,
        joiner: impl Fn(&K, &V, Option<&T>) -> W + Send + Sync + 'static,
        windows: JoinWindows,
        joined: StreamJoined<K, V, T>,
    ) -> KStream<K, W> {
        let both: RowJoiner<K, V, T, W> = Arc::new(move |key, left, right| {
            joiner(key, left.expect("a left join is only called with a left side"), right)
        });
        self.join_streams(other, both, Outer { left: true, right: false }, windows, joined)
    }

    /// As [`left_join_stream`](Self::left_join_stream) for both streams (Kafka Streams: `outerJoin`). At least one side is there.
    ///
    /// ```
    /// use std::time::Duration;
    /// use vigie_streams::serde::Utf8;
    /// use vigie_streams::{Consumed, JoinWindows, Produced, StreamJoined, StreamsBuilder, TopologyTestDriver};
    /// let mut builder = StreamsBuilder::new();
    /// let ours = builder.stream("ours", Consumed::<String, String>::default());
    /// let theirs = builder.stream("theirs", Consumed::<String, String>::default());
    /// let window = JoinWindows::of_time_difference_with_no_grace(Duration::from_secs(1));
    /// ours.outer_join_stream(&theirs, |_, a, b| format!("{a:?} {b:?}"), window, StreamJoined::default())
    ///     .to("out", Produced::with(Utf8, Utf8));
    /// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
    /// driver.input("theirs", Utf8, Utf8).pipe(&"k".into(), &"b".into(), 0)?;
    /// driver.input("ours", Utf8, Utf8).pipe(&"k".into(), &"a".into(), 1_001)?;
    /// let joined = driver.output("out", Utf8, Utf8).read_key_values()?;
    /// assert_eq!(joined, [(String::from("k"), Some(String::from("None Some(\"b\")")))]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn outer_join_stream<T: Value, W: Value>(
        &self,
        other: &KStream<K, T>,
        joiner: impl Fn(&K, Option<&V>, Option<&T>) -> W + Send + Sync + 'static,
        windows: JoinWindows,
        joined: StreamJoined<K, V, T>,
    ) -> KStream<K, W> {
        self.join_streams(other, Arc::new(joiner), Outer { left: true, right: true }, windows, joined)
    }

    fn join_streams<T: Value, W: Value>(
        &self,
        other: &KStream<K, T>,
        both: RowJoiner<K, V, T, W>,
        outer: Outer,
        windows: JoinWindows,
        joined: StreamJoined<K, V, T>,
    ) -> KStream<K, W> {
        let graph = &self.graph;
        let own_name: Arc<str> = graph.borrow().node_name(self.node).into();
        let given = joined.name.clone().or_else(|| self.next_name.clone());
        let key = joined.key.clone().or_else(|| self.key.clone()).or_else(|| other.key.clone());
        let key = serde_or_error(graph, key, &own_name, "key");
        let value =
            serde_or_error(graph, joined.value.clone().or_else(|| self.value.clone()), &own_name, "value");
        let other_name: Arc<str> = graph.borrow().node_name(other.node).into();
        let other_value = joined.other.clone().or_else(|| other.value.clone());
        let other_value = serde_or_error(graph, other_value, &other_name, "value");
        let this = self.repartition_for_join(&given, "-left", &key, &value);
        let that = other.repartition_for_join(&given, "-right", &key, &other_value);
        let names = Names::of(graph, given.as_deref(), &joined, outer);
        self.check_same_builder(&other.graph, &names.merge);
        if let Err(reason) = windows.check() {
            let node = names.merge.to_string();
            graph.borrow_mut().errors.push(TopologyError::Invalid { node, reason });
        }
        let settings = &joined.settings;
        let mut borrowed = graph.borrow_mut();
        borrowed.add_store(side_def(
            &names.this_store,
            settings,
            Arc::clone(&key),
            Arc::clone(&value),
            windows,
        ));
        let def = side_def(&names.other_store, settings, Arc::clone(&key), Arc::clone(&other_value), windows);
        borrowed.add_store(def);
        if let Some(name) = &names.lonely {
            borrowed.add_store(lonely_def(name, settings, Arc::clone(&key), value, other_value));
        }
        drop(borrowed);
        let kept_this = keep::<K, V>(graph, names.this_kept, this.node, &names.this_store, &key);
        let kept_that = keep::<K, T>(graph, names.other_kept, that.node, &names.other_store, &key);
        let side = SideOf {
            windows,
            key: &key,
            lonely: &names.lonely,
            look_every_ms: joined.emit_interval.map(millis),
        };
        let alone = join_self::<K, V, T, W>(&both, windows, &key, &names.this_store);
        let left = side.add::<V, T, V, T, W>(
            graph,
            (names.this_join, kept_this, &names.other_store),
            (Arc::clone(&both), Arc::clone(&both), Side::Left),
            (true, outer.left),
        );
        let turned = Arc::clone(&both);
        let turned: RowJoiner<K, T, V, W> = Arc::new(move |key, right, left| turned(key, left, right));
        let right = side.add::<T, V, V, T, W>(
            graph,
            (names.other_join, kept_that, &names.this_store),
            (turned, both, Side::Right),
            (false, outer.right),
        );
        let mut borrowed = graph.borrow_mut();
        let node = borrowed.add_processor(names.merge, &[left, right], Vec::new(), |wiring| {
            Node::boxed(JoinOutput::<K, W> { out: wiring.out() })
        });
        let sources = borrowed.sources_above(node);
        borrowed.copartitioned.push((node, sources));
        if outer.left || outer.right {
            borrowed.null_key_joins.push(node);
        }
        let other_stores = std::iter::once(names.other_store).chain(names.lonely).collect();
        borrowed.notes.joins.push(JoinOfStreams {
            kept: [kept_this, kept_that],
            sides: [left, right],
            merge: node,
            this_store: names.this_store,
            other_stores,
            alone,
        });
        drop(borrowed);
        KStream::new(graph, node, Some(key), None, false)
    }

    /// Repartitions if the key may have changed; a stream that is joined twice is repartitioned once, unless a name asks for a topic of its
    /// own.
    pub(crate) fn repartition_for_join(
        &self,
        name: &Option<Arc<str>>,
        suffix: &str,
        key: &SerdeRef<K>,
        value: &SerdeRef<V>,
    ) -> KStream<K, V> {
        if !self.repartition {
            return self.clone();
        }
        let own_name: Arc<str> = self.graph.borrow().node_name(self.node).into();
        let topic = name.as_ref().map_or(Arc::clone(&own_name), |name| format!("{name}{suffix}").into());
        let made = self.graph.borrow().repartitioned.get(&self.node).copied().filter(|_| topic == own_name);
        if let Some(source) = made {
            let mut graph = self.graph.borrow_mut();
            // The numbers are used up in any case, as in Kafka Streams.
            for prefix in ["KSTREAM-SINK-", "KSTREAM-FILTER-", "KSTREAM-SOURCE-"] {
                graph.generate(prefix);
            }
            drop(graph);
            let (key, value) = (Some(Arc::clone(key)), Some(Arc::clone(value)));
            return KStream::new(&self.graph, source, key, value, false);
        }
        let made = self.repartition_if_needed(&topic, key, || Arc::clone(value));
        self.graph.borrow_mut().repartitioned.insert(self.node, made.node);
        made
    }
}

/// Names of nodes and stores, in Kafka Streams' order of numbers.
struct Names {
    this_kept: Arc<str>,
    other_kept: Arc<str>,
    this_join: Arc<str>,
    other_join: Arc<str>,
    merge: Arc<str>,
    this_store: Arc<str>,
    other_store: Arc<str>,
    lonely: Option<Arc<str>>,
}

impl Names {
    fn of<K, V, T>(
        graph: &GraphRef,
        name: Option<&str>,
        joined: &StreamJoined<K, V, T>,
        outer: Outer,
    ) -> Self {
        let mut graph = graph.borrow_mut();
        let this_suffix = if outer.right { "-outer-this-join" } else { "-this-join" };
        let other_suffix = if outer.left { "-outer-other-join" } else { "-other-join" };
        let given = |suffix: &str| name.map(|name| Arc::<str>::from(format!("{name}{suffix}")));
        let this_kept = graph.name(given("-this-windowed"), "KSTREAM-WINDOWED-");
        let other_kept = graph.name(given("-other-windowed"), "KSTREAM-WINDOWED-");
        let this_prefix = if outer.right { "KSTREAM-OUTERTHIS-" } else { "KSTREAM-JOINTHIS-" };
        let this_made = graph.generate(this_prefix);
        let other_made =
            graph.generate(if outer.left { "KSTREAM-OUTEROTHER-" } else { "KSTREAM-JOINOTHER-" });
        let merge = graph.name(given("-merge"), "KSTREAM-MERGE-");
        let base = joined.store_name.as_deref();
        let store = |made: &str, suffix: &str| -> Arc<str> {
            match base {
                Some(base) => format!("{base}{suffix}-store").into(),
                None => format!("{made}-store").into(),
            }
        };
        let number = this_made.get(this_prefix.len()..).unwrap_or_default();
        let shared = if outer.right { "-outer-shared-join" } else { "-left-shared-join" };
        let lonely = outer.left.then(|| store(&format!("KSTREAM-OUTERSHARED-{number}"), shared));
        Self {
            this_kept,
            other_kept,
            this_join: given(this_suffix).unwrap_or_else(|| Arc::clone(&this_made)),
            other_join: given(other_suffix).unwrap_or_else(|| Arc::clone(&other_made)),
            merge,
            this_store: store(&this_made, this_suffix),
            other_store: store(&other_made, other_suffix),
            lonely,
        }
    }
}

/// The joiner that takes the place of both if the two streams are one.
fn join_self<K: Key, V: Value, T: Value, W: Value>(
    join: &RowJoiner<K, V, T, W>,
    windows: JoinWindows,
    key: &SerdeRef<K>,
    store: &Arc<str>,
) -> NodeFactory {
    let (join, key, of_node) = (Arc::clone(join), Arc::clone(key), Arc::clone(store));
    Arc::new(move |wiring| {
        Node::boxed(JoinSelf::<K, V, T, W> {
            join: Arc::clone(&join),
            windows,
            key: Arc::clone(&key),
            store: wiring.store(&of_node),
            stream_time: -1,
            out: wiring.out(),
            types: PhantomData,
        })
    })
}

fn keep<K: Key, V: Value>(
    graph: &GraphRef,
    name: Arc<str>,
    parent: NodeId,
    store: &Arc<str>,
    key: &SerdeRef<K>,
) -> NodeId {
    let (of_node, key) = (Arc::clone(store), Arc::clone(key));
    graph.borrow_mut().add_processor(name, &[parent], vec![Arc::clone(store)], move |wiring| {
        let store = wiring.store(&of_node);
        Node::boxed(KeepForJoin::<K, V> { key: Arc::clone(&key), store, number: 0, out: wiring.out() })
    })
}

/// What both sides have in common.
struct SideOf<'j, K> {
    windows: JoinWindows,
    key: &'j SerdeRef<K>,
    lonely: &'j Option<Arc<str>>,
    look_every_ms: Option<i64>,
}

/// This side's joiner, that of both sides in order, and what makes a value of either side of this side's.
type Joiners<K, V, T, L, R, W> = (RowJoiner<K, V, T, W>, RowJoiner<K, L, R, W>, fn(V) -> Side<L, R>);

impl<K: Key> SideOf<'_, K> {
    fn add<V: Value, T: Value, L: Value, R: Value, W: Value>(
        &self,
        graph: &GraphRef,
        (name, parent, other): (Arc<str>, NodeId, &Arc<str>),
        (join, both, hold): Joiners<K, V, T, L, R, W>,
        (left, outer): (bool, bool),
    ) -> NodeId {
        let (windows, look_every_ms) = (self.windows, self.look_every_ms);
        let (key, of_other, of_lonely) = (Arc::clone(self.key), Arc::clone(other), self.lonely.clone());
        let mut stores = vec![Arc::clone(other)];
        stores.extend(self.lonely.clone());
        graph.borrow_mut().add_processor(name, &[parent], stores, move |wiring| {
            Node::boxed(JoinSide::<K, V, T, L, R, W> {
                join: Arc::clone(&join),
                both: Arc::clone(&both),
                hold,
                left,
                outer,
                windows,
                key: Arc::clone(&key),
                other: wiring.store(&of_other),
                lonely: of_lonely.as_deref().map(|name| wiring.store(name)),
                look_every_ms,
                out: wiring.out(),
                types: PhantomData,
            })
        })
    }
}
