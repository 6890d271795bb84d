//! What runs a topology over a log: threads that own tasks, commits, restores, and what can be asked of them.

mod handlers;
mod instance;
pub(crate) mod output;

pub use handlers::{ErrorHandler, ErrorResponse, FailedRecord};
pub(crate) use instance::{Handlers, Instance, open_store};
