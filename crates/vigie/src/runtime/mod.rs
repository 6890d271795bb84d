//! A running program: what is started, in which order, and how it stops.
//!
//! ```text
//! start:  folder ▶ log ▶ topics ▶ model ▶ stores ▶ publisher ▶ planner ▶ engine ▶ sinks ▶ archive ▶ server ▶ sources ▶ ready
//! stop:   sources ▶ server ▶ planner ▶ engine ▶ sinks ▶ archive ▶ publisher ▶ log
//! ```
//! Sources stop first and the log last, so that what was accepted is processed as far as possible; what is left is processed at the
//! next start. A `kill -9` at any moment loses nothing that was acknowledged either.

mod archive;
mod printer;
mod sources;
mod start;
mod topics;

use std::net::SocketAddr;
use std::path::PathBuf;

pub use sources::{StatusView, UsersView};
pub use start::Running;
pub(crate) use start::read_all;
pub use topics::{TOPICS, ensure, ensure_agreed};

use crate::config::Config;

/// What to run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// All settings.
    pub config: Config,
    /// With the demo's sources.
    pub demo: bool,
}

/// What can go wrong at start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The data folder.
    #[error("data folder {path}: {source}; check its owner and permissions, or choose another with --data")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No place for data is known.
    #[error("no data folder: neither --data nor XDG_DATA_HOME nor HOME is set; give one with --data DIR")]
    NoFolder,
    /// The log. Its error is the source as well, so that whoever asks for the cause finds it.
    #[error("{0}")]
    Log(#[from] vigie_log::LogError),
    /// The stores; the same.
    #[error("{0}")]
    Store(#[from] vigie_stores::StoreError),
    /// The model.
    #[error(transparent)]
    Model(#[from] crate::model::ModelError),
    /// What the features are.
    #[error(transparent)]
    Features(#[from] crate::features::rebuild::RebuildError),
    /// Contracts.
    #[error(transparent)]
    Contract(#[from] vigie_contracts::ContractError),
    /// The topology.
    #[error(transparent)]
    Topology(#[from] vigie_streams::TopologyError),
    /// The engine.
    #[error(transparent)]
    Streams(#[from] vigie_streams::StreamsError),
    /// The planner.
    #[error(transparent)]
    Planner(#[from] crate::planner::PlannerError),
    /// The file of customers that is to be sent; the same.
    #[error("{0}")]
    Csv(#[from] vigie_sources::csv::CsvError),
    /// A source.
    #[error("source: {0}")]
    Source(String),
    /// The address to listen on.
    #[error("cannot listen on {address}: {source}; {hint}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        source: std::io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// The server.
    #[error(transparent)]
    Server(#[from] vigie_server::ServerError),
    /// A thread cannot be started.
    #[error("starting a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// Starts everything and returns once it serves.
pub fn start(options: &RunOptions) -> Result<Running, RuntimeError> {
    Running::start(options)
}

/// Runs until a signal says stop (SIGINT, SIGTERM). `ready` is called with the address once it serves.
pub fn run(options: &RunOptions, ready: impl FnOnce(SocketAddr)) -> Result<(), RuntimeError> {
    let running = start(options)?;
    ready(running.address());
    wait_for_signal()?;
    tracing::info!("stopping");
    running.stop();
    Ok(())
}

/// Blocks until SIGINT or SIGTERM.
fn wait_for_signal() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    })
}

/// The data folder of a configuration: its own, or `$XDG_DATA_HOME/vigie`, or `~/.local/share/vigie`.
pub fn data_folder(config: &Config) -> Result<PathBuf, RuntimeError> {
    if let Some(folder) = &config.data {
        return Ok(folder.clone());
    }
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_DATA_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/share")))
        .map(|base| base.join("vigie"))
        .ok_or(RuntimeError::NoFolder)
}
