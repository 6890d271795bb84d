//! Storage in memory, for the simulated log: outlives its broker, so that a restart can be simulated.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::storage::{Contents, Entry, Slot, Span, Storage, TopicId, Write};
use crate::{Offset, Result, TopicPartition};

/// All that a log keeps, in memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    batches: BTreeMap<(Slot, Offset), Entry>,
    contents: Contents,
    offsets: BTreeMap<(String, TopicPartition), Offset>,
}

impl Memory {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for std::sync::Arc<Memory> {
    fn address(&self) -> String {
        String::from("memory")
    }

    fn load(&self) -> Result<Contents> {
        let kept = self.kept();
        let mut contents = kept.contents.clone();
        contents.offsets = kept
            .offsets
            .iter()
            .map(|((group, partition), offset)| (group.clone(), partition.clone(), *offset))
            .collect();
        Ok(contents)
    }

    fn write(&self, writes: Vec<Write>) -> Result<()> {
        let mut kept = self.kept();
        for write in writes {
            match write {
                Write::PutTopic(topic) => {
                    kept.contents.next_topic = kept.contents.next_topic.max(topic.id + 1);
                    kept.contents.topics.retain(|other| other.id != topic.id);
                    kept.contents.topics.push(topic);
                }
                Write::DeleteTopic { id, .. } => {
                    kept.contents.topics.retain(|other| other.id != id);
                    kept.contents.bounds.retain(|slot, _| slot.topic != id);
                    kept.contents.purge.push(id);
                }
                Write::Append { slot, entry } | Write::Replace { slot, entry } => {
                    kept.batches.insert((slot, entry.batch.base_offset()), entry);
                }
                Write::RemoveBatch { slot, base } => {
                    kept.batches.remove(&(slot, base));
                }
                Write::PutBounds { slot, bounds } => {
                    kept.contents.bounds.insert(slot, bounds);
                }
                Write::PutOffset { group, partition, offset: Some(offset) } => {
                    kept.offsets.insert((group.to_string(), partition), offset);
                }
                Write::PutOffset { group, partition, offset: None } => {
                    kept.offsets.remove(&(group.to_string(), partition));
                }
                Write::PutEpoch { id, epoch } => {
                    kept.contents.epochs.insert(id.to_string(), epoch);
                }
            }
        }
        Ok(())
    }

    fn read(&self, slot: Slot, span: Span, max_bytes: usize) -> Result<Vec<Entry>> {
        let kept = self.kept();
        let mut found: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        if span.overlapping
            && let Some((_, entry)) = kept.batches.range((slot, Offset::MIN)..(slot, span.from)).next_back()
            && entry.batch.last_offset() >= span.from
        {
            bytes += entry.batch.bytes();
            found.push(entry.clone());
        }
        for (_, entry) in kept.batches.range((slot, span.from)..(slot, span.until.max(span.from))) {
            if !found.is_empty() && bytes + entry.batch.bytes() > max_bytes {
                break;
            }
            bytes += entry.batch.bytes();
            found.push(entry.clone());
        }
        Ok(found)
    }

    fn floor(&self, slot: Slot, offset: Offset) -> Result<Option<Entry>> {
        let kept = self.kept();
        Ok(kept
            .batches
            .range((slot, Offset::MIN)..=(slot, offset))
            .next_back()
            .map(|(_, entry)| entry.clone()))
    }

    fn purge(&self, topic: TopicId) -> Result<()> {
        let mut kept = self.kept();
        kept.batches.retain(|(slot, _), _| slot.topic != topic);
        kept.contents.purge.retain(|id| *id != topic);
        Ok(())
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }
}
