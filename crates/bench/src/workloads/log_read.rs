//! `log-read`: how fast a log just opened is read from its start, every record looked at.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use vigie_log::{Log, TopicPartition, TopicSpec};

use super::log_append::{Promise, append, open};
use crate::measure::{Figure, Meter};

/// Appends records of about 100 bytes, opens the log again and reads all of it.
#[derive(Debug, Clone, Args)]
pub struct LogRead {
    /// How many records.
    #[arg(long, default_value_t = 4_000_000)]
    pub records: u64,
    /// How many records one transaction has.
    #[arg(long, default_value_t = 5_000)]
    pub batch: u64,
    /// How many partitions there are.
    #[arg(long, default_value_t = 4)]
    pub partitions: u32,
}

impl LogRead {
    /// Runs it.
    pub fn run(&self) -> Result<Figure> {
        let folder = tempfile::tempdir().context("making a folder for the log")?;
        let log = open(folder.path(), Promise::Interval)?;
        log.admin().create_topic(&TopicSpec::new("bench", self.partitions))?;
        append(&*log, self.records, self.batch, 1, self.partitions)?;
        log.close()?;
        drop(log);
        let opening = Meter::start()?;
        let log = open(folder.path(), Promise::Commit)?;
        let open_s = opening.stop("open", "embedded", 1)?.wall_s;
        let meter = Meter::start()?;
        let partitions: Vec<_> = (0..self.partitions).map(|n| TopicPartition::new("bench", n)).collect();
        let mut reader = log.reader(&partitions)?;
        let (mut records, mut bytes) = (0_u64, 0_usize);
        while records < self.records {
            let fetched = reader.poll(Duration::from_secs(10))?;
            anyhow::ensure!(!fetched.is_empty(), "{records} of {} records came", self.records);
            for record in fetched.iter().flat_map(|fetched| fetched.batch.iter()) {
                records += 1;
                bytes += record.value.map_or(0, <[u8]>::len);
            }
        }
        let figure = meter.stop("log-read", "embedded", records)?;
        log.close()?;
        Ok(figure.with("value_bytes", bytes).with("open_s", open_s))
    }
}
