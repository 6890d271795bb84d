//! The topics that a program needs: how many partitions each has, and the internal ones, made at the start.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use vigie_log::{Admin, LogError, TopicSpec};

use crate::error::{StreamsError, TopologyError};
use crate::topology::{Checked, NodeId, NodeKind, StoreDef, TopicName};

/// An aggregate grows beyond the records that it is made of: internal topics take 16 MiB, where the usual limit is 1 MiB.
const MAX_INTERNAL_RECORD: &str = "16777216";

/// Partitions of every topic of a topology, by full name.
#[derive(Debug, Clone, Default)]
pub(crate) struct PartitionCounts {
    pub topics: HashMap<Arc<str>, u32>,
    /// Tasks of each sub-topology.
    pub tasks: Vec<u32>,
}

impl PartitionCounts {
    /// Asks the log for the users' topics and works the internal ones out.
    pub(crate) fn resolve(
        topology: &Checked,
        application_id: &str,
        admin: &(dyn Admin + 'static),
    ) -> Result<Self, StreamsError> {
        let mut topics: HashMap<Arc<str>, u32> = HashMap::new();
        for sub in &topology.subs {
            for (topic, node) in topology.inputs(sub).chain(topology.outputs(sub)) {
                let TopicName::External(name) = topic else { continue };
                if topics.contains_key(name) {
                    continue;
                }
                let count = admin.partition_count(name).map_err(|source| match source {
                    LogError::UnknownTopic { .. } => StreamsError::MissingTopic {
                        topic: name.to_string(),
                        node: topology.node(node).name.to_string(),
                    },
                    source => StreamsError::Log { doing: format!("looking topic `{name}` up"), source },
                })?;
                topics.insert(Arc::clone(name), count);
            }
        }
        let mut counts = Self { topics, tasks: Vec::new() };
        counts.repartitions(topology, application_id)?;
        for sub in &topology.subs {
            let widest = topology
                .inputs(sub)
                .filter_map(|(topic, _)| counts.topics.get(&topic.resolve(application_id)))
                .max()
                .copied();
            counts.tasks.push(widest.unwrap_or(0));
        }
        Ok(counts)
    }

    fn repartitions(&mut self, topology: &Checked, application_id: &str) -> Result<(), StreamsError> {
        let full = |name: &Arc<str>| TopicName::Internal(Arc::clone(name)).resolve(application_id);
        for def in &topology.repartitions {
            if let Some(asked) = def.partitions {
                self.topics.insert(full(&def.name), asked.max(1));
            }
        }
        // Each round settles at least one topic, unless internal topics depend on each other only.
        for _ in 0..=topology.repartitions.len() {
            for def in topology.repartitions.iter().filter(|def| def.partitions.is_none()) {
                let name = full(&def.name);
                if self.topics.contains_key(&name) {
                    continue;
                }
                let above = sources_of_writers(topology, &def.name);
                let widths: Option<Vec<u32>> = above
                    .iter()
                    .flat_map(|source| source_topics(topology, *source))
                    .map(|topic| self.topics.get(&topic.resolve(application_id)).copied())
                    .collect();
                if let Some(widest) = widths.and_then(|widths| widths.into_iter().max()) {
                    self.topics.insert(name, widest);
                }
            }
            self.copartition(topology, application_id)?;
        }
        for def in &topology.repartitions {
            self.topics.entry(full(&def.name)).or_insert(1);
        }
        self.copartition(topology, application_id)
    }

    /// Inputs that meet in a join need equal numbers of partitions; internal topics adapt, users' topics cannot.
    fn copartition(&mut self, topology: &Checked, application_id: &str) -> Result<(), StreamsError> {
        for (node, sources) in &topology.copartitioned {
            let topics: Vec<&TopicName> =
                sources.iter().flat_map(|source| source_topics(topology, *source)).collect();
            let fixed = |topic: &TopicName| match topic {
                TopicName::External(_) => true,
                TopicName::Internal(name) => {
                    topology.repartitions.iter().any(|def| def.name == *name && def.partitions.is_some())
                }
            };
            let known: BTreeMap<Arc<str>, u32> = topics
                .iter()
                .filter(|topic| fixed(topic))
                .filter_map(|topic| {
                    let name = topic.resolve(application_id);
                    self.topics.get(&name).map(|count| (name, *count))
                })
                .collect();
            let mut widths: Vec<u32> = known.values().copied().collect();
            widths.dedup();
            let width = match widths.as_slice() {
                [] => topics
                    .iter()
                    .filter_map(|topic| self.topics.get(&topic.resolve(application_id)))
                    .max()
                    .copied(),
                [one] => Some(*one),
                _ => {
                    let list: Vec<String> =
                        known.iter().map(|(name, count)| format!("`{name}` has {count}")).collect();
                    return Err(StreamsError::Topology(TopologyError::CoPartitioning {
                        node: topology.node(*node).name.to_string(),
                        reason: format!(
                            "{} partitions; give them equal numbers or send one through `repartition`",
                            list.join(", ")
                        ),
                    }));
                }
            };
            for topic in topics.iter().filter(|topic| !fixed(topic)) {
                if let Some(width) = width {
                    self.topics.insert(topic.resolve(application_id), width);
                }
            }
        }
        Ok(())
    }

    /// Makes the internal topics that are not there, and refuses those that have other numbers of partitions.
    pub(crate) fn create_internal(
        &mut self,
        topology: &Checked,
        application_id: &str,
        replication_factor: u16,
        admin: &(dyn Admin + 'static),
    ) -> Result<(), StreamsError> {
        let mut specs = Vec::new();
        for def in &topology.repartitions {
            let name = TopicName::Internal(Arc::clone(&def.name)).resolve(application_id);
            let partitions = self.topics.get(&name).copied().unwrap_or(1);
            specs.push(repartition_spec(&name, partitions));
        }
        for (sub, tasks) in topology.subs.iter().zip(&self.tasks) {
            for store in topology.stores_of(sub).filter(|store| store.logged) {
                let name = changelog_name(application_id, &store.name);
                self.topics.insert(Arc::clone(&name), *tasks);
                specs.push(changelog_spec(application_id, store, *tasks));
            }
        }
        for mut spec in specs {
            spec.replication_factor = replication_factor;
            match admin.create_topic(&spec) {
                Ok(()) => {
                    tracing::info!(topic = spec.name, partitions = spec.partitions, "internal topic made")
                }
                Err(LogError::TopicExists { .. }) => {
                    let doing = || format!("looking internal topic `{}` up", spec.name);
                    let mut found = admin.partition_count(&spec.name);
                    // Another instance may have made it this very moment, and brokers learn of a topic one after the other.
                    for _ in 0..100 {
                        if !matches!(found, Err(LogError::UnknownTopic { .. })) {
                            break;
                        }
                        std::thread::sleep(Duration::from_millis(100));
                        found = admin.partition_count(&spec.name);
                    }
                    let found = found.map_err(StreamsError::log(doing()))?;
                    if found != spec.partitions {
                        return Err(StreamsError::PartitionMismatch {
                            topic: spec.name,
                            found,
                            expected: spec.partitions,
                        });
                    }
                }
                Err(source) => {
                    let doing = format!("making internal topic `{}`", spec.name);
                    return Err(StreamsError::Log { doing, source });
                }
            }
        }
        Ok(())
    }
}

/// Records of internal topics carry event times; a broker refuses those that lie more than an hour ahead of its clock unless told.
const AHEAD: &str = "message.timestamp.after.max.ms";
const ANY_TIME: &str = "9223372036854775807";

/// How a repartition topic is made. The engine itself deletes what all have read: neither time nor size may.
pub(crate) fn repartition_spec(name: &str, partitions: u32) -> TopicSpec {
    TopicSpec::new(name, partitions)
        .with("cleanup.policy", "delete")
        .with("retention.ms", "-1")
        .with("retention.bytes", "-1")
        .with("max.message.bytes", MAX_INTERNAL_RECORD)
        .with(AHEAD, ANY_TIME)
}

/// How a changelog is made.
pub(crate) fn changelog_spec(application_id: &str, store: &StoreDef, partitions: u32) -> TopicSpec {
    let name = changelog_name(application_id, &store.name);
    let mut spec = TopicSpec::compacted(&*name, partitions)
        .with("max.message.bytes", MAX_INTERNAL_RECORD)
        .with(AHEAD, ANY_TIME);
    spec.config.extend(store.topic_config.clone());
    spec
}

pub(crate) fn changelog_name(application_id: &str, store: &str) -> Arc<str> {
    format!("{application_id}-{store}-changelog").into()
}

fn source_topics(topology: &Checked, source: NodeId) -> &[TopicName] {
    match &topology.node(source).kind {
        NodeKind::Source { topics, .. } => topics,
        _ => &[],
    }
}

/// The sources above the sinks that write an internal topic.
fn sources_of_writers(topology: &Checked, internal: &Arc<str>) -> Vec<NodeId> {
    let mut found = Vec::new();
    for sub in &topology.subs {
        for (topic, sink) in topology.outputs(sub) {
            if *topic != TopicName::Internal(Arc::clone(internal)) {
                continue;
            }
            let mut open = vec![sink];
            while let Some(id) = open.pop() {
                let node = topology.node(id);
                if matches!(node.kind, NodeKind::Source { .. }) && !found.contains(&id) {
                    found.push(id);
                }
                open.extend(&node.parents);
            }
        }
    }
    found
}
