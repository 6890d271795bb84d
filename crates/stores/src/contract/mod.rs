//! The contract suites: what every implementation of a store must do. Each function panics with the case that failed; tests of an
//! implementation call all of them on empty stores.

mod archive;
mod documents;
mod store;
mod tables;

pub use archive::archive;
pub use documents::documents;
pub use store::store;
pub use tables::tables;
