//! A running mean with an interval that holds at all times: one may look after every outcome and act on what one sees.
//!
//! An asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, arXiv 2103.06476), as in `vigie_churn::trial`.

use vigie_churn::Interval;

/// The interval is tightest around this many observations.
const TIGHTEST_AT: f64 = 500.0;

/// A running mean.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sequence {
    n: f64,
    mean: f64,
    squares: f64,
}

impl Sequence {
    /// Adds one observation.
    pub fn observe(&mut self, value: f64) {
        self.n += 1.0;
        let step = value - self.mean;
        self.mean += step / self.n;
        self.squares += step * (value - self.mean);
    }

    /// The mean with its interval at this level (0.05: 95 %); `None` before the second observation.
    pub fn interval(&self, level: f64) -> Option<Interval> {
        if self.n < 2.0 {
            return None;
        }
        let variance = self.squares / self.n;
        let rho2 = (-2.0 * level.ln() + (-2.0 * level.ln()).ln() + 1.0) / TIGHTEST_AT;
        let inside = self.n * rho2 + 1.0;
        let half = (variance * 2.0 * inside / (self.n * self.n * rho2) * (inside.sqrt() / level).ln()).sqrt();
        Some(Interval { estimate: self.mean, low: self.mean - half, high: self.mean + half })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SplitMix64, to a number in [0, 1).
    fn uniform(state: &mut u64) -> f64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    #[test]
    fn looking_after_each_observation_raises_no_false_alarm_and_a_difference_is_found() {
        let run = |shift: f64, seed: u64| {
            let (mut state, mut sequence, mut alarm) = (seed, Sequence::default(), false);
            for _ in 0..1_500 {
                let p = 0.05 + 0.5 * uniform(&mut state);
                let left = uniform(&mut state) < p + shift;
                sequence.observe(f64::from(u8::from(left)) - p);
                alarm |= sequence.n >= 50.0 && sequence.interval(0.05).is_some_and(|i| !i.holds(0.0));
            }
            alarm
        };
        let false_alarms = (0..200).filter(|seed| run(0.0, seed * 7_919)).count();
        assert!(false_alarms <= 12, "{false_alarms} of 200");
        assert!((0..20).all(|seed| run(0.15, seed * 104_729)));
    }
}
