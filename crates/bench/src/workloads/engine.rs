//! What the workloads of the engine share: options, the log, and the run from the first record to the last commit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use vigie_log::Log;
use vigie_log_embedded::EmbeddedLog;
use vigie_streams::{Config, ProcessingGuarantee, State, Streams, Topology};

use super::log_append::{Promise, open};
use crate::measure::{Figure, Meter};

/// The guarantee asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Guarantee {
    /// Results, state and positions in one transaction.
    ExactlyOnce,
    /// Positions behind the results.
    AtLeastOnce,
}

/// How the engine runs.
#[derive(Debug, Clone, Args)]
pub struct EngineOptions {
    /// How many records.
    #[arg(long, default_value_t = 5_000_000)]
    pub records: u64,
    /// What a crash may do to results.
    #[arg(long, value_enum, default_value_t = Guarantee::ExactlyOnce)]
    pub guarantee: Guarantee,
    /// Stream threads.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Milliseconds between commits.
    #[arg(long, default_value_t = 100)]
    pub commit_ms: u64,
}

/// A log and a folder for state, both gone at the end.
pub struct Bench {
    folder: tempfile::TempDir,
    /// The log.
    pub log: Arc<EmbeddedLog>,
}

impl Bench {
    /// An empty log on the disk.
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir().context("making a folder for the log")?;
        let log = open(&folder.path().join("log"), Promise::Interval)?;
        Ok(Self { folder, log })
    }

    /// Starts a topology; gives it, running, with the seconds that this took.
    pub fn start(&self, topology: Topology, options: &EngineOptions) -> Result<(Streams, f64)> {
        let begin = Instant::now();
        let config = Config::new("bench", Arc::clone(&self.log) as Arc<dyn Log>)
            .state_dir(self.folder.path().join("state"))
            .threads(options.threads)
            .commit_interval(Duration::from_millis(options.commit_ms))
            .guarantee(match options.guarantee {
                Guarantee::ExactlyOnce => ProcessingGuarantee::ExactlyOnce,
                Guarantee::AtLeastOnce => ProcessingGuarantee::AtLeastOnce,
            });
        let app = Streams::new(topology, config).start()?;
        if !app.wait_for(State::Running, Duration::from_secs(600)) {
            bail!("not running: {}", app.error().unwrap_or_default());
        }
        Ok((app, begin.elapsed().as_secs_f64()))
    }

    /// Deletes the local state.
    pub fn forget_state(&self) -> Result<()> {
        std::fs::remove_dir_all(self.folder.path().join("state")).context("deleting the state")
    }

    /// Processes everything until `results` has the records expected: the figure from the start to their commit.
    pub fn measure(
        &self,
        name: &str,
        topology: Topology,
        options: &EngineOptions,
        results: &str,
        expect: u64,
    ) -> Result<Figure> {
        let meter = Meter::start()?;
        let (app, startup) = self.start(topology, options)?;
        while self.count(results)? < expect {
            if let Some(error) = app.error() {
                bail!("stopped: {error}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let figure = meter.stop(name, "embedded", options.records)?;
        anyhow::ensure!(app.close(Duration::from_secs(60)), "the program did not close in a minute");
        let found = self.count(results)?;
        anyhow::ensure!(found == expect, "{found} results where {expect} were expected");
        let guarantee = match options.guarantee {
            Guarantee::ExactlyOnce => "exactly-once",
            Guarantee::AtLeastOnce => "at-least-once",
        };
        Ok(figure
            .with("guarantee", guarantee)
            .with("threads", options.threads)
            .with("startup_s", (startup * 1e4).round() / 1e4))
    }

    /// How many records a topic has.
    pub fn count(&self, topic: &str) -> Result<u64> {
        let bounds = self.log.admin().offsets(topic)?;
        Ok(bounds.iter().map(|p| u64::try_from(p.latest - p.earliest).unwrap_or(0)).sum())
    }
}
