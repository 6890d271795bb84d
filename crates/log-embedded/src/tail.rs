//! The newest batches of each partition in memory, so that those who follow a log do not go to disk.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use vigie_log::Offset;
use vigie_log::broker::{Entry, Slot, Span, TopicId};

/// Per partition a gapless run of its newest batches; over all of them the oldest go first.
#[derive(Debug)]
pub(crate) struct Tail {
    kept: Mutex<Kept>,
    most_bytes: usize,
}

#[derive(Debug, Default)]
struct Kept {
    slots: HashMap<Slot, VecDeque<Entry>>,
    /// In order of arrival. What was forgotten meanwhile is skipped.
    order: VecDeque<(Slot, Offset, usize)>,
    bytes: usize,
}

impl Tail {
    pub fn new(most_bytes: usize) -> Self {
        Self { kept: Mutex::default(), most_bytes }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a batch that follows all others of its partition.
    pub fn add(&self, slot: Slot, entry: Entry) {
        let mut kept = self.kept();
        let bytes = entry.batch.bytes();
        kept.order.push_back((slot, entry.batch.base_offset(), bytes));
        kept.bytes += bytes;
        kept.slots.entry(slot).or_default().push_back(entry);
        while kept.bytes > self.most_bytes {
            let Some((slot, base, bytes)) = kept.order.pop_front() else { break };
            kept.bytes -= bytes;
            if let Some(entries) = kept.slots.get_mut(&slot)
                && entries.front().is_some_and(|entry| entry.batch.base_offset() == base)
            {
                entries.pop_front();
            }
        }
    }

    /// Forgets the batches of a partition up to this base offset: they change or go.
    pub fn forget_to(&self, slot: Slot, base: Offset) {
        if let Some(entries) = self.kept().slots.get_mut(&slot) {
            entries.drain(..entries.partition_point(|entry| entry.batch.base_offset() <= base));
        }
    }

    /// Forgets a topic.
    pub fn forget_topic(&self, topic: TopicId) {
        self.kept().slots.retain(|slot, _| slot.topic != topic);
    }

    /// What the span holds, if it begins in here.
    pub fn read(&self, slot: Slot, span: Span, max_bytes: usize) -> Option<Vec<Entry>> {
        let kept = self.kept();
        let entries = kept.slots.get(&slot)?;
        if entries.front()?.batch.base_offset() > span.from {
            return None;
        }
        let mut first = entries.partition_point(|entry| entry.batch.base_offset() < span.from);
        if span.overlapping
            && let Some(before) = first.checked_sub(1)
            && entries.get(before).is_some_and(|entry| entry.batch.last_offset() >= span.from)
        {
            first = before;
        }
        let mut found: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        for entry in entries.iter().skip(first) {
            bytes += entry.batch.bytes();
            if entry.batch.base_offset() >= span.until || (bytes > max_bytes && !found.is_empty()) {
                break;
            }
            found.push(entry.clone());
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigie_log::BatchBuilder;
    use vigie_log::broker::Note;

    const SLOT: Slot = Slot { topic: 1, partition: 0 };

    fn entry(base: Offset) -> Entry {
        let mut builder = BatchBuilder::new();
        builder.push(0, None, Some(&[0; 100]), &[]);
        builder.push(0, None, Some(&[0; 100]), &[]);
        Entry { note: Note::default(), batch: builder.build(base) }
    }

    fn bases(tail: &Tail, from: Offset, overlapping: bool, max_bytes: usize) -> Option<Vec<Offset>> {
        let span = Span { from, until: 100, overlapping };
        Some(tail.read(SLOT, span, max_bytes)?.iter().map(|entry| entry.batch.base_offset()).collect())
    }

    #[test]
    fn the_newest_are_kept_and_found() {
        let tail = Tail::new(3 * entry(0).batch.bytes());
        for i in 0..5 {
            tail.add(SLOT, entry(2 * i));
        }
        assert_eq!(bases(&tail, 3, true, 10_000), None, "gone to make room");
        assert_eq!(bases(&tail, 4, true, 10_000), Some(vec![4, 6, 8]));
        assert_eq!(bases(&tail, 7, true, 10_000), Some(vec![6, 8]));
        assert_eq!(bases(&tail, 7, false, 10_000), Some(vec![8]));
        assert_eq!(bases(&tail, 4, true, 1), Some(vec![4]), "at least one");
        assert_eq!(bases(&tail, 10, true, 1), Some(vec![]));
        tail.forget_to(SLOT, 5);
        assert_eq!(bases(&tail, 4, true, 10_000), None);
        assert_eq!(bases(&tail, 6, true, 10_000), Some(vec![6, 8]));
        tail.forget_to(SLOT, 8);
        assert_eq!(bases(&tail, 8, true, 10_000), None);
        tail.add(SLOT, entry(10));
        assert_eq!(bases(&tail, 10, true, 10_000), Some(vec![10]));
    }
}
