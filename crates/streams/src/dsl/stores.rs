//! Definitions of state stores: for operators, and for processors (`add_state_store`).

use std::sync::Arc;
use std::time::Duration;

use super::builder::{GraphRef, serde_or_error};
use super::options::{Key, Store, StoreSettings, Value, millis};
use crate::serde::SerdeRef;
use crate::state::{KeyFormat, PlainKeys, Retention, SessionKeys, StoreTypes, TypedStore, WindowKeys};
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

fn define<Q: Key, V: Value>(
    name: &Arc<str>,
    settings: &StoreSettings,
    keys: Arc<dyn KeyFormat<Q>>,
    values: SerdeRef<V>,
    retention: Option<Retention>,
) -> StoreDef {
    let types = StoreTypes { keys: Arc::clone(&keys), values: Arc::clone(&values), retention };
    let (store_name, logged) = (Arc::clone(name), settings.logged);
    StoreDef {
        name: Arc::clone(name),
        persistent: settings.persistent,
        logged,
        topic_config: settings.topic_config.clone(),
        factory: Arc::new(move |committed| {
            let (name, keys, values) = (Arc::clone(&store_name), Arc::clone(&keys), Arc::clone(&values));
            Ok(Box::new(TypedStore::<Q, V>::new(name, keys, values, retention, committed)?))
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
