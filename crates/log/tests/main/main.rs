//! The simulated log obeys the contract; its faults and the publisher do what they say.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests, and the helpers beside them"
)]

mod contract;
mod decoders;
mod faults;
mod publisher;
