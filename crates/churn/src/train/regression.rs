//! One regression fitted to some rows: penalty and calibration from folds among these rows only.

use super::split;
use crate::{
    calibration::Platt,
    encode::{Additive, Encoder, Width},
    error::ChurnError,
    features::Dataset,
    folds::{self, Split},
    logistic::{self, Fit, NoFit},
    special::softplus,
};

/// A regression fitted to some rows.
pub(crate) struct Fitted {
    pub additive: Additive,
    pub platt: Platt,
    pub penalty: f64,
    /// What it would have said of each row without having seen it, where that was needed for penalty or calibration.
    pub unseen: Vec<f64>,
}

/// How one regression is fitted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipe<'a> {
    pub splines: bool,
    pub folds: usize,
    /// Penalties to choose from, the strongest first; 0 only alone.
    pub penalties: &'a [f64],
    pub calibrate: bool,
}

/// Fits a regression with a penalty that was chosen before, without calibrating it.
pub(super) fn fit_with(
    data: &Dataset,
    rows: &[usize],
    splines: bool,
    penalty: f64,
) -> Result<Additive, ChurnError> {
    let recipe = Recipe { splines, folds: 2, penalties: &[penalty], calibrate: false };
    Ok(fit_rows(data, rows, recipe, 0)?.additive)
}

/// Fits a regression to the listed rows: penalty and calibration from folds among these rows only.
pub(crate) fn fit_rows(
    data: &Dataset,
    rows: &[usize],
    recipe: Recipe<'_>,
    seed: u64,
) -> Result<Fitted, ChurnError> {
    let Recipe { splines, folds, penalties, calibrate } = recipe;
    let mut encoder = Encoder::learn(data, rows, splines);
    if penalties != [0.0] {
        encoder.keep_strongest(data, rows, Width::affordable(rows.len()));
    } else if encoder.width() >= rows.len() {
        return Err(ChurnError::TooFewRows {
            what: format!("{} columns and no penalty (use the cross-validated penalty)", encoder.width()),
            found: rows.len(),
            needed: encoder.width() + 1,
        });
    }
    let x = encoder.design(data);
    let no_fit = |why| no_fit_error(data, &encoder, why);
    let (mut index, mut platt) = (0, Platt::NONE);
    let mut kept = Vec::new();
    if penalties.len() > 1 || calibrate {
        let yes = rows.iter().filter(|row| data.is_yes(**row)).count();
        let possible = folds::folds_possible(yes, rows.len() - yes, folds).max(2);
        let splits = split(data, rows, possible, seed);
        let mut unseen = vec![vec![0.0; data.rows()]; penalties.len()];
        for split in &splits {
            let mut warm: Option<Fit> = None;
            for (penalty, out) in penalties.iter().zip(&mut unseen) {
                let fit =
                    logistic::fit(&x, &data.y, &split.train, *penalty, warm.as_ref()).map_err(no_fit)?;
                for row in &split.test {
                    if let Some(slot) = out.get_mut(*row) {
                        *slot = fit.log_odds(&x, *row);
                    }
                }
                warm = Some(fit);
            }
        }
        index = strongest_within_one_error(data, &splits, &unseen);
        kept = unseen.into_iter().nth(index).unwrap_or_default();
        if calibrate {
            let of = |values: &[f64]| {
                rows.iter().filter_map(|row| values.get(*row).copied()).collect::<Vec<f64>>()
            };
            platt = Platt::fit(&of(&kept), &of(&data.y));
        }
    }
    let penalty = penalties.get(index).copied().unwrap_or_default();
    let fit = logistic::fit(&x, &data.y, rows, penalty, None).map_err(no_fit)?;
    Ok(Fitted { additive: encoder.additive(&data.features, &fit), platt, penalty, unseen: kept })
}

pub(crate) fn no_fit_error(data: &Dataset, encoder: &Encoder, why: NoFit) -> ChurnError {
    let name = |column: usize| {
        data.features.get(encoder.feature_of(column)).map_or_else(String::new, |f| f.name.clone())
    };
    match why {
        NoFit::Separated(column) => ChurnError::Separated { column: name(column) },
        NoFit::Collinear(column) => ChurnError::Collinear { columns: vec![name(column)] },
    }
}

pub(crate) fn loss_at(data: &Dataset, row: usize, log_odds: f64) -> f64 {
    softplus(log_odds) - data.y.get(row).copied().unwrap_or_default() * log_odds
}

/// The first (strongest) penalty whose loss is within one standard error of the best's. The error is that of the
/// difference, fold by fold: folds differ far more among themselves than two penalties on the same fold.
fn strongest_within_one_error(data: &Dataset, splits: &[Split], unseen: &[Vec<f64>]) -> usize {
    let by_fold: Vec<Vec<f64>> = unseen
        .iter()
        .map(|log_odds| {
            let fold_loss = |split: &Split| {
                let sum: f64 = split
                    .test
                    .iter()
                    .map(|r| loss_at(data, *r, log_odds.get(*r).copied().unwrap_or(0.0)))
                    .sum();
                sum / split.test.len().max(1) as f64
            };
            splits.iter().map(fold_loss).collect()
        })
        .collect();
    first_within_one_error(&by_fold).0
}

/// For candidates from the simplest on, each with one loss per fold: the first within one standard error of the
/// best, and each one's mean difference to the best with its standard error.
pub(super) fn first_within_one_error(by_fold: &[Vec<f64>]) -> (usize, Vec<(f64, f64)>) {
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len().max(1) as f64;
    let Some(best) = by_fold.iter().min_by(|a, b| mean(a).total_cmp(&mean(b))) else {
        return (0, Vec::new());
    };
    let behind: Vec<(f64, f64)> = by_fold
        .iter()
        .map(|losses| {
            let differences: Vec<f64> = losses.iter().zip(best).map(|(a, b)| a - b).collect();
            let n = differences.len().max(2) as f64;
            let middle = mean(&differences);
            let variance = differences.iter().map(|d| (d - middle) * (d - middle)).sum::<f64>() / (n - 1.0);
            (middle, (variance / n).sqrt())
        })
        .collect();
    let chosen = behind.iter().position(|(difference, error)| difference <= error).unwrap_or(0);
    (chosen, behind)
}
