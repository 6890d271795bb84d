//! Replays the rows of a file to `costumerchurn`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use vigie_domain::topics;
use vigie_log::Timestamp;

use super::{CsvError, Customers, Row, RowError, read_customers_with};
use crate::source::interval;
use crate::{Moment, Source, SourceInfo, SourceRecord, Step, Then};

/// Header with the line of the file that a record came from, decimal text.
pub const LINE_HEADER: &str = "csv-line";
/// At fast rates so many rows at most go out in one call.
const MAX_BATCH: usize = 500;
/// At fast rates calls come this far apart.
const TICK: Duration = Duration::from_millis(50);

/// How the replay behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct CsvOptions {
    /// Name of the source.
    pub name: String,
    /// The topic.
    pub topic: String,
    /// Rows a second; 0 switches the source off.
    pub rate: f64,
    /// Whether it begins anew at the end of the file.
    pub repeat: bool,
    /// The separator; `None`: found out.
    pub delimiter: Option<u8>,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            name: String::from("csv"),
            topic: topics::COSTUMERCHURN.to_owned(),
            rate: 1.0,
            repeat: false,
            delimiter: None,
        }
    }
}

/// The replay of one file.
pub struct CsvSource {
    path: PathBuf,
    options: CsvOptions,
    rows: Customers,
    /// Rows that were due before [`TICK`] was over.
    sent: u64,
    good: u64,
    bad: u64,
}

impl CsvSource {
    /// Opens the file and checks its header.
    pub fn open(path: &Path, options: CsvOptions) -> Result<Self, CsvError> {
        let rows = read_customers_with(path, options.delimiter)?;
        Ok(Self { path: path.to_owned(), options, rows, sent: 0, good: 0, bad: 0 })
    }

    /// Good and bad rows so far.
    pub fn counts(&self) -> (u64, u64) {
        (self.good, self.bad)
    }
}

/// The record of a row: keyed by the customer. A bad row becomes a record too, so that the contract check finds it.
pub fn record(topic: &str, row: &Result<Row, RowError>, at: Timestamp) -> SourceRecord {
    let (line, key, value) = match row {
        Ok(row) => (row.line, Some(row.customer.id().0), row.json()),
        Err(error) => {
            (error.line, error.key.clone(), error.json.clone().unwrap_or_else(|| error.raw.clone()))
        }
    };
    SourceRecord {
        topic: topic.to_owned(),
        key: key.map(String::into_bytes),
        value,
        headers: vec![(LINE_HEADER.to_owned(), line.to_string().into_bytes())],
        timestamp: at,
    }
}

impl Source for CsvSource {
    fn info(&self) -> SourceInfo {
        SourceInfo {
            name: self.options.name.clone(),
            kind: "csv",
            topics: vec![self.options.topic.clone()],
            simulated: false,
            recorded: true,
            rate_per_s: self.options.rate,
        }
    }

    fn next(&mut self, now: Moment) -> Step {
        let Some(wait) = interval(self.options.rate) else { return Step::idle(Then::Finished) };
        // Fast rates go out in batches, one a tick.
        let batch = (TICK.as_secs_f64() / wait.as_secs_f64()).clamp(1.0, MAX_BATCH as f64) as usize;
        let mut records = Vec::with_capacity(batch);
        let mut error = None;
        let mut then = Then::After(wait.saturating_mul(u32::try_from(batch).unwrap_or(u32::MAX)));
        while records.len() < batch {
            match self.rows.next() {
                Some(row) => {
                    match &row {
                        Ok(_) => self.good += 1,
                        Err(bad) => {
                            self.bad += 1;
                            error = Some(format!("{}: {bad}", self.path.display()));
                        }
                    }
                    self.sent += 1;
                    records.push(record(&self.options.topic, &row, now.wall));
                }
                None if self.options.repeat && self.sent > 0 => {
                    self.sent = 0;
                    match read_customers_with(&self.path, self.options.delimiter) {
                        Ok(rows) => self.rows = rows,
                        Err(cause) => {
                            return Step { records, then: Then::Finished, error: Some(cause.to_string()) };
                        }
                    }
                }
                None => {
                    then = Then::Finished;
                    break;
                }
            }
        }
        Step { records, then, error }
    }
}
