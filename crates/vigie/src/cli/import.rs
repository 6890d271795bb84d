//! `vigie import`: customers from a CSV file to a topic.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use vigie_domain::topics;
use vigie_log::{Clock as _, LogError, Publisher, SystemClock, TopicSpec};
use vigie_sources::csv::{read_customers_with, record};
use vigie_sources::{Publish, SourceRecord};

use super::interrupt::Interrupt;
use super::{Exit, Failure, Global, Outcome, out, place};

/// Rows per commit.
const BATCH: usize = 1_000;
/// So many bad rows are named; the others are counted.
const NAMED: usize = 20;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vigie import new_customers.csv\n  vigie import customers.csv --dry-run --json\n\n\
                        Bad rows are imported too, as they stand, so that they show among the anomalies with their line; the exit code is 3 then."
)]
pub(super) struct Import {
    /// The file: UTF-8, UTF-16 or Latin-1; comma, semicolon or tab
    file: PathBuf,
    /// The topic
    #[arg(long, default_value = topics::COSTUMERCHURN)]
    topic: String,
    /// The separator; default: found out
    #[arg(long, value_name = "CHARACTER")]
    delimiter: Option<char>,
    /// Check the file and write nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Default)]
struct Count {
    good: u64,
    bad: u64,
    noted: u64,
    named: Vec<serde_json::Value>,
}

impl Import {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let mut rows = read_customers_with(&self.file, delimiter(self.delimiter)?)?;
        let clock = Arc::new(SystemClock::new());
        let publisher = if self.dry_run { None } else { Some(self.publisher(global, &clock)?) };
        for note in rows.notes() {
            out::note(format_args!("{}: {note}", self.file.display()));
        }
        let interrupt = Interrupt::listen();
        let mut progress = out::Progress::bytes("importing", rows.size());
        let mut count = Count::default();
        let mut batch: Vec<SourceRecord> = Vec::with_capacity(BATCH);
        let mut more = true;
        while more && !interrupt.asked() {
            match rows.next() {
                Some(row) => {
                    self.tell(&row, &mut count);
                    batch.push(record(&self.topic, &row, clock.now()));
                }
                None => more = false,
            }
            if batch.len() >= BATCH || !more {
                if let Some(publisher) = &publisher
                    && !batch.is_empty()
                {
                    publisher.publish(std::mem::take(&mut batch), clock.now()).map_err(|error| {
                        let failure = Failure::from(error.first.to_shared());
                        Failure::new(
                            failure.exit,
                            format!("{error}; {} row(s) before them were imported", count.good + count.bad),
                        )
                    })?;
                }
                batch.clear();
                progress.set(rows.position());
            }
        }
        progress.finish();
        self.summary(global, &count, interrupt.asked())
    }

    fn publisher(&self, global: &Global, clock: &Arc<SystemClock>) -> Result<Box<dyn Publish>, Failure> {
        let config = place::config(global)?;
        let data = place::existing_data(global, &config)?;
        let log = place::open(&data, &config, true)?;
        match log.admin().create_topic(&TopicSpec::new(self.topic.as_str(), config.log.partitions)) {
            Ok(()) | Err(LogError::TopicExists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Box::new(Publisher::start(log, Duration::from_millis(1), Arc::<SystemClock>::clone(clock))?))
    }

    fn tell(&self, row: &Result<vigie_sources::csv::Row, vigie_sources::csv::RowError>, count: &mut Count) {
        let file = self.file.display();
        match row {
            Ok(row) => {
                count.good += 1;
                if !row.notes.is_empty() {
                    count.noted += 1;
                }
                if count.noted as usize <= NAMED {
                    for note in &row.notes {
                        out::note(format_args!("{file}, line {}: note: {note}", row.line));
                    }
                }
            }
            Err(error) => {
                count.bad += 1;
                if count.named.len() < NAMED {
                    out::note(format_args!("{file}, {error}"));
                    count
                        .named
                        .push(json!({"line": error.line, "column": error.column, "reason": error.reason}));
                } else if count.named.len() == NAMED {
                    out::note("further bad rows are counted, not named");
                    count.named.push(json!({"reason": "further bad rows are counted, not named"}));
                }
            }
        }
    }

    fn summary(&self, global: &Global, count: &Count, interrupted: bool) -> Outcome {
        let Count { good, bad, noted, named } = count;
        if global.json {
            out::line(
                json!({"file": self.file, "topic": self.topic, "good": good, "bad": bad, "noted": noted,
                "written": !self.dry_run, "interrupted": interrupted, "bad_rows": named}),
            )?;
        } else {
            let done = if self.dry_run { "checked, nothing written" } else { "imported" };
            out::line(format_args!("{good} good row(s) {done}, {bad} bad, {noted} with notes"))?;
            if *bad > 0 && !self.dry_run {
                out::line(format_args!(
                    "the bad rows are on `{}` as they stand; `anomalies` says what is wrong once vigie runs",
                    self.topic
                ))?;
            }
        }
        if interrupted {
            return Err(Failure::new(Exit::Failure, "interrupted; the rows so far are imported"));
        }
        Ok(if *bad > 0 { Exit::BadInput } else { Exit::Ok })
    }
}

/// The separator as one byte.
pub(super) fn delimiter(character: Option<char>) -> Result<Option<u8>, Failure> {
    match character {
        None => Ok(None),
        Some(c) if c.is_ascii() && c != '"' && c != '\n' && c != '\r' => Ok(u8::try_from(c).ok()),
        Some(c) => Err(Failure::new(
            Exit::Usage,
            format!("--delimiter {c:?}: one ASCII character other than a quote or a line end"),
        )),
    }
}
