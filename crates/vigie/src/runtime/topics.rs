//! The topics that the application works with: made at start where they are missing, never altered.

use vigie_domain::topics;
use vigie_log::{Admin, LogError, TopicPartition, TopicSpec};

use crate::config::{Config, Measure};
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

/// Makes what is missing of the topics that instances decide on together.
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

/// What is wrong with topics that were there already, in words for whoever runs the cluster: made by hand, by an older version, or under
/// another configuration. None of it stops the program; all of it loses something sooner or later.
///
/// Times behind the clock are not told: they cannot be told from a replay. Their windows are those of their own time.
pub fn check(admin: &dyn Admin, config: &Config, now: i64) -> Result<Vec<String>, LogError> {
    let mut wrong = Vec::new();
    let agreed = AGREED.map(|name| (name, true));
    for (name, compacted) in TOPICS.into_iter().chain(agreed) {
        let described = match admin.describe_topic(name) {
            Ok(described) => described,
            Err(LogError::UnknownTopic { .. }) => continue,
            Err(error) => return Err(error),
        };
        let setting = |key: &str| described.config.get(key).map(String::as_str);
        let policy = setting("cleanup.policy").unwrap_or("delete");
        if compacted && policy != "compact" {
            wrong.push(format!(
                "topic `{name}` has cleanup.policy={policy}; what stands on it is forgotten when its records grow old. Set \
                 cleanup.policy=compact (kafka-configs.sh --alter --entity-type topics --entity-name {name} --add-config cleanup.policy=compact)"
            ));
        }
        if !compacted && policy.contains("compact") {
            wrong.push(format!(
                "topic `{name}` has cleanup.policy={policy}; of several records with one key only the last is kept, and counts over it \
                 come out too small. Set cleanup.policy=delete"
            ));
        }
        let kept = setting("retention.ms").and_then(|text| text.parse::<i64>().ok()).filter(|ms| *ms >= 0);
        if let (Some(kept), Some((needed, what))) = (kept, looks_back(name, config))
            && policy.contains("delete")
            && kept < needed
        {
            wrong.push(format!(
                "topic `{name}` keeps records for {kept} ms (retention.ms), but {what} look back {needed} ms: what is older is gone before it \
                 is counted again. Set retention.ms to at least {needed}, or to -1"
            ));
        }
        for partition in described.partitions.iter().filter(|_| topics::SOURCES.contains(&name)) {
            let at = TopicPartition::new(name, partition.partition);
            if let Some(offset) = admin.offset_for_time(&at, now.saturating_add(AHEAD_MS))? {
                wrong.push(format!(
                    "record {at} @ {offset} has a time more than {} min ahead of this machine's clock; a clock is wrong, or events are \
                     made up. Windows go by the times of the records: what comes with the right time may count as late",
                    AHEAD_MS / 60_000
                ));
                break;
            }
        }
    }
    Ok(wrong)
}

/// Records may be so far ahead of the clock before it is told: clocks of different machines differ by seconds.
const AHEAD_MS: i64 = 10 * 60_000;

/// How far back records of a topic are needed, and for what.
fn looks_back(name: &str, config: &Config) -> Option<(i64, &'static str)> {
    let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    match name {
        topics::R2 => Some((
            ms(config.pages.window_ms.saturating_add(config.pages.grace_ms)),
            "windows with their grace",
        )),
        topics::EVENEMENTS => {
            let seconds = config.shop.session_gap_s.max(config.shop.logins_window_s);
            Some((ms(seconds.saturating_mul(1_000)), "sessions and logins"))
        }
        topics::CUSTOMER_HISTORY => {
            let days = config.features.iter().map(|feature| {
                let windows = if feature.measure == Measure::Trend { 2 } else { 1 };
                i64::from(feature.window_days) * windows
            });
            Some((days.max()?.saturating_mul(86_400_000), "the windows of declared features"))
        }
        _ => None,
    }
}

/// A record that is too large for its contract must still reach the log, or it could not be shown as an anomaly.
const MAX_MESSAGE_BYTES: &str = "16777216";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vigie_log::{BatchBuilder, Log, ManualClock, ProducerConfig, SimulatedLog};

    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    fn log() -> SimulatedLog {
        SimulatedLog::new(Arc::new(ManualClock::at(NOW)), 1)
    }

    #[test]
    fn topics_as_the_program_makes_them_are_as_they_should_be() {
        let log = log();
        ensure(&*log.admin(), &Config::default()).unwrap();
        ensure_agreed(&*log.admin()).unwrap();
        assert_eq!(check(&*log.admin(), &Config::default(), NOW).unwrap(), [""; 0]);
    }

    #[test]
    fn retention_shorter_than_a_window_is_warned_of() {
        let log = log();
        let topic = |name: &str, ms: &str| {
            log.admin().create_topic(&TopicSpec::new(name, 1).with("retention.ms", ms)).unwrap();
        };
        topic(topics::R2, "34999");
        topic(topics::EVENEMENTS, "-1");
        topic(topics::CUSTOMER_HISTORY, "86400000");
        let wrong = check(&*log.admin(), &Config::default(), NOW).unwrap();
        assert_eq!(wrong.len(), 2, "{wrong:#?}");
        assert!(
            wrong[0].contains("`customer-history`") && wrong[0].contains("at least 7776000000"),
            "{wrong:#?}"
        );
        assert!(wrong[1].contains("`R2`") && wrong[1].contains("look back 35000 ms"), "{wrong:#?}");
    }

    #[test]
    fn topics_of_an_older_configuration_are_recognised() {
        let log = log();
        log.admin().create_topic(&TopicSpec::new(topics::ASSIGNMENTS, 1)).unwrap();
        log.admin().create_topic(&TopicSpec::compacted(topics::ALERTS, 1)).unwrap();
        let wrong = check(&*log.admin(), &Config::default(), NOW).unwrap();
        assert_eq!(wrong.len(), 2, "{wrong:#?}");
        assert!(wrong[0].contains("`alerts`") && wrong[0].contains("cleanup.policy=delete"), "{wrong:#?}");
        assert!(
            wrong[1].contains("`assignments`") && wrong[1].contains("cleanup.policy=compact"),
            "{wrong:#?}"
        );
    }

    #[test]
    fn clocks_that_run_ahead_are_warned_of() {
        let log = log();
        ensure(&*log.admin(), &Config::default()).unwrap();
        let mut producer = log.producer(ProducerConfig::default()).unwrap();
        let mut batch = BatchBuilder::new();
        batch.push(NOW + AHEAD_MS - 1_000, None, Some(b"a"), &[]);
        producer.begin().unwrap();
        producer.append(&TopicPartition::new(topics::R2, 0), &mut batch).unwrap();
        batch.push(NOW + AHEAD_MS + 1_000, None, Some(b"b"), &[]);
        producer.append(&TopicPartition::new(topics::R2, 1), &mut batch).unwrap();
        producer.commit().unwrap();
        let wrong = check(&*log.admin(), &Config::default(), NOW).unwrap();
        assert_eq!(wrong.len(), 1, "{wrong:#?}");
        assert!(wrong[0].starts_with("record R2-1 @ 0") && wrong[0].contains("10 min ahead"), "{wrong:#?}");
    }
}
