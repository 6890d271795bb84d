//! Data contracts: what a record of a topic must look like, who owns it, how private each field is.
//!
//! Invariants: no I/O, no clock. Personal data is [`Pii`] from the parser on.

mod pii;

pub use pii::Pii;
