//! The data path of members and readers: what is fetched, from where, and handed out in fair shares.
//!
//! Each partition has a queue of its own. So all partitions get a share of each poll, however the broker's answers are cut; a partition
//! is paused by not looking into its queue, which librdkafka then stops filling; and nothing is fetched twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{Offset as RdOffset, TopicPartitionList};
use vigie_log::{Fetched, LogError, Offset, Result, StartAt, TopicPartition};

use crate::context::Context;
use crate::doorbell::Doorbell;
use crate::log::Shared;
use crate::native::{Batches, OffsetAt, PartitionQueue, watermark_end};

/// Records taken in one go; enough to make the call cheap, few enough to keep to the poll's limit.
const MOST: usize = 1_000;

pub(crate) struct Fetcher {
    shared: Arc<Shared>,
    pub consumer: Arc<BaseConsumer<Context>>,
    pub doorbell: Arc<Doorbell>,
    partitions: BTreeMap<TopicPartition, Fetching>,
    /// Classic groups are given everything at once, and everything is taken from them at once.
    eager: bool,
    batches: Batches,
    turn: usize,
}

struct Fetching {
    queue: PartitionQueue,
    /// Being given up, or paused.
    revoked: bool,
    paused: bool,
    /// The next offset, as far as this side knows.
    position: Offset,
    end: Offset,
    /// Bytes of a record, on average.
    record: usize,
}

impl Fetcher {
    pub fn new(
        shared: &Arc<Shared>,
        consumer: BaseConsumer<Context>,
        doorbell: Arc<Doorbell>,
        eager: bool,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            consumer: Arc::new(consumer),
            doorbell,
            partitions: BTreeMap::new(),
            eager,
            batches: Batches::default(),
            turn: 0,
        }
    }

    pub fn assigned(&self) -> Vec<TopicPartition> {
        self.partitions.keys().cloned().collect()
    }

    /// Serves what librdkafka has to say beside records: errors, log lines, a token that is about to expire. Without it a client that logs in with
    /// tokens never gets its first one.
    pub fn serve(&self) {
        // Records come from the partitions' own queues.
        while self.consumer.poll(Duration::ZERO).is_some() {}
    }

    pub fn contains(&self, partition: &TopicPartition) -> bool {
        self.partitions.contains_key(partition)
    }

    fn failed(&self, error: &KafkaError, doing: &str) -> LogError {
        self.shared.about(doing).kafka(error)
    }

    /// Fetches these too, each from its offset.
    pub fn add(&mut self, partitions: &[(TopicPartition, Offset)]) -> Result<()> {
        let mut list = TopicPartitionList::new();
        for (at, offset) in partitions {
            let Some(queue) = PartitionQueue::open(&self.consumer, at, &self.doorbell) else {
                return Err(LogError::other(format!("fetching {at}"), "librdkafka has no queue for it"));
            };
            let fetching =
                Fetching { queue, revoked: false, paused: false, position: *offset, end: *offset, record: 0 };
            self.partitions.insert(at.clone(), fetching);
        }
        let all = self.eager.then(|| self.partitions.iter().map(|(at, fetching)| (at, fetching.position)));
        let some = partitions.iter().map(|(at, offset)| (at, *offset));
        let wanted: Vec<_> = all.map_or_else(|| some.collect(), Iterator::collect);
        for (at, offset) in wanted {
            list.add_partition_offset(&at.topic, number(at), RdOffset::Offset(offset))
                .map_err(|error| self.failed(&error, "fetching"))?;
        }
        let told =
            if self.eager { self.consumer.assign(&list) } else { self.consumer.incremental_assign(&list) };
        told.map_err(|error| self.failed(&error, "fetching"))?;
        // What came between the queue's making and now has not rung.
        self.doorbell.ring();
        Ok(())
    }

    /// Fetches these no more.
    pub fn remove(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        let mut list = TopicPartitionList::new();
        for at in partitions {
            self.partitions.remove(at);
            list.add_partition(&at.topic, number(at));
        }
        let told =
            if self.eager { self.consumer.unassign() } else { self.consumer.incremental_unassign(&list) };
        if self.eager {
            self.partitions.clear();
        }
        match told {
            // The group has taken them already, or the topic is gone.
            Err(KafkaError::Subscription(_)) | Ok(()) => Ok(()),
            Err(error) if matches!(error.rdkafka_error_code(), Some(Code::InvalidArgument | Code::State)) => {
                Ok(())
            }
            Err(error) => Err(self.failed(&error, "giving partitions up")),
        }
    }

    /// No records of this partition any more, though it is still owned.
    pub fn stop(&mut self, partition: &TopicPartition) {
        if let Some(fetching) = self.partitions.get_mut(partition) {
            fetching.revoked = true;
        }
    }

    /// Whether the partition is fetched at all.
    pub fn pause(&mut self, partition: &TopicPartition, paused: bool) -> bool {
        let found = self.partitions.get_mut(partition).map(|fetching| fetching.paused = paused);
        self.doorbell.ring();
        found.is_some()
    }

    /// The next offset of a partition.
    pub fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.partitions.get(partition).map(|fetching| fetching.position)
    }

    /// Goes on with `offset`, or with the nearer end where that lies outside. Records that are on their way are dropped.
    pub fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        let offset = self.within(partition, offset)?;
        let timeout = self.shared.config.request_timeout;
        let deadline = Instant::now() + timeout;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&partition.topic, number(partition), RdOffset::Offset(offset))
            .map_err(|error| self.failed(&error, "seeking"))?;
        loop {
            let sought = self.consumer.seek_partitions(list.clone(), timeout);
            let code = match &sought {
                Ok(list) => list.elements().iter().find_map(|element| element.error().err()),
                Err(error) => Some(error.clone()),
            };
            match code {
                None => break,
                // Assigned only just now: librdkafka is not there yet.
                Some(error)
                    if matches!(error.rdkafka_error_code(), Some(Code::State | Code::PreviousInProgress))
                        && Instant::now() < deadline =>
                {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Some(error) => return Err(self.failed(&error, "seeking")),
            }
        }
        if let Some(fetching) = self.partitions.get_mut(partition) {
            fetching.position = offset;
        }
        Ok(())
    }

    /// The offset, or the nearer end of what there is.
    pub fn within(&self, partition: &TopicPartition, offset: Offset) -> Result<Offset> {
        let one = std::slice::from_ref(partition);
        let mut ends = [offset; 2];
        for (end, at) in ends.iter_mut().zip([OffsetAt::Earliest, OffsetAt::Latest]) {
            if let Some(found) = self.shared.list_offsets("seeking", one, at)?.get(partition) {
                *end = *found;
            }
        }
        let [earliest, latest] = ends;
        Ok(offset.clamp(earliest, latest.max(earliest)))
    }

    /// Hands out what is there, about `most_bytes` of it, each partition its share.
    pub fn drain(&mut self, most_bytes: usize) -> Result<Vec<Fetched>> {
        let mut out = Vec::new();
        let ready = self.partitions.values().filter(|fetching| !fetching.revoked && !fetching.paused).count();
        if ready == 0 {
            return Ok(out);
        }
        let share = (most_bytes / ready).max(1);
        let mut left = most_bytes;
        self.turn = self.turn.wrapping_add(1);
        let skip = self.turn % self.partitions.len();
        let mut failure = None;
        // Each partition its share first, then whoever has more, as long as there is room. Whose turn is first changes.
        for round in 0..2 {
            let mut hungry = false;
            let (first, last): (Vec<_>, Vec<_>) =
                self.partitions.iter_mut().enumerate().partition(|(index, _)| *index >= skip);
            for (_, (at, fetching)) in first.into_iter().chain(last) {
                if fetching.revoked || fetching.paused || left == 0 {
                    continue;
                }
                let mut own = if round == 0 { share.min(left) } else { left };
                while own > 0 {
                    let most = own.checked_div(fetching.record).map_or(1, |most| most.clamp(1, MOST));
                    let taken = self.batches.take(&fetching.queue, most);
                    if taken.messages == 0 {
                        break;
                    }
                    hungry |= taken.messages == most;
                    if let Some(end) = taken.end {
                        fetching.position = fetching.position.max(end);
                        fetching.end = end;
                    }
                    if let Some(code) = taken.error {
                        failure.get_or_insert((at.clone(), code));
                    }
                    let Some(batch) = taken.batch else { continue };
                    let bytes = batch.bytes();
                    fetching.record = (bytes / batch.len().max(1)).max(1);
                    fetching.position = fetching.position.max(batch.last_offset() + 1);
                    own = own.saturating_sub(bytes);
                    left = left.saturating_sub(bytes);
                    if let Some(end) = watermark_end(&self.consumer, at) {
                        fetching.end = end;
                    }
                    let end = fetching.end.max(fetching.position);
                    out.push(Fetched { partition: at.clone(), batch, end });
                }
            }
            if !hungry || left == 0 {
                break;
            }
        }
        // What is left does not ring again.
        if left == 0 {
            self.doorbell.ring();
        }
        self.advance();
        match failure {
            Some((at, code)) if out.is_empty() => self.fetch_failed(&at, code).map(|()| out),
            _ => Ok(out),
        }
    }

    /// Moves positions past what librdkafka keeps to itself: aborted records, and the marks at the end of transactions. What librdkafka calls a
    /// position lies behind records and marks that have left the queue, and behind nothing else (see [`Batches::take`]).
    fn advance(&mut self) {
        let Ok(list) = self.consumer.position() else { return };
        for element in list.elements() {
            let RdOffset::Offset(offset) = element.offset() else { continue };
            let at = crate::context::at(element.topic(), element.partition());
            if let Some(fetching) = self.partitions.get_mut(&at) {
                fetching.position = fetching.position.max(offset);
            }
        }
    }

    /// An error that came in place of records. Those that mend themselves are only noted.
    fn fetch_failed(&self, at: &TopicPartition, code: Code) -> Result<()> {
        let about =
            crate::error::About { topic: Some(&at.topic), operation: "Read", ..self.shared.about("reading") };
        match code {
            Code::TopicAuthorizationFailed => Err(about.code(code, &code.to_string())),
            // Deleted: the group says so too, and a reader asks.
            code => {
                tracing::debug!(target: "kafka", partition = %at, %code, "while fetching");
                Ok(())
            }
        }
    }

    /// Waits until something may have come.
    pub fn wait_until(&self, deadline: Instant) {
        self.doorbell.wait_until(deadline);
    }

    /// Where to begin: the committed offset, or the start that the member wants.
    pub fn starts(
        &self,
        partitions: &[TopicPartition],
        start: StartAt,
    ) -> Result<Vec<(TopicPartition, Offset)>> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let committed = self.committed(partitions)?;
        let missing: Vec<_> = partitions
            .iter()
            .zip(&committed)
            .filter(|(_, offset)| offset.is_none())
            .map(|(at, _)| at.clone())
            .collect();
        let at = match start {
            StartAt::Earliest => OffsetAt::Earliest,
            StartAt::Latest => OffsetAt::Latest,
        };
        let found = if missing.is_empty() {
            BTreeMap::new()
        } else {
            self.shared.list_offsets("finding where to start", &missing, at)?
        };
        let starts = partitions.iter().zip(committed).map(|(at, committed)| {
            let offset = committed.or_else(|| found.get(at).copied()).unwrap_or(0);
            (at.clone(), offset)
        });
        Ok(starts.collect())
    }

    /// The group's committed offsets, those of transactions included that were about to end when they were asked for.
    pub fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<Offset>>> {
        let mut list = TopicPartitionList::new();
        for at in partitions {
            list.add_partition(&at.topic, number(at));
        }
        let found = self
            .consumer
            .committed_offsets(list, self.shared.config.request_timeout)
            .map_err(|error| self.failed(&error, "asking for committed offsets"))?;
        let offset = |at: &TopicPartition| match found.find_partition(&at.topic, number(at))?.offset() {
            RdOffset::Offset(offset) => Some(offset),
            _ => None,
        };
        Ok(partitions.iter().map(offset).collect())
    }
}

pub(crate) fn number(at: &TopicPartition) -> i32 {
    i32::try_from(at.partition).unwrap_or(i32::MAX)
}
