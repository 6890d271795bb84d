//! Who gets what: contiguous ranges of partitions, or whole tasks with their standby copies. Pure functions.
//!
//! Tasks are shared out in this order, so long as no member gets more than an even share of all tasks and of each sub-topology's:
//! to the member that they were meant for, to the one that owns them still, to one with a standby copy, to the one with the fewest.
//! It is the idea of the sticky assignor of Apache Kafka's KIP-1071: a task that stays keeps its state warm.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::{GroupTopology, PartitionId, StandbyTask, TopicPartition};

/// Shares `0..width` out among `members`: contiguous, the first ones get one more where it does not divide evenly.
pub(super) fn ranges(width: u32, members: usize) -> impl Iterator<Item = std::ops::Range<u32>> {
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

/// The inputs of a task; topics with fewer partitions than the task's number are included.
pub(super) fn inputs_of<'a>(
    topology: Option<&'a GroupTopology>,
    task: &'a StandbyTask,
) -> impl Iterator<Item = TopicPartition> + 'a {
    let subs = topology.into_iter().flat_map(|topology| &topology.sub_topologies);
    let topics = subs.filter(|sub| sub.id == task.sub_topology).flat_map(|sub| {
        sub.sources.iter().map(String::as_str).chain(sub.repartition_sources.iter().map(|spec| &*spec.name))
    });
    topics.map(|topic| TopicPartition::new(topic, task.partition))
}

/// A member as the assignment sees it.
pub(super) struct Place<'a> {
    pub process: &'a Arc<str>,
    pub replicas: u32,
    pub meant: &'a BTreeSet<TopicPartition>,
    pub owned: &'a BTreeSet<TopicPartition>,
    pub standbys: &'a BTreeSet<StandbyTask>,
}

/// What a member gets.
#[derive(Debug, Default)]
pub(super) struct Share {
    pub active: BTreeSet<TopicPartition>,
    pub standby: BTreeSet<StandbyTask>,
}

struct SubTasks {
    id: String,
    /// Topics with their partitions.
    inputs: Vec<(Arc<str>, u32)>,
    tasks: PartitionId,
    has_state: bool,
}

impl SubTasks {
    fn inputs(&self, partition: PartitionId) -> impl Iterator<Item = TopicPartition> + '_ {
        let there = self.inputs.iter().filter(move |(_, count)| partition < *count);
        there.map(move |(topic, _)| TopicPartition::new(Arc::clone(topic), partition))
    }
}

/// Whether a task was with a member in some way.
type WasHere<'a> = &'a dyn Fn(&Place<'_>, &SubTasks, PartitionId) -> bool;

/// All tasks of a topology.
pub(super) struct Tasks(Vec<SubTasks>);

/// What one member has got so far.
#[derive(Default)]
struct Load {
    all: usize,
    standbys: usize,
    by_sub: Vec<usize>,
}

impl Load {
    fn of(&self, sub: usize) -> usize {
        self.by_sub.get(sub).copied().unwrap_or(0)
    }
}

impl Tasks {
    /// The tasks that there are with these numbers of partitions.
    pub fn of(topology: &GroupTopology, counts: &BTreeMap<Arc<str>, u32>) -> Self {
        let subs = topology.sub_topologies.iter().map(|sub| {
            let topics = sub.sources.iter().chain(sub.repartition_sources.iter().map(|spec| &spec.name));
            let inputs: Vec<(Arc<str>, u32)> = topics
                .filter_map(|topic| counts.get_key_value(topic.as_str()))
                .map(|(topic, count)| (Arc::clone(topic), *count))
                .collect();
            let tasks = inputs.iter().map(|(_, count)| *count).max().unwrap_or(0);
            SubTasks { id: sub.id.clone(), inputs, tasks, has_state: !sub.changelogs.is_empty() }
        });
        Self(subs.collect())
    }

    /// Whether a topic is an input of a task.
    pub fn reads(&self, topic: &str) -> bool {
        self.0.iter().any(|sub| sub.inputs.iter().any(|(name, _)| &**name == topic))
    }

    /// The share of each member, in their order.
    pub fn assign(&self, members: &[Place<'_>]) -> Vec<Share> {
        let mut loads: Vec<Load> =
            members.iter().map(|_| Load { by_sub: vec![0; self.0.len()], ..Load::default() }).collect();
        let owners = self.owners(members, &mut loads);
        let mut shares: Vec<Share> = members.iter().map(|_| Share::default()).collect();
        for ((sub, partition), owner) in &owners {
            if let (Some(sub), Some(share)) = (self.0.get(*sub), shares.get_mut(*owner)) {
                share.active.extend(sub.inputs(*partition));
            }
        }
        self.standbys(members, &owners, &mut loads, &mut shares);
        shares
    }

    /// The member of each task, by position.
    fn owners(&self, members: &[Place<'_>], loads: &mut [Load]) -> BTreeMap<(usize, PartitionId), usize> {
        let mut owners = BTreeMap::new();
        if members.is_empty() {
            return owners;
        }
        let total: usize = self.0.iter().map(|sub| sub.tasks as usize).sum();
        let (even, mut left) = (total / members.len(), total % members.len());
        let all = || {
            let subs = self.0.iter().enumerate();
            subs.flat_map(|(number, sub)| (0..sub.tasks).map(move |partition| (number, sub, partition)))
        };
        // `left` members more may get one task more than the others.
        let give = |loads: &mut [Load], left: &mut usize, to: usize, sub: usize| {
            if let Some(load) = loads.get_mut(to) {
                *left -= usize::from(load.all == even);
                load.all += 1;
                if let Some(count) = load.by_sub.get_mut(sub) {
                    *count += 1;
                }
            }
        };
        let standby = |sub: &SubTasks, partition| StandbyTask { sub_topology: sub.id.clone(), partition };
        let before: [WasHere<'_>; 3] = [
            &|place, sub, partition| sub.inputs(partition).any(|input| place.meant.contains(&input)),
            &|place, sub, partition| sub.inputs(partition).any(|input| place.owned.contains(&input)),
            &|place, sub, partition| place.standbys.contains(&standby(sub, partition)),
        ];
        for was_here in before {
            for (number, sub, partition) in all() {
                if owners.contains_key(&(number, partition)) {
                    continue;
                }
                let each = (sub.tasks as usize).div_ceil(members.len());
                let place = members.iter().zip(&*loads).position(|(place, load)| {
                    let room = load.all < even || load.all == even && left > 0;
                    room && load.of(number) < each && was_here(place, sub, partition)
                });
                if let Some(place) = place {
                    give(loads, &mut left, place, number);
                    owners.insert((number, partition), place);
                }
            }
        }
        for (number, sub, partition) in all() {
            if owners.contains_key(&(number, partition)) {
                continue;
            }
            let each = (sub.tasks as usize).div_ceil(members.len());
            let open =
                loads.iter().enumerate().filter(|(_, load)| load.all < even || load.all == even && left > 0);
            let place =
                open.min_by_key(|(place, load)| (load.of(number) >= each, load.all, load.of(number), *place));
            if let Some((place, _)) = place {
                give(loads, &mut left, place, number);
                owners.insert((number, partition), place);
            }
        }
        owners
    }

    fn standbys(
        &self,
        members: &[Place<'_>],
        owners: &BTreeMap<(usize, PartitionId), usize>,
        loads: &mut [Load],
        shares: &mut [Share],
    ) {
        let replicas = members.iter().map(|place| place.replicas).max().unwrap_or(0);
        let stateful: usize = self.0.iter().filter(|sub| sub.has_state).map(|sub| sub.tasks as usize).sum();
        let even = (stateful * replicas as usize).div_ceil(members.len().max(1));
        let mut used: BTreeMap<(usize, PartitionId), BTreeSet<&Arc<str>>> = BTreeMap::new();
        for (task, owner) in owners {
            used.entry(*task).or_default().extend(members.get(*owner).map(|place| place.process));
        }
        // Copies that lie well stay; then what is missing goes to those with the least to do.
        for stay in [true, false] {
            for ((number, partition), processes) in &mut used {
                let Some(sub) = self.0.get(*number).filter(|sub| sub.has_state) else { continue };
                let task = StandbyTask { sub_topology: sub.id.clone(), partition: *partition };
                while processes.len() <= replicas as usize {
                    let free = members.iter().zip(&*loads).enumerate();
                    let free = free.filter(|(_, (place, load))| {
                        let well = place.standbys.contains(&task) && load.standbys < even;
                        !processes.contains(place.process) && (well || !stay)
                    });
                    // Who has least of this sub-topology will have room for the task when its owner goes.
                    let best = free.min_by_key(|(index, (_, load))| {
                        (load.of(*number) + load.standbys, load.all, *index)
                    });
                    let Some((index, (place, _))) = best else { break };
                    processes.insert(place.process);
                    if let Some(load) = loads.get_mut(index) {
                        load.standbys += 1;
                    }
                    if let Some(share) = shares.get_mut(index) {
                        share.standby.insert(task.clone());
                    }
                }
            }
        }
    }
}
