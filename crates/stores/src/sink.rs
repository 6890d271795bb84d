//! A sink: one thread that brings records of the log into a store.
//!
//! ```text
//! poll ─▶ map each record to writes ─▶ store.apply(writes, offsets): one transaction ─▶ now and then: member.commit (for lag)
//!   ▲                                        │ fails
//!   └── go back to what the store has ◀── wait (backoff, jitter), paused
//! ```
//! The truth about how far a sink is stands in the store, beside the data. The group's offsets in the log only show the lag.
//!
//! The circuit, as the status shows it:
//! ```text
//! closed ──(3 failures in a row)──▶ open ──(wait is over)──▶ half_open ──success──▶ closed
//!                                    ▲                          │
//!                                    └────────failure───────────┘
//! ```
//! A store that is down slows only its own sink. A sink never gives up: what a person has to mend is in `last_error`.

mod backoff;
mod work;

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use vigie_log::{Clock, Log, RecordRef, TopicPartition};

use crate::{Result, Store, StoreError, Write};

/// Makes writes of a record; `Err` says why this record cannot be mapped (it is then counted, reported and skipped).
pub type Mapper = Box<dyn FnMut(&SinkRecord<'_>) -> Result<Vec<Write>, String> + Send>;

/// A record with its place in the log.
#[derive(Debug, Clone, Copy)]
pub struct SinkRecord<'a> {
    /// Topic and partition.
    pub partition: &'a TopicPartition,
    /// Offset, timestamp, key, value, headers.
    pub record: RecordRef<'a>,
}

/// A record that could not be mapped or stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poison {
    /// The sink.
    pub sink: String,
    /// Where the record stands.
    pub partition: TopicPartition,
    /// See `partition`.
    pub offset: i64,
    /// Why.
    pub reason: String,
}

/// Whether the store takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Circuit {
    /// It does.
    Closed,
    /// It does not; the sink waits.
    Open,
    /// It is being tried.
    HalfOpen,
}

/// How a sink is doing.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct SinkStatus {
    /// Its name.
    pub name: String,
    /// Its group in the log.
    pub group: String,
    /// Whether its store takes writes.
    pub circuit: Circuit,
    /// Writes that took effect since the start.
    pub written: u64,
    /// Records brought into the store since the start.
    pub records: u64,
    /// Attempts that failed since the start.
    pub retries: u64,
    /// Records skipped since the start.
    pub poison: u64,
    /// Records not yet in the store, as far as the sink has seen the log.
    pub lag: u64,
    /// The last failure, kept after recovery until the next one.
    pub last_error: Option<String>,
}

/// Settings of a sink.
#[derive(Debug, Clone)]
pub struct SinkOptions {
    /// At most this many bytes of records in one transaction.
    pub batch_bytes: usize,
    /// How long a poll waits for records.
    pub poll: Duration,
    /// First wait after a failure; doubled up to `longest_wait`, each time between half and all of it.
    pub first_wait: Duration,
    /// See `first_wait`.
    pub longest_wait: Duration,
    /// How often the group's offsets are committed to the log.
    pub commit_every: Duration,
}

impl Default for SinkOptions {
    /// 1 MiB, 100 ms, 100 ms to 10 s, 1 s.
    fn default() -> Self {
        Self {
            batch_bytes: 1 << 20,
            poll: Duration::from_millis(100),
            first_wait: Duration::from_millis(100),
            longest_wait: Duration::from_secs(10),
            commit_every: Duration::from_secs(1),
        }
    }
}

/// A sink that is not running yet.
pub struct Sink {
    name: String,
    group: String,
    topics: Vec<String>,
    apply: Mapper,
    on_poison: Box<dyn FnMut(&Poison) + Send>,
    options: SinkOptions,
}

impl Sink {
    /// A sink of these topics; its group is `vigie-sink-<name>`.
    pub fn new(
        name: impl Into<String>,
        topics: impl IntoIterator<Item = impl Into<String>>,
        apply: impl FnMut(&SinkRecord<'_>) -> Result<Vec<Write>, String> + Send + 'static,
    ) -> Self {
        let name = name.into();
        Self {
            group: format!("vigie-sink-{name}"),
            name,
            topics: topics.into_iter().map(Into::into).collect(),
            apply: Box::new(apply),
            on_poison: Box::new(|_| {}),
            options: SinkOptions::default(),
        }
    }

    /// Another group.
    pub fn group(self, group: impl Into<String>) -> Self {
        Self { group: group.into(), ..self }
    }

    /// Called for each record that is skipped, on the sink's thread.
    pub fn on_poison(self, report: impl FnMut(&Poison) + Send + 'static) -> Self {
        Self { on_poison: Box::new(report), ..self }
    }

    /// Other settings.
    pub fn options(self, options: SinkOptions) -> Self {
        Self { options, ..self }
    }

    /// Starts the thread. `seed` decides the jitter of the waits. A log or store that is not there yet is waited for.
    pub fn start(
        self,
        log: Arc<dyn Log>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        seed: u64,
    ) -> Result<RunningSink> {
        let shared = Arc::new(Shared::new(&self.name, &self.group));
        let thread = std::thread::Builder::new().name(format!("sink-{}", self.name));
        let worker = work::Worker::new(self, log, store, clock, Arc::clone(&shared), seed);
        let thread = thread
            .spawn(move || worker.run())
            .map_err(|error| StoreError::other("starting a sink's thread", error))?;
        Ok(RunningSink { shared, thread: Some(thread) })
    }
}

/// What the thread and its handle share.
struct Shared {
    status: Mutex<SinkStatus>,
    stop: Mutex<bool>,
    stopped: Condvar,
}

impl Shared {
    fn new(name: &str, group: &str) -> Self {
        let status = SinkStatus {
            name: name.to_owned(),
            group: group.to_owned(),
            circuit: Circuit::Closed,
            written: 0,
            records: 0,
            retries: 0,
            poison: 0,
            lag: 0,
            last_error: None,
        };
        Self { status: Mutex::new(status), stop: Mutex::new(false), stopped: Condvar::new() }
    }

    fn update(&self, change: impl FnOnce(&mut SinkStatus)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn is_stopping(&self) -> bool {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits, or less if the sink is to stop.
    fn wait(&self, time: Duration) {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.stopped.wait_timeout_while(stop, time, |stop| !*stop));
    }
}

/// A running sink. Dropping it stops it, after the batch under way.
pub struct RunningSink {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl RunningSink {
    /// How it is doing.
    pub fn status(&self) -> SinkStatus {
        self.shared.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks it to stop, without waiting: for stopping several at once.
    pub fn request_stop(&self) {
        *self.shared.stop.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.stopped.notify_all();
    }

    /// Stops it after the batch under way, and returns how it did.
    pub fn stop(mut self) -> SinkStatus {
        self.join();
        self.status()
    }

    fn join(&mut self) {
        self.request_stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            self.shared.update(|status| status.last_error = Some(String::from("the sink's thread panicked")));
        }
    }
}

impl Drop for RunningSink {
    fn drop(&mut self) {
        self.join();
    }
}
