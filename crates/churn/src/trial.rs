//! Did acting help? Measured on outcomes as they come in, against the customers held out at random.
//!
//! The interval may be looked at after every outcome and still holds the truth at *all* times with 95 % confidence
//! (an asymptotic confidence sequence: Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, arXiv 2103.06476). Each
//! outcome is compared with the risk that was predicted before it, which takes out what the model knew already.
//! The state is three numbers: it can be kept in a stream's store, and replaying gives the same.

use crate::{effect::EffectVerdict, error::ChurnError, holdout::HoldOut, metrics::Interval};
use serde::{Deserialize, Serialize};

/// The interval is tightest around this many outcomes.
const TIGHTEST_AT: f64 = 1_000.0;
/// 1 - confidence.
const ALPHA: f64 = 0.05;
/// Fewer outcomes of either kind say nothing yet.
const LEAST_EACH: u64 = 20;

/// A running comparison of customers acted on with customers held out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    share_acted: f64,
    acted: u64,
    held_out: u64,
    mean: f64,
    /// Sum of squared deviations from the mean.
    squares: f64,
}

impl Trial {
    /// A trial in which everybody but the held-out is acted on.
    ///
    /// # Errors
    /// [`ChurnError::BadSetting`] when nobody or everybody is held out: there is then nothing to compare.
    pub fn new(hold_out: &HoldOut) -> Result<Self, ChurnError> {
        let share_acted = 1.0 - hold_out.share();
        if !(share_acted > 0.0 && share_acted < 1.0) {
            return Err(ChurnError::BadSetting {
                setting: "hold_out",
                value: hold_out.share().to_string(),
                expected: "a share above 0 and below 1 is needed to measure an effect",
            });
        }
        Ok(Self { share_acted, acted: 0, held_out: 0, mean: 0.0, squares: 0.0 })
    }

    /// Adds one outcome. `predicted` is the risk that was predicted *before* the decision to act.
    pub fn observe(&mut self, acted: bool, left: bool, predicted: f64) {
        let surprise =
            f64::from(u8::from(left)) - if predicted.is_finite() { predicted.clamp(0.0, 1.0) } else { 0.5 };
        let score = if acted { surprise / self.share_acted } else { -surprise / (1.0 - self.share_acted) };
        if acted {
            self.acted += 1;
        } else {
            self.held_out += 1;
        }
        let n = (self.acted + self.held_out) as f64;
        let step = score - self.mean;
        self.mean += step / n;
        self.squares += step * (score - self.mean);
    }

    /// Outcomes of customers acted on, and of customers held out.
    #[must_use]
    pub fn outcomes(&self) -> (u64, u64) {
        (self.acted, self.held_out)
    }

    /// The change in churn by acting (a share, below zero: less churn), with an interval that holds at all times;
    /// `None` while there are too few outcomes of either kind.
    #[must_use]
    pub fn effect(&self) -> Option<Interval> {
        if self.acted.min(self.held_out) < LEAST_EACH {
            return None;
        }
        let n = (self.acted + self.held_out) as f64;
        let variance = self.squares / n;
        let rho2 = (-2.0 * ALPHA.ln() + (-2.0 * ALPHA.ln()).ln() + 1.0) / TIGHTEST_AT;
        let inside = n * rho2 + 1.0;
        let half = (variance * 2.0 * inside / (n * n * rho2) * (inside.sqrt() / ALPHA).ln()).sqrt();
        Some(Interval { estimate: self.mean, low: self.mean - half, high: self.mean + half })
    }

    /// What can be said now.
    #[must_use]
    pub fn verdict(&self) -> EffectVerdict {
        self.effect().map_or(EffectVerdict::NoMeasurableEffect, |effect| EffectVerdict::of(&effect))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Runs a trial of `n` customers, looking after each; returns it and whether the truth was ever outside.
    fn run(n: usize, effect: f64, seed: u64) -> (Trial, bool) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut trial = Trial::new(&HoldOut::new(0.2, 1).unwrap()).unwrap();
        let mut missed = false;
        for _ in 0..n {
            let risk = rng.random_range(0.2..0.6);
            let acted = rng.random_bool(0.8);
            let left = rng.random_bool(if acted { risk + effect } else { risk });
            trial.observe(acted, left, risk);
            missed |= trial.effect().is_some_and(|interval| !interval.holds(effect));
        }
        (trial, missed)
    }

    #[test]
    fn looking_after_each_outcome_does_not_raise_false_alarms() {
        let missed = (0..200).filter(|seed| run(1_500, 0.0, *seed).1).count();
        assert!(missed <= 12, "the truth was outside at some time in {missed} of 200 trials");
    }

    #[test]
    fn effects_are_found_in_time() {
        let check = |effect, expect| {
            let (trial, _) = run(6_000, effect, 3);
            assert_eq!(trial.verdict(), expect, "{:?}", trial.effect());
        };
        check(-0.15, EffectVerdict::Beneficial);
        check(0.15, EffectVerdict::Harmful);
        check(0.0, EffectVerdict::NoMeasurableEffect);
        let young = run(20, -0.15, 1).0;
        assert!(young.effect().is_none() && young.verdict() == EffectVerdict::NoMeasurableEffect);
        assert!(Trial::new(&HoldOut::new(0.0, 1).unwrap()).is_err());
    }
}
