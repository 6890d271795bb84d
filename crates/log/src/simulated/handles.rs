//! Administrators, producers, members and readers that fail now and then.

use std::sync::Arc;
use std::time::Duration;

use super::{Inner, SimulatedLog, unreachable};
use crate::{
    Admin, BatchBuilder, Fetched, GroupDescription, Log, LogError, Member, MemberEndpoint, Membership,
    Offset, PartitionOffsets, Polled, Producer, Reader, Result, Timestamp, TopicDescription, TopicPartition,
    TopicSpec,
};

pub(super) struct FaultyAdmin {
    pub log: SimulatedLog,
}

impl FaultyAdmin {
    /// Administrators outlive a restart, as a client that connects again.
    fn ask<R>(&self, call: impl FnOnce(&dyn Admin) -> Result<R>) -> Result<R> {
        self.log.inner.travel()?;
        let admin = self.log.inner.broker().admin();
        call(&*admin)
    }
}

impl Admin for FaultyAdmin {
    fn create_topic(&self, spec: &TopicSpec) -> Result<()> {
        self.ask(|admin| admin.create_topic(spec))
    }
    fn add_partitions(&self, topic: &str, partitions: u32) -> Result<()> {
        self.ask(|admin| admin.add_partitions(topic, partitions))
    }
    fn delete_topic(&self, topic: &str) -> Result<()> {
        self.ask(|admin| admin.delete_topic(topic))
    }
    fn delete_records(&self, partition: &TopicPartition, before: Offset) -> Result<()> {
        self.ask(|admin| admin.delete_records(partition, before))
    }
    fn list_topics(&self, with_internal: bool) -> Result<Vec<String>> {
        self.ask(|admin| admin.list_topics(with_internal))
    }
    fn describe_topic(&self, topic: &str) -> Result<TopicDescription> {
        self.ask(|admin| admin.describe_topic(topic))
    }
    fn offsets(&self, topic: &str) -> Result<Vec<PartitionOffsets>> {
        self.ask(|admin| admin.offsets(topic))
    }
    fn offset_for_time(&self, partition: &TopicPartition, at: Timestamp) -> Result<Option<Offset>> {
        self.ask(|admin| admin.offset_for_time(partition, at))
    }
    fn list_groups(&self) -> Result<Vec<String>> {
        self.ask(|admin| admin.list_groups())
    }
    fn describe_group(&self, group: &str) -> Result<GroupDescription> {
        self.ask(|admin| admin.describe_group(group))
    }
    fn alter_offsets(&self, group: &str, offsets: &[(TopicPartition, Offset)]) -> Result<()> {
        self.ask(|admin| admin.alter_offsets(group, offsets))
    }
    fn delete_group(&self, group: &str) -> Result<()> {
        self.ask(|admin| admin.delete_group(group))
    }
}

pub(super) struct FaultyProducer {
    inner: Arc<Inner>,
    producer: Box<dyn Producer>,
    /// What was committed, after the caller was told that it is not known.
    committed: Option<Vec<(TopicPartition, Offset)>>,
}

const UNKNOWN: LogError = LogError::InvalidState(
    "the outcome of the last commit is not known: commit again, or make a new producer of the same transactional id",
);

impl FaultyProducer {
    pub fn new(inner: &Arc<Inner>, producer: Box<dyn Producer>) -> Self {
        Self { inner: Arc::clone(inner), producer, committed: None }
    }
}

impl Producer for FaultyProducer {
    fn begin(&mut self) -> Result<()> {
        if self.committed.is_some() { Err(UNKNOWN) } else { self.producer.begin() }
    }

    fn append(&mut self, partition: &TopicPartition, records: &mut BatchBuilder) -> Result<()> {
        if self.committed.is_some() { Err(UNKNOWN) } else { self.producer.append(partition, records) }
    }

    fn add_offsets(&mut self, member: &Membership, offsets: &[(TopicPartition, Offset)]) -> Result<()> {
        if self.committed.is_some() { Err(UNKNOWN) } else { self.producer.add_offsets(member, offsets) }
    }

    fn commit(&mut self) -> Result<Vec<(TopicPartition, Offset)>> {
        self.inner.travel()?;
        if let Some(committed) = self.committed.take() {
            return Ok(committed);
        }
        if self.inner.strikes(|faults| faults.fail_commit_before) {
            return Err(unreachable("the connection broke before the commit arrived"));
        }
        let committed = self.producer.commit()?;
        if self.inner.strikes(|faults| faults.fail_commit_after) {
            self.committed = Some(committed);
            return Err(unreachable("the connection broke before the answer to the commit arrived"));
        }
        Ok(committed)
    }

    fn abort(&mut self) -> Result<()> {
        if self.committed.is_some() { Err(UNKNOWN) } else { self.producer.abort() }
    }
}

/// The newest batches handed out, to be handed out once more.
#[derive(Default)]
struct Again(Vec<Fetched>);

impl Again {
    fn poll(&mut self, inner: &Inner, batches: Vec<Fetched>) -> Vec<Fetched> {
        if !self.0.is_empty() && inner.strikes(|faults| faults.duplicate_poll) {
            let mut twice = std::mem::take(&mut self.0);
            twice.extend(batches);
            return twice;
        }
        if !batches.is_empty() {
            self.0.clone_from(&batches);
        }
        batches
    }
}

pub(super) struct FaultyMember {
    inner: Arc<Inner>,
    member: Option<Box<dyn Member>>,
    again: Again,
}

impl FaultyMember {
    pub fn new(inner: &Arc<Inner>, member: Box<dyn Member>) -> Self {
        Self { inner: Arc::clone(inner), member: Some(member), again: Again::default() }
    }

    fn body(&self) -> &dyn Member {
        self.member.as_deref().expect("a member is taken out only when its handle ends")
    }

    fn alive(&mut self) -> Result<&mut Box<dyn Member>> {
        let member = self.member.as_mut().expect("a member is taken out only when its handle ends");
        if self.inner.is_dead(&member.membership().member) {
            return Err(unreachable("this member was killed"));
        }
        Ok(member)
    }

    fn bury(&mut self) -> Option<Box<dyn Member>> {
        let member = self.member.take()?;
        if self.inner.is_dead(&member.membership().member) {
            self.inner.dead().bodies.push(member);
            return None;
        }
        Some(member)
    }
}

impl Member for FaultyMember {
    fn poll(&mut self, timeout: Duration) -> Result<Polled> {
        self.alive()?;
        self.inner.travel()?;
        if self.inner.strikes(|faults| faults.empty_poll) {
            return Ok(Polled::default());
        }
        let mut polled = self.alive()?.poll(timeout)?;
        if !polled.revoked.is_empty() || !polled.lost.is_empty() || !polled.assigned.is_empty() {
            self.again = Again::default();
        }
        polled.batches = self.again.poll(&self.inner, polled.batches);
        Ok(polled)
    }

    fn membership(&self) -> Membership {
        self.body().membership()
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        self.body().assignment()
    }

    fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.body().position(partition)
    }

    fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<Offset>>> {
        self.inner.travel()?;
        self.body().committed(partitions)
    }

    fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        self.again = Again::default();
        self.alive()?.seek(partition, offset)
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.again = Again::default();
        self.alive()?.pause(partitions)
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.alive()?.resume(partitions)
    }

    fn commit(&mut self, offsets: &[(TopicPartition, Offset)]) -> Result<()> {
        self.alive()?;
        self.inner.travel()?;
        if self.inner.strikes(|faults| faults.fail_commit_before) {
            return Err(unreachable("the connection broke before the commit arrived"));
        }
        self.alive()?.commit(offsets)?;
        if self.inner.strikes(|faults| faults.fail_commit_after) {
            return Err(unreachable("the connection broke before the answer to the commit arrived"));
        }
        Ok(())
    }

    fn endpoints(&mut self) -> Result<Vec<MemberEndpoint>> {
        self.inner.travel()?;
        self.alive()?.endpoints()
    }

    fn request_shutdown(&mut self) -> Result<bool> {
        self.inner.travel()?;
        self.alive()?.request_shutdown()
    }

    fn close(mut self: Box<Self>) -> Result<()> {
        match self.bury() {
            Some(member) => member.close(),
            None => Err(unreachable("this member was killed")),
        }
    }
}

impl Drop for FaultyMember {
    fn drop(&mut self) {
        drop(self.bury());
    }
}

pub(super) struct FaultyReader {
    inner: Arc<Inner>,
    reader: Box<dyn Reader>,
    again: Again,
}

impl FaultyReader {
    pub fn new(inner: &Arc<Inner>, reader: Box<dyn Reader>) -> Self {
        Self { inner: Arc::clone(inner), reader, again: Again::default() }
    }
}

impl Reader for FaultyReader {
    fn poll(&mut self, timeout: Duration) -> Result<Vec<Fetched>> {
        self.inner.travel()?;
        if self.inner.strikes(|faults| faults.empty_poll) {
            return Ok(Vec::new());
        }
        let batches = self.reader.poll(timeout)?;
        Ok(self.again.poll(&self.inner, batches))
    }

    fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        self.again = Again::default();
        self.reader.seek(partition, offset)
    }

    fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.reader.position(partition)
    }
}
