//! Names of topics and tables: the defaults of the systems that Vigie replaces. Configuration may rename any of them.

/// Customers' records, one JSON object a row (spelt so by the producers that exist).
pub const COSTUMERCHURN: &str = "costumerchurn";
/// Customers entered by hand in the form.
pub const TEST3: &str = "test3";
/// Batches of users as received from the randomuser service.
pub const RANDOM_USER_DATA: &str = "random_user_data";
/// One record a user, exploded from the batches.
pub const USERS: &str = "users";
/// Totals by country.
pub const COUNTRY_STATS: &str = "country-stats";
/// Totals by gender.
pub const GENDER_STATS: &str = "gender-stats";
/// Page events that are only read.
pub const R1: &str = "R1";
/// Page events of the supplier.
pub const R2: &str = "R2";
/// Page events with name and user mapped.
pub const R3: &str = "R3";
/// Counts per page and five-second window.
pub const R4: &str = "R4";
/// Shop events.
pub const EVENEMENTS: &str = "evenements";
/// Running statistics of shop events.
pub const EVENEMENTS_STATS: &str = "evenements-stats";
/// Patterns recognised in sessions.
pub const SESSION_PATTERNS: &str = "session-patterns";
/// Customers as last seen, with their score; compacted.
pub const CUSTOMERS: &str = "customers";
/// Churn scores.
pub const CHURN_SCORES: &str = "churn-scores";
/// Proposals and assignments of managers, every change of state.
pub const ASSIGNMENTS: &str = "assignments";
/// Alerts, every change of state.
pub const ALERTS: &str = "alerts";
/// Who churned or stayed.
pub const OUTCOMES: &str = "outcomes";
/// Everything that features are made of, by customer and in the order in which it is taken into account: records, events, outcomes.
/// Reading it again gives the same features.
pub const CUSTOMER_HISTORY: &str = "customer-history";
/// The features that each score was made of, without personal columns.
pub const CUSTOMER_FEATURES: &str = "customer-features";
/// The challenger's scores beside the champion's.
pub const SHADOW_SCORES: &str = "shadow-scores";
/// Outcomes with the prediction that stood before them.
pub const SCORED_OUTCOMES: &str = "scored-outcomes";
/// Account managers, every change; compacted.
pub const MANAGERS: &str = "managers";
/// The models in service, in shadow and before, with their files; compacted, one partition. Only where several instances share a log.
pub const MODELS: &str = "models";
/// What the instances compute features from; compacted, one partition. Only where several instances share a log.
pub const FEATURE_DEFINITIONS: &str = "feature-definitions";
/// Who did what, and when.
pub const AUDIT: &str = "audit";
/// Records that break their contract, from every source.
pub const ANOMALIES: &str = "anomalies";

/// Topics that others write: what comes in.
pub const SOURCES: [&str; 6] = [COSTUMERCHURN, TEST3, RANDOM_USER_DATA, R1, R2, EVENEMENTS];

/// Header that ties an answer to its request.
pub const CORRELATION_ID: &str = "correlation-id";
/// Header with the wall-clock time of publication, ms since the epoch as decimal text.
pub const PUBLISHED_AT: &str = "published-at";
/// Header that names the clock on which a record's event time runs, where it is not the wall clock (a scenario, a replay): records
/// of different clocks must not make each other late.
pub const TIME_DOMAIN: &str = "time-domain";
/// Headers of `R4`: start and end of the window (ms, decimal text) and the page.
pub const WINDOW_START: &str = "window-start";
/// See [`WINDOW_START`].
pub const WINDOW_END: &str = "window-end";
/// See [`WINDOW_START`].
pub const PAGE: &str = "page";
