//! Who owns which partition: the group coordinator as a pure state machine, without I/O, clock or randomness.
//!
//! Shared by the logs that Vigie implements itself. What happens to one member:
//! ```text
//!              poll: owns what is free               poll: reports `revoked`            next poll
//!  join ──▶ waiting ─────────────────────▶ owner ─────────────────────────▶ revoking ───────────▶ owner of less
//!              ▲                             │  no poll for a session timeout   │
//!              └──── joins again, `lost` ◀───┴──────────────────────────────────┘
//! ```
//! Invariants:
//! - a partition has at most one owner; what is being revoked stays owned until its member's next poll, or until its session ends;
//! - partition `n` of all topics with the same subscribers goes to the same member (range assignment); members that brought the same
//!   topology get whole tasks instead, each where it was before or where its standby copy is, as far as the shares stay even;
//! - a standby copy never lies in the process that owns its task, nor two copies of a task in one process;
//! - a member learns of a new generation only by its own poll, so that it can commit what it has done before.

mod assign;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::{
    GroupDescription, GroupTopology, LogError, MemberConfig, MemberEndpoint, Membership, Offset, Result,
    StandbyTask, TopicPartition,
};

/// How many partitions a topic has now; 0 when there is no such topic.
pub type PartitionCounts<'a> = &'a dyn Fn(&str) -> u32;

/// What a member learns by polling.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Changes {
    /// To be given up at the next poll.
    pub revoked: Vec<TopicPartition>,
    /// Gone already.
    pub lost: Vec<TopicPartition>,
    /// Owned from now on.
    pub assigned: Vec<TopicPartition>,
    /// All standby copies from now on, if they changed.
    pub standbys: Option<Vec<StandbyTask>>,
    /// Somebody asked for the whole application to stop.
    pub shutdown: bool,
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.revoked.is_empty()
            && self.lost.is_empty()
            && self.assigned.is_empty()
            && self.standbys.is_none()
            && !self.shutdown
    }
}

/// Topics with their partition counts.
type TopicCounts = Vec<(Arc<str>, u32)>;

/// All groups of a log, with their committed offsets.
#[derive(Debug, Default)]
pub struct Groups {
    groups: BTreeMap<Arc<str>, Group>,
    joined: u64,
}

#[derive(Debug, Default)]
struct Group {
    generation: i32,
    members: BTreeMap<Arc<str>, Joined>,
    committed: BTreeMap<TopicPartition, Offset>,
    /// The partition counts for which the targets were computed.
    counts: BTreeMap<Arc<str>, u32>,
    /// Somebody asked for all members to stop; ends with the last of them.
    shutdown: bool,
}

#[derive(Debug)]
struct Joined {
    topics: BTreeSet<Arc<str>>,
    generation: i32,
    owned: BTreeSet<TopicPartition>,
    /// A part of `owned`.
    revoking: BTreeSet<TopicPartition>,
    target: BTreeSet<TopicPartition>,
    session: Duration,
    last_seen: Duration,
    /// A member inside `poll` is alive, however long it waits there.
    polling: bool,
    topology: Option<Arc<GroupTopology>>,
    process: Arc<str>,
    endpoint: Option<(String, u16)>,
    replicas: u32,
    /// As the member knows them.
    standbys: BTreeSet<StandbyTask>,
    standby_target: BTreeSet<StandbyTask>,
    told_of_shutdown: bool,
}

impl Joined {
    /// What it shall keep now: also the copy of a task that it is about to own, so that it takes over from it.
    fn standbys_now(&self) -> BTreeSet<StandbyTask> {
        let coming = |task: &&StandbyTask| {
            let mut inputs = assign::inputs_of(self.topology.as_deref(), task);
            inputs.any(|input| self.target.contains(&input) && !self.owned.contains(&input))
        };
        let kept = self.standbys.iter().filter(coming).cloned();
        self.standby_target.iter().cloned().chain(kept).collect()
    }

    fn place(&self) -> assign::Place<'_> {
        assign::Place {
            process: &self.process,
            replicas: self.replicas,
            meant: &self.target,
            owned: &self.owned,
            standbys: &self.standbys,
        }
    }

    fn is_settled(&self, group: &Group) -> bool {
        self.owned == self.target
            && self.standbys == self.standby_target
            && self.told_of_shutdown == group.shutdown
    }
}

impl Groups {
    /// A member joins; it owns nothing until it polls.
    pub fn join(
        &mut self,
        config: &MemberConfig,
        topics: &[Arc<str>],
        session: Duration,
        now: Duration,
    ) -> Membership {
        self.joined += 1;
        // Numbered, so that members sort in the order in which they joined.
        let member: Arc<str> = format!("{}-{:08}", config.client_id, self.joined).into();
        let (group_name, group) = self.entry(&config.group);
        let joined = Joined {
            topics: topics.iter().cloned().collect(),
            generation: 0,
            owned: BTreeSet::new(),
            revoking: BTreeSet::new(),
            target: BTreeSet::new(),
            session,
            last_seen: now,
            polling: false,
            topology: config.topology.clone(),
            // Without a name of its own, each member counts as a process.
            process: match config.process_id.as_str() {
                "" => Arc::clone(&member),
                process => process.into(),
            },
            endpoint: config.endpoint.clone(),
            replicas: config.standby_replicas,
            standbys: BTreeSet::new(),
            standby_target: BTreeSet::new(),
            told_of_shutdown: false,
        };
        group.members.insert(Arc::clone(&member), joined);
        group.counts.clear();
        group.generation += 1;
        Membership { group: group_name, member, generation: 0 }
    }

    /// A member leaves; what it owned is free at once.
    pub fn leave(&mut self, group: &str, member: &str) {
        if let Some(group) = self.groups.get_mut(group)
            && group.members.remove(member).is_some()
        {
            group.changed();
        }
    }

    /// Notes that a member is inside `poll` (`true`) or has left it.
    pub fn set_polling(&mut self, group: &str, member: &str, polling: bool, now: Duration) {
        if let Some(joined) = self.groups.get_mut(group).and_then(|group| group.members.get_mut(member)) {
            joined.polling = polling;
            joined.last_seen = now;
        }
    }

    /// Ends the session of every member of the group that has not polled for too long. Tells whether there was one.
    pub fn expire(&mut self, group: &str, now: Duration) -> bool {
        let Some(group) = self.groups.get_mut(group) else { return false };
        let before = group.members.len();
        group
            .members
            .retain(|_, joined| joined.polling || now.saturating_sub(joined.last_seen) <= joined.session);
        let expired = group.members.len() < before;
        if expired {
            group.changed();
        }
        expired
    }

    /// The moment at which the next session of the group ends, if nobody polls.
    pub fn next_expiry(&self, group: &str) -> Option<Duration> {
        let group = self.groups.get(group)?;
        group
            .members
            .values()
            .filter(|joined| !joined.polling)
            .map(|joined| joined.last_seen + joined.session)
            .min()
    }

    /// One step of a member's poll. `None` when the member is not (or no longer) in the group: it must join again, and
    /// what it owned is lost. Nothing is assigned while `may_assign` is false: a commit is under way whose offsets a
    /// new owner must see.
    pub fn poll(
        &mut self,
        membership: &Membership,
        counts: PartitionCounts<'_>,
        may_assign: bool,
    ) -> Option<Changes> {
        let group = self.groups.get_mut(&membership.group)?;
        if !group.members.contains_key(&membership.member) {
            return None;
        }
        group.retarget(counts);
        let (generation, shutdown) = (group.generation, group.shutdown);
        let taken: BTreeSet<TopicPartition> = group
            .members
            .iter()
            .filter(|(id, _)| **id != membership.member)
            .flat_map(|(_, other)| other.owned.iter().cloned())
            .collect();
        let joined = group.members.get_mut(&membership.member)?;
        let mut changes = Changes::default();
        joined.owned.retain(|partition| {
            let there = partition.partition < counts(&partition.topic);
            if !there {
                changes.lost.push(partition.clone());
            }
            there
        });
        joined.revoking.clear();
        let revoked: BTreeSet<TopicPartition> = joined.owned.difference(&joined.target).cloned().collect();
        if may_assign {
            changes.assigned = joined.target.difference(&joined.owned).cloned().collect();
            changes.assigned.retain(|partition| !taken.contains(partition));
            joined.owned.extend(changes.assigned.iter().cloned());
        }
        joined.generation = generation;
        let standbys = joined.standbys_now();
        if standbys != joined.standbys {
            changes.standbys = Some(standbys.iter().cloned().collect());
            joined.standbys = standbys;
        }
        changes.shutdown = shutdown;
        joined.told_of_shutdown = shutdown;
        changes.revoked = revoked.iter().cloned().collect();
        joined.revoking = revoked;
        Some(changes)
    }

    /// Gives up what the member's last poll reported as revoked. Tells whether there was something.
    pub fn give_up_revoked(&mut self, membership: &Membership) -> bool {
        let Some(joined) = self
            .groups
            .get_mut(&membership.group)
            .and_then(|group| group.members.get_mut(&membership.member))
        else {
            return false;
        };
        let revoking = std::mem::take(&mut joined.revoking);
        joined.owned.retain(|partition| !revoking.contains(partition));
        !revoking.is_empty()
    }

    /// Whether the member owns exactly what is meant for it, so that only a change elsewhere can bring it news.
    pub fn is_settled(&self, membership: &Membership) -> bool {
        let Some(group) = self.groups.get(&membership.group) else { return false };
        group.members.get(&membership.member).is_some_and(|joined| joined.is_settled(group))
    }

    /// Asks all members of the group to stop. Tells whether that is news.
    pub fn request_shutdown(&mut self, membership: &Membership) -> bool {
        let Some(group) = self.groups.get_mut(&membership.group) else { return false };
        group.members.contains_key(&membership.member) && !std::mem::replace(&mut group.shutdown, true)
    }

    /// The members of a group that said where they can be asked, with the inputs of their tasks.
    pub fn endpoints(&self, group: &str) -> Vec<MemberEndpoint> {
        let members = self.groups.get(group).into_iter().flat_map(|group| group.members.values());
        let told = members.filter_map(|joined| {
            let (host, port) = joined.endpoint.clone()?;
            let standby = joined.standbys.iter();
            let standby = standby.flat_map(|task| assign::inputs_of(joined.topology.as_deref(), task));
            Some(MemberEndpoint {
                host,
                port,
                active: joined.owned.iter().cloned().collect(),
                standby: standby.collect(),
            })
        });
        told.collect()
    }

    /// The member's generation now.
    pub fn generation(&self, membership: &Membership) -> Option<i32> {
        Some(self.groups.get(&membership.group)?.members.get(&membership.member)?.generation)
    }

    /// Refuses, with [`NotOwner`](LogError::NotOwner), a commit of what the member does not own at this generation.
    pub fn check(&self, membership: &Membership, offsets: &[(TopicPartition, Offset)]) -> Result<()> {
        let refuse = |reason: String| {
            Err(LogError::NotOwner {
                group: membership.group.to_string(),
                member: membership.member.to_string(),
                reason,
            })
        };
        let joined =
            self.groups.get(&membership.group).and_then(|group| group.members.get(&membership.member));
        let Some(joined) = joined else {
            return refuse(String::from("it is no longer in the group (left, or its session timed out)"));
        };
        if joined.generation != membership.generation {
            return refuse(format!(
                "generation {} is over, now is {}",
                membership.generation, joined.generation
            ));
        }
        match offsets.iter().find(|(partition, _)| !joined.owned.contains(partition)) {
            Some((partition, _)) => refuse(format!("partition {partition} is not its own")),
            None => Ok(()),
        }
    }

    /// The committed offset of a partition.
    pub fn committed(&self, group: &str, partition: &TopicPartition) -> Option<Offset> {
        self.groups.get(group)?.committed.get(partition).copied()
    }

    /// Sets a committed offset, without any check: the log has checked and stored it.
    pub fn set_committed(&mut self, group: &str, partition: TopicPartition, offset: Offset) {
        self.entry(group).1.committed.insert(partition, offset);
    }

    /// Forgets a topic's committed offsets in all groups; tells which there were.
    pub fn forget_topic(&mut self, topic: &str) -> Vec<(Arc<str>, TopicPartition)> {
        let mut forgotten = Vec::new();
        for (name, group) in &mut self.groups {
            group.committed.retain(|partition, _| {
                let keep = &*partition.topic != topic;
                if !keep {
                    forgotten.push((Arc::clone(name), partition.clone()));
                }
                keep
            });
        }
        forgotten
    }

    /// All groups that have a member or an offset, sorted.
    pub fn list(&self) -> Vec<String> {
        let used = |group: &Group| !group.members.is_empty() || !group.committed.is_empty();
        self.groups.iter().filter(|(_, group)| used(group)).map(|(name, _)| name.to_string()).collect()
    }

    /// One group.
    pub fn describe(&self, name: &str) -> GroupDescription {
        let Some(group) = self.groups.get(name) else {
            return GroupDescription { group: name.to_owned(), members: Vec::new(), committed: Vec::new() };
        };
        let members = group
            .members
            .iter()
            .map(|(id, joined)| (id.to_string(), joined.owned.iter().cloned().collect()))
            .collect();
        let committed =
            group.committed.iter().map(|(partition, offset)| (partition.clone(), *offset)).collect();
        GroupDescription { group: name.to_owned(), members, committed }
    }

    /// Whether somebody is in the group.
    pub fn has_members(&self, group: &str) -> bool {
        self.groups.get(group).is_some_and(|group| !group.members.is_empty())
    }

    /// Forgets a group; the caller has seen that it has no members.
    pub fn remove(&mut self, group: &str) {
        self.groups.remove(group);
    }

    fn entry(&mut self, group: &str) -> (Arc<str>, &mut Group) {
        let name =
            self.groups.get_key_value(group).map_or_else(|| Arc::from(group), |(name, _)| Arc::clone(name));
        (Arc::clone(&name), self.groups.entry(name).or_default())
    }
}

impl Group {
    fn changed(&mut self) {
        self.generation += 1;
        self.counts.clear();
        self.shutdown &= !self.members.is_empty();
    }

    /// The topology of all members, if they have the same.
    fn topology(&self) -> Option<Arc<GroupTopology>> {
        let mut members = self.members.values();
        let first = members.next()?.topology.clone()?;
        let same = |other: &Arc<GroupTopology>| Arc::ptr_eq(other, &first) || **other == *first;
        members.all(|joined| joined.topology.as_ref().is_some_and(same)).then_some(first)
    }

    /// Computes the targets again when members, subscriptions or partition counts have changed.
    fn retarget(&mut self, count_of: PartitionCounts<'_>) {
        let topics: BTreeSet<&Arc<str>> = self.members.values().flat_map(|joined| &joined.topics).collect();
        let counts: BTreeMap<Arc<str>, u32> =
            topics.into_iter().map(|topic| (Arc::clone(topic), count_of(topic))).collect();
        if counts == self.counts {
            return;
        }
        if !self.counts.is_empty() {
            self.generation += 1;
        }
        let topology = self.topology();
        let tasks = topology.as_deref().map(|topology| assign::Tasks::of(topology, &counts));
        let members: Vec<assign::Place> = self.members.values().map(Joined::place).collect();
        let assigned = tasks.as_ref().map(|tasks| tasks.assign(&members));
        drop(members);
        let of_tasks = |topic: &str| tasks.as_ref().is_some_and(|tasks| tasks.reads(topic));
        // Topics with the same subscribers are shared out as one, as wide as the widest: that keeps partition n of all of
        // them together even when their partition counts differ.
        let mut classes: BTreeMap<Vec<Arc<str>>, TopicCounts> = BTreeMap::new();
        for (topic, count) in counts.iter().filter(|(topic, _)| !of_tasks(topic)) {
            let subscribers = self
                .members
                .iter()
                .filter(|(_, joined)| joined.topics.contains(topic))
                .map(|(id, _)| Arc::clone(id))
                .collect();
            classes.entry(subscribers).or_default().push((Arc::clone(topic), *count));
        }
        for joined in self.members.values_mut() {
            joined.target.clear();
            joined.standby_target.clear();
        }
        for (subscribers, topics) in &classes {
            let width = topics.iter().map(|(_, count)| *count).max().unwrap_or(0);
            for (member, range) in subscribers.iter().zip(assign::ranges(width, subscribers.len())) {
                let Some(joined) = self.members.get_mut(member) else { continue };
                for (topic, count) in topics {
                    let end = range.end.min(*count);
                    joined
                        .target
                        .extend((range.start..end).map(|n| TopicPartition::new(Arc::clone(topic), n)));
                }
            }
        }
        for (joined, share) in self.members.values_mut().zip(assigned.into_iter().flatten()) {
            joined.target.extend(share.active);
            joined.standby_target = share.standby;
        }
        self.counts = counts;
    }
}

#[cfg(test)]
mod tests;
