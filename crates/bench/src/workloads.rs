//! The workloads, one file each.

pub mod churn;
pub mod demo;
pub mod log_append;
pub mod log_read;
