//! How long customers stay: the Kaplan-Meier curve of a cohort, with intervals.
//!
//! Customers who are still there count for as long as they were watched (censored), which a plain mean of
//! durations gets wrong. Intervals are pointwise 95 %, by Greenwood's variance on the log-minus-log scale, so that
//! they stay between 0 and 1.

use crate::metrics::Interval;
use serde::{Deserialize, Serialize};

/// One customer: how long watched, and whether the customer left at the end of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stay {
    /// Time from the start, in any unit.
    pub time: f64,
    /// Whether the customer left then; otherwise still there when last seen.
    pub left: bool,
}

/// One step of the curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// When somebody left.
    pub time: f64,
    /// Customers watched just before.
    pub at_risk: usize,
    /// How many left then.
    pub left: usize,
    /// Share still there after it.
    pub still_there: Interval,
}

/// The Kaplan-Meier curve: one step for each time at which somebody left. Stays whose time is negative or not a
/// number are not counted.
#[must_use]
pub fn kaplan_meier(stays: &[Stay]) -> Vec<Step> {
    let mut sorted: Vec<Stay> = stays.iter().copied().filter(|stay| stay.time >= 0.0).collect();
    sorted.sort_by(|a, b| a.time.total_cmp(&b.time));
    let mut at_risk = sorted.len();
    let (mut share, mut greenwood) = (1.0_f64, 0.0);
    let mut steps = Vec::new();
    for same in sorted.chunk_by(|a, b| a.time == b.time) {
        let left = same.iter().filter(|stay| stay.left).count();
        if left > 0 {
            let (n, d) = (at_risk as f64, left as f64);
            share *= 1.0 - d / n;
            greenwood += d / (n * (n - d));
            let time = same.first().map_or(0.0, |stay| stay.time);
            steps.push(Step { time, at_risk, left, still_there: interval(share, greenwood) });
        }
        at_risk -= same.len();
    }
    steps
}

fn interval(share: f64, greenwood: f64) -> Interval {
    if share <= 0.0 {
        return Interval { estimate: 0.0, low: 0.0, high: 0.0 };
    }
    let spread = (1.959_964 * greenwood.sqrt() / share.ln()).abs();
    Interval { estimate: share, low: share.powf(spread.exp()), high: share.powf((-spread).exp()) }
}

/// The time by which half have left, where the curve comes down that far.
#[must_use]
pub fn median_stay(curve: &[Step]) -> Option<f64> {
    curve.iter().find(|step| step.still_there.estimate <= 0.5).map(|step| step.time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_cohort_by_hand() {
        let stay = |time, left| Stay { time, left };
        // Six customers: left at 1, censored at 2, left twice at 3, censored at 4, left at 5.
        let curve = kaplan_meier(&[
            stay(3.0, true),
            stay(1.0, true),
            stay(2.0, false),
            stay(3.0, true),
            stay(5.0, true),
            stay(4.0, false),
            stay(f64::NAN, true),
        ]);
        let found: Vec<(f64, usize, usize)> = curve.iter().map(|s| (s.time, s.at_risk, s.left)).collect();
        assert_eq!(found, [(1.0, 6, 1), (3.0, 4, 2), (5.0, 1, 1)]);
        let shares: Vec<f64> = curve.iter().map(|s| s.still_there.estimate).collect();
        for (found, expected) in shares.iter().zip([5.0 / 6.0, 5.0 / 12.0, 0.0]) {
            assert!((found - expected).abs() < 1e-12);
        }
        // Log-minus-log by hand: 1.96 x sqrt(1/30) / |ln(5/6)| = 1.9628.
        assert!((curve[0].still_there.low - (5.0f64 / 6.0).powf(1.9628f64.exp())).abs() < 1e-4);
        assert!(curve.iter().all(|s| (0.0..=1.0).contains(&s.still_there.low) && s.still_there.high <= 1.0));
        assert_eq!(median_stay(&curve), Some(3.0));
        assert_eq!(median_stay(&kaplan_meier(&[stay(1.0, false)])), None);
    }
}
