//! The program as its users meet it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests, and the helpers beside them"
)]

mod cli;
mod faults;
mod kafka;
