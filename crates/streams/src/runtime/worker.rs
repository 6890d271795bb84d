//! A system thread around a [`StreamThread`]: runs it, replaces it when it fails, says so.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::config::UncaughtErrorPolicy;
use super::metrics::ThreadTotals;
use super::shared::Shared;
use super::status::Status;
use super::thread::StreamThread;
use crate::error::StreamsError;

pub(super) struct Worker {
    pub number: usize,
    pub name: String,
    pub stop: Arc<AtomicBool>,
    published: Arc<Mutex<ThreadTotals>>,
    handle: JoinHandle<()>,
}

impl Worker {
    /// Starts the thread with this number; it joins the group by itself.
    pub fn start(shared: &Arc<Shared>, status: &Arc<Status>, number: usize) -> Result<Self, StreamsError> {
        let thread = StreamThread::new(shared, number);
        let (name, stop) = (thread.name.clone(), Arc::clone(&thread.stop));
        let published = Arc::clone(&thread.published);
        status.thread_runs(number, false);
        let run = {
            let (shared, status) = (Arc::clone(shared), Arc::clone(status));
            move || {
                supervise(thread, &shared, &status, number);
                status.thread_gone(number);
            }
        };
        let started = std::thread::Builder::new().name(name.clone()).spawn(run);
        let handle = started.map_err(|error| {
            status.thread_gone(number);
            StreamsError::Config(format!("a thread cannot be started: {error}"))
        })?;
        Ok(Self { number, name, stop, published, handle })
    }

    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    pub fn totals(&self) -> ThreadTotals {
        self.published.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for its end; gives the worker back when it does not come in time.
    pub fn join(self, until: Instant) -> Result<(), Self> {
        while !self.handle.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        if !self.handle.is_finished() {
            return Err(self);
        }
        // Panics are caught inside.
        let _ = self.handle.join();
        Ok(())
    }
}

fn supervise(mut thread: StreamThread, shared: &Arc<Shared>, status: &Status, number: usize) {
    let mut failures = Vec::new();
    loop {
        let ended = catch_unwind(AssertUnwindSafe(|| run(&mut thread, shared, status, number)));
        let ended = ended.unwrap_or_else(|panic| {
            let message = last_words(&*panic);
            Err(StreamsError::Panicked { thread: thread.name.clone(), message })
        });
        let Err(error) = ended else { return };
        if matches!(error, StreamsError::ShutdownRequested) {
            tracing::error!(thread = thread.name, %error, "stopping");
            status.failed(&error);
            shared.stop.store(true, Ordering::Release);
            if let Err(error) = thread.close() {
                tracing::error!(thread = thread.name, %error, "the last results were not committed");
            }
            return;
        }
        shared.examine(&error);
        let policy = (shared.config.uncaught)(&error);
        let wait = replacement(&error, policy, shared, &mut failures);
        tracing::error!(thread = thread.name, %error, again = wait.is_some(), "stream thread stopped");
        if wait.is_none() {
            status.failed(&error);
            shared.stop.store(true, Ordering::Release);
            if policy == UncaughtErrorPolicy::StopApplication && !thread.request_shutdown() {
                tracing::error!(
                    "the other processes of the application could not be asked to stop; stop them by hand"
                );
            }
        }
        // Its partitions go to the others at once, and nothing half done is committed.
        let _ = catch_unwind(AssertUnwindSafe(|| thread.fail()));
        let Some(wait) = wait else { return };
        status.thread_runs(number, false);
        std::thread::sleep(wait);
        thread = thread.successor();
    }
}

/// How long to wait before a new thread takes the place of one that failed; `None`: the program stops.
fn replacement(
    error: &StreamsError,
    policy: UncaughtErrorPolicy,
    shared: &Shared,
    failures: &mut Vec<Duration>,
) -> Option<Duration> {
    let UncaughtErrorPolicy::ReplaceThread { times, within } = policy else { return None };
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
    while !thread.stopping() {
        thread.step(Duration::MAX)?;
        let runs = thread.is_running();
        if runs != reported {
            reported = runs;
            status.thread_runs(number, runs);
        }
    }
    tracing::debug!(thread = thread.name, all = shared.stopping(), "closing");
    thread.close()
}

fn last_words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| String::from("no message"))
}
