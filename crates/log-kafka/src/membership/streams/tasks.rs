//! Tasks, and which partitions each of them reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vigie_log::{GroupTopology, PartitionId, StandbyTask, TopicPartition};

use crate::wire::TopicInfo;

/// One sub-topology on one partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Task {
    /// [`GroupSubTopology::id`](vigie_log::GroupSubTopology::id).
    pub(super) sub_topology: Arc<str>,
    pub(super) partition: PartitionId,
}

/// A set of tasks, in order.
pub(super) type Tasks = BTreeSet<Task>;

/// Tasks by what their member does with them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Assignment {
    /// Runs them.
    pub(super) active: Tasks,
    /// Keeps a copy of their state.
    pub(super) standby: Tasks,
    /// Makes a copy of their state, to run them when it is complete. Brokers up to 4.3 give none.
    pub(super) warmup: Tasks,
}

impl Assignment {
    /// All state that is to be kept beside that of the active tasks.
    pub(super) fn copies(&self) -> Vec<StandbyTask> {
        let copies: Tasks = self.standby.union(&self.warmup).cloned().collect();
        copies
            .into_iter()
            .map(|task| StandbyTask {
                sub_topology: task.sub_topology.to_string(),
                partition: task.partition,
            })
            .collect()
    }
}

/// Which topics each sub-topology reads.
#[derive(Debug)]
pub(super) struct Inputs(BTreeMap<Arc<str>, Vec<Arc<str>>>);

impl Inputs {
    pub(super) fn of(topology: &GroupTopology) -> Self {
        let inputs = |sub: &vigie_log::GroupSubTopology| -> Vec<Arc<str>> {
            let external = sub.sources.iter().map(String::as_str);
            let own = sub.repartition_sources.iter().map(|topic| topic.name.as_str());
            external.chain(own).map(Arc::from).collect()
        };
        Self(topology.sub_topologies.iter().map(|sub| (Arc::from(sub.id.as_str()), inputs(sub))).collect())
    }

    /// The partitions that these tasks read, in order: partition `n` of all inputs for task `n`, except of topics that have fewer.
    pub(super) fn partitions(
        &self,
        tasks: &Tasks,
        topics: &BTreeMap<String, TopicInfo>,
    ) -> Vec<TopicPartition> {
        let mut all: Vec<TopicPartition> = tasks
            .iter()
            .flat_map(|task| {
                let inputs = self.0.get(&task.sub_topology).map(Vec::as_slice).unwrap_or_default();
                inputs
                    .iter()
                    .filter(|topic| {
                        topics.get(&***topic).is_some_and(|info| task.partition < info.partitions)
                    })
                    .map(|topic| TopicPartition::new(Arc::clone(topic), task.partition))
            })
            .collect();
        all.sort();
        all
    }

    /// The task that reads this partition. No topic is read by two sub-topologies.
    pub(super) fn task_of(&self, partition: &TopicPartition) -> Option<Task> {
        let (sub, _) = self.0.iter().find(|(_, inputs)| inputs.contains(&partition.topic))?;
        Some(Task { sub_topology: Arc::clone(sub), partition: partition.partition })
    }
}

#[cfg(test)]
mod tests {
    use vigie_log::{GroupSubTopology, TopicSpec};

    use super::*;

    #[test]
    fn a_task_reads_its_partition_of_all_inputs() {
        let topology = GroupTopology {
            sub_topologies: vec![
                GroupSubTopology {
                    id: String::from("0"),
                    sources: vec![String::from("a"), String::from("small")],
                    ..GroupSubTopology::default()
                },
                GroupSubTopology {
                    id: String::from("1"),
                    repartition_sources: vec![TopicSpec::new("r", 0)],
                    ..GroupSubTopology::default()
                },
            ],
        };
        let inputs = Inputs::of(&topology);
        let info = |partitions| TopicInfo { id: [0; 16], partitions };
        let topics = BTreeMap::from([
            (String::from("a"), info(4)),
            (String::from("small"), info(2)),
            (String::from("r"), info(4)),
        ]);
        let task = |sub: &str, partition| Task { sub_topology: sub.into(), partition };
        let check = |tasks: &[Task], expect: &str| {
            let tasks: Tasks = tasks.iter().cloned().collect();
            let found = inputs.partitions(&tasks, &topics);
            for partition in &found {
                assert!(tasks.contains(&inputs.task_of(partition).unwrap()));
            }
            assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "), expect);
        };
        check(&[], "");
        check(&[task("0", 1)], "a-1 small-1");
        check(&[task("0", 3)], "a-3");
        check(&[task("1", 3), task("0", 0)], "a-0 r-3 small-0");
        check(&[task("9", 0)], "");
        assert_eq!(inputs.task_of(&TopicPartition::new("other", 0)), None);
    }
}
