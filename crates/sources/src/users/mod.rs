//! The users service: a real HTTP client of randomuser.me (or of the local [`ReplayServer`] that answers like it).

mod client;
mod replay;
mod source;

pub use client::{Batch, Client, ClientOptions, FetchError};
pub use replay::{ReplayError, ReplayServer};
pub use source::{UsersOptions, UsersSource, UsersStatus};
