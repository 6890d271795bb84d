//! What a task writes: one batch builder for each partition of each topic, drained at each commit.

use std::collections::HashMap;
use std::sync::Arc;

use vigie_log::{BatchBuilder, PartitionId, Timestamp, TopicPartition, partition_for_key};

use crate::record::Headers;

/// Tells how many partitions a topic has.
pub(crate) trait TopicDirectory: Send + Sync {
    fn partitions(&self, topic: &str) -> Result<u32, String>;
}

struct TopicOutput {
    topic: Arc<str>,
    partitions: Vec<(TopicPartition, BatchBuilder)>,
    /// Where the next record without a key goes.
    next: usize,
}

pub(crate) struct Outputs {
    topics: Vec<TopicOutput>,
    by_name: HashMap<Arc<str>, usize>,
    directory: Arc<dyn TopicDirectory>,
    bytes: usize,
    /// Buffers of the sinks, kept from record to record.
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

impl Outputs {
    pub(crate) fn new(directory: Arc<dyn TopicDirectory>) -> Self {
        Self {
            topics: Vec::new(),
            by_name: HashMap::new(),
            directory,
            bytes: 0,
            key: Vec::new(),
            value: Vec::new(),
        }
    }

    /// The index of a topic; its partitions are looked up with the first record.
    pub(crate) fn index(&mut self, topic: &str) -> usize {
        if let Some(found) = self.by_name.get(topic) {
            return *found;
        }
        let name: Arc<str> = topic.into();
        let index = self.topics.len();
        self.topics.push(TopicOutput { topic: Arc::clone(&name), partitions: Vec::new(), next: 0 });
        self.by_name.insert(name, index);
        index
    }

    pub(crate) fn topic(&self, index: usize) -> &str {
        self.topics.get(index).map_or("", |output| &output.topic)
    }

    #[cold]
    fn look_up(&mut self, index: usize) -> Result<(), String> {
        let output = self.topics.get_mut(index).expect("indexes come from `index`");
        let count = self.directory.partitions(&output.topic)?;
        output.partitions = (0..count)
            .map(|p| (TopicPartition::new(Arc::clone(&output.topic), p), BatchBuilder::new()))
            .collect();
        Ok(())
    }

    pub(crate) fn partition_count(&mut self, index: usize) -> Result<u32, String> {
        if self.topics.get(index).is_none_or(|output| output.partitions.is_empty()) {
            self.look_up(index)?;
        }
        let count = self.topics.get(index).map_or(0, |output| output.partitions.len());
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Adds a record: to the partition asked for, else to that of its key, else to one after the other.
    #[inline]
    pub(crate) fn push(
        &mut self,
        index: usize,
        partition: Option<PartitionId>,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &Headers,
    ) -> Result<(), String> {
        if self.topics.get(index).is_none_or(|output| output.partitions.is_empty()) {
            self.look_up(index)?;
        }
        let output = self.topics.get_mut(index).expect("indexes come from `index`");
        let count = output.partitions.len();
        let chosen = match (partition, key) {
            (Some(partition), _) => partition as usize,
            (None, Some(key)) if count > 1 => partition_for_key(key, count as u32) as usize,
            (None, Some(_)) => 0,
            (None, None) => {
                output.next = (output.next + 1) % count;
                output.next
            }
        };
        let Some((_, builder)) = output.partitions.get_mut(chosen) else {
            return Err(format!("it has no partition {chosen} (it has {count})"));
        };
        let before = builder.bytes();
        if headers.is_empty() {
            builder.push(timestamp, key, value, &[]);
        } else {
            builder.push(timestamp, key, value, &headers.to_log());
        }
        self.bytes += builder.bytes() - before;
        Ok(())
    }

    /// Bytes collected and not yet drained.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All builders that hold records.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (&TopicPartition, &mut BatchBuilder)> {
        self.bytes = 0;
        let all = self.topics.iter_mut().flat_map(|output| output.partitions.iter_mut());
        all.filter(|(_, builder)| !builder.is_empty()).map(|(partition, builder)| (&*partition, builder))
    }
}
