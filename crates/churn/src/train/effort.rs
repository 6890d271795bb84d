//! What judging and choosing is cut down to where the table is large: an estimate of the work, never a clock, so that the same
//! table and budget give the same model on any machine.

use super::FitOptions;
use crate::{encode::Width, forest, words::Words};

/// Penalties that are tried, from the strongest.
const PENALTIES: [f64; 11] = [1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5];
/// The same for large tables, where penalties hardly differ.
const FEW_PENALTIES: [f64; 4] = [0.1, 0.01, 1e-3, 1e-4];
/// Seconds of one core that training may take where nothing else is said.
pub(super) const SECONDS: f64 = 40.0;
/// Newton steps of a fit, and of one that starts from its neighbour's.
const STEPS: (f64, f64) = (7.0, 3.5);
/// Trees of a run, before it stops early.
const TREES: f64 = 250.0;

/// What is afforded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Effort {
    pub repeats: usize,
    pub outer_folds: usize,
    pub inner_folds: usize,
    pub penalties: &'static [f64],
    /// At most so many rows decide what is chosen; all of them are learnt from in the end.
    pub sample: usize,
    pub splines: bool,
    pub trees: bool,
}

/// The table's size as far as work goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub rows: usize,
    /// Folds that the rarer answer allows.
    pub folds: usize,
    pub columns: usize,
    /// Design columns of straight lines, and of splines (the same where there are none).
    pub lines: Width,
    pub splines: Width,
}

impl Effort {
    /// The most thorough effort whose estimate is within the budget; the least one where none is.
    pub fn within(options: &FitOptions, size: Size) -> Self {
        let budget = options.budget_seconds.unwrap_or(SECONDS);
        let full = Self {
            repeats: options.repeats,
            outer_folds: size.folds,
            inner_folds: size.folds,
            penalties: &PENALTIES,
            sample: usize::MAX,
            splines: options.splines && size.splines != size.lines,
            trees: options.trees && size.rows >= forest::ROWS_FOR_TREES && options.repeats > 0,
        };
        let mut last = full;
        for effort in full.ladder() {
            if effort.seconds(size) <= budget {
                return effort;
            }
            last = effort;
        }
        last
    }

    /// From the most thorough down.
    fn ladder(self) -> impl Iterator<Item = Self> {
        let mut steps = vec![self];
        let mut now = self;
        for repeats in [3, 2, 1] {
            now.repeats = self.repeats.min(repeats);
            steps.push(now);
        }
        now.inner_folds = self.inner_folds.min(3);
        steps.push(now);
        now.penalties = &FEW_PENALTIES;
        steps.push(now);
        now.outer_folds = self.outer_folds.min(3);
        steps.push(now);
        for sample in [200_000, 100_000, 50_000, 20_000] {
            now.sample = sample;
            steps.push(now);
        }
        for (splines, trees, sample) in
            [(false, true, 20_000), (false, true, 5_000), (false, false, 5_000), (false, false, 1_000)]
        {
            now.splines &= splines;
            now.trees &= trees;
            now.sample = sample;
            steps.push(now);
        }
        steps.into_iter()
    }

    /// Estimated seconds of one core.
    fn seconds(self, size: Size) -> f64 {
        let judged = size.rows.min(self.sample) as f64;
        let outer = (self.repeats * self.outer_folds) as f64;
        // Each outer fold, and the choice at the end, fit all candidates; a table larger than the sample once more.
        let choosing = (outer + 1.0) * self.one(judged, size);
        let again = if size.rows > self.sample { self.last(size.rows as f64, size) } else { 0.0 };
        choosing + again
    }

    /// One fit of all candidates with all their inner folds.
    fn one(self, rows: f64, size: Size) -> f64 {
        let regression = |width: Width| {
            let fits = self.inner_folds as f64 * self.penalties.len() as f64 * STEPS.1 + STEPS.0;
            fits * newton_step(rows, width, size.columns)
        };
        let mut sum = regression(size.lines);
        if self.splines {
            sum += regression(size.splines);
        }
        if self.trees {
            let folds = forest::folds(rows as usize) as f64;
            let sizes = || {
                forest::shapes(rows as usize).iter().map(|shape| boosting(rows, size.columns, shape.leaves))
            };
            // All shapes, then the best one on what a regression leaves over; both with other draws again, and on all rows.
            let largest = sizes().fold(0.0, f64::max);
            let forests = forest::forests(rows as usize) as f64;
            sum += folds * (sizes().sum::<f64>() + largest) + 2.0 * largest;
            sum += 2.0 * (forests - 1.0) * (folds + 1.0) * largest;
        }
        sum
    }

    fn last(self, rows: f64, size: Size) -> f64 {
        let forests = forest::forests(rows as usize) as f64;
        let trees = if self.trees { forests * boosting(rows, size.columns, 20) } else { 0.0 };
        STEPS.0 * newton_step(rows, size.splines, size.columns) + trees
    }

    /// What the reader of the card should know.
    pub fn notes(self, options: &FitOptions, rows: usize) -> Vec<Words> {
        let mut notes = Vec::new();
        if self.repeats < options.repeats {
            notes.push(Words::new(
                format!(
                    "judged on {} instead of {} repeats of the folds, for the table's size",
                    self.repeats, options.repeats
                ),
                format!(
                    "jugé sur {} répétition(s) des plis au lieu de {}, vu la taille de la table",
                    self.repeats, options.repeats
                ),
            ));
        }
        if rows > self.sample {
            let (en, fr) = (
                crate::words::number(self.sample as f64, 0, crate::words::Lang::En),
                crate::words::number(self.sample as f64, 0, crate::words::Lang::Fr),
            );
            notes.push(Words::new(
                format!("chosen and judged on {en} rows drawn at random; learnt from all of them in the end"),
                format!("choisi et jugé sur {fr} lignes tirées au sort ; appris sur toutes à la fin"),
            ));
        }
        if options.trees && rows >= forest::ROWS_FOR_TREES && options.repeats > 0 && !self.trees {
            notes.push(Words::new(
                "boosted trees were left out for want of time: a larger --budget-seconds tries them",
                "arbres boostés non essayés faute de temps : un plus grand --budget-seconds les essaie",
            ));
        }
        notes
    }
}

/// Seconds of one Newton step.
fn newton_step(rows: f64, width: Width, columns: usize) -> f64 {
    let most = Width::affordable(rows as usize);
    let (dense, levels) = (width.dense.min(most.dense) as f64, width.levels.min(most.levels) as f64);
    // Of all levels a row has one per category.
    let p = dense + levels.min(columns as f64);
    rows * (0.5 * p * p + 4.0 * p + 20.0) * 0.7e-9 + (dense + levels).powi(3) * 0.3e-9
}

/// Seconds of boosting one run.
fn boosting(rows: f64, columns: usize, leaves: usize) -> f64 {
    let depth = (leaves as f64).log2();
    let per_tree = rows * columns as f64 * 0.6e-9 * depth + columns as f64 * leaves as f64 * 0.35e-6;
    TREES * per_tree
}
