//! What runs a topology over a log: threads that own tasks, commits, restores, and what can be asked of them.

mod cleaning;
mod config;
mod global;
mod group;
mod handlers;
mod instance;
mod metrics;
pub(crate) mod output;
mod refused;
mod restore;
mod shared;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
mod standby;
mod status;
mod streams;
mod task;
mod thread;
mod topics;
mod whereabouts;
mod worker;

pub use config::{Config, ProcessingGuarantee, UncaughtErrorPolicy};
pub(crate) use global::{apply_global, open_globals};
pub use handlers::{ErrorHandler, ErrorResponse, FailedRecord};
pub(crate) use instance::{Handlers, Instance, open_store};
pub use metrics::{MemoryUse, MetricsSnapshot, PartitionLag, RestoreProgress, StandbySnapshot, TaskSnapshot};
pub use restore::{RestoreEvent, RestorePhase};
pub use status::State;
pub use streams::Streams;
pub use whereabouts::{HostInfo, KeyMetadata, StoreMetadata};
