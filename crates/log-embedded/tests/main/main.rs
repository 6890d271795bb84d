//! The embedded log obeys the contract, survives being killed at any moment, and says what is wrong with its folder.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests, and the helpers beside them"
)]

mod contract;
mod crash;
mod dice;
mod model;
mod size;
mod trouble;
