//! Members of groups: the coordinator's protocol around cursors.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Shared;
use super::fetch::Cursor;
use super::producer::Transaction;
use super::state::State;
use crate::{
    LogError, Member, MemberConfig, MemberEndpoint, Membership, Offset, Polled, Result, StartAt,
    TopicPartition,
};

/// A stuck thread loses its partitions after this long without a poll, unless `session.timeout.ms` says otherwise.
const SESSION: Duration = Duration::from_secs(60);

pub(super) struct BrokerMember {
    shared: Arc<Shared>,
    config: MemberConfig,
    topics: Vec<Arc<str>>,
    session: Duration,
    membership: Membership,
    owned: BTreeMap<TopicPartition, Owned>,
    /// The layout at which everything due was owned: nothing to ask the coordinator until it changes.
    settled: Option<u64>,
    polls: usize,
}

struct Owned {
    cursor: Cursor,
    revoked: bool,
    paused: bool,
}

impl Owned {
    fn update(&mut self) {
        self.cursor.stopped = self.revoked || self.paused;
    }
}

impl BrokerMember {
    pub fn join(shared: &Arc<Shared>, config: MemberConfig) -> Result<Self> {
        super::check_name("a group", &config.group)?;
        let session = match config.config.get("session.timeout.ms") {
            None => SESSION,
            Some(text) => Duration::from_millis(text.parse().map_err(|_| {
                LogError::other(
                    format!("joining group `{}`", config.group),
                    format!("`session.timeout.ms` is `{text}`; give a number of milliseconds"),
                )
            })?),
        };
        let mut state = shared.lock();
        shared.check_open(&state)?;
        let mut topics = Vec::new();
        for topic in &config.topics {
            topics.push(Arc::clone(&state.topic(topic)?.name));
        }
        let now = shared.clock.monotonic();
        let membership = state.groups.join(&config, &topics, session, now);
        state.layout += 1;
        shared.wake(&mut state);
        drop(state);
        Ok(Self {
            shared: Arc::clone(shared),
            config,
            topics,
            session,
            membership,
            owned: BTreeMap::new(),
            settled: None,
            polls: 0,
        })
    }

    fn poll_until(&mut self, start: Instant, timeout: Duration) -> Result<Polled> {
        loop {
            let mut polled = Polled::default();
            let version = {
                let shared = Arc::clone(&self.shared);
                let mut state = shared.lock();
                shared.check_open(&state)?;
                self.reconcile(&mut state, &mut polled)?;
                state.version
            };
            self.polls = self.polls.wrapping_add(1);
            let cursors: Vec<_> = self.owned.iter_mut().map(|(at, owned)| (at, &mut owned.cursor)).collect();
            match self.shared.fetch(cursors.into_iter(), self.polls, self.config.max_poll_bytes) {
                Ok(batches) => polled.batches = batches,
                // A topic that was deleted this instant: the next step of the loop reports its partitions as lost.
                Err(LogError::UnknownTopic { .. }) => self.settled = None,
                Err(error) => return Err(error),
            }
            let moved = !polled.revoked.is_empty() || !polled.lost.is_empty() || !polled.assigned.is_empty();
            let news = moved || polled.standbys.is_some() || polled.shutdown;
            if news || !polled.batches.is_empty() {
                return Ok(polled);
            }
            let mut state = self.shared.lock();
            while state.version == version {
                let left = timeout.saturating_sub(start.elapsed());
                if left.is_zero() {
                    return Ok(polled);
                }
                let now = self.shared.clock.monotonic();
                let expiry = state.groups.next_expiry(&self.config.group);
                let until_expiry =
                    expiry.map_or(left, |at| at.saturating_sub(now) + Duration::from_millis(1));
                state = self.shared.wait(state, left.min(until_expiry));
                if until_expiry < left {
                    break;
                }
            }
            if start.elapsed() >= timeout && state.version == version {
                return Ok(polled);
            }
        }
    }

    /// One step with the coordinator: what came, what goes.
    fn reconcile(&mut self, state: &mut State, polled: &mut Polled) -> Result<()> {
        let now = self.shared.clock.monotonic();
        if state.groups.expire(&self.config.group, now) {
            state.layout += 1;
            self.shared.wake(state);
        }
        if self.settled == Some(state.layout) {
            return Ok(());
        }
        if state.groups.generation(&self.membership).is_none() {
            // The session ended: everything is lost, and this is a new member from here on.
            polled.lost = std::mem::take(&mut self.owned).into_keys().collect();
            self.membership = state.groups.join(&self.config, &self.topics, self.session, now);
            polled.standbys = Some(Vec::new());
            state.groups.set_polling(&self.config.group, &self.membership.member, true, now);
            state.layout += 1;
            self.shared.wake(state);
        }
        let may_assign = !state.committing.contains(&self.membership.group);
        let counts: BTreeMap<Arc<str>, u32> =
            state.topics.iter().map(|(name, topic)| (Arc::clone(name), topic.count())).collect();
        let changes =
            state.groups.poll(&self.membership, &|topic| counts.get(topic).copied().unwrap_or(0), may_assign);
        let Some(changes) = changes else {
            return Err(LogError::InvalidState("a member that has just joined is not in its group"));
        };
        let settled = may_assign && state.groups.is_settled(&self.membership);
        self.settled = settled.then_some(state.layout);
        self.membership.generation = state.groups.generation(&self.membership).unwrap_or_default();
        // Of a topic deleted and made again, the records are gone.
        for (at, owned) in &self.owned {
            if state.partition(at).is_ok_and(|(slot, _)| slot != owned.cursor.slot) {
                polled.lost.push(at.clone());
                polled.assigned.push(at.clone());
            }
        }
        polled.lost.extend(changes.lost);
        for at in &polled.lost {
            self.owned.remove(at);
        }
        for at in &changes.revoked {
            if let Some(owned) = self.owned.get_mut(at) {
                owned.revoked = true;
                owned.update();
            }
        }
        polled.revoked = changes.revoked;
        polled.standbys = changes.standbys.or(polled.standbys.take());
        polled.shutdown = changes.shutdown;
        polled.assigned.extend(changes.assigned);
        for at in &polled.assigned {
            let (slot, partition) = state.partition(at)?;
            let start = match self.config.start {
                StartAt::Earliest => partition.earliest,
                StartAt::Latest => partition.latest,
            };
            let position = state.groups.committed(&self.config.group, at).unwrap_or(start);
            let owned = Owned { cursor: Cursor::new(slot, position), revoked: false, paused: false };
            self.owned.insert(at.clone(), owned);
        }
        Ok(())
    }

    fn owned(&mut self, partition: &TopicPartition) -> Result<&mut Owned> {
        let (group, member) = (&self.membership.group, &self.membership.member);
        self.owned.get_mut(partition).ok_or_else(|| LogError::NotOwner {
            group: group.to_string(),
            member: member.to_string(),
            reason: format!("partition {partition} is not its own"),
        })
    }

    fn leave(&mut self) {
        let mut state = self.shared.lock();
        state.groups.leave(&self.config.group, &self.membership.member);
        state.layout += 1;
        self.shared.wake(&mut state);
    }
}

impl Member for BrokerMember {
    fn poll(&mut self, timeout: Duration) -> Result<Polled> {
        let start = Instant::now();
        {
            let mut state = self.shared.lock();
            let now = self.shared.clock.monotonic();
            // First the sessions: a member that comes back too late has lost its own, whether anybody noticed or not.
            if state.groups.expire(&self.config.group, now) {
                state.layout += 1;
                self.shared.wake(&mut state);
            }
            state.groups.set_polling(&self.config.group, &self.membership.member, true, now);
            if state.groups.give_up_revoked(&self.membership) {
                state.layout += 1;
                self.shared.wake(&mut state);
            }
        }
        self.owned.retain(|_, owned| !owned.revoked);
        let polled = self.poll_until(start, timeout);
        let now = self.shared.clock.monotonic();
        self.shared.lock().groups.set_polling(&self.config.group, &self.membership.member, false, now);
        polled
    }

    fn membership(&self) -> Membership {
        self.membership.clone()
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        self.owned.keys().cloned().collect()
    }

    fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.owned.get(partition).map(|owned| owned.cursor.position)
    }

    fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<Offset>>> {
        let state = self.shared.lock();
        self.shared.check_open(&state)?;
        Ok(partitions.iter().map(|at| state.groups.committed(&self.config.group, at)).collect())
    }

    fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        self.owned(partition)?.cursor.seek(offset);
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        for partition in partitions {
            let owned = self.owned(partition)?;
            owned.paused = true;
            owned.update();
        }
        Ok(())
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        for partition in partitions {
            let owned = self.owned(partition)?;
            owned.paused = false;
            owned.update();
        }
        Ok(())
    }

    fn commit(&mut self, offsets: &[(TopicPartition, Offset)]) -> Result<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        let offsets = vec![(self.membership.clone(), offsets.to_vec())];
        self.shared.commit(Transaction { offsets, ..Transaction::default() }).map(|_| ())
    }

    fn endpoints(&mut self) -> Result<Vec<MemberEndpoint>> {
        let state = self.shared.lock();
        self.shared.check_open(&state)?;
        Ok(state.groups.endpoints(&self.config.group))
    }

    fn request_shutdown(&mut self) -> Result<bool> {
        let mut state = self.shared.lock();
        self.shared.check_open(&state)?;
        if state.groups.request_shutdown(&self.membership) {
            state.layout += 1;
            self.shared.wake(&mut state);
        }
        Ok(true)
    }

    fn close(self: Box<Self>) -> Result<()> {
        // Dropping it leaves.
        self.shared.check_open(&self.shared.lock())
    }
}

impl Drop for BrokerMember {
    fn drop(&mut self) {
        self.leave();
    }
}
