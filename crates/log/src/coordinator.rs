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
//! - partition `n` of all topics with the same subscribers goes to the same member (range assignment);
//! - a member learns of a new generation only by its own poll, so that it can commit what it has done before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::{GroupDescription, LogError, Membership, Offset, Result, TopicPartition};

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
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.revoked.is_empty() && self.lost.is_empty() && self.assigned.is_empty()
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
}

impl Groups {
    /// A member joins; it owns nothing until it polls.
    pub fn join(
        &mut self,
        group: &str,
        client_id: &str,
        topics: &[Arc<str>],
        session: Duration,
        now: Duration,
    ) -> Membership {
        self.joined += 1;
        // Numbered, so that members sort in the order in which they joined.
        let member: Arc<str> = format!("{client_id}-{:08}", self.joined).into();
        let (group_name, group) = self.entry(group);
        let joined = Joined {
            topics: topics.iter().cloned().collect(),
            generation: 0,
            owned: BTreeSet::new(),
            revoking: BTreeSet::new(),
            target: BTreeSet::new(),
            session,
            last_seen: now,
            polling: false,
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
        let generation = group.generation;
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
        self.groups
            .get(&membership.group)
            .and_then(|group| group.members.get(&membership.member))
            .is_some_and(|joined| joined.owned == joined.target)
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
        // Topics with the same subscribers are shared out as one, as wide as the widest: that keeps partition n of all of
        // them together even when their partition counts differ.
        let mut classes: BTreeMap<Vec<Arc<str>>, TopicCounts> = BTreeMap::new();
        for (topic, count) in &counts {
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
        }
        for (subscribers, topics) in &classes {
            let width = topics.iter().map(|(_, count)| *count).max().unwrap_or(0);
            for (member, range) in subscribers.iter().zip(ranges(width, subscribers.len())) {
                let Some(joined) = self.members.get_mut(member) else { continue };
                for (topic, count) in topics {
                    let end = range.end.min(*count);
                    joined
                        .target
                        .extend((range.start..end).map(|n| TopicPartition::new(Arc::clone(topic), n)));
                }
            }
        }
        self.counts = counts;
    }
}

/// Shares `0..width` out among `members`: contiguous, the first ones get one more where it does not divide evenly.
fn ranges(width: u32, members: usize) -> impl Iterator<Item = std::ops::Range<u32>> {
    let members = u32::try_from(members.max(1)).unwrap_or(u32::MAX);
    let (each, more) = (width / members, width % members);
    let mut start = 0;
    (0..members).map(move |i| {
        let end = start + each + u32::from(i < more);
        let range = start..end;
        start = end;
        range
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Duration = Duration::from_secs(10);

    fn names(partitions: &[TopicPartition]) -> String {
        partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    struct Fixture {
        groups: Groups,
        members: Vec<Membership>,
        now: Duration,
        counts: BTreeMap<&'static str, u32>,
    }

    impl Fixture {
        fn new(counts: &[(&'static str, u32)]) -> Self {
            Self {
                groups: Groups::default(),
                members: Vec::new(),
                now: Duration::ZERO,
                counts: counts.iter().copied().collect(),
            }
        }

        fn join(&mut self) {
            let topics: Vec<Arc<str>> = self.counts.keys().map(|topic| Arc::from(*topic)).collect();
            self.members.push(self.groups.join("g", "m", &topics, SESSION, self.now));
        }

        fn poll(&mut self, member: usize) -> Option<String> {
            self.groups.expire("g", self.now);
            self.groups.set_polling("g", &self.members[member].member.clone(), false, self.now);
            self.groups.give_up_revoked(&self.members[member]);
            let counts = self.counts.clone();
            let count_of = move |topic: &str| counts.get(topic).copied().unwrap_or(0);
            let changes = self.groups.poll(&self.members[member], &count_of, true)?;
            self.members[member].generation = self.groups.generation(&self.members[member]).unwrap();
            Some(format!(
                "-[{}] ![{}] +[{}]",
                names(&changes.revoked),
                names(&changes.lost),
                names(&changes.assigned)
            ))
        }

        fn check(&self, member: usize, partition: u32) -> bool {
            self.groups.check(&self.members[member], &[(TopicPartition::new("a", partition), 1)]).is_ok()
        }
    }

    #[test]
    fn ranges_cover_everything_once() {
        for width in 0..20 {
            for members in 1..8 {
                let all: Vec<u32> = ranges(width, members).flatten().collect();
                assert_eq!(all, (0..width).collect::<Vec<_>>(), "{width} among {members}");
            }
        }
    }

    #[test]
    fn revoked_partitions_move_only_after_the_next_poll() {
        let mut f = Fixture::new(&[("a", 2)]);
        f.join();
        assert_eq!(f.poll(0).unwrap(), "-[] ![] +[a-0 a-1]");
        f.join();
        assert_eq!(f.poll(1).unwrap(), "-[] ![] +[]", "a-1 is still the first member's");
        assert!(f.check(0, 1), "a member that has not polled keeps its generation");
        assert_eq!(f.poll(0).unwrap(), "-[a-1] ![] +[]");
        assert!(f.check(0, 1), "it can still commit what it must give up");
        assert_eq!(f.poll(1).unwrap(), "-[] ![] +[]");
        assert_eq!(f.poll(0).unwrap(), "-[] ![] +[]");
        assert!(!f.check(0, 1));
        assert_eq!(f.poll(1).unwrap(), "-[] ![] +[a-1]");
        assert!(f.check(1, 1) && f.check(0, 0));
    }

    #[test]
    fn a_silent_member_loses_everything() {
        let mut f = Fixture::new(&[("a", 2)]);
        f.join();
        f.join();
        f.poll(0);
        f.poll(1);
        let old = f.members[0].clone();
        f.now += SESSION + Duration::from_millis(1);
        f.groups.set_polling("g", &f.members[1].member.clone(), true, f.now);
        assert_eq!(f.poll(1).unwrap(), "-[] ![] +[a-0]");
        assert!(f.poll(0).is_none());
        assert!(f.groups.check(&old, &[]).is_err());
    }

    #[test]
    fn an_old_generation_is_refused() {
        let mut f = Fixture::new(&[("a", 2)]);
        f.join();
        f.poll(0);
        let old = f.members[0].clone();
        f.join();
        f.poll(0);
        assert!(matches!(f.groups.check(&old, &[]), Err(LogError::NotOwner { .. })));
        assert!(f.check(0, 0));
    }

    #[test]
    fn partition_n_of_every_topic_stays_together() {
        let mut f = Fixture::new(&[("a", 4), ("b", 2), ("c", 4)]);
        f.join();
        f.join();
        assert_eq!(f.poll(0).unwrap(), "-[] ![] +[a-0 a-1 b-0 b-1 c-0 c-1]");
        assert_eq!(f.poll(1).unwrap(), "-[] ![] +[a-2 a-3 c-2 c-3]");
    }

    #[test]
    fn new_partitions_are_shared_out_and_deleted_topics_are_lost() {
        let mut f = Fixture::new(&[("a", 1)]);
        f.join();
        f.poll(0);
        f.counts.insert("a", 3);
        assert_eq!(f.poll(0).unwrap(), "-[] ![] +[a-1 a-2]");
        f.counts.remove("a");
        assert_eq!(f.poll(0).unwrap(), "-[] ![a-0 a-1 a-2] +[]");
    }

    #[test]
    fn leaving_frees_at_once() {
        let mut f = Fixture::new(&[("a", 2)]);
        f.join();
        f.join();
        f.poll(0);
        f.poll(1);
        let gone = f.members[0].clone();
        f.groups.leave("g", &gone.member);
        assert_eq!(f.poll(1).unwrap(), "-[] ![] +[a-0]");
    }
}
