//! `page-count`: page views longer than 100 ms, counted by page in windows of five seconds.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde::{Deserialize, Serialize};
use vigie_streams::serde::{FnSerde, I64, Ignored, Json};
use vigie_streams::{Consumed, Produced, Store, StreamsBuilder, TimeWindows, Topology, Windowed};

use super::engine::{Bench, EngineOptions};
use super::generate::{PAGES, USERS, long_views};
use crate::measure::Figure;

/// Counts of pages in windows of five seconds, through a repartition topic.
#[derive(Debug, Clone, Args)]
pub struct PageCount {
    #[command(flatten)]
    options: EngineOptions,
}

/// What the count needs of a page view.
#[derive(Clone, Serialize, Deserialize)]
struct View {
    name: String,
    duration: i64,
}

/// The topology, from a topic to another.
pub fn topology(views: &str, results: &str) -> Result<Topology> {
    let mut builder = StreamsBuilder::new();
    builder
        .stream(views, Consumed::with(Ignored, Json::<View>::new()))
        .filter(|(), view| view.duration > 100)
        .group_by(|(), view| view.name.clone())
        .windowed_by(TimeWindows::tumbling(Duration::from_secs(5)).grace(Duration::from_secs(86_400)))
        .count(Store::named("page-count"))
        .to_stream()
        .to(results, Produced::with(FnSerde::text(window_key), I64));
    Ok(builder.build()?)
}

fn window_key(windowed: &Windowed<String>) -> String {
    format!("{}@{}", windowed.key, windowed.window.start)
}

impl PageCount {
    /// Runs it.
    pub fn run(&self) -> Result<Figure> {
        let options = &self.options;
        let bench = Bench::new(options, "counts", PAGES, USERS)?;
        let long = long_views(options.records());
        // Each goes through the repartition topic, and each makes a result.
        bench.measure(
            "page-count",
            topology(&options.topic, "counts")?,
            "counts",
            (long, 2 * long),
            |_, figure| Ok(figure),
        )
    }
}
