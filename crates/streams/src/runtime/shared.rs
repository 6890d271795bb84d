//! What the threads of one program share.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use vigie_log::{Admin, GroupTopology};

use super::config::Config;
use super::output::TopicDirectory;
use super::topics::PartitionCounts;
use crate::error::StreamsError;
use crate::state::{Backend, MemoryBackend, PersistentBackend, StoreRegistry};
use crate::topology::{TaskId, Topology};

pub(crate) struct Shared {
    pub topology: Topology,
    pub config: Config,
    pub application_id: Arc<str>,
    pub admin: Box<dyn Admin>,
    pub counts: PartitionCounts,
    /// What the group's coordinator is told.
    pub group_topology: Arc<GroupTopology>,
    /// The same for all threads of this process.
    pub process_id: String,
    pub memory: MemoryBackend,
    /// What survives the process, if there is a state directory.
    pub disk: Option<Box<dyn Backend>>,
    pub registry: Arc<StoreRegistry>,
    pub directory: Arc<Directory>,
    pub stop: AtomicBool,
    /// Tasks that a thread of this process holds. One that another thread has lost without knowing it yet must be let go first: two
    /// tasks on one local store would overwrite each other's restores.
    held: Mutex<BTreeSet<TaskId>>,
    #[cfg(test)]
    pub crash: Option<CrashHook>,
}

/// Tells whether the process dies at a point of this name.
#[cfg(test)]
pub(crate) type CrashHook = Arc<dyn Fn(&'static str) -> bool + Send + Sync>;

impl Shared {
    /// Looks topics up, makes the internal ones, opens the state directory.
    pub(crate) fn prepare(topology: Topology, config: Config) -> Result<Self, StreamsError> {
        let id = &config.application_id;
        crate::topology::check_name(id)
            .map_err(|reason| StreamsError::Config(format!("application id: {reason}")))?;
        if config.threads == 0 {
            return Err(StreamsError::Config(String::from("`threads` must be at least 1")));
        }
        let admin = config.log.admin();
        let mut counts = retried(&config, || PartitionCounts::resolve(&topology.inner, id, &*admin))?;
        retried(&config, || counts.create_internal(&topology.inner, id, config.replication_factor, &*admin))?;
        let disk = match &config.state_dir {
            Some(dir) => {
                let disk = PersistentBackend::open_at(dir, id, config.state_cache_bytes)?;
                Some(Box::new(disk) as Box<dyn Backend>)
            }
            None => None,
        };
        let directory = Directory { admin: config.log.admin(), known: Mutex::new(counts.topics.clone()) };
        let group_topology = super::group::group_topology(&topology.inner, id, config.replication_factor);
        // Processes that run one application at the same time need client ids of their own, for their transactions already.
        let process_id = config.client_id.clone().unwrap_or_else(|| id.clone());
        Ok(Self {
            group_topology: Arc::new(group_topology),
            process_id,
            application_id: id.as_str().into(),
            topology,
            admin,
            counts,
            memory: MemoryBackend,
            disk,
            registry: Arc::new(StoreRegistry::default()),
            directory: Arc::new(directory),
            stop: AtomicBool::new(false),
            held: Mutex::default(),
            #[cfg(test)]
            crash: None,
            config,
        })
    }

    /// Takes a task for a thread; `false` while another thread of this process holds it.
    pub(crate) fn hold(&self, id: TaskId) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(id)
    }

    /// Lets a task go.
    pub(crate) fn let_go(&self, id: TaskId) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// A point at which the simulation may kill the process.
    #[cfg(test)]
    pub(crate) fn crash_point(&self, name: &'static str) -> Result<(), StreamsError> {
        match &self.crash {
            Some(dies) if dies(name) => Err(StreamsError::Config(format!("killed {name}"))),
            _ => Ok(()),
        }
    }

    #[cfg(not(test))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "the simulation's form of it uses both"
    )]
    pub(crate) fn crash_point(&self, _name: &'static str) -> Result<(), StreamsError> {
        Ok(())
    }
}

/// How often a call at the start is repeated while the log cannot be reached.
const START_RETRIES: u32 = 20;

fn retried<T>(config: &Config, mut call: impl FnMut() -> Result<T, StreamsError>) -> Result<T, StreamsError> {
    let mut left = START_RETRIES;
    loop {
        match call() {
            Err(StreamsError::Log { source, .. })
                if left > 0 && source.consequence() == vigie_log::Consequence::Retriable =>
            {
                left -= 1;
                std::thread::sleep(config.retry_backoff);
            }
            other => return other,
        }
    }
}

/// Partition counts, asked of the log once a topic.
pub(crate) struct Directory {
    admin: Box<dyn Admin>,
    known: Mutex<HashMap<Arc<str>, u32>>,
}

impl Directory {
    /// Asks again the next time: the topic is not what it was.
    pub(crate) fn forget(&self, topic: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(topic);
    }
}

impl TopicDirectory for Directory {
    fn partitions(&self, topic: &str) -> Result<u32, String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(topic).copied();
        if let Some(count) = known {
            return Ok(count);
        }
        let count = self.admin.partition_count(topic).map_err(|error| error.to_string())?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(topic.into(), count);
        Ok(count)
    }
}
