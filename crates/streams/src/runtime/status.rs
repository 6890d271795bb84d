//! The state of a program, and those who wait for it or are told of it.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::config::StateListener;
use crate::error::StreamsError;

/// The state of a program.
///
/// ```text
/// Created ──▶ Rebalancing ◀──▶ Running ──▶ PendingShutdown ──▶ NotRunning
///                  └───────────────┴─────▶ Error
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not started.
    Created,
    /// Partitions are being shared out or state is being restored.
    Rebalancing,
    /// All partitions here are being processed.
    Running,
    /// Closing: the last results are being committed.
    PendingShutdown,
    /// Closed.
    NotRunning,
    /// A thread stopped with an error; see [`Streams::error`](crate::Streams::error).
    Error,
}

/// Shared by the program and its threads.
pub(super) struct Status {
    current: Mutex<Current>,
    changed: Condvar,
    listener: Option<StateListener>,
}

struct Current {
    state: State,
    /// Whether each thread processes all that it owns, by its number.
    running: BTreeMap<usize, bool>,
    error: Option<String>,
}

impl Status {
    pub fn new(listener: Option<StateListener>) -> Self {
        let current = Current { state: State::Created, running: BTreeMap::new(), error: None };
        Self { current: Mutex::new(current), changed: Condvar::new(), listener }
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn get(&self) -> State {
        self.lock().state
    }

    /// Why the program stopped, if it did by an error.
    pub fn error(&self) -> Option<String> {
        self.lock().error.clone()
    }

    fn update(&self, change: impl FnOnce(&mut Current)) {
        let mut current = self.lock();
        let old = current.state;
        change(&mut current);
        let new = current.state;
        drop(current);
        if old != new {
            tracing::info!(?old, ?new, "state of the program");
            self.changed.notify_all();
            if let Some(listener) = &self.listener {
                listener(old, new);
            }
        }
    }

    /// So many threads are about to start.
    pub fn starting(&self, threads: usize) {
        self.update(|current| {
            current.state = State::Rebalancing;
            current.running.extend((0..threads).map(|number| (number, false)));
        });
    }

    /// A thread is processing all it owns, or not.
    pub fn thread_runs(&self, number: usize, runs: bool) {
        self.update(|current| {
            current.running.insert(number, runs);
            current.settle();
        });
    }

    /// A thread has gone for good.
    pub fn thread_gone(&self, number: usize) {
        self.update(|current| {
            current.running.remove(&number);
            current.settle();
        });
    }

    pub fn failed(&self, error: &StreamsError) {
        self.update(|current| {
            current.state = State::Error;
            current.error.get_or_insert_with(|| error.to_string());
        });
    }

    /// Moves to `state` unless an error came first.
    pub fn end(&self, state: State) {
        self.update(|current| {
            if current.state != State::Error {
                current.state = state;
            }
        });
    }

    /// Waits until the program is in this state; tells whether it came to it in time.
    pub fn wait_for(&self, wanted: State, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        let mut current = self.lock();
        while current.state != wanted {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.changed.wait_timeout(current, left);
            current = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Current {
    fn settle(&mut self) {
        if matches!(self.state, State::Rebalancing | State::Running) {
            let all = self.running.values().all(|runs| *runs);
            self.state = if all { State::Running } else { State::Rebalancing };
        }
    }
}
