//! Features of a customer at a moment, predictions that outcomes have answered, and what people did: who, when, what.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::{CustomerId, Origin};

/// What made a customer's features be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The customer's record came or changed.
    Record,
    /// The customer did something.
    Event,
}

/// The features of one customer at one moment, as on `customer-features`: columns of the record and aggregates of events, without
/// personal columns. Replaying the history gives the same bytes, so nothing of the wall clock is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FeatureRow {
    /// Whom it is about.
    pub customer_id: CustomerId,
    /// As of when, ms since the epoch.
    pub event_time: i64,
    /// The record or event that led to it.
    pub origin: Origin,
    /// What that was.
    pub trigger: Trigger,
    /// Value by feature; null where there is none.
    pub features: BTreeMap<String, Option<f64>>,
    /// XXH3 of the features, 16 hexadecimal digits; the score that was made of them carries the same.
    pub features_hash: String,
    /// Fingerprint of the declarations that the aggregates were computed by.
    pub definitions: String,
}

/// 16 hexadecimal digits that follow from these bytes (XXH3, 64 bits): the same on every machine.
pub fn fingerprint(bytes: &[u8]) -> String {
    format!("{:016x}", xxh3_64(bytes))
}

/// Fingerprint of features: equal names and values, equal fingerprint.
pub fn features_hash(features: &BTreeMap<String, Option<f64>>) -> String {
    let mut bytes = Vec::with_capacity(features.len() * 32);
    for (name, value) in features {
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0x1f);
        match value {
            // There is no negative zero among features.
            Some(value) => bytes.extend_from_slice(&(value + 0.0).to_bits().to_le_bytes()),
            None => bytes.push(0),
        }
    }
    fingerprint(&bytes)
}

/// What a model said about a customer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Prediction {
    /// Which model.
    pub model_version: String,
    /// Probability of leaving.
    pub probability: f64,
}

/// The challenger's score beside the champion's, as on `shadow-scores`. It is compared and shown to nobody as a customer's risk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ShadowScore {
    /// Whom it is about.
    pub customer_id: CustomerId,
    /// As of when, ms since the epoch.
    pub event_time: i64,
    /// The record or event that both were computed from.
    pub origin: Origin,
    /// Of what went in.
    pub features_hash: String,
    /// The model in service.
    pub champion: Prediction,
    /// Its verdict: at or above its threshold.
    pub champion_leaves: bool,
    /// The model in shadow.
    pub challenger: Prediction,
    /// Its verdict: at or above its threshold.
    pub challenger_leaves: bool,
}

/// An outcome with the prediction that stood before it, as on `scored-outcomes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ScoredOutcome {
    /// Whom it is about.
    pub customer_id: CustomerId,
    /// Whether the customer left.
    pub churned: bool,
    /// When, ms since the epoch.
    pub outcome_time: i64,
    /// How it is known.
    pub known_from: String,
    /// The record of the outcome.
    pub origin: Origin,
    /// As of when the prediction was made, ms since the epoch; at least the configured lead before the outcome.
    pub predicted_at: i64,
    /// What was predicted.
    pub prediction: Prediction,
    /// What the model in shadow predicted at that time, if there was one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub challenger: Option<Prediction>,
    /// Of the features that the prediction was made of.
    pub features_hash: String,
}

/// Something that a person (or the program in a person's place) did, as on `audit`. It is never changed and never deleted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditEntry {
    /// Time and subject, so that a record seen twice is stored once.
    pub id: String,
    /// When, ms since the epoch.
    pub at: i64,
    /// Who.
    pub by: String,
    /// What, for example `assignment.approved`, `manager.changed`, `model.promoted`.
    pub action: String,
    /// The customer, manager or model.
    pub subject: String,
    /// What else is to be known: from, to, manager, capacity ...
    pub detail: BTreeMap<String, String>,
}

impl AuditEntry {
    /// An entry. The id follows from all of it.
    pub fn new(at: i64, by: &str, action: &str, subject: &str, detail: BTreeMap<String, String>) -> Self {
        let (by, action, subject) = (by.to_owned(), action.to_owned(), subject.to_owned());
        let text = format!("{by}\u{1f}{action}\u{1f}{subject}\u{1f}{detail:?}");
        Self { id: format!("{at:013}-{}", fingerprint(text.as_bytes())), at, by, action, subject, detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_follows_from_names_values_and_absence() {
        let of = |pairs: &[(&str, Option<f64>)]| {
            features_hash(&pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect())
        };
        assert_eq!(of(&[("a", Some(1.0)), ("b", None)]), of(&[("b", None), ("a", Some(1.0))]));
        assert_eq!(of(&[("a", Some(0.0))]), of(&[("a", Some(-0.0))]));
        for other in [[("a", Some(2.0))], [("b", Some(1.0))], [("a", None)]] {
            assert_ne!(of(&[("a", Some(1.0))]), of(&other));
        }
    }
}
