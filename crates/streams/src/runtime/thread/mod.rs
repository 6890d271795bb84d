//! A stream thread: one member of the group, one producer, and the tasks of the partitions that it owns.
//!
//! [`StreamThread::step`] is one turn: poll, take over or give up partitions, restore, process, punctuate, commit. The simulation calls it
//! directly; in a program a system thread calls it until told to stop. All tasks of a thread commit together, in one transaction.

mod commit;
mod rebalance;
mod standbys;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vigie_log::{Consequence, Fetched, LogError, Member, Offset, Producer, TopicPartition};

use super::metrics::ThreadTotals;
use super::shared::Shared;
use super::standby::Standby;
use super::task::Task;
use crate::error::StreamsError;
use crate::topology::TaskId;

/// Bytes collected by a task before they are handed to the producer within a transaction.
const FLUSH_BYTES: usize = 1 << 20;
/// How often what all have read is deleted from repartition topics.
const PURGE_EVERY: Duration = Duration::from_secs(30);
/// How long a turn waits at most, so that a stop is noticed soon.
const MAX_WAIT: Duration = Duration::from_millis(100);

/// Why a turn could not be finished, by what must be done about it.
enum Trouble {
    /// Wait, then take the turn again.
    Later,
    /// The transaction is lost: make the tasks anew from what is committed.
    Abort,
    /// Another member or producer took over: leave and join again.
    Migrated,
    /// The log does not take what the transaction holds, and will not the next time.
    Refused(StreamsError),
    Fatal(StreamsError),
}

impl From<StreamsError> for Trouble {
    fn from(error: StreamsError) -> Self {
        match &error {
            StreamsError::Log { doing, source } => match source.consequence() {
                Consequence::Retriable => {
                    tracing::warn!(doing, %source, "the log did not answer, trying again");
                    Self::Later
                }
                Consequence::Abort => Self::Fatal(error),
                Consequence::TaskMigrated => Self::Migrated,
                Consequence::Fatal => Self::Fatal(error),
            },
            _ => Self::Fatal(error),
        }
    }
}

pub(crate) struct StreamThread {
    pub name: String,
    number: usize,
    pub(super) shared: Arc<Shared>,
    topics: Vec<String>,
    transactional_id: String,
    member: Option<Box<dyn Member>>,
    producer: Option<Box<dyn Producer>>,
    in_transaction: bool,
    pub(super) tasks: BTreeMap<TaskId, Task>,
    /// Partitions assigned and not yet part of a task.
    owned: BTreeSet<TopicPartition>,
    /// Where partitions without a committed position began, in case their first transaction is aborted.
    starts: HashMap<TopicPartition, Offset>,
    /// While a record is searched for whose results the log refuses: how many records a transaction may have.
    pub(super) careful: Option<usize>,
    /// The last record found of each partition, and why it was refused.
    pub(super) refused: HashMap<TopicPartition, (Offset, Arc<str>)>,
    /// Another thread of this process has not let go of a task yet.
    waiting_for_tasks: bool,
    standbys: standbys::Standbys,
    /// Ends this thread alone.
    pub stop: Arc<AtomicBool>,
    last_commit: Duration,
    last_purge: Duration,
    totals: ThreadTotals,
    pub published: Arc<Mutex<ThreadTotals>>,
}

fn log(doing: &'static str) -> impl FnOnce(LogError) -> StreamsError {
    StreamsError::log(doing)
}

impl StreamThread {
    pub(crate) fn new(shared: &Arc<Shared>, number: usize) -> Self {
        let mut topics = BTreeSet::new();
        for sub in &shared.topology.inner.subs {
            for (topic, _) in shared.topology.inner.inputs(sub) {
                topics.insert(topic.resolve(&shared.application_id).to_string());
            }
        }
        let name = match &shared.config.client_id {
            Some(client) => format!("{}-{client}-{number}", shared.application_id),
            None => format!("{}-{number}", shared.application_id),
        };
        let now = shared.config.clock.monotonic();
        Self {
            // The same from start to start: the transactions of a process that died are aborted by its successor.
            transactional_id: name.clone(),
            name,
            number,
            shared: Arc::clone(shared),
            topics: topics.into_iter().collect(),
            member: None,
            producer: None,
            in_transaction: false,
            tasks: BTreeMap::new(),
            owned: BTreeSet::new(),
            starts: HashMap::new(),
            careful: None,
            refused: HashMap::new(),
            waiting_for_tasks: false,
            standbys: standbys::Standbys::default(),
            stop: Arc::default(),
            last_commit: now,
            last_purge: now,
            totals: ThreadTotals::default(),
            published: Arc::default(),
        }
    }

    /// The member's name in its group, for tests that kill it.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn member_name(&self) -> Option<Arc<str>> {
        self.member.as_ref().map(|member| member.membership().member)
    }

    /// Whether all partitions it owns are being processed.
    pub(crate) fn is_running(&self) -> bool {
        self.member.is_some() && !self.waiting_for_tasks && self.tasks.values().all(Task::is_running)
    }

    /// Whether this thread is to end.
    pub(crate) fn stopping(&self) -> bool {
        self.shared.stopping() || self.stop.load(Ordering::Acquire)
    }

    /// One turn, waiting at most `max_wait` for records; tells whether there was anything to do.
    pub(crate) fn step(&mut self, max_wait: Duration) -> Result<bool, StreamsError> {
        match self.turn(max_wait) {
            Ok(busy) => Ok(busy),
            Err(Trouble::Later) => {
                std::thread::sleep(self.shared.config.retry_backoff);
                Ok(false)
            }
            Err(Trouble::Abort) => {
                self.recover();
                Ok(true)
            }
            Err(Trouble::Migrated) => {
                tracing::info!(thread = self.name, "partitions moved elsewhere, joining again");
                self.leave();
                Ok(true)
            }
            Err(Trouble::Refused(error)) => {
                self.narrow(error)?;
                Ok(true)
            }
            Err(Trouble::Fatal(error)) => Err(error),
        }
    }

    fn turn(&mut self, max_wait: Duration) -> Result<bool, Trouble> {
        self.join()?;
        let wait = self.wait().min(max_wait);
        let member = self.member.as_mut().expect("`join` has joined");
        let polled = member.poll(wait).map_err(log("polling the inputs"))?;
        if let Some(standbys) = polled.standbys {
            self.want_standbys(&standbys);
        }
        if polled.shutdown {
            return Err(Trouble::Fatal(StreamsError::ShutdownRequested));
        }
        let moved = !polled.revoked.is_empty() || !polled.lost.is_empty() || !polled.assigned.is_empty();
        let mut busy = moved || !polled.batches.is_empty();
        // IMPORTANT: buffered before anything can fail: the member will not hand these out again. Those of partitions that have no
        // task yet are dropped; the task will seek.
        self.distribute(polled.batches);
        // What is lost may come back with the same poll, so that it goes first.
        if !polled.lost.is_empty() {
            self.lost(&polled.lost)?;
        }
        self.owned.extend(polled.assigned);
        if !polled.revoked.is_empty() {
            self.revoke(&polled.revoked)?;
        }
        if moved {
            self.totals.rebalances += 1;
            self.shared.crash_point("in rebalance")?;
        }
        self.make_tasks()?;
        busy |= self.restore()?;
        let paused = self.shared.paused.load(Ordering::Acquire);
        if !paused {
            busy |= self.process()?;
            self.punctuate()?;
        }
        self.flow_control(paused)?;
        self.commit_if_due()?;
        let looked = !paused && self.keep_standbys()?;
        self.look_around();
        if moved || busy || looked {
            self.publish();
        }
        Ok(busy)
    }

    /// How long the poll may wait.
    fn wait(&self) -> Duration {
        if self.tasks.values().any(|task| !task.is_running()) {
            return Duration::ZERO;
        }
        if self.shared.paused.load(Ordering::Acquire) {
            return MAX_WAIT;
        }
        let clock = &self.shared.config.clock;
        let mut wait = MAX_WAIT;
        if self.waiting_for_tasks || self.standbys.busy || self.tasks.values().any(Task::has_work) {
            // Records wait for an input that is behind, partitions for another thread, or copies for their changelogs.
            wait = wait.min(Duration::from_millis(5));
        }
        if self.in_transaction || self.tasks.values().any(Task::is_dirty) {
            let due = self.last_commit + self.shared.config.commit_interval;
            wait = wait.min(due.saturating_sub(clock.monotonic()));
        }
        if let Some(at) = self.tasks.values().filter_map(Task::next_punctuation).min() {
            let until = u64::try_from(at.saturating_sub(clock.now())).unwrap_or(0);
            wait = wait.min(Duration::from_millis(until));
        }
        wait
    }

    fn distribute(&mut self, batches: Vec<Fetched>) {
        for fetched in batches {
            let reads =
                |task: &&mut Task| task.inputs.iter().any(|input| input.partition == fetched.partition);
            if let Some(task) = self.tasks.values_mut().find(reads) {
                task.add(fetched);
            }
        }
    }

    fn restore(&mut self) -> Result<bool, Trouble> {
        let mut busy = false;
        for task in self.tasks.values_mut().filter(|task| !task.is_running()) {
            busy = true;
            let complete = task.restore_some(&self.shared, Duration::from_millis(1))?;
            self.shared.crash_point("in restore")?;
            if complete {
                task.start(&self.shared)?;
            }
        }
        Ok(busy)
    }

    fn process(&mut self) -> Result<bool, Trouble> {
        let mut busy = false;
        if let Some(member) = &self.member {
            for task in self.tasks.values_mut().filter(|task| task.waits_for_inputs()) {
                task.reached(&|partition| member.position(partition));
            }
        }
        let config = &self.shared.config;
        let (wall_clock, max_idle, cache) = (config.clock.now(), config.max_task_idle, config.cache_entries);
        loop {
            let now = self.shared.config.clock.monotonic();
            let mut progress = false;
            let (mut large, mut wanted) = (false, false);
            let mut left = self.careful.unwrap_or(usize::MAX);
            for task in self.tasks.values_mut() {
                let before = task.uncommitted().0;
                progress |= task.run(now, wall_clock, max_idle, left)?;
                left = left.saturating_sub(task.uncommitted().0 - before);
                large |= task.instance.state.outputs.bytes() > FLUSH_BYTES;
                wanted |= task.wants_commit(cache);
            }
            busy |= progress;
            if large {
                self.send()?;
            }
            let due = now.saturating_sub(self.last_commit) >= self.shared.config.commit_interval;
            if wanted || progress && (due || self.careful.is_some()) {
                self.commit()?;
            }
            if !progress || due || self.stopping() {
                return Ok(busy);
            }
        }
    }

    fn punctuate(&mut self) -> Result<(), Trouble> {
        let (now, monotonic) = (self.shared.config.clock.now(), self.shared.config.clock.monotonic());
        for task in self.tasks.values_mut() {
            task.punctuate(now)?;
            if let Some(timeout) = self.shared.config.idle_source_timeout {
                task.pass_time(monotonic, timeout)?;
            }
        }
        Ok(())
    }

    fn flow_control(&mut self, hold: bool) -> Result<(), Trouble> {
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        for task in self.tasks.values_mut() {
            task.flow_control(hold, &mut pause, &mut resume);
        }
        let member = self.member.as_mut().expect("`join` has joined");
        if !pause.is_empty() {
            member.pause(&pause).map_err(log("pausing inputs"))?;
        }
        if !resume.is_empty() {
            member.resume(&resume).map_err(log("resuming inputs"))?;
        }
        Ok(())
    }

    /// What a thread does now and then for the whole process.
    fn look_around(&mut self) {
        self.shared.clean_up();
        if self.shared.config.endpoint.is_some()
            && let Some(member) = self.member.as_mut()
            && self.shared.time_for_endpoints()
        {
            match member.endpoints() {
                Ok(endpoints) => self.shared.set_endpoints(endpoints),
                Err(error) => tracing::debug!(%error, "asking where the other members are"),
            }
        }
    }

    /// Hands the totals to whoever asks for metrics.
    fn publish(&mut self) {
        self.totals.tasks.clear();
        for task in self.tasks.values_mut() {
            self.totals.counts.add(&task.take_counts());
            self.totals.tasks.push(task.snapshot(&self.name));
        }
        self.totals.standbys = self.standbys.snapshot(&self.name);
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        published.clone_from(&self.totals);
    }
}

#[cfg(any(test, feature = "simulation"))]
impl std::fmt::Debug for StreamThread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tasks: Vec<_> = self.tasks.values().map(|task| task.snapshot("")).collect();
        let assignment = self.member.as_ref().map(|member| member.assignment());
        f.debug_struct("StreamThread")
            .field("name", &self.name)
            .field("assignment", &assignment)
            .field("owned", &self.owned)
            .field("tasks", &tasks)
            .finish_non_exhaustive()
    }
}
