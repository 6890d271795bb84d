//! Local state: typed caches in front of bytes, in memory or on disk.
//!
//! ```text
//! operator ──▶ TypedStore: typed cache (dirty entries) ─flush─▶ overlay (bytes, uncommitted) ─commit─▶ Committed (bytes)
//!                                                        └────▶ changelog batch                   └▶ Resident ─now and then─▶ disk
//! ```
//! Invariants:
//! - nothing uncommitted ever reaches the committed store: a crash or an abort drops cache and overlay;
//! - every key in the overlay is in the cache too, until the next commit;
//! - values and the changelog's position reach the committed store in one atomic batch; the disk may be behind it (see `resident`);
//! - readers from other threads see committed state only.

mod budget;
mod committed;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod contract_queries;
mod folder;
mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod global;
mod join_keys;
mod key_value;
mod lru;
mod memory;
mod persistent;
mod query;
mod registry;
mod resident;
mod scan;
mod session;
mod session_query;
mod supplied;
mod table;
mod typed;
mod unsent;
mod versioned;
mod versioned_query;
mod versions;
mod window;

use std::any::Any;
use std::sync::Arc;

use vigie_log::{BatchBuilder, RecordBatch, Timestamp};

pub(crate) use budget::MemoryBudget;
pub(crate) use committed::{Backend, Committed, StoreBatch, StoreMark, Writes};
pub(crate) use folder::{note_damage, open_state, remove_state};
pub(crate) use format::{KeyFormat, PlainKeys, SessionKeys, WindowKeys, ordered};
pub use format::{SessionKey, WindowKey};
pub(crate) use global::{GlobalRows, Globals};
pub(crate) use join_keys::{
    CombinedKey, CombinedKeys, SidedKey, SidedKeys, StampedKey, StampedKeys, TimedKey, TimedKeys,
};
pub use key_value::KeyValueStore;
pub(crate) use key_value::after_prefix;
pub(crate) use lru::LruStore;
pub(crate) use memory::{KeptMemory, MemoryBackend};
#[cfg(any(test, feature = "simulation"))]
pub(crate) use memory::{SurvivingBackend, Survivors};
pub(crate) use persistent::PersistentBackend;
pub(crate) use query::StoreTypes;
pub use query::{ReadOnlyStore, ReadOnlyWindowStore};
pub use registry::Staleness;
pub(crate) use registry::{Freshness, StoreRegistry};
pub use session::SessionStore;
pub(crate) use session::{find_sessions, sessions_between};
pub use session_query::ReadOnlySessionStore;
pub(crate) use supplied::Supplier;
pub use supplied::{StateStore, StoreVisitor};
pub(crate) use typed::{Retention, TypedStore, encode_value};
pub(crate) use unsent::Before;
pub use versioned::{PutResult, VersionedKeyValueStore, VersionedRecord};
pub(crate) use versioned::{VersionKeys, VersionSlot, VersionedStore, find_as_of, history};
pub use versioned_query::ReadOnlyVersionedStore;
pub(crate) use versions::{Cell, CellSerde};
pub use window::WindowStore;
pub(crate) use window::{windows_between, windows_of};

use crate::error::StateError;

/// A store of a task, without its types.
pub(crate) trait AnyStore: Any + Send {
    fn name(&self) -> &Arc<str>;
    /// Moves dirty entries to the overlay and, if there is one, to the changelog.
    fn flush(&mut self, changelog: Option<&mut BatchBuilder>) -> Result<(), StateError>;
    /// Whether anything changed since the last commit.
    fn is_dirty(&self) -> bool;
    /// Whether what is uncommitted takes more memory than it may, or has more than `entries` entries.
    fn is_full(&self, entries: usize) -> bool;
    /// Counts the typed cache's memory against this budget.
    fn count_in(&mut self, budget: &MemoryBudget);
    /// Adds the overlay to a batch of the committed store.
    fn stage(&mut self, batch: &mut StoreBatch, mark: Option<i64>) -> Result<(), StateError>;
    /// After the batch was written: forgets the overlay, keeps within `cache_entries`.
    fn committed(&mut self, cache_entries: usize);
    /// Forgets all that is uncommitted.
    fn abort(&mut self);
    /// Applies changelog records at or behind `from` to the committed store. `position` is the offset behind the last of them.
    fn restore(&mut self, batches: &[RecordBatch], from: i64, position: i64) -> Result<u64, StateError>;
    /// What the committed store knows of its changelog.
    fn mark(&self) -> Result<Option<StoreMark>, StateError>;
    /// Empties the committed store.
    fn wipe(&mut self) -> Result<(), StateError>;
    /// The committed store, for readers.
    fn reader(&self) -> Arc<dyn Committed>;
    /// Entries, about.
    fn approximate_len(&self) -> u64;
    /// The largest timestamp put.
    fn observed_time(&self) -> Timestamp;
}

/// A value with the timestamp of the record that made it, as bytes: `timestamp (8, big endian) | value`.
pub(crate) const TIMESTAMP_BYTES: usize = 8;
