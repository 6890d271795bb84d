//! SQLite and the folder archive pass the contract suites; sinks neither lose nor repeat.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops at the first surprise"
)]

mod archive;
mod crash;
mod sink;
mod sqlite;
