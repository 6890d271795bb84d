//! What a broker keeps in memory: topics, the ends of their partitions, groups, epochs. No records.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::storage::{Bounds, Contents, Slot, Storage, StoredTopic, TopicId};
use crate::coordinator::Groups;
use crate::{LogError, Offset, Result, Timestamp, TopicDefaults, TopicPartition, TopicSettings};

#[derive(Default)]
pub(super) struct State {
    pub topics: BTreeMap<Arc<str>, Topic>,
    pub next_topic: TopicId,
    pub groups: Groups,
    pub epochs: HashMap<Arc<str>, u32>,
    /// Groups whose offsets are between check and publication.
    pub committing: Vec<Arc<str>>,
    /// Counts everything that a poller may wait for.
    pub version: u64,
    /// Counts what may change somebody's assignment.
    pub layout: u64,
    pub closed: bool,
}

pub(super) struct Topic {
    pub id: TopicId,
    pub name: Arc<str>,
    pub config: BTreeMap<String, String>,
    pub settings: TopicSettings,
    pub partitions: Vec<Partition>,
}

/// One partition. `earliest <= latest`; both only grow.
#[derive(Debug, Clone)]
pub(super) struct Partition {
    pub earliest: Offset,
    pub latest: Offset,
    /// Bytes ever appended.
    pub appended: u64,
    /// Bytes still there.
    pub live: u64,
    pub running_max: Timestamp,
    pub latest_timestamp: Option<Timestamp>,
    pub cleaned: Offset,
    pub tombstones_until: Option<Timestamp>,
    /// Compaction is replacing batches: a position need not be where a batch begins.
    pub rewriting: bool,
    /// How often that has happened.
    pub rewrites: u64,
}

impl Default for Partition {
    fn default() -> Self {
        Self {
            earliest: 0,
            latest: 0,
            appended: 0,
            live: 0,
            running_max: Timestamp::MIN,
            latest_timestamp: None,
            cleaned: 0,
            tombstones_until: None,
            rewriting: false,
            rewrites: 0,
        }
    }
}

impl Partition {
    pub fn bounds(&self) -> Bounds {
        Bounds {
            earliest: self.earliest,
            latest: self.latest,
            appended: self.appended,
            live: self.live,
            cleaned: self.cleaned,
            tombstones_until: self.tombstones_until,
        }
    }

    fn load(storage: &impl Storage, slot: Slot, bounds: Bounds) -> Result<Self> {
        let mut partition = Self {
            earliest: bounds.earliest,
            latest: bounds.latest,
            appended: bounds.appended,
            live: bounds.live,
            cleaned: bounds.cleaned,
            tombstones_until: bounds.tombstones_until,
            ..Self::default()
        };
        if let Some(last) = storage.floor(slot, Offset::MAX)? {
            partition.running_max = last.note.running_max;
            partition.latest_timestamp = Some(last.batch.max_timestamp());
            // What was appended after the bounds had been written.
            if last.batch.base_offset() >= bounds.latest {
                partition.latest = last.batch.last_offset() + 1;
                partition.appended = last.note.appended_before + last.batch.bytes() as u64;
                partition.live = bounds.live + partition.appended.saturating_sub(bounds.appended);
            }
        }
        Ok(partition)
    }
}

impl Topic {
    pub fn slot(&self, partition: u32) -> Slot {
        Slot { topic: self.id, partition }
    }

    pub fn stored(&self) -> StoredTopic {
        StoredTopic {
            id: self.id,
            name: Arc::clone(&self.name),
            partitions: self.count(),
            config: self.config.clone(),
        }
    }

    pub fn count(&self) -> u32 {
        u32::try_from(self.partitions.len()).unwrap_or(u32::MAX)
    }
}

impl State {
    pub fn load(storage: &impl Storage, contents: Contents, defaults: &TopicDefaults) -> Result<Self> {
        let mut state = Self { next_topic: contents.next_topic, ..Self::default() };
        for stored in contents.topics {
            let settings = TopicSettings::parse(&stored.name, &stored.config, defaults)?;
            let mut partitions = Vec::new();
            for partition in 0..stored.partitions {
                let slot = Slot { topic: stored.id, partition };
                let bounds = contents.bounds.get(&slot).copied().unwrap_or_default();
                partitions.push(Partition::load(storage, slot, bounds)?);
            }
            let name = Arc::clone(&stored.name);
            let topic =
                Topic { id: stored.id, name: stored.name, config: stored.config, settings, partitions };
            state.topics.insert(name, topic);
        }
        for (group, partition, offset) in contents.offsets {
            // The names are shared from here on, not one copy each.
            let topic = state.topics.get_key_value(&partition.topic).map(|(name, _)| Arc::clone(name));
            let partition = TopicPartition { topic: topic.unwrap_or(partition.topic), ..partition };
            state.groups.set_committed(&group, partition, offset);
        }
        state.epochs = contents.epochs.into_iter().map(|(id, epoch)| (id.into(), epoch)).collect();
        Ok(state)
    }

    pub fn topic(&self, name: &str) -> Result<&Topic> {
        self.topics.get(name).ok_or_else(|| LogError::UnknownTopic { topic: name.to_owned() })
    }

    pub fn partition(&self, at: &TopicPartition) -> Result<(Slot, &Partition)> {
        let topic = self.topic(&at.topic)?;
        match topic.partitions.get(at.partition as usize) {
            Some(partition) => Ok((topic.slot(at.partition), partition)),
            None => Err(unknown_partition(at, topic.count())),
        }
    }

    pub fn partition_mut(&mut self, at: &TopicPartition) -> Result<(Slot, &mut Partition)> {
        let Some(topic) = self.topics.get_mut(&at.topic) else {
            return Err(LogError::UnknownTopic { topic: at.topic.to_string() });
        };
        let (slot, count) = (topic.slot(at.partition), topic.count());
        match topic.partitions.get_mut(at.partition as usize) {
            Some(partition) => Ok((slot, partition)),
            None => Err(unknown_partition(at, count)),
        }
    }
}

fn unknown_partition(at: &TopicPartition, count: u32) -> LogError {
    LogError::UnknownPartition { topic: at.topic.to_string(), partition: at.partition, count }
}
