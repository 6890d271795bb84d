//! `page-count`: page views longer than 100 ms, counted by page in windows of five seconds.

use std::io::Write;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use vigie_streams::serde::{FnSerde, I64, Ignored, Json};
use vigie_streams::{BoxError, Consumed, Produced, Store, StreamsBuilder, TimeWindows, Topology, Windowed};

use super::engine::{Bench, EngineOptions};
use super::generate::{PAGES, USERS, long_views};
use super::logs::Kind;
use crate::measure::Figure;

/// Counts of pages in windows of five seconds, through a repartition topic.
#[derive(Debug, Clone, Args)]
pub struct PageCount {
    #[command(flatten)]
    options: EngineOptions,
    /// The last count of each page and window once a commit, as Kafka Streams does by default, instead of each. On the embedded log the last counts are
    /// added up at the end and must be right.
    #[arg(long)]
    record_cache: bool,
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
        .to(results, Produced::with(FnSerde::write_only(window_key), I64));
    Ok(builder.build()?)
}

/// `<page>@<start of the window>`.
fn window_key(windowed: &Windowed<String>, out: &mut Vec<u8>) -> Result<(), BoxError> {
    out.extend_from_slice(windowed.key.as_bytes());
    Ok(write!(out, "@{}", windowed.window.start)?)
}

impl PageCount {
    /// Runs it.
    pub fn run(&self) -> Result<Figure> {
        let mut options = self.options.clone();
        options.record_cache = self.record_cache;
        let options = &options;
        let bench = Bench::new(options, "counts", PAGES, USERS)?;
        let long = long_views(options.records());
        // Each goes through the repartition topic, and each makes a result.
        let topology = topology(&options.topic, &bench.results)?;
        let figure = bench.measure("page-count", topology, (long, 2 * long), |_, figure| Ok(figure))?;
        if self.record_cache && options.log.log == Kind::Embedded {
            let sum = bench.sum_of_last(&bench.results)?;
            ensure!(sum == long as i64, "the last counts come to {sum} where {long} page views were long");
            return Ok(figure.with("results", bench.count(&bench.results)?));
        }
        Ok(figure)
    }
}
