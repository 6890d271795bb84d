//! The real router over loopback, with SQLite stores and a log in memory.

#[cfg(test)]
mod api;
#[cfg(test)]
mod live;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod security;
