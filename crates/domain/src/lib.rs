//! The words of the domain, used everywhere: in code, on topics, in the API, on the screens.
//!
//! Each type here is the JSON form of one topic's value. Parsing raw bytes of a source into these types is the contract check's
//! job (`vigie-contracts` and the pipelines); nothing here does I/O or reads a clock.

mod alert;
mod anomaly;
mod assignment;
mod customer;
mod feature;
mod page;
mod score;
mod shop;
mod stats;
mod time;
pub mod topics;
mod user;

pub use alert::{Alert, AlertState, Evidence};
pub use anomaly::{Anomaly, Origin};
pub use assignment::{Assignment, AssignmentState, Drawn, Manager, Outcome};
pub use customer::{Customer, CustomerId};
pub use feature::{
    AuditEntry, FeatureRow, Prediction, ScoredOutcome, ShadowScore, Trigger, features_hash, fingerprint,
};
pub use page::{MappedPageEvent, PageCount, PageEvent};
pub use score::{CustomerView, FeatureReason, KnownOutcome, Score, Verdict};
pub use shop::{EventType, Pattern, SessionPattern, ShopEvent};
pub use stats::{CountryStats, EventStat, GenderStats};
pub use time::{iso8601, parse_iso8601};
pub use user::User;
