//! The server: API, server-sent events, health, metrics, and the screens.
//!
//! [`App`] holds what is shown, behind traits ([`ports`]) that the program implements; [`start`] serves it on threads of its own,
//! [`serve`] on a runtime that is there already. What the stores hold is named in [`views`], which the sinks share.
//!
//! Invariants:
//! - state is changed by publishing to the log only: the server writes to no store;
//! - no request of another site changes anything, and no name but ours is answered;
//! - a slow or silent client costs a bounded amount of memory and no thread;
//! - nothing here reads the ambient clock or ambient randomness.

mod app;
mod http;
mod live;
mod metrics;
pub mod ports;
mod problem;
mod process;
mod routes;
pub mod views;
mod waiters;

pub use app::{App, Settings};
pub use http::serve::{Server, ServerError, serve, start, start_on};
pub use problem::{FieldProblem, Problem};
pub use process::ProcessStatus;
pub use routes::{openapi, router_of as router};
