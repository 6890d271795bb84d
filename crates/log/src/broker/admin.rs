//! Administration of a broker: topics, offsets, groups.

use std::sync::Arc;

use super::Shared;
use super::state::{Partition, Topic};
use super::storage::{Slot, Span, StoredTopic, Write};
use crate::{
    Admin, GroupDescription, LogError, Offset, PartitionDescription, PartitionOffsets, Result, Timestamp,
    TopicDescription, TopicPartition, TopicSettings, TopicSpec, check_spec, is_internal,
};

pub(super) struct BrokerAdmin {
    pub shared: Arc<Shared>,
}

impl Admin for BrokerAdmin {
    fn create_topic(&self, spec: &TopicSpec) -> Result<()> {
        check_spec(spec)?;
        let settings = TopicSettings::parse(&spec.name, &spec.config, &self.shared.defaults)?;
        self.shared.turn.alone(|| {
            let id = {
                let state = self.shared.lock();
                self.shared.check_open(&state)?;
                if state.topics.contains_key(spec.name.as_str()) {
                    return Err(LogError::TopicExists { topic: spec.name.clone() });
                }
                state.next_topic
            };
            let name: Arc<str> = spec.name.as_str().into();
            let stored = StoredTopic {
                id,
                name: Arc::clone(&name),
                partitions: spec.partitions,
                config: spec.config.clone(),
            };
            self.shared.storage.write(vec![Write::PutTopic(stored)])?;
            let partitions = (0..spec.partitions).map(|_| Partition::default()).collect();
            let mut state = self.shared.lock();
            state.next_topic = id + 1;
            let topic =
                Topic { id, name: Arc::clone(&name), config: spec.config.clone(), settings, partitions };
            state.topics.insert(name, topic);
            state.layout += 1;
            self.shared.wake(&mut state);
            Ok(())
        })
    }

    fn add_partitions(&self, topic: &str, partitions: u32) -> Result<()> {
        self.shared.turn.alone(|| {
            let stored = {
                let state = self.shared.lock();
                self.shared.check_open(&state)?;
                let there = state.topic(topic)?;
                if partitions < there.count() {
                    let reason = format!(
                        "it has {} partitions, and their number can only grow (asked for {partitions})",
                        there.count()
                    );
                    return Err(LogError::InvalidTopic { topic: topic.to_owned(), reason });
                }
                check_spec(&TopicSpec::new(topic, partitions))?;
                StoredTopic { partitions, ..there.stored() }
            };
            self.shared.storage.write(vec![Write::PutTopic(stored)])?;
            let mut state = self.shared.lock();
            if let Some(there) = state.topics.get_mut(topic) {
                there.partitions.resize_with(partitions as usize, Partition::default);
            }
            state.layout += 1;
            self.shared.wake(&mut state);
            Ok(())
        })
    }

    fn delete_topic(&self, topic: &str) -> Result<()> {
        self.shared.turn.alone(|| {
            let (id, name, forgotten) = {
                let mut state = self.shared.lock();
                self.shared.check_open(&state)?;
                let (id, name) = state.topic(topic).map(|there| (there.id, Arc::clone(&there.name)))?;
                (id, name, state.groups.forget_topic(topic))
            };
            let mut writes = vec![Write::DeleteTopic { id, name }];
            writes.extend(forgotten.into_iter().map(|(group, partition)| Write::PutOffset {
                group,
                partition,
                offset: None,
            }));
            self.shared.storage.write(writes)?;
            {
                let mut state = self.shared.lock();
                state.topics.remove(topic);
                state.layout += 1;
                self.shared.wake(&mut state);
            }
            self.shared.storage.purge(id)
        })
    }

    fn delete_records(&self, partition: &TopicPartition, before: Offset) -> Result<()> {
        self.shared.turn.alone(|| {
            let (slot, mut there) = {
                let state = self.shared.lock();
                self.shared.check_open(&state)?;
                let (slot, there) = state.partition(partition)?;
                (slot, there.clone())
            };
            if before < 0 || before > there.latest {
                return Err(LogError::OffsetOutOfRange {
                    topic: partition.topic.to_string(),
                    partition: partition.partition,
                    offset: before,
                    earliest: there.earliest,
                    latest: there.latest,
                });
            }
            if before <= there.earliest {
                return Ok(());
            }
            let mut writes = Vec::new();
            let mut span = Span { from: there.earliest, until: before, overlapping: true };
            // Whole batches go; of the batch that reaches over `before`, the first records are hidden by `earliest`.
            'all: loop {
                let entries = self.shared.storage.read(slot, span, super::maintenance::CHUNK)?;
                let Some(last) = entries.last() else { break };
                span = Span { from: last.batch.last_offset() + 1, until: before, overlapping: false };
                for entry in entries {
                    if entry.batch.last_offset() >= before {
                        break 'all;
                    }
                    there.live = there.live.saturating_sub(entry.batch.bytes() as u64);
                    writes.push(Write::RemoveBatch { slot, base: entry.batch.base_offset() });
                }
            }
            there.earliest = before;
            writes.push(Write::PutBounds { slot, bounds: there.bounds() });
            self.shared.storage.write(writes)?;
            let mut state = self.shared.lock();
            if let Ok((_, now)) = state.partition_mut(partition) {
                now.earliest = there.earliest;
                now.live = there.live;
            }
            self.shared.wake(&mut state);
            Ok(())
        })
    }

    fn list_topics(&self, with_internal: bool) -> Result<Vec<String>> {
        let state = self.shared.lock();
        self.shared.check_open(&state)?;
        Ok(state
            .topics
            .keys()
            .filter(|name| with_internal || !is_internal(name))
            .map(ToString::to_string)
            .collect())
    }

    fn describe_topic(&self, topic: &str) -> Result<TopicDescription> {
        let state = self.shared.lock();
        self.shared.check_open(&state)?;
        let there = state.topic(topic)?;
        let partitions = (0..)
            .zip(&there.partitions)
            .map(|(number, partition)| PartitionDescription {
                partition: number,
                leader: 0,
                replicas: vec![0],
                in_sync_replicas: vec![0],
                offsets: PartitionOffsets { earliest: partition.earliest, latest: partition.latest },
                bytes: Some(partition.live),
                latest_timestamp: partition.latest_timestamp,
            })
            .collect();
        Ok(TopicDescription {
            name: topic.to_owned(),
            internal: is_internal(topic),
            replication_factor: 1,
            config: there.settings.describe(&there.config),
            partitions,
        })
    }

    fn offsets(&self, topic: &str) -> Result<Vec<PartitionOffsets>> {
        let state = self.shared.lock();
        self.shared.check_open(&state)?;
        let partitions = &state.topic(topic)?.partitions;
        Ok(partitions
            .iter()
            .map(|there| PartitionOffsets { earliest: there.earliest, latest: there.latest })
            .collect())
    }

    fn offset_for_time(&self, partition: &TopicPartition, at: Timestamp) -> Result<Option<Offset>> {
        let (slot, earliest, latest) = {
            let state = self.shared.lock();
            self.shared.check_open(&state)?;
            let (slot, there) = state.partition(partition)?;
            (slot, there.earliest, there.latest)
        };
        self.shared.search(slot, earliest, latest, at)
    }

    fn list_groups(&self) -> Result<Vec<String>> {
        let state = self.shared.lock();
        self.shared.check_open(&state)?;
        Ok(state.groups.list())
    }

    fn describe_group(&self, group: &str) -> Result<GroupDescription> {
        let mut state = self.shared.lock();
        self.shared.check_open(&state)?;
        self.shared.expire(&mut state, group);
        Ok(state.groups.describe(group))
    }

    fn alter_offsets(&self, group: &str, offsets: &[(TopicPartition, Offset)]) -> Result<()> {
        self.shared.turn.alone(|| {
            super::check_name("a group", group)?;
            let name: Arc<str> = group.into();
            {
                let mut state = self.shared.lock();
                self.shared.check_idle(&mut state, group)?;
                for (partition, offset) in offsets {
                    let (_, there) = state.partition(partition)?;
                    if !(0..=there.latest).contains(offset) {
                        return Err(LogError::OffsetOutOfRange {
                            topic: partition.topic.to_string(),
                            partition: partition.partition,
                            offset: *offset,
                            earliest: there.earliest,
                            latest: there.latest,
                        });
                    }
                }
            }
            let put = |(partition, offset): &(TopicPartition, Offset)| Write::PutOffset {
                group: Arc::clone(&name),
                partition: partition.clone(),
                offset: Some(*offset),
            };
            self.shared.storage.write(offsets.iter().map(put).collect())?;
            let mut state = self.shared.lock();
            for (partition, offset) in offsets {
                state.groups.set_committed(group, partition.clone(), *offset);
            }
            Ok(())
        })
    }

    fn delete_group(&self, group: &str) -> Result<()> {
        self.shared.turn.alone(|| {
            let name: Arc<str> = group.into();
            let committed = {
                let mut state = self.shared.lock();
                self.shared.check_idle(&mut state, group)?;
                state.groups.describe(group).committed
            };
            let writes = committed.into_iter().map(|(partition, _)| Write::PutOffset {
                group: Arc::clone(&name),
                partition,
                offset: None,
            });
            self.shared.storage.write(writes.collect())?;
            self.shared.lock().groups.remove(group);
            Ok(())
        })
    }
}

impl Shared {
    fn expire(&self, state: &mut super::State, group: &str) {
        if state.groups.expire(group, self.clock.monotonic()) {
            state.layout += 1;
            self.wake(state);
        }
    }

    fn check_idle(&self, state: &mut super::State, group: &str) -> Result<()> {
        self.check_open(state)?;
        self.expire(state, group);
        if state.groups.has_members(group) {
            return Err(LogError::InvalidState(
                "the group has members; stop them first, then change or delete its offsets",
            ));
        }
        Ok(())
    }

    /// The first offset with a timestamp of at least `at`: halving by the running maximum, then a walk.
    fn search(&self, slot: Slot, earliest: Offset, latest: Offset, at: Timestamp) -> Result<Option<Offset>> {
        let Some(last) = self.storage.floor(slot, latest - 1)? else { return Ok(None) };
        if last.note.running_max < at {
            return Ok(None);
        }
        let (mut low, mut high) = (earliest, last.batch.base_offset());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.storage.floor(slot, middle)? {
                Some(entry) if entry.note.running_max >= at => high = entry.batch.base_offset().min(middle),
                _ => low = middle + 1,
            }
        }
        let mut span = Span { from: high.max(earliest), until: latest, overlapping: true };
        loop {
            let entries = self.storage.read(slot, span, super::maintenance::CHUNK)?;
            let Some(last) = entries.last() else { return Ok(None) };
            span = Span { from: last.batch.last_offset() + 1, until: latest, overlapping: false };
            let found = entries
                .iter()
                .filter(|entry| entry.batch.max_timestamp() >= at)
                .flat_map(|entry| entry.batch.iter())
                .find(|record| record.timestamp >= at && record.offset >= earliest);
            if let Some(record) = found {
                return Ok(Some(record.offset));
            }
        }
    }
}
