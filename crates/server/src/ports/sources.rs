//! Where records come from, as the server sees it.

use serde::{Deserialize, Serialize};

/// The sources of the running program.
pub trait Sources: Send + Sync {
    /// All of them.
    fn list(&self) -> Vec<SourceStatus>;
    /// The source of users, if it runs.
    fn users(&self) -> Option<UsersSource>;
}

/// One source.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// What it is: `csv`, `http`, `generator`, ...
    pub kind: String,
    /// Whether its records are made up.
    pub simulated: bool,
    /// Whether it replays a recording.
    pub recorded: bool,
    /// Its rate, where it has a fixed one.
    pub rate_per_s: Option<f64>,
    /// Whether it is at work.
    pub running: bool,
    /// Records published.
    pub published: u64,
    /// The last failure.
    pub last_error: Option<String>,
}

/// How the source of users is doing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct UsersSource {
    /// Where it asks.
    pub url: String,
    /// Whether that is a recording.
    pub recorded: bool,
    /// HTTP status, or the failure, of the last attempt.
    pub last_status: Option<String>,
    /// When it last succeeded, ms since the epoch.
    pub last_success: Option<i64>,
    /// When it will ask again, ms since the epoch.
    pub next_attempt: Option<i64>,
    /// Failures in a row.
    pub failures: u64,
}
