//! Platt's scaling: probability = sigmoid(slope x raw log-odds + shift), fitted on out-of-fold predictions.
//!
//! The slope is kept above zero, so calibration never changes the order of two customers. Targets are smoothed as
//! Platt proposes (1999, section 2.2), which keeps small tables from certainties.

use crate::{
    logistic::{self, Matrix},
    special::sigmoid,
};
use serde::{Deserialize, Serialize};

/// A calibration of raw log-odds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Platt {
    /// Above zero.
    pub slope: f64,
    /// Added after.
    pub shift: f64,
}

/// Slopes are kept inside these bounds; at the lower one, the model knows next to nothing.
const SLOPES: std::ops::RangeInclusive<f64> = 0.05..=5.0;

impl Platt {
    /// No change.
    pub const NONE: Self = Self { slope: 1.0, shift: 0.0 };

    /// Fits the scaling to out-of-fold log-odds and answers (0 or 1).
    #[must_use]
    pub fn fit(log_odds: &[f64], y: &[f64]) -> Self {
        let yes = y.iter().filter(|v| **v > 0.5).count() as f64;
        let no = y.len() as f64 - yes;
        if yes < 1.0 || no < 1.0 {
            return Self::NONE;
        }
        let (for_yes, for_no) = ((yes + 1.0) / (yes + 2.0), 1.0 / (no + 2.0));
        let smoothed: Vec<f64> = y.iter().map(|v| if *v > 0.5 { for_yes } else { for_no }).collect();
        let rows: Vec<usize> = (0..y.len()).collect();
        let mut x = Matrix::zeros(y.len(), 1);
        for (row, value) in log_odds.iter().enumerate() {
            if let [slot] = x.row_mut(row) {
                *slot = *value;
            }
        }
        // A trace of a penalty settles the case in which all log-odds are the same.
        let Ok(fit) = logistic::fit(&x, &smoothed, &rows, 1e-9, None) else { return Self::NONE };
        let slope = fit.coefficients.first().copied().unwrap_or(1.0);
        if SLOPES.contains(&slope) {
            return Self { slope, shift: fit.intercept };
        }
        let slope = slope.clamp(*SLOPES.start(), *SLOPES.end());
        Self { slope, shift: best_shift(slope, log_odds, &smoothed) }
    }

    /// The calibrated log-odds.
    #[must_use]
    pub fn log_odds(&self, raw: f64) -> f64 {
        self.slope * raw + self.shift
    }

    /// The calibrated probability.
    #[must_use]
    pub fn probability(&self, raw: f64) -> f64 {
        sigmoid(self.log_odds(raw))
    }
}

/// The shift at which predictions and answers have the same mean, for a given slope.
fn best_shift(slope: f64, log_odds: &[f64], y: &[f64]) -> f64 {
    let mut shift = 0.0;
    for _ in 0..50 {
        let (mut gradient, mut weight) = (0.0, 1e-9);
        for (raw, y) in log_odds.iter().zip(y) {
            let p = sigmoid(slope * raw + shift);
            gradient += p - y;
            weight += p * (1.0 - p);
        }
        let step: f64 = (gradient / weight).clamp(-2.0, 2.0);
        shift -= step;
        if step.abs() < 1e-10 {
            break;
        }
    }
    shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overconfident_scores_are_pulled_in_and_order_is_kept() {
        // True log-odds are half of what is claimed.
        let mut raw = Vec::new();
        let mut y = Vec::new();
        for step in -20..=20 {
            let claimed = f64::from(step) * 0.3;
            let share = sigmoid(0.5 * claimed + 0.4);
            for i in 0..100 {
                raw.push(claimed);
                y.push(f64::from(u8::from(f64::from(i) + 0.5 < share * 100.0)));
            }
        }
        let platt = Platt::fit(&raw, &y);
        assert!((platt.slope - 0.5).abs() < 0.02 && (platt.shift - 0.4).abs() < 0.05, "{platt:?}");
        assert!(platt.probability(1.0) > platt.probability(0.9));
    }

    #[test]
    fn useless_or_reversed_scores_keep_a_slope_above_zero_and_the_right_mean() {
        let raw: Vec<f64> = (0..100).map(f64::from).collect();
        let y: Vec<f64> = (0..100).map(|i| f64::from(u8::from(i < 30))).collect();
        let platt = Platt::fit(&raw, &y);
        assert!(platt.slope > 0.0);
        let mean = raw.iter().map(|r| platt.probability(*r)).sum::<f64>() / 100.0;
        assert!((mean - 0.3).abs() < 0.02, "{mean}");
        let same = Platt::fit(&[0.0; 10], &[1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        assert!(same.slope > 0.0 && same.probability(0.0) < 0.4);
    }
}
