//! The member's connection to the broker that coordinates its group: found when it is needed, left when it fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use kafka_wire_protocol::schema::incremental_alter_configs_request::v1 as configs;
use kafka_wire_protocol::schema::incremental_alter_configs_response::v1 as configs_answer;
use kafka_wire_protocol::schema::offset_commit_request::v9::OffsetCommitRequest;
use kafka_wire_protocol::schema::offset_commit_response::v9::OffsetCommitResponse;

use super::messages::{HEARTBEAT, Heartbeat, Reply};
use crate::KafkaConfig;
use crate::wire::{Cluster, Connection, TopicInfo, WireError};

/// Between attempts to reach a broker at the start.
const PAUSE: Duration = Duration::from_millis(100);
const GROUP_RESOURCE: i8 = 32;
const SET: i8 = 0;

/// The connection.
pub(super) struct Link {
    config: Arc<KafkaConfig>,
    group: Arc<str>,
    connection: Option<Connection>,
}

impl Link {
    pub(super) fn new(config: Arc<KafkaConfig>, group: Arc<str>) -> Self {
        Self { config, group, connection: None }
    }

    /// The coordinator is another broker now.
    pub(super) fn lose(&mut self) {
        self.connection = None;
    }

    fn call<T>(
        &mut self,
        call: impl FnOnce(&mut Connection) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection.renewed(&self.config)?,
            None => Cluster::new(&self.config).coordinator(&self.group)?,
        };
        let answer = call(&mut connection);
        // A connection on which a call failed may be cut anywhere.
        if answer.is_ok() {
            self.connection = Some(connection);
        }
        answer
    }

    /// One heartbeat.
    pub(super) fn heartbeat(&mut self, heartbeat: &Heartbeat) -> Result<Reply, WireError> {
        let request = heartbeat.encode();
        self.call(|connection| {
            if !connection.offers(HEARTBEAT, 0) {
                let what =
                    String::from("streams groups (KIP-1071); they need brokers of version 4.2 or later");
                return Err(WireError::Unsupported { address: connection.address().to_owned(), what });
            }
            connection.call(&request)
        })
        .map(Reply::decode)
    }

    /// Commits positions; the error codes that are not 0, with their topics.
    pub(super) fn commit(&mut self, request: &OffsetCommitRequest) -> Result<Vec<(String, i16)>, WireError> {
        let answer: OffsetCommitResponse = self.call(|connection| connection.call(request))?;
        Ok(answer
            .topics
            .into_iter()
            .flat_map(|topic| {
                topic.partitions.into_iter().map(move |partition| (topic.name.clone(), partition.error_code))
            })
            .filter(|(_, code)| *code != 0)
            .collect())
    }

    /// What the cluster knows of these topics.
    pub(super) fn topics(&mut self, names: &[Arc<str>]) -> Result<BTreeMap<String, TopicInfo>, WireError> {
        self.call(|connection| connection.topics(names.iter().map(|name| &**name)))
    }

    /// Sets the group's number of standby copies; the broker's reason when it does not.
    pub(super) fn set_standbys(&mut self, copies: u32) -> Result<Result<(), String>, WireError> {
        let setting =
            configs::AlterableConfig::new("streams.num.standby.replicas", SET, Some(copies.to_string()));
        let resource = configs::AlterConfigsResource::new(GROUP_RESOURCE, &*self.group, vec![setting]);
        let request = configs::IncrementalAlterConfigsRequest::new(vec![resource], false);
        let answer: configs_answer::IncrementalAlterConfigsResponse =
            self.call(|connection| connection.call(&request))?;
        Ok(match answer.responses.into_iter().find(|response| response.error_code != 0) {
            None => Ok(()),
            Some(refused) => Err(refused
                .error_message
                .filter(|text| !text.is_empty())
                .unwrap_or_else(|| format!("error {}", refused.error_code))),
        })
    }
}

/// Repeats what may succeed later, for at most `limit`.
pub(super) fn within<T>(
    limit: Duration,
    mut attempt: impl FnMut() -> Result<T, WireError>,
) -> Result<T, WireError> {
    let deadline = Instant::now() + limit;
    loop {
        match attempt() {
            Err(error) if error.retriable() && Instant::now() + PAUSE < deadline => thread::sleep(PAUSE),
            done => return done,
        }
    }
}
