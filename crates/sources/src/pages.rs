//! Page views: the supplier of `R2` (and, if asked, `R1`), and the maker that `/publish` shares with it.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use vigie_domain::{PageEvent, topics};
use vigie_log::Timestamp;

use crate::source::interval;
use crate::{Moment, Source, SourceInfo, SourceRecord, Step, Then, random};

/// Durations are drawn from 0 to this, ms, exclusive.
const MAX_DURATION_MS: i64 = 9_000;

/// Makes page events: name P1 or P2, user U1 or U2, duration uniform in [0, 9000) ms.
#[derive(Debug, Clone)]
pub struct PageEventMaker {
    rng: ChaCha8Rng,
}

impl PageEventMaker {
    /// A maker with its own stream of random numbers.
    pub fn new(seed: u64) -> Self {
        Self { rng: random::stream(seed, "pages") }
    }

    /// An event of a random page.
    pub fn make(&mut self, now: Timestamp) -> PageEvent {
        let name = if self.rng.random_bool(0.5) { "P1" } else { "P2" };
        self.named(name, now)
    }

    /// An event of the given page.
    pub fn named(&mut self, name: &str, now: Timestamp) -> PageEvent {
        let user = if self.rng.random_bool(0.5) { "U1" } else { "U2" };
        PageEvent {
            name: name.to_owned(),
            user: user.to_owned(),
            date: now,
            duration: self.rng.random_range(0..MAX_DURATION_MS),
        }
    }
}

/// How the supplier behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct PageOptions {
    /// Events a second on each topic; 0 switches the supplier off.
    pub rate: f64,
    /// The seed.
    pub seed: u64,
    /// The topics to write to.
    pub topics: Vec<String>,
}

impl Default for PageOptions {
    fn default() -> Self {
        Self { rate: 10.0, seed: 7, topics: vec![topics::R2.to_owned()] }
    }
}

/// Views that are due within this time are published together.
const STEP: Duration = Duration::from_millis(20);
/// Views of one step at most.
const MAX_VIEWS: u32 = 10_000;

/// The supplier.
#[derive(Debug)]
pub struct PageSource {
    options: PageOptions,
    maker: PageEventMaker,
}

impl PageSource {
    /// A supplier.
    pub fn new(options: PageOptions) -> Self {
        let maker = PageEventMaker::new(options.seed);
        Self { options, maker }
    }
}

/// The record of a page event: keyed by the page.
fn record(topic: &str, event: &PageEvent) -> SourceRecord {
    SourceRecord {
        topic: topic.to_owned(),
        key: Some(event.name.clone().into_bytes()),
        value: serde_json::to_vec(event).unwrap_or_default(),
        headers: Vec::new(),
        timestamp: event.date,
    }
}

impl Source for PageSource {
    fn info(&self) -> SourceInfo {
        SourceInfo {
            name: String::from("pages"),
            kind: "pages",
            topics: self.options.topics.clone(),
            simulated: true,
            recorded: false,
            rate_per_s: self.options.rate,
        }
    }

    fn next(&mut self, now: Moment) -> Step {
        let Some(wait) = interval(self.options.rate) else { return Step::idle(Then::Finished) };
        // Each step waits for the disk: at high rates several views share one.
        let views =
            u32::try_from(STEP.as_nanos() / wait.as_nanos().max(1)).unwrap_or(u32::MAX).clamp(1, MAX_VIEWS);
        let mut records = Vec::with_capacity(self.options.topics.len() * views as usize);
        for _ in 0..views {
            for topic in &self.options.topics {
                records.push(record(topic, &self.maker.make(now.wall)));
            }
        }
        Step::emit(records, Then::After(wait * views))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_high_rate_is_kept_by_steps_of_several_views() {
        let check = |rate: f64, views: usize, wait_us: u64| {
            let mut source = PageSource::new(PageOptions { rate, ..PageOptions::default() });
            let step = source.next(Moment { wall: 1_000, elapsed: Duration::ZERO });
            assert_eq!(
                (step.records.len(), step.then),
                (views, Then::After(Duration::from_micros(wait_us))),
                "{rate}"
            );
        };
        check(10.0, 1, 100_000);
        check(50.0, 1, 20_000);
        check(500.0, 10, 20_000);
        check(100_000.0, 2_000, 20_000);
    }

    fn events(seed: u64, count: i64) -> Vec<PageEvent> {
        let mut source = PageSource::new(PageOptions { seed, ..PageOptions::default() });
        (0..count)
            .map(|i| {
                let step = source.next(Moment { wall: 1_000 + i, elapsed: Duration::ZERO });
                assert_eq!(step.then, Then::After(Duration::from_millis(100)));
                let [record] = step.records.as_slice() else { panic!("one record a call") };
                let event: PageEvent = serde_json::from_slice(&record.value).unwrap();
                assert_eq!((record.topic.as_str(), record.timestamp), ("R2", 1_000 + i));
                assert_eq!(record.key.as_deref(), Some(event.name.as_bytes()));
                event
            })
            .collect()
    }

    #[test]
    fn ranges_and_determinism() {
        let all = events(1, 20_000);
        assert_eq!(all, events(1, 20_000));
        assert_ne!(all, events(2, 20_000));
        for event in &all {
            assert!(
                ["P1", "P2"].contains(&event.name.as_str()) && ["U1", "U2"].contains(&event.user.as_str())
            );
            assert!((0..9_000).contains(&event.duration), "{event:?}");
        }
        // Uniform: each half and each name and user has its share, and both ends are reached.
        let share = |count: usize| (count as f64 / all.len() as f64 - 0.5).abs() < 0.02;
        assert!(share(all.iter().filter(|e| e.duration < 4_500).count()));
        assert!(share(all.iter().filter(|e| e.name == "P1").count()));
        assert!(share(all.iter().filter(|e| e.user == "U1").count()));
        assert!(all.iter().any(|e| e.duration < 10) && all.iter().any(|e| e.duration > 8_990));
    }

    #[test]
    fn two_topics_and_none() {
        let topics = vec![String::from("R1"), String::from("R2")];
        let mut source = PageSource::new(PageOptions { topics, ..PageOptions::default() });
        let now = Moment { wall: 0, elapsed: Duration::ZERO };
        assert_eq!(source.next(now).records.len(), 2);
        let mut off = PageSource::new(PageOptions { rate: 0.0, ..PageOptions::default() });
        assert_eq!(off.next(now).then, Then::Finished);
    }
}
