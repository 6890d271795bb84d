//! `Streams`: a topology running over a log.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use vigie_log::MemberEndpoint;

use super::config::{Config, StateListener, UncaughtErrorPolicy};
use super::metrics::{MetricsSnapshot, ThreadTotals};
use super::shared::Shared;
use super::thread::StreamThread;
use crate::error::StreamsError;
use crate::state::{ReadOnlyStore, ReadOnlyWindowStore, Staleness};
use crate::topology::Topology;

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
    /// A thread stopped with an error; see [`Streams::error`].
    Error,
}

struct Status {
    current: Mutex<(State, Vec<bool>, Option<String>)>,
    changed: Condvar,
    listener: Option<StateListener>,
}

impl Status {
    fn get(&self) -> State {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn update(&self, change: impl FnOnce(&mut (State, Vec<bool>, Option<String>))) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let old = current.0;
        change(&mut current);
        let new = current.0;
        drop(current);
        if old != new {
            tracing::info!(?old, ?new, "state of the program");
            self.changed.notify_all();
            if let Some(listener) = &self.listener {
                listener(old, new);
            }
        }
    }

    /// A thread is processing all it owns, or not.
    fn thread_runs(&self, number: usize, runs: bool) {
        self.update(|(state, running, _)| {
            if let Some(place) = running.get_mut(number) {
                *place = runs;
            }
            if matches!(state, State::Rebalancing | State::Running) {
                *state = if running.iter().all(|runs| *runs) { State::Running } else { State::Rebalancing };
            }
        });
    }

    fn failed(&self, error: &StreamsError) {
        self.update(|(state, _, first)| {
            *state = State::Error;
            first.get_or_insert_with(|| error.to_string());
        });
    }
}

/// A topology running over a log. Dropping it closes it.
pub struct Streams {
    topology: Topology,
    config: Option<Config>,
    status: Arc<Status>,
    shared: Option<Arc<Shared>>,
    threads: Vec<JoinHandle<()>>,
    totals: Vec<Arc<Mutex<ThreadTotals>>>,
}

impl Streams {
    /// A program that has not started yet.
    pub fn new(topology: Topology, config: Config) -> Self {
        let status = Status {
            current: Mutex::new((State::Created, vec![false; config.threads], None)),
            changed: Condvar::new(),
            listener: config.listener.clone(),
        };
        Self {
            topology,
            config: Some(config),
            status: Arc::new(status),
            shared: None,
            threads: Vec::new(),
            totals: Vec::new(),
        }
    }

    /// Checks the topics, makes the internal ones, opens the state and starts the threads. Errors of the start come from here; later
    /// ones set the state to [`State::Error`].
    pub fn start(mut self) -> Result<Self, StreamsError> {
        let config =
            self.config.take().ok_or_else(|| StreamsError::Config(String::from("started already")))?;
        let shared = Arc::new(Shared::prepare(self.topology.clone(), config)?);
        self.status.update(|(state, ..)| *state = State::Rebalancing);
        for number in 0..shared.config.threads {
            let mut thread = StreamThread::new(&shared, number);
            self.totals.push(Arc::clone(&thread.published));
            let (status, shared, name) = (Arc::clone(&self.status), Arc::clone(&shared), thread.name.clone());
            let run = move || {
                let mut failures = Vec::new();
                loop {
                    let ended = catch_unwind(AssertUnwindSafe(|| run(&mut thread, &shared, &status, number)));
                    let ended = ended.unwrap_or_else(|panic| {
                        let message = last_words(&*panic);
                        Err(StreamsError::Panicked { thread: thread.name.clone(), message })
                    });
                    let Err(error) = ended else { return };
                    let wait = replacement(&error, &shared, &mut failures);
                    tracing::error!(thread = thread.name, %error, again = wait.is_some(), "stream thread stopped");
                    if wait.is_none() {
                        status.failed(&error);
                        shared.stop.store(true, Ordering::Release);
                    }
                    if shared.config.uncaught == UncaughtErrorPolicy::StopApplication
                        && !matches!(error, StreamsError::ShutdownRequested)
                        && !thread.request_shutdown()
                    {
                        tracing::error!(
                            thread = thread.name,
                            "the log cannot ask the other processes of the application to stop; stop them by hand"
                        );
                    }
                    // Its partitions go to the others at once, and nothing half done is committed.
                    let _ = catch_unwind(AssertUnwindSafe(|| thread.fail()));
                    let Some(wait) = wait else { return };
                    status.thread_runs(number, false);
                    std::thread::sleep(wait);
                    thread = thread.successor();
                }
            };
            let started = std::thread::Builder::new().name(name).spawn(run);
            let handle =
                started.map_err(|e| StreamsError::Config(format!("a thread cannot be started: {e}")))?;
            self.threads.push(handle);
        }
        self.shared = Some(shared);
        Ok(self)
    }

    fn shared(&self) -> Result<&Arc<Shared>, StreamsError> {
        self.shared
            .as_ref()
            .ok_or_else(|| StreamsError::Config(String::from("the program has not been started")))
    }

    /// The committed content of a key-value store, for any thread.
    pub fn store<K: 'static, V: 'static>(&self, name: &str) -> Result<ReadOnlyStore<K, V>, StreamsError> {
        self.store_with(name, Staleness::Active)
    }

    /// The committed content of a window store, for any thread.
    pub fn window_store<K: 'static, V: 'static>(
        &self,
        name: &str,
    ) -> Result<ReadOnlyWindowStore<K, V>, StreamsError> {
        self.window_store_with(name, Staleness::Active)
    }

    /// As [`store`](Self::store), with standby copies too where the active task runs elsewhere.
    pub fn store_with<K: 'static, V: 'static>(
        &self,
        name: &str,
        staleness: Staleness,
    ) -> Result<ReadOnlyStore<K, V>, StreamsError> {
        self.shared()?.registry.key_value(name, staleness)
    }

    /// As [`window_store`](Self::window_store), with standby copies too where the active task runs elsewhere.
    pub fn window_store_with<K: 'static, V: 'static>(
        &self,
        name: &str,
        staleness: Staleness,
    ) -> Result<ReadOnlyWindowStore<K, V>, StreamsError> {
        self.shared()?.registry.window(name, staleness)
    }

    /// Where the processes of this application can be asked for their state ([`Config::endpoint`]), as last heard; empty where the log
    /// does not tell, and before the first second is over.
    pub fn endpoints(&self) -> Vec<MemberEndpoint> {
        self.shared.as_ref().map_or_else(Vec::new, |shared| shared.endpoints())
    }

    /// What runs.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The state now.
    pub fn state(&self) -> State {
        self.status.get()
    }

    /// Why a thread stopped, if one did.
    pub fn error(&self) -> Option<String> {
        self.status.current.lock().unwrap_or_else(PoisonError::into_inner).2.clone()
    }

    /// Waits until the program is in this state; tells whether it came to it in time.
    pub fn wait_for(&self, wanted: State, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        let mut current = self.status.current.lock().unwrap_or_else(PoisonError::into_inner);
        while current.0 != wanted {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.status.changed.wait_timeout(current, left);
            current = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// A moment of the program. Cheap: a lock for each thread, and a copy.
    pub fn metrics(&self) -> MetricsSnapshot {
        let mut all = ThreadTotals::default();
        for totals in &self.totals {
            let totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
            all.counts.add(&totals.counts);
            all.commits += totals.commits;
            all.aborts += totals.aborts;
            all.rebalances += totals.rebalances;
            all.tasks.extend(totals.tasks.iter().cloned());
            all.standbys.extend(totals.standbys.iter().cloned());
        }
        all.tasks.sort_by_key(|task| (task.sub_topology, task.partition));
        all.standbys.sort_by_key(|standby| (standby.sub_topology, standby.partition));
        MetricsSnapshot {
            standbys: all.standbys,
            state: self.state(),
            records_in: all.counts.records_in,
            records_out: all.counts.records_out,
            skipped: all.counts.skipped,
            late: all.counts.late,
            errors: all.counts.errors,
            commits: all.commits,
            aborts: all.aborts,
            rebalances: all.rebalances,
            tasks: all.tasks,
            stores: self.shared.as_ref().map_or_else(Default::default, |shared| shared.registry.sizes()),
            threads: self.threads.iter().filter(|thread| !thread.is_finished()).count(),
        }
    }

    /// Commits what was done, leaves the group and ends the threads. `false` when they did not end in time; they are then left
    /// to end by themselves.
    pub fn close(mut self, timeout: Duration) -> bool {
        self.shut_down(timeout)
    }

    fn shut_down(&mut self, timeout: Duration) -> bool {
        let Some(shared) = &self.shared else { return true };
        shared.stop.store(true, Ordering::Release);
        self.status.update(|(state, ..)| {
            if *state != State::Error {
                *state = State::PendingShutdown;
            }
        });
        let until = Instant::now() + timeout;
        for thread in std::mem::take(&mut self.threads) {
            while !thread.is_finished() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
            if !thread.is_finished() {
                return false;
            }
            // Panics are caught inside.
            let _ = thread.join();
        }
        self.status.update(|(state, ..)| {
            if *state != State::Error {
                *state = State::NotRunning;
            }
        });
        true
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.shut_down(Duration::from_secs(10));
    }
}

/// How long to wait before a new thread takes the place of one that failed; `None`: the program stops.
fn replacement(error: &StreamsError, shared: &Shared, failures: &mut Vec<Duration>) -> Option<Duration> {
    let UncaughtErrorPolicy::ReplaceThread { times, within } = shared.config.uncaught else { return None };
    // Neither a handler's decision nor a wrong setting is other the next time.
    let may_pass =
        matches!(error, StreamsError::Log { .. } | StreamsError::State(_) | StreamsError::Panicked { .. });
    let now = shared.config.clock.monotonic();
    failures.retain(|at| now.saturating_sub(*at) < within);
    if !may_pass || shared.stopping() || failures.len() >= times as usize {
        return None;
    }
    failures.push(now);
    let doubled =
        1_u32.checked_shl(u32::try_from(failures.len()).unwrap_or(u32::MAX) - 1).unwrap_or(u32::MAX);
    Some(shared.config.retry_backoff.saturating_mul(doubled))
}

fn run(
    thread: &mut StreamThread,
    shared: &Shared,
    status: &Status,
    number: usize,
) -> Result<(), StreamsError> {
    let mut reported = false;
    while !shared.stopping() {
        thread.step(Duration::MAX)?;
        let runs = thread.is_running();
        if runs != reported {
            reported = runs;
            status.thread_runs(number, runs);
        }
    }
    thread.close()
}

fn last_words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| String::from("no message"))
}
