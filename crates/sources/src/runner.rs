//! Drives sources: one thread each, because one of them waits for the network.
//!
//! ```text
//! running ──pause──▶ paused ──resume──▶ running        running ──(Then::Finished)──▶ ended        any ──stop──▶ ended
//! ```
//! A source is called when it is due by the monotonic clock, so that a wall clock that is set back or forward changes no rate.
//! A runner that falls behind (a slow log) does not catch up with a burst: it starts counting anew.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;
use vigie_log::{Clock, Consequence, Timestamp};

use crate::{Moment, Publish, Source, SourceInfo, SourceRecord, Then};

/// A source that is later than this starts counting anew.
const MAX_LAG: Duration = Duration::from_secs(1);
/// After a failed publication the next attempt waits at least so long, and at most [`MAX_RETRY`].
const MIN_RETRY: Duration = Duration::from_millis(100);
const MAX_RETRY: Duration = Duration::from_secs(5);
/// How long [`Runner::stop`] waits for a source that is in the middle of a request.
const STOP_WAIT: Duration = Duration::from_millis(1500);

/// How a source does, as in the API.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: String,
    /// The topics it writes to.
    pub topics: Vec<String>,
    /// Whether its records are made up.
    pub simulated: bool,
    /// Whether its records are a recording.
    pub recorded: bool,
    /// Records a second that it aims at.
    pub rate_per_s: f64,
    /// Whether it is running: neither paused nor at its end.
    pub running: bool,
    /// Whether it is paused.
    pub paused: bool,
    /// Whether it has come to its end.
    pub finished: bool,
    /// Records published since the program started.
    pub published: u64,
    /// When the newest of them was published, ms since the epoch.
    pub last_published: Option<Timestamp>,
    /// The newest error, in words; gone once it works again.
    pub last_error: Option<String>,
}

struct Shared {
    status: Mutex<SourceStatus>,
    paused: AtomicBool,
    stop: AtomicBool,
    wake: (Mutex<()>, Condvar),
}

impl Shared {
    fn update(&self, change: impl FnOnce(&mut SourceStatus)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Sleeps until the time is over or somebody wakes the thread. The flags are changed under the lock, so none is missed.
    fn sleep(&self, time: Duration, go_on: impl Fn() -> bool) {
        let guard = self.wake.0.lock().unwrap_or_else(PoisonError::into_inner);
        if go_on() {
            drop(self.wake.1.wait_timeout(guard, time).unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn set(&self, flag: &AtomicBool, value: bool) {
        let guard = self.wake.0.lock().unwrap_or_else(PoisonError::into_inner);
        flag.store(value, Ordering::SeqCst);
        drop(guard);
        self.wake.1.notify_all();
    }
}

/// Runs sources until it is stopped or dropped.
pub struct Runner {
    publish: Arc<dyn Publish>,
    clock: Arc<dyn Clock>,
    sources: Vec<(Arc<Shared>, JoinHandle<()>)>,
}

impl Runner {
    /// A runner without sources.
    pub fn new(publish: Arc<dyn Publish>, clock: Arc<dyn Clock>) -> Self {
        Self { publish, clock, sources: Vec::new() }
    }

    /// Starts a source on a thread of its own.
    pub fn start(&mut self, source: Box<dyn Source>) -> std::io::Result<()> {
        let SourceInfo { name, kind, topics, simulated, recorded, rate_per_s } = source.info();
        let thread_name = format!("source-{name}");
        let status = SourceStatus {
            name,
            kind: kind.to_owned(),
            topics,
            simulated,
            recorded,
            rate_per_s,
            running: true,
            paused: false,
            finished: false,
            published: 0,
            last_published: None,
            last_error: None,
        };
        let shared = Arc::new(Shared {
            status: Mutex::new(status),
            paused: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            wake: (Mutex::new(()), Condvar::new()),
        });
        let drive = Drive {
            source,
            shared: Arc::clone(&shared),
            publish: Arc::clone(&self.publish),
            clock: Arc::clone(&self.clock),
        };
        let thread = std::thread::Builder::new().name(thread_name).spawn(move || drive.run())?;
        self.sources.push((shared, thread));
        Ok(())
    }

    /// How each source does, in order of start.
    pub fn status(&self) -> Vec<SourceStatus> {
        self.sources
            .iter()
            .map(|(shared, _)| shared.status.lock().unwrap_or_else(PoisonError::into_inner).clone())
            .collect()
    }

    /// A view of the status that outlives borrows of the runner, for the API.
    pub fn status_view(&self) -> Arc<dyn Fn() -> Vec<SourceStatus> + Send + Sync> {
        let shared: Vec<_> = self.sources.iter().map(|(shared, _)| Arc::clone(shared)).collect();
        Arc::new(move || {
            shared.iter().map(|s| s.status.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect()
        })
    }

    /// Pauses (or lets go on) the source of this name; `false` when there is none.
    pub fn set_paused(&self, name: &str, paused: bool) -> bool {
        let mut found = false;
        for (shared, _) in &self.sources {
            if shared.status.lock().unwrap_or_else(PoisonError::into_inner).name == name {
                found = true;
                shared.set(&shared.paused, paused);
                shared.update(|status| {
                    status.paused = paused;
                    status.running = !paused && !status.finished;
                });
            }
        }
        found
    }

    /// Whether every source has come to its end.
    pub fn finished(&self) -> bool {
        self.sources.iter().all(|(_, thread)| thread.is_finished())
    }

    /// Stops all sources. Those that are in the middle of a request end by themselves a moment later; nothing of theirs is
    /// published any more.
    pub fn stop(&mut self) {
        for (shared, _) in &self.sources {
            shared.set(&shared.stop, true);
        }
        let end = self.clock.monotonic() + STOP_WAIT;
        for (_, thread) in self.sources.drain(..) {
            // A clock that stands still must not make this loop endless: count the naps as well.
            let mut naps = 0;
            while !thread.is_finished() && self.clock.monotonic() < end && naps < 300 {
                std::thread::sleep(Duration::from_millis(5));
                naps += 1;
            }
            if thread.is_finished() {
                // A panic in there has been reported by the panic hook.
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Drive {
    source: Box<dyn Source>,
    shared: Arc<Shared>,
    publish: Arc<dyn Publish>,
    clock: Arc<dyn Clock>,
}

impl Drive {
    fn run(mut self) {
        let start = self.clock.monotonic();
        let mut paused_for = Duration::ZERO;
        let mut due = start;
        // Whether everything that the source has emitted is durable.
        let mut clean = false;
        while !self.shared.stopping() {
            if self.shared.paused.load(Ordering::SeqCst) {
                let from = self.clock.monotonic();
                while self.shared.paused.load(Ordering::SeqCst) && !self.shared.stopping() {
                    self.shared.sleep(Duration::from_secs(1), || self.shared.paused.load(Ordering::SeqCst));
                }
                let pause = self.clock.monotonic().saturating_sub(from);
                paused_for += pause;
                due += pause;
                continue;
            }
            let now = self.clock.monotonic();
            if now < due {
                let shared = &self.shared;
                shared.sleep(due - now, || !shared.stopping() && !shared.paused.load(Ordering::SeqCst));
                continue;
            }
            let moment = self.moment(start, paused_for);
            clean = false;
            let step = self.source.next(moment);
            if self.shared.stopping() {
                break;
            }
            let failed = step.error.is_some();
            if let Some(error) = step.error {
                tracing::warn!(source = self.source.info().name, error, "a source has trouble");
                self.shared.update(|status| status.last_error = Some(error));
            }
            if !failed {
                self.shared.update(|status| status.last_error = None);
            }
            if !step.records.is_empty() && !self.hand_over(step.records) {
                break;
            }
            self.source.durable(self.moment(start, paused_for), step.then == Then::Finished);
            clean = true;
            let now = self.clock.monotonic();
            due = match step.then {
                Then::After(wait) if now.saturating_sub(due + wait) > MAX_LAG => now,
                Then::After(wait) => due + wait,
                Then::Pause(wait) => now + wait,
                Then::Finished => break,
            };
        }
        if clean {
            self.source.durable(self.moment(start, paused_for), true);
        }
        self.shared.update(|status| {
            status.finished = true;
            status.running = false;
        });
    }

    fn moment(&self, start: Duration, paused_for: Duration) -> Moment {
        let elapsed = self.clock.monotonic().saturating_sub(start).saturating_sub(paused_for);
        Moment { wall: self.clock.now(), elapsed }
    }

    /// Publishes; repeats what failed while the log cannot be reached. `false` when the source must end.
    fn hand_over(&self, mut records: Vec<SourceRecord>) -> bool {
        let mut wait = MIN_RETRY;
        loop {
            let all = records.len();
            let outcome = self.publish.publish(records.clone(), self.clock.now());
            let failed = outcome.as_ref().err().map_or(0, |error| error.failed.len());
            if failed < all {
                let now = self.clock.now();
                self.shared.update(|status| {
                    status.published += (all - failed) as u64;
                    status.last_published = Some(now);
                });
            }
            let Err(error) = outcome else { return true };
            tracing::warn!(%error, "records of a source were not published");
            self.shared.update(|status| status.last_error = Some(error.to_string()));
            match error.first.consequence() {
                Consequence::Retriable => {}
                // Refused for good (too large, unknown topic): the next records may be better.
                Consequence::Abort => return true,
                _ => return false,
            }
            if self.shared.stopping() {
                return false;
            }
            let mut index = 0;
            records.retain(|_| {
                index += 1;
                error.failed.binary_search(&(index - 1)).is_ok()
            });
            self.shared.sleep(wait, || !self.shared.stopping());
            wait = (wait * 2).min(MAX_RETRY);
        }
    }
}
