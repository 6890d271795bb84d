//! librdkafka's errors as the log's: what happened, where, what to check, and with which consequence.
//!
//! | librdkafka says | it becomes | consequence |
//! | --- | --- | --- |
//! | transport failure, timed out, no coordinator, not enough replicas | `Unreachable` | retriable |
//! | authentication, SSL | `Unreachable`, which says that the login or the certificate is refused | retriable |
//! | unknown topic or partition | `UnknownTopic` | abort |
//! | message too large | `TooLarge` | abort |
//! | topic, group, cluster, transactional id not authorised | `NotAuthorised`, with the permission's name | fatal |
//! | fenced, invalid producer epoch, a transaction that outlived its timeout | `Fenced` | task migrated |
//! | unknown member, illegal generation, stale epoch, rebalance in progress | `NotOwner` | task migrated |
//! | anything else | `Other` | fatal |

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use vigie_log::{LogError, Membership};

use crate::context::Trouble;
use crate::native::NativeError;

/// What a call was about, for the message.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct About<'a> {
    pub address: &'a str,
    pub doing: &'a str,
    pub topic: Option<&'a str>,
    pub group: Option<&'a str>,
    pub transactional_id: Option<&'a str>,
    pub member: Option<&'a Membership>,
    /// Kafka's name of the operation on the topic, for a missing permission.
    pub operation: &'a str,
    pub trouble: Option<&'a Trouble>,
}

impl About<'_> {
    pub fn native(&self, error: &NativeError) -> LogError {
        if error.fatal
            && matches!(error.code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch)
        {
            return self.fenced();
        }
        self.code(error.code, &error.text)
    }

    pub fn kafka(&self, error: &KafkaError) -> LogError {
        match error {
            KafkaError::AdminOp(code) => self.code(*code, &error.to_string()),
            KafkaError::Transaction(inner) => self.code(inner.code(), &inner.string()),
            other => match other.rdkafka_error_code() {
                Some(code) => self.code(code, &other.to_string()),
                None => LogError::other(self.doing, other.to_string()),
            },
        }
    }

    pub fn fenced(&self) -> LogError {
        LogError::Fenced { transactional_id: self.transactional_id.unwrap_or("(without id)").to_owned() }
    }

    pub fn unreachable(&self, reason: &str) -> LogError {
        let reason = match self.trouble.and_then(Trouble::last) {
            Some((Code::Authentication, why)) => {
                format!("the login is refused ({why}); check user, password and mechanism")
            }
            Some((Code::SSL, why)) => {
                format!(
                    "the encrypted connection is refused ({why}); check the authority's certificate and the host's name in the broker's"
                )
            }
            Some((_, why)) => format!("{reason} ({why})"),
            None => reason.to_owned(),
        };
        LogError::Unreachable { address: self.address.to_owned(), reason }
    }

    fn lacks(&self, kind: &str, name: &str, permission: &str) -> LogError {
        LogError::NotAuthorised { resource: format!("{kind} {name}"), permission: permission.to_owned() }
    }

    pub fn code(&self, code: Code, text: &str) -> LogError {
        let topic = self.topic.unwrap_or("(unknown)");
        match code {
            Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::UnknownTopicId => LogError::UnknownTopic { topic: topic.to_owned() },
            Code::TopicAlreadyExists => LogError::TopicExists { topic: topic.to_owned() },
            Code::InvalidTopic
            | Code::InvalidPartitions
            | Code::InvalidReplicationFactor
            | Code::InvalidReplicaAssignment
            | Code::InvalidConfig
            | Code::PolicyViolation => {
                LogError::InvalidTopic { topic: topic.to_owned(), reason: text.to_owned() }
            }
            Code::MessageSizeTooLarge | Code::InvalidMessageSize => {
                LogError::TooLarge { topic: topic.to_owned(), size: 0, limit: 0 }
            }
            Code::TopicAuthorizationFailed => self.lacks("topic", topic, self.operation),
            Code::GroupAuthorizationFailed => self.lacks("group", self.group.unwrap_or("(unknown)"), "Read"),
            Code::ClusterAuthorizationFailed => self.lacks("cluster", "kafka-cluster", self.operation),
            Code::TransactionalIdAuthorizationFailed => {
                self.lacks("transactional id", self.transactional_id.unwrap_or("(unknown)"), "Write")
            }
            Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::UnknownProducerId => {
                self.fenced()
            }
            Code::UnknownMemberId
            | Code::IllegalGeneration
            | Code::StaleMemberEpoch
            | Code::FencedMemberEpoch
            | Code::FencedInstanceId
            | Code::RebalanceInProgress => LogError::NotOwner {
                group: self.group.unwrap_or_default().to_owned(),
                member: self.member.map_or_else(String::new, |member| member.member.to_string()),
                reason: format!("{text} ({code:?})"),
            },
            Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::MessageTimedOut
            | Code::TimedOutQueue
            | Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::SSL
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::BrokerNotAvailable
            | Code::NetworkException
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::WaitingForCoordinator
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::KafkaStorageError => self.unreachable(&format!("{}: {text}", self.doing)),
            code => LogError::other(self.doing, format!("{text} ({code:?})")),
        }
    }
}

/// A refused attempt at a topic's size limit, with the figures that only the caller knows.
pub(crate) fn too_large(topic: &str, size: usize, limit: usize) -> LogError {
    LogError::TooLarge { topic: topic.to_owned(), size, limit }
}

#[cfg(test)]
mod tests {
    use vigie_log::Consequence;

    use super::*;

    #[test]
    fn each_cause_has_its_consequence_and_names_what_to_check() {
        let about = About {
            address: "kafka://a:1",
            doing: "writing",
            topic: Some("t"),
            group: Some("g"),
            transactional_id: Some("id"),
            operation: "Write",
            ..About::default()
        };
        let check = |code: Code, consequence: Consequence, words: &[&str]| {
            let error = about.code(code, "why");
            assert_eq!(error.consequence(), consequence, "{error:?}");
            for word in words {
                assert!(error.to_string().contains(word), "{error} lacks {word}");
            }
        };
        check(Code::BrokerTransportFailure, Consequence::Retriable, &["kafka://a:1", "check that it runs"]);
        check(Code::OperationTimedOut, Consequence::Retriable, &["writing", "network"]);
        check(Code::UnknownTopicOrPartition, Consequence::Abort, &["`t`", "create"]);
        check(Code::MessageSizeTooLarge, Consequence::Abort, &["max.message.bytes"]);
        check(Code::TopicAuthorizationFailed, Consequence::Fatal, &["Write on topic t"]);
        check(Code::GroupAuthorizationFailed, Consequence::Fatal, &["Read on group g"]);
        check(
            Code::TransactionalIdAuthorizationFailed,
            Consequence::Fatal,
            &["Write on transactional id id"],
        );
        check(Code::Fenced, Consequence::TaskMigrated, &["`id`", "newer one"]);
        check(Code::IllegalGeneration, Consequence::TaskMigrated, &["group `g`"]);
        check(Code::UnknownMemberId, Consequence::TaskMigrated, &["group `g`"]);
    }

    #[test]
    fn a_refused_login_explains_a_timeout() {
        use rdkafka::client::ClientContext;
        let trouble = std::sync::Arc::new(Trouble::default());
        let context = crate::context::Context::new(std::sync::Arc::clone(&trouble), None);
        context.error(KafkaError::Global(Code::Authentication), "invalid credentials");
        context.error(KafkaError::Global(Code::AllBrokersDown), "1/1 brokers are down");
        let about = About { trouble: Some(&trouble), ..About::default() };
        let error = about.code(Code::OperationTimedOut, "timed out").to_string();
        assert!(error.contains("password") && error.contains("invalid credentials"), "{error}");
        trouble.over();
        assert!(!about.code(Code::OperationTimedOut, "timed out").to_string().contains("password"));
    }
}
