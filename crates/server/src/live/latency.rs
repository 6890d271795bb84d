//! Event to score: milliseconds from publication to the live stream, over the last minute.

use std::collections::VecDeque;

const WINDOW_MS: i64 = 60_000;
/// Enough for quantiles; more of the same minute replace the oldest.
const SAMPLES: usize = 8192;

/// The samples of the last minute.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    samples: VecDeque<(i64, i64)>,
}

impl Latency {
    /// Adds one, seen at `now`.
    pub(crate) fn add(&mut self, now: i64, ms: i64) {
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((now, ms));
    }

    /// Median, 99th percentile (nearest rank) and number of samples; `None` without samples.
    pub(crate) fn quantiles(&mut self, now: i64) -> Option<(f64, f64, u64)> {
        while self.samples.front().is_some_and(|(at, _)| *at < now - WINDOW_MS) {
            self.samples.pop_front();
        }
        let mut sorted: Vec<i64> = self.samples.iter().map(|(_, ms)| *ms).collect();
        sorted.sort_unstable();
        let rank = |q: f64| {
            let place = (q * sorted.len() as f64).ceil().max(1.0) as usize - 1;
            sorted.get(place).map(|ms| *ms as f64)
        };
        Some((rank(0.5)?, rank(0.99)?, sorted.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_last_minute() {
        let mut latency = Latency::default();
        assert_eq!(latency.quantiles(0), None);
        latency.add(0, 9_999);
        for ms in 1..=100 {
            latency.add(70_000, ms);
        }
        assert_eq!(latency.quantiles(70_000), Some((50.0, 99.0, 100)));
        assert_eq!(latency.quantiles(140_000), None);
    }
}
