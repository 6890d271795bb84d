//! Training: from a table and its plan to a judged, calibrated model.
//!
//! 1. Candidates (straight lines, splines; on tables of 600 rows or more also boosted trees and a blend of trees and
//!    regression) are each fitted with penalty, size or share chosen by inner cross-validation and calibrated on the
//!    inner folds' predictions; outer, repeated folds judge that whole procedure.
//! 2. The simplest candidate within one standard error of the best is chosen and fitted to all rows.
//!
//! How many folds and repeats, and on how many rows, follows from a budget of estimated work (`effort`), so that a table of a
//! million rows is learnt from as well.
//!
//! The figures on the card are those of the outer folds: no row is judged by a model, a penalty, a centring or a
//! calibration that saw it. Deterministic for a seed, and independent of the order of rows and columns.

mod candidates;
mod effort;
mod judge;
mod regression;
mod words;

use crate::{
    card::ModelCard,
    effect::{self, EffectOptions},
    encode::{Encoder, Width},
    error::ChurnError,
    features::Dataset,
    folds::{self, Split},
    forest,
    model::Model,
    plan::{Plan, Role},
    table::Table,
    words::Words,
};
use candidates::{Kind, fit_again, fit_kinds};
use effort::{Effort, Size};
pub(crate) use regression::{Recipe, fit_rows, loss_at};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// How strongly coefficients are held back.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Penalty {
    /// The strongest penalty within one standard error of the best, by cross-validation.
    #[default]
    CrossValidated,
    /// This penalty per row, on standardised columns; above 0.
    Fixed(f64),
    /// None: maximum likelihood.
    None,
}

/// How to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FitOptions {
    /// Learn from these columns only; all the plan allows otherwise.
    pub columns: Option<Vec<String>>,
    /// Decides folds and bootstrap.
    pub seed: u64,
    /// Probability from which the verdict is "leaves".
    pub threshold: f64,
    /// The penalty.
    pub penalty: Penalty,
    /// Whether to calibrate out of fold.
    pub calibrate: bool,
    /// Whether to try splines beside straight lines.
    pub splines: bool,
    /// Whether to try boosted trees, and their blend with the regression, on tables of 600 rows or more.
    pub trees: bool,
    /// Folds per repeat (fewer where the rarer answer has fewer rows).
    pub folds: usize,
    /// Repeats of the outer folds; 0: do not judge.
    pub repeats: usize,
    /// Bootstrap replicates behind each interval.
    pub replicates: usize,
    /// Estimated seconds of one core that training may take, 40 unless told; the estimate follows from the table's size alone, so
    /// the same budget gives the same model on any machine.
    pub budget_seconds: Option<f64>,
    /// Whether to measure the effect of the plan's treatment too, where it names one.
    pub effect: bool,
    /// Where the table came from: a file's name, kept on the card.
    pub source: Option<String>,
    /// How many threads judge the folds. Changes the time, never the model.
    pub threads: usize,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self {
            columns: None,
            seed: 1,
            threshold: 0.5,
            penalty: Penalty::CrossValidated,
            calibrate: true,
            splines: true,
            trees: true,
            folds: 5,
            repeats: 5,
            replicates: 400,
            budget_seconds: None,
            effect: false,
            source: None,
            threads: 2,
        }
    }
}

impl FitOptions {
    /// The textbook fit: straight lines, no penalty, no calibration, not judged.
    #[must_use]
    pub fn unpenalised() -> Self {
        Self {
            penalty: Penalty::None,
            calibrate: false,
            splines: false,
            trees: false,
            repeats: 0,
            ..Self::default()
        }
    }

    fn check(&self) -> Result<(), ChurnError> {
        let bad = |setting, value: String, expected| Err(ChurnError::BadSetting { setting, value, expected });
        if !(self.threshold > 0.0 && self.threshold < 1.0) {
            return bad(
                "threshold",
                self.threshold.to_string(),
                "a probability above 0 and below 1 is needed",
            );
        }
        if self.folds < 2 {
            return bad("folds", self.folds.to_string(), "at least 2 are needed");
        }
        if let Some(budget) = self.budget_seconds
            && !(budget.is_finite() && budget > 0.0)
        {
            return bad("budget_seconds", budget.to_string(), "a number of seconds above 0 is needed");
        }
        match self.penalty {
            Penalty::Fixed(value) if !(value.is_finite() && value > 0.0) => {
                bad("penalty", value.to_string(), "a number above 0 is needed (or none at all)")
            }
            _ => Ok(()),
        }
    }
}

/// With fewer rows of an answer there is nothing to divide into folds.
const ROWS_OF_EACH_ANSWER: usize = 2;

/// So many rows tell how much each column moves scores.
const ROWS_FOR_IMPORTANCE: usize = 1_000;

/// Trains a model.
///
/// # Errors
/// When the plan leaves nothing to learn from, when the target has one answer only or fewer than two rows of one,
/// when a setting is out of range, and, without a penalty, when the fit has no finite or unique answer.
pub fn train(table: &Table, plan: &Plan, options: &FitOptions) -> Result<Model, ChurnError> {
    train_watched(table, plan, options, &|_| ())
}

/// Like [`train`]; `watch` is told the share that is done (0 to 1), from any of the threads.
///
/// # Errors
/// As [`train`].
pub fn train_watched(
    table: &Table,
    plan: &Plan,
    options: &FitOptions,
    watch: &(dyn Fn(f64) + Sync),
) -> Result<Model, ChurnError> {
    options.check()?;
    let data = Dataset::read(table, plan, options.columns.as_deref())?;
    let all: Vec<usize> = (0..data.rows()).collect();
    let size = size(&data, &all, plan, options)?;
    let effort = Effort::within(options, size);
    let mut notes = Vec::new();
    let kept = Width::affordable(all.len());
    if options.penalty != Penalty::None {
        for (found, kept, en, fr) in [
            (size.lines.dense, kept.dense, "columns", "colonnes"),
            (size.lines.levels, kept.levels, "levels of categories", "modalités"),
        ] {
            if found > kept {
                notes.push(Words::new(
                    format!("{found} {en} are too many for {} rows: the regression learns from the {kept} strongest alone", all.len()),
                    format!("{found} {fr}, c’est trop pour {} lignes : la régression apprend des {kept} plus fortes isolément", all.len()),
                ));
            }
        }
    }
    notes.extend(effort.notes(options, all.len()));
    let mut candidates = vec![Kind::Lines];
    if effort.splines {
        candidates.push(Kind::Splines);
    }
    if effort.trees {
        candidates.push(Kind::Trees);
        if options.calibrate {
            candidates.push(Kind::Blend);
        }
    }
    let rows = sample(&data, &all, effort.sample, options.seed);
    let outer: Vec<Vec<Split>> = (0..effort.repeats)
        .map(|repeat| split(&data, &rows, effort.outer_folds, seed_for(options.seed, 1, repeat)))
        .collect();
    let penalties: &[f64] = match &options.penalty {
        Penalty::CrossValidated => effort.penalties,
        Penalty::Fixed(value) => std::slice::from_ref(value),
        Penalty::None => &[0.0],
    };
    let recipe =
        Recipe { splines: false, folds: effort.inner_folds, penalties, calibrate: options.calibrate };
    let judged =
        judge::predict_unseen(&data, &outer, &candidates, recipe, options, &|share| watch(0.9 * share))?;
    let (chosen, tried) = judge::choose(&data, &outer, &candidates, &judged);
    let kind = candidates.get(chosen).copied().unwrap_or(Kind::Lines);
    // Blends are made of the others.
    let wanted = if kind == Kind::Blend { candidates.clone() } else { vec![kind] };
    let fitted = fit_kinds(&data, &rows, &wanted, recipe, seed_for(options.seed, 2, 0))?;
    let fitted = fitted.into_iter().nth(wanted.iter().position(|other| *other == kind).unwrap_or(0));
    let Some(mut fitted) = fitted else { return Err(forest::unusable("no candidate was fitted".to_owned())) };
    if rows.len() < all.len() {
        fitted = fit_again(&data, &all, kind, fitted)?;
    }
    watch(0.93);
    let effect = if options.effect && plan.only(Role::Treatment).is_some() {
        let wanted = EffectOptions {
            columns: options.columns.clone(),
            seed: options.seed,
            ..EffectOptions::default()
        };
        effect::measure(table, plan, &wanted)
            .inspect_err(|error| {
                notes.push(Words::new(
                    format!("the effect of the action was not measured: {error}"),
                    format!("l’effet de l’action n’a pas été mesuré : {error}"),
                ));
            })
            .ok()
    } else {
        None
    };
    watch(0.97);
    let metrics = judged.get(chosen).and_then(|repeats| {
        judge::figures(&data, &rows, repeats, &outer, options, seed_for(options.seed, 3, 0))
    });
    let card = ModelCard {
        library_version: env!("CARGO_PKG_VERSION").to_owned(),
        seed: options.seed,
        data_hash: table.hash(),
        rows: data.rows(),
        positives: data.y.iter().filter(|y| **y > 0.5).count(),
        chosen: words::chosen_words(
            kind,
            &fitted.learner,
            &tried,
            options.penalty,
            fitted.choice.on_left_overs,
        ),
        notes,
        penalty: fitted.choice.penalty,
        candidates: tried,
        constant: words::constant(&fitted.learner),
        coefficients: words::coefficients(&data, &fitted.learner),
        metrics,
        plan: plan.clone(),
        importance: Vec::new(),
        effect,
        source: options.source.clone(),
    };
    let mut rows_of = Vec::new();
    let step = data.rows().div_ceil(ROWS_FOR_IMPORTANCE).max(1);
    for row in (0..data.rows()).step_by(step) {
        let mut values = Vec::new();
        data.row_into(row, &mut values);
        rows_of.push(values);
    }
    let mut model = Model {
        features: data.features,
        learner: fitted.learner,
        platt: fitted.platt,
        threshold: options.threshold,
        card,
        id: String::new(),
    };
    model.card.importance = model.importance(&rows_of);
    watch(1.0);
    Ok(model.seal()?)
}

/// The table's size as far as work goes; refuses one with too few rows of an answer.
fn size(data: &Dataset, all: &[usize], plan: &Plan, options: &FitOptions) -> Result<Size, ChurnError> {
    let groups_of = |answer: bool| {
        all.chunk_by(|a, b| data.groups.get(*a) == data.groups.get(*b))
            .filter(|chunk| chunk.first().is_some_and(|row| data.is_yes(*row) == answer))
            .count()
    };
    let (yes, no) = (groups_of(true), groups_of(false));
    if yes.min(no) < ROWS_OF_EACH_ANSWER {
        return Err(ChurnError::TooFewRows {
            what: format!("{} = {} and different contents", plan.target, if yes < no { "yes" } else { "no" }),
            found: yes.min(no),
            needed: ROWS_OF_EACH_ANSWER,
        });
    }
    let lines = Encoder::learn(data, all, false).widths();
    let affordable = lines.dense <= Width::affordable(all.len()).dense;
    let splines =
        if options.splines && affordable { Encoder::learn(data, all, true).widths() } else { lines };
    Ok(Size {
        rows: all.len(),
        folds: folds::folds_possible(yes, no, options.folds).max(2),
        columns: data.features.len(),
        lines,
        splines,
    })
}

/// Rows drawn at random, groups and shares of the answers kept; all of them where they are few enough.
fn sample(data: &Dataset, all: &[usize], most: usize, seed: u64) -> Vec<usize> {
    if all.len() <= most {
        return all.to_vec();
    }
    let parts = all.len().div_ceil(most);
    split(data, all, parts, seed_for(seed, 5, 0)).into_iter().next().map_or_else(Vec::new, |part| part.test)
}

/// A seed of its own for each purpose, so that one more repeat does not change the others.
pub(crate) fn seed_for(seed: u64, purpose: u64, index: usize) -> u64 {
    let mut bytes = [0u8; 24];
    for (slot, byte) in bytes
        .iter_mut()
        .zip(seed.to_le_bytes().into_iter().chain(purpose.to_le_bytes()).chain((index as u64).to_le_bytes()))
    {
        *slot = byte;
    }
    xxh3_64(&bytes)
}

pub(crate) fn split(data: &Dataset, rows: &[usize], folds: usize, seed: u64) -> Vec<Split> {
    let group = |row: usize| data.groups.get(row).copied().unwrap_or(row);
    folds::stratified(rows, |row| data.is_yes(row), group, folds, seed)
}
