//! The DSL: streams, tables, groups, windows, joins. Each call adds nodes to the builder's graph and returns a handle.

mod builder;
mod cogroup;
mod grouped;
mod grouped_table;
pub(crate) mod operators;
pub(crate) mod options;
mod print;
mod stores;
mod stream;
mod stream_process;
mod stream_table_join;
mod suppress;
mod table;
mod transform_values;
mod windowed;
mod windowed_aggregate;
pub(crate) mod windows;

pub use builder::StreamsBuilder;
pub use cogroup::{CogroupedKStream, FixedOrSliding, WindowedCogroupedKStream};
pub use grouped::KGroupedStream;
pub use grouped_table::KGroupedTable;
pub use options::{Consumed, Grouped, Joined, Key, Produced, Repartitioned, Store, Value};
pub use print::Printed;
pub use stores::StoreBuilder;
pub use stream::{KStream, Split};
pub use suppress::{BufferConfig, EmitEarly, ShutDown, Suppressed};
pub use table::KTable;
pub use transform_values::ValueTransformer;
pub use windowed::{SessionWindowedKStream, TimeWindowedKStream, Windows};
pub use windows::{EmitStrategy, SessionWindows, SlidingWindows, TimeWindows, UnlimitedWindows};
