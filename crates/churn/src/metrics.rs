//! How good probabilities are, each figure with its interval.
//!
//! Figures come from predictions on rows that the model had not seen (repeated stratified folds); intervals are
//! bias-corrected percentile intervals of a seeded bootstrap over rows (Efron 1987), the repeats taken in turn, so
//! that they hold both the luck of the rows and the luck of the folds.
#![expect(clippy::indexing_slicing, reason = "dense kernels: indices run over sizes checked on entry")]

use crate::{
    folds::Split,
    special::{normal_cdf, normal_quantile},
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// A figure and the interval that holds it with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The figure.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Whether the interval holds a value.
    #[must_use]
    pub fn holds(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }

    /// A bias-corrected percentile interval from bootstrap replicates of an estimate.
    #[must_use]
    pub fn bootstrap(estimate: f64, mut replicates: Vec<f64>) -> Self {
        replicates.retain(|v| v.is_finite());
        if replicates.is_empty() {
            return Self { estimate, low: estimate, high: estimate };
        }
        replicates.sort_by(f64::total_cmp);
        let n = replicates.len() as f64;
        let below = replicates.iter().filter(|v| **v < estimate).count() as f64
            + 0.5 * replicates.iter().filter(|v| **v == estimate).count() as f64;
        let bias = normal_quantile((below / n).clamp(0.5 / n, 1.0 - 0.5 / n));
        let end = |z: f64| {
            let share = normal_cdf(2.0 * bias + z);
            replicates[((share * (n - 1.0)).round() as usize).min(replicates.len() - 1)]
        };
        let (low, high) = (end(-1.959_964), end(1.959_964));
        Self { estimate, low: low.min(estimate), high: high.max(estimate) }
    }
}

/// Wilson's interval for a share of `yes` among `n`.
#[must_use]
pub fn wilson(yes: f64, n: f64) -> Interval {
    if n <= 0.0 {
        return Interval { estimate: 0.0, low: 0.0, high: 1.0 };
    }
    let z2 = 1.959_964_f64.powi(2);
    let share = yes / n;
    let middle = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = (z2 * (share * (1.0 - share) / n + z2 / (4.0 * n * n))).sqrt() / (1.0 + z2 / n);
    Interval {
        estimate: share,
        low: (middle - half).clamp(0.0, share),
        high: (middle + half).clamp(share, 1.0),
    }
}

/// One bin of the calibration curve: a tenth of the customers, by predicted probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CurveBin {
    /// Mean predicted probability.
    pub predicted: f64,
    /// Share that really left, with Wilson's interval.
    pub observed: Interval,
    /// How many customers.
    pub rows: usize,
}

/// Verdicts against what happened, as shares of all rows so that repeats can be averaged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Confusion {
    /// Probability from which the verdict is "leaves".
    pub threshold: f64,
    /// Left, and was said to leave.
    pub true_positive: f64,
    /// Stayed, but was said to leave.
    pub false_positive: f64,
    /// Left, but was said to stay.
    pub false_negative: f64,
    /// Stayed, and was said to stay.
    pub true_negative: f64,
    /// Share of right verdicts.
    pub accuracy: Interval,
    /// Share of those said to leave who left.
    pub precision: Interval,
    /// Share of those who left who were found.
    pub recall: Interval,
}

/// All figures of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Rows judged.
    pub rows: usize,
    /// How many of them left.
    pub positives: usize,
    /// How often each row was judged (repeats of the folds).
    pub repeats: usize,
    /// Folds per repeat; 0 where a separate table was judged.
    pub folds: usize,
    /// Probability that a leaver is ranked above a stayer, within a fold (the usual mean over folds).
    pub auc: Interval,
    /// Standard deviation of the folds' AUCs; 0 where a separate table was judged.
    pub auc_between_folds: f64,
    /// Mean negative log-likelihood.
    pub log_loss: Interval,
    /// Mean squared error of the probability.
    pub brier: Interval,
    /// Area under precision by recall, stepwise.
    pub average_precision: Interval,
    /// Mean distance between predicted and observed, over ten bins of equal size.
    pub calibration_error: Interval,
    /// Churn rate of the riskiest tenth over the churn rate of all.
    pub lift_top_decile: Interval,
    /// Share of all leavers found in the riskiest tenth.
    pub gain_top_decile: Interval,
    /// Verdicts at the threshold.
    pub confusion: Confusion,
    /// The calibration curve (of the first repeat's predictions).
    pub curve: Vec<CurveBin>,
    /// The gains curve: the share of all leavers found among the riskiest tenth, two tenths and so on to nine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gains: Vec<Interval>,
}

/// Predictions sorted once, so that each bootstrap replicate is one pass over counts.
struct Sorted {
    /// Rows by probability, highest first.
    order: Vec<usize>,
    y: Vec<f64>,
    p: Vec<f64>,
    /// Position (in `order`) of the last row of each run of equal probabilities.
    run_ends: Vec<usize>,
}

/// Tenths of the gains curve, the last of which finds everybody.
const TENTHS: usize = 9;
const FIGURES: usize = 9 + TENTHS;

impl Sorted {
    fn new(y: &[f64], p: &[f64]) -> Self {
        let mut order: Vec<usize> = (0..y.len()).collect();
        order.sort_by(|a, b| p[*b].total_cmp(&p[*a]).then(a.cmp(b)));
        let run_ends = (0..order.len())
            .filter(|i| order.get(i + 1).is_none_or(|next| p[*next] != p[order[*i]]))
            .collect();
        Self { order, y: y.to_vec(), p: p.to_vec(), run_ends }
    }

    /// All figures at once, each row counted `weight(row)` times.
    fn figures(&self, weight: impl Fn(usize) -> f64, threshold: f64) -> [f64; FIGURES] {
        let n: f64 = (0..self.y.len()).map(&weight).sum();
        let positives: f64 = (0..self.y.len()).map(|row| weight(row) * self.y[row]).sum();
        let negatives = n - positives;
        if positives <= 0.0 || negatives <= 0.0 {
            return [f64::NAN; FIGURES];
        }
        let (mut log_loss, mut brier) = (0.0, 0.0);
        let (mut tp, mut fp) = (0.0, 0.0);
        let (mut auc, mut ap) = (0.0, 0.0);
        let (mut said_tp, mut said_fp) = (0.0, 0.0);
        let mut start = 0;
        let mut found = [0.0; TENTHS];
        // Calibration: ten bins of equal weight.
        let (mut ece, mut bin_w, mut bin_y, mut bin_p, mut bin) = (0.0, 0.0, 0.0, 0.0, 1.0);
        for &end in &self.run_ends {
            let (mut run_y, mut run_w) = (0.0, 0.0);
            let p = self.p[self.order[end]];
            for &row in &self.order[start..=end] {
                let w = weight(row);
                run_w += w;
                run_y += w * self.y[row];
            }
            start = end + 1;
            let run_n = run_w - run_y;
            let clipped = p.clamp(1e-15, 1.0 - 1e-15);
            log_loss -= run_y * clipped.ln() + run_n * (1.0 - clipped).ln();
            brier += run_y * (1.0 - p) * (1.0 - p) + run_n * p * p;
            auc += run_n * (tp + 0.5 * run_y);
            let before = tp + fp;
            if run_w > 0.0 {
                for (tenth, found) in found.iter_mut().enumerate() {
                    let top = 0.1 * (tenth + 1) as f64 * n;
                    if before < top {
                        // A run of equal scores that crosses the line counts in part.
                        *found += run_y * ((top - before) / run_w).min(1.0);
                    }
                }
            }
            tp += run_y;
            fp += run_n;
            if run_w > 0.0 {
                ap += run_y * tp / (tp + fp);
            }
            if p >= threshold {
                said_tp = tp;
                said_fp = fp;
            }
            bin_w += run_w;
            bin_y += run_y;
            bin_p += run_w * p;
            if tp + fp >= bin * n / 10.0 - 1e-9 {
                ece += (bin_y - bin_p).abs();
                (bin_w, bin_y, bin_p) = (0.0, 0.0, 0.0);
                while tp + fp >= bin * n / 10.0 - 1e-9 {
                    bin += 1.0;
                }
            }
        }
        if bin_w > 0.0 {
            ece += (bin_y - bin_p).abs();
        }
        let gains = found.map(|found| found / positives);
        let first = [
            auc / (positives * negatives),
            log_loss / n,
            brier / n,
            ap / positives,
            ece / n,
            gains[0] / 0.1,
            (said_tp + negatives - said_fp) / n,
            if said_tp + said_fp > 0.0 { said_tp / (said_tp + said_fp) } else { f64::NAN },
            said_tp / positives,
        ];
        std::array::from_fn(|index| first.get(index).copied().unwrap_or_else(|| gains[index - first.len()]))
    }
}

/// The area under the ROC curve, ties counted half; `None` where one answer is absent.
#[must_use]
pub fn auc(y: &[f64], score: &[f64]) -> Option<f64> {
    let positives = y.iter().sum::<f64>();
    if positives <= 0.0 || positives >= y.len() as f64 {
        return None;
    }
    Some(Sorted::new(y, score).figures(|_| 1.0, f64::INFINITY)[0])
}

/// Mean negative log-likelihood.
#[must_use]
pub fn log_loss(y: &[f64], p: &[f64]) -> f64 {
    let sum: f64 = y
        .iter()
        .zip(p)
        .map(|(y, p)| {
            let p = p.clamp(1e-15, 1.0 - 1e-15);
            -(y * p.ln() + (1.0 - y) * (1.0 - p).ln())
        })
        .sum();
    sum / y.len().max(1) as f64
}

/// Mean squared error of the probabilities.
#[must_use]
pub fn brier(y: &[f64], p: &[f64]) -> f64 {
    y.iter().zip(p).map(|(y, p)| (y - p) * (y - p)).sum::<f64>() / y.len().max(1) as f64
}

/// The calibration curve: `bins` groups of (nearly) equal size, from the lowest probability to the highest.
#[must_use]
pub fn calibration_curve(y: &[f64], p: &[f64], bins: usize) -> Vec<CurveBin> {
    let mut order: Vec<usize> = (0..y.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]).then(a.cmp(b)));
    let size = y.len().div_ceil(bins.max(1)).max(1);
    order
        .chunks(size)
        .map(|rows| {
            let n = rows.len() as f64;
            CurveBin {
                predicted: rows.iter().map(|r| p[*r]).sum::<f64>() / n,
                observed: wilson(rows.iter().map(|r| y[*r]).sum(), n),
                rows: rows.len(),
            }
        })
        .collect()
}

/// Judges probabilities. `repeats` holds one prediction per row and repeat, each made without seeing the row;
/// `outer` the folds of each repeat, empty where the rows are a separate table.
///
/// The AUC is the mean of the folds' own: pooled over folds it would compare customers scored by different models.
///
/// Returns `None` where there is no row, or the rows hold only one answer.
#[must_use]
pub fn judge(
    y: &[f64],
    repeats: &[Vec<f64>],
    outer: &[Vec<Split>],
    threshold: f64,
    replicates: usize,
    seed: u64,
) -> Option<Metrics> {
    let positives = y.iter().filter(|v| **v > 0.5).count();
    let first = repeats.first()?;
    if positives == 0 || positives == y.len() || repeats.iter().any(|p| p.len() != y.len()) {
        return None;
    }
    let sorted: Vec<Sorted> = repeats.iter().map(|p| Sorted::new(y, p)).collect();
    let mut estimates = [0.0; FIGURES];
    for one in &sorted {
        for (sum, figure) in estimates.iter_mut().zip(one.figures(|_| 1.0, threshold)) {
            *sum += figure / sorted.len() as f64;
        }
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut samples: Vec<Vec<f64>> = vec![Vec::new(); FIGURES];
    let mut counts = vec![0.0; y.len()];
    for replicate in 0..replicates {
        counts.fill(0.0);
        for _ in 0..y.len() {
            counts[rng.random_range(0..y.len())] += 1.0;
        }
        let figures = sorted[replicate % sorted.len()].figures(|row| counts[row], threshold);
        for (sample, figure) in samples.iter_mut().zip(figures) {
            sample.push(figure);
        }
    }
    let mut intervals = estimates.iter().zip(samples).map(|(estimate, sample)| {
        // No customer reached the threshold: precision is not defined, and is given as 0 of 0.
        let estimate = if estimate.is_finite() { *estimate } else { 0.0 };
        Interval::bootstrap(estimate, sample)
    });
    let by_fold: Vec<f64> = outer
        .iter()
        .zip(repeats)
        .flat_map(|(splits, p)| splits.iter().map(move |split| (split, p)))
        .filter_map(|(split, p)| {
            let pick = |values: &[f64]| split.test.iter().map(|row| values[*row]).collect::<Vec<f64>>();
            self::auc(&pick(y), &pick(p))
        })
        .collect();
    let mut next = || intervals.next().unwrap_or(Interval { estimate: 0.0, low: 0.0, high: 0.0 });
    let (mut auc, log_loss, brier, average_precision) = (next(), next(), next(), next());
    let mut auc_between_folds = 0.0;
    if !by_fold.is_empty() {
        let k = by_fold.len() as f64;
        let mean = by_fold.iter().sum::<f64>() / k;
        auc_between_folds = (by_fold.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / k).sqrt();
        let shift = mean - auc.estimate;
        auc = Interval { estimate: mean, low: (auc.low + shift).max(0.0), high: (auc.high + shift).min(1.0) };
    }
    let (calibration_error, lift_top_decile) = (next(), next());
    let (accuracy, precision, recall) = (next(), next(), next());
    let gains: Vec<Interval> = (0..TENTHS).map(|_| next()).collect();
    let n = y.len() as f64;
    let share = positives as f64 / n;
    let true_positive = recall.estimate * share;
    let false_negative = share - true_positive;
    let true_negative = accuracy.estimate - true_positive;
    let false_positive = 1.0 - share - true_negative;
    Some(Metrics {
        rows: y.len(),
        positives,
        repeats: repeats.len(),
        folds: outer.first().map_or(0, Vec::len),
        auc,
        auc_between_folds,
        log_loss,
        brier,
        average_precision,
        calibration_error,
        lift_top_decile,
        gain_top_decile: gains[0],
        confusion: Confusion {
            threshold,
            true_positive,
            false_positive: false_positive.max(0.0),
            false_negative: false_negative.max(0.0),
            true_negative,
            accuracy,
            precision,
            recall,
        },
        curve: calibration_curve(y, first, 10),
        gains,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_small_examples_by_hand() {
        let check = |y: &[f64], p: &[f64], expect: f64| {
            let found = auc(y, p).unwrap();
            assert!((found - expect).abs() < 1e-12, "{found} {expect}");
        };
        check(&[0.0, 0.0, 1.0, 1.0], &[0.1, 0.4, 0.35, 0.8], 0.75);
        check(&[0.0, 1.0], &[0.5, 0.5], 0.5);
        check(&[1.0, 0.0], &[0.1, 0.9], 0.0);
        assert_eq!(auc(&[1.0, 1.0], &[0.1, 0.2]), None);
        let y = [0.0, 0.0, 1.0, 1.0];
        let p = [0.1, 0.4, 0.35, 0.8];
        let metrics = judge(&y, &[p.to_vec()], &[], 0.3, 200, 1).unwrap();
        // Precision 1 at recall 1/2, then 2/3 at recall 1.
        assert!((metrics.average_precision.estimate - (0.5 + 0.5 * 2.0 / 3.0)).abs() < 1e-12);
        assert!((metrics.log_loss.estimate - log_loss(&y, &p)).abs() < 1e-12);
        assert!((metrics.brier.estimate - brier(&y, &p)).abs() < 1e-12);
        assert_eq!(metrics.confusion.true_positive, 0.5);
        assert_eq!(metrics.confusion.false_positive, 0.25);
        assert_eq!(metrics.confusion.false_negative, 0.0);
        assert!((metrics.confusion.precision.estimate - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn lift_counts_ties_in_part_and_never_beats_the_best_possible() {
        let y: Vec<f64> = (0..100).map(|i| f64::from(u8::from(i < 20))).collect();
        let best: Vec<f64> = y.iter().map(|v| 0.1 + 0.8 * v).collect();
        let metrics = judge(&y, &[best], &[], 0.5, 100, 1).unwrap();
        assert!((metrics.lift_top_decile.estimate - 5.0).abs() < 1e-9);
        assert!((metrics.gain_top_decile.estimate - 0.5).abs() < 1e-9);
        let flat = judge(&y, &[vec![0.2; 100]], &[], 0.5, 100, 1).unwrap();
        assert!((flat.lift_top_decile.estimate - 1.0).abs() < 1e-9);
        assert!((flat.auc.estimate - 0.5).abs() < 1e-9);
        assert!(flat.calibration_error.estimate < 1e-9);
        assert_eq!(flat.confusion.precision.estimate, 0.0, "nobody reached the threshold");
    }

    #[test]
    fn intervals_hold_the_estimate_and_follow_the_seed() {
        let y: Vec<f64> = (0..200).map(|i| f64::from(u8::from(i % 4 == 0))).collect();
        let p: Vec<f64> =
            (0..200).map(|i| 0.1 + 0.3 * f64::from(u8::from(i % 4 == 0)) + f64::from(i % 7) * 0.05).collect();
        let judge_with = |seed| judge(&y, std::slice::from_ref(&p), &[], 0.5, 300, seed).unwrap();
        let metrics = judge_with(3);
        assert_eq!(metrics, judge_with(3));
        assert_ne!(metrics.auc.low, judge_with(4).auc.low);
        for interval in [metrics.auc, metrics.log_loss, metrics.brier, metrics.calibration_error] {
            assert!(interval.low <= interval.estimate && interval.estimate <= interval.high);
            assert!(interval.high > interval.low);
        }
        let wilson = wilson(0.0, 10.0);
        assert!(wilson.low == 0.0 && (wilson.high - 0.2775).abs() < 1e-3);
    }
}
