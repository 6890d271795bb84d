//! What went wrong, as the caller of a log knows it: each message says what to do next.

use vigie_log::LogError;

use super::machine::{Failure, Identity};
use super::messages::code;
use super::user_of;
use crate::KafkaConfig;
use crate::wire::WireError;

/// No broker could be asked.
pub(super) fn unreached(config: &KafkaConfig, error: WireError) -> LogError {
    match error {
        WireError::NotAuthorised { resource, permission } => {
            LogError::NotAuthorised { resource, permission: permission.to_owned() }
        }
        WireError::Login { .. } => LogError::other(
            format!("logging in as {}", user_of(config)),
            format!("{error} (settings of the security section)"),
        ),
        WireError::Tls { .. } | WireError::Unsupported { .. } => {
            LogError::other(format!("connecting to {}", config.bootstrap_servers()), error.to_string())
        }
        WireError::Connect { .. } | WireError::Broken { .. } | WireError::Unavailable(_) => {
            LogError::Unreachable { address: config.bootstrap_servers(), reason: error.to_string() }
        }
    }
}

/// What a person has to mend.
pub(super) fn failed(identity: &Identity, failure: &Failure) -> LogError {
    let group = &identity.group;
    let context = || format!("streams group `{group}`");
    match failure {
        // "Source topics a, b are missing."
        Failure::MissingSources(text) => LogError::UnknownTopic {
            topic: text
                .strip_prefix("Source topics ")
                .and_then(|rest| rest.strip_suffix(" are missing."))
                .unwrap_or(text)
                .to_owned(),
        },
        Failure::UnfitTopics(text) => LogError::other(
            context(),
            format!(
                "the broker cannot make tasks: {text}. Topics that are joined need the same number of partitions. An internal topic with another \
                 number remains from an earlier version of the program, or its source has got more partitions since: reset the \
                 application (delete its group and its internal topics), or give the program a new application id"
            ),
        ),
        Failure::MissingInternal(text) => LogError::other(
            context(),
            format!(
                "the broker does not make the internal topics: {text}. Give {} the permission Create on them (or on the cluster), or create them \
                 beforehand; see the broker's log for its reason",
                "the application's user"
            ),
        ),
        Failure::Unseen(topics) => LogError::NotAuthorised {
            resource: format!("topics {}", topics.join(", ")),
            permission: String::from("Describe"),
        },
        Failure::Replaced(topics) => LogError::other(
            context(),
            format!(
                "deleted while the program ran, and made again: {}. Positions and stores belong to the topics that are gone. Stop all \
                 instances, then either reset the application (delete its group, its internal topics and its state folders) so that it \
                 computes everything anew, or restore the topics",
                topics.join(", ")
            ),
        ),
        Failure::OtherTopology(text) => LogError::other(
            context(),
            format!(
                "its members run another version of the program, with another topology: {text}. Brokers do not change the topology of a group with \
                 members yet: stop all instances of the old version, then start the new one; or give the new version a new application id"
            ),
        ),
        Failure::Refused { code: code::GROUP_AUTHORIZATION_FAILED, .. } => {
            LogError::NotAuthorised { resource: format!("group `{group}`"), permission: String::from("Read") }
        }
        Failure::Refused { code: code::TOPIC_AUTHORIZATION_FAILED, text } => LogError::NotAuthorised {
            resource: format!("the topics of group `{group}` ({text})"),
            permission: String::from("Describe, and Create for internal topics"),
        },
        Failure::Refused { code: code::INCONSISTENT_GROUP_PROTOCOL | code::GROUP_ID_NOT_FOUND, text } => {
            LogError::other(
                context(),
                format!(
                    "the group exists with another protocol and has members: {text}. Stop the members that joined with membership = \
                     \"consumer\" or \"classic\", or use another application id"
                ),
            )
        }
        Failure::Refused { code: code::STREAMS_INVALID_TOPOLOGY, text } => {
            LogError::other(context(), format!("the broker cannot make tasks of this program: {text}"))
        }
        Failure::Refused { code, text } => {
            LogError::other(context(), format!("the broker refused a heartbeat with error {code}: {text}"))
        }
    }
}

/// Why positions were not committed.
pub(super) fn not_committed(identity: &Identity, code: i16, topic: &str) -> LogError {
    let not_owner = |reason: &str| LogError::NotOwner {
        group: identity.group.to_string(),
        member: identity.member.to_string(),
        reason: reason.to_owned(),
    };
    match code {
        code::UNKNOWN_MEMBER_ID => not_owner("the broker no longer knows this member"),
        code::ILLEGAL_GENERATION | code::STALE_MEMBER_EPOCH | code::FENCED_MEMBER_EPOCH => {
            not_owner("its epoch is over")
        }
        code::UNKNOWN_TOPIC_OR_PARTITION => LogError::UnknownTopic { topic: topic.to_owned() },
        code::TOPIC_AUTHORIZATION_FAILED => {
            LogError::NotAuthorised { resource: format!("topic `{topic}`"), permission: String::from("Read") }
        }
        code::GROUP_AUTHORIZATION_FAILED => LogError::NotAuthorised {
            resource: format!("group `{}`", identity.group),
            permission: String::from("Read"),
        },
        other => LogError::other(
            format!("committing positions of streams group `{}`", identity.group),
            format!("the broker answered error {other} for topic `{topic}`"),
        ),
    }
}
