//! A churn score: how likely a customer is to leave, by which model, and why.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{CustomerId, Origin};

/// The probability put in a word, by the model's threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// At or above the threshold.
    WillChurn,
    /// Below it.
    WillStay,
}

/// One reason of a score: an exact additive contribution in log-odds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FeatureReason {
    /// The column.
    pub feature: String,
    /// The customer's value.
    pub value: f64,
    /// The value that contributes nothing (the training mean).
    pub baseline: f64,
    /// Contribution in log-odds; positive raises the risk.
    pub contribution: f64,
    /// The reason in words, French.
    pub text_fr: String,
    /// The reason in words, English.
    pub text_en: String,
}

/// A score, as on `churn-scores`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Score {
    /// Whom it is about.
    pub customer_id: CustomerId,
    /// Calibrated probability of leaving, 0 to 1.
    pub probability: f64,
    /// The same in log-odds: `baseline_log_odds` plus the sum of all contributions.
    pub log_odds: f64,
    /// Log-odds of a customer with the training means.
    pub baseline_log_odds: f64,
    /// In a word.
    pub verdict: Verdict,
    /// All contributions, largest first by absolute value.
    pub reasons: Vec<FeatureReason>,
    /// The features that went in, by column.
    pub features: BTreeMap<String, f64>,
    /// XXH3 of the features, hexadecimal.
    pub features_hash: String,
    /// Which model.
    pub model_version: String,
    /// When what it is based on happened, ms since the epoch.
    pub event_time: i64,
    /// When it was computed, ms since the epoch.
    pub scored_at: i64,
    /// The record it was computed from.
    pub origin: Origin,
    /// When the record that it is based on was published, ms since the epoch of the wall clock (header `published-at`); the event
    /// time may run on another clock (a replay, a scenario).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub published_at: Option<i64>,
    /// The request that it answers, if it answers one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub correlation_id: Option<String>,
}

/// A customer as last seen, with the score of that record: one document a customer, as on the compacted topic `customers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CustomerView {
    /// The record.
    pub customer: crate::Customer,
    /// Its score.
    pub score: Score,
    /// What became of the customer, where that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub outcome: Option<KnownOutcome>,
}

/// What became of a customer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct KnownOutcome {
    /// Whether the customer left.
    pub churned: bool,
    /// When, ms since the epoch.
    pub event_time: i64,
    /// How it is known.
    pub known_from: String,
}

impl CustomerView {
    /// Whether the customer has left: nobody to save, nothing at risk.
    pub fn left(&self) -> bool {
        self.outcome.as_ref().is_some_and(|outcome| outcome.churned)
    }
}
