//! Data contracts: what a record of a topic must look like, who owns it, how private each field is.
//!
//! A contract is a YAML file in the shape of the Open Data Contract Standard 3.1 (`contracts/*.yaml` at the root of the repository,
//! built into the program, overridable from a folder). [`Contract::check`] turns raw bytes into a typed record or into a
//! [`Violation`] that names the rule, the field and what would be right.
//!
//! Invariants:
//! - no bytes make a check panic, and its memory is bounded by the size limit of the contract;
//! - a message never repeats the value of a confidential or restricted field;
//! - no clock, and no I/O but [`Contracts::load_folder`];
//! - personal data is [`Pii`] from the parser on.

mod check;
mod coerce;
mod contract;
mod odcs;
mod pii;
mod set;
mod violation;

pub use contract::{
    Classification, Contract, ContractError, FieldInfo, Limits, People, Retention, UnknownFields,
};
pub use pii::Pii;
pub use set::Contracts;
pub use violation::Violation;
