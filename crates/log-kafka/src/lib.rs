//! Apache Kafka behind the Log traits.
//!
//! The data path is librdkafka's, in batches from end to end; what a group's members share is decided by a [`membership`] protocol.
//! The only crate that names `rdkafka`.

mod config;
pub mod membership;
mod security;
mod wire;

pub use config::{KafkaConfig, MembershipMode};
pub use security::{Sasl, ScramHash, Secret, Security, Tls};
