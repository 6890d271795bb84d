//! The workloads, one file each.

pub mod log_append;
pub mod log_read;
