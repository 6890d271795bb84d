//! Counts page views in windows of five seconds, on an embedded log in a temporary folder:
//! `cargo run -p vigie-streams --example page_count`. What it prints can be recounted from the records that it writes first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use vigie_log::{BatchBuilder, Log, ProducerConfig, SystemClock, TopicPartition, TopicSpec};
use vigie_log_embedded::{EmbeddedConfig, EmbeddedLog};
use vigie_streams::serde::{FnSerde, I64};
use vigie_streams::{
    Config, Consumed, Produced, State, Store, Streams, StreamsBuilder, TimeWindows, Topology, TopologyError,
    Windowed,
};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct PageEvent {
    name: String,
    user: String,
    date: i64,
    duration: i64,
}

/// R2 -> R4: page views longer than 100 ms, counted by page and window.
fn topology() -> Result<Topology, TopologyError> {
    let mut builder = StreamsBuilder::new();
    builder
        .stream("R2", Consumed::json::<Option<String>, PageEvent>())
        .filter(|_, event| event.duration > 100)
        .group_by(|_, event| event.name.clone())
        .windowed_by(TimeWindows::tumbling(Duration::from_secs(5)))
        .count(Store::named("page-count").retention(Duration::from_secs(600)))
        .to_stream()
        .to("R4", Produced::with(FnSerde::text(page_window), I64));
    builder.build()
}

fn page_window(windowed: &Windowed<String>) -> String {
    format!("=>{}{}{}", windowed.window.start, windowed.window.end, windowed.key)
}

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let log =
        EmbeddedLog::open(folder.path().join("log"), EmbeddedConfig::new(Arc::new(SystemClock::new())))?;
    for topic in ["R2", "R4"] {
        // These events are dated 1970: the log must not think them old.
        log.admin().create_topic(&TopicSpec::new(topic, 2).with("retention.ms", "-1"))?;
    }
    let mut producer = log.producer(ProducerConfig::default())?;
    producer.begin()?;
    let mut batch = BatchBuilder::new();
    let mut long_views = 0;
    for n in 0..1_000_i64 {
        let event = PageEvent {
            name: format!("P{}", n % 2 + 1),
            user: format!("U{}", n % 3 + 1),
            date: n * 10,
            duration: n * 37 % 9_000,
        };
        long_views += i64::from(event.duration > 100);
        batch.push(n * 10, None, Some(&serde_json::to_vec(&event)?), &[]);
    }
    producer.append(&TopicPartition::new("R2", 0), &mut batch)?;
    producer.commit()?;

    let topology = topology()?;
    println!("{}", topology.describe());
    let config =
        Config::new("pages", Arc::clone(&log) as Arc<dyn Log>).state_dir(folder.path().join("state"));
    let app = Streams::new(topology, config).start()?;
    if !app.wait_for(State::Running, Duration::from_secs(10)) {
        return Err(app.error().unwrap_or_else(|| String::from("not running after 10 s")).into());
    }
    let start = Instant::now();
    let mut emitted = 0;
    while emitted < long_views && start.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(20));
        emitted = log.admin().offsets("R4")?.iter().map(|bounds| bounds.latest).sum();
    }
    println!("{long_views} views of more than 100 ms, {emitted} counts emitted");
    let counts = app.window_store::<String, i64>("page-count")?;
    for (window, count) in counts.all()? {
        println!("{} from {:>5} ms: {count} views", window.key, window.start);
    }
    println!("{}", serde_json::to_string_pretty(&app.metrics())?);
    app.close(Duration::from_secs(10));
    Ok(())
}
