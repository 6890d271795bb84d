//! Do as many customers leave as was predicted? The verdict depends on how many outcomes are known.

use vigie_churn::metrics::calibration_curve;
use vigie_churn::words::{Lang, number, signed};
use vigie_domain::ScoredOutcome;
use vigie_server::ports::{CalibrationBin, CalibrationDrift, DriftVerdict};

use super::{Sequence, points, words};

/// Fewer outcomes than this give no verdict ...
const LEAST: usize = 50;
/// ... and fewer of those who left, or were expected to.
const LEAST_LEFT: f64 = 5.0;
/// A difference below this is no reason to act, even when it is certain.
const SMALL: f64 = 0.02;
/// From this on, the probabilities are of little use.
const LARGE: f64 = 0.06;
const BINS: usize = 10;

/// What this model predicted, in service or in shadow, with what became of it; oldest outcome first.
pub fn predictions_of(outcomes: &[ScoredOutcome], version: &str) -> Vec<(f64, bool)> {
    let mut of_model: Vec<(i64, f64, bool)> = outcomes
        .iter()
        .filter_map(|outcome| {
            let said = std::iter::once(&outcome.prediction)
                .chain(&outcome.challenger)
                .find(|prediction| prediction.model_version == version)?;
            Some((outcome.outcome_time, said.probability, outcome.churned))
        })
        .collect();
    of_model.sort_by_key(|(at, ..)| *at);
    of_model.into_iter().map(|(_, probability, left)| (probability, left)).collect()
}

/// Predicted against observed.
pub fn calibration(predicted: &[(f64, bool)]) -> CalibrationDrift {
    let mut sequence = Sequence::default();
    for (probability, left) in predicted {
        sequence.observe(f64::from(u8::from(*left)) - probability);
    }
    let expected: f64 = predicted.iter().map(|(probability, _)| probability).sum();
    let observed = predicted.iter().filter(|(_, left)| *left).count() as u64;
    let difference = sequence.interval(0.05);
    let enough = predicted.len() >= LEAST && expected.max(observed as f64) >= LEAST_LEFT;
    let verdict = match &difference {
        Some(difference) if enough => {
            let size = difference.estimate.abs();
            if difference.holds(0.0) || size < SMALL {
                DriftVerdict::Stable
            } else if size < LARGE {
                DriftVerdict::Changed
            } else {
                DriftVerdict::Drifted
            }
        }
        _ => DriftVerdict::TooFew,
    };
    let n = predicted.len();
    let (left, would) = (|lang| number(observed as f64, 0, lang), |lang| number(expected, 1, lang));
    let shift = |lang| signed(difference.map_or(0.0, |d| d.estimate) * 100.0, 1, lang);
    let (en, fr) = (Lang::En, Lang::Fr);
    let sentence = match verdict {
        DriftVerdict::TooFew => words(
            format!(
                "{n} outcomes of this model's predictions are known: too few to tell (at least {LEAST} are needed)"
            ),
            format!(
                "{n} issues connues pour les prédictions de ce modèle : trop peu pour conclure (il en faut au moins {LEAST})"
            ),
        ),
        DriftVerdict::Stable => words(
            format!(
                "of {n} customers {} left, {} were expected: the probabilities hold",
                left(en),
                would(en)
            ),
            format!(
                "sur {n} clients, {} sont partis, {} étaient attendus : les probabilités tiennent",
                left(fr),
                would(fr)
            ),
        ),
        DriftVerdict::Changed => words(
            format!(
                "of {n} customers {} left, {} were expected ({} points): not by chance, worth a look",
                left(en),
                would(en),
                shift(en)
            ),
            format!(
                "sur {n} clients, {} sont partis, {} étaient attendus ({} points) : ce n’est pas un hasard, à regarder",
                left(fr),
                would(fr),
                shift(fr)
            ),
        ),
        DriftVerdict::Drifted => words(
            format!(
                "of {n} customers {} left, {} were expected ({} points): the probabilities are wrong, train again",
                left(en),
                would(en),
                shift(en)
            ),
            format!(
                "sur {n} clients, {} sont partis, {} étaient attendus ({} points) : les probabilités sont fausses, à réapprendre",
                left(fr),
                would(fr),
                shift(fr)
            ),
        ),
    };
    let y: Vec<f64> = predicted.iter().map(|(_, left)| f64::from(u8::from(*left))).collect();
    let p: Vec<f64> = predicted.iter().map(|(probability, _)| *probability).collect();
    let curve = if n >= LEAST { calibration_curve(&y, &p, BINS) } else { Vec::new() };
    CalibrationDrift {
        verdict,
        outcomes: n as u64,
        expected,
        observed,
        difference: difference.as_ref().filter(|_| enough).map(points),
        words: sentence,
        curve: curve
            .iter()
            .map(|bin| CalibrationBin {
                predicted: bin.predicted,
                observed: bin.observed.estimate,
                low: bin.observed.low,
                high: bin.observed.high,
                count: bin.rows as u64,
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n` customers at 0.3, of whom this share left, evenly.
    fn verdict(n: usize, share: f64) -> DriftVerdict {
        let left = |i: usize| ((i + 1) as f64 * share).floor() > (i as f64 * share).floor();
        let predicted: Vec<(f64, bool)> = (0..n).map(|i| (0.3, left(i))).collect();
        calibration(&predicted).verdict
    }

    #[test]
    fn the_same_difference_is_chance_among_few_and_drift_among_many() {
        for (n, share, expected) in [
            (40, 0.9, DriftVerdict::TooFew),
            (60, 0.3, DriftVerdict::Stable),
            (60, 0.4, DriftVerdict::Stable),
            (2_000, 0.4, DriftVerdict::Drifted),
            (20_000, 0.33, DriftVerdict::Changed),
            (200_000, 0.31, DriftVerdict::Stable),
        ] {
            assert_eq!(verdict(n, share), expected, "{n} customers, {share}");
        }
    }
}
