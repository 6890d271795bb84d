//! A task: one sub-topology on one partition, with its inputs' buffers and its stores' changelogs.
//!
//! ```text
//! Restoring ──▶ Running ──▶ (revoked: commit, close | lost: drop)
//!      ▲            │
//!      └── abort ───┘   a task whose transaction was aborted is made anew from what is committed
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use vigie_log::{BatchBuilder, Fetched, Offset, RecordBatch, RecordRef, Timestamp, TopicPartition};

use super::instance::{Instance, open_store};
use super::metrics::{PartitionLag, TaskSnapshot};
use super::restore::{Changelog, Restore};
use super::shared::Shared;
use crate::error::StreamsError;
use crate::processor::{Counts, PunctuationType};
use crate::state::StoreBatch;
use crate::topology::TaskId;

/// Bytes buffered for one input before it is paused.
pub(crate) const MAX_BUFFERED: usize = 1 << 20;
/// How long an input that seems to have more is waited for at least, where the log does not tell how far it was read.
const BLIND_WAIT: Duration = Duration::from_millis(500);

pub(crate) struct Input {
    pub partition: TopicPartition,
    source: usize,
    queue: VecDeque<RecordBatch>,
    buffered: usize,
    /// The next offset to process; `None` before the first record, where no position was committed.
    position: Option<Offset>,
    /// The end of the partition as last seen.
    end: Offset,
    /// How far the member has read, where it knows.
    reached: Option<Offset>,
    /// What the group has committed.
    committed: Option<Offset>,
    /// What the group had committed when the task came here.
    pub group: Option<Offset>,
    paused: bool,
    /// A record whose results the log does not take, and why.
    refused: Option<(Offset, Arc<str>)>,
}

impl Input {
    /// Puts the input at its first offset. That counts as committed: nothing is worth a commit before a record was processed.
    pub(crate) fn begin(&mut self, start: Offset, end: Offset) {
        self.position = Some(start);
        self.committed = Some(start);
        self.end = end;
    }
}

pub(crate) struct Task {
    pub id: TaskId,
    pub instance: Instance,
    pub inputs: Vec<Input>,
    /// One for each store; `None` without a changelog.
    changelogs: Vec<Option<Changelog>>,
    restore: Option<Restore>,
    started: bool,
    /// Since when no input has records, and the stream time then.
    idle: Option<(Duration, Timestamp)>,
    /// Since when an empty input has been waited for.
    waiting: Option<Duration>,
    /// Totals since the task came here.
    records: u64,
    /// Records since the last commit, and the last of them.
    uncommitted: usize,
    last: Option<(TopicPartition, Offset)>,
    /// Something happened that a commit must carry, apart from input positions.
    touched: bool,
    shared: Arc<Shared>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.shared.let_go(self.id);
    }
}

impl Task {
    /// A task that the caller [holds](Shared::hold); dropping it lets go.
    pub(crate) fn new(shared: &Arc<Shared>, id: TaskId) -> Result<Self, StreamsError> {
        let topology = &shared.topology.inner;
        let disk = shared.disk.as_deref();
        let mut open = |def: &crate::topology::StoreDef| open_store(def, id.partition, &shared.memory, disk);
        let directory = Arc::clone(&shared.directory);
        let handlers = shared.config.handlers.clone();
        let mut instance = Instance::new(
            topology,
            id,
            &shared.application_id,
            &mut open,
            directory,
            handlers,
            &shared.globals,
        )?;
        for store in &mut instance.state.stores {
            store.count_in(&shared.budget);
        }
        instance.state.emit_interval =
            i64::try_from(shared.config.emit_interval.as_millis()).unwrap_or(i64::MAX);
        instance.state.record_cache = shared.config.record_cache;
        let inputs = instance
            .inputs
            .iter()
            .filter(|(topic, _)| shared.counts.topics.get(topic).is_some_and(|count| id.partition < *count))
            .map(|(topic, source)| Input {
                partition: TopicPartition::new(Arc::clone(topic), id.partition),
                source: *source,
                queue: VecDeque::new(),
                buffered: 0,
                position: None,
                end: 0,
                reached: None,
                committed: None,
                group: None,
                paused: false,
                refused: None,
            })
            .collect();
        let changelogs =
            instance.state.stores.iter().map(|store| {
                Changelog::of(&shared.application_id, topology.store(store.name()), id.partition)
            });
        let changelogs = changelogs.collect();
        Ok(Self {
            id,
            instance,
            inputs,
            changelogs,
            restore: None,
            started: false,
            idle: None,
            waiting: None,
            records: 0,
            uncommitted: 0,
            last: None,
            touched: false,
            shared: Arc::clone(shared),
        })
    }

    /// Compares the stores with their changelogs; what is behind will be restored.
    pub(crate) fn plan_restore(&mut self, shared: &Shared) -> Result<(), StreamsError> {
        let committed = |partition: &TopicPartition| {
            self.inputs.iter().find(|input| input.partition == *partition).and_then(|input| input.group)
        };
        for changelog in self.changelogs.iter_mut().flatten() {
            changelog.follow(&committed);
        }
        let stores = (self.instance.state.stores.as_mut_slice(), self.changelogs.as_mut_slice());
        self.restore = Restore::plan(shared, self.id, stores)?;
        Ok(())
    }

    /// Restores a part; tells whether the task is complete.
    pub(crate) fn restore_some(&mut self, shared: &Shared, timeout: Duration) -> Result<bool, StreamsError> {
        let Some(restore) = &mut self.restore else { return Ok(true) };
        let stores = (self.instance.state.stores.as_mut_slice(), self.changelogs.as_mut_slice());
        if restore.advance(&shared.config.restore_listener, stores, timeout)? {
            self.restore = None;
        }
        if let Some(disk) = &shared.disk {
            let stores: Vec<_> = self.instance.state.stores.iter().map(|store| store.reader()).collect();
            disk.tend(&stores, false)?;
        }
        Ok(self.restore.is_none())
    }

    /// Makes the stores visible to queries and starts the nodes.
    pub(crate) fn start(&mut self, shared: &Shared) -> Result<(), StreamsError> {
        for store in &self.instance.state.stores {
            shared.register(&**store, self.id, None);
        }
        self.instance.init(shared.config.clock.now())?;
        self.started = true;
        Ok(())
    }

    /// Ends the task; what is uncommitted is gone.
    pub(crate) fn close(&mut self, shared: &Shared) {
        if let Some(restore) = &self.restore {
            let state = &self.instance.state;
            restore.suspend(&shared.config.restore_listener, &state.stores, &self.changelogs);
        }
        for store in &self.instance.state.stores {
            shared.registry.remove(store.name(), self.id.partition);
        }
        if self.started {
            self.instance.close();
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.started
    }

    /// Buffers a batch. What lies before the position is skipped: a log may hand it out again.
    pub(crate) fn add(&mut self, fetched: Fetched) {
        let Some(input) = self.inputs.iter_mut().find(|input| input.partition == fetched.partition) else {
            return;
        };
        input.end = input.end.max(fetched.end);
        let buffered_to = input.queue.back().map_or(input.position, |batch| Some(batch.last_offset() + 1));
        if buffered_to.is_some_and(|to| fetched.batch.last_offset() < to) {
            return;
        }
        input.buffered += fetched.batch.bytes();
        input.queue.push_back(fetched.batch);
    }

    /// Whether records wait in a buffer.
    pub(crate) fn has_work(&self) -> bool {
        self.started && self.inputs.iter().any(|input| !input.queue.is_empty())
    }

    /// Whether records wait for an input that has none buffered.
    pub(crate) fn waits_for_inputs(&self) -> bool {
        self.started
            && self.inputs.len() > 1
            && self.inputs.iter().any(|input| input.queue.is_empty())
            && self.inputs.iter().any(|input| !input.queue.is_empty())
    }

    /// Learns how far the member has read the inputs without records: beyond ends of transactions there is nothing to wait for.
    pub(crate) fn reached(&mut self, position: &dyn Fn(&TopicPartition) -> Option<Offset>) {
        for input in self.inputs.iter_mut().filter(|input| input.queue.is_empty()) {
            input.reached = position(&input.partition);
        }
    }

    /// Whether the record with the smallest timestamp may be processed, as Kafka's KIP-695 has it: an input that is known to have more
    /// is waited for; one that has no more for now, for `max_idle`; without a `max_idle` nothing is waited for.
    fn ready(&mut self, now: Duration, max_idle: Option<Duration>) -> bool {
        let (mut any, mut empty, mut behind, mut blind) = (false, false, false, false);
        for input in &self.inputs {
            if !input.queue.is_empty() {
                any = true;
                continue;
            }
            empty = true;
            if input.reached.max(input.position).unwrap_or(input.end) < input.end {
                behind = true;
                blind |= input.reached.is_none();
            }
        }
        if !any || !empty {
            self.waiting = None;
            return any;
        }
        let Some(max_idle) = max_idle else { return true };
        if behind && !blind {
            self.waiting = None;
            return false;
        }
        let since = *self.waiting.get_or_insert(now);
        now.saturating_sub(since) >= if behind { max_idle.max(BLIND_WAIT) } else { max_idle }
    }

    /// Moves stream time on with the clock when no record has come for `timeout` and none is known to come.
    pub(crate) fn pass_time(&mut self, now: Duration, timeout: Duration) -> Result<(), StreamsError> {
        let idle = |input: &Input| {
            input.queue.is_empty() && input.reached.max(input.position).unwrap_or(input.end) >= input.end
        };
        if !self.started || self.instance.state.stream_time < 0 || !self.inputs.iter().all(idle) {
            self.idle = None;
            return Ok(());
        }
        let (since, from) = *self.idle.get_or_insert((now, self.instance.state.stream_time));
        let passed = now.saturating_sub(since);
        let time = from.saturating_add(Timestamp::try_from(passed.as_millis()).unwrap_or(Timestamp::MAX));
        if passed >= timeout && time > self.instance.state.stream_time {
            let ran = self.instance.advance_stream_time(time)?;
            self.touched |= ran;
        }
        Ok(())
    }

    /// Has a record go through the production handler instead of the nodes.
    pub(crate) fn refuse(&mut self, partition: &TopicPartition, offset: Offset, reason: Arc<str>) {
        if let Some(input) = self.inputs.iter_mut().find(|input| input.partition == *partition) {
            input.refused = Some((offset, reason));
        }
    }

    /// How many records were processed since the last commit, and the last of them.
    pub(crate) fn uncommitted(&self) -> (usize, Option<&(TopicPartition, Offset)>) {
        (self.uncommitted, self.last.as_ref())
    }

    /// Processes buffered records until a buffer runs empty, at most `budget` of them; tells whether it did anything.
    pub(crate) fn run(
        &mut self,
        now: Duration,
        wall_clock: Timestamp,
        max_idle: Option<Duration>,
        budget: usize,
    ) -> Result<bool, StreamsError> {
        if budget == 0 || !self.started || !self.ready(now, max_idle) {
            return Ok(false);
        }
        self.idle = None;
        self.instance.state.wall_clock = wall_clock;
        let before = self.instance.state.counts.records_in;
        if let [input] = self.inputs.as_mut_slice() {
            // One batch at a time, so that the thread can commit in between.
            if let Some(batch) = input.queue.pop_front() {
                input.buffered = input.buffered.saturating_sub(batch.bytes());
                self.instance.enter(&input.partition.topic, input.partition.partition);
                let from = input.position.unwrap_or(Offset::MIN);
                let mut left = budget;
                let mut last = None;
                let mut end = batch.last_offset() + 1;
                for record in batch.iter().filter(|record| record.offset >= from) {
                    if left == 0 {
                        end = record.offset;
                        break;
                    }
                    left -= 1;
                    process(&mut self.instance, input, &record)?;
                    last = Some(record.offset);
                }
                if end <= batch.last_offset() {
                    input.buffered += batch.bytes();
                    input.queue.push_front(batch);
                }
                input.position = Some(end);
                self.last = last.map(|offset| (input.partition.clone(), offset)).or(self.last.take());
            }
        } else {
            self.run_by_time(budget)?;
        }
        let done = self.instance.state.counts.records_in - before;
        self.records += done;
        self.uncommitted += usize::try_from(done).unwrap_or(usize::MAX);
        Ok(true)
    }

    /// With several inputs: always the record with the smallest timestamp, until one of the first batches is used up.
    fn run_by_time(&mut self, budget: usize) -> Result<(), StreamsError> {
        let heads: Vec<Option<RecordBatch>> =
            self.inputs.iter_mut().map(|input| input.queue.pop_front()).collect();
        let mut records: Vec<_> = heads
            .iter()
            .zip(&self.inputs)
            .map(|(head, input)| {
                let from = input.position.unwrap_or(Offset::MIN);
                let records = head.iter().flat_map(RecordBatch::iter);
                records.skip_while(move |record| record.offset < from).peekable()
            })
            .collect();
        for _ in 0..budget {
            let next = records
                .iter_mut()
                .enumerate()
                .filter_map(|(index, records)| records.peek().map(|record| (record.timestamp, index)))
                .min();
            let Some((_, index)) = next else { break };
            let (Some(iterator), Some(input)) = (records.get_mut(index), self.inputs.get_mut(index)) else {
                break;
            };
            let Some(record) = iterator.next() else { break };
            self.instance.enter(&input.partition.topic, input.partition.partition);
            process(&mut self.instance, input, &record)?;
            input.position = Some(record.offset + 1);
            if budget == 1 {
                self.last = Some((input.partition.clone(), record.offset));
            }
            if iterator.peek().is_none() {
                break;
            }
        }
        // Batches that are not used up go back; their processed records are skipped by offset.
        let unfinished: Vec<bool> = records.iter_mut().map(|records| records.peek().is_some()).collect();
        drop(records);
        for ((input, head), unfinished) in self.inputs.iter_mut().zip(heads).zip(unfinished) {
            let Some(head) = head else { continue };
            if unfinished {
                input.queue.push_front(head);
            } else {
                input.position = Some(input.position.unwrap_or(Offset::MIN).max(head.last_offset() + 1));
                input.buffered = input.buffered.saturating_sub(head.bytes());
            }
        }
        Ok(())
    }

    /// Inputs that should stop, and inputs that may go on, for the sake of memory.
    pub(crate) fn flow_control(
        &mut self,
        hold: bool,
        pause: &mut Vec<TopicPartition>,
        resume: &mut Vec<TopicPartition>,
    ) {
        for input in &mut self.inputs {
            let full = hold || !self.started || input.buffered > MAX_BUFFERED;
            if full != input.paused {
                input.paused = full;
                (if full { &mut *pause } else { &mut *resume }).push(input.partition.clone());
            }
        }
    }

    /// Runs punctuations on the wall clock.
    pub(crate) fn punctuate(&mut self, wall_clock: Timestamp) -> Result<(), StreamsError> {
        if self.started {
            self.instance.state.wall_clock = wall_clock;
            let ran = self.instance.punctuate(PunctuationType::WallClock, wall_clock)?;
            self.touched |= ran > 0;
        }
        Ok(())
    }

    /// When the next punctuation on the wall clock is due.
    pub(crate) fn next_punctuation(&self) -> Option<Timestamp> {
        self.instance.state.punctuations.next(PunctuationType::WallClock).filter(|_| self.started)
    }

    /// Whether there is anything to commit.
    pub(crate) fn is_dirty(&self) -> bool {
        self.inputs.iter().any(|input| input.position.is_some() && input.position != input.committed)
            || self.touched
                && (self.instance.state.outputs.bytes() > 0
                    || self.instance.state.stores.iter().any(|store| store.is_dirty()))
    }

    pub(crate) fn wants_commit(&self, cache_entries: usize) -> bool {
        self.instance.state.commit_requested
            || self.instance.state.stores.iter().any(|store| store.is_full(cache_entries))
    }

    /// Makes changelog records of all changes.
    pub(crate) fn flush(&mut self) -> Result<(), StreamsError> {
        if self.started {
            self.instance.before_commit()?;
        }
        for (store, changelog) in self.instance.state.stores.iter_mut().zip(&mut self.changelogs) {
            store.flush(changelog.as_mut().and_then(Changelog::writer))?;
        }
        Ok(())
    }

    /// Hands everything written so far to `append`.
    pub(crate) fn drain<E>(
        &mut self,
        append: &mut dyn FnMut(&TopicPartition, &mut BatchBuilder) -> Result<(), E>,
    ) -> Result<(), E> {
        for (partition, builder) in self.instance.state.outputs.drain() {
            append(partition, builder)?;
        }
        for changelog in self.changelogs.iter_mut().flatten().filter(|log| !log.builder.is_empty()) {
            let records = changelog.builder.len() as i64;
            append(&changelog.partition, &mut changelog.builder)?;
            changelog.pending += records;
        }
        Ok(())
    }

    /// Input positions that are not committed yet.
    pub(crate) fn offsets(&self) -> impl Iterator<Item = (TopicPartition, Offset)> {
        self.inputs
            .iter()
            .filter(|input| input.position != input.committed)
            .filter_map(|input| input.position.map(|position| (input.partition.clone(), position)))
    }

    /// After the log has committed: stages the stores' changes together with their changelog positions.
    pub(crate) fn stage(
        &mut self,
        bases: &[(TopicPartition, Offset)],
        shared: &Shared,
        batch: &mut StoreBatch,
    ) -> Result<(), StreamsError> {
        for (store, changelog) in self.instance.state.stores.iter_mut().zip(&mut self.changelogs) {
            let mark = match changelog {
                Some(changelog) if changelog.pending > 0 => {
                    let base = bases.iter().find(|(partition, _)| *partition == changelog.partition);
                    changelog.position = match base {
                        Some((_, base)) => base + changelog.pending,
                        // The log does not say; this task is the partition's only writer, so that its end is ours.
                        None => {
                            let offsets = shared.admin.offsets(&changelog.partition.topic);
                            let offsets =
                                offsets.map_err(StreamsError::log("looking a changelog's end up"))?;
                            offsets.get(self.id.partition as usize).map_or(changelog.position, |p| p.latest)
                        }
                    };
                    changelog.pending = 0;
                    Some(changelog.position)
                }
                Some(changelog) => {
                    if changelog.input.is_some() {
                        let input = self.inputs.iter().find(|input| input.partition == changelog.partition);
                        changelog.position =
                            input.and_then(|input| input.position).unwrap_or(changelog.position);
                    }
                    Some(changelog.position)
                }
                None => None,
            };
            store.stage(batch, mark)?;
        }
        Ok(())
    }

    /// After everything is committed.
    pub(crate) fn committed(&mut self, cache_entries: usize) {
        for store in &mut self.instance.state.stores {
            store.committed(cache_entries);
        }
        for input in &mut self.inputs {
            input.committed = input.position;
        }
        self.touched = false;
        (self.uncommitted, self.last) = (0, None);
        self.instance.state.commit_requested = false;
    }

    pub(crate) fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.instance.state.counts)
    }

    pub(crate) fn snapshot(&self, thread: &str) -> TaskSnapshot {
        let stream_time = self.instance.state.stream_time;
        TaskSnapshot {
            id: self.id.to_string(),
            sub_topology: self.id.sub_topology,
            partition: self.id.partition,
            thread: thread.to_owned(),
            state: String::from(if self.started { "running" } else { "restoring" }),
            stream_time: (stream_time >= 0).then_some(stream_time),
            records: self.records,
            inputs: self
                .inputs
                .iter()
                .map(|input| {
                    let position = input.position.unwrap_or(0);
                    let end = input.end.max(position);
                    PartitionLag {
                        topic: input.partition.topic.to_string(),
                        partition: input.partition.partition,
                        position,
                        end,
                        lag: end - position,
                    }
                })
                .collect(),
            restore: self.restore.as_ref().map(|restore| restore.progress),
        }
    }
}

#[inline]
fn process(instance: &mut Instance, input: &Input, record: &RecordRef<'_>) -> Result<(), StreamsError> {
    match &input.refused {
        Some((offset, reason)) if *offset == record.offset => {
            instance.enter(&input.partition.topic, input.partition.partition);
            instance.refuse(record, reason)
        }
        _ => instance.process(input.source, record),
    }
}
