//! The embedded log: topics, records and group offsets in one folder, in this process.
//!
//! A [`Broker`] on fjall. One commit, records and offsets together, is one atomic fjall batch; commits that wait at the same
//! moment share one batch and one fsync. With [`Durability::Commit`], acknowledged means on disk.
//!
//! ```text
//! <folder>/LOCK    held by the process that has it open; tells its process id
//! <folder>/FORMAT  `vigie-log <version>`; a newer version is refused
//! <folder>/IDENTITY  what tells this log from any other
//! <folder>/store/  fjall: keyspace `records` (one entry = one batch of records), keyspace `meta` (everything else)
//! ```
//! Invariants:
//! - one process at a time, by a lock of the operating system: it ends with the process, however that ends;
//! - after a failed write or fsync nothing is served any more: what the disk holds is known only after opening again;
//! - memory is bounded by [`EmbeddedConfig::cache_bytes`], whatever the size of the log.
//!
//! It does not replicate: a second copy is what Kafka is for.

mod failure;
mod folder;
mod identity;
mod journal;
mod keys;
mod store;
mod tail;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use vigie_log::broker::{Broker, Maintenance};
use vigie_log::{
    Admin, Clock, Log, LogError, Member, MemberConfig, Producer, ProducerConfig, Reader, Result, Timestamp,
    TopicDefaults, TopicPartition,
};

use store::Store;

/// What an acknowledgement promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// On disk: survives the loss of power.
    #[default]
    Commit,
    /// Handed to the operating system, on disk after at most this long: survives the end of the process, and a loss of power
    /// but for the last moments, which are lost whole (never a later commit without an earlier one).
    Interval(Duration),
}

/// How an embedded log is opened.
#[derive(Clone)]
pub struct EmbeddedConfig {
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// The time, for sessions and retention.
    pub clock: Arc<dyn Clock>,
    /// Memory for all caches and write buffers together; at least 12 MiB are used.
    pub cache_bytes: usize,
    /// For topics that do not say.
    pub topic_defaults: TopicDefaults,
    /// How often retention and compaction run by themselves; `None`: only when called.
    pub maintenance_interval: Option<Duration>,
}

impl EmbeddedConfig {
    /// Every commit on disk, 32 MiB of memory, Kafka's retention, maintenance each half minute.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            durability: Durability::Commit,
            clock,
            cache_bytes: 32 << 20,
            topic_defaults: TopicDefaults::default(),
            maintenance_interval: Some(Duration::from_secs(30)),
        }
    }
}

/// A log in a folder.
pub struct EmbeddedLog {
    folder: PathBuf,
    broker: Arc<Broker>,
    store: Store,
    clock: Arc<dyn Clock>,
    stop: Arc<Stop>,
    trouble: Arc<Mutex<Option<String>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Waits; tells whether it is time to stop.
    fn wait(&self, at_most: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        *self
            .changed
            .wait_timeout_while(stopped, at_most, |stopped| !*stopped)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    fn stop(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }
}

impl EmbeddedLog {
    /// Opens the log in `folder`, which is made if it is not there; recovers after a crash.
    ///
    /// Fails with [`Locked`](LogError::Locked), [`NotWritable`](LogError::NotWritable), [`DiskFull`](LogError::DiskFull),
    /// [`NewerFormat`](LogError::NewerFormat) or [`Corrupt`](LogError::Corrupt), each telling the folder.
    pub fn open(folder: impl AsRef<Path>, config: EmbeddedConfig) -> Result<Arc<Self>> {
        let folder = folder.as_ref().to_path_buf();
        let store = Store::open(&folder, &config)?;
        let broker = Arc::new(Broker::open(store.clone(), Arc::clone(&config.clock), config.topic_defaults)?);
        let stop = Arc::new(Stop::default());
        let mut threads = Vec::new();
        let trouble = Arc::new(Mutex::new(None));
        if let Some(interval) = config.maintenance_interval {
            let (broker, clock, stop) = (Arc::clone(&broker), Arc::clone(&config.clock), Arc::clone(&stop));
            let trouble = Arc::clone(&trouble);
            threads.push(spawn("log-maintenance", move || {
                while !stop.wait(interval) {
                    let outcome = broker.run_maintenance(clock.now());
                    *trouble.lock().unwrap_or_else(PoisonError::into_inner) =
                        outcome.err().map(|error| error.to_string());
                }
            })?);
        }
        if let Durability::Interval(interval) = config.durability {
            let (store, stop) = (store.clone(), Arc::clone(&stop));
            threads.push(spawn("log-sync", move || {
                while !stop.wait(interval) {
                    if store.sync().is_err() {
                        break;
                    }
                }
            })?);
        }
        Ok(Arc::new(Self {
            folder,
            broker,
            store,
            clock: config.clock,
            stop,
            trouble,
            threads: Mutex::new(threads),
        }))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Applies retention and compaction as of `now`.
    pub fn run_maintenance(&self, now: Timestamp) -> Result<Maintenance> {
        self.broker.run_maintenance(now)
    }

    /// Applies retention and compaction as of now.
    pub fn maintain(&self) -> Result<Maintenance> {
        self.run_maintenance(self.clock.now())
    }

    /// Why the last maintenance that ran by itself failed, if it did: without it the log grows.
    pub fn maintenance_trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Bytes on disk, journals included.
    pub fn disk_bytes(&self) -> Result<u64> {
        self.store.disk_bytes()
    }

    /// Ends the session of a member as if it had been silent for too long. Tells whether it was there.
    pub fn expel_member(&self, group: &str, member: &str) -> bool {
        self.broker.expel(group, member)
    }

    /// Finishes what is being committed, puts everything on disk and gives the folder free. Whoever still holds a producer, a
    /// member or a reader gets [`Closed`](LogError::Closed) from then on. Dropping the log closes it too.
    pub fn close(&self) -> Result<()> {
        self.stop.stop();
        // IMPORTANT: before the threads, so that maintenance of a large topic ends with the chunk that it is at.
        self.broker.close();
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // A panic in there has been reported by the panic hook; nothing depends on these threads any more.
            let _ = thread.join();
        }
        self.store.close()
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|error| LogError::other(format!("starting the thread `{name}`"), error))
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        // Nobody is left to be told; with `Durability::Commit` nothing is at stake, and a failure has been noted by the store.
        let _ = self.close();
    }
}

impl std::fmt::Debug for EmbeddedLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedLog").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Log for EmbeddedLog {
    fn identity(&self) -> Result<Option<String>> {
        identity::of(&self.folder, &*self.clock).map(Some)
    }

    fn address(&self) -> String {
        self.broker.address()
    }

    fn admin(&self) -> Box<dyn Admin> {
        self.broker.admin()
    }

    fn producer(&self, config: ProducerConfig) -> Result<Box<dyn Producer>> {
        self.broker.producer(config)
    }

    fn member(&self, config: MemberConfig) -> Result<Box<dyn Member>> {
        self.broker.member(config)
    }

    fn reader(&self, partitions: &[TopicPartition]) -> Result<Box<dyn Reader>> {
        self.broker.reader(partitions)
    }
}
