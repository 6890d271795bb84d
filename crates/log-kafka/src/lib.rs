//! Apache Kafka behind the Log traits.
//!
//! ```no_run
//! use std::sync::Arc;
//! use vigie_log::Log;
//! use vigie_log_kafka::KafkaLog;
//!
//! let log: Arc<dyn Log> = Arc::new(KafkaLog::connect("kafka://localhost:9092")?);
//! # Ok::<(), vigie_log::LogError>(())
//! ```
//! The data path is librdkafka's, in batches from end to end; what a group's members share is decided by a [`membership`] protocol.
//! It is the only crate that names `rdkafka`, and the only one with `unsafe` code, in `native`.
//!
//! Invariants:
//! - readers and members read committed records only;
//! - every producer is transactional, also one without an id of its own;
//! - librdkafka's callbacks only take notes; whatever can fail happens inside the call of a user;
//! - a topic is never created by being mentioned.

mod admin;
mod client;
mod config;
mod context;
mod doorbell;
mod error;
mod fetcher;
mod log;
mod member;
pub mod membership;
mod native;
mod producer;
mod reader;
mod security;
mod token;
mod wire;

pub use config::{KafkaConfig, MembershipMode};
pub use log::KafkaLog;
pub use security::{Sasl, ScramHash, Secret, Security, Tls};
