//! `restore`: the state of `user-total` from its changelog, after its local files were lost; then a restart with them.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use super::engine::{Bench, EngineOptions, round};
use super::generate::{PAGES, USERS};
use super::logs::{Kind, in_another_process};
use super::user_total::{STORE, TOTALS, topology};
use crate::measure::{Figure, Meter};

/// The state of user-total from its changelog, and a restart with local files. On Kafka `user-total` must have run before, with the same
/// topic and application.
#[derive(Debug, Clone, Args)]
pub struct Restore {
    #[command(flatten)]
    options: EngineOptions,
    /// How many users.
    #[arg(long, visible_alias = "users", default_value_t = USERS)]
    keys: u64,
}

impl Restore {
    /// Runs it.
    pub fn run(&self) -> Result<Figure> {
        let mut options = self.options.clone();
        let on_kafka = options.log.log == Kind::Kafka;
        let temporary = tempfile::tempdir()?;
        let folder = options.log.data.get_or_insert_with(|| temporary.path().to_path_buf()).clone();
        if !on_kafka {
            in_another_process(
                &[
                    "user-total",
                    "--data",
                    &folder.display().to_string(),
                    "--records",
                    &options.records().to_string(),
                    "--keys",
                    &self.keys.to_string(),
                    "--topic",
                    &options.topic,
                ]
                .map(String::from),
            )?;
        }
        let bench = Bench::new(&options, TOTALS, PAGES, self.keys)?;
        let changelog = bench.count(&format!("{}-{STORE}-changelog", options.application))?;
        ensure!(changelog > 0, "there is no changelog to restore from: run user-total first");
        if folder.join("state").exists() {
            bench.forget_state()?;
        }
        let meter = Meter::start()?;
        let (app, restore) = bench.start(topology(&options.topic, &bench.results)?)?;
        let figure = meter.stop("restore", options.log.name(), changelog)?;
        let entries = app.store::<String, i64>(STORE)?.approximate_len();
        ensure!(app.close(Duration::from_secs(60)), "the program did not close in a minute");
        let (app, warm) = bench.start(topology(&options.topic, &bench.results)?)?;
        drop(app);
        Ok(bench
            .describe(figure)
            .with("keys", self.keys)
            .with("entries", entries)
            .with("startup_s", round(restore))
            .with("warm_restart_s", round(warm)))
    }
}
