//! Who takes care of whom: proposals, approvals, hold-outs, outcomes.

use serde::{Deserialize, Serialize};

use crate::CustomerId;

/// Where an assignment stands.
///
/// ```text
/// proposed ──approve──▶ approved ──undo──▶ proposed
///     └──undo──▶ undone          held_out (drawn at random, never proposed)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AssignmentState {
    /// Computed, waiting for a person.
    Proposed,
    /// A person said yes.
    Approved,
    /// Taken back.
    Undone,
    /// In the randomised control group: gets no manager, so that the effect can be measured.
    HeldOut,
}

/// An account manager.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Manager {
    /// Identity.
    pub id: String,
    /// Name to show.
    pub name: String,
    /// How many customers at most.
    pub capacity: u32,
    /// Two-letter states that the manager covers; empty: everywhere.
    #[serde(default)]
    pub locations: Vec<String>,
    /// What the manager can do; customers need skills by the rules of the configuration.
    #[serde(default)]
    pub skills: Vec<String>,
    /// Customers (by id) whom the manager takes care of already: they take places, and would stay with the manager.
    #[serde(default)]
    pub customers: Vec<CustomerId>,
}

/// The draw that put a customer into a group of the trial: it is made once, and stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Drawn {
    /// Event time of the score that it was made at, ms since the epoch.
    pub event_time: i64,
    /// Probability of leaving that was predicted then, before anybody acted.
    pub probability: f64,
    /// Share that was held out at random.
    pub holdout_share: f64,
}

/// An assignment, as on `assignments`: each change of state is a new record under the customer's key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Assignment {
    /// The customer.
    pub customer_id: CustomerId,
    /// The manager; absent when held out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub manager_id: Option<String>,
    /// Where it stands.
    pub state: AssignmentState,
    /// Probability of leaving when it was computed.
    pub probability: f64,
    /// What the customer is worth, in the agency's currency.
    pub value: f64,
    /// Expected value saved: probability x value x effect - cost.
    pub expected_value_saved: f64,
    /// Where the effect comes from: `measured` or `assumed`.
    pub effect_basis: String,
    /// Model version behind it.
    pub model_version: String,
    /// When it was computed or last changed, ms since the epoch.
    pub updated_at: i64,
    /// Who changed it last: `planner` or a user's name.
    pub by: String,
    /// How the customer came into the trial.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub drawn: Option<Drawn>,
    /// Why this manager, French.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub why_fr: String,
    /// Why this manager, English.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub why_en: String,
}

/// What became of a customer, as on `outcomes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Outcome {
    /// The customer.
    pub customer_id: CustomerId,
    /// Whether the customer left.
    pub churned: bool,
    /// When, ms since the epoch.
    pub event_time: i64,
    /// How it is known, for example `scenario` or `crm`.
    pub known_from: String,
}
