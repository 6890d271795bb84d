//! The contracts that come with the program, against good, bad and hostile records.

mod bad;
mod files;
mod properties;
mod real;

use std::sync::Arc;

use vigie_contracts::{Contract, Contracts};

/// The built-in contract of a topic.
pub fn contract(topic: &str) -> Arc<Contract> {
    Contracts::built_in().unwrap().find(topic).unwrap()
}
