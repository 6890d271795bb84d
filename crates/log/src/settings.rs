//! What may be asked of a topic: names, partition counts and settings, checked before a log accepts them.
//!
//! Pure functions without I/O, shared by the logs that Vigie implements itself. Settings have Kafka's names, spelling and
//! defaults; those that describe how Kafka lays out its files are accepted and kept, but have no effect here.

use std::collections::BTreeMap;

use crate::{LogError, Result, Timestamp, TopicSpec};

/// Settings of Kafka that are kept for the record and otherwise ignored.
const WITHOUT_EFFECT: &[&str] = &[
    "compression.type",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "index.interval.bytes",
    "max.compaction.lag.ms",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
    "min.insync.replicas",
    "preallocate",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
];
const KNOWN: &[&str] = &[
    "cleanup.policy",
    "delete.retention.ms",
    "max.message.bytes",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "retention.bytes",
    "retention.ms",
];
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// No topic of one process needs more; a slip of the finger does.
const MOST_PARTITIONS: u32 = 10_000;

/// The settings of one topic, read.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicSettings {
    /// Old records are removed by time and size.
    pub delete: bool,
    /// Only the last value of each key is kept.
    pub compact: bool,
    /// Records older than this are removed; `None`: never.
    pub retention_ms: Option<i64>,
    /// The oldest records are removed when a partition is larger; `None`: never.
    pub retention_bytes: Option<u64>,
    /// No record may be larger.
    pub max_message_bytes: usize,
    /// Records younger than this are not compacted.
    pub min_compaction_lag_ms: i64,
    /// A tombstone stays at least this long after the first compaction that met it.
    pub delete_retention_ms: i64,
    /// Share of uncompacted bytes that makes compaction worth while.
    pub min_cleanable_dirty_ratio: f64,
}

/// What a log uses where a topic does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDefaults {
    /// `retention.ms`.
    pub retention_ms: Option<i64>,
    /// `retention.bytes` of each partition.
    pub retention_bytes: Option<u64>,
    /// `max.message.bytes`.
    pub max_message_bytes: usize,
}

impl Default for TopicDefaults {
    /// Kafka's: seven days, any size, about a mebibyte a record.
    fn default() -> Self {
        Self { retention_ms: Some(7 * DAY_MS), retention_bytes: None, max_message_bytes: 1_048_588 }
    }
}

impl TopicSettings {
    /// Reads the settings of a topic. An unknown name or an impossible value is an
    /// [`InvalidTopic`](LogError::InvalidTopic) that names it.
    pub fn parse(topic: &str, config: &BTreeMap<String, String>, defaults: &TopicDefaults) -> Result<Self> {
        for name in config.keys() {
            if !KNOWN.contains(&name.as_str()) && !WITHOUT_EFFECT.contains(&name.as_str()) {
                let reason =
                    format!("there is no setting `{name}`; those with an effect are {}", KNOWN.join(", "));
                return Err(invalid(topic, reason));
            }
        }
        let (mut delete, mut compact) = (false, false);
        let policy = config.get("cleanup.policy").map_or("delete", String::as_str);
        for word in policy.split(',').map(str::trim) {
            match word {
                "delete" => delete = true,
                "compact" => compact = true,
                _ => {
                    let reason = format!(
                        "`cleanup.policy` is `{policy}`; it may be `delete`, `compact` or `compact,delete`"
                    );
                    return Err(invalid(topic, reason));
                }
            }
        }
        let whole = |name: &str, default: i64| -> Result<i64> {
            let Some(text) = config.get(name) else { return Ok(default) };
            text.trim()
                .parse()
                .map_err(|_| invalid(topic, format!("`{name}` is `{text}`, which is not a whole number")))
        };
        let at_least_0 = |name: &str, default: i64| -> Result<i64> {
            match whole(name, default)? {
                value if value < 0 => {
                    Err(invalid(topic, format!("`{name}` is {value}; it must be 0 or more")))
                }
                value => Ok(value),
            }
        };
        let retention_ms = whole("retention.ms", defaults.retention_ms.unwrap_or(-1))?;
        let default_bytes =
            defaults.retention_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        let retention_bytes = whole("retention.bytes", default_bytes)?;
        let default_max = i64::try_from(defaults.max_message_bytes).unwrap_or(i64::MAX);
        let max_message_bytes = at_least_0("max.message.bytes", default_max)?;
        let ratio = match config.get("min.cleanable.dirty.ratio") {
            None => 0.5,
            Some(text) => match text.trim().parse::<f64>() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
                _ => {
                    let reason =
                        format!("`min.cleanable.dirty.ratio` is `{text}`; it must lie between 0 and 1");
                    return Err(invalid(topic, reason));
                }
            },
        };
        Ok(Self {
            delete,
            compact,
            retention_ms: (retention_ms >= 0).then_some(retention_ms),
            retention_bytes: u64::try_from(retention_bytes).ok(),
            max_message_bytes: usize::try_from(max_message_bytes).unwrap_or(usize::MAX),
            min_compaction_lag_ms: at_least_0("min.compaction.lag.ms", 0)?,
            delete_retention_ms: at_least_0("delete.retention.ms", DAY_MS)?,
            min_cleanable_dirty_ratio: ratio,
        })
    }

    /// All settings as text, defaults included; what the topic itself says stands first.
    pub fn describe(&self, config: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let policy = match (self.compact, self.delete) {
            (true, true) => "compact,delete",
            (true, false) => "compact",
            _ => "delete",
        };
        let mut all = BTreeMap::from([
            (String::from("cleanup.policy"), policy.to_owned()),
            (String::from("delete.retention.ms"), self.delete_retention_ms.to_string()),
            (String::from("max.message.bytes"), self.max_message_bytes.to_string()),
            (String::from("min.cleanable.dirty.ratio"), self.min_cleanable_dirty_ratio.to_string()),
            (String::from("min.compaction.lag.ms"), self.min_compaction_lag_ms.to_string()),
            (
                String::from("retention.bytes"),
                self.retention_bytes.map_or_else(|| String::from("-1"), |bytes| bytes.to_string()),
            ),
            (String::from("retention.ms"), self.retention_ms.unwrap_or(-1).to_string()),
        ]);
        all.extend(config.clone());
        all
    }

    /// Records with a timestamp before this are to be removed.
    pub fn retention_cutoff(&self, now: Timestamp) -> Option<Timestamp> {
        self.retention_ms.filter(|_| self.delete).map(|ms| now.saturating_sub(ms))
    }
}

/// Checks the name, the number of partitions and of copies of a topic to be made on a log with one node.
pub fn check_spec(spec: &TopicSpec) -> Result<()> {
    let name = spec.name.as_str();
    let reason = if name.is_empty() {
        String::from("its name is empty")
    } else if name.len() > 249 {
        format!("its name has {} characters, 249 is the most", name.len())
    } else if name == "." || name == ".." {
        String::from("`.` and `..` are no names")
    } else if let Some(bad) =
        name.chars().find(|&c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
    {
        format!("its name contains {bad:?}; letters, digits, `.`, `_` and `-` may be used")
    } else if spec.partitions == 0 {
        String::from("it would have no partition; ask for 1 or more")
    } else if spec.partitions > MOST_PARTITIONS {
        format!("{} partitions are more than {MOST_PARTITIONS}", spec.partitions)
    } else if spec.replication_factor > 1 {
        format!(
            "{} copies need as many nodes, and this log keeps one copy; ask for 1, or use Kafka",
            spec.replication_factor
        )
    } else {
        return Ok(());
    };
    Err(invalid(name, reason))
}

/// Whether the engine makes topics of this name for itself.
pub fn is_internal(topic: &str) -> bool {
    topic.starts_with("__") || topic.ends_with("-changelog") || topic.ends_with("-repartition")
}

fn invalid(topic: &str, reason: String) -> LogError {
    LogError::InvalidTopic { topic: topic.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<TopicSettings> {
        let config = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        TopicSettings::parse("t", &config, &TopicDefaults::default())
    }

    #[test]
    fn settings_are_read() {
        let settings = parse(&[]).unwrap();
        assert!(settings.delete && !settings.compact);
        assert_eq!(settings.retention_ms, Some(604_800_000));
        let settings = parse(&[("cleanup.policy", "compact, delete"), ("retention.ms", "-1")]).unwrap();
        assert!(settings.delete && settings.compact);
        assert_eq!(settings.retention_cutoff(5), None);
        assert_eq!(parse(&[("retention.bytes", "10")]).unwrap().retention_bytes, Some(10));
        assert!(parse(&[("segment.bytes", "1048576")]).is_ok());
    }

    #[test]
    fn bad_settings_are_named() {
        for (name, value) in [
            ("cleanup.policy", "compress"),
            ("cleanup.policy", ""),
            ("retention.ms", "a week"),
            ("max.message.bytes", "-5"),
            ("delete.retention.ms", "-1"),
            ("min.cleanable.dirty.ratio", "2"),
            ("retention", "1"),
        ] {
            let message = parse(&[(name, value)]).unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
    }

    #[test]
    fn bad_specs_are_refused() {
        for spec in [
            TopicSpec::new("", 1),
            TopicSpec::new("x".repeat(250), 1),
            TopicSpec::new("..", 1),
            TopicSpec::new("a b", 1),
            TopicSpec::new("é", 1),
            TopicSpec::new("t", 0),
            TopicSpec::new("t", 10_001),
            TopicSpec { replication_factor: 3, ..TopicSpec::new("t", 1) },
        ] {
            assert!(matches!(check_spec(&spec), Err(LogError::InvalidTopic { .. })), "{spec:?}");
        }
        check_spec(&TopicSpec::new("Ev.en_em-ents.9", 1)).unwrap();
    }
}
