//! How long to wait after a failure: exponentially longer, with jitter, so that many sinks do not come back at the same moment.

use std::time::Duration;

pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
    state: u64,
}

impl Backoff {
    pub fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        Self { first, longest, failures: 0, state: seed }
    }

    pub fn failures(&self) -> u32 {
        self.failures
    }

    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next wait: between half and all of the doubled one.
    pub fn next(&mut self) -> Duration {
        let whole = self.first.saturating_mul(1 << self.failures.min(20)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        // SplitMix64 (Steele, Lea, Flood 2014): enough to spread waits.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let unit = ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
        whole.mul_f64(0.5 + unit / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_longest_and_differ_by_seed() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(10));
        let mut backoff = Backoff::new(first, longest, 7);
        let waits: Vec<Duration> = (0..40).map(|_| backoff.next()).collect();
        for (failures, wait) in waits.iter().enumerate() {
            let whole = first.saturating_mul(1 << failures.min(20)).min(longest);
            assert!(*wait >= whole / 2 && *wait <= whole, "{failures}: {wait:?}");
        }
        assert_ne!(Backoff::new(first, longest, 8).next(), waits[0]);
        backoff.reset();
        assert!(backoff.next() <= first);
    }
}
