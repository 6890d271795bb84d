//! The page views that other engines were measured with: the same numbers in the same order, so that figures can be compared.

use anyhow::Result;
use clap::Args;
use vigie_log::{BatchBuilder, Log, ProducerConfig, TopicPartition, TopicSpec};

use super::logs::LogOptions;
use crate::measure::{Figure, Meter};

/// Partitions of every topic of these workloads.
pub const PARTITIONS: u32 = 4;
/// Pages, unless somebody asks for others.
pub const PAGES: u64 = 1_000;
/// Users, unless somebody asks for others.
pub const USERS: u64 = 1_000_000;
const BATCH: u64 = 20_000;

/// Writes page views to a topic, which is made if it is not there.
#[derive(Debug, Clone, Args)]
pub struct Produce {
    #[command(flatten)]
    log: LogOptions,
    /// The topic.
    #[arg(long, default_value = "views")]
    topic: String,
    /// How many records.
    #[arg(long, default_value_t = 5_000_000)]
    records: u64,
    /// How many pages.
    #[arg(long, default_value_t = PAGES)]
    pages: u64,
    /// How many users.
    #[arg(long, default_value_t = USERS)]
    users: u64,
}

impl Produce {
    /// Runs it.
    pub fn run(&self) -> Result<Figure> {
        let options = self.log.clone().by_address();
        let temporary = tempfile::tempdir()?;
        let log = options.open(options.data.as_deref().unwrap_or(temporary.path()))?.shared();
        if !log.admin().list_topics(false)?.contains(&self.topic) {
            topic(&*log, &self.topic)?;
        }
        let meter = Meter::start()?;
        fill(&*log, &self.topic, self.records, self.pages, self.users)?;
        let figure = meter.stop("produce", options.name(), self.records)?;
        Ok(figure.with("long_views", long_views(self.records)))
    }
}

/// Xorshift64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// One page view.
pub struct View {
    /// The page's number.
    pub page: u64,
    /// The user's number.
    pub user: u64,
    /// How long, in milliseconds.
    pub duration: u64,
    /// When, in milliseconds since the epoch.
    pub at: i64,
}

/// The first `records` page views.
pub fn views(records: u64, pages: u64, users: u64) -> impl Iterator<Item = View> {
    let mut dice = Dice(88_172_645_463_325_252);
    (0..records).map(move |i| {
        let x = dice.next();
        View {
            page: x % pages,
            user: (x >> 20) % users,
            duration: (x >> 40) % 9_000,
            at: 1_750_000_000_000 + (i / 10) as i64,
        }
    })
}

/// How many of the first `records` page views are longer than 100 ms.
pub fn long_views(records: u64) -> u64 {
    views(records, PAGES, USERS).filter(|view| view.duration > 100).count() as u64
}

/// Makes a topic whose records are as old as these.
pub fn topic(log: &dyn Log, name: &str) -> Result<()> {
    Ok(log.admin().create_topic(&TopicSpec::new(name, PARTITIONS).with("retention.ms", "-1"))?)
}

/// Writes `records` page views to a topic.
pub fn fill(log: &dyn Log, topic: &str, records: u64, pages: u64, users: u64) -> Result<()> {
    let mut producer = log.producer(ProducerConfig::default())?;
    let mut builders: Vec<(TopicPartition, BatchBuilder)> =
        (0..PARTITIONS).map(|p| (TopicPartition::new(topic, p), BatchBuilder::new())).collect();
    let mut all = views(records, pages, users);
    let mut done = 0;
    while done < records {
        let end = records.min(done + BATCH);
        for (i, View { page, user, duration, at }) in (done..end).zip(&mut all) {
            let key = format!("U{user}");
            let value =
                format!("{{\"name\":\"P{page}\",\"user\":\"{key}\",\"date\":{at},\"duration\":{duration}}}");
            if let Some((_, builder)) = builders.get_mut((i % u64::from(PARTITIONS)) as usize) {
                builder.push(at, Some(key.as_bytes()), Some(value.as_bytes()), &[]);
            }
        }
        producer.begin()?;
        for (partition, builder) in &mut builders {
            producer.append(partition, builder)?;
        }
        producer.commit()?;
        done = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_numbers_are_those_of_xorshift64() {
        // Worked out with integers of any size, cut to 64 bits.
        let mut dice = Dice(88_172_645_463_325_252);
        assert_eq!((dice.next(), dice.next()), (8_748_534_153_485_358_512, 3_040_900_993_826_735_515));
    }
}
