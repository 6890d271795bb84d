//! Vigie: real-time customer analytics and churn prevention.
//!
//! The table of contents is [`topology`]: it lists the pipelines in the order in which data flows. Around it stand
//! [`config`], [`log`] (where the log is), [`features`] (what a score is made of), [`model`] (the models in service), [`learning`] (what outcomes
//! say), [`audit`] (who did what), [`sinks`] (what is written to which store), [`planner`] (who takes care of
//! whom), [`decisions`] (what is decided here counts for all instances), [`runtime`] (what is started, in which order, and how it stops) and [`cli`].

pub mod audit;
pub mod cli;
pub mod config;
pub mod decisions;
pub mod features;
pub mod learning;
pub mod log;
pub mod model;
pub mod pipelines;
pub mod planner;
pub mod ports;
pub mod runtime;
pub mod sinks;
pub mod topology;
