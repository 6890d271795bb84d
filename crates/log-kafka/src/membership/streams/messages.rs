//! The requests of a streams group in this crate's own types, and their translation to and from the wire.
//!
//! The machine works on these types only, so that its tests read like the protocol and not like its encoding.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kafka_wire_protocol::schema::offset_commit_request::v9 as commit_request;
use kafka_wire_protocol::schema::streams_group_heartbeat_request::v0 as request;
use kafka_wire_protocol::schema::streams_group_heartbeat_response::v0 as response;
use vigie_log::{GroupSubTopology, GroupTopology, MemberEndpoint, Offset, TopicPartition, TopicSpec};

use super::tasks::{Assignment, Task, Tasks};

/// Kafka's key of the heartbeat of streams groups.
pub(super) const HEARTBEAT: i16 = 88;

/// Kafka's error codes that a member reacts to.
pub(super) mod code {
    pub(in super::super) const UNKNOWN_SERVER_ERROR: i16 = -1;
    pub(in super::super) const NONE: i16 = 0;
    pub(in super::super) const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
    pub(in super::super) const REQUEST_TIMED_OUT: i16 = 7;
    pub(in super::super) const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
    pub(in super::super) const COORDINATOR_NOT_AVAILABLE: i16 = 15;
    pub(in super::super) const NOT_COORDINATOR: i16 = 16;
    pub(in super::super) const ILLEGAL_GENERATION: i16 = 22;
    pub(in super::super) const INCONSISTENT_GROUP_PROTOCOL: i16 = 23;
    pub(in super::super) const UNKNOWN_MEMBER_ID: i16 = 25;
    pub(in super::super) const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
    pub(in super::super) const GROUP_AUTHORIZATION_FAILED: i16 = 30;
    pub(in super::super) const GROUP_ID_NOT_FOUND: i16 = 69;
    pub(in super::super) const FENCED_MEMBER_EPOCH: i16 = 110;
    pub(in super::super) const STALE_MEMBER_EPOCH: i16 = 113;
    pub(in super::super) const STREAMS_INVALID_TOPOLOGY: i16 = 130;
}

/// What a member says when it joins, and never again.
#[derive(Debug, PartialEq)]
pub(super) struct Join {
    pub(super) topology: request::Topology,
    pub(super) process: String,
    pub(super) endpoint: Option<(String, u16)>,
    pub(super) rack: Option<String>,
    /// How long it may take to give up tasks.
    pub(super) rebalance_timeout: Duration,
}

/// One heartbeat.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Heartbeat {
    pub(super) group: Arc<str>,
    pub(super) member: Arc<str>,
    pub(super) epoch: i32,
    pub(super) endpoint_epoch: i32,
    pub(super) join: Option<Arc<Join>>,
    /// `None`: as the broker knows.
    pub(super) owned: Option<Assignment>,
    pub(super) shutdown: bool,
}

// What a join holds can be compared as the bytes of a message can.
impl Eq for Heartbeat {}

/// What stands in the way of tasks; the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum StatusCode {
    Unknown,
    Delayed,
    StaleTopology,
    MissingInternal,
    MissingSources,
    UnfitTopics,
    ShutdownRequested,
}

/// A remark of the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) code: StatusCode,
    pub(super) text: String,
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Reply {
    pub(super) error: i16,
    pub(super) message: String,
    pub(super) epoch: i32,
    pub(super) interval: Duration,
    pub(super) status: Vec<Status>,
    /// `None`: as before.
    pub(super) active: Option<Tasks>,
    pub(super) standby: Option<Tasks>,
    pub(super) warmup: Option<Tasks>,
    pub(super) endpoint_epoch: i32,
    pub(super) endpoints: Option<Vec<MemberEndpoint>>,
}

impl Heartbeat {
    /// As it goes over the wire.
    pub(super) fn encode(&self) -> request::StreamsGroupHeartbeatRequest {
        let join = self.join.as_deref();
        let owned = |pick: fn(&Assignment) -> &Tasks| self.owned.as_ref().map(|owned| task_ids(pick(owned)));
        request::StreamsGroupHeartbeatRequest {
            group_id: self.group.to_string(),
            member_id: self.member.to_string(),
            member_epoch: self.epoch,
            endpoint_information_epoch: self.endpoint_epoch,
            rack_id: join.and_then(|join| join.rack.clone()),
            rebalance_timeout_ms: join
                .map_or(-1, |join| i32::try_from(join.rebalance_timeout.as_millis()).unwrap_or(i32::MAX)),
            topology: join.map(|join| join.topology.clone()),
            active_tasks: owned(|owned| &owned.active),
            standby_tasks: owned(|owned| &owned.standby),
            warmup_tasks: owned(|owned| &owned.warmup),
            process_id: join.map(|join| join.process.clone()),
            user_endpoint: join
                .and_then(|join| join.endpoint.as_ref())
                .map(|(host, port)| request::Endpoint::new(host, *port)),
            client_tags: join.map(|_| Vec::new()),
            shutdown_application: self.shutdown,
            ..request::StreamsGroupHeartbeatRequest::default()
        }
    }
}

impl Reply {
    /// From the wire.
    pub(super) fn decode(answer: response::StreamsGroupHeartbeatResponse) -> Self {
        let status = |status: response::Status| Status {
            code: match status.status_code {
                0 => StatusCode::StaleTopology,
                1 => StatusCode::MissingSources,
                2 => StatusCode::UnfitTopics,
                3 => StatusCode::MissingInternal,
                4 => StatusCode::ShutdownRequested,
                5 => StatusCode::Delayed,
                _ => StatusCode::Unknown,
            },
            text: status.status_detail,
        };
        let partitions = |topics: Vec<response::TopicPartition>| {
            let mut all: Vec<TopicPartition> = topics
                .into_iter()
                .flat_map(|topic| {
                    let name: Arc<str> = topic.topic.into();
                    topic
                        .partitions
                        .into_iter()
                        .filter_map(|partition| u32::try_from(partition).ok())
                        .map(move |partition| TopicPartition::new(Arc::clone(&name), partition))
                        .collect::<Vec<_>>()
                })
                .collect();
            all.sort();
            all
        };
        Self {
            error: answer.error_code,
            message: answer.error_message.unwrap_or_default(),
            epoch: answer.member_epoch,
            interval: u64::try_from(answer.heartbeat_interval_ms)
                .map_or(Duration::ZERO, Duration::from_millis),
            status: answer.status.unwrap_or_default().into_iter().map(status).collect(),
            active: answer.active_tasks.map(tasks),
            standby: answer.standby_tasks.map(tasks),
            warmup: answer.warmup_tasks.map(tasks),
            endpoint_epoch: answer.endpoint_information_epoch,
            endpoints: answer.partitions_by_user_endpoint.map(|all| {
                all.into_iter()
                    .map(|one| MemberEndpoint {
                        host: one.user_endpoint.host,
                        port: one.user_endpoint.port,
                        active: partitions(one.active_partitions),
                        standby: partitions(one.standby_partitions),
                    })
                    .collect()
            }),
        }
    }
}

fn task_ids(tasks: &Tasks) -> Vec<request::TaskIds> {
    let subs: BTreeSet<&Arc<str>> = tasks.iter().map(|task| &task.sub_topology).collect();
    subs.into_iter()
        .map(|sub| {
            let partitions = tasks
                .iter()
                .filter(|task| task.sub_topology == *sub)
                .filter_map(|task| i32::try_from(task.partition).ok())
                .collect();
            request::TaskIds::new(sub, partitions)
        })
        .collect()
}

fn tasks(ids: Vec<response::TaskIds>) -> Tasks {
    ids.into_iter()
        .flat_map(|ids| {
            let sub: Arc<str> = ids.subtopology_id.into();
            ids.partitions
                .into_iter()
                .filter_map(|partition| u32::try_from(partition).ok())
                .map(move |partition| Task { sub_topology: Arc::clone(&sub), partition })
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The program's topology as the broker compares it: everything in order, so that equal programs say equal things. `copies`: the replication
/// factor of topics that ask for one copy; `None`: the broker's default.
pub(super) fn topology(topology: &GroupTopology, copies: Option<u16>) -> request::Topology {
    let mut subs: Vec<_> = topology.sub_topologies.iter().map(|sub| sub_topology(sub, copies)).collect();
    subs.sort_by(|a, b| a.subtopology_id.cmp(&b.subtopology_id));
    request::Topology::new(0, subs)
}

fn sub_topology(sub: &GroupSubTopology, copies: Option<u16>) -> request::Subtopology {
    let sorted = |topics: &[String]| {
        let mut topics = topics.to_vec();
        topics.sort();
        topics
    };
    let made = |topics: &[TopicSpec], counted: bool| {
        let mut topics: Vec<_> = topics.iter().map(|topic| topic_info(topic, counted, copies)).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        topics
    };
    let sources = sorted(&sub.sources);
    let repartition_sources = made(&sub.repartition_sources, true);
    let copartitioned = sub
        .copartitioned
        .iter()
        .map(|together| {
            let place = |found: Option<usize>| found.and_then(|place| i16::try_from(place).ok());
            let mut external: Vec<i16> = together
                .iter()
                .filter_map(|topic| place(sources.iter().position(|source| source == topic)))
                .collect();
            let mut own: Vec<i16> = together
                .iter()
                .filter_map(|topic| {
                    place(repartition_sources.iter().position(|source| &source.name == topic))
                })
                .collect();
            external.sort_unstable();
            own.sort_unstable();
            request::CopartitionGroup::new(external, Vec::new(), own)
        })
        .collect();
    request::Subtopology::new(
        &sub.id,
        sources,
        Vec::new(),
        // A changelog has as many partitions as its sub-topology has tasks: 0 says so.
        made(&sub.changelogs, false),
        sorted(&sub.repartition_sinks),
        repartition_sources,
        copartitioned,
    )
}

fn topic_info(topic: &TopicSpec, counted: bool, copies: Option<u16>) -> request::TopicInfo {
    let replication =
        if topic.replication_factor > 1 { topic.replication_factor } else { copies.unwrap_or(0) };
    request::TopicInfo::new(
        &topic.name,
        if counted { i32::try_from(topic.partitions).unwrap_or(i32::MAX) } else { 0 },
        i16::try_from(replication).unwrap_or(i16::MAX),
        topic.config.iter().map(|(key, value)| request::KeyValue::new(key, value)).collect(),
    )
}

/// Positions to commit, outside a transaction.
pub(super) fn commit(
    group: &str,
    member: &str,
    epoch: i32,
    offsets: &[(TopicPartition, Offset)],
) -> commit_request::OffsetCommitRequest {
    let names: BTreeSet<&Arc<str>> = offsets.iter().map(|(partition, _)| &partition.topic).collect();
    let topics = names
        .into_iter()
        .map(|name| {
            let partitions = offsets
                .iter()
                .filter(|(partition, _)| partition.topic == *name)
                .map(|(partition, offset)| {
                    let index = i32::try_from(partition.partition).unwrap_or(i32::MAX);
                    commit_request::OffsetCommitRequestPartition::new(index, *offset, -1, Some(""))
                })
                .collect();
            commit_request::OffsetCommitRequestTopic::new(name, partitions)
        })
        .collect();
    commit_request::OffsetCommitRequest::new(group, epoch, member, None::<&str>, topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> GroupTopology {
        GroupTopology {
            sub_topologies: vec![
                GroupSubTopology {
                    id: String::from("1"),
                    sources: vec![String::from("b"), String::from("a")],
                    repartition_sources: vec![TopicSpec::new("app-r-repartition", 6)],
                    changelogs: vec![TopicSpec::compacted("app-s-changelog", 6)],
                    copartitioned: vec![vec![String::from("app-r-repartition"), String::from("b")]],
                    ..GroupSubTopology::default()
                },
                GroupSubTopology {
                    id: String::from("0"),
                    sources: vec![String::from("in")],
                    repartition_sinks: vec![String::from("app-r-repartition")],
                    ..GroupSubTopology::default()
                },
            ],
        }
    }

    #[test]
    fn a_topology_is_said_in_order() {
        let said = topology(&example(), None);
        let ids: Vec<_> = said.subtopologies.iter().map(|sub| sub.subtopology_id.as_str()).collect();
        assert_eq!(ids, ["0", "1"]);
        let sub = &said.subtopologies[1];
        assert_eq!(sub.source_topics, ["a", "b"]);
        // Indices, in what was just sorted.
        assert_eq!(sub.copartition_groups[0].source_topics, [1]);
        assert_eq!(sub.copartition_groups[0].repartition_source_topics, [0]);
        let changelog = &sub.state_changelog_topics[0];
        assert_eq!((changelog.partitions, changelog.replication_factor), (0, 0));
        assert_eq!(changelog.topic_configs[0].key, "cleanup.policy");
        assert_eq!(sub.repartition_source_topics[0].partitions, 6);
        let mut other = example();
        other.sub_topologies.reverse();
        assert_eq!(topology(&other, None), said);
        assert_eq!(
            topology(&example(), Some(3)).subtopologies[1].state_changelog_topics[0].replication_factor,
            3
        );
    }

    #[test]
    fn a_heartbeat_says_what_is_due() {
        let task = |sub: &str, partition| Task { sub_topology: sub.into(), partition };
        let mut heartbeat = Heartbeat {
            group: "g".into(),
            member: "m".into(),
            epoch: 3,
            endpoint_epoch: 2,
            join: None,
            owned: None,
            shutdown: false,
        };
        let quiet = heartbeat.encode();
        assert_eq!((quiet.member_epoch, quiet.rebalance_timeout_ms), (3, -1));
        assert!(quiet.topology.is_none() && quiet.active_tasks.is_none() && quiet.process_id.is_none());
        heartbeat.owned = Some(Assignment {
            active: [task("0", 0), task("1", 2), task("0", 3)].into(),
            ..Assignment::default()
        });
        let owning = heartbeat.encode();
        let active = owning.active_tasks.unwrap();
        assert_eq!(
            active.iter().map(|ids| ids.partitions.clone()).collect::<Vec<_>>(),
            [vec![0, 3], vec![2]]
        );
        assert_eq!(owning.standby_tasks.unwrap(), []);
        heartbeat.join = Some(Arc::new(Join {
            topology: topology(&example(), None),
            process: String::from("p"),
            endpoint: Some((String::from("h"), 80)),
            rack: None,
            rebalance_timeout: Duration::from_secs(300),
        }));
        let joining = heartbeat.encode();
        assert_eq!(joining.rebalance_timeout_ms, 300_000);
        assert_eq!(joining.client_tags.unwrap(), []);
        assert_eq!(joining.user_endpoint.unwrap().port, 80);
        assert!(joining.topology.is_some() && joining.instance_id.is_none());
    }

    #[test]
    fn an_answer_is_read() {
        let reply = Reply::decode(response::StreamsGroupHeartbeatResponse {
            member_epoch: 4,
            heartbeat_interval_ms: 5000,
            status: Some(vec![response::Status::new(3, "missing"), response::Status::new(77, "new")]),
            active_tasks: Some(vec![response::TaskIds::new("0", vec![1, 0])]),
            partitions_by_user_endpoint: Some(vec![response::EndpointToPartitions::new(
                response::Endpoint::new("h", 80),
                vec![response::TopicPartition::new("t", vec![1, 0])],
                vec![],
            )]),
            ..response::StreamsGroupHeartbeatResponse::default()
        });
        assert_eq!((reply.epoch, reply.interval), (4, Duration::from_secs(5)));
        assert_eq!(
            reply.status.iter().map(|status| status.code).collect::<Vec<_>>(),
            [StatusCode::MissingInternal, StatusCode::Unknown]
        );
        assert_eq!(reply.active.unwrap().len(), 2);
        assert_eq!(reply.standby, None);
        let endpoint = &reply.endpoints.unwrap()[0];
        assert_eq!(endpoint.active, [TopicPartition::new("t", 0), TopicPartition::new("t", 1)]);
    }

    #[test]
    fn positions_are_grouped_by_topic() {
        let at = |topic: &str, partition| TopicPartition::new(topic, partition);
        let said = commit("g", "m", 5, &[(at("b", 0), 7), (at("a", 1), 8), (at("b", 2), 9)]);
        assert_eq!((said.member_id.as_str(), said.generation_id_or_member_epoch), ("m", 5));
        let names: Vec<_> = said.topics.iter().map(|topic| topic.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(said.topics[1].partitions[1].committed_offset, 9);
    }
}
