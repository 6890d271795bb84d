//! Gathers records until a file is worth publishing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use vigie_log::{Clock, Offset, TopicPartition};

use super::{Archive, ArchiveFile, ArchivedRecord};
use crate::Result;

/// When a file is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roll {
    /// As soon as its records have this many bytes.
    pub bytes: usize,
    /// At the latest this long after its first record came in.
    pub after: Duration,
}

impl Default for Roll {
    /// 64 MiB, one hour.
    fn default() -> Self {
        Self { bytes: 64 << 20, after: Duration::from_secs(3_600) }
    }
}

#[derive(Default)]
struct Gathered {
    records: Vec<ArchivedRecord>,
    bytes: usize,
    since: Duration,
    next: Offset,
}

/// Gathers records by partition and publishes them. Only what is published counts as archived: after a restart, go on at [`position`](Self::position).
pub struct ArchiveWriter {
    archive: Arc<dyn Archive>,
    clock: Arc<dyn Clock>,
    roll: Roll,
    gathered: BTreeMap<TopicPartition, Gathered>,
}

impl ArchiveWriter {
    /// A writer that has gathered nothing.
    pub fn new(archive: Arc<dyn Archive>, roll: Roll, clock: Arc<dyn Clock>) -> Self {
        Self { archive, clock, roll, gathered: BTreeMap::new() }
    }

    /// The next offset to read of a partition that has just been assigned: after the last one published.
    pub fn position(&self, partition: &TopicPartition) -> Result<Option<Offset>> {
        Ok(self.archive.last_offset(partition)?.map(|last| last + 1))
    }

    /// Takes a record; one that is gathered or published already is passed over.
    pub fn push(&mut self, partition: &TopicPartition, record: ArchivedRecord) -> Result<()> {
        if !self.gathered.contains_key(partition) {
            let next = self.position(partition)?.unwrap_or(0);
            self.gathered.insert(partition.clone(), Gathered { next, ..Gathered::default() });
        }
        let Some(gathered) = self.gathered.get_mut(partition) else { return Ok(()) };
        if record.offset < gathered.next {
            return Ok(());
        }
        if gathered.records.is_empty() {
            gathered.since = self.clock.monotonic();
        }
        let optional = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        gathered.next = record.offset + 1;
        gathered.bytes += 100 + optional(&record.key) + optional(&record.value);
        gathered.records.push(record);
        Ok(())
    }

    /// Publishes what is large or old enough; call it after each poll, also an empty one. Returns the files and their next offsets.
    pub fn roll(&mut self) -> Result<Vec<(ArchiveFile, Offset)>> {
        let (now, roll) = (self.clock.monotonic(), self.roll);
        let due = |gathered: &Gathered| gathered.bytes >= roll.bytes || now >= gathered.since + roll.after;
        let due: Vec<TopicPartition> = self
            .gathered
            .iter()
            .filter(|(_, gathered)| !gathered.records.is_empty() && due(gathered))
            .map(|(partition, _)| partition.clone())
            .collect();
        self.publish(&due)
    }

    /// Publishes all that is gathered of these partitions: before they are given up, and at the end.
    pub fn publish(&mut self, partitions: &[TopicPartition]) -> Result<Vec<(ArchiveFile, Offset)>> {
        let mut files = Vec::new();
        for partition in partitions {
            let Some(gathered) = self.gathered.get_mut(partition) else { continue };
            if gathered.records.is_empty() {
                continue;
            }
            let file = self.archive.publish(partition, &gathered.records, self.clock.now())?;
            files.push((file, gathered.next));
            gathered.records.clear();
            gathered.bytes = 0;
        }
        Ok(files)
    }

    /// Publishes everything.
    pub fn publish_all(&mut self) -> Result<Vec<(ArchiveFile, Offset)>> {
        let all: Vec<TopicPartition> = self.gathered.keys().cloned().collect();
        self.publish(&all)
    }

    /// Forgets what is gathered of a partition that somebody else owns now.
    pub fn forget(&mut self, partition: &TopicPartition) {
        self.gathered.remove(partition);
    }
}
