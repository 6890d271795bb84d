//! What the workloads of the engine share: options, the log, and the run from the first record to the last commit.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use vigie_log::{Log, Reader, TopicPartition};
use vigie_streams::{Config, MetricsSnapshot, ProcessingGuarantee, State, Streams, Topology};

use super::generate::topic;
use super::logs::{Kind, LogOptions, OpenLog, in_another_process};
use crate::measure::{Figure, Meter, age};

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
    /// Where the log is.
    #[command(flatten)]
    pub log: LogOptions,
    /// The topic of the page views. On the embedded log it is filled first, outside the measured time; on Kafka it must be there
    /// (`vigie-bench produce`).
    #[arg(long, default_value = "views")]
    pub topic: String,
    /// The topic of the results; each workload has its own when not given.
    #[arg(long)]
    pub results: Option<String>,
    /// The application's id. On Kafka each workload wants one of its own: it names the group and the changelogs.
    #[arg(long, default_value = "bench")]
    pub application: String,
    /// How many records; 5 million when not given.
    #[arg(long)]
    pub records: Option<u64>,
    /// What a crash may do to results.
    #[arg(long, value_enum, default_value_t = Guarantee::ExactlyOnce)]
    pub guarantee: Guarantee,
    /// Stream threads.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Milliseconds between commits.
    #[arg(long, default_value_t = 100)]
    pub commit_ms: u64,
    /// The last result of each key once a commit, instead of each.
    #[arg(skip)]
    pub record_cache: bool,
    /// MiB of memory for all state; the engine's default when not given.
    #[arg(long)]
    pub budget_mb: Option<usize>,
}

impl EngineOptions {
    /// How many records.
    pub fn records(&self) -> u64 {
        self.records.unwrap_or(5_000_000)
    }
}

/// A log with page views in it, and a folder for state.
pub struct Bench<'o> {
    options: &'o EngineOptions,
    /// The topic of the results.
    pub results: String,
    /// Removed at the end, unless the user named one.
    _temporary: Option<tempfile::TempDir>,
    folder: PathBuf,
    log: OpenLog,
    shared: Arc<dyn Log>,
}

impl<'o> Bench<'o> {
    /// Opens the log, filled with page views of `pages` pages and `users` users, and makes the topic of the results.
    pub fn new(options: &'o EngineOptions, results: &str, pages: u64, users: u64) -> Result<Self> {
        let (temporary, folder) = match &options.log.data {
            Some(folder) => (None, folder.clone()),
            None => {
                let temporary = tempfile::tempdir().context("making a folder for the log")?;
                let folder = temporary.path().to_path_buf();
                (Some(temporary), folder)
            }
        };
        if options.log.log == Kind::Embedded && !folder.join("log").exists() {
            let text = |name: &str, value: &dyn ToString| [format!("--{name}"), value.to_string()];
            let arguments = [
                text("data", &folder.display()),
                text("topic", &options.topic),
                text("records", &options.records()),
                text("pages", &pages),
                text("users", &users),
            ];
            let arguments = [vec![String::from("produce")], arguments.concat()].concat();
            in_another_process(&arguments)?;
        }
        let log = options.log.open(&folder)?;
        let shared = log.shared();
        let results = options.results.clone().unwrap_or_else(|| results.to_owned());
        let topics = shared.admin().list_topics(false)?;
        if options.log.log == Kind::Kafka && !topics.contains(&options.topic) {
            bail!(
                "there is no topic `{}`: write it first, with `vigie-bench produce --bootstrap ... --topic {}`",
                options.topic,
                options.topic
            );
        }
        if !topics.contains(&results) {
            topic(&*shared, &results)?;
        }
        Ok(Self { options, results, _temporary: temporary, folder, log, shared })
    }

    /// Starts a topology; gives it, running, with the seconds that this took.
    pub fn start(&self, topology: Topology) -> Result<(Streams, f64)> {
        let begin = Instant::now();
        let options = self.options;
        let mut config = Config::new(options.application.as_str(), Arc::clone(&self.shared))
            .state_dir(self.folder.join("state"))
            .threads(options.threads)
            .commit_interval(Duration::from_millis(options.commit_ms))
            .record_cache(options.record_cache)
            .guarantee(match options.guarantee {
                Guarantee::ExactlyOnce => ProcessingGuarantee::ExactlyOnce,
                Guarantee::AtLeastOnce => ProcessingGuarantee::AtLeastOnce,
            });
        if let Some(mb) = options.budget_mb {
            config = config.memory_budget(mb << 20);
        }
        let app = Streams::new(topology, config).start()?;
        if !app.wait_for(State::Running, Duration::from_secs(600)) {
            bail!("not running: {}", app.error().unwrap_or_default());
        }
        Ok((app, begin.elapsed().as_secs_f64()))
    }

    /// Deletes the local state.
    pub fn forget_state(&self) -> Result<()> {
        std::fs::remove_dir_all(self.folder.join("state")).context("deleting the state")
    }

    /// Processes everything until the results have the records expected, and the sinks have written `written` in all: the figure from the
    /// start to the last commit. `at_end` sees the program before it is closed (not on Kafka).
    pub fn measure(
        &self,
        name: &str,
        topology: Topology,
        (expect, written): (u64, u64),
        at_end: impl FnOnce(&Streams, Figure) -> Result<Figure>,
    ) -> Result<Figure> {
        let meter = Meter::start()?;
        let (app, startup) = self.start(topology)?;
        let cached = self.options.record_cache;
        // Each record is read once, and once more behind a repartition topic.
        let reads = self.options.records() + (written - expect);
        let mut first = None;
        loop {
            let metrics = app.metrics();
            if first.is_none() && metrics.records_in > 0 {
                first = Some(age());
            }
            let done =
                if cached { metrics.records_in >= reads } else { self.is_done(&metrics, expect, written)? };
            if done {
                break;
            }
            if let Some(error) = app.error() {
                bail!("stopped: {error}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        // Kafka's offsets count the ends of transactions too, so that there the last commit is waited for by closing.
        let on_kafka = matches!(self.log, OpenLog::Kafka(_));
        let stop = |app: Streams| ensure_closed(app.close(Duration::from_secs(60)));
        let (name_of_log, records) = (self.options.log.name(), self.options.records());
        let figure = if on_kafka || cached {
            // Nobody knows how many results there will be: closing commits the last.
            stop(app)?;
            meter.stop(name, name_of_log, records)?
        } else {
            let figure = at_end(&app, meter.stop(name, name_of_log, records)?)?;
            stop(app)?;
            self.check(expect)?;
            figure
        };
        let first = round(first.unwrap_or_default());
        Ok(self.describe(figure).with("startup_s", round(startup)).with("first_record_s", first))
    }

    fn is_done(&self, metrics: &MetricsSnapshot, expect: u64, written: u64) -> Result<bool> {
        Ok(metrics.records_out >= written
            && match self.log {
                OpenLog::Embedded(_) => self.count(&self.results)? >= expect,
                OpenLog::Kafka(_) => true,
            })
    }

    /// Exactly the results expected, where the log's offsets count records and nothing else.
    fn check(&self, expect: u64) -> Result<()> {
        let found = self.count(&self.results)?;
        let exact = self.options.guarantee == Guarantee::ExactlyOnce;
        ensure!(found == expect || !exact && found > expect, "{found} results where {expect} were expected");
        Ok(())
    }

    /// Adds how the engine ran.
    pub fn describe(&self, figure: Figure) -> Figure {
        let guarantee = match self.options.guarantee {
            Guarantee::ExactlyOnce => "exactly-once",
            Guarantee::AtLeastOnce => "at-least-once",
        };
        let figure = figure.with("guarantee", guarantee).with("threads", self.options.threads);
        if self.options.record_cache { figure.with("record_cache", true) } else { figure }
    }

    /// The last value of each key of a topic, numbers of 8 bytes, added up.
    pub fn sum_of_last(&self, topic: &str) -> Result<i64> {
        let ends = self.shared.admin().offsets(topic)?;
        let partitions: Vec<TopicPartition> =
            (0_u32..).zip(&ends).map(|(partition, _)| TopicPartition::new(topic, partition)).collect();
        let mut reader = self.shared.reader(&partitions)?;
        let mut last: HashMap<Vec<u8>, i64> = HashMap::new();
        let behind = |reader: &dyn Reader| {
            partitions.iter().zip(&ends).any(|(at, end)| reader.position(at).unwrap_or(0) < end.latest)
        };
        while behind(&*reader) {
            for fetched in reader.poll(Duration::from_secs(60))? {
                for record in fetched.batch.iter() {
                    let number = record.value.and_then(|value| value.try_into().ok());
                    let number = number.map(i64::from_be_bytes).context("a result that is no number")?;
                    last.insert(record.key.unwrap_or_default().to_vec(), number);
                }
            }
        }
        Ok(last.values().sum())
    }

    /// How many records a topic has.
    pub fn count(&self, topic: &str) -> Result<u64> {
        let bounds = self.shared.admin().offsets(topic)?;
        Ok(bounds.iter().map(|p| u64::try_from(p.latest - p.earliest).unwrap_or(0)).sum())
    }
}

fn ensure_closed(closed: bool) -> Result<()> {
    ensure!(closed, "the program did not close in a minute");
    Ok(())
}

/// Seconds, to a tenth of a millisecond.
pub fn round(seconds: f64) -> f64 {
    (seconds * 1e4).round() / 1e4
}
