//! A record that breaks its contract.

use serde::{Deserialize, Serialize};

/// Where a record stands in the log, so that every number can be traced to its records.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Origin {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The offset.
    pub offset: i64,
}

impl Origin {
    /// `topic-partition-offset`: a deterministic id, so that a sink that sees the record twice stores it once.
    pub fn id(&self) -> String {
        format!("{}-{}-{}", self.topic, self.partition, self.offset)
    }
}

/// An anomaly, as on `anomalies`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Anomaly {
    /// `topic-partition-offset` of the record.
    pub id: String,
    /// Which rule it breaks, for example `costumerchurn/Age/range`.
    pub rule: String,
    /// In words: what is wrong and what would be right.
    pub reason: String,
    /// The same in French; empty where it is not known.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub reason_fr: String,
    /// The field, where there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub field: Option<String>,
    /// Where it stands in the log.
    pub origin: Origin,
    /// The record's key as text, where it has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<String>,
    /// The raw value: text where it is UTF-8, otherwise base64 (see `raw_encoding`). Long ones are cut at 64 KiB.
    pub raw: String,
    /// `utf-8` or `base64`.
    pub raw_encoding: String,
    /// Size of the raw value in bytes, before any cut.
    pub raw_bytes: usize,
    /// Event time of the record, ms since the epoch.
    pub event_time: i64,
    /// When it was found, ms since the epoch.
    pub detected_at: i64,
}
