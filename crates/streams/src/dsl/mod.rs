//! The DSL: streams, tables, groups, windows, joins. Each call adds nodes to the builder's graph and returns a handle.

mod builder;
mod grouped;
mod grouped_table;
pub(crate) mod operators;
pub(crate) mod options;
mod stores;
mod stream;
mod stream_process;
mod stream_table_join;
mod table;
mod windowed;
pub(crate) mod windows;

pub use builder::StreamsBuilder;
pub use grouped::KGroupedStream;
pub use grouped_table::KGroupedTable;
pub use options::{Consumed, Grouped, Joined, Key, Produced, Repartitioned, Store, Value};
pub use stores::StoreBuilder;
pub use stream::{KStream, Split};
pub use table::KTable;
pub use windowed::TimeWindowedKStream;
pub use windows::TimeWindows;
