//! Stream processing on a log: what Kafka Streams is to the JVM, for Rust.
//!
//! A topology is written with the DSL ([`StreamsBuilder`], [`KStream`], [`KTable`]) or with processors of one's own
//! ([`Processor`]), checked by [`StreamsBuilder::build`], tried out with [`TopologyTestDriver`] and run by [`Streams`]. State lives in local stores with a
//! changelog; the default is exactly once from topic to topic.
//!
//! Invariants: no `async`, no clock and no randomness of its own; what is uncommitted never reaches a store on disk.
//! This crate talks to a log only through `vigie_log`'s traits, and owns no network or broker.

mod driver;
mod dsl;
mod error;
mod processor;
mod record;
mod runtime;
pub mod serde;
mod state;
mod topology;

pub use driver::{DriverConfig, RawRecord, TestInputTopic, TestOutputTopic, TopologyTestDriver};
pub use dsl::{
    Consumed, Grouped, Joined, KGroupedStream, KGroupedTable, KStream, KTable, Key, Produced, Repartitioned,
    Split, Store, StoreBuilder, StreamsBuilder, TimeWindowedKStream, TimeWindows, Value,
};
pub use error::{BoxError, StateError, StreamsError, TopologyError};
pub use processor::{
    FixedKeyContext, FixedKeyProcessor, Processor, ProcessorContext, PunctuationId, PunctuationType,
};
pub use record::{Headers, OwnedHeader, Record, RecordMetadata, Window, Windowed};
pub use runtime::{
    Config, ErrorHandler, ErrorResponse, FailedRecord, MetricsSnapshot, PartitionLag, ProcessingGuarantee,
    RestoreEvent, RestorePhase, RestoreProgress, StandbySnapshot, State, Streams, TaskSnapshot,
    UncaughtErrorPolicy,
};
pub use state::{
    KeyValueStore, ReadOnlyStore, ReadOnlyWindowStore, SessionKey, SessionStore, Staleness, WindowKey,
    WindowStore,
};
pub use topology::{
    EdgeView, NodeView, StoreView, SubTopologyView, TaskId, TopicView, Topology, TopologyView,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
