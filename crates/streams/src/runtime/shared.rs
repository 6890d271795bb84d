//! What the threads of one program share.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vigie_log::{Admin, GroupTopology, MemberEndpoint};

use super::cleaning::Cleaning;
use super::config::Config;
use super::output::TopicDirectory;
use super::topics::PartitionCounts;
use crate::error::{StateError, StreamsError};
use crate::state::{
    AnyStore, Backend, Freshness, Globals, KeptMemory, MemoryBudget, PersistentBackend, StoreRegistry,
    note_damage, open_state,
};
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
    /// State in memory, kept while tasks move between the threads of this process.
    pub memory: KeptMemory,
    /// The memory that state may take, in all threads.
    pub budget: MemoryBudget,
    /// What survives the process, if there is a state directory.
    pub disk: Option<Box<dyn Backend>>,
    pub registry: Arc<StoreRegistry>,
    /// What the global thread keeps.
    pub globals: Globals,
    pub directory: Arc<Directory>,
    pub stop: AtomicBool,
    /// No records are processed for now.
    pub paused: AtomicBool,
    endpoints: Mutex<Endpoints>,
    pub cleaning: Cleaning,
    /// Tasks that a thread of this process holds. One that another thread has lost without knowing it yet must be let go first: two
    /// tasks on one local store would overwrite each other's restores.
    held: Mutex<BTreeSet<TaskId>>,
    #[cfg(any(test, feature = "simulation"))]
    pub crash: Option<CrashHook>,
}

/// How often the group is asked where its members are.
const ENDPOINTS_EVERY: Duration = Duration::from_secs(1);

/// Where the members of the group are, as last heard.
#[derive(Default)]
struct Endpoints {
    asked: Option<Duration>,
    all: Vec<MemberEndpoint>,
}

/// Tells whether the process dies at a point of this name.
#[cfg(any(test, feature = "simulation"))]
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
        let budget = MemoryBudget::new(config.memory_budget);
        let disk = match &config.state_dir {
            Some(dir) => {
                let identity = retried(&config, || {
                    config.log.identity().map_err(StreamsError::log("asking the log for its identity"))
                })?;
                let disk = open_state(dir, id, identity.as_deref(), || {
                    PersistentBackend::open_at(dir, id, &budget)
                })?;
                Some(Box::new(disk) as Box<dyn Backend>)
            }
            None => None,
        };
        let memory = KeptMemory::default();
        let globals = super::open_globals(&topology.inner, &memory, disk.as_deref())?;
        let directory = Directory { admin: config.log.admin(), known: Mutex::new(counts.topics.clone()) };
        let registry = Arc::new(StoreRegistry::new(Arc::clone(&config.clock)));
        for (sub, tasks) in topology.inner.subs.iter().zip(&counts.tasks) {
            for store in topology.inner.stores_of(sub) {
                registry.know(&store.name, Arc::clone(&store.types), *tasks);
            }
        }
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
            memory,
            budget,
            disk,
            registry,
            globals,
            directory: Arc::new(directory),
            stop: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            endpoints: Mutex::default(),
            cleaning: Cleaning::default(),
            held: Mutex::default(),
            #[cfg(any(test, feature = "simulation"))]
            crash: None,
            config,
        })
    }

    /// Looks at what stopped a thread: state on disk that gives wrong answers is not used again.
    pub(crate) fn examine(&self, error: &StreamsError) {
        if let (StreamsError::State(StateError::Database { reason, .. }), Some(dir)) =
            (error, &self.config.state_dir)
        {
            note_damage(dir, &self.application_id, reason);
        }
    }

    /// Takes a task for a thread; `false` while another thread of this process holds it.
    pub(crate) fn hold(&self, id: TaskId) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(id)
    }

    /// Whether a thread of this process holds a task or a copy of it.
    pub(crate) fn is_held(&self, id: TaskId) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }

    /// Lets a task go.
    pub(crate) fn let_go(&self, id: TaskId) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Makes a store visible to queries; with its freshness if it is a standby copy.
    pub(crate) fn register(&self, store: &dyn AnyStore, id: TaskId, standby: Option<Arc<Freshness>>) {
        self.registry.add(store.name(), id.partition, store.reader(), standby);
    }

    /// Whether it is time to ask again where the members are; the caller does.
    pub(crate) fn time_for_endpoints(&self) -> bool {
        let now = self.config.clock.monotonic();
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let due = endpoints.asked.is_none_or(|at| now.saturating_sub(at) >= ENDPOINTS_EVERY);
        if due {
            endpoints.asked = Some(now);
        }
        due
    }

    pub(crate) fn set_endpoints(&self, all: Vec<MemberEndpoint>) {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).all = all;
    }

    pub(crate) fn endpoints(&self) -> Vec<MemberEndpoint> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).all.clone()
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// A point at which the simulation may kill the process.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn crash_point(&self, name: &'static str) -> Result<(), StreamsError> {
        match &self.crash {
            Some(dies) if dies(name) => Err(StreamsError::Config(format!("killed {name}"))),
            _ => Ok(()),
        }
    }

    #[cfg(not(any(test, feature = "simulation")))]
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
