//! Groups whose protocol librdkafka speaks: KIP-848 (`consumer`) and classic.
//!
//! Both share by range, so that partition `n` of all topics goes to one member. Neither carries an endpoint, so a member that can be asked
//! for its state says so in its client id, `name@host:port`, which every describer of the group sees.

use std::sync::Arc;

use rdkafka::TopicPartitionList;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use vigie_log::{LogError, MemberConfig, MemberEndpoint, Membership, Offset, Result, TopicPartition};

use super::{GroupProtocol, Step};
use crate::client::Role;
use crate::context::{Context, Rebalance};
use crate::doorbell::Doorbell;
use crate::error::About;
use crate::fetcher::{Fetcher, number};
use crate::log::Shared;
use crate::native::{describe_group, group_proof};

/// Settings of classic groups that KIP-848 groups have on the broker's side.
const CLASSIC_ONLY: &[&str] = &["session.timeout.ms", "heartbeat.interval.ms", "group.protocol.type"];

pub(super) struct Subscribed {
    shared: Arc<Shared>,
    consumer: Arc<BaseConsumer<Context>>,
    group: Arc<str>,
    /// The caller was silent for too long, so whatever is revoked next has been given to others already.
    silent: bool,
    left: bool,
}

/// Joins, and makes the data path on the same client.
pub(super) fn join(
    shared: &Arc<Shared>,
    member: &MemberConfig,
    classic: bool,
) -> Result<(Box<dyn GroupProtocol>, Fetcher)> {
    for topic in &member.topics {
        shared.partitions(topic)?;
    }
    let doing = format!("joining group `{}`", member.group);
    let about = About { group: Some(&member.group), ..shared.about(&doing) };
    let mut config = shared.config.client(Role::Consumer)?;
    for (name, value) in &member.config {
        if classic || !CLASSIC_ONLY.contains(&name.as_str()) {
            config.set(name, value);
        }
    }
    config.set("group.id", &member.group);
    let client_id = match &member.endpoint {
        Some((host, port)) => format!("{}@{host}:{port}", member.client_id),
        None => member.client_id.clone(),
    };
    config.set("client.id", client_id);
    if let Some(instance) = &shared.config.instance_id {
        config.set("group.instance.id", format!("{instance}-{}", member.client_id));
    }
    if classic {
        config.set("group.protocol", "classic").set("partition.assignment.strategy", "range");
    } else {
        config.set("group.protocol", "consumer").set("group.remote.assignor", "range");
        for name in CLASSIC_ONLY {
            config.remove(name);
        }
    }
    let doorbell = Arc::new(Doorbell::default());
    let mut consumer = BaseConsumer::from_config_and_context(&config, shared.context())
        .map_err(|error| about.kafka(&error))?;
    let ring = Arc::clone(&doorbell);
    consumer.set_nonempty_callback(move || ring.ring());
    let topics: Vec<&str> = member.topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics).map_err(|error| about.kafka(&error))?;
    let fetcher = Fetcher::new(shared, consumer, doorbell, classic);
    let protocol = Subscribed {
        shared: Arc::clone(shared),
        consumer: Arc::clone(&fetcher.consumer),
        group: Arc::from(member.group.as_str()),
        silent: false,
        left: false,
    };
    Ok((Box::new(protocol), fetcher))
}

impl Subscribed {
    fn failed(&self, error: &KafkaError, doing: &str) -> LogError {
        let proof = self.proof();
        About {
            group: Some(&self.group),
            member: Some(&proof),
            operation: "Read",
            ..self.shared.about(doing)
        }
        .kafka(error)
    }
}

impl GroupProtocol for Subscribed {
    fn serves_the_consumer(&self) -> bool {
        true
    }

    fn poll(&mut self) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        loop {
            let served = self.consumer.poll(std::time::Duration::ZERO);
            let mut quiet = served.is_none();
            if let Some(Err(error)) = served {
                let fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
                match error.rdkafka_error_code() {
                    Some(
                        Code::GroupAuthorizationFailed
                        | Code::TopicAuthorizationFailed
                        | Code::InvalidSessionTimeout
                        | Code::UnsupportedFeature
                        | Code::UnsupportedAssignor
                        | Code::FencedInstanceId,
                    ) => return Err(self.failed(&error, "sharing the work of a group")),
                    // Among these: a member of the same instance id was killed, and its session is not over yet.
                    _ if fatal => {
                        steps.push(Step::Broken(error.to_string()));
                        return Ok(steps);
                    }
                    Some(Code::PollExceeded) => self.silent = true,
                    // It mends itself, or the group says what comes of it.
                    _ => tracing::debug!(target: "kafka", group = &*self.group, %error, "while polling"),
                }
            }
            while let Some(rebalance) = self.consumer.context().take_rebalance() {
                quiet = false;
                steps.push(match rebalance {
                    Rebalance::Assign(partitions) => {
                        self.silent = false;
                        Step::Assign(partitions)
                    }
                    Rebalance::Revoke { partitions, lost } if lost || self.silent => Step::Lost(partitions),
                    Rebalance::Revoke { partitions, .. } => Step::Revoke(partitions),
                });
            }
            if quiet {
                // Also what was asked for politely before the silence was noticed.
                if self.silent {
                    for step in &mut steps {
                        if let Step::Revoke(partitions) = step {
                            *step = Step::Lost(std::mem::take(partitions));
                        }
                    }
                }
                return Ok(steps);
            }
        }
    }

    fn released(&mut self, _partitions: &[TopicPartition]) -> Result<()> {
        // To stop fetching on the consumer that has subscribed is the answer that librdkafka waits for.
        Ok(())
    }

    fn proof(&self) -> Membership {
        group_proof(&self.consumer, &self.group)
    }

    fn commit(&mut self, offsets: &[(TopicPartition, Offset)]) -> Result<()> {
        let mut list = TopicPartitionList::new();
        for (at, offset) in offsets {
            list.add_partition_offset(&at.topic, number(at), rdkafka::Offset::Offset(*offset))
                .map_err(|error| self.failed(&error, "committing offsets"))?;
        }
        self.consumer
            .commit(&list, CommitMode::Sync)
            .map_err(|error| self.failed(&error, "committing offsets"))
    }

    fn endpoints(&mut self) -> Result<Vec<MemberEndpoint>> {
        let about =
            About { group: Some(&self.group), ..self.shared.about("asking where members can be asked") };
        let described = describe_group(self.shared.asking(), &self.group, self.shared.config.request_timeout)
            .map_err(|error| about.native(&error))?;
        let endpoint = |member: crate::native::GroupMember| {
            let (_, place) = member.client_id.rsplit_once('@')?;
            let (host, port) = place.rsplit_once(':')?;
            Some(MemberEndpoint {
                host: host.to_owned(),
                port: port.parse().ok()?,
                active: member.partitions,
                standby: Vec::new(),
            })
        };
        Ok(described.members.into_iter().filter_map(endpoint).collect())
    }

    fn leave(&mut self) -> Result<()> {
        if !std::mem::replace(&mut self.left, true) {
            // The last one to drop the consumer leaves the group; from here on it agrees to whatever the group wants.
            self.consumer.context().close();
        }
        Ok(())
    }
}
