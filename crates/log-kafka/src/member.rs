//! Members of groups: a protocol that decides what is owned, and the data path that fetches it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vigie_log::{
    LogError, Member, MemberConfig, MemberEndpoint, Membership, Offset, Polled, Result, TopicPartition,
};

use crate::fetcher::Fetcher;
use crate::log::Shared;
use crate::membership::{self, GroupProtocol, Step};

/// A wait is cut into slices of this length, so that the protocol is asked even if nobody rings.
const SLICE: Duration = Duration::from_millis(250);

pub(crate) struct KafkaMember {
    shared: Arc<Shared>,
    config: MemberConfig,
    /// Before the fetcher, so that it leaves while the consumer still lives.
    protocol: Box<dyn GroupProtocol>,
    fetcher: Fetcher,
    /// Reported as revoked by the last poll; to be given up by the next one.
    revoked: Option<Vec<TopicPartition>>,
    group: Arc<str>,
}

impl KafkaMember {
    pub fn join(shared: &Arc<Shared>, config: MemberConfig) -> Result<Self> {
        let (protocol, fetcher) = membership::join(shared, &config)?;
        let group = Arc::from(config.group.as_str());
        Ok(Self { shared: Arc::clone(shared), config, protocol, fetcher, revoked: None, group })
    }

    fn not_owned(&self, partition: &TopicPartition) -> LogError {
        LogError::NotOwner {
            group: self.group.to_string(),
            member: self.protocol.proof().member.to_string(),
            reason: format!("partition {partition} is not its own"),
        }
    }

    fn release(&mut self) -> Result<()> {
        let Some(revoked) = self.revoked.take() else { return Ok(()) };
        self.fetcher.remove(&revoked)?;
        self.protocol.released(&revoked)
    }

    fn apply(&mut self, step: Step, polled: &mut Polled) -> Result<()> {
        match step {
            Step::Revoke(partitions) => {
                // Of a topic that is gone nothing can be committed.
                let topics: BTreeSet<_> = partitions.iter().map(|at| Arc::clone(&at.topic)).collect();
                let mut gone = BTreeSet::new();
                for topic in topics {
                    if self.shared.partitions_now(&topic)?.is_none() {
                        gone.insert(topic);
                    }
                }
                let (lost, kept): (Vec<_>, Vec<_>) =
                    partitions.iter().cloned().partition(|at| gone.contains(&at.topic));
                for at in &partitions {
                    self.fetcher.stop(at);
                }
                polled.lost.extend(lost.into_iter().filter(|at| self.fetcher.contains(at)));
                polled.revoked.extend(kept);
                if polled.revoked.is_empty() {
                    // Nothing to commit: given up at once.
                    self.revoked = Some(partitions);
                    self.release()?;
                } else {
                    self.revoked = Some(partitions);
                }
            }
            Step::Lost(partitions) => {
                // What else was to be given up still has to be released, or the protocol would wait for it for ever.
                if let Some(revoked) = &mut self.revoked {
                    revoked.retain(|at| !partitions.contains(at));
                }
                self.fetcher.remove(&partitions)?;
                polled.lost.extend(partitions);
            }
            Step::Assign(partitions) => {
                let starts = self.fetcher.starts(&partitions, self.config.start)?;
                self.fetcher.add(&starts)?;
                polled.assigned.extend(partitions);
            }
            Step::Standbys(standbys) => polled.standbys = Some(standbys),
            Step::Shutdown => polled.shutdown = true,
            Step::Broken(reason) => {
                tracing::warn!(target: "kafka", group = &*self.group, "joining anew: {reason}");
                polled.lost.extend(self.fetcher.assigned());
                self.revoked = None;
                self.shared.forget_member(&self.protocol.proof());
                self.protocol.leave()?;
                let (protocol, fetcher) = membership::join(&self.shared, &self.config)?;
                (self.protocol, self.fetcher) = (protocol, fetcher);
                // What is broken once may be so for as long as a dead member's session lasts.
                std::thread::sleep(Duration::from_millis(200));
            }
        }
        Ok(())
    }
}

impl Member for KafkaMember {
    fn poll(&mut self, timeout: Duration) -> Result<Polled> {
        let deadline = Instant::now() + timeout;
        self.release()?;
        loop {
            let mut polled = Polled::default();
            if !self.protocol.serves_the_consumer() {
                self.fetcher.serve();
            }
            for step in self.protocol.poll()? {
                self.apply(step, &mut polled)?;
            }
            let proof = self.protocol.proof();
            self.shared.note_generation(&proof);
            polled.batches = self.fetcher.drain(self.config.max_poll_bytes)?;
            let news = !polled.revoked.is_empty()
                || !polled.lost.is_empty()
                || !polled.assigned.is_empty()
                || polled.standbys.is_some()
                || polled.shutdown;
            if news || !polled.batches.is_empty() || Instant::now() >= deadline {
                return Ok(polled);
            }
            self.fetcher.wait_until(deadline.min(Instant::now() + SLICE));
        }
    }

    fn membership(&self) -> Membership {
        self.protocol.proof()
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        self.fetcher.assigned()
    }

    fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.fetcher.position(partition)
    }

    fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<Offset>>> {
        self.fetcher.committed(partitions)
    }

    fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        if !self.fetcher.contains(partition) {
            return Err(self.not_owned(partition));
        }
        self.fetcher.seek(partition, offset)
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        match partitions.iter().find(|at| !self.fetcher.pause(at, true)) {
            Some(foreign) => Err(self.not_owned(foreign)),
            None => Ok(()),
        }
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        match partitions.iter().find(|at| !self.fetcher.pause(at, false)) {
            Some(foreign) => Err(self.not_owned(foreign)),
            None => Ok(()),
        }
    }

    fn commit(&mut self, offsets: &[(TopicPartition, Offset)]) -> Result<()> {
        if let Some((foreign, _)) = offsets.iter().find(|(at, _)| !self.fetcher.contains(at)) {
            return Err(self.not_owned(foreign));
        }
        if offsets.is_empty() { Ok(()) } else { self.protocol.commit(offsets) }
    }

    fn endpoints(&mut self) -> Result<Vec<MemberEndpoint>> {
        self.protocol.endpoints()
    }

    fn request_shutdown(&mut self) -> Result<bool> {
        self.protocol.request_shutdown()
    }

    fn close(mut self: Box<Self>) -> Result<()> {
        self.protocol.leave()
    }
}

impl Drop for KafkaMember {
    fn drop(&mut self) {
        self.shared.forget_member(&self.protocol.proof());
        if let Err(error) = self.protocol.leave() {
            tracing::debug!(target: "kafka", %error, "while leaving a group");
        }
    }
}
