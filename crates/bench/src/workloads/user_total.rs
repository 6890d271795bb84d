//! `user-total`: the sum of durations of each user, with its changelog and every update in a topic; `pipe`: the same between two topics, until
//! it is stopped; `memory`: the same with more users than fit into memory.

use std::io::Read;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use vigie_streams::serde::{Json, Utf8};
use vigie_streams::{Config, Consumed, Produced, State, Store, Streams, StreamsBuilder, Topology};

use super::engine::{Bench, EngineOptions};
use super::generate::{PAGES, USERS, views};
use super::logs::LogOptions;
use crate::measure::Figure;

/// The name of the store.
pub const STORE: &str = "user-total";
/// The topic of the results.
pub const TOTALS: &str = "totals";

/// Sums by user, a million of them.
#[derive(Debug, Clone, Args)]
pub struct UserTotal {
    #[command(flatten)]
    options: EngineOptions,
    /// How many users.
    #[arg(long, visible_alias = "users", default_value_t = USERS)]
    keys: u64,
}

#[derive(Clone, Serialize, Deserialize)]
struct View {
    duration: i64,
}

/// The topology, from a topic to another.
pub fn topology(views: &str, totals: &str) -> Result<Topology> {
    let mut builder = StreamsBuilder::new();
    builder
        .stream(views, Consumed::with(Utf8, Json::<View>::new()))
        .map_values(|view| view.duration)
        .group_by_key()
        .reduce(|a, b| a + b, Store::named(STORE))
        .to_stream()
        .to(totals, Produced::default());
    Ok(builder.build()?)
}

impl UserTotal {
    /// Runs it.
    pub fn run(&self) -> Result<Figure> {
        let options = &self.options;
        let bench = Bench::new(options, TOTALS, PAGES, self.keys)?;
        let expect = (options.records(), options.records());
        let topology = topology(&options.topic, &bench.results)?;
        let figure = bench.measure("user-total", topology, expect, |_, figure| Ok(figure))?;
        Ok(figure.with("keys", self.keys))
    }
}

/// Sums by user where the users do not fit into the memory that the state may take: it goes to disk, and every sum is right at the end.
#[derive(Debug, Clone, Args)]
pub struct Memory {
    #[command(flatten)]
    options: EngineOptions,
    /// How many users.
    #[arg(long, default_value_t = 10_000_000)]
    keys: u64,
}

impl Memory {
    /// Runs it.
    pub fn run(&self) -> Result<Figure> {
        let mut options = self.options.clone();
        options.budget_mb = Some(options.budget_mb.unwrap_or(64));
        // Of the users of each partition a part is seen: ten million entries in all.
        options.records = Some(options.records.unwrap_or(12_000_000));
        let bench = Bench::new(&options, TOTALS, PAGES, self.keys)?;
        let expect = (options.records(), options.records());
        let topology = topology(&options.topic, &bench.results)?;
        let (records, keys) = (options.records(), self.keys);
        let figure = bench.measure("memory", topology, expect, |app, figure| {
            let memory = app.metrics().memory;
            let total: u64 = views(records, PAGES, keys).map(|view| view.duration).sum();
            // The last results are in the log a moment before they are in the store.
            std::thread::sleep(Duration::from_millis(500));
            let (mut entries, mut sum) = (0_u64, 0);
            for entry in app.store::<String, i64>(STORE)?.all() {
                sum += entry?.1;
                entries += 1;
            }
            ensure!(sum == total as i64, "the sums come to {sum} where the page views have {total}");
            Ok(figure
                .with("entries", entries)
                .with("budget_bytes", memory.budget)
                .with("state_bytes", memory.caches + memory.tables)
                .with("spills", memory.spills))
        })?;
        Ok(figure.with("keys", self.keys))
    }
}

/// Sums by user from one topic to another, until standard input ends or the process is stopped.
#[derive(Debug, Clone, Args)]
pub struct Pipe {
    #[command(flatten)]
    log: LogOptions,
    /// The topic to read.
    #[arg(long = "in")]
    from: String,
    /// The topic to write.
    #[arg(long = "out")]
    to: String,
    /// Milliseconds between commits.
    #[arg(long, default_value_t = 100)]
    commit_interval_ms: u64,
    /// The application's id.
    #[arg(long, default_value = "pipe")]
    application: String,
}

impl Pipe {
    /// Runs it.
    pub fn run(&self) -> Result<()> {
        let options = self.log.clone().by_address();
        let temporary = tempfile::tempdir()?;
        let folder = options.data.as_deref().unwrap_or(temporary.path());
        let log = options.open(folder)?;
        let config = Config::new(self.application.as_str(), log.shared())
            .state_dir(folder.join("state"))
            .commit_interval(Duration::from_millis(self.commit_interval_ms));
        let app = Streams::new(topology(&self.from, &self.to)?, config).start()?;
        let runs = app.wait_for(State::Running, Duration::from_secs(60));
        ensure!(runs, "not running: {}", app.error().unwrap_or_default());
        eprintln!("running");
        // Ends with the input, which nobody writes to.
        std::io::stdin().read_to_end(&mut Vec::new())?;
        ensure!(app.close(Duration::from_secs(60)), "the program did not close in a minute");
        Ok(())
    }
}
