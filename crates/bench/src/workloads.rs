//! The workloads, one file each.

pub mod churn;
pub mod churn_quality;
pub mod churn_whole;
pub mod compare;
pub mod demo;
pub mod engine;
pub mod generate;
pub mod instructions;
pub mod log_append;
pub mod log_read;
pub mod logs;
pub mod page_count;
pub mod restore;
pub mod stateless;
pub mod user_total;
