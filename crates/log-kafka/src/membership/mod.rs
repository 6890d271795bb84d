//! Who owns which partition: the protocols between this process and the broker that shares a group's work.
//!
//! ```text
//!            ┌── streams  (KIP-1071): the broker assigns tasks of the program, standbys too; our own connection
//! GroupProtocol ── consumer (KIP-848):  the broker assigns partitions, incrementally; librdkafka speaks it
//!            └── classic:             a member assigns partitions, all at once; librdkafka speaks it
//! ```
//! A protocol only *decides*. The data path is the same for all of them and lies in the caller (`KafkaMember`): an
//! rdkafka consumer that is told what to fetch. So a protocol never sees a record, and the caller never sees a heartbeat.
//!
//! How the two work together, once a `Member::poll`:
//! ```text
//! released(what the last poll asked to give up) ─▶ poll ─▶ steps, in order: Revoke | Lost | Assign | Standbys | Shutdown
//! ```
//! Invariants:
//! - `Revoke` asks: the caller still owns the partitions, commits, and then says [`released`](GroupProtocol::released). Until then the
//!   protocol tells the broker that they are owned, and gives no `Assign`.
//! - `Lost` tells: somebody else may own the partitions by now; nothing is to be committed for them, and nothing is released.
//! - Heartbeats go on in the background whatever the caller does; a caller that has not polled for `max.poll.interval.ms` loses its
//!   partitions.
//! - No call blocks longer than the request timeout of the configuration; `poll` does not block at all.

pub mod streams;
mod subscribed;

use std::fmt;
use std::sync::Arc;

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::BaseConsumer;
use vigie_log::{MemberConfig, MemberEndpoint, Membership, Offset, Result, StandbyTask, TopicPartition};

use crate::client::Role;
use crate::doorbell::Doorbell;
use crate::error::About;
use crate::fetcher::Fetcher;
use crate::log::Shared;
use crate::wire::Cluster;
use crate::{KafkaConfig, MembershipMode};

/// The request that members of KIP-848 groups live on.
const CONSUMER_GROUP_HEARTBEAT: i16 = 68;

/// Joins by the configured protocol.
pub(crate) fn join(shared: &Arc<Shared>, member: &MemberConfig) -> Result<(Box<dyn GroupProtocol>, Fetcher)> {
    let doorbell = Arc::new(Doorbell::default());
    let ring = Arc::clone(&doorbell);
    let joining = Joining {
        kafka: Arc::clone(&shared.config),
        member: member.clone(),
        wake: Wake::new(move || ring.ring()),
    };
    let streams = match shared.config.membership {
        MembershipMode::Streams => true,
        MembershipMode::Auto => member.topology.is_some() && streams::offered(&joining)?,
        MembershipMode::Consumer | MembershipMode::Classic => false,
    };
    if streams {
        let about = About { group: Some(&member.group), ..shared.about("joining a group") };
        let mut config = shared.config.client(Role::Consumer)?;
        config.set("group.id", &member.group).set("client.id", &member.client_id);
        let consumer = BaseConsumer::from_config_and_context(&config, shared.context())
            .map_err(|error| about.kafka(&error))?;
        let fetcher = Fetcher::new(shared, consumer, doorbell, false);
        return Ok((streams::join(joining)?, fetcher));
    }
    let classic = match shared.config.membership {
        MembershipMode::Auto => !shared.offers_consumer_groups()?,
        mode => mode == MembershipMode::Classic,
    };
    subscribed::join(shared, member, classic)
}

/// Whether the cluster shares groups by KIP-848.
pub(crate) fn offers_consumer_groups(kafka: &KafkaConfig, address: &str) -> Result<bool> {
    let connection = Cluster::new(kafka).any().map_err(|error| {
        About { address, doing: "asking for the brokers' features", ..About::default() }
            .unreachable(&error.to_string())
    })?;
    Ok(connection.offers(CONSUMER_GROUP_HEARTBEAT, 0) && connection.feature("group.version") >= 1)
}

/// One change of what a member owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Give these up: finish and commit what is under way, then call [`GroupProtocol::released`].
    Revoke(Vec<TopicPartition>),
    /// These are gone already: drop what is uncommitted.
    Lost(Vec<TopicPartition>),
    /// These are owned from now on, beside those owned already.
    Assign(Vec<TopicPartition>),
    /// All standby copies to keep from now on (not a difference).
    Standbys(Vec<StandbyTask>),
    /// A member asked all members to stop; told once.
    Shutdown,
    /// This instance cannot go on, for this reason: everything is lost, and the caller joins anew, with a new one.
    Broken(String),
}

/// One member of one group. Made by joining; dropping it leaves, as [`leave`](Self::leave) does.
pub trait GroupProtocol: Send {
    /// What has changed since the last call, in order; empty when nothing has. Does not block.
    ///
    /// Errors are those that the member must act on: `NotAuthorised`, `UnknownTopic`, `Unreachable` when the start took longer than the
    /// configuration allows. A lost session is no error: it is `Step::Lost` of everything, and the protocol joins again by itself.
    fn poll(&mut self) -> Result<Vec<Step>>;
    /// Whether `poll` also polls the rdkafka consumer, whose errors it wants to see; otherwise the caller does.
    fn serves_the_consumer(&self) -> bool {
        false
    }
    /// The partitions of a `Step::Revoke` have been committed and are no longer read.
    fn released(&mut self, partitions: &[TopicPartition]) -> Result<()>;
    /// Proof of membership for offsets in a transaction: group, member id, and generation or member epoch.
    fn proof(&self) -> Membership;
    /// Commits positions outside a transaction, under the member's generation. `NotOwner` when that is over.
    fn commit(&mut self, offsets: &[(TopicPartition, Offset)]) -> Result<()>;
    /// Members that said where they can be asked, with what they own.
    fn endpoints(&mut self) -> Result<Vec<MemberEndpoint>>;
    /// Asks all members to stop. Tells whether the protocol passes it on.
    fn request_shutdown(&mut self) -> Result<bool> {
        Ok(false)
    }
    /// Leaves at once; what was owned is no longer. The instance is not used afterwards, except to drop it.
    fn leave(&mut self) -> Result<()>;
}

/// What a protocol gets to join with.
#[derive(Clone)]
pub struct Joining {
    /// Brokers, security, timeouts.
    pub kafka: Arc<KafkaConfig>,
    /// Group, topics, topology, endpoint, process id.
    pub member: MemberConfig,
    /// To be called whenever [`GroupProtocol::poll`] has something to tell, from any thread: the caller may be waiting for records.
    pub wake: Wake,
}

/// Ends the wait for records of a [`Member::poll`](vigie_log::Member::poll), so that it looks at its protocol.
#[derive(Clone)]
pub struct Wake(Arc<dyn Fn() + Send + Sync>);

impl Wake {
    /// What to do to end the wait.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(wake))
    }

    /// Ends the wait; does nothing when nobody waits.
    pub fn wake(&self) {
        (self.0)();
    }
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wake")
    }
}
