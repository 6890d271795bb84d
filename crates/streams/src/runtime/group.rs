//! The topology as a group coordinator sees it: which topics make which tasks, and which of those have state.
//!
//! Logs whose groups assign tasks (Kafka's streams groups, and the logs of this workspace) get it with the join. All names are resolved.

use vigie_log::{GroupSubTopology, GroupTopology, TopicSpec};

use super::topics::{changelog_spec, repartition_spec};
use crate::topology::{Checked, NodeKind, SubTopology, TopicName};

/// Sub-topologies in the order of their numbers, which are their ids.
pub(crate) fn group_topology(
    topology: &Checked,
    application_id: &str,
    replication_factor: u16,
) -> GroupTopology {
    // A global table has no tasks.
    let subs = topology.subs.iter().enumerate().filter(|(_, sub)| !sub.global);
    let sub_topologies =
        subs.map(|(number, sub)| describe(topology, application_id, replication_factor, number, sub));
    GroupTopology { sub_topologies: sub_topologies.collect() }
}

fn describe(
    topology: &Checked,
    application_id: &str,
    replication_factor: u16,
    number: usize,
    sub: &SubTopology,
) -> GroupSubTopology {
    let mut described = GroupSubTopology { id: number.to_string(), ..GroupSubTopology::default() };
    let replicated = |mut spec: TopicSpec| {
        spec.replication_factor = replication_factor;
        spec
    };
    for (topic, _) in topology.inputs(sub) {
        match topic {
            TopicName::External(name) => described.sources.push(name.to_string()),
            TopicName::Internal(name) => {
                // 0: as many as its writer's inputs have.
                let asked = topology.repartitions.iter().find(|def| def.name == *name);
                let asked = asked.and_then(|def| def.partitions).unwrap_or(0);
                let spec = repartition_spec(&topic.resolve(application_id), asked);
                described.repartition_sources.push(replicated(spec));
            }
        }
    }
    for (topic, _) in topology.outputs(sub) {
        if let TopicName::Internal(_) = topic {
            described.repartition_sinks.push(topic.resolve(application_id).to_string());
        }
    }
    for store in topology.stores_of(sub).filter(|store| store.is_restorable()) {
        let mut spec = changelog_spec(application_id, store, 0);
        // An input that is a changelog as well is told as both, so that the tasks are known to have state.
        if let Some(source) = &store.source {
            spec.name = source.topic.to_string();
        }
        described.changelogs.push(replicated(spec));
    }
    for (_, sources) in topology.copartitioned.iter().filter(|(node, _)| sub.nodes.contains(node)) {
        let mut names: Vec<String> = sources
            .iter()
            .filter_map(|source| match &topology.node(*source).kind {
                NodeKind::Source { topics, .. } => Some(topics),
                _ => None,
            })
            .flatten()
            .map(|topic| topic.resolve(application_id).to_string())
            .collect();
        names.sort();
        names.dedup();
        if names.len() > 1 && !described.copartitioned.contains(&names) {
            described.copartitioned.push(names);
        }
    }
    // The same from start to start, whatever order the nodes were made in: a group refuses a member with another topology.
    described.sources.sort();
    described.repartition_sources.sort_by(|a, b| a.name.cmp(&b.name));
    described.repartition_sinks.sort();
    described.repartition_sinks.dedup();
    described.changelogs.sort_by(|a, b| a.name.cmp(&b.name));
    described.copartitioned.sort();
    described
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Consumed, Joined, Repartitioned, Store, StreamsBuilder};

    #[test]
    fn a_topology_is_told_with_its_tasks_and_their_state() {
        let mut builder = StreamsBuilder::new();
        let names = builder.table("names", Consumed::<String, String>::default(), Store::named("names"));
        let clicks = builder.stream("clicks", Consumed::<String, i64>::default());
        clicks
            .join(&names, |_, click, name| format!("{name} {click}"), Joined::default())
            .group_by(|_, text| text.clone())
            .count(Store::named("counts").topic_config("segment.bytes", "1000"));
        clicks
            .repartition(Repartitioned::default().named("six").partitions(6))
            .group_by_key()
            .count(Store::named("volatile").without_changelog());
        let told = group_topology(&builder.build().unwrap().inner, "app", 3);
        let [first, second, third] = told.sub_topologies.as_slice() else { panic!("{told:#?}") };
        assert_eq!((&*first.id, &first.sources), ("0", &vec!["clicks".to_owned(), "names".to_owned()]));
        assert_eq!(first.copartitioned, [["clicks", "names"]]);
        assert_eq!(first.repartition_sinks, ["app-counts-repartition", "app-six-repartition"]);
        assert_eq!(
            first.changelogs.iter().map(|spec| &*spec.name).collect::<Vec<_>>(),
            ["app-names-changelog"]
        );
        assert_eq!(second.repartition_sources[0].name, "app-counts-repartition");
        assert_eq!(second.repartition_sources[0].partitions, 0, "as many as the writer's inputs");
        let changelog = &second.changelogs[0];
        assert_eq!((&*changelog.name, changelog.replication_factor), ("app-counts-changelog", 3));
        assert_eq!(changelog.config.get("cleanup.policy").map(String::as_str), Some("compact"));
        assert_eq!(changelog.config.get("segment.bytes").map(String::as_str), Some("1000"));
        assert_eq!((third.repartition_sources[0].partitions, third.changelogs.len()), (6, 0));
    }
}
