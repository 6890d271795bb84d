//! Something that a person should look at.

use serde::{Deserialize, Serialize};

use crate::Origin;

/// Where an alert stands.
///
/// ```text
/// open ──▶ acknowledged ──▶ resolved
///   │  ◀── undo                ▲
///   └──▶ snoozed ──(time)──▶ open / resolved
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// Nobody has looked yet.
    Open,
    /// Somebody has taken it.
    Acknowledged,
    /// Hidden until a time.
    Snoozed,
    /// Done.
    Resolved,
}

/// A record that led to the alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Evidence {
    /// The record.
    pub origin: Origin,
    /// Its event time, ms since the epoch.
    pub event_time: i64,
}

/// An alert, as on `alerts`: each change of state is a new record under the same key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Alert {
    /// Deterministic: rule, subject and window.
    pub id: String,
    /// `large-purchase` or `repeated-logins`.
    pub rule: String,
    /// Whom it is about.
    pub subject: String,
    /// Start of the window that it is about, ms since the epoch.
    pub window_start: i64,
    /// End of it, inclusive.
    pub window_end: i64,
    /// The value that exceeded the threshold (EUR, number of logins).
    pub value: f64,
    /// The threshold.
    pub threshold: f64,
    /// The records that led to it.
    pub evidence: Vec<Evidence>,
    /// Where it stands.
    pub state: AlertState,
    /// When it was found or last changed, ms since the epoch.
    pub updated_at: i64,
    /// Who changed it last; absent for the rule itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<String>,
    /// Until when it is snoozed, ms since the epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub snoozed_until: Option<i64>,
}
