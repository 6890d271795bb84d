//! The stores behind joins.

use std::sync::Arc;

use super::join_windows::JoinWindows;
use super::operators::foreign_key_format::{Subscription, SubscriptionSerde};
use super::operators::join_buffer::{Buffered, BufferedSerde};
use super::operators::join_streams::{Side, SidesSerde};
use super::options::{Key, StoreSettings, Value};
use super::stores::define;
use crate::serde::SerdeRef;
use crate::state::{
    CombinedKey, CombinedKeys, Retention, SidedKey, SidedKeys, StampedKey, StampedKeys, TimedKey, TimedKeys,
};
use crate::topology::StoreDef;

/// The records of one side of a join of streams, kept while the other side may still reach them.
pub(crate) fn side_def<K: Key, V: Value>(
    name: &Arc<str>,
    settings: &StoreSettings,
    key: SerdeRef<K>,
    value: SerdeRef<V>,
    windows: JoinWindows,
) -> StoreDef {
    let retention = Retention::of(windows.size_ms().saturating_add(windows.grace_ms));
    let keys = StampedKeys { inner: key, segment_ms: retention.segment_ms };
    define::<StampedKey<K>, V>(name, settings, Arc::new(keys), value, Some(retention))
}

/// The records of both sides that have found no partner yet.
pub(crate) fn lonely_def<K: Key, L: Value, R: Value>(
    name: &Arc<str>,
    settings: &StoreSettings,
    key: SerdeRef<K>,
    left: SerdeRef<L>,
    right: SerdeRef<R>,
) -> StoreDef {
    let values = Arc::new(SidesSerde { left, right });
    define::<SidedKey<K>, Vec<Side<L, R>>>(name, settings, Arc::new(SidedKeys(key)), values, None)
}

/// The records that wait for a versioned table.
pub(crate) fn waiting_def<K: Key, V: Value>(
    name: &Arc<str>,
    key: SerdeRef<K>,
    value: SerdeRef<V>,
) -> StoreDef {
    let values = Arc::new(BufferedSerde(value));
    let settings = StoreSettings::default();
    define::<TimedKey<K>, Buffered<V>>(name, &settings, Arc::new(TimedKeys(key)), values, None)
}

/// Who subscribes to which foreign key.
pub(crate) fn subscriptions_def<F: Key, K: Key>(
    name: &Arc<str>,
    foreign: SerdeRef<F>,
    key: SerdeRef<K>,
) -> StoreDef {
    let values = Arc::new(SubscriptionSerde(Arc::clone(&key)));
    let keys = Arc::new(CombinedKeys { foreign, key });
    define::<CombinedKey<F, K>, Subscription<K>>(name, &StoreSettings::default(), keys, values, None)
}
