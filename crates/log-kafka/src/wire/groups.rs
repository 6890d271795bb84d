//! Streams groups as administrators see them: librdkafka lists and describes groups of consumers only.

use std::collections::BTreeMap;

use kafka_wire_protocol::schema::list_groups_request::v5::ListGroupsRequest;
use kafka_wire_protocol::schema::list_groups_response::v5::ListGroupsResponse;
use kafka_wire_protocol::schema::metadata_request::v12::MetadataRequest;
use kafka_wire_protocol::schema::metadata_response::v12::MetadataResponse;
use kafka_wire_protocol::schema::streams_group_describe_request::v0::StreamsGroupDescribeRequest;
use kafka_wire_protocol::schema::streams_group_describe_response::v0::{
    DescribedGroup, StreamsGroupDescribeResponse,
};
use vigie_log::TopicPartition;

use super::cluster::{ATTEMPT, Cluster, not_sent};
use super::{Connection, WireError};

const LIST_GROUPS: i16 = 16;
const STREAMS_GROUP_DESCRIBE: i16 = 89;
const GROUP_AUTHORIZATION_FAILED: i16 = 30;
const GROUP_ID_NOT_FOUND: i16 = 69;

/// A member and the inputs of its active tasks.
pub(crate) type GroupMember = (String, Vec<TopicPartition>);

impl Cluster<'_> {
    /// The names of all streams groups, which each broker knows of those that it coordinates; none where brokers have no such groups.
    pub(crate) fn streams_groups(&self) -> Result<Vec<String>, WireError> {
        let mut any = self.any()?;
        if !any.offers(LIST_GROUPS, 5) || !any.offers(STREAMS_GROUP_DESCRIBE, 0) {
            return Ok(Vec::new());
        }
        let answer: MetadataResponse =
            any.call(&MetadataRequest::new(Some(Vec::new()), false, false)).map_err(not_sent)?;
        let mut names = Vec::new();
        for broker in answer.brokers {
            let host = if broker.host.contains(':') { format!("[{}]", broker.host) } else { broker.host };
            let mut connection = Connection::open(&format!("{host}:{}", broker.port), self.config, ATTEMPT)
                .map_err(not_sent)?;
            let request = ListGroupsRequest::new(Vec::new(), vec![String::from("streams")]);
            let answer: ListGroupsResponse = connection.call(&request).map_err(not_sent)?;
            if answer.error_code != 0 {
                return Err(WireError::Unavailable(format!(
                    "{host}:{} does not list its groups (error {})",
                    broker.port, answer.error_code
                )));
            }
            names.extend(answer.groups.into_iter().map(|group| group.group_id));
        }
        Ok(names)
    }

    /// The members of a streams group; `None` when there is no such group.
    pub(crate) fn streams_group(&self, group: &str) -> Result<Option<Vec<GroupMember>>, WireError> {
        let mut coordinator = self.coordinator(group)?;
        if !coordinator.offers(STREAMS_GROUP_DESCRIBE, 0) {
            return Ok(None);
        }
        let request = StreamsGroupDescribeRequest::new(vec![group.to_owned()], false);
        let answer: StreamsGroupDescribeResponse = coordinator.call(&request).map_err(not_sent)?;
        let Some(found) = answer.groups.into_iter().next() else { return Ok(None) };
        match found.error_code {
            0 => Ok(Some(members(found))),
            GROUP_ID_NOT_FOUND => Ok(None),
            GROUP_AUTHORIZATION_FAILED => {
                Err(WireError::NotAuthorised { resource: format!("group {group}"), permission: "Describe" })
            }
            code => {
                let text = found.error_message.unwrap_or_default();
                Err(WireError::Unavailable(format!("group `{group}` is not described (error {code}) {text}")))
            }
        }
    }
}

/// Task `n` of a sub-topology is partition `n` of each topic that it reads.
fn members(group: DescribedGroup) -> Vec<GroupMember> {
    let subtopologies = group.topology.and_then(|topology| topology.subtopologies).unwrap_or_default();
    let inputs: BTreeMap<String, Vec<String>> = subtopologies
        .into_iter()
        .map(|sub| {
            let internal = sub.repartition_source_topics.into_iter().map(|topic| topic.name);
            (sub.subtopology_id, sub.source_topics.into_iter().chain(internal).collect())
        })
        .collect();
    let owned = |assignment: Vec<(String, Vec<i32>)>| -> Vec<TopicPartition> {
        let mut all: Vec<_> = assignment
            .iter()
            .flat_map(|(sub, partitions)| {
                let topics = inputs.get(sub).map_or(&[][..], Vec::as_slice);
                topics.iter().flat_map(|topic| {
                    partitions
                        .iter()
                        .filter_map(|number| u32::try_from(*number).ok())
                        .map(|number| TopicPartition::new(topic.as_str(), number))
                })
            })
            .collect();
        all.sort();
        all
    };
    group
        .members
        .into_iter()
        .map(|member| {
            let tasks = member.assignment.active_tasks.into_iter();
            (member.member_id, owned(tasks.map(|task| (task.subtopology_id, task.partitions)).collect()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use kafka_wire_protocol::schema::streams_group_describe_response::v0::{
        Assignment, Member, Subtopology, TaskIds, Topology,
    };

    use super::*;

    #[test]
    fn tasks_become_partitions_of_what_they_read() {
        let sub =
            |id: &str, source: &str| Subtopology::new(id, vec![source.to_owned()], vec![], vec![], vec![]);
        let task = |id: &str, partitions: &[i32]| TaskIds::new(id, partitions.to_vec());
        let member = Member {
            member_id: String::from("m"),
            assignment: Assignment::new(
                vec![task("0", &[1, 0]), task("1", &[2]), task("9", &[0])],
                vec![],
                vec![],
            ),
            ..Member::default()
        };
        let group = DescribedGroup {
            topology: Some(Topology::new(1, Some(vec![sub("0", "in"), sub("1", "by-page")]))),
            members: vec![member],
            ..DescribedGroup::default()
        };
        let at = TopicPartition::new;
        assert_eq!(
            members(group),
            [(String::from("m"), vec![at("by-page", 2), at("in", 0), at("in", 1)])],
            "a task of a sub-topology that is not described reads nothing that could be named"
        );
    }
}
