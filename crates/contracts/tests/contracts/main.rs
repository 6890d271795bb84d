//! The contracts that come with the program, against good, bad and hostile records.

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

pub static BUILT_IN: LazyLock<Contracts> = LazyLock::new(|| Contracts::built_in().unwrap());
