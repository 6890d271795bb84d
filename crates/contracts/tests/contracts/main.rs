//! The contracts that come with the program, against good, bad and hostile records.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops at the first surprise"
)]

mod bad;
mod files;
mod properties;
mod real;

use std::sync::{Arc, LazyLock};

use vigie_contracts::{Contract, Contracts};

/// The built-in contract of a topic.
pub fn contract(topic: &str) -> Arc<Contract> {
    BUILT_IN.find(topic).unwrap()
}

/// The built-in contracts, read once.
pub static BUILT_IN: LazyLock<Contracts> = LazyLock::new(|| Contracts::built_in().unwrap());
