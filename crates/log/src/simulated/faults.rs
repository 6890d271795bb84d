//! Which faults there are, and the dice that decide when they strike.

use std::time::Duration;

/// How likely each fault is, from 0 (never) to 1 (always), each time it could strike.
#[derive(Debug, Clone, PartialEq)]
pub struct Faults {
    /// A commit fails with [`Unreachable`](crate::LogError::Unreachable), and nothing has been committed. The transaction stays
    /// open: it may be committed again, or aborted.
    pub fail_commit_before: f64,
    /// A commit fails with [`Unreachable`](crate::LogError::Unreachable) although all of it has been committed. Committing again
    /// tells so; aborting is refused.
    pub fail_commit_after: f64,
    /// A call that needs the network fails with [`Unreachable`](crate::LogError::Unreachable), without effect.
    pub unreachable: f64,
    /// A call that needs the network takes `delay` of real time.
    pub slow: f64,
    /// See `slow`.
    pub delay: Duration,
    /// A poll hands out batches a second time, which lie before the position: a consumer skips by offset.
    pub duplicate_poll: f64,
    /// A poll brings nothing although there are records.
    pub empty_poll: f64,
}

impl Default for Faults {
    /// None.
    fn default() -> Self {
        Self {
            fail_commit_before: 0.0,
            fail_commit_after: 0.0,
            unreachable: 0.0,
            slow: 0.0,
            delay: super::DELAY,
            duplicate_poll: 0.0,
            empty_poll: 0.0,
        }
    }
}

/// Steele, Lea and Flood's SplitMix64: small, and good enough to decide about faults.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Throws only for what can happen, so that turning one fault off does not move the others.
    pub fn strikes(&mut self, probability: f64) -> bool {
        probability > 0.0 && (self.next() >> 11) as f64 / ((1_u64 << 53) as f64) < probability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dice_keep_to_the_probability() {
        let mut dice = Dice::new(7);
        for probability in [0.0, 0.1, 0.5, 1.0] {
            let hits = (0..10_000).filter(|_| dice.strikes(probability)).count() as f64;
            assert!((hits / 10_000.0 - probability).abs() < 0.02, "{hits} of 10000 at {probability}");
        }
    }
}
