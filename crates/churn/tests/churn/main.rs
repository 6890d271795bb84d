//! Integration tests of the churn crate, on the agency's own data and on tables made for the purpose.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod acceptance;
mod assignment;
mod data;
mod drift;
mod edges;
mod effects;
mod forest;
mod properties;
mod trees;
