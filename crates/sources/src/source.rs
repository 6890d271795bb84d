//! What a source is.

use std::time::Duration;

use vigie_log::Timestamp;

/// The two times that a source is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock, ms since the epoch. May jump, forwards or backwards.
    pub wall: Timestamp,
    /// How long the source has been running, without its pauses. Never goes backwards.
    pub elapsed: Duration,
}

/// One record to publish.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceRecord {
    /// Where to.
    pub topic: String,
    /// Its key: what downstream is partitioned by.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Vec<u8>,
    /// What travels beside it.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its event time, ms since the epoch.
    pub timestamp: Timestamp,
}

/// When a source wants to be called again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// So long after the moment at which this call was due (so that a rate has no drift).
    After(Duration),
    /// So long after this call has ended and its records are durable.
    Pause(Duration),
    /// Never: the source has come to its end.
    Finished,
}

/// What one call of a source gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Records, in order.
    pub records: Vec<SourceRecord>,
    /// When to call again.
    pub then: Then,
    /// What went wrong, in words, for the status; the source goes on.
    pub error: Option<String>,
}

impl Step {
    /// Records and a wait.
    pub fn emit(records: Vec<SourceRecord>, then: Then) -> Self {
        Self { records, then, error: None }
    }

    /// Nothing but a wait.
    pub fn idle(then: Then) -> Self {
        Self::emit(Vec::new(), then)
    }
}

/// What a source is, for status and screens.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceInfo {
    /// Its name, unique in the program.
    pub name: String,
    /// `csv`, `agency`, `users`, `pages`, `shop`.
    pub kind: &'static str,
    /// The topics it writes to.
    pub topics: Vec<String>,
    /// Whether its records are made up by a generator.
    pub simulated: bool,
    /// Whether its records are a recording that is played back.
    pub recorded: bool,
    /// Records a second that it aims at.
    pub rate_per_s: f64,
}

/// A source of records.
pub trait Source: Send {
    /// What it is.
    fn info(&self) -> SourceInfo;

    /// The records due now, and when to be called again.
    fn next(&mut self, now: Moment) -> Step;

    /// Called when all records of the last step are durable. `ending`: the source will not be called again.
    fn durable(&mut self, _now: Moment, _ending: bool) {}
}

/// The wait between two events of a rate; a rate of 0, negative or not a number means never.
pub(crate) fn interval(rate_per_s: f64) -> Option<Duration> {
    (rate_per_s > 0.0 && rate_per_s.is_finite())
        .then(|| Duration::from_secs_f64((1.0 / rate_per_s).clamp(1e-6, 1e9)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_gives_a_wait_or_never() {
        for (rate, expected) in [
            (1.0, Some(Duration::from_secs(1))),
            (10.0, Some(Duration::from_millis(100))),
            (0.0, None),
            (-1.0, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
        ] {
            assert_eq!(interval(rate), expected, "{rate}");
        }
    }
}
