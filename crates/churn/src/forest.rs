//! Trees, and their blend with a regression, as candidates for larger tables: how many trees of which size, and how
//! much of each in the blend, by folds among the rows that are learnt from.

use crate::{
    encode::Additive,
    error::ChurnError,
    features::Dataset,
    model_file::ModelFileError,
    train::{loss_at, split},
    trees::{
        Trees,
        bins::{Binned, Kind},
        boost::{BoostOptions, Boosted, Objective, boost},
        grow::GrowOptions,
    },
};
use serde::{Deserialize, Serialize};

/// Tables with fewer rows get no trees: on the agency's 900, forests and boosted trees reached an AUC of .88 to .898,
/// straight lines .904.
pub(crate) const ROWS_FOR_TREES: usize = 3_000;
/// Leaves and shrinkage that are tried on smaller tables, from the simplest.
const SHAPES: [(usize, f64); 3] = [(4, 0.1), (8, 0.1), (20, 0.06)];
/// And on larger ones, where each try costs seconds and the number of trees, chosen by folds, guards against too much.
const LARGE_SHAPES: [(usize, f64); 1] = [(31, 0.1)];
const LARGE: usize = 20_000;
const MOST_TREES: usize = 600;
const PATIENCE: usize = 25;
const FOLDS: usize = 3;

/// A regression and trees, mixed in log-odds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Blend {
    /// The regression.
    pub additive: Additive,
    /// The trees.
    pub trees: Trees,
    /// The share of the trees, 0 to 1.
    pub share: f64,
}

impl Blend {
    /// The raw log-odds of one row of feature values.
    #[must_use]
    pub fn log_odds(&self, row: &[f64]) -> f64 {
        (1.0 - self.share) * self.additive.log_odds(row) + self.share * self.trees.score(row)
    }
}

/// Trees, and what they would have said of each row without having seen it.
pub(crate) struct Forest {
    pub trees: Trees,
    /// By row of the data set; only those learnt from have a meaning.
    pub unseen: Vec<f64>,
}

/// The columns as bins, with cuts from the listed rows. Ties between columns are settled by name.
pub(crate) fn binned(data: &Dataset, rows: &[usize]) -> Binned {
    let kinds: Vec<Kind> = data
        .features
        .iter()
        .map(|feature| if feature.is_category() { Kind::Codes } else { Kind::Numbers })
        .collect();
    let mut order: Vec<usize> = (0..kinds.len()).collect();
    order.sort_by_key(|column| data.features.get(*column).map(|feature| feature.name.as_str()));
    Binned::learn(&data.columns, &kinds, rows, order)
}

pub(crate) fn unusable(reason: String) -> ChurnError {
    ModelFileError::Invalid { reason }.into()
}

/// Fits trees to the listed rows: their size and number by folds among these rows only.
pub(crate) fn fit(data: &Dataset, rows: &[usize], seed: u64) -> Result<Forest, ChurnError> {
    let binned = binned(data, rows);
    let splits = split(data, rows, FOLDS, seed);
    let shapes: &[(usize, f64)] = if rows.len() < LARGE { &SHAPES } else { &LARGE_SHAPES };
    let mut best: Option<(f64, BoostOptions, Vec<Boosted>)> = None;
    for (leaves, shrinkage) in shapes {
        let options = BoostOptions {
            objective: Objective::LogOdds,
            trees: MOST_TREES,
            grow: GrowOptions { leaves: *leaves, leaf_rows: 20, l2: 1.0, shrinkage: *shrinkage },
            column_share: 1.0,
            patience: PATIENCE,
            seed,
        };
        let runs = splits
            .iter()
            .map(|split| boost(&binned, &data.y, &split.train, &split.test, &options).map_err(unusable))
            .collect::<Result<Vec<_>, _>>()?;
        let (count, loss) = best_count(&runs);
        if best.as_ref().is_none_or(|(least, ..)| loss < *least) {
            best = Some((loss, BoostOptions { trees: count, patience: 0, ..options }, runs));
        }
    }
    // There is at least one shape.
    let Some((_, options, runs)) = best else { return Err(unusable("no trees were grown".to_owned())) };
    let mut unseen = vec![0.0; data.rows()];
    let mut values = Vec::new();
    for (split, run) in splits.iter().zip(runs) {
        let first = run.trees.trees().iter().take(options.trees).cloned().collect();
        let trees = Trees::new(run.trees.base(), run.trees.features(), first).map_err(unusable)?;
        for row in &split.test {
            data.row_into(*row, &mut values);
            if let Some(slot) = unseen.get_mut(*row) {
                *slot = trees.score(&values);
            }
        }
    }
    let trees = boost(&binned, &data.y, rows, &[], &options).map_err(unusable)?.trees;
    Ok(Forest { trees, unseen })
}

/// The number of trees with the least mean loss over the runs, and that loss. A run that stopped early stays where it
/// stopped.
fn best_count(runs: &[Boosted]) -> (usize, f64) {
    let longest = runs.iter().map(|run| run.losses.len()).max().unwrap_or(0);
    (0..longest)
        .map(|count| {
            let at = |run: &Boosted| run.losses.get(count).or(run.losses.last()).copied().unwrap_or(f64::MAX);
            (count, runs.iter().map(at).sum::<f64>() / runs.len().max(1) as f64)
        })
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap_or((0, f64::MAX))
}

/// Mean log-loss of log-odds by row.
pub(crate) fn mean_loss(data: &Dataset, rows: &[usize], log_odds: impl Fn(usize) -> f64) -> f64 {
    rows.iter().map(|row| loss_at(data, *row, log_odds(*row))).sum::<f64>() / rows.len().max(1) as f64
}

/// The share of the trees that makes the blend's unseen predictions best, in steps of a twentieth; the smallest of
/// equals.
pub(crate) fn best_share(data: &Dataset, rows: &[usize], additive: &[f64], trees: &[f64]) -> f64 {
    let of = |values: &[f64], row: usize| values.get(row).copied().unwrap_or_default();
    (0..=20)
        .map(|step| {
            let share = f64::from(step) / 20.0;
            let mixed = |row: usize| (1.0 - share) * of(additive, row) + share * of(trees, row);
            (share, mean_loss(data, rows, mixed))
        })
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map_or(0.0, |(share, _)| share)
}
