//! The pipelines, one file each: pure functions from a builder to operators. `topology.rs` lists them in reading order.

pub mod checked;
pub mod churn;
pub mod features;
pub mod history;
pub mod instant;
pub mod logins;
pub mod pages;
pub mod session;
pub mod shop_alerts;
pub mod shop_sessions;
pub mod shop_stats;
pub mod users;

#[cfg(test)]
mod tests;
