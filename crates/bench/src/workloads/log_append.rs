//! `log-append`: how many small records a second the embedded log takes, each batch durable before the next.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use vigie_log::{BatchBuilder, Log, ProducerConfig, SystemClock, TopicPartition, TopicSpec};
use vigie_log_embedded::{Durability, EmbeddedConfig, EmbeddedLog};

use crate::measure::{Figure, Meter};

/// What an acknowledgement promises.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Promise {
    /// On disk.
    Commit,
    /// On disk within 100 ms.
    Interval,
}

/// Appends records of about 100 bytes.
#[derive(Debug, Clone, Args)]
pub struct LogAppend {
    /// How many records.
    #[arg(long, default_value_t = 4_000_000)]
    pub records: u64,
    /// How many records one transaction has.
    #[arg(long, default_value_t = 5_000)]
    pub batch: u64,
    /// How many threads append, each with its own producer.
    #[arg(long, default_value_t = 1)]
    pub producers: u64,
    /// Over how many partitions each transaction is spread.
    #[arg(long, default_value_t = 4)]
    pub partitions: u32,
    /// What an acknowledgement promises.
    #[arg(long, value_enum, default_value_t = Promise::Commit)]
    pub durability: Promise,
    /// Where the log lies; a new folder in the system's temporary one by default (which must be a disk to tell something).
    #[arg(long)]
    pub data: Option<PathBuf>,
}

impl LogAppend {
    /// Runs it.
    pub fn run(&self) -> Result<Figure> {
        let temporary = tempfile::tempdir().context("making a folder for the log")?;
        let log = open(self.data.as_deref().unwrap_or(temporary.path()), self.durability)?;
        log.admin().create_topic(&TopicSpec::new("bench", self.partitions))?;
        let meter = Meter::start()?;
        append(&*log, self.records, self.batch, self.producers, self.partitions)?;
        let figure = meter.stop("log-append", "embedded", self.records)?;
        let disk_bytes = log.disk_bytes()?;
        log.close()?;
        Ok(figure
            .with("batch", self.batch)
            .with("producers", self.producers)
            .with("partitions", self.partitions)
            .with("durability", format!("{:?}", self.durability).to_lowercase())
            .with("disk_bytes", disk_bytes))
    }
}

/// Opens an embedded log.
pub fn open(folder: &Path, durability: Promise) -> Result<Arc<EmbeddedLog>> {
    open_with(folder, durability, None)
}

/// The same with so many MiB of memory.
pub fn open_with(folder: &Path, durability: Promise, cache_mb: Option<usize>) -> Result<Arc<EmbeddedLog>> {
    let mut config = EmbeddedConfig::new(Arc::new(SystemClock::new()));
    if let Some(mb) = cache_mb {
        config.cache_bytes = mb << 20;
    }
    config.durability = match durability {
        Promise::Commit => Durability::Commit,
        Promise::Interval => Durability::Interval(Duration::from_millis(100)),
    };
    Ok(EmbeddedLog::open(folder, config)?)
}

/// Appends `records` records to the topic `bench`, in transactions of `batch` records over all partitions.
pub fn append(log: &dyn Log, records: u64, batch: u64, producers: u64, partitions: u32) -> Result<()> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..producers)
            .map(|thread| {
                let share = records / producers + u64::from(thread < records % producers);
                scope.spawn(move || append_share(log, thread, share, batch, partitions))
            })
            .collect();
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a producer's thread panicked"))??;
        }
        Ok(())
    })
}

fn append_share(log: &dyn Log, thread: u64, records: u64, batch: u64, partitions: u32) -> Result<()> {
    let mut producer = log.producer(ProducerConfig::default())?;
    let partitions: Vec<TopicPartition> = (0..partitions).map(|n| TopicPartition::new("bench", n)).collect();
    let mut builders: Vec<BatchBuilder> = partitions.iter().map(|_| BatchBuilder::new()).collect();
    let mut value = Vec::new();
    let mut done = 0;
    while done < records {
        let now = batch.min(records - done);
        for i in done..done + now {
            let customer = (thread << 48 | i).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44;
            value.clear();
            // A page view, as the demo has them.
            value.extend_from_slice(b"{\"name\":\"");
            value.extend_from_slice(if customer.is_multiple_of(2) { b"P1" } else { b"P2" });
            value.extend_from_slice(b"\",\"user\":\"U");
            value.extend_from_slice(customer.to_string().as_bytes());
            value.extend_from_slice(b"\",\"date\":\"2024-05-17T09:30:00.000Z\",\"duration\":");
            value.extend_from_slice((i % 10_000).to_string().as_bytes());
            value.push(b'}');
            let builder = builders.get_mut((customer % partitions.len() as u64) as usize);
            let builder = builder.context("there is a builder for each partition")?;
            builder.push(1_700_000_000_000 + i as i64, Some(&customer.to_be_bytes()), Some(&value), &[]);
        }
        producer.begin()?;
        for (partition, builder) in partitions.iter().zip(&mut builders) {
            producer.append(partition, builder)?;
        }
        producer.commit()?;
        done += now;
    }
    Ok(())
}
