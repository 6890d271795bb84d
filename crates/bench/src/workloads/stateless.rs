//! `stateless`: page views longer than 100 ms go on to another topic. What is measured is reading, parsing and writing.

use anyhow::Result;
use clap::Args;
use serde::{Deserialize, Serialize};
use vigie_streams::serde::{Json, Utf8};
use vigie_streams::{Consumed, Produced, StreamsBuilder, Topology};

use super::engine::{Bench, EngineOptions};
use super::generate::{PAGES, USERS, long_views};
use crate::measure::Figure;

/// A filter from topic to topic.
#[derive(Debug, Clone, Args)]
pub struct Stateless {
    #[command(flatten)]
    options: EngineOptions,
}

#[derive(Clone, Serialize, Deserialize)]
struct View {
    name: String,
    user: String,
    date: i64,
    duration: i64,
}

/// The topology, from a topic to another.
pub fn topology(views: &str, results: &str) -> Result<Topology> {
    let mut builder = StreamsBuilder::new();
    builder
        .stream(views, Consumed::with(Utf8, Json::<View>::new()))
        .filter(|_, view| view.duration > 100)
        .to(results, Produced::with(Utf8, Json::new()));
    Ok(builder.build()?)
}

impl Stateless {
    /// Runs it.
    pub fn run(&self) -> Result<Figure> {
        let options = &self.options;
        let bench = Bench::new(options, "long", PAGES, USERS)?;
        let long = long_views(options.records());
        let topology = topology(&options.topic, &bench.results)?;
        bench.measure("stateless", topology, (long, long), |_, figure| Ok(figure))
    }
}
