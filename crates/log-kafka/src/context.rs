//! What librdkafka tells a client aside from the answers to its calls: errors, log lines, rebalances, tokens about to expire.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::TopicPartitionList;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryResult, ProducerContext};
use vigie_log::TopicPartition;

use crate::Secret;

/// The last thing that went wrong with a connection, until one works again. Shared by all clients of one log: what one of them
/// learns explains the timeouts of the others.
#[derive(Debug, Default)]
pub(crate) struct Trouble(Mutex<Option<(RDKafkaErrorCode, String)>>);

impl Trouble {
    /// Login and certificate errors explain more than the broken connection that follows them, so they stay.
    fn note(&self, code: RDKafkaErrorCode, reason: &str) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let explains = |code| matches!(code, RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL);
        let vague = code == RDKafkaErrorCode::AllBrokersDown && last.is_some();
        if !vague && !last.as_ref().is_some_and(|(last, _)| explains(*last) && !explains(code)) {
            *last = Some((code, reason.to_owned()));
        }
    }

    pub fn last(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn over(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether waiting longer cannot help.
    pub fn is_refusal(&self) -> bool {
        self.last()
            .is_some_and(|(code, _)| matches!(code, RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL))
    }
}

/// What a group's coordinator wants of a consumer that has subscribed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rebalance {
    Assign(Vec<TopicPartition>),
    Revoke { partitions: Vec<TopicPartition>, lost: bool },
}

/// One client's ears.
pub(crate) struct Context {
    pub trouble: Arc<Trouble>,
    token: Option<Secret>,
    /// Rebalances that the member has not dealt with yet. They are only noted here and carried out by [`Member::poll`](vigie_log::Member::poll):
    /// nothing that could fail runs inside librdkafka's callback.
    rebalances: Mutex<VecDeque<Rebalance>>,
    /// The member is gone: agree to everything, so that the consumer can leave.
    closing: AtomicBool,
}

impl Context {
    pub fn new(trouble: Arc<Trouble>, token: Option<Secret>) -> Self {
        Self { trouble, token, rebalances: Mutex::default(), closing: AtomicBool::new(false) }
    }

    pub fn take_rebalance(&self) -> Option<Rebalance> {
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// The token as it is now.
    pub fn token(&self) -> Result<OAuthToken, String> {
        let secret = self.token.as_ref().ok_or("no token is configured")?;
        let token = secret.read().map_err(|error| error.to_string())?;
        crate::token::parse(token.trim())
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => {
                tracing::warn!(target: "kafka", facility, "{line}");
            }
            _ => tracing::debug!(target: "kafka", facility, "{line}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code() {
            self.trouble.note(code, reason);
        }
        tracing::debug!(target: "kafka", %error, "{reason}");
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.token().map_err(Into::into)
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: Code, list: &mut TopicPartitionList) {
        if self.closing.load(Ordering::Acquire) {
            let agreed = match consumer.rebalance_protocol() {
                RebalanceProtocol::Cooperative if code == Code::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                    consumer.incremental_assign(&TopicPartitionList::new())
                }
                RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
                _ => consumer.unassign(),
            };
            if let Err(error) = agreed {
                tracing::debug!(target: "kafka", %error, "while leaving a group");
            }
            return;
        }
        let partitions =
            list.elements().iter().map(|element| at(element.topic(), element.partition())).collect();
        let lost = consumer.assignment_lost();
        let rebalance = if code == Code::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            Rebalance::Assign(partitions)
        } else {
            Rebalance::Revoke { partitions, lost }
        };
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner).push_back(rebalance);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, _result: &DeliveryResult<'_>, _opaque: ()) {}
}

pub(crate) fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, u32::try_from(partition).unwrap_or(u32::MAX))
}
