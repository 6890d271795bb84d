//! Streams groups (KIP-1071): the broker assigns the program's tasks, active ones and standby copies.
//!
//! ```text
//! StreamsMember (on the caller's thread)        driver (a thread of its own)          broker
//!   poll, released, leave ───▶ Machine ◀─── replies, time ─── Link ◀── heartbeats ──▶ coordinator
//!   commit ──────────────────────────────▶ queue ───────────▶ Link ── OffsetCommit ──▶    "
//! ```
//! `machine` decides, and is tested without any of the rest; `driver` owns the connection; this file joins the two to
//! [`GroupProtocol`].
//!
//! Invariants:
//! - A step names partitions only when the number of partitions of every input is known: a task whose inputs are not all visible yet
//!   waits.
//! - Positions are committed under the epoch that the caller knows of, and only for partitions that it holds: brokers check the epoch, not the
//!   partitions.
//! - A topic of the program that is deleted and made again under the same name stops the member, with the topic's name: its offsets, or the
//!   stores that it backs, belong to a topic that is no more.
//!
//! It does *not* send changelog offsets (brokers up to 4.3 refuse them) and has no static membership (they refuse it too).

mod driver;
mod failures;
mod link;
mod machine;
mod messages;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use vigie_log::{LogError, MemberEndpoint, Membership, Offset, Result, TopicPartition};

use self::driver::Driver;
use self::machine::{Change, Identity, Machine};
use self::messages::{HEARTBEAT, Join};
use self::tasks::{Inputs, Tasks};
use super::{GroupProtocol, Joining, Step};
use crate::wire::Cluster;
use crate::{KafkaConfig, Sasl};

/// librdkafka's default of `max.poll.interval.ms`.
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(300);
/// Brokers need a moment for topics that were just made, and make internal topics themselves.
const LEAST_PATIENCE: Duration = Duration::from_secs(30);

/// Whether the broker offers streams groups and the configuration describes a topology; `false` is no error, but the reason for `auto` to
/// try the next protocol.
pub fn offered(joining: &Joining) -> Result<bool> {
    let described =
        joining.member.topology.as_ref().is_some_and(|topology| !topology.sub_topologies.is_empty());
    if !described || joining.kafka.instance_id.is_some() {
        return Ok(false);
    }
    let connection = link::within(joining.kafka.start_timeout, || Cluster::new(&joining.kafka).any())
        .map_err(|error| failures::unreached(&joining.kafka, error))?;
    Ok(connection.offers(HEARTBEAT, 0) && connection.feature("streams.version") >= 1)
}

/// Joins.
///
/// # Errors
/// `Other` when the configuration describes no topology, or asks for static membership; `Unreachable` when no broker answers within the start
/// timeout; `UnknownTopic` when a source topic does not exist.
pub fn join(joining: Joining) -> Result<Box<dyn GroupProtocol>> {
    let group: Arc<str> = joining.member.group.as_str().into();
    let Some(topology) =
        joining.member.topology.clone().filter(|topology| !topology.sub_topologies.is_empty())
    else {
        return Err(LogError::other(
            format!("joining streams group `{group}`"),
            "a streams group needs a program with a topology; for plain topics set membership = \"consumer\"",
        ));
    };
    if joining.kafka.instance_id.is_some() {
        return Err(LogError::other(
            format!("joining streams group `{group}`"),
            "brokers have no static membership in streams groups yet; remove the instance id, or set membership = \"consumer\"",
        ));
    }
    let max_poll_interval = max_poll_interval(&joining.kafka)?;
    let member = member_id(&joining.kafka.client_id)?;
    let process = match joining.member.process_id.as_str() {
        "" => member.clone(),
        process => process.to_owned(),
    };
    let rack = joining
        .kafka
        .settings_of("consumer")
        .filter(|(name, _)| *name == "client.rack")
        .last()
        .map(|(_, rack)| rack.to_owned());
    let identity = Identity {
        group: Arc::clone(&group),
        member: member.into(),
        join: Arc::new(Join {
            topology: messages::topology(&topology, joining.kafka.replication_factor),
            process,
            endpoint: joining.member.endpoint.clone(),
            rack,
            rebalance_timeout: max_poll_interval,
        }),
        patience: joining.kafka.start_timeout.max(LEAST_PATIENCE),
    };
    let member = Arc::clone(&identity.member);
    let inputs = Inputs::of(&topology);
    let driver = Driver::start(joining, Machine::new(identity), &topology, max_poll_interval)?;
    Ok(Box::new(StreamsMember { group, member, inputs, driver, left: false }))
}

/// How long the caller may be silent before others get its tasks.
fn max_poll_interval(config: &KafkaConfig) -> Result<Duration> {
    let Some((_, text)) =
        config.settings_of("consumer").filter(|(name, _)| *name == "max.poll.interval.ms").last()
    else {
        return Ok(MAX_POLL_INTERVAL);
    };
    text.parse().map(Duration::from_millis).map_err(|_| {
        LogError::other(
            "the setting `max.poll.interval.ms`",
            format!("`{text}` is not a number of milliseconds"),
        )
    })
}

/// A name that no other member has: the client's, for people, and sixteen random bytes.
fn member_id(client: &str) -> Result<String> {
    let mut bytes = [0; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| LogError::other("naming a member of a group", "the system gives no random numbers"))?;
    Ok(format!("{client}-{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// One member.
struct StreamsMember {
    group: Arc<str>,
    member: Arc<str>,
    inputs: Inputs,
    driver: Driver,
    left: bool,
}

impl StreamsMember {
    fn tasks_of(&self, partitions: &[TopicPartition]) -> Tasks {
        partitions.iter().filter_map(|partition| self.inputs.task_of(partition)).collect()
    }
}

impl GroupProtocol for StreamsMember {
    fn poll(&mut self) -> Result<Vec<Step>> {
        let (changes, topics) = self.driver.poll()?;
        let partitions = |tasks: &Tasks| self.inputs.partitions(tasks, &topics);
        Ok(changes
            .into_iter()
            .map(|change| match change {
                Change::Revoke(tasks) => Step::Revoke(partitions(&tasks)),
                Change::Lost(tasks) => Step::Lost(partitions(&tasks)),
                Change::Assign(tasks) => Step::Assign(partitions(&tasks)),
                Change::Standbys(copies) => Step::Standbys(copies),
                Change::Shutdown(text) => {
                    tracing::warn!(group = %self.group, "{text}");
                    Step::Shutdown
                }
            })
            .collect())
    }

    fn released(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.driver.released(&self.tasks_of(partitions));
        Ok(())
    }

    fn proof(&self) -> Membership {
        Membership {
            group: Arc::clone(&self.group),
            member: Arc::clone(&self.member),
            generation: self.driver.proof_epoch(),
        }
    }

    fn commit(&mut self, offsets: &[(TopicPartition, Offset)]) -> Result<()> {
        if offsets.is_empty() {
            return Ok(());
        }
        let held = self.driver.held();
        let foreign = offsets
            .iter()
            .map(|(partition, _)| partition)
            .find(|partition| self.inputs.task_of(partition).is_none_or(|task| !held.contains(&task)));
        if let Some(partition) = foreign {
            return Err(LogError::NotOwner {
                group: self.group.to_string(),
                member: self.member.to_string(),
                reason: format!("{partition} is assigned to somebody else"),
            });
        }
        self.driver.commit(offsets)
    }

    fn endpoints(&mut self) -> Result<Vec<MemberEndpoint>> {
        Ok(self.driver.endpoints())
    }

    fn request_shutdown(&mut self) -> Result<bool> {
        self.driver.request_shutdown();
        Ok(true)
    }

    fn leave(&mut self) -> Result<()> {
        if !std::mem::replace(&mut self.left, true) {
            self.driver.leave();
        }
        Ok(())
    }
}

impl Drop for StreamsMember {
    fn drop(&mut self) {
        if !self.left {
            self.driver.leave();
        }
    }
}

/// For messages: how this client logs in.
fn user_of(config: &KafkaConfig) -> &str {
    match &config.security.sasl {
        Some(Sasl::Plain { user, .. } | Sasl::Scram { user, .. }) => user,
        Some(Sasl::OauthBearer { .. }) => "the owner of the token",
        None => "this client",
    }
}
