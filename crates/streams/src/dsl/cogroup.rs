//! `cogroup`: several grouped streams folded into one aggregate, each with its own function.

use std::rc::Rc;
use std::sync::Arc;

use super::builder::{GraphRef, serde_or_error};
use super::grouped::{AggregateNode, KGroupedStream};
use super::operators::stateless::PassThrough;
use super::operators::window_fold::WindowFold;
use super::options::{Key, Store, Value};
use super::stores::table_def;
use super::stream::KStream;
use super::table::KTable;
use super::windowed::{Windows, sealed};
use super::windowed_aggregate::{WindowedNode, refuse_history, windowed_store, windowed_table};
use super::windows::{EmitStrategy, SessionWindows, Windowing};
use crate::processor::Node;
use crate::record::{Change, Windowed};
use crate::serde::SerdeRef;
use crate::topology::NodeId;

const AGGREGATE: &str = "COGROUPKSTREAM-AGGREGATE-";
const MERGE: &str = "COGROUPKSTREAM-MERGE-";

type Initial<A> = Arc<dyn Fn() -> A + Send + Sync>;
type Merger<K, A> = Arc<dyn Fn(&K, A, A) -> A + Send + Sync>;

/// What all aggregating nodes of one cogroup share.
struct Shared<'s, K, A> {
    graph: &'s GraphRef,
    key: SerdeRef<K>,
    initial: Initial<A>,
    merger: Merger<K, A>,
    store_name: &'s Arc<str>,
    windowing: Option<Windowing>,
    versioned: bool,
}

/// One grouped stream, without the type of its values.
trait Member<K, A> {
    fn graph(&self) -> &GraphRef;
    fn key(&self) -> Option<SerdeRef<K>>;
    /// Sends the stream through a repartition topic if its keys may have changed; returns the node behind it.
    fn repartition(&self, prefix: &Arc<str>, key: &SerdeRef<K>) -> NodeId;
    /// Adds the node that aggregates.
    fn aggregate(&self, name: Arc<str>, parent: NodeId, shared: &Shared<'_, K, A>) -> NodeId;
}

type Aggregator<K, V, A> = Arc<dyn Fn(&K, &V, A) -> Option<A> + Send + Sync>;

struct Grouping<K, V, A> {
    grouped: KGroupedStream<K, V>,
    aggregator: Aggregator<K, V, A>,
}

impl<K: Key, V: Value, A: Value> Member<K, A> for Grouping<K, V, A> {
    fn graph(&self) -> &GraphRef {
        &self.grouped.stream.graph
    }

    fn key(&self) -> Option<SerdeRef<K>> {
        self.grouped.grouped.key.clone().or_else(|| self.grouped.stream.key.clone())
    }

    fn repartition(&self, prefix: &Arc<str>, key: &SerdeRef<K>) -> NodeId {
        let (stream, options): (&KStream<K, V>, _) = (&self.grouped.stream, &self.grouped.grouped);
        let topic = options.name.as_ref().unwrap_or(prefix);
        let key = options.key.as_ref().unwrap_or(key);
        let value = || {
            let given = options.value.clone().or_else(|| stream.value.clone());
            serde_or_error(&stream.graph, given, topic, "value")
        };
        stream.repartition_if_needed(topic, key, value).node
    }

    fn aggregate(&self, name: Arc<str>, parent: NodeId, shared: &Shared<'_, K, A>) -> NodeId {
        let (aggregator, initial) = (Arc::clone(&self.aggregator), Arc::clone(&shared.initial));
        let (key, store_name) = (Arc::clone(&shared.key), Arc::clone(shared.store_name));
        match shared.windowing {
            Some(windowing) => {
                let merger = Arc::clone(&shared.merger);
                let fold = WindowFold::<K, V, A>::aggregate(
                    move || initial(),
                    move |key, value, before| aggregator(key, value, before),
                    move |key, merged, next| merger(key, merged, next),
                );
                let node = WindowedNode {
                    graph: shared.graph,
                    name,
                    parent,
                    windowing,
                    emit: EmitStrategy::OnWindowUpdate,
                    key,
                    store: store_name,
                    fold,
                };
                node.add()
            }
            None => {
                let fold: super::operators::aggregate::Fold<K, V, A> =
                    Arc::new(move |key, value, before: Option<A>| {
                        aggregator(key, &value, before.unwrap_or_else(|| initial()))
                    });
                let node = AggregateNode { name, key, store: store_name, versioned: shared.versioned, fold };
                node.add(shared.graph, parent)
            }
        }
    }
}

/// Several grouped streams on their way to one aggregate. Made by [`KGroupedStream::cogroup`].
///
/// ```
/// use vigie_streams::{Consumed, Produced, Store, StreamsBuilder, TopologyTestDriver};
/// use vigie_streams::serde::{I64, Utf8};
/// let mut builder = StreamsBuilder::new();
/// let purchases = builder.stream("purchases", Consumed::<String, i64>::default()).group_by_key();
/// let returns = builder.stream("returns", Consumed::<String, i64>::default()).group_by_key();
/// purchases
///     .cogroup(|_, cents, balance: i64| balance + cents)
///     .cogroup(&returns, |_, cents, balance| balance - cents)
///     .aggregate(|| 0, Store::named("balances"))
///     .to_stream()
///     .to("balances", Produced::default());
/// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
/// driver.input("purchases", Utf8, I64).pipe(&"ann".into(), &1_999, 1)?;
/// driver.input("returns", Utf8, I64).pipe(&"ann".into(), &999, 2)?;
/// let balances = driver.output("balances", Utf8, I64).read_key_values()?;
/// assert_eq!(balances, [("ann".into(), Some(1_999)), ("ann".into(), Some(1_000))]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct CogroupedKStream<K, A> {
    members: Vec<Rc<dyn Member<K, A>>>,
    name: Option<Arc<str>>,
}

impl<K: Key, V: Value> KGroupedStream<K, V> {
    /// Begins an aggregate over several grouped streams, this one first. An aggregator that returns `None` (its result may be `A` or
    /// `Option<A>`) removes the aggregate.
    pub fn cogroup<A: Value, R: Into<Option<A>>>(
        &self,
        aggregator: impl Fn(&K, &V, A) -> R + Send + Sync + 'static,
    ) -> CogroupedKStream<K, A> {
        CogroupedKStream { members: Vec::new(), name: None }.cogroup(self, aggregator)
    }
}

impl<K: Key, A: Value> CogroupedKStream<K, A> {
    /// Adds another grouped stream, with the same keys and values of its own.
    pub fn cogroup<V: Value, R: Into<Option<A>>>(
        mut self,
        grouped: &KGroupedStream<K, V>,
        aggregator: impl Fn(&K, &V, A) -> R + Send + Sync + 'static,
    ) -> Self {
        let grouped = grouped.clone();
        let aggregator: Aggregator<K, V, A> =
            Arc::new(move |key, value, before| aggregator(key, value, before).into());
        self.members.push(Rc::new(Grouping { grouped, aggregator }));
        self
    }

    /// Names the nodes: `<name>-cogroup-agg-0`, ..., `<name>-cogroup-merge`.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Folds the values of all streams, key by key, into an aggregate that begins with `initial`.
    pub fn aggregate(
        &self,
        initial: impl Fn() -> A + Send + Sync + 'static,
        store: Store<K, A>,
    ) -> KTable<K, A> {
        let versioned = store.settings.history.is_some();
        let (node, graph, key, value, store_name) =
            self.build(Arc::new(initial), Arc::new(|_: &K, _, next| next), store, None);
        KTable::new(&graph, node, Some(key), Some(value), Some(store_name)).with_history(versioned)
    }

    /// Groups by windows of event time too.
    ///
    /// ```
    /// use std::time::Duration;
    /// use vigie_streams::{Consumed, SessionWindows, Store, StreamsBuilder, TimeWindows};
    /// let mut builder = StreamsBuilder::new();
    /// let pages = builder.stream("pages", Consumed::<String, String>::default()).group_by_key();
    /// let calls = builder.stream("calls", Consumed::<String, i64>::default()).group_by_key();
    /// let contacts = pages.cogroup(|_, _, n: i64| n + 1).cogroup(&calls, |_, _, n| n + 1);
    /// contacts.windowed_by(TimeWindows::tumbling(Duration::from_secs(60))).aggregate(|| 0, Store::named("a-minute"));
    /// # builder.build().unwrap();
    /// ```
    pub fn windowed_by<W: Windows>(&self, windows: W) -> WindowedCogroupedKStream<K, A, W> {
        let cogrouped = Self { members: self.members.clone(), name: self.name.clone() };
        WindowedCogroupedKStream { cogrouped, windows }
    }

    fn windowed(
        &self,
        initial: Initial<A>,
        merger: Merger<K, A>,
        store: Store<K, A>,
        windowing: Windowing,
    ) -> KTable<Windowed<K>, A> {
        let (node, graph, key, value, store_name) = self.build(initial, merger, store, Some(windowing));
        windowed_table(&graph, node, windowing, (key, value), store_name)
    }

    fn build(
        &self,
        initial: Initial<A>,
        merger: Merger<K, A>,
        store: Store<K, A>,
        windowing: Option<Windowing>,
    ) -> (NodeId, GraphRef, SerdeRef<K>, SerdeRef<A>, Arc<str>) {
        let first = self.members.first().expect("a cogrouped stream is made with its first member");
        let graph = Rc::clone(first.graph());
        let store_name = match &store.name {
            Some(name) => Arc::clone(name),
            None => graph.borrow_mut().generate(&format!("{AGGREGATE}STATE-STORE-")),
        };
        let given = store.key.clone().or_else(|| self.members.iter().find_map(|member| member.key()));
        let key = serde_or_error(&graph, given, &store_name, "key");
        let value = serde_or_error(&graph, store.value.clone(), &store_name, "aggregate");
        let parents: Vec<NodeId> =
            self.members.iter().map(|member| member.repartition(&store_name, &key)).collect();
        let (settings, k, v) = (&store.settings, Arc::clone(&key), Arc::clone(&value));
        let def = match windowing {
            Some(windowing) => {
                refuse_history(&graph, &store_name, settings);
                windowed_store(windowing, EmitStrategy::OnWindowUpdate, &store_name, settings, k, v)
            }
            None => table_def(&store_name, settings, k, v),
        };
        graph.borrow_mut().add_store(def);
        let shared = Shared {
            graph: &graph,
            key: Arc::clone(&key),
            initial,
            merger,
            store_name: &store_name,
            windowing,
            versioned: settings.history.is_some(),
        };
        let mut nodes = Vec::new();
        for (number, (member, parent)) in self.members.iter().zip(&parents).enumerate() {
            let name = self.name.as_ref().map(|name| format!("{name}-cogroup-agg-{number}").into());
            let name = graph.borrow_mut().name(name, AGGREGATE);
            nodes.push(member.aggregate(name, *parent, &shared));
        }
        let name = self.name.as_ref().map(|name| format!("{name}-cogroup-merge").into());
        let mut borrowed = graph.borrow_mut();
        let name = borrowed.name(name, MERGE);
        let node = match windowing {
            Some(_) => borrowed.add_processor(name, &nodes, Vec::new(), |wiring| {
                Node::boxed(PassThrough::<Windowed<K>, Change<A>> { out: wiring.out() })
            }),
            None => borrowed.add_processor(name, &nodes, Vec::new(), |wiring| {
                Node::boxed(PassThrough::<K, Change<A>> { out: wiring.out() })
            }),
        };
        borrowed.merged_tables.insert(node, nodes);
        let sources = borrowed.sources_above(node);
        borrowed.copartitioned.push((node, sources));
        drop(borrowed);
        (node, graph, key, value, store_name)
    }
}

/// A cogrouped stream, cut into windows. Results are sent on with each update.
pub struct WindowedCogroupedKStream<K, A, W> {
    cogrouped: CogroupedKStream<K, A>,
    windows: W,
}

impl<K: Key, A: Value, W: Windows> WindowedCogroupedKStream<K, A, W> {
    /// Names the nodes, as [`CogroupedKStream::named`].
    pub fn named(mut self, name: &str) -> Self {
        self.cogrouped.name = Some(name.into());
        self
    }
}

impl<K: Key, A: Value, W: FixedOrSliding> WindowedCogroupedKStream<K, A, W> {
    /// Folds the values of all streams, key by key and window by window, into an aggregate that begins with `initial`.
    pub fn aggregate(
        &self,
        initial: impl Fn() -> A + Send + Sync + 'static,
        store: Store<K, A>,
    ) -> KTable<Windowed<K>, A> {
        let windowing = sealed::Sealed::windowing(self.windows);
        self.cogrouped.windowed(Arc::new(initial), Arc::new(|_: &K, _, next| next), store, windowing)
    }
}

impl<K: Key, A: Value> WindowedCogroupedKStream<K, A, SessionWindows> {
    /// Folds the values of all streams, key by key and session by session, into an aggregate that begins with `initial`; sessions that are joined
    /// are combined by `merger`, as in [`SessionWindowedKStream::aggregate`](crate::SessionWindowedKStream::aggregate).
    pub fn aggregate(
        &self,
        initial: impl Fn() -> A + Send + Sync + 'static,
        merger: impl Fn(&K, A, A) -> A + Send + Sync + 'static,
        store: Store<K, A>,
    ) -> KTable<Windowed<K>, A> {
        let windowing = sealed::Sealed::windowing(self.windows);
        self.cogrouped.windowed(Arc::new(initial), Arc::new(merger), store, windowing)
    }
}

/// Windows whose aggregates need no merger.
pub trait FixedOrSliding: Windows {}
impl FixedOrSliding for super::windows::TimeWindows {}
impl FixedOrSliding for super::windows::UnlimitedWindows {}
impl FixedOrSliding for super::windows::SlidingWindows {}
