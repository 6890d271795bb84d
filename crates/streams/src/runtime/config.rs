//! How a program runs.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use vigie_log::{Clock, Log, StartAt, SystemClock};

use super::handlers::ErrorHandler;
use super::instance::Handlers;
use super::restore::RestoreEvent;
use super::status::State;
use crate::error::StreamsError;

/// What a crash may do to results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum ProcessingGuarantee {
    /// Results, state and positions are committed together: each record counts once.
    #[default]
    ExactlyOnce,
    /// Positions are committed after the results: a crash in between repeats records.
    AtLeastOnce,
}

/// What happens when a thread ends with an error that no handler decides about: a panic, or a log or state that cannot be used.
///
/// A record whose handler said [`Fail`](super::handlers::ErrorResponse::Fail) always stops the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UncaughtErrorPolicy {
    /// A new thread takes its place, a little later each time; after more than `times` replacements `within` this time the program stops.
    ReplaceThread {
        /// Replacements of one thread.
        times: u32,
        /// The time in which they are counted.
        within: Duration,
    },
    /// All threads of this program stop.
    StopClient,
    /// All threads of all processes of this application stop: the group is asked to pass it on.
    StopApplication,
}

impl Default for UncaughtErrorPolicy {
    fn default() -> Self {
        Self::ReplaceThread { times: 3, within: Duration::from_secs(300) }
    }
}

pub(crate) type UncaughtHandler = Arc<dyn Fn(&StreamsError) -> UncaughtErrorPolicy + Send + Sync>;
pub(crate) type RestoreListener = Arc<dyn Fn(&RestoreEvent) + Send + Sync>;
pub(crate) type StateListener = Arc<dyn Fn(State, State) + Send + Sync>;

/// The settings of a program, with Kafka Streams' defaults unless said otherwise.
#[derive(Clone)]
pub struct Config {
    pub(crate) application_id: String,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) threads: usize,
    pub(crate) commit_interval: Duration,
    pub(crate) emit_interval: Duration,
    pub(crate) record_cache: bool,
    pub(crate) guarantee: ProcessingGuarantee,
    pub(crate) start: StartAt,
    /// `None`: nothing is waited for.
    pub(crate) max_task_idle: Option<Duration>,
    pub(crate) idle_source_timeout: Option<Duration>,
    pub(crate) max_poll_bytes: usize,
    pub(crate) cache_entries: usize,
    pub(crate) memory_budget: usize,
    pub(crate) replication_factor: u16,
    pub(crate) retry_backoff: Duration,
    pub(crate) client_id: Option<String>,
    pub(crate) endpoint: Option<(String, u16)>,
    pub(crate) standby_replicas: u32,
    pub(crate) state_cleanup_delay: Duration,
    pub(crate) handlers: Handlers,
    pub(crate) uncaught: UncaughtHandler,
    pub(crate) listener: Option<StateListener>,
    pub(crate) restore_listener: Option<RestoreListener>,
}

impl Config {
    /// Defaults: one thread, commits each 100 ms, exactly once, state in memory, the machine's clock, failing on bad records.
    /// The id names the group, the internal topics and the state directory: keep it from start to start.
    pub fn new(application_id: impl Into<String>, log: Arc<dyn Log>) -> Self {
        Self {
            application_id: application_id.into(),
            log,
            clock: Arc::new(SystemClock::new()),
            state_dir: None,
            threads: 1,
            commit_interval: Duration::from_millis(100),
            emit_interval: Duration::from_secs(1),
            record_cache: false,
            guarantee: ProcessingGuarantee::ExactlyOnce,
            start: StartAt::Earliest,
            max_task_idle: Some(Duration::ZERO),
            idle_source_timeout: None,
            max_poll_bytes: 2 << 20,
            cache_entries: 1 << 20,
            memory_budget: 192 << 20,
            replication_factor: 1,
            retry_backoff: Duration::from_millis(50),
            client_id: None,
            endpoint: None,
            standby_replicas: 0,
            state_cleanup_delay: Duration::from_secs(600),
            handlers: Handlers {
                deserialization: ErrorHandler::log_and_fail(),
                processing: ErrorHandler::log_and_fail(),
                production: ErrorHandler::log_and_fail(),
            },
            uncaught: Arc::new(|_| UncaughtErrorPolicy::default()),
            listener: None,
            restore_listener: None,
        }
    }

    /// The least time of the wall clock between two looks for closed windows ([`EmitStrategy`](crate::EmitStrategy)), 1 s if not said. Each
    /// commit looks too, so that no result is lost with a crash.
    pub fn emit_interval(mut self, interval: Duration) -> Self {
        self.emit_interval = interval;
        self
    }

    /// With `true`, aggregates send on the last result of each key with the commit, in the order of the keys' last changes: Kafka Streams' record cache
    /// (`statestore.cache.max.bytes`), which is on there by default. Tables grouped again, joins and sinks behind an aggregate then have that
    /// much less to do; what came and went between two commits is never seen. Default `false`: every update is sent on.
    /// [`Store::without_cache`](crate::Store::without_cache) excepts a store, the test driver sends everything, and what a window sends when it
    /// closes does not change.
    pub fn record_cache(mut self, on: bool) -> Self {
        self.record_cache = on;
        self
    }

    /// The clock of punctuations, intervals and timeouts.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Keeps persistent stores under `<dir>/<application id>`; without it all state is in memory and rebuilt at each start.
    pub fn state_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(dir.into());
        self
    }

    /// Stream threads; tasks are spread over them.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// How often results are committed, if there are any.
    pub fn commit_interval(mut self, interval: Duration) -> Self {
        self.commit_interval = interval;
        self
    }

    /// Exactly once or at least once.
    pub fn guarantee(mut self, guarantee: ProcessingGuarantee) -> Self {
        self.guarantee = guarantee;
        self
    }

    /// Where inputs begin that have no committed position.
    pub fn start_at(mut self, start: StartAt) -> Self {
        self.start = start;
        self
    }

    /// How long a task with several inputs waits for one that has no more records for now, so as to process in order of time. Whatever it
    /// is, an input that is known to have more is waited for (Kafka's KIP-695). Default: 0, as in Kafka Streams.
    pub fn max_task_idle(mut self, idle: Duration) -> Self {
        self.max_task_idle = Some(idle);
        self
    }

    /// A task with several inputs processes what it has, in whatever order it arrives: not even records that are known to be there
    /// are waited for. Kafka Streams' `max.task.idle.ms = -1`.
    pub fn without_task_idle(mut self) -> Self {
        self.max_task_idle = None;
        self
    }

    /// When no input of a task has had a record for this long, its stream time goes on with the clock, and with it its punctuations on stream
    /// time. Records that are older than that when they come at last count as late. Default: stream time stands still without records, so that a
    /// replay gives the same results.
    pub fn idle_source_timeout(mut self, timeout: Duration) -> Self {
        self.idle_source_timeout = Some(timeout);
        self
    }

    /// Bytes fetched at once by a thread.
    pub fn max_poll_bytes(mut self, bytes: usize) -> Self {
        self.max_poll_bytes = bytes;
        self
    }

    /// Entries that the cache of each store of each task keeps after a commit. Changed entries are kept until the next commit in
    /// any case; when there are more of them than this, the commit comes early.
    pub fn cache_entries(mut self, entries: usize) -> Self {
        self.cache_entries = entries;
        self
    }

    /// Bytes of memory for all state of this program together: caches, entries that are not on disk yet, the database's block cache.
    /// Default 192 MiB, at least 8 MiB. When there is more state, what was not used for long goes to disk. Stores that are kept in memory
    /// ([`Store::in_memory`](crate::Store::in_memory), or all of them without a state directory) are not bounded by it.
    pub fn memory_budget(mut self, bytes: usize) -> Self {
        self.memory_budget = bytes;
        self
    }

    /// Copies of the internal topics.
    pub fn replication_factor(mut self, copies: u16) -> Self {
        self.replication_factor = copies;
        self
    }

    /// How long a thread waits before it repeats a call that the log could not answer.
    pub fn retry_backoff(mut self, backoff: Duration) -> Self {
        self.retry_backoff = backoff;
        self
    }

    /// Distinguishes this process from others of the same application, in names and transactional ids. Needed when several processes run one
    /// application, and then to be kept from start to start: a successor aborts what its predecessor left open.
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.client_id = Some(id.into());
        self
    }

    /// Host and port where other processes of the application can ask this one for the state that it owns;
    /// [`Streams::endpoints`](super::Streams::endpoints). The engine itself listens nowhere.
    pub fn endpoint(mut self, host: impl Into<String>, port: u16) -> Self {
        self.endpoint = Some((host.into(), port));
        self
    }

    /// Copies of each task's state that other processes of the application keep ready, so that they can take the task over without a
    /// restore. Default: 0. With Apache Kafka the group's own setting `streams.num.standby.replicas` has the last word.
    pub fn standby_replicas(mut self, copies: u32) -> Self {
        self.standby_replicas = copies;
        self
    }

    /// How long state on disk stays when its task has left this process: it may come back. Default: ten minutes.
    pub fn state_cleanup_delay(mut self, delay: Duration) -> Self {
        self.state_cleanup_delay = delay;
        self
    }

    /// What happens to records that cannot be read. Default: stop.
    pub fn deserialization_error(mut self, handler: ErrorHandler) -> Self {
        self.handlers.deserialization = handler;
        self
    }

    /// What happens to records that a processor fails on. Default: stop.
    pub fn processing_error(mut self, handler: ErrorHandler) -> Self {
        self.handlers.processing = handler;
        self
    }

    /// What happens to records that cannot be written. Default: stop.
    pub fn production_error(mut self, handler: ErrorHandler) -> Self {
        self.handlers.production = handler;
        self
    }

    /// What happens to the program when a thread ends with an error. Default: three new threads in five minutes, then stop.
    pub fn uncaught_error(mut self, policy: UncaughtErrorPolicy) -> Self {
        self.uncaught = Arc::new(move |_| policy);
        self
    }

    /// As [`uncaught_error`](Self::uncaught_error), decided for each error.
    pub fn uncaught_error_handler(
        mut self,
        decide: impl Fn(&StreamsError) -> UncaughtErrorPolicy + Send + Sync + 'static,
    ) -> Self {
        self.uncaught = Arc::new(decide);
        self
    }

    /// Is told of each change of state: old, new. Called from the engine's threads: keep it short.
    pub fn state_listener(mut self, listener: impl Fn(State, State) + Send + Sync + 'static) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// Is told of the course of each store's restore. Called from the engine's threads: keep it short.
    pub fn restore_listener(mut self, listener: impl Fn(&RestoreEvent) + Send + Sync + 'static) -> Self {
        self.restore_listener = Some(Arc::new(listener));
        self
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("application_id", &self.application_id)
            .field("log", &self.log.address())
            .field("state_dir", &self.state_dir)
            .field("threads", &self.threads)
            .field("commit_interval", &self.commit_interval)
            .field("guarantee", &self.guarantee)
            .finish_non_exhaustive()
    }
}
