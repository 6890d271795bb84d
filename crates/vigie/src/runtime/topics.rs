//! The topics that the application works with: made at start where they are missing, never altered.

use vigie_domain::topics;
use vigie_log::{Admin, LogError, TopicSpec};

use crate::config::LogConfig;

/// Records that could not be processed at all, with headers that say why.
pub const DEAD_LETTERS: &str = "dead-letters";

/// Every topic of the application, in the order in which data flows, and whether it is compacted.
pub const TOPICS: [(&str, bool); 20] = [
    (topics::COSTUMERCHURN, false),
    (topics::TEST3, false),
    (topics::CHURN_SCORES, false),
    (topics::CUSTOMERS, true),
    (topics::RANDOM_USER_DATA, false),
    (topics::USERS, false),
    (topics::COUNTRY_STATS, true),
    (topics::GENDER_STATS, true),
    (topics::R1, false),
    (topics::R2, false),
    (topics::R3, false),
    (topics::R4, false),
    (topics::EVENEMENTS, false),
    (topics::EVENEMENTS_STATS, true),
    (topics::SESSION_PATTERNS, false),
    (topics::ALERTS, false),
    (topics::ASSIGNMENTS, true),
    (topics::OUTCOMES, false),
    (topics::ANOMALIES, false),
    (DEAD_LETTERS, false),
];

/// Makes what is missing. Returns the names that were made.
pub fn ensure(admin: &dyn Admin, config: &LogConfig) -> Result<Vec<&'static str>, LogError> {
    let there = admin.list_topics(true)?;
    let mut made = Vec::new();
    for (name, compacted) in TOPICS {
        if there.iter().any(|topic| topic == name) {
            continue;
        }
        let spec = if compacted {
            TopicSpec::compacted(name, config.partitions)
        } else {
            let retention_ms = match config.retention_days {
                days if days < 0 => -1,
                days => days.saturating_mul(86_400_000),
            };
            TopicSpec::new(name, config.partitions)
                .with("retention.ms", retention_ms.to_string())
                .with("max.message.bytes", MAX_MESSAGE_BYTES)
        };
        match admin.create_topic(&spec) {
            Ok(()) => made.push(name),
            // Another instance was faster.
            Err(LogError::TopicExists { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(made)
}

/// A record that is too large for its contract must still reach the log, or it could not be shown as an anomaly.
const MAX_MESSAGE_BYTES: &str = "16777216";
