//! Definitions of state stores: for operators, and for processors (`add_state_store`).

use std::sync::Arc;
use std::time::Duration;

use super::builder::{GraphRef, serde_or_error};
use super::options::{Key, Store, StoreSettings, Value, millis};
use crate::serde::SerdeRef;
use crate::state::{
    Cell, CellSerde, KeyFormat, PlainKeys, Retention, SessionKeys, StoreTypes, TypedStore, VersionKeys,
    VersionSlot, VersionedStore, WindowKeys, history,
};
use crate::topology::StoreDef;

/// A state store for processors.
///
/// ```
/// use std::time::Duration;
/// use vigie_streams::{Store, StoreBuilder, StreamsBuilder};
/// let mut builder = StreamsBuilder::new();
/// builder.add_state_store(StoreBuilder::key_value(Store::<String, i64>::named("totals")));
/// builder.add_state_store(StoreBuilder::window(Store::<String, i64>::named("logins"), Duration::from_secs(3600)));
/// ```
pub struct StoreBuilder {
    define: Box<dyn FnOnce(&GraphRef) -> StoreDef>,
}

impl StoreBuilder {
    /// Keys and values: [`ProcessorContext::key_value`](crate::ProcessorContext::key_value).
    pub fn key_value<K: Key, V: Value>(store: Store<K, V>) -> Self {
        Self::of(store, key_value_def)
    }

    /// Values by key and time, kept for `retention`: [`ProcessorContext::window`](crate::ProcessorContext::window).
    pub fn window<K: Key, V: Value>(store: Store<K, V>, retention: Duration) -> Self {
        let retention = millis(retention);
        Self::of(store, move |name, settings, key, value| window_def(name, settings, key, value, retention))
    }

    /// Values by key and session, kept for `retention`: [`ProcessorContext::session`](crate::ProcessorContext::session).
    pub fn session<K: Key, V: Value>(store: Store<K, V>, retention: Duration) -> Self {
        let retention = millis(retention);
        Self::of(store, move |name, settings, key, value| session_def(name, settings, key, value, retention))
    }

    /// Rows with their older versions, kept for `history`: [`ProcessorContext::versioned`](crate::ProcessorContext::versioned).
    ///
    /// ```
    /// use std::time::Duration;
    /// use vigie_streams::serde::{I64, Utf8};
    /// use vigie_streams::{BoxError, Consumed, ProcessorContext, Record, Store, StoreBuilder, StreamsBuilder, TopologyTestDriver};
    /// let mut builder = StreamsBuilder::new();
    /// builder.add_state_store(StoreBuilder::versioned(Store::<String, i64>::named("prices"), Duration::from_secs(60)));
    /// builder.stream("prices", Consumed::<String, i64>::default()).process(
    ///     || |ctx: &mut ProcessorContext<'_, '_, (), ()>, record: Record<String, i64>| -> Result<(), BoxError> {
    ///         ctx.versioned::<String, i64>("prices")?.put(record.key, record.value, record.timestamp)?;
    ///         Ok(())
    ///     },
    ///     &["prices"],
    /// );
    /// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
    /// let prices = driver.input("prices", Utf8, I64);
    /// prices.pipe(&"tea".into(), &3, 1_000)?;
    /// prices.pipe(&"tea".into(), &5, 9_000)?;
    /// prices.pipe(&"tea".into(), &4, 4_000)?; // late, and still in its place
    /// let store = driver.versioned_store::<String, i64>("prices")?;
    /// assert_eq!(store.get(&"tea".into())?.unwrap().value, 5);
    /// let at_6_seconds = store.get_as_of(&"tea".into(), 6_000)?.unwrap();
    /// assert_eq!((at_6_seconds.value, at_6_seconds.timestamp, at_6_seconds.valid_to), (4, 4_000, Some(9_000)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn versioned<K: Key, V: Value>(store: Store<K, V>, history: Duration) -> Self {
        let history = millis(history);
        Self::of(store, move |name, settings, key, value| versioned_def(name, settings, key, value, history))
    }

    fn of<K: Key, V: Value>(
        store: Store<K, V>,
        define: impl FnOnce(&Arc<str>, &StoreSettings, SerdeRef<K>, SerdeRef<V>) -> StoreDef + 'static,
    ) -> Self {
        let define = move |graph: &GraphRef| {
            let name = store.name.unwrap_or_default();
            let key = serde_or_error(graph, store.key, &name, "key");
            let value = serde_or_error(graph, store.value, &name, "value");
            define(&name, &store.settings, key, value)
        };
        Self { define: Box::new(define) }
    }

    pub(crate) fn into_def(self, graph: &GraphRef) -> StoreDef {
        (self.define)(graph)
    }
}

pub(super) fn define<Q: Key, V: Value>(
    name: &Arc<str>,
    settings: &StoreSettings,
    keys: Arc<dyn KeyFormat<Q>>,
    values: SerdeRef<V>,
    retention: Option<Retention>,
) -> StoreDef {
    let types = StoreTypes { keys: Arc::clone(&keys), values: Arc::clone(&values), retention };
    let (store_name, logged, cached) = (Arc::clone(name), settings.logged, settings.cached);
    StoreDef {
        name: Arc::clone(name),
        persistent: settings.persistent,
        logged,
        source: None,
        topic_config: settings.topic_config.clone(),
        history_ms: None,
        supplier: settings.supplier.clone(),
        factory: Arc::new(move |committed| {
            let (name, keys, values) = (Arc::clone(&store_name), Arc::clone(&keys), Arc::clone(&values));
            let store = TypedStore::<Q, V>::new(name, keys, values, retention, committed)?;
            Ok(Box::new(if cached { store } else { store.without_cache() }))
        }),
        types: Arc::new(types),
    }
}

/// The store of a table: versioned if asked for.
pub(crate) fn table_def<K: Key, V: Value>(
    name: &Arc<str>,
    settings: &StoreSettings,
    key: SerdeRef<K>,
    value: SerdeRef<V>,
) -> StoreDef {
    match settings.history {
        Some(history) => versioned_def(name, settings, key, value, millis(history)),
        None => key_value_def(name, settings, key, value),
    }
}

/// Longer than the history, by the day that Kafka Streams adds: an older version must not be compacted away before it is of no use.
const COMPACTION_LAG_MS: i64 = 24 * 3_600_000;

pub(crate) fn versioned_def<K: Key, V: Value>(
    name: &Arc<str>,
    settings: &StoreSettings,
    key: SerdeRef<K>,
    value: SerdeRef<V>,
    history_ms: i64,
) -> StoreDef {
    let retention = history(history_ms);
    let types = StoreTypes::<VersionSlot<K>, Cell<V>> {
        keys: Arc::new(VersionKeys { inner: Arc::clone(&key), segment_ms: retention.segment_ms }),
        values: Arc::new(CellSerde(Arc::clone(&value))),
        retention: Some(retention),
    };
    let (store_name, logged) = (Arc::clone(name), settings.logged);
    let mut topic_config = settings.topic_config.clone();
    let lag = history_ms.saturating_add(COMPACTION_LAG_MS).to_string();
    topic_config.entry(String::from("min.compaction.lag.ms")).or_insert(lag);
    StoreDef {
        name: Arc::clone(name),
        persistent: settings.persistent,
        logged,
        source: None,
        topic_config,
        history_ms: Some(history_ms),
        supplier: settings.supplier.clone(),
        factory: Arc::new(move |committed| {
            let (name, key, value) = (Arc::clone(&store_name), Arc::clone(&key), Arc::clone(&value));
            Ok(Box::new(VersionedStore::new(name, key, value, retention, logged, committed)?))
        }),
        types: Arc::new(types),
    }
}

pub(crate) fn key_value_def<K: Key, V: Value>(
    name: &Arc<str>,
    settings: &StoreSettings,
    key: SerdeRef<K>,
    value: SerdeRef<V>,
) -> StoreDef {
    define::<K, V>(name, settings, Arc::new(PlainKeys(key)), value, None)
}

pub(crate) fn window_def<K: Key, V: Value>(
    name: &Arc<str>,
    settings: &StoreSettings,
    key: SerdeRef<K>,
    value: SerdeRef<V>,
    at_least_ms: i64,
) -> StoreDef {
    window_def_in(name, settings, key, value, retention(settings, at_least_ms))
}

pub(crate) fn session_def<K: Key, V: Value>(
    name: &Arc<str>,
    settings: &StoreSettings,
    key: SerdeRef<K>,
    value: SerdeRef<V>,
    at_least_ms: i64,
) -> StoreDef {
    session_def_in(name, settings, key, value, retention(settings, at_least_ms))
}

fn retention(settings: &StoreSettings, at_least_ms: i64) -> Retention {
    Retention::of(settings.retention.map_or(at_least_ms, |asked| millis(asked).max(at_least_ms)))
}

/// A window store with exactly this retention and these segments.
pub(crate) fn window_def_in<K: Key, V: Value>(
    name: &Arc<str>,
    settings: &StoreSettings,
    key: SerdeRef<K>,
    value: SerdeRef<V>,
    retention: Retention,
) -> StoreDef {
    let keys = WindowKeys { inner: key, segment_ms: retention.segment_ms };
    define(name, settings, Arc::new(keys), value, Some(retention))
}

/// A session store with exactly this retention and these segments.
pub(crate) fn session_def_in<K: Key, V: Value>(
    name: &Arc<str>,
    settings: &StoreSettings,
    key: SerdeRef<K>,
    value: SerdeRef<V>,
    retention: Retention,
) -> StoreDef {
    let keys = SessionKeys { inner: key, segment_ms: retention.segment_ms };
    define(name, settings, Arc::new(keys), value, Some(retention))
}
