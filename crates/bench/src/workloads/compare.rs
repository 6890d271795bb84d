//! `compare`: whether two engines came to the same results, committed records only, and whether these are what the page views come to.
//!
//! Of `page-count` the last value of each key is compared: Kafka Streams' cache leaves out some of those before. Of `user-total` every
//! single record: users occur in all four partitions, whose sums are kept apart, so that the results of a key are four series in one,
//! in no particular order. They are compared as a set with repetitions: their number, their sum and the sum of their squares.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use vigie_log::{Log, TopicPartition};

use super::generate::{PAGES, PARTITIONS, USERS, View, views};
use super::logs::LogOptions;
use crate::measure::{Figure, Meter};

/// The workload whose results are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Of {
    PageCount,
    UserTotal,
}

/// Compares results with each other and with what the page views come to.
#[derive(Debug, Clone, Args)]
pub struct Compare {
    #[command(flatten)]
    log: LogOptions,
    /// A topic to compare; two of them are compared with each other too.
    #[arg(long = "topic", required = true)]
    topics: Vec<String>,
    /// What they are results of.
    #[arg(long = "of", value_enum)]
    of: Of,
    /// How many page views there were.
    #[arg(long)]
    records: u64,
    /// How many users.
    #[arg(long, default_value_t = USERS)]
    users: u64,
}

/// Of each key.
type Values = HashMap<Box<[u8]>, Results>;

/// What the results of a key come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Results {
    last: i64,
    count: u64,
    sum: i64,
    squares: i64,
}

impl Results {
    fn note(&mut self, value: i64) {
        self.last = value;
        self.count += 1;
        self.sum = self.sum.wrapping_add(value);
        self.squares = self.squares.wrapping_add(value.wrapping_mul(value));
    }

    fn equals(&self, other: &Self, of: Of) -> bool {
        match of {
            Of::PageCount => self.last == other.last,
            Of::UserTotal => (self.count, self.sum, self.squares) == (other.count, other.sum, other.squares),
        }
    }
}

impl Compare {
    /// Runs it; differences are an error.
    pub fn run(&self) -> Result<Figure> {
        let options = self.log.clone().by_address();
        let temporary = tempfile::tempdir()?;
        let log = options.open(options.data.as_deref().unwrap_or(temporary.path()))?.shared();
        let meter = Meter::start()?;
        let expected = self.expected();
        let mut records = 0;
        for topic in &self.topics {
            let (found, read) = results(&*log, topic)?;
            records += read;
            let equal = |found: Option<&Results>, expected: &Results| {
                found.is_some_and(|found| found.equals(expected, self.of))
            };
            let wrong = expected.iter().filter(|(key, value)| !equal(found.get(*key), value)).count()
                + found.keys().filter(|key| !expected.contains_key(*key)).count();
            ensure!(
                wrong == 0,
                "the results of {wrong} of {} keys in `{topic}` are not what the page views come to",
                expected.len()
            );
        }
        let figure = meter.stop("compare", options.name(), records)?;
        Ok(figure.with("equal_keys", expected.len()).with("topics", self.topics.clone()))
    }

    fn expected(&self) -> Values {
        let mut values = Values::new();
        // One sum for each user in each partition; one count for each page and window.
        let mut state: HashMap<(u64, u64), i64> = HashMap::new();
        for (i, View { page, user, duration, at }) in (0..).zip(views(self.records, PAGES, self.users)) {
            let (key, place, change) = match self.of {
                Of::PageCount if duration <= 100 => continue,
                Of::PageCount => {
                    let window = at - at % 5_000;
                    (format!("P{page}@{window}"), (page, window.unsigned_abs()), 1)
                }
                Of::UserTotal => (format!("U{user}"), (user, i % u64::from(PARTITIONS)), duration as i64),
            };
            let value = state.entry(place).or_default();
            *value += change;
            values.entry(key.into_bytes().into_boxed_slice()).or_default().note(*value);
        }
        values
    }
}

/// The results of each key, and how many records there were.
fn results(log: &dyn Log, topic: &str) -> Result<(Values, u64)> {
    let ends = log.admin().offsets(topic)?;
    let partitions: Vec<_> = (0..).zip(&ends).map(|(number, _)| TopicPartition::new(topic, number)).collect();
    let mut reader = log.reader(&partitions)?;
    let (mut values, mut records, mut since) = (Values::new(), 0, Instant::now());
    while partitions.iter().zip(&ends).any(|(at, end)| reader.position(at).is_none_or(|at| at < end.latest)) {
        let fetched = reader.poll(Duration::from_secs(1))?;
        if !fetched.is_empty() {
            since = Instant::now();
        }
        ensure!(since.elapsed() < Duration::from_secs(120), "nothing came of `{topic}` for two minutes");
        for record in fetched.iter().flat_map(|fetched| fetched.batch.iter()) {
            records += 1;
            let number = record.value.and_then(|value| value.try_into().ok()).map(i64::from_be_bytes);
            let (Some(key), Some(number)) = (record.key, number) else { continue };
            match values.get_mut(key) {
                Some(results) => results.note(number),
                None => values.entry(key.into()).or_default().note(number),
            }
        }
    }
    Ok((values, records))
}
