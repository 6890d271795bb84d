//! The real router over loopback, with SQLite stores and a log in memory.

mod api;
mod live;
mod rig;
mod security;
