//! Proposals and assignments, as the server sees them.

use serde::{Deserialize, Serialize};
use vigie_domain::{Assignment, Manager};

use super::{Answer, Words};

/// Proposes who takes care of whom and records what people decide.
pub trait Planner: Send + Sync {
    /// All assignments: proposals first, the most valuable first, then what was decided.
    fn standing(&self) -> Vec<Assignment>;
    /// One customer's.
    fn of(&self, customer: &str) -> Option<Assignment>;
    /// The managers.
    fn managers(&self) -> Vec<Manager>;
    /// Adds a manager, or changes the one with this id.
    fn put_manager(&self, manager: Manager, by: &str) -> Answer<Manager>;
    /// Removes a manager.
    fn remove_manager(&self, id: &str, by: &str) -> Answer<Manager>;
    /// How the last proposal compares with simpler orders.
    fn comparison(&self) -> Option<Comparison>;
    /// Computes proposals anew; how many changed.
    fn propose(&self, by: &str) -> Answer<usize>;
    /// A person says yes.
    fn approve(&self, customer: &str, by: &str) -> Answer<Assignment>;
    /// A person takes it back.
    fn undo(&self, customer: &str, by: &str) -> Answer<Assignment>;
    /// What the data says about the effect of a manager, once it has been measured.
    fn effect(&self) -> Option<EffectReport>;
    /// Value saved so far, once enough outcomes are known.
    fn saved(&self) -> Option<Saved>;
}

/// Expected value saved by three orders with the same number of managers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Comparison {
    /// By expected value saved.
    pub this_order: f64,
    /// By risk.
    pub risk_order: f64,
    /// At random.
    pub random_order: f64,
    /// What the figures rest on.
    pub basis: Words,
}

/// A difference in percentage points with its 95 % interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Points {
    /// The difference; below zero: less churn.
    pub points: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What a measurement of an effect says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EffectVerdict {
    /// Less churn, and the interval does not hold zero.
    Beneficial,
    /// The interval holds zero.
    NoMeasurableEffect,
    /// More churn, and the interval does not hold zero.
    Harmful,
}

/// Does a manager help?
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EffectReport {
    /// The column that says who was treated.
    pub treatment: String,
    /// The plain difference.
    pub difference: Points,
    /// The difference adjusted for who they are.
    pub adjusted: Option<Points>,
    /// Of the plain difference.
    pub p_value: Option<f64>,
    /// In a word.
    pub verdict: EffectVerdict,
    /// In a sentence, French.
    pub text_fr: String,
    /// In a sentence, English.
    pub text_en: String,
    /// By what rule customers are ranked, given this.
    pub rule: Words,
    /// Customers with the treatment.
    pub n_treated: u64,
    /// Customers without it.
    pub n_control: u64,
}

/// Value saved, with its 95 % interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Saved {
    /// The estimate.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// What it rests on.
    pub basis: Words,
}
