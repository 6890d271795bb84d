//! Where records come from: CSV files, the agency scenario, the randomuser service, page views, shop events.
//!
//! Each of them is a [`Source`]; a [`Runner`] drives sources on threads of their own and hands their records to a [`Publish`].
//!
//! Invariants:
//! - the same seed and the same clock give the same records;
//! - a source never reads a clock: it is told the time ([`Moment`]);
//! - every rate is configuration;
//! - a record keeps the order of its source, and a source goes on only when what it emitted is durable.
//!
//! This crate does not check contracts: a row that cannot be a customer is emitted as it is, so that the check downstream puts
//! it into `anomalies` with its line.

pub mod agency;
pub mod csv;
mod pages;
mod publish;
mod random;
mod runner;
mod shop;
mod source;
pub mod users;

pub use agency::{Agency, AgencyOptions};
pub use csv::{CsvOptions, CsvSource, read_customers};
pub use pages::{PageEventMaker, PageOptions, PageSource};
pub use publish::{Publish, PublishError};
pub use runner::{Runner, SourceStatus};
pub use shop::{ShopOptions, ShopSource};
pub use source::{Moment, Source, SourceInfo, SourceRecord, Step, Then};
pub use users::{ReplayServer, UsersOptions, UsersSource, UsersStatus};
