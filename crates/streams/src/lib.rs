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
    BufferConfig, CogroupedKStream, Consumed, EmitEarly, EmitStrategy, FixedOrSliding, GlobalKTable, Grouped,
    JoinWindows, Joined, KGroupedStream, KGroupedTable, KStream, KTable, Key, Printed, Produced,
    Repartitioned, SessionWindowedKStream, SessionWindows, ShutDown, SlidingWindows, Split, Store,
    StoreBuilder, StreamJoined, StreamsBuilder, Suppressed, TableJoined, TimeWindowedKStream, TimeWindows,
    UnlimitedWindows, Value, ValueTransformer, WindowedCogroupedKStream, Windows,
};
pub use error::{BoxError, StateError, StreamsError, TopologyError};
pub use processor::{
    FixedKeyContext, FixedKeyProcessor, Processor, ProcessorContext, PunctuationId, PunctuationType,
};
pub use record::{Headers, OwnedHeader, Record, RecordMetadata, Window, Windowed};
pub use runtime::{
    Config, ErrorHandler, ErrorResponse, FailedRecord, HostInfo, KeyMetadata, MemoryUse, MetricsSnapshot,
    PartitionLag, ProcessingGuarantee, RestoreEvent, RestorePhase, RestoreProgress, StandbySnapshot, State,
    StoreMetadata, Streams, TaskSnapshot, UncaughtErrorPolicy,
};
pub use state::{
    KeyValueStore, PutResult, ReadOnlySessionStore, ReadOnlyStore, ReadOnlyVersionedStore,
    ReadOnlyWindowStore, SessionKey, SessionStore, Staleness, StateStore, StoreVisitor,
    VersionedKeyValueStore, VersionedRecord, WindowKey, WindowStore,
};
pub use topology::{
    EdgeView, NodeView, Optimization, StoreView, SubTopologyView, TaskId, TopicView, Topology, TopologyView,
    UnknownOptimization,
};

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use state::fuzzing;

#[cfg(feature = "simulation")]
#[doc(hidden)]
pub use runtime::simulation;

/// The code blocks of the README and of the book's chapters about the engine are tests.
#[cfg(doctest)]
mod book {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../../../docs/operators-windows.md")]
    struct Windows;
    #[doc = include_str!("../../../docs/operators.md")]
    struct Operators;
    #[doc = include_str!("../../../docs/operators-joins.md")]
    struct Joins;
    #[doc = include_str!("../../../docs/from-kafka-streams.md")]
    struct FromKafkaStreams;
    #[doc = include_str!("../../../docs/tuning.md")]
    struct Tuning;
}
