//! The log on Apache Kafka obeys the contract, survives its brokers, and says what is wrong. All on real brokers.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests, and the helpers beside them"
)]

mod brokers;
mod chaos;
mod contract;
mod crash;
mod failover;
mod groups;
mod kafka;
mod proxy;
mod retention;
mod security;
mod streams;
mod streams_groups;
mod trouble;
