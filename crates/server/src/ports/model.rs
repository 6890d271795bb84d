//! The churn model in service, as the server sees it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vigie_domain::{Customer, FeatureReason, Verdict};

use super::{Answer, Words};

/// The model in service.
pub trait ModelHandle: Send + Sync {
    /// Scores features by column. [`Invalid`](super::PortError::Invalid) when one is missing or impossible.
    fn score(&self, features: &BTreeMap<String, f64>) -> Answer<WhatIf>;
    /// The smallest change of one column that brings the customer below the threshold.
    fn smallest_change(&self, features: &BTreeMap<String, f64>) -> Option<SmallestChange>;
    /// All that is known about the model.
    fn card(&self) -> ModelCard;
    /// Version of the model in service.
    fn version(&self) -> String;
    /// From which probability on a customer is at risk.
    fn threshold(&self) -> f64;
    /// What a customer is worth, in the agency's currency.
    fn value_of(&self, customer: &Customer) -> f64;
}

/// A score that is tied to no record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct WhatIf {
    /// Calibrated probability of leaving.
    pub probability: f64,
    /// The same in log-odds.
    pub log_odds: f64,
    /// Log-odds of the usual customer.
    pub baseline_log_odds: f64,
    /// In a word.
    pub verdict: Verdict,
    /// All contributions, the weightiest first.
    pub reasons: Vec<FeatureReason>,
    /// What went in.
    pub features: BTreeMap<String, f64>,
    /// Which model.
    pub model_version: String,
    /// From which probability on the verdict is `will_churn`.
    pub threshold: f64,
}

/// One change that would be enough.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SmallestChange {
    /// The column.
    pub feature: String,
    /// Its value now.
    pub from: f64,
    /// The value that would be enough.
    pub to: f64,
    /// The probability then.
    pub probability: f64,
    /// In words, French.
    pub text_fr: String,
    /// In words, English.
    pub text_en: String,
}

/// A figure with its 95 % interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// One column of the training table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CardColumn {
    /// Its name.
    pub name: String,
    /// What it is used as.
    pub role: String,
    /// Why.
    pub reason: Words,
    /// Its coefficient, where it has one.
    pub coefficient: Option<f64>,
    /// Its mean in training, where it has one.
    pub mean: Option<f64>,
}

/// One bin of the calibration curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CalibrationBin {
    /// Mean predicted probability.
    pub predicted: f64,
    /// Share that left.
    pub observed: f64,
    /// Its 95 % interval: lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Customers in it.
    pub count: u64,
}

/// Quality on rows not seen in training.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ModelMetrics {
    /// Area under the ROC curve.
    pub auc: Option<Estimate>,
    /// Log-loss.
    pub log_loss: Option<Estimate>,
    /// Brier score.
    pub brier: Option<Estimate>,
    /// Average precision.
    pub average_precision: Option<Estimate>,
    /// Expected calibration error.
    pub ece: Option<Estimate>,
    /// Lift in the riskiest tenth.
    pub lift_top_decile: Option<Estimate>,
}

/// One point of the gains curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Gain {
    /// Share of all customers, the riskiest first.
    pub share: f64,
    /// Share of all leavers that is found among them.
    pub found: Estimate,
}

/// A kind of model that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CardCandidate {
    /// What it is.
    pub name: Words,
    /// Mean log-loss on folds that it had not seen.
    pub log_loss: f64,
    /// Mean difference to the best one, fold by fold.
    pub behind: f64,
    /// One standard error of that difference.
    pub standard_error: f64,
}

/// How much a column moves scores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CardImportance {
    /// The column.
    pub name: String,
    /// Mean size of its contribution in log-odds, whatever its direction.
    pub mean_size: Estimate,
}

/// The model card.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ModelCard {
    /// Version of the model.
    pub version: String,
    /// Rows learnt from.
    pub rows: u64,
    /// How many of them left.
    pub positives: u64,
    /// The columns of the training table.
    pub columns: Vec<CardColumn>,
    /// The constant, log-odds.
    pub intercept: f64,
    /// Quality.
    pub metrics: ModelMetrics,
    /// The calibration curve.
    pub calibration: Vec<CalibrationBin>,
    /// The gains curve, tenth by tenth.
    #[serde(default)]
    pub gains: Vec<Gain>,
    /// The kinds of models that were tried, from the simplest.
    #[serde(default)]
    pub candidates: Vec<CardCandidate>,
    /// What moves scores, the weightiest first.
    #[serde(default)]
    pub importance: Vec<CardImportance>,
    /// From which probability on the verdict is `will_churn`.
    pub threshold: f64,
    /// Fingerprint of the training table.
    pub training_hash: String,
    /// When it was trained, ms since the epoch, where that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trained_at: Option<i64>,
    /// The seed of folds and bootstrap.
    pub seed: u64,
    /// What else the reader should know.
    pub notes: Vec<Words>,
}
