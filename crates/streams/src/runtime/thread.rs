//! A stream thread: one member of the group, one producer, and the tasks of the partitions that it owns.
//!
//! [`StreamThread::step`] is one turn: poll, take over or give up partitions, restore, process, punctuate, commit. The simulation calls it
//! directly; in a program a system thread calls it until told to stop. All tasks of a thread commit together, in one transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vigie_log::{
    BatchBuilder, Consequence, Fetched, LogError, Member, MemberConfig, Offset, Producer, ProducerConfig,
    StartAt, TopicPartition,
};

use super::config::ProcessingGuarantee;
use super::metrics::ThreadTotals;
use super::shared::Shared;
use super::task::Task;
use crate::error::StreamsError;
use crate::state::{Backend, MemoryBackend, StoreBatch};
use crate::topology::{TaskId, TopicName};

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
            last_commit: now,
            last_purge: now,
            totals: ThreadTotals::default(),
            published: Arc::default(),
        }
    }

    /// The member's name in its group, for tests that kill it.
    #[cfg(test)]
    pub(crate) fn member_name(&self) -> Option<Arc<str>> {
        self.member.as_ref().map(|member| member.membership().member)
    }

    /// Whether all partitions it owns are being processed.
    pub(crate) fn is_running(&self) -> bool {
        self.member.is_some() && !self.waiting_for_tasks && self.tasks.values().all(Task::is_running)
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
        busy |= self.process()?;
        self.punctuate()?;
        self.flow_control()?;
        self.commit_if_due()?;
        if moved || busy {
            self.publish();
        }
        Ok(busy)
    }

    fn join(&mut self) -> Result<(), Trouble> {
        let config = &self.shared.config;
        if self.producer.is_none() {
            let transactional_id = match config.guarantee {
                ProcessingGuarantee::ExactlyOnce => Some(self.transactional_id.clone()),
                ProcessingGuarantee::AtLeastOnce => None,
            };
            let producer = config.log.producer(ProducerConfig { transactional_id });
            self.producer = Some(producer.map_err(log("making a producer"))?);
            self.in_transaction = false;
        }
        if self.member.is_none() {
            let mut member = MemberConfig::new(&*self.shared.application_id, &self.topics);
            member.start = config.start;
            member.client_id.clone_from(&self.name);
            member.max_poll_bytes = config.max_poll_bytes;
            member.topology = Some(Arc::clone(&self.shared.group_topology));
            member.endpoint.clone_from(&config.endpoint);
            member.process_id.clone_from(&self.shared.process_id);
            member.standby_replicas = config.standby_replicas;
            self.member = Some(config.log.member(member).map_err(log("joining the group"))?);
        }
        Ok(())
    }

    /// How long the poll may wait.
    fn wait(&self) -> Duration {
        if self.tasks.values().any(|task| !task.is_running()) {
            return Duration::ZERO;
        }
        let clock = &self.shared.config.clock;
        let mut wait = MAX_WAIT;
        if self.waiting_for_tasks || self.tasks.values().any(Task::has_work) {
            // Records wait for an input that is behind, or partitions for another thread.
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

    /// The tasks that read one of these partitions.
    fn readers(&self, partitions: &[TopicPartition]) -> Vec<TaskId> {
        let reads = |task: &Task| task.inputs.iter().any(|input| partitions.contains(&input.partition));
        self.tasks.values().filter(|task| reads(task)).map(|task| task.id).collect()
    }

    fn lost(&mut self, partitions: &[TopicPartition]) -> Result<(), Trouble> {
        for partition in partitions {
            self.owned.remove(partition);
        }
        let readers = self.readers(partitions);
        for id in readers {
            if let Some(mut task) = self.tasks.remove(&id) {
                task.close(&self.shared);
            }
        }
        // The open transaction may hold results of the lost tasks: it cannot be committed.
        self.recover();
        Ok(())
    }

    fn revoke(&mut self, partitions: &[TopicPartition]) -> Result<(), Trouble> {
        // Still ours until the next poll: what was done is committed first.
        match self.commit() {
            // The next owner meets the record again.
            Err(Trouble::Refused(_)) => self.recover(),
            committed => committed?,
        }
        for id in self.readers(partitions) {
            if let Some(mut task) = self.tasks.remove(&id) {
                task.close(&self.shared);
            }
        }
        for partition in partitions {
            self.owned.remove(partition);
        }
        Ok(())
    }

    /// Makes the tasks of partitions that have none yet.
    fn make_tasks(&mut self) -> Result<(), Trouble> {
        let shared = Arc::clone(&self.shared);
        self.waiting_for_tasks = false;
        for (number, sub) in shared.topology.inner.subs.iter().enumerate() {
            let sub_topology = u32::try_from(number).unwrap_or(u32::MAX);
            let topics: Vec<Arc<str>> = shared
                .topology
                .inner
                .inputs(sub)
                .map(|(topic, _)| TopicName::resolve(topic, &shared.application_id))
                .collect();
            let partitions: BTreeSet<u32> = self
                .owned
                .iter()
                .filter(|owned| topics.contains(&owned.topic))
                .map(|owned| owned.partition)
                .collect();
            for partition in partitions {
                let id = TaskId { sub_topology, partition };
                if self.tasks.contains_key(&id) {
                    continue;
                }
                if !shared.hold(id) {
                    self.waiting_for_tasks = true;
                    continue;
                }
                let mut task = match Task::new(&shared, id) {
                    Ok(task) => task,
                    Err(error) => {
                        shared.let_go(id);
                        return Err(error.into());
                    }
                };
                self.position(&mut task)?;
                for (partition, (offset, reason)) in &self.refused {
                    task.refuse(partition, *offset, Arc::clone(reason));
                }
                self.shared.crash_point("before restore")?;
                task.plan_restore(&shared)?;
                self.tasks.insert(id, task);
            }
        }
        Ok(())
    }

    /// Puts a task's inputs where the group has committed, for the member as well.
    fn position(&mut self, task: &mut Task) -> Result<(), Trouble> {
        let member = self.member.as_mut().expect("tasks are made by members");
        let partitions: Vec<TopicPartition> =
            task.inputs.iter().map(|input| input.partition.clone()).collect();
        let committed = member.committed(&partitions).map_err(log("asking for committed positions"))?;
        for (input, committed) in task.inputs.iter_mut().zip(committed) {
            let offsets = self.shared.admin.offsets(&input.partition.topic);
            let offsets = offsets.map_err(log("looking an input's ends up"))?;
            let bounds = offsets.get(input.partition.partition as usize).copied().unwrap_or_default();
            let start = committed.or(self.starts.get(&input.partition).copied());
            let start = start.unwrap_or_else(|| {
                let start = match self.shared.config.start {
                    StartAt::Earliest => bounds.earliest,
                    StartAt::Latest => bounds.latest,
                };
                self.starts.insert(input.partition.clone(), start);
                start
            });
            input.begin(start, bounds.latest);
            member.seek(&input.partition, start).map_err(log("seeking in an input"))?;
        }
        // A task that was dropped may have left them paused.
        member.resume(&partitions).map_err(log("resuming inputs"))?;
        Ok(())
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
            let complete = task.restore_some(Duration::from_millis(1))?;
            self.shared.crash_point("in restore")?;
            if complete {
                task.start(&self.shared)?;
            }
        }
        Ok(busy)
    }

    fn process(&mut self) -> Result<bool, Trouble> {
        let mut busy = false;
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
            if !progress || due || self.shared.stopping() {
                return Ok(busy);
            }
        }
    }

    fn punctuate(&mut self) -> Result<(), Trouble> {
        let now = self.shared.config.clock.now();
        for task in self.tasks.values_mut() {
            task.punctuate(now)?;
        }
        Ok(())
    }

    fn flow_control(&mut self) -> Result<(), Trouble> {
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        for task in self.tasks.values_mut() {
            task.flow_control(&mut pause, &mut resume);
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

    /// Opens a transaction if there is none and hands over what the tasks have written.
    fn send(&mut self) -> Result<(), Trouble> {
        let (shared, producer) = (&self.shared, self.producer.as_mut().expect("`join` has made one"));
        if !self.in_transaction {
            repeat(shared, || producer.begin())?;
            self.in_transaction = true;
        }
        for task in self.tasks.values_mut() {
            task.drain(&mut |partition: &TopicPartition, builder: &mut BatchBuilder| {
                let name = |error| match error {
                    StreamsError::Log { source, .. } => {
                        StreamsError::Log { doing: format!("writing to `{partition}`"), source }
                    }
                    other => other,
                };
                repeat(shared, || producer.append(partition, builder)).map_err(|trouble| match trouble {
                    Trouble::Fatal(error) => Trouble::Fatal(name(error)),
                    Trouble::Refused(error) => Trouble::Refused(name(error)),
                    other => other,
                })
            })?;
        }
        Ok(())
    }

    fn commit_if_due(&mut self) -> Result<(), Trouble> {
        let now = self.shared.config.clock.monotonic();
        if self.careful.is_some()
            || now.saturating_sub(self.last_commit) >= self.shared.config.commit_interval
        {
            self.commit()?;
        }
        Ok(())
    }

    /// Commits results, state and positions, if there are any.
    fn commit(&mut self) -> Result<(), Trouble> {
        let now = self.shared.config.clock.monotonic();
        if !self.in_transaction && !self.tasks.values().any(Task::is_dirty) {
            return Ok(());
        }
        for task in self.tasks.values_mut() {
            task.flush()?;
        }
        self.send()?;
        let offsets: Vec<(TopicPartition, Offset)> = self.tasks.values().flat_map(Task::offsets).collect();
        let shared = Arc::clone(&self.shared);
        let producer = self.producer.as_mut().expect("`join` has made one");
        let member = self.member.as_mut().expect("`join` has joined");
        let exactly_once = shared.config.guarantee == ProcessingGuarantee::ExactlyOnce;
        if exactly_once && !offsets.is_empty() {
            let membership = member.membership();
            repeat(&shared, || producer.add_offsets(&membership, &offsets))?;
        }
        shared.crash_point("before log commit")?;
        // IMPORTANT: the log first. State that is ahead of the log could never be taken back.
        let bases = repeat(&shared, || producer.commit())?;
        self.in_transaction = false;
        shared.crash_point("after log commit")?;
        let mut batch = StoreBatch::default();
        for task in self.tasks.values_mut() {
            task.stage(&bases, &shared, &mut batch)?;
        }
        let backend: &dyn Backend = match &shared.disk {
            Some(disk) => &**disk,
            None => &MemoryBackend,
        };
        backend.apply(batch).map_err(StreamsError::State)?;
        shared.crash_point("after store commit")?;
        if !exactly_once && !offsets.is_empty() {
            repeat(&shared, || member.commit(&offsets))?;
        }
        for task in self.tasks.values_mut() {
            task.committed(shared.config.cache_entries);
        }
        self.totals.commits += 1;
        self.last_commit = now;
        self.careful = self.careful.and_then(super::refused::widen);
        self.publish();
        if now.saturating_sub(self.last_purge) >= PURGE_EVERY {
            self.last_purge = now;
            self.purge(&offsets);
        }
        Ok(())
    }

    /// Deletes what all have read from repartition topics; a failure only leaves them longer.
    fn purge(&self, offsets: &[(TopicPartition, Offset)]) {
        let repartitions = &self.shared.topology.inner.repartitions;
        for (partition, offset) in offsets {
            let internal =
                |name: &Arc<str>| TopicName::Internal(Arc::clone(name)).resolve(&self.shared.application_id);
            if repartitions.iter().any(|def| internal(&def.name) == partition.topic)
                && let Err(error) = self.shared.admin.delete_records(partition, *offset)
            {
                tracing::debug!(%partition, %error, "records that are done with stay for now");
            }
        }
    }

    /// Aborts the open transaction and makes all tasks anew from what is committed.
    pub(super) fn recover(&mut self) {
        self.totals.aborts += 1;
        if self.in_transaction {
            self.in_transaction = false;
            let aborted = self.producer.as_mut().map_or(Ok(()), |producer| producer.abort());
            if let Err(error) = aborted {
                tracing::debug!(thread = self.name, %error, "abort failed, a new producer will take over");
                self.producer = None;
            }
        }
        for task in std::mem::take(&mut self.tasks).values_mut() {
            task.close(&self.shared);
        }
    }

    /// Drops everything and leaves the group; the next turn joins again.
    fn leave(&mut self) {
        self.recover();
        self.producer = None;
        self.owned.clear();
        if let Some(member) = self.member.take()
            && let Err(error) = member.close()
        {
            tracing::debug!(thread = self.name, %error, "while leaving the group");
        }
        self.publish();
    }

    /// Commits what was done and leaves the group.
    pub(crate) fn close(&mut self) -> Result<(), StreamsError> {
        let committed = match self.commit() {
            Err(Trouble::Fatal(error)) => Err(error),
            _ => Ok(()),
        };
        self.leave();
        committed
    }

    /// Leaves without a commit, after an error.
    pub(crate) fn fail(&mut self) {
        self.leave();
    }

    /// A thread in the place of this one, which has failed; metrics go on counting.
    pub(crate) fn successor(&self) -> Self {
        let mut next = Self::new(&self.shared, self.number);
        next.totals = self.totals.clone();
        next.published = Arc::clone(&self.published);
        next
    }

    /// Hands the totals to whoever asks for metrics.
    fn publish(&mut self) {
        self.totals.tasks.clear();
        for task in self.tasks.values_mut() {
            self.totals.counts.add(&task.take_counts());
            self.totals.tasks.push(task.snapshot(&self.name));
        }
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        published.clone_from(&self.totals);
    }
}

/// Repeats a call while the log cannot be reached: a transaction must not be left half done for a broken connection.
fn repeat<T>(shared: &Shared, mut call: impl FnMut() -> Result<T, LogError>) -> Result<T, Trouble> {
    loop {
        let error = match call() {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        match error.consequence() {
            Consequence::Retriable if !shared.stopping() => std::thread::sleep(shared.config.retry_backoff),
            Consequence::Retriable | Consequence::Fatal => {
                return Err(Trouble::Fatal(StreamsError::Log {
                    doing: String::from("committing"),
                    source: error,
                }));
            }
            Consequence::Abort if !matches!(error, LogError::InvalidState(_)) => {
                // A record that is too large or a topic that went away will not do better the next time.
                return Err(Trouble::Refused(StreamsError::Log {
                    doing: String::from("committing"),
                    source: error,
                }));
            }
            Consequence::Abort => return Err(Trouble::Abort),
            Consequence::TaskMigrated => return Err(Trouble::Migrated),
        }
    }
}

#[cfg(test)]
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
