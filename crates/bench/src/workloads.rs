//! The workloads, one file each.

pub mod demo;
pub mod log_append;
pub mod log_read;
