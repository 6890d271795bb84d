//! The topics that the application works with: made at start where they are missing, never altered.

use vigie_domain::topics;
use vigie_log::{Admin, LogError, TopicSpec};

use crate::config::Config;
use crate::features::own_topics;

/// Records that could not be processed at all, with headers that say why.
pub const DEAD_LETTERS: &str = "dead-letters";

/// Every topic of the application, in the order in which data flows, and whether it is compacted.
pub const TOPICS: [(&str, bool); 26] = [
    (topics::COSTUMERCHURN, false),
    (topics::TEST3, false),
    (topics::CUSTOMER_HISTORY, false),
    (topics::CUSTOMER_FEATURES, false),
    (topics::CHURN_SCORES, false),
    (topics::SHADOW_SCORES, false),
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
    (topics::MANAGERS, true),
    (topics::OUTCOMES, false),
    (topics::SCORED_OUTCOMES, false),
    (topics::AUDIT, false),
    (topics::ANOMALIES, false),
    (DEAD_LETTERS, false),
];

/// What the instances of a shared log agree on besides: compacted, in one partition, so that there is one order.
const AGREED: [&str; 2] = [topics::MODELS, topics::FEATURE_DEFINITIONS];

/// Makes what is missing of [`AGREED`].
pub fn ensure_agreed(admin: &dyn Admin) -> Result<(), LogError> {
    let there = admin.list_topics(true)?;
    for name in AGREED.into_iter().filter(|name| !there.iter().any(|topic| topic == name)) {
        let spec = TopicSpec::compacted(name, 1).with("max.message.bytes", MAX_MESSAGE_BYTES);
        match admin.create_topic(&spec) {
            Ok(()) | Err(LogError::TopicExists { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes what is missing, with the topics of one's own that features are made of. Returns the names that were made.
pub fn ensure(admin: &dyn Admin, config: &Config) -> Result<Vec<String>, LogError> {
    let there = admin.list_topics(true)?;
    let mut made = Vec::new();
    let own = own_topics(&config.features).into_iter().map(|name| (name, false));
    for (name, compacted) in TOPICS.into_iter().chain(own) {
        if there.iter().any(|topic| topic == name) {
            continue;
        }
        let spec = if compacted {
            TopicSpec::compacted(name, config.log.partitions)
        } else {
            let days = match name {
                topics::CUSTOMER_HISTORY => config.churn.history_days,
                // Who did what, and what came of it, is asked years later.
                topics::AUDIT | topics::OUTCOMES | topics::SCORED_OUTCOMES => -1,
                _ => config.log.retention_days,
            };
            let retention_ms = if days < 0 { -1 } else { days.saturating_mul(86_400_000) };
            TopicSpec::new(name, config.log.partitions)
                .with("retention.ms", retention_ms.to_string())
                .with("max.message.bytes", MAX_MESSAGE_BYTES)
        };
        // Event times may lie ahead of the broker's clock: the scenario runs faster than it, and clocks differ.
        let spec = spec.with("message.timestamp.after.max.ms", i64::MAX.to_string());
        match admin.create_topic(&spec) {
            Ok(()) => made.push(name.to_owned()),
            // Another instance was faster.
            Err(LogError::TopicExists { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(made)
}

/// A record that is too large for its contract must still reach the log, or it could not be shown as an anomaly.
const MAX_MESSAGE_BYTES: &str = "16777216";
