//! Trees, and their blend with a regression, as candidates for larger tables: how many trees of which size, and how
//! much of each in the blend, by folds among the rows that are learnt from.

use crate::{
    encode::Additive,
    error::ChurnError,
    features::Dataset,
    model_file::ModelFileError,
    train::{loss_at, seed_for, split},
    trees::{
        Trees,
        bins::{Binned, Kind},
        boost::{BoostOptions, Boosted, Objective, boost},
        grow::GrowOptions,
    },
};
use serde::{Deserialize, Serialize};

/// Tables with fewer rows get no trees.
pub(crate) const ROWS_FOR_TREES: usize = 600;

/// A size of trees that is tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shape {
    pub leaves: usize,
    pub leaf_rows: usize,
    pub shrinkage: f64,
}

impl Shape {
    fn options(self) -> GrowOptions {
        GrowOptions { leaves: self.leaves, leaf_rows: self.leaf_rows, l2: 1.0, shrinkage: self.shrinkage }
    }
}

const fn shape(leaves: usize, leaf_rows: usize, shrinkage: f64) -> Shape {
    Shape { leaves, leaf_rows, shrinkage }
}

/// What is tried, from the simplest: on few rows small trees only, on many rows fewer and faster ones (each try costs seconds there).
const FEW: [Shape; 2] = [shape(4, 15, 0.06), shape(8, 15, 0.05)];
const MIDDLE: [Shape; 3] = [shape(4, 20, 0.06), shape(8, 30, 0.05), shape(20, 40, 0.04)];
const MANY: [Shape; 2] = [shape(8, 50, 0.1), shape(28, 50, 0.08)];
/// With fewer rows, [`FEW`]; from so many on, [`MANY`].
const LIMITS: (usize, usize) = (2_000, 40_000);
const MOST_TREES: usize = 800;
const PATIENCE: usize = 30;
/// A shape that is worse than the best by this share of its loss ends the search: larger ones would be worse still.
const WORSE: f64 = 0.002;

/// The shapes that are tried on so many rows.
pub(crate) fn shapes(rows: usize) -> &'static [Shape] {
    if rows < LIMITS.0 {
        &FEW
    } else if rows < LIMITS.1 {
        &MIDDLE
    } else {
        &MANY
    }
}

/// Folds that decide shape and number of trees.
pub(crate) fn folds(rows: usize) -> usize {
    if (LIMITS.0..10_000).contains(&rows) { 5 } else { 3 }
}

/// Forests, each with other draws of rows and columns, whose mean is the model: on few rows what a single one says depends much on
/// its draws. On many rows it does not.
pub(crate) fn forests(rows: usize) -> usize {
    if rows < LIMITS.1 { 3 } else { 1 }
}

/// The same options with other draws.
fn draws(options: &BoostOptions, forest: usize) -> BoostOptions {
    let seed = if forest == 0 { options.seed } else { seed_for(options.seed, 6, forest) };
    BoostOptions { seed, ..*options }
}

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
    /// A regression and trees that learnt what it leaves over: their sum.
    pub(crate) fn sum(additive: Additive, trees: &Trees) -> Result<Self, ChurnError> {
        // Half of each, doubled.
        Ok(Self { additive: additive.times(2.0), trees: trees.times(2.0).map_err(unusable)?, share: 0.5 })
    }

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
    /// How they were grown.
    pub options: BoostOptions,
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

/// A regression whose left-overs trees may learn: fitted to some rows, it gives the log-odds of all.
pub(crate) type Start<'a> = &'a dyn Fn(&[usize]) -> Result<Vec<f64>, ChurnError>;

/// Fits trees to the listed rows: their size and number by folds among these rows only. With `start`, they learn what a
/// regression leaves over, which is fitted anew within each fold, and their size is given; `unseen` then holds the sums.
pub(crate) fn fit(
    data: &Dataset,
    rows: &[usize],
    start: Option<(Start<'_>, GrowOptions)>,
    seed: u64,
) -> Result<Forest, ChurnError> {
    let binned = binned(data, rows);
    let splits = split(data, rows, folds(rows.len()), seed);
    let mut best: Option<(f64, BoostOptions, Vec<Boosted>)> = None;
    let sizes: Vec<GrowOptions> = match start {
        Some((_, size)) => vec![size],
        None => shapes(rows.len()).iter().map(|shape| shape.options()).collect(),
    };
    let start = start.map(|(start, _)| start);
    let starts: Vec<Option<Vec<f64>>> = splits
        .iter()
        .map(|split| start.map(|fit| fit(&split.train)).transpose())
        .collect::<Result<_, _>>()?;
    for grow in sizes {
        let options = BoostOptions {
            objective: Objective::LogOdds,
            trees: MOST_TREES,
            grow,
            column_share: 0.8,
            row_share: 0.7,
            patience: PATIENCE,
            seed,
        };
        let runs = splits
            .iter()
            .zip(&starts)
            .map(|(split, start)| {
                boost(&binned, &data.y, &split.train, &split.test, start.as_deref(), &options)
                    .map_err(unusable)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let (count, loss) = best_count(&runs);
        let least = best.as_ref().map_or(f64::INFINITY, |(least, ..)| *least);
        if loss < least {
            best = Some((loss, BoostOptions { trees: count, patience: 0, ..options }, runs));
        } else if loss > least * (1.0 + WORSE) {
            break;
        }
    }
    // There is at least one shape.
    let Some((_, options, runs)) = best else { return Err(unusable("no trees were grown".to_owned())) };
    let mut unseen = vec![0.0; data.rows()];
    let mut values = Vec::new();
    for ((split, run), start) in splits.iter().zip(runs).zip(&starts) {
        let first = run.trees.trees().iter().take(options.trees).cloned().collect();
        let mut all = vec![Trees::new(run.trees.base(), run.trees.features(), first).map_err(unusable)?];
        for forest in 1..forests(rows.len()) {
            let other = draws(&options, forest);
            let grown = boost(&binned, &data.y, &split.train, &[], start.as_deref(), &other);
            all.push(grown.map_err(unusable)?.trees);
        }
        for row in &split.test {
            data.row_into(*row, &mut values);
            let started = start.as_ref().and_then(|start| start.get(*row)).copied().unwrap_or(0.0);
            if let Some(slot) = unseen.get_mut(*row) {
                let sum: f64 = all.iter().map(|trees| trees.score(&values)).sum();
                *slot = started + sum / all.len() as f64;
            }
        }
    }
    let trees = self::grow(data, rows, start, &options)?;
    Ok(Forest { trees, unseen, options })
}

/// Grows trees on the listed rows, as it was decided before.
pub(crate) fn grow(
    data: &Dataset,
    rows: &[usize],
    start: Option<Start<'_>>,
    options: &BoostOptions,
) -> Result<Trees, ChurnError> {
    let start = start.map(|fit| fit(rows)).transpose()?;
    let binned = binned(data, rows);
    let all = (0..forests(rows.len()))
        .map(|forest| {
            let options = draws(options, forest);
            Ok(boost(&binned, &data.y, rows, &[], start.as_deref(), &options).map_err(unusable)?.trees)
        })
        .collect::<Result<Vec<Trees>, ChurnError>>()?;
    Trees::mean(&all).map_err(unusable)
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
