//! Grouped streams, cut into windows: `TimeWindowedKStream` (tumbling, hopping, unlimited, sliding) and `SessionWindowedKStream`.

use std::sync::Arc;

use super::builder::serde_or_error;
use super::grouped::{AGGREGATE, KGroupedStream, Prepared, REDUCE, prepare, prepare_keys};
use super::operators::window_fold::WindowFold;
use super::options::{Grouped, Key, Store, Value};
use super::stream::KStream;
use super::table::KTable;
use super::windowed_aggregate::{WindowedNode, refuse_history, windowed_store, windowed_table};
use super::windows::{
    EmitStrategy, FixedWindows, SessionWindows, SlidingWindows, TimeWindows, UnlimitedWindows, Windowing,
};
use crate::record::Windowed;

/// Windows that a grouped stream can be cut into: [`TimeWindows`], [`SlidingWindows`], [`SessionWindows`], [`UnlimitedWindows`].
pub trait Windows: Copy + sealed::Sealed {
    /// What the stream becomes.
    type Stream<K, V>;
    /// Cuts a grouped stream.
    #[doc(hidden)]
    fn cut<K: Key, V: Value>(self, grouped: &KGroupedStream<K, V>) -> Self::Stream<K, V>;
}

pub(crate) mod sealed {
    pub trait Sealed {
        /// The windows, whichever they are.
        fn windowing(self) -> super::Windowing;
    }
}

macro_rules! windows {
    ($($windows:ident => $stream:ident, $windowing:expr;)*) => {
        $(impl sealed::Sealed for $windows {
            fn windowing(self) -> Windowing {
                let make: fn($windows) -> Windowing = $windowing;
                make(self)
            }
        }

        impl Windows for $windows {
            type Stream<K, V> = $stream<K, V>;
            fn cut<K: Key, V: Value>(self, grouped: &KGroupedStream<K, V>) -> $stream<K, V> {
                $stream { cut: Cut::new(grouped, sealed::Sealed::windowing(self)) }
            }
        })*
    };
}

windows! {
    TimeWindows => TimeWindowedKStream, |windows| Windowing::Fixed(FixedWindows::Time(windows));
    UnlimitedWindows => TimeWindowedKStream, |windows| Windowing::Fixed(FixedWindows::Unlimited(windows));
    SlidingWindows => TimeWindowedKStream, Windowing::Sliding;
    SessionWindows => SessionWindowedKStream, Windowing::Session;
}

struct Cut<K, V> {
    stream: KStream<K, V>,
    grouped: Grouped<K, V>,
    windowing: Windowing,
    emit: EmitStrategy,
}

impl<K: Key, V: Value> Cut<K, V> {
    fn new(grouped: &KGroupedStream<K, V>, windowing: Windowing) -> Self {
        let options = &grouped.grouped;
        Self {
            stream: grouped.stream.clone(),
            grouped: Grouped {
                key: options.key.clone(),
                value: options.value.clone(),
                name: options.name.clone(),
            },
            windowing,
            emit: EmitStrategy::default(),
        }
    }

    fn inherit_value(&self, mut store: Store<K, V>) -> Store<K, V> {
        store.value =
            store.value.or_else(|| self.grouped.value.clone()).or_else(|| self.stream.value.clone());
        store
    }

    fn fold<A: Value>(
        &self,
        prefix: &str,
        store: Store<K, A>,
        fold: WindowFold<K, V, A>,
    ) -> KTable<Windowed<K>, A> {
        self.aggregate(prepare(&self.stream, &self.grouped, prefix, &store), store, fold)
    }

    fn count(&self, store: Store<K, i64>) -> KTable<Windowed<K>, i64> {
        if self.stream.repartition {
            let keys = prepare_keys(&self.stream, &self.grouped, AGGREGATE, &store);
            return self.aggregate(keys, store, WindowFold::count());
        }
        self.fold(AGGREGATE, store, WindowFold::count())
    }

    /// Adds the node and its store behind what is prepared.
    fn aggregate<W: Value, A: Value>(
        &self,
        prepared: Prepared<K, W>,
        store: Store<K, A>,
        fold: WindowFold<K, W, A>,
    ) -> KTable<Windowed<K>, A> {
        let graph = &self.stream.graph;
        let value = serde_or_error(graph, store.value, &prepared.name, "aggregate");
        let Prepared { name, store_name, key, source } = prepared;
        let (windowing, emit, settings) = (self.windowing, self.emit, &store.settings);
        let def =
            windowed_store(windowing, emit, &store_name, settings, Arc::clone(&key), Arc::clone(&value));
        refuse_history(graph, &name, settings);
        graph.borrow_mut().add_store(def);
        let store_of_table = Arc::clone(&store_name);
        let node = WindowedNode {
            graph,
            name,
            parent: source.node,
            windowing,
            emit,
            key: Arc::clone(&key),
            store: store_name,
            fold,
        };
        windowed_table(graph, node.add(), windowing, (key, value), store_of_table)
    }
}

/// A stream grouped by key and window. Records behind the grace of their window are dropped and counted as late.
///
/// Results are kept in a window store: `Store<K, A>` with the plain key, see
/// [`TopologyTestDriver::window_store`](crate::TopologyTestDriver::window_store).
pub struct TimeWindowedKStream<K, V> {
    cut: Cut<K, V>,
}

impl<K: Key, V: Value> TimeWindowedKStream<K, V> {
    /// Names the node that the next call adds.
    pub fn named(mut self, name: &str) -> Self {
        self.cut.stream.next_name = Some(name.into());
        self
    }

    /// When results are sent on; with each update if this is not called.
    ///
    /// ```
    /// use std::time::Duration;
    /// use vigie_streams::{Consumed, EmitStrategy, Produced, Store, StreamsBuilder, TimeWindows, TopologyTestDriver};
    /// use vigie_streams::serde::{I64, TimeWindowed, Utf8};
    /// let mut builder = StreamsBuilder::new();
    /// builder
    ///     .stream("clicks", Consumed::<String, String>::default())
    ///     .group_by_key()
    ///     .windowed_by(TimeWindows::tumbling(Duration::from_secs(10)).grace(Duration::from_secs(2)))
    ///     .emit_strategy(EmitStrategy::on_window_close())
    ///     .count(Store::named("clicks"))
    ///     .to_stream()
    ///     .to("clicks-per-10s", Produced::default());
    /// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
    /// let clicks = driver.input("clicks", Utf8, Utf8);
    /// let counts = driver.output("clicks-per-10s", TimeWindowed::new(Utf8, 10_000), I64);
    /// for at in [1_000, 9_000, 11_999, 8_000] {
    ///     clicks.pipe(&"ann".into(), &"/".into(), at)?;
    /// }
    /// assert!(counts.read()?.is_empty());
    /// clicks.pipe(&"bob".into(), &"/".into(), 12_000)?;
    /// let closed = counts.read()?;
    /// assert_eq!(closed.len(), 1);
    /// assert_eq!((closed[0].key.key.as_str(), closed[0].value), ("ann", Some(3)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn emit_strategy(mut self, emit: EmitStrategy) -> Self {
        self.cut.emit = emit;
        self
    }

    /// How many records each key has in each window; records with a null value count too.
    ///
    /// ```
    /// use std::time::Duration;
    /// use vigie_streams::{Consumed, Store, StreamsBuilder, TimeWindows, TopologyTestDriver};
    /// use vigie_streams::serde::Utf8;
    /// let mut builder = StreamsBuilder::new();
    /// builder
    ///     .stream("clicks", Consumed::<String, String>::default())
    ///     .group_by_key()
    ///     .windowed_by(TimeWindows::hopping(Duration::from_secs(10), Duration::from_secs(5)))
    ///     .count(Store::named("clicks"));
    /// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
    /// driver.input("clicks", Utf8, Utf8).pipe(&"ann".into(), &"/".into(), 7_000)?;
    /// let counts = driver.window_store::<String, i64>("clicks")?;
    /// assert_eq!(counts.fetch(&"ann".into(), 0, 10_000)?, [(0, 1), (5_000, 1)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn count(&self, store: Store<K, i64>) -> KTable<Windowed<K>, i64> {
        self.cut.count(store)
    }

    /// Combines the values of each key in each window, two at a time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use vigie_streams::{Consumed, Store, StreamsBuilder, TimeWindows, TopologyTestDriver};
    /// use vigie_streams::serde::{I64, Utf8};
    /// let mut builder = StreamsBuilder::new();
    /// builder
    ///     .stream("heat", Consumed::<String, i64>::default())
    ///     .group_by_key()
    ///     .windowed_by(TimeWindows::tumbling(Duration::from_secs(60)))
    ///     .reduce(|a, b| a.max(b), Store::named("hottest"));
    /// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
    /// for (at, degrees) in [(1_000, 20), (2_000, 35), (3_000, 30), (61_000, 10)] {
    ///     driver.input("heat", Utf8, I64).pipe(&"oven".into(), &degrees, at)?;
    /// }
    /// let hottest = driver.window_store::<String, i64>("hottest")?;
    /// assert_eq!(hottest.get(&"oven".into(), 60_000)?, Some(10));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reduce(
        &self,
        reducer: impl Fn(V, V) -> V + Send + Sync + 'static,
        store: Store<K, V>,
    ) -> KTable<Windowed<K>, V> {
        self.cut.fold(REDUCE, self.cut.inherit_value(store), WindowFold::reduce(reducer))
    }

    /// Folds the values of each key in each window into an aggregate that begins with `initial`; `None` removes it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use vigie_streams::{Consumed, Store, StreamsBuilder, TimeWindows, TopologyTestDriver};
    /// use vigie_streams::serde::Utf8;
    /// let mut builder = StreamsBuilder::new();
    /// builder
    ///     .stream("pages", Consumed::<String, String>::default())
    ///     .group_by_key()
    ///     .windowed_by(TimeWindows::tumbling(Duration::from_secs(60)))
    ///     .aggregate(Vec::new, |_, page, mut seen: Vec<String>| {
    ///         seen.push(page.clone());
    ///         seen
    ///     }, Store::json_named("paths"));
    /// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
    /// for (at, page) in [(1_000, "/"), (2_000, "/cart")] {
    ///     driver.input("pages", Utf8, Utf8).pipe(&"ann".into(), &page.into(), at)?;
    /// }
    /// let paths = driver.window_store::<String, Vec<String>>("paths")?;
    /// assert_eq!(paths.get(&"ann".into(), 0)?, Some(vec!["/".into(), "/cart".into()]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn aggregate<A: Value, R: Into<Option<A>>>(
        &self,
        initial: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K, &V, A) -> R + Send + Sync + 'static,
        store: Store<K, A>,
    ) -> KTable<Windowed<K>, A> {
        self.cut.fold(AGGREGATE, store, WindowFold::aggregate(initial, aggregator, |_, _, next| next))
    }
}

/// A stream grouped by key and session. Records that would extend only sessions closed longer than the grace are dropped and counted as late.
///
/// A record that joins sessions removes them: each is sent on as a tombstone under its old bounds, before the joined one.
///
/// ```
/// use std::time::Duration;
/// use vigie_streams::{Consumed, Produced, SessionWindows, Store, StreamsBuilder, TopologyTestDriver};
/// use vigie_streams::serde::{I64, SessionWindowed, Utf8};
/// let mut builder = StreamsBuilder::new();
/// builder
///     .stream("pages", Consumed::<String, String>::default())
///     .group_by_key()
///     .windowed_by(SessionWindows::with_gap(Duration::from_secs(30)).grace(Duration::from_secs(60)))
///     .aggregate(
///         String::new,
///         |_, page, path: String| path + page,
///         |_, first, second| first + &second,
///         Store::named("paths"),
///     )
///     .to_stream()
///     .to("sessions", Produced::default());
/// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
/// let pages = driver.input("pages", Utf8, Utf8);
/// pages.pipe(&"ann".into(), &"a".into(), 0)?;
/// pages.pipe(&"ann".into(), &"c".into(), 50_000)?;
/// pages.pipe(&"ann".into(), &"b".into(), 25_000)?; // joins the two
/// let sessions: Vec<_> = driver
///     .output("sessions", SessionWindowed::new(Utf8), Utf8)
///     .read()?
///     .into_iter()
///     .map(|r| (r.key.window.start, r.key.window.end, r.value))
///     .collect();
/// assert_eq!(
///     sessions,
///     [
///         (0, 0, Some("a".into())),
///         (50_000, 50_000, Some("c".into())),
///         (0, 0, None),
///         (50_000, 50_000, None),
///         (0, 50_000, Some("acb".into())),
///     ]
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SessionWindowedKStream<K, V> {
    cut: Cut<K, V>,
}

impl<K: Key, V: Value> SessionWindowedKStream<K, V> {
    /// Names the node that the next call adds.
    pub fn named(mut self, name: &str) -> Self {
        self.cut.stream.next_name = Some(name.into());
        self
    }

    /// When results are sent on; with each update if this is not called.
    pub fn emit_strategy(mut self, emit: EmitStrategy) -> Self {
        self.cut.emit = emit;
        self
    }

    /// How many records each session has; records with a null value count too.
    ///
    /// ```
    /// use std::time::Duration;
    /// use vigie_streams::{Consumed, SessionWindows, Store, StreamsBuilder, TopologyTestDriver};
    /// use vigie_streams::serde::Utf8;
    /// let mut builder = StreamsBuilder::new();
    /// builder
    ///     .stream("pages", Consumed::<String, String>::default())
    ///     .group_by_key()
    ///     .windowed_by(SessionWindows::with_gap(Duration::from_secs(30)).grace(Duration::from_secs(300)))
    ///     .count(Store::named("visits"));
    /// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
    /// for at in [0, 20_000, 100_000] {
    ///     driver.input("pages", Utf8, Utf8).pipe(&"ann".into(), &"/".into(), at)?;
    /// }
    /// let visits = driver.session_store::<String, i64>("visits")?.fetch(&"ann".into())?;
    /// assert_eq!(visits.iter().map(|(visit, pages)| (visit.end, *pages)).collect::<Vec<_>>(), [(20_000, 2), (100_000, 1)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn count(&self, store: Store<K, i64>) -> KTable<Windowed<K>, i64> {
        self.cut.count(store)
    }

    /// Combines the values of each session, two at a time; sessions that are joined are combined with the same function.
    pub fn reduce(
        &self,
        reducer: impl Fn(V, V) -> V + Send + Sync + 'static,
        store: Store<K, V>,
    ) -> KTable<Windowed<K>, V> {
        self.cut.fold(REDUCE, self.cut.inherit_value(store), WindowFold::reduce(reducer))
    }

    /// Folds the values of each session into an aggregate that begins with `initial`; `None` removes it. Sessions that are joined are combined by `merger`:
    /// `(key, what is merged so far, the next session in order of their ends)`, beginning with `initial`.
    pub fn aggregate<A: Value, R: Into<Option<A>>>(
        &self,
        initial: impl Fn() -> A + Send + Sync + 'static,
        aggregator: impl Fn(&K, &V, A) -> R + Send + Sync + 'static,
        merger: impl Fn(&K, A, A) -> A + Send + Sync + 'static,
        store: Store<K, A>,
    ) -> KTable<Windowed<K>, A> {
        self.cut.fold(AGGREGATE, store, WindowFold::aggregate(initial, aggregator, merger))
    }
}
