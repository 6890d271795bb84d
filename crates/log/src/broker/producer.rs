//! Producers, and the leader's work: checking, numbering, storing and publishing transactions.

use std::collections::HashMap;
use std::sync::Arc;

use super::Shared;
use super::state::{Partition, State};
use super::storage::{Entry, Note, Slot, Write};
use super::turn::Job;
use crate::{
    BatchBuilder, LogError, Membership, Offset, Producer, ProducerConfig, RecordBatch, Result, Timestamp,
    TopicPartition,
};

/// Base offsets in the order of first append, or why nothing was committed.
pub(super) type Committed = Result<Vec<(TopicPartition, Offset)>>;

/// What is committed together.
#[derive(Default, Clone)]
pub(super) struct Transaction {
    pub producer: Option<(Arc<str>, u32)>,
    pub records: Vec<(TopicPartition, Slot, RecordBatch)>,
    pub offsets: Vec<(Membership, Vec<(TopicPartition, Offset)>)>,
}

impl Transaction {
    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.offsets.is_empty()
    }
}

pub(super) struct BrokerProducer {
    shared: Arc<Shared>,
    identity: Option<(Arc<str>, u32)>,
    open: Option<Transaction>,
}

impl BrokerProducer {
    pub fn open(shared: &Arc<Shared>, config: ProducerConfig) -> Result<Self> {
        let identity = match config.transactional_id {
            None => None,
            Some(id) => {
                super::check_name("a transactional id", &id)?;
                Some(shared.turn.alone(|| fence_older(shared, &id))?)
            }
        };
        shared.check_open(&shared.lock())?;
        Ok(Self { shared: Arc::clone(shared), identity, open: None })
    }
}

/// Gives out the next epoch of a transactional id. Called in a turn.
fn fence_older(shared: &Shared, id: &str) -> Result<(Arc<str>, u32)> {
    let (id, epoch) = {
        let state = shared.lock();
        shared.check_open(&state)?;
        let known = state.epochs.get_key_value(id);
        (
            known.map_or_else(|| Arc::from(id), |(id, _)| Arc::clone(id)),
            known.map_or(0, |(_, epoch)| epoch + 1),
        )
    };
    shared.storage.write(vec![Write::PutEpoch { id: Arc::clone(&id), epoch }])?;
    shared.lock().epochs.insert(Arc::clone(&id), epoch);
    Ok((id, epoch))
}

const NOT_BEGUN: LogError = LogError::InvalidState("no transaction is open: call begin first");

impl Producer for BrokerProducer {
    fn begin(&mut self) -> Result<()> {
        if self.open.is_some() {
            return Err(LogError::InvalidState("a transaction is open already: commit or abort it first"));
        }
        {
            let state = self.shared.lock();
            self.shared.check_open(&state)?;
            check_epoch(&state, self.identity.as_ref())?;
        }
        self.open = Some(Transaction { producer: self.identity.clone(), ..Transaction::default() });
        Ok(())
    }

    fn append(&mut self, partition: &TopicPartition, records: &mut BatchBuilder) -> Result<()> {
        let open = self.open.as_mut().ok_or(NOT_BEGUN)?;
        let state = self.shared.lock();
        self.shared.check_open(&state)?;
        let (slot, _) = state.partition(partition)?;
        let limit = state.topic(&partition.topic)?.settings.max_message_bytes;
        drop(state);
        if records.largest_record() > limit {
            return Err(LogError::TooLarge {
                topic: partition.topic.to_string(),
                size: records.largest_record(),
                limit,
            });
        }
        if !records.is_empty() {
            open.records.push((partition.clone(), slot, records.build(0)));
        }
        Ok(())
    }

    fn add_offsets(&mut self, member: &Membership, offsets: &[(TopicPartition, Offset)]) -> Result<()> {
        let open = self.open.as_mut().ok_or(NOT_BEGUN)?;
        self.shared.lock().groups.check(member, offsets)?;
        open.offsets.push((member.clone(), offsets.to_vec()));
        Ok(())
    }

    fn commit(&mut self) -> Committed {
        let transaction = self.open.as_ref().ok_or(NOT_BEGUN)?;
        if transaction.is_empty() {
            check_epoch(&self.shared.lock(), self.identity.as_ref())?;
            self.open = None;
            return Ok(Vec::new());
        }
        // A transaction that fails stays open, so that it can be committed again or aborted; batches are cheap to share.
        let bases = self.shared.commit(transaction.clone())?;
        self.open = None;
        Ok(bases)
    }

    fn abort(&mut self) -> Result<()> {
        match self.open.take() {
            Some(_) => Ok(()),
            None => Err(NOT_BEGUN),
        }
    }
}

impl Shared {
    /// Commits one transaction, together with those of other threads that wait at the same moment.
    pub fn commit(&self, transaction: Transaction) -> Committed {
        self.turn
            .submit(transaction, |jobs| lead(self, jobs))
            .unwrap_or(Err(LogError::InvalidState("the thread that committed for this one panicked")))
    }
}

/// The end of a partition while a group of transactions is numbered.
struct End {
    latest: Offset,
    appended: u64,
    running_max: Timestamp,
    latest_timestamp: Option<Timestamp>,
}

impl End {
    fn of(partition: &Partition) -> Self {
        Self {
            latest: partition.latest,
            appended: partition.appended,
            running_max: partition.running_max,
            latest_timestamp: partition.latest_timestamp,
        }
    }
}

fn lead(shared: &Shared, jobs: &[Arc<Job<Transaction, Committed>>]) {
    let mut ends: HashMap<Slot, (TopicPartition, End)> = HashMap::new();
    let mut writes = Vec::new();
    let mut accepted = Vec::new();
    {
        let mut state = shared.lock();
        for job in jobs {
            match check(shared, &state, &job.task) {
                Err(error) => job.answer(Err(error)),
                Ok(()) => accepted.push((job, number(&state, &job.task, &mut ends, &mut writes))),
            }
        }
        let groups = accepted
            .iter()
            .flat_map(|(job, _)| &job.task.offsets)
            .map(|(member, _)| Arc::clone(&member.group));
        state.committing = groups.collect();
    }
    let outcome = if writes.is_empty() { Ok(()) } else { shared.storage.write(writes) };
    let mut state = shared.lock();
    state.committing.clear();
    if outcome.is_ok() {
        for (at, end) in ends.into_values() {
            if let Ok((_, partition)) = state.partition_mut(&at) {
                partition.live += end.appended - partition.appended;
                partition.appended = end.appended;
                partition.latest = end.latest;
                partition.running_max = end.running_max;
                partition.latest_timestamp = end.latest_timestamp;
            }
        }
        for (member, offsets) in accepted.iter().flat_map(|(job, _)| &job.task.offsets) {
            for (partition, offset) in offsets {
                state.groups.set_committed(&member.group, partition.clone(), *offset);
            }
        }
    }
    shared.wake(&mut state);
    drop(state);
    for (job, bases) in accepted {
        job.answer(match &outcome {
            Ok(()) => Ok(bases),
            Err(error) => Err(error.to_shared()),
        });
    }
}

/// Whether a transaction may be committed now.
fn check(shared: &Shared, state: &State, transaction: &Transaction) -> Result<()> {
    shared.check_open(state)?;
    check_epoch(state, transaction.producer.as_ref())?;
    for (at, slot, _) in &transaction.records {
        if state.partition(at)?.0 != *slot {
            // Deleted and made again since the append: what was appended is for a topic that is gone.
            return Err(LogError::UnknownTopic { topic: at.topic.to_string() });
        }
    }
    for (member, offsets) in &transaction.offsets {
        state.groups.check(member, offsets)?;
        for (at, _) in offsets {
            state.partition(at)?;
        }
    }
    Ok(())
}

fn check_epoch(state: &State, producer: Option<&(Arc<str>, u32)>) -> Result<()> {
    match producer {
        Some((id, epoch)) if state.epochs.get(id) != Some(epoch) => {
            Err(LogError::Fenced { transactional_id: id.to_string() })
        }
        _ => Ok(()),
    }
}

/// Gives a transaction's records their offsets.
fn number(
    state: &State,
    transaction: &Transaction,
    ends: &mut HashMap<Slot, (TopicPartition, End)>,
    writes: &mut Vec<Write>,
) -> Vec<(TopicPartition, Offset)> {
    let mut bases: Vec<(TopicPartition, Offset)> = Vec::new();
    for (at, slot, batch) in &transaction.records {
        let Ok((_, partition)) = state.partition(at) else { continue };
        let (_, end) = ends.entry(*slot).or_insert_with(|| (at.clone(), End::of(partition)));
        let batch = batch.clone().at(end.latest);
        if !bases.iter().any(|(seen, _)| seen == at) {
            bases.push((at.clone(), end.latest));
        }
        end.running_max = end.running_max.max(batch.max_timestamp());
        let note =
            Note { appended_before: end.appended, running_max: end.running_max, tombstones_until: None };
        end.latest = batch.last_offset() + 1;
        end.appended += batch.bytes() as u64;
        end.latest_timestamp = Some(batch.max_timestamp());
        writes.push(Write::Append { slot: *slot, entry: Entry { note, batch } });
    }
    for (member, offsets) in &transaction.offsets {
        writes.extend(offsets.iter().map(|(partition, offset)| Write::PutOffset {
            group: Arc::clone(&member.group),
            partition: partition.clone(),
            offset: Some(*offset),
        }));
    }
    bases
}
