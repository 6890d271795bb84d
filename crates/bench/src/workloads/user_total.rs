//! `user-total`: the sum of durations of each user, with its changelog and every update in a topic; then the same state again without its
//! local files, and with them.

use anyhow::Result;
use clap::Args;
use serde::{Deserialize, Serialize};
use vigie_streams::serde::{Json, Utf8};
use vigie_streams::{Consumed, Produced, Store, StreamsBuilder, Topology};

use super::engine::{Bench, EngineOptions};
use super::generate::{page_views, topic};
use crate::measure::Figure;

/// Sums by user, a million of them.
#[derive(Debug, Clone, Args)]
pub struct UserTotal {
    #[command(flatten)]
    options: EngineOptions,
    /// How many users.
    #[arg(long, default_value_t = 1_000_000)]
    users: u64,
}

#[derive(Clone, Serialize, Deserialize)]
struct View {
    duration: i64,
}

fn topology() -> Result<Topology> {
    let mut builder = StreamsBuilder::new();
    builder
        .stream("views", Consumed::with(Utf8, Json::<View>::new()))
        .map_values(|view| view.duration)
        .group_by_key()
        .reduce(|a, b| a + b, Store::named("user-total"))
        .to_stream()
        .to("totals", Produced::default());
    Ok(builder.build()?)
}

impl UserTotal {
    /// Runs it.
    pub fn run(&self) -> Result<Figure> {
        let bench = Bench::new()?;
        topic(&*bench.log, "views")?;
        topic(&*bench.log, "totals")?;
        page_views(&*bench.log, "views", self.options.records, self.users)?;
        let records = self.options.records;
        let figure = bench.measure("user-total", topology()?, &self.options, "totals", records)?;
        let changelog = bench.count("bench-user-total-changelog")?;
        let (app, warm) = bench.start(topology()?, &self.options)?;
        drop(app);
        bench.forget_state()?;
        let (app, restore) = bench.start(topology()?, &self.options)?;
        drop(app);
        Ok(figure
            .with("users", self.users)
            .with("warm_restart_s", (warm * 1e4).round() / 1e4)
            .with("restore_s", (restore * 1e4).round() / 1e4)
            .with("changelog_records", changelog))
    }
}
