//! What windowed aggregations have in common: the node, its store, and the serde of its keys. Used by windowed and by cogrouped streams.

use std::rc::Rc;
use std::sync::Arc;

use super::builder::GraphRef;
use super::operators::final_results::FinalResults;
use super::operators::window_fold::WindowFold;
use super::operators::windowed::{Cutting, WindowedAggregate};
use super::options::{Key, StoreSettings, Value, millis};
use super::stores::{session_def_in, window_def_in};
use super::table::KTable;
use super::view::{self, ViewOf};
use super::windows::{EmitStrategy, FixedWindows, Windowing};
use crate::error::TopologyError;
use crate::processor::{AnyNode, Node, Wiring};
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

/// Windows have no history.
pub(crate) fn refuse_history(graph: &GraphRef, node: &str, settings: &StoreSettings) {
    if settings.history.is_some() {
        let reason = String::from(
            "windows cannot be kept in a versioned store; keep them longer with `Store::retention`",
        );
        graph.borrow_mut().errors.push(TopologyError::Invalid { node: node.to_owned(), reason });
    }
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
fn windowed_key<K: Key>(windowing: Windowing, key: SerdeRef<K>) -> SerdeRef<Windowed<K>> {
    match windowing {
        Windowing::Fixed(windows) => Arc::new(TimeWindowed::new(key, windows.size_ms())),
        Windowing::Sliding(windows) => Arc::new(TimeWindowed::new(key, windows.difference_ms)),
        Windowing::Session(_) => Arc::new(SessionWindowed::new(key)),
    }
}

/// The table of a windowed aggregation, with its rows to be looked up by window.
pub(crate) fn windowed_table<K: Key, A: Value>(
    graph: &GraphRef,
    node: NodeId,
    windowing: Windowing,
    (key, value): (SerdeRef<K>, SerdeRef<A>),
    store: Arc<str>,
) -> KTable<Windowed<K>, A> {
    let sessions = matches!(windowing, Windowing::Session(_));
    let view: ViewOf<Windowed<K>, A> = Rc::new(move || Some(view::of_windows(Arc::clone(&store), sessions)));
    KTable::new(graph, node, Some(windowed_key(windowing, key)), Some(value), None).seen_through(false, view)
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
        let stores = vec![Arc::clone(&store)];
        let of_node = OfNode { fold, key, store, on_close: emit == EmitStrategy::OnWindowClose };
        let node = graph.borrow_mut().add_processor(name, &[parent], stores, move |wiring| match windowing {
            Windowing::Fixed(windows) => of_node.make(windows, wiring),
            Windowing::Sliding(windows) => of_node.make(windows, wiring),
            Windowing::Session(windows) => of_node.make(windows, wiring),
        });
        graph.borrow_mut().close_after.insert(node, windowing.close_after_ms());
        node
    }
}

/// What a node is made of for each task.
struct OfNode<K, V, A> {
    fold: WindowFold<K, V, A>,
    key: SerdeRef<K>,
    store: Arc<str>,
    on_close: bool,
}

impl<K: Key, V: Value, A: Value> OfNode<K, V, A> {
    fn make<W: Cutting<K, V, A>>(&self, windows: W, wiring: &mut Wiring<'_>) -> Box<dyn AnyNode> {
        Node::boxed(WindowedAggregate::<K, V, A, W> {
            fold: self.fold.clone(),
            windows,
            key: Arc::clone(&self.key),
            store: wiring.store(&self.store),
            send_old: wiring.send_old,
            out: wiring.out(),
            observed: -1,
            finals: self.on_close.then(FinalResults::new),
        })
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
