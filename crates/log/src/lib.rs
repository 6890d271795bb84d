//! The log: records, time, and the traits that every log implements.
//!
//! A *log* is a set of topics; a topic is a set of partitions; a partition is an ordered, append-only sequence of
//! [records](RecordRef). What one machine needs is embedded (`vigie-log-embedded`), what outgrows it is Apache Kafka; tests use
//! the simulated log of this crate. All of them pass the same contract suite (`contract`).
//!
//! Invariants:
//! - the traits are synchronous and work in batches; nothing here is `async`;
//! - a reader never sees a record of an open or aborted transaction;
//! - time and randomness come from outside ([`Clock`], seeds), so that a simulation can drive everything.
//!
//! This crate does no disk or network I/O itself.

mod batch;
pub mod broker;
mod clock;

pub mod contract;
pub mod coordinator;
mod error;
mod partitioner;
mod publisher;
mod read;
mod settings;
mod simulated;
mod topic;
mod traits;

pub use batch::{BatchBuilder, CorruptBatch, Header, Headers, RecordBatch, RecordRef, Records};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use error::{Consequence, LogError, Result};
pub use partitioner::{murmur2, partition_for_key};
pub use publisher::{Ack, Message, Publisher, TryPublishError};
pub use read::{Span, read_spans};
pub use settings::{TopicDefaults, TopicSettings, check_spec, is_internal};
pub use simulated::{Faults, SimulatedLog};
pub use topic::{
    GroupDescription, Offset, PartitionDescription, PartitionId, PartitionOffsets, TopicDescription,
    TopicPartition, TopicSpec,
};
pub use traits::{
    Admin, Fetched, GroupSubTopology, GroupTopology, Log, Member, MemberConfig, MemberEndpoint, Membership,
    Polled, Producer, ProducerConfig, Reader, StandbyTask, StartAt,
};
