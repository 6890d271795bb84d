//! The live stream: one thread reads what is new in the log, puts it together at most ten times a second, and keeps the newest
//! messages in a ring from which every client reads at its own pace.
//!
//! ```text
//! log ──▶ tail (thread) ──▶ pending ──(≤ 10 Hz, at once when quiet)──▶ ring ──▶ client, client, ...
//! ```
//! A client has a position in the ring and no queue of its own: a slow one costs nothing, and is told to load the page's data
//! anew (`resync`) when its position has left the ring.

mod index;
mod latency;
mod pending;
mod ring;
mod tail;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

pub(crate) use index::{Index, Risk};
pub(crate) use latency::Latency;
pub(crate) use pending::KEYS;
pub(crate) use ring::{Next, Ring};
pub(crate) use tail::page_count;

use crate::app::App;
use crate::metrics::Metrics;
use crate::waiters::Waiters;

/// What the thread needs.
pub(crate) struct LiveParts {
    pub app: App,
    pub waiters: Arc<Waiters>,
    pub metrics: Arc<Metrics>,
}

/// What the thread and the requests share.
pub(crate) struct Shared {
    ring: Mutex<Ring>,
    newest: watch::Sender<i64>,
    index: Mutex<Index>,
    latency: Mutex<Latency>,
    rate: Mutex<f64>,
    trouble: Mutex<Option<String>>,
    stop: AtomicBool,
}

/// The live stream; dropping it ends its thread.
pub(crate) struct Live {
    shared: Arc<Shared>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    pub(crate) fn start(parts: LiveParts) -> Self {
        // Ids go on from the wall clock: at most ten a second are used, so the ids of a later start are always larger, and a client
        // that comes back after a restart is recognised as one that has missed something.
        let first = parts.app.clock.now();
        let shared = Arc::new(Shared {
            ring: Mutex::new(Ring::new(first)),
            newest: watch::channel(first).0,
            index: Mutex::default(),
            latency: Mutex::default(),
            rate: Mutex::default(),
            trouble: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let thread = Arc::clone(&shared);
        let spawned =
            std::thread::Builder::new().name(String::from("live")).spawn(move || tail::run(&thread, &parts));
        if let Err(error) = spawned {
            *lock(&shared.trouble) = Some(format!("the thread of the live stream did not start: {error}"));
        }
        Self { shared }
    }

    /// What follows the position.
    pub(crate) fn after(&self, position: i64) -> Next {
        lock(&self.shared.ring).after(position)
    }

    /// The newest position.
    pub(crate) fn newest(&self) -> i64 {
        lock(&self.shared.ring).newest()
    }

    /// Told whenever there is something new.
    pub(crate) fn watch(&self) -> watch::Receiver<i64> {
        self.shared.newest.subscribe()
    }

    /// Figures over all customers, with this threshold.
    pub(crate) fn risk(&self, threshold: f64) -> Risk {
        lock(&self.shared.index).risk(threshold)
    }

    /// A customer's name, where the id is one.
    pub(crate) fn name(&self, customer: &str) -> Option<String> {
        lock(&self.shared.index).name(customer)
    }

    /// Quantiles of event to score, over the last minute.
    pub(crate) fn latency(&self, now: i64) -> Option<(f64, f64, u64)> {
        lock(&self.shared.latency).quantiles(now)
    }

    /// Records per second on the topics of the sources.
    pub(crate) fn rate(&self) -> f64 {
        *lock(&self.shared.rate)
    }

    /// Why the log cannot be read at this moment, if it cannot.
    pub(crate) fn trouble(&self) -> Option<String> {
        lock(&self.shared.trouble).clone()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}
