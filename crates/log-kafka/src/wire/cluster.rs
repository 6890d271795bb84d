//! Finding the way in a cluster: any broker first, then the one that coordinates a group; and what topics are like.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_wire_protocol::schema::find_coordinator_request::v4::FindCoordinatorRequest;
use kafka_wire_protocol::schema::find_coordinator_response::v4::FindCoordinatorResponse;
use kafka_wire_protocol::schema::metadata_request::v12::{MetadataRequest, MetadataRequestTopic};
use kafka_wire_protocol::schema::metadata_response::v12::MetadataResponse;

use super::{Connection, WireError};
use crate::KafkaConfig;

const METADATA: i16 = 3;
const FIND_COORDINATOR: i16 = 10;
const GROUP: i8 = 0;

/// One attempt to connect may take this long, so that one dead broker of three does not use up the time for the others.
pub(super) const ATTEMPT: Duration = Duration::from_secs(10);

/// A topic as the brokers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicInfo {
    /// Its identity: a topic that is deleted and made again under the same name has another one.
    pub(crate) id: [u8; 16],
    /// How many partitions it has.
    pub(crate) partitions: u32,
}

/// The brokers of a cluster that have been heard of.
pub(crate) struct Cluster<'a> {
    pub(super) config: &'a KafkaConfig,
}

impl<'a> Cluster<'a> {
    pub(crate) fn new(config: &'a KafkaConfig) -> Self {
        Self { config }
    }

    /// A connection to any broker of the configuration: the first that answers. The error tells of all that did not.
    pub(crate) fn any(&self) -> Result<Connection, WireError> {
        let mut reasons = Vec::new();
        for address in &self.config.bootstrap {
            match Connection::open(address, self.config, ATTEMPT) {
                Ok(connection) => return Ok(connection),
                // What a person must mend is the same on every broker, and is not to drown in other messages.
                Err(error) if !error.retriable() => return Err(error),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        Err(WireError::Unavailable(reasons.join("; ")))
    }

    /// A connection to the broker that coordinates `group`.
    pub(crate) fn coordinator(&self, group: &str) -> Result<Connection, WireError> {
        let mut any = self.any()?;
        if !any.offers(FIND_COORDINATOR, 4) {
            let what = String::from("FindCoordinator version 4 (Kafka 3.0)");
            return Err(WireError::Unsupported { address: any.address().to_owned(), what });
        }
        let answer: FindCoordinatorResponse =
            any.call(&FindCoordinatorRequest::new(GROUP, vec![group.to_owned()])).map_err(not_sent)?;
        let Some(found) = answer.coordinators.into_iter().next() else {
            return Err(WireError::Unavailable(format!(
                "no answer about the coordinator of group `{group}`"
            )));
        };
        match found.error_code {
            0 => {}
            30 => {
                return Err(WireError::NotAuthorised {
                    resource: format!("group `{group}`"),
                    permission: "Read",
                });
            }
            code => {
                let text = found.error_message.unwrap_or_default();
                return Err(WireError::Unavailable(format!(
                    "group `{group}` has no coordinator yet (error {code}) {text}"
                )));
            }
        }
        let host = if found.host.contains(':') { format!("[{}]", found.host) } else { found.host };
        let address = format!("{host}:{}", found.port);
        if any.address() == address {
            return Ok(any);
        }
        Connection::open(&address, self.config, ATTEMPT).map_err(not_sent)
    }
}

/// Finding the way changes nothing on the brokers: a call that failed here counts as not made.
pub(super) fn not_sent(error: WireError) -> WireError {
    match error {
        WireError::Broken { address, reason } => WireError::Connect { address, reason },
        other => other,
    }
}

impl Connection {
    /// What the cluster knows of these topics. Those that it does not know, or does not show us, are absent.
    pub(crate) fn topics<'t>(
        &mut self,
        names: impl IntoIterator<Item = &'t str>,
    ) -> Result<BTreeMap<String, TopicInfo>, WireError> {
        if !self.offers(METADATA, 12) {
            let what = String::from("Metadata version 12 (Kafka 3.1)");
            return Err(WireError::Unsupported { address: self.address().to_owned(), what });
        }
        let topics = names
            .into_iter()
            .map(|name| MetadataRequestTopic {
                name: Some(name.to_owned()),
                ..MetadataRequestTopic::default()
            })
            .collect();
        let request = MetadataRequest::new(Some(topics), false, false);
        let answer: MetadataResponse = self.call(&request).map_err(not_sent)?;
        Ok(answer
            .topics
            .into_iter()
            .filter(|topic| topic.error_code == 0)
            .filter_map(|topic| {
                let partitions = u32::try_from(topic.partitions.len()).ok()?;
                Some((topic.name?, TopicInfo { id: topic.topic_id.into_bytes(), partitions }))
            })
            .collect())
    }

    /// A new connection to the same broker, when the login of this one is about to expire.
    pub(crate) fn renewed(self, config: &KafkaConfig) -> Result<Self, WireError> {
        if !self.expires() {
            return Ok(self);
        }
        Connection::open(&self.address, config, ATTEMPT).map_err(not_sent)
    }
}
