//! Names of the collections and tables that the sinks write and the server reads, and the shape of their items.
//!
//! Shared by both sides: a field renamed here is renamed everywhere. Times are ms since the epoch.

use serde::{Deserialize, Serialize};
use vigie_domain::{
    Alert, Anomaly, AssignmentState, Customer, CustomerView, KnownOutcome, Origin, Score, ShopEvent,
};

/// Collection: one [`CustomerDoc`] a customer, id = customer id.
pub const CUSTOMERS: &str = "customers";
/// Collection: every [`Score`], id = origin id.
pub const SCORES: &str = "scores";
/// Collection: every [`EventDoc`], id = origin id.
pub const EVENTS: &str = "events";
/// Collection: every `SessionPattern`, by its id.
pub const PATTERNS: &str = "patterns";
/// Collection: the newest state of every [`Alert`], by its id.
pub const ALERTS: &str = "alerts";
/// Collection: every [`AnomalyDoc`], by its id.
pub const ANOMALIES: &str = "anomalies";
/// Collection: the newest state of every `Assignment`, id = customer id.
pub const ASSIGNMENTS: &str = "assignments";
/// Collection: every `Outcome`, id = customer id.
pub const OUTCOMES: &str = "outcomes";
/// Collection: every `ScoredOutcome`, id = origin id.
pub const SCORED_OUTCOMES: &str = "scored_outcomes";
/// Collection: the newest `ShadowScore` of each challenger and customer, id = `challenger/customer`.
pub const SHADOW_SCORES: &str = "shadow_scores";
/// Collection: every `AuditEntry`, by its id.
pub const AUDIT: &str = "audit";
/// Collection: the users as received.
pub const RAW_USERS: &str = "randomUserCollection";
/// Table: users by id and time of ingestion.
pub const USER_TABLE: &str = "random_user_table";
/// An hour: a bucket of [`LATEST_USERS`].
pub const HOUR_MS: i64 = 3_600_000;
/// A day: a bucket of [`PAGE_COUNTS`].
pub const DAY_MS: i64 = 24 * HOUR_MS;
/// Table: users by hour of ingestion, newest first.
pub const LATEST_USERS: &str = "latest_users";
/// Table of `CountryStats` (and `avg_age`), by country.
pub const COUNTRY_STATS: &str = "country_stats";
/// Table of `GenderStats` (and `avg_age`), by gender.
pub const GENDER_STATS: &str = "gender_stats";
/// Table of `PageCount`, by day, newest window first, then page.
pub const PAGE_COUNTS: &str = "page_counts";
/// Table of [`EventStatRow`], by key.
pub const EVENT_STATS: &str = "event_stats";

/// Fields by which the server searches and sorts.
pub mod field {
    /// Of [`super::CustomerDoc`].
    pub const PROBABILITY: &str = "probability";
    /// Of [`super::CustomerDoc`].
    pub const VALUE: &str = "value";
    /// Of [`super::CustomerDoc`].
    pub const LEFT: &str = "left";
    /// Of [`super::CustomerDoc`].
    pub const NAME: &str = "name";
    /// Of [`super::CustomerDoc`].
    pub const COMPANY: &str = "company";
    /// Of [`super::CustomerDoc`].
    pub const UPDATED: &str = "updated";
    /// Of [`super::CustomerDoc`], scores and outcomes.
    pub const CUSTOMER_ID: &str = "customer_id";
    /// Of events, scores and anomalies.
    pub const EVENT_TIME: &str = "event_time";
    /// Of events.
    pub const USER_ID: &str = "user_id";
    /// Of events.
    pub const EVENT_TYPE: &str = "event_type";
    /// Of patterns and audit entries.
    pub const AT: &str = "at";
    /// Of audit entries.
    pub const AUDIT_SUBJECT: &str = "subject";
    /// Of audit entries.
    pub const ACTION: &str = "action";
    /// Of shadow scores.
    pub const CHALLENGER: &str = "challenger.model_version";
    /// Of scored outcomes.
    pub const OUTCOME_TIME: &str = "outcome_time";
    /// Of patterns.
    pub const PATTERN: &str = "pattern";
    /// Of alerts.
    pub const STATE: &str = "state";
    /// Of alerts.
    pub const SUBJECT: &str = "subject";
    /// Of alerts.
    pub const UPDATED_AT: &str = "updated_at";
    /// Of anomalies.
    pub const RULE: &str = "rule";
    /// Of anomalies.
    pub const ORIGIN_TOPIC: &str = "origin.topic";
    /// Of anomalies.
    pub const DETECTED_AT: &str = "detected_at";
    /// Of anomalies.
    pub const STATUS: &str = "status";
    /// Of outcomes.
    pub const CHURNED: &str = "churned";
    /// Of `page_counts`.
    pub const WINDOW_START: &str = "window_start";
    /// Of `latest_users`.
    pub const INGESTION_TIME: &str = "ingestion_time";
    /// Of `event_stats`.
    pub const KEY: &str = "key";
}

/// A customer with the newest score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CustomerDoc {
    /// Identity.
    pub customer_id: String,
    /// The record.
    pub customer: Customer,
    /// Its score.
    pub score: Score,
    /// Of the score, for sorting.
    pub probability: f64,
    /// What the customer is worth.
    pub value: f64,
    /// Of the record, for search.
    pub name: String,
    /// Of the record, for search.
    pub company: String,
    /// When this was written last.
    pub updated: i64,
    /// Event time of the record.
    pub event_time: i64,
    /// The weightiest reason, French.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub top_reason_fr: Option<String>,
    /// The weightiest reason, English.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub top_reason_en: Option<String>,
    /// Where the customer's assignment stands.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub assignment_state: Option<AssignmentState>,
    /// Whether the customer has left.
    #[serde(default)]
    pub left: bool,
    /// What became of the customer, where that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub outcome: Option<KnownOutcome>,
}

impl CustomerDoc {
    /// The document of a customer and a score.
    pub fn new(view: CustomerView, value: f64) -> Self {
        let left = view.left();
        let CustomerView { customer, score, outcome } = view;
        let updated = score.scored_at;
        let top = score.reasons.first();
        Self {
            customer_id: score.customer_id.0.clone(),
            probability: score.probability,
            value,
            name: customer.names.reveal().clone(),
            company: customer.company.clone(),
            updated,
            event_time: score.event_time,
            top_reason_fr: top.map(|reason| reason.text_fr.clone()),
            top_reason_en: top.map(|reason| reason.text_en.clone()),
            assignment_state: None,
            left,
            outcome,
            customer,
            score,
        }
    }
}

/// A score as it is kept: the domain's own JSON.
pub type ScoreDoc = Score;
/// An alert as it is kept: the domain's own JSON.
pub type AlertDoc = Alert;

/// A shop event as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EventDoc {
    /// The event.
    #[serde(flatten)]
    pub event: ShopEvent,
    /// Where it stands in the log.
    pub origin: Origin,
    /// Its event time, ms since the epoch.
    pub event_time: i64,
}

/// Something about a user, with the customer's name where the user is one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Named<T> {
    /// What it is.
    #[serde(flatten)]
    pub item: T,
    /// The customer's name; absent for users who are no customers.
    pub name: Option<String>,
}

/// Whether somebody has dealt with an anomaly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnomalyStatus {
    /// Not yet.
    #[default]
    Open,
    /// It was looked at and put aside.
    Discarded,
}

/// An anomaly as it is kept, and as the record on `anomalies` that changes its status: sinks store the newest of each id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AnomalyDoc {
    /// The anomaly.
    #[serde(flatten)]
    pub anomaly: Anomaly,
    /// Where it stands.
    #[serde(default)]
    pub status: AnomalyStatus,
}

/// One running statistic of shop events: key `total`, `type:achat` or `user:user1`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EventStatRow {
    /// What is counted.
    pub key: String,
    /// Events.
    pub count: u64,
    /// Purchases among them.
    pub purchases: u64,
    /// Sum of their prices, in cents.
    pub sales_cents: i64,
    /// Newest event.
    pub last_event: i64,
}
