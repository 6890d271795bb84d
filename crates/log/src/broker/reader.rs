//! Readers of given partitions, without a group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Shared;
use super::fetch::Cursor;
use crate::{Fetched, LogError, Offset, Reader, Result, TopicPartition};

const MAX_POLL_BYTES: usize = 4 << 20;

pub(super) struct BrokerReader {
    shared: Arc<Shared>,
    cursors: BTreeMap<TopicPartition, Cursor>,
    polls: usize,
}

impl BrokerReader {
    pub fn open(shared: &Arc<Shared>, partitions: &[TopicPartition]) -> Result<Self> {
        let state = shared.lock();
        shared.check_open(&state)?;
        let mut cursors = BTreeMap::new();
        for at in partitions {
            let (slot, partition) = state.partition(at)?;
            cursors.insert(at.clone(), Cursor::new(slot, partition.earliest));
        }
        drop(state);
        Ok(Self { shared: Arc::clone(shared), cursors, polls: 0 })
    }
}

impl Reader for BrokerReader {
    fn poll(&mut self, timeout: Duration) -> Result<Vec<Fetched>> {
        let start = Instant::now();
        loop {
            let version = self.shared.lock().version;
            self.polls = self.polls.wrapping_add(1);
            let fetched = self.shared.fetch(self.cursors.iter_mut(), self.polls, MAX_POLL_BYTES)?;
            if !fetched.is_empty() {
                return Ok(fetched);
            }
            let mut state = self.shared.lock();
            while state.version == version {
                let left = timeout.saturating_sub(start.elapsed());
                if left.is_zero() {
                    return Ok(fetched);
                }
                state = self.shared.wait(state, left);
            }
        }
    }

    fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        let cursor = self
            .cursors
            .get_mut(partition)
            .ok_or(LogError::InvalidState("this reader was not opened on the partition to be sought in"))?;
        let state = self.shared.lock();
        let (_, there) = state.partition(partition)?;
        cursor.seek(offset.clamp(there.earliest, there.latest));
        Ok(())
    }

    fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.cursors.get(partition).map(|cursor| cursor.position)
    }
}
