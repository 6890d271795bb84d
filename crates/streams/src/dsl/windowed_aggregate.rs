//! What windowed aggregations have in common: the node, its store, and the serde of its keys. Used by windowed and by cogrouped streams.

use std::sync::Arc;

use super::builder::GraphRef;
use super::operators::final_results::FinalResults;
use super::operators::session_aggregate::SessionAggregate;
use super::operators::sliding_aggregate::SlidingAggregate;
use super::operators::window_aggregate::WindowAggregate;
use super::operators::window_fold::WindowFold;
use super::options::{Key, StoreSettings, Value, millis};
use super::stores::{session_def_in, window_def_in};
use super::windows::{EmitStrategy, FixedWindows, Windowing};
use crate::error::TopologyError;
use crate::processor::Node;
use crate::record::Windowed;
use crate::serde::{SerdeRef, SessionWindowed, TimeWindowed};
use crate::state::Retention;
use crate::topology::{NodeId, StoreDef};

/// How long Kafka Streams keeps the windows: as long as records may still need them, or longer if asked for.
fn retention_ms(windowing: Windowing, settings: &StoreSettings) -> i64 {
    let needed = match windowing {
        Windowing::Fixed(windows) => windows.size_ms().saturating_add(windows.grace_ms()),
        // The window before the left window of the latest record allowed is looked at.
        Windowing::Sliding(windows) => {
            windows.difference_ms.saturating_mul(2).saturating_add(windows.grace_ms)
        }
        Windowing::Session(windows) => windows.gap_ms.saturating_add(windows.grace_ms),
    };
    settings.retention.map_or(needed, |asked| millis(asked).max(needed))
}

/// The store of a windowed aggregation. Where windows are sent on when they close, it is laid out so that they are found by time.
pub(crate) fn windowed_store<K: Key, A: Value>(
    windowing: Windowing,
    emit: EmitStrategy,
    name: &Arc<str>,
    settings: &StoreSettings,
    key: SerdeRef<K>,
    value: SerdeRef<A>,
) -> StoreDef {
    let on_close = emit == EmitStrategy::OnWindowClose;
    let kept = retention_ms(windowing, settings);
    let retention = Retention::of(kept);
    match windowing {
        Windowing::Session(windows) => {
            let by_time = retention.with_segments(windows.gap_ms / 2);
            session_def_in(name, settings, key, value, if on_close { by_time } else { retention })
        }
        _ if !on_close => window_def_in(name, settings, key, value, retention),
        Windowing::Fixed(_) => window_def_in(name, settings, key, value, kept_by_time(kept, 1)),
        Windowing::Sliding(windows) => {
            window_def_in(name, settings, key, value, kept_by_time(kept, windows.difference_ms / 2))
        }
    }
}

/// Of windows in order of time Kafka Streams keeps one millisecond more.
fn kept_by_time(kept: i64, segment_ms: i64) -> Retention {
    Retention::of(kept.saturating_add(1)).with_segments(segment_ms)
}

/// The serde of the results' keys.
pub(crate) fn windowed_key<K: Key>(windowing: Windowing, key: SerdeRef<K>) -> SerdeRef<Windowed<K>> {
    match windowing {
        Windowing::Fixed(windows) => Arc::new(TimeWindowed::new(key, windows.size_ms())),
        Windowing::Sliding(windows) => Arc::new(TimeWindowed::new(key, windows.difference_ms)),
        Windowing::Session(_) => Arc::new(SessionWindowed::new(key)),
    }
}

/// A node that aggregates the records of `parent` in windows.
pub(crate) struct WindowedNode<'g, K, V, A> {
    pub graph: &'g GraphRef,
    pub name: Arc<str>,
    pub parent: NodeId,
    pub windowing: Windowing,
    pub emit: EmitStrategy,
    pub key: SerdeRef<K>,
    pub store: Arc<str>,
    pub fold: WindowFold<K, V, A>,
}

impl<K: Key, V: Value, A: Value> WindowedNode<'_, K, V, A> {
    pub(crate) fn add(self) -> NodeId {
        let Self { graph, name, parent, windowing, emit, key, store, fold } = self;
        if let Err(reason) = windowing.check(emit) {
            let node = name.to_string();
            graph.borrow_mut().errors.push(TopologyError::Invalid { node, reason });
        }
        let on_close = emit == EmitStrategy::OnWindowClose;
        let stores = vec![Arc::clone(&store)];
        let node = graph.borrow_mut().add_processor(name, &[parent], stores, move |wiring| {
            let (fold, key) = (fold.clone(), Arc::clone(&key));
            let (store, send_old, out) = (wiring.store(&store), wiring.send_old, wiring.out());
            let (observed, finals) = (-1, on_close.then(FinalResults::new));
            match windowing {
                Windowing::Fixed(windows) => Node::boxed(WindowAggregate::<K, V, A> {
                    fold,
                    windows,
                    key,
                    store,
                    send_old,
                    out,
                    observed,
                    finals,
                }),
                Windowing::Sliding(windows) => Node::boxed(SlidingAggregate::<K, V, A> {
                    fold,
                    windows,
                    key,
                    store,
                    send_old,
                    out,
                    observed,
                    finals,
                }),
                Windowing::Session(windows) => Node::boxed(SessionAggregate::<K, V, A> {
                    fold,
                    windows,
                    key,
                    store,
                    send_old,
                    out,
                    observed,
                    finals,
                }),
            }
        });
        graph.borrow_mut().close_after.insert(node, windowing.close_after_ms());
        node
    }
}

impl From<super::windows::TimeWindows> for FixedWindows {
    fn from(windows: super::windows::TimeWindows) -> Self {
        Self::Time(windows)
    }
}

impl From<super::windows::UnlimitedWindows> for FixedWindows {
    fn from(windows: super::windows::UnlimitedWindows) -> Self {
        Self::Unlimited(windows)
    }
}
