//! Reading forward: cursors of members and readers.

use super::Shared;
use super::storage::{Slot, Span};
use crate::{Fetched, LogError, Offset, Result, TopicPartition};

/// Where somebody reads in one partition.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    pub slot: Slot,
    pub position: Offset,
    /// A batch begins at `position` (or none reaches over it), unless batches have been rewritten more often than this.
    aligned: Option<u64>,
    /// Nothing is read for now.
    pub stopped: bool,
}

impl Cursor {
    pub fn new(slot: Slot, position: Offset) -> Self {
        Self { slot, position, aligned: None, stopped: false }
    }

    pub fn seek(&mut self, offset: Offset) {
        self.position = offset;
        self.aligned = None;
    }
}

/// However many partitions share one poll, each may bring this much.
const LEAST_PER_PARTITION: usize = 64 << 10;

impl Shared {
    /// Reads what there is, at most about `max_bytes` from all cursors together; `first` rotates, so that no partition is starved.
    pub fn fetch<'a>(
        &self,
        cursors: impl ExactSizeIterator<Item = (&'a TopicPartition, &'a mut Cursor)>,
        first: usize,
        max_bytes: usize,
    ) -> Result<Vec<Fetched>> {
        let mut ready = Vec::with_capacity(cursors.len());
        {
            let state = self.lock();
            self.check_open(&state)?;
            for (at, cursor) in cursors {
                let (slot, partition) = state.partition(at)?;
                if slot != cursor.slot {
                    return Err(LogError::UnknownTopic { topic: at.topic.to_string() });
                }
                if !cursor.stopped && cursor.position != partition.latest {
                    ready.push((at, cursor));
                }
            }
        }
        if ready.is_empty() {
            return Ok(Vec::new());
        }
        let each = (max_bytes / ready.len()).max(LEAST_PER_PARTITION);
        let first = first % ready.len();
        ready.rotate_left(first);
        let mut fetched = Vec::new();
        let mut left = max_bytes;
        for (at, cursor) in ready {
            let before = fetched.len();
            self.fetch_one(at, cursor, each.min(left), &mut fetched)?;
            let bytes = fetched.iter().skip(before).map(|found: &Fetched| found.batch.bytes()).sum();
            left = left.saturating_sub(bytes);
            if left == 0 {
                break;
            }
        }
        Ok(fetched)
    }

    fn fetch_one(
        &self,
        at: &TopicPartition,
        cursor: &mut Cursor,
        max_bytes: usize,
        into: &mut Vec<Fetched>,
    ) -> Result<()> {
        loop {
            let (earliest, latest, rewriting, rewrites) = {
                let state = self.lock();
                let (_, partition) = state.partition(at)?;
                (partition.earliest, partition.latest, partition.rewriting, partition.rewrites)
            };
            if cursor.position < earliest || cursor.position > latest {
                // Retention removed what was to be read next (or the position was made up): the nearer end.
                cursor.seek(cursor.position.clamp(earliest, latest));
            }
            if cursor.position >= latest {
                return Ok(());
            }
            let aligned = !rewriting && cursor.aligned == Some(rewrites);
            let span = Span { from: cursor.position, until: latest, overlapping: !aligned };
            let entries = self.storage.read(cursor.slot, span, max_bytes)?;
            if aligned {
                let state = self.lock();
                let (_, partition) = state.partition(at)?;
                if partition.rewriting || partition.rewrites != rewrites {
                    // Batches moved while they were read: once more, with care.
                    cursor.aligned = None;
                    continue;
                }
            }
            cursor.position = entries.last().map_or(latest, |entry| entry.batch.last_offset() + 1);
            cursor.aligned = (!rewriting).then_some(rewrites);
            into.extend(entries.into_iter().filter(|entry| !entry.batch.is_empty()).map(|entry| Fetched {
                partition: at.clone(),
                batch: entry.batch,
                end: latest,
            }));
            return Ok(());
        }
    }
}
