//! `KTable::suppress`: fewer, or only final, updates of a table.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use vigie_log::Timestamp;

use super::builder::serde_or_error;
use super::operators::suppress::{Buffered, BufferedSerde, Suppress};
use super::options::{Key, StoreSettings, Value, millis};
use super::stores::key_value_def;
use super::table::KTable;
use super::view::{self, ViewOf};
use crate::error::TopologyError;
use crate::processor::Node;
use crate::record::Windowed;
use crate::serde::SerdeRef;

/// A full buffer sends its oldest updates on before their time.
#[derive(Debug, Clone, Copy)]
pub enum EmitEarly {}

/// A full buffer is an error: the processing error handler decides, and the program stops if it says so.
#[derive(Debug, Clone, Copy)]
pub enum ShutDown {}

/// How much a suppression may hold back, and what happens when it is too much: [`EmitEarly`] or [`ShutDown`].
pub struct BufferConfig<Full> {
    max_records: Option<usize>,
    max_bytes: Option<u64>,
    logged: bool,
    topic_config: BTreeMap<String, String>,
    full: PhantomData<fn() -> Full>,
}

impl<Full> BufferConfig<Full> {
    fn new() -> Self {
        Self {
            max_records: None,
            max_bytes: None,
            logged: true,
            topic_config: BTreeMap::new(),
            full: PhantomData,
        }
    }

    /// At most this many keys.
    pub fn with_max_records(mut self, records: usize) -> Self {
        self.max_records = Some(records);
        self
    }

    /// At most this many bytes of keys, values and what belongs to them.
    pub fn with_max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Without a changelog: what is held back is lost with the local files.
    pub fn without_changelog(mut self) -> Self {
        self.logged = false;
        self
    }

    /// A setting of the changelog topic.
    pub fn topic_config(mut self, key: &str, value: impl Into<String>) -> Self {
        self.topic_config.insert(key.to_owned(), value.into());
        self
    }

    fn into<Other>(self) -> BufferConfig<Other> {
        let Self { max_records, max_bytes, logged, topic_config, .. } = self;
        BufferConfig { max_records, max_bytes, logged, topic_config, full: PhantomData }
    }

    /// The same limits; a full buffer is an error.
    pub fn shut_down_when_full(self) -> BufferConfig<ShutDown> {
        self.into()
    }

    /// The same limits; a full buffer sends its oldest updates on before their time.
    pub fn emit_early_when_full(self) -> BufferConfig<EmitEarly> {
        self.into()
    }
}

impl BufferConfig<ShutDown> {
    /// Without limits but those of the machine.
    pub fn unbounded() -> Self {
        Self::new()
    }
}

impl BufferConfig<EmitEarly> {
    /// At most this many keys; the oldest are sent on early.
    pub fn max_records(records: usize) -> Self {
        Self::new().with_max_records(records)
    }

    /// At most this many bytes; the oldest keys are sent on early.
    pub fn max_bytes(bytes: u64) -> Self {
        Self::new().with_max_bytes(bytes)
    }
}

/// What is held back, and for how long.
pub struct Suppressed<K> {
    limit: Limit<K>,
    emit_when_full: bool,
    buffer: BufferConfig<ShutDown>,
    name: Option<Arc<str>>,
}

enum Limit<K> {
    Time(i64),
    WindowClose(fn(&K) -> Timestamp),
}

impl<K> Suppressed<Windowed<K>> {
    /// Only final results: each window's last one, when stream time has passed its end and its grace. The limits of the
    /// buffer must be strict, or results might not be final.
    ///
    /// ```
    /// use std::time::Duration;
    /// use vigie_streams::{BufferConfig, Consumed, Produced, Store, StreamsBuilder, Suppressed, TimeWindows, TopologyTestDriver};
    /// use vigie_streams::serde::{I64, TimeWindowed, Utf8};
    /// let mut builder = StreamsBuilder::new();
    /// builder
    ///     .stream("clicks", Consumed::<String, String>::default())
    ///     .group_by_key()
    ///     .windowed_by(TimeWindows::tumbling(Duration::from_secs(10)))
    ///     .count(Store::named("clicks"))
    ///     .suppress(Suppressed::until_window_closes(BufferConfig::unbounded()))
    ///     .to_stream()
    ///     .to("final", Produced::default());
    /// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
    /// let clicks = driver.input("clicks", Utf8, Utf8);
    /// for at in [1_000, 2_000, 9_999, 10_000] {
    ///     clicks.pipe(&"ann".into(), &"/".into(), at)?;
    /// }
    /// let last = driver.output("final", TimeWindowed::new(Utf8, 10_000), I64).read()?;
    /// assert_eq!(last.len(), 1);
    /// assert_eq!((last[0].value, last[0].timestamp), (Some(3), 9_999));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn until_window_closes(buffer: BufferConfig<ShutDown>) -> Self {
        let limit = Limit::WindowClose(|key: &Windowed<K>| key.window.end);
        Self { limit, emit_when_full: false, buffer, name: None }
    }
}

impl<K> Suppressed<K> {
    /// Of all updates of a key within this time of its first one, in stream time, only the last.
    ///
    /// ```
    /// use std::time::Duration;
    /// use vigie_streams::{BufferConfig, Consumed, Produced, Store, StreamsBuilder, Suppressed, TopologyTestDriver};
    /// use vigie_streams::serde::{I64, Utf8};
    /// let mut builder = StreamsBuilder::new();
    /// builder
    ///     .table("prices", Consumed::<String, i64>::default(), Store::named("prices"))
    ///     .suppress(Suppressed::until_time_limit(Duration::from_millis(100), BufferConfig::max_records(1_000)))
    ///     .to_stream()
    ///     .to("calm-prices", Produced::default());
    /// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
    /// let prices = driver.input("prices", Utf8, I64);
    /// for (price, at) in [(1, 0), (2, 50), (3, 99), (4, 100)] {
    ///     prices.pipe(&"tea".into(), &price, at)?;
    /// }
    /// assert_eq!(driver.output("calm-prices", Utf8, I64).read_key_values()?, [("tea".into(), Some(4))]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn until_time_limit<Full: WhenFull>(limit: Duration, buffer: BufferConfig<Full>) -> Self {
        let limit = Limit::Time(millis(limit));
        Self { limit, emit_when_full: Full::EMITS, buffer: buffer.into(), name: None }
    }

    /// Names the node; its store is `<name>-store`.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }
}

/// What a full buffer does.
pub trait WhenFull {
    #[doc(hidden)]
    const EMITS: bool;
}
impl WhenFull for EmitEarly {
    const EMITS: bool = true;
}
impl WhenFull for ShutDown {
    const EMITS: bool = false;
}

const SUPPRESS: &str = "KTABLE-SUPPRESS-";

impl<K: Key, V: Value> KTable<K, V> {
    /// Holds updates back, by time or until windows close ([`Suppressed`]). What is held back survives restarts.
    pub fn suppress(&self, suppressed: Suppressed<K>) -> KTable<K, V> {
        let Suppressed { limit, emit_when_full, buffer, name } = suppressed;
        let given = name.or_else(|| self.next_name.clone());
        let (name, store_name): (Arc<str>, Arc<str>) = {
            let mut graph = self.graph.borrow_mut();
            match given {
                Some(name) => (Arc::clone(&name), format!("{name}-store").into()),
                None => (graph.generate(SUPPRESS), graph.generate(&format!("{SUPPRESS}STATE-STORE-"))),
            }
        };
        let key = serde_or_error(&self.graph, self.key.clone(), &name, "key");
        let value = serde_or_error(&self.graph, self.value.clone(), &name, "value");
        let (wait_ms, window_end) = match limit {
            Limit::Time(limit) => (limit, None),
            Limit::WindowClose(end) => {
                let mut graph = self.graph.borrow_mut();
                let grace = graph.close_after(self.node);
                if grace.is_none() {
                    let reason = String::from(
                        "only windowed aggregations have windows that close; use `until_time_limit` for other tables",
                    );
                    graph.errors.push(TopologyError::Invalid { node: name.to_string(), reason });
                }
                (grace.unwrap_or(0), Some(end))
            }
        };
        if self.versioned {
            let reason = String::from(
                "a versioned table cannot be suppressed (filters and mappers of one are versioned too): keep it without history before (`to_stream`, then `to_table`)",
            );
            self.graph.borrow_mut().errors.push(TopologyError::Invalid { node: name.to_string(), reason });
        }
        let buffer_name = Arc::clone(&store_name);
        let settings = StoreSettings {
            logged: buffer.logged,
            topic_config: buffer.topic_config,
            ..StoreSettings::default()
        };
        let buffered: SerdeRef<Buffered<V>> = Arc::new(BufferedSerde(Arc::clone(&value)));
        let def = key_value_def(&store_name, &settings, Arc::clone(&key), buffered);
        let mut graph = self.graph.borrow_mut();
        graph.add_store(def);
        graph.send_old(self.node);
        let stores = vec![Arc::clone(&store_name)];
        let (of_node, keys, values) = (Arc::clone(&name), Arc::clone(&key), Arc::clone(&value));
        let (max_records, max_bytes) = (buffer.max_records, buffer.max_bytes);
        let node = graph.add_processor(name, &[self.node], stores, move |wiring| {
            Node::boxed(Suppress::<K, V> {
                name: Arc::clone(&of_node),
                wait_ms,
                window_end,
                max_records,
                max_bytes,
                emit_when_full,
                key: Arc::clone(&keys),
                value: Arc::clone(&values),
                store: wiring.store(&store_name),
                out: wiring.out(),
                observed: -1,
                order: BTreeMap::new(),
                times: std::collections::HashMap::new(),
                bytes: 0,
            })
        });
        graph.table_parents.insert(node, self.node);
        drop(graph);
        let parent = Rc::clone(&self.view);
        let view: ViewOf<K, V> = Rc::new(move || Some(view::suppressed(parent()?, Arc::clone(&buffer_name))));
        KTable::new(&self.graph, node, Some(key), Some(value), None).seen_through(false, view)
    }
}
