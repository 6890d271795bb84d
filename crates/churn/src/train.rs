//! Training: from a table and its plan to a judged, calibrated model.
//!
//! 1. Candidates (straight lines, splines; on tables of 3,000 rows or more also boosted trees and a blend of trees and
//!    regression) are each fitted with penalty, size or share chosen by inner cross-validation and calibrated on the
//!    inner folds' predictions; outer, repeated folds judge that whole procedure.
//! 2. The simplest candidate within one standard error of the best is chosen and fitted to all rows.
//!
//! The figures on the card are those of the outer folds: no row is judged by a model, a penalty, a centring or a
//! calibration that saw it. Deterministic for a seed, and independent of the order of rows and columns.

use crate::{
    calibration::Platt,
    card::{Candidate, Coefficient, ModelCard},
    encode::{Additive, Encoder, Shape},
    error::ChurnError,
    features::Dataset,
    folds::{self, Split},
    forest::{self, Blend},
    logistic::{self, Fit, NoFit},
    metrics,
    model::{Learner, Model},
    plan::Plan,
    special::softplus,
    table::Table,
    trees::Trees,
    words::{Lang, Words, number},
};
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
    /// Whether to try boosted trees, and their blend with the regression, on tables of 3,000 rows or more.
    pub trees: bool,
    /// Folds per repeat (fewer where the rarer answer has fewer rows).
    pub folds: usize,
    /// Repeats of the outer folds; 0: do not judge.
    pub repeats: usize,
    /// Bootstrap replicates behind each interval.
    pub replicates: usize,
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
        match self.penalty {
            Penalty::Fixed(value) if !(value.is_finite() && value > 0.0) => {
                bad("penalty", value.to_string(), "a number above 0 is needed (or none at all)")
            }
            _ => Ok(()),
        }
    }
}

/// Penalties that are tried, from the strongest.
const PENALTIES: [f64; 11] = [1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5];
/// The same for large tables, where penalties hardly differ.
const FEW_PENALTIES: [f64; 4] = [0.1, 0.01, 1e-3, 1e-4];
/// With fewer rows of an answer there is nothing to divide into folds.
const ROWS_OF_EACH_ANSWER: usize = 2;

/// A regression fitted to some rows.
pub(crate) struct Fitted {
    pub additive: Additive,
    pub platt: Platt,
    pub penalty: f64,
    /// What it would have said of each row without having seen it, where that was needed for penalty or calibration.
    unseen: Vec<f64>,
}

/// What kinds of models are tried, from the simplest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lines,
    Splines,
    Trees,
    Blend,
}

impl Kind {
    fn words(self) -> Words {
        match self {
            Self::Lines => Words::new("ridge logistic regression", "régression logistique ridge"),
            Self::Splines => Words::new(
                "ridge logistic regression with splines",
                "régression logistique ridge avec splines",
            ),
            Self::Trees => Words::new("boosted trees", "arbres boostés"),
            Self::Blend => Words::new(
                "blend of logistic regression and boosted trees",
                "mélange de régression logistique et d'arbres boostés",
            ),
        }
    }
}

/// Any candidate fitted to some rows.
struct Trained {
    learner: Learner,
    platt: Platt,
    penalty: f64,
}

/// How one candidate is fitted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipe<'a> {
    pub splines: bool,
    pub folds: usize,
    /// Penalties to choose from, the strongest first; 0 only alone.
    pub penalties: &'a [f64],
    pub calibrate: bool,
}

/// Trains a model.
///
/// # Errors
/// When the plan leaves nothing to learn from, when the target has one answer only or fewer than two rows of one,
/// when a setting is out of range, and, without a penalty, when the fit has no finite or unique answer.
pub fn train(table: &Table, plan: &Plan, options: &FitOptions) -> Result<Model, ChurnError> {
    options.check()?;
    let data = Dataset::read(table, plan, options.columns.as_deref())?;
    let all: Vec<usize> = (0..data.rows()).collect();
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
    let folds = folds::folds_possible(yes, no, options.folds).max(2);
    let width = Encoder::learn(&data, &all, false).width();
    let mut notes = Vec::new();
    if width > columns_affordable(all.len()) && options.penalty != Penalty::None {
        let kept = columns_affordable(all.len());
        notes.push(Words::new(
            format!(
                "{width} columns are too many for {} rows: the {kept} strongest alone are learnt from",
                all.len()
            ),
            format!(
                "{width} colonnes, c'est trop pour {} lignes : on apprend des {kept} plus fortes isolément",
                all.len()
            ),
        ));
    }
    let mut candidates = vec![Kind::Lines];
    let mut widest = width;
    if options.splines && width <= columns_affordable(all.len()) {
        let bent = Encoder::learn(&data, &all, true).width();
        if bent > width {
            candidates.push(Kind::Splines);
            widest = bent;
        }
    }
    let effort = affordable(options, all.len(), widest, folds, candidates.len());
    let mut repeats = effort.repeats;
    if options.trees && all.len() >= forest::ROWS_FOR_TREES && repeats > 0 {
        candidates.push(Kind::Trees);
        if options.calibrate {
            candidates.push(Kind::Blend);
        }
        // Folds of so many rows differ little.
        repeats = repeats.min(if all.len() < 2 * forest::ROWS_FOR_TREES { 2 } else { 1 });
    }
    if repeats < options.repeats {
        notes.push(Words::new(
            format!(
                "judged on {repeats} instead of {} repeats of the folds, for the table's size",
                options.repeats
            ),
            format!(
                "jugé sur {repeats} répétition(s) des plis au lieu de {}, vu la taille de la table",
                options.repeats
            ),
        ));
    }

    let outer: Vec<Vec<Split>> =
        (0..repeats).map(|repeat| split(&data, &all, folds, seed_for(options.seed, 1, repeat))).collect();
    let penalties: &[f64] = match &options.penalty {
        Penalty::CrossValidated => effort.penalties,
        Penalty::Fixed(value) => std::slice::from_ref(value),
        Penalty::None => &[0.0],
    };
    let recipe =
        Recipe { splines: false, folds: effort.inner_folds, penalties, calibrate: options.calibrate };
    let judged = predict_unseen(&data, &outer, &candidates, recipe, options)?;
    let (chosen, tried) = choose(&data, &outer, &candidates, &judged);
    let kind = candidates.get(chosen).copied().unwrap_or(Kind::Lines);
    // A blend is made of all the others.
    let wanted = if kind == Kind::Blend { candidates.clone() } else { vec![kind] };
    let fitted = fit_kinds(&data, &all, &wanted, recipe, seed_for(options.seed, 2, 0))?.pop();
    let Some(fitted) = fitted else { return Err(forest::unusable("no candidate was fitted".to_owned())) };
    let metrics = judged.get(chosen).and_then(|repeats| {
        let seed = seed_for(options.seed, 3, 0);
        metrics::judge(&data.y, repeats, &outer, options.threshold, options.replicates, seed)
    });
    let card = ModelCard {
        library_version: env!("CARGO_PKG_VERSION").to_owned(),
        seed: options.seed,
        data_hash: table.hash(),
        rows: data.rows(),
        positives: data.y.iter().filter(|y| **y > 0.5).count(),
        chosen: chosen_words(kind, &fitted.learner, &tried, options.penalty),
        notes,
        penalty: fitted.penalty,
        candidates: tried,
        constant: constant(&fitted.learner),
        coefficients: coefficients(&data, &fitted.learner),
        metrics,
        plan: plan.clone(),
    };
    let model = Model {
        features: data.features,
        learner: fitted.learner,
        platt: fitted.platt,
        threshold: options.threshold,
        card,
        id: String::new(),
    };
    Ok(model.seal()?)
}

/// How many design columns the rows can carry: one per ten rows, between 20 and 200.
pub(crate) fn columns_affordable(rows: usize) -> usize {
    (rows / 10).clamp(20, 200)
}

/// Multiplications that judging a model may take; some ten seconds of one core.
const WORK: f64 = 2e10;

/// What judging is cut down to where the table is large: how many repeats, how many inner folds, which penalties.
struct Effort {
    repeats: usize,
    inner_folds: usize,
    penalties: &'static [f64],
}

/// The repeats asked for where [`WORK`] allows; else fewer, and for tables beyond even one repeat a coarser search
/// of the penalty (which matters little there: the more rows, the flatter its curve).
fn affordable(options: &FitOptions, rows: usize, width: usize, folds: usize, candidates: usize) -> Effort {
    let p = width.min(columns_affordable(rows)) as f64;
    let per_step = rows as f64 * (0.5 * p * p + 4.0 * p + 20.0);
    let fits = folds as f64 * folds as f64 * PENALTIES.len() as f64 * candidates as f64;
    let per_repeat = 5.0 * fits * per_step;
    if per_repeat > WORK {
        return Effort {
            repeats: options.repeats.min(1),
            inner_folds: folds.min(3),
            penalties: &FEW_PENALTIES,
        };
    }
    let repeats = options.repeats.min((WORK / per_repeat) as usize);
    Effort { repeats, inner_folds: folds, penalties: &PENALTIES }
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

/// One calibrated probability per candidate, repeat and row, each from a procedure that never saw the row.
fn predict_unseen(
    data: &Dataset,
    outer: &[Vec<Split>],
    kinds: &[Kind],
    recipe: Recipe<'_>,
    options: &FitOptions,
) -> Result<Vec<Vec<Vec<f64>>>, ChurnError> {
    let jobs: Vec<(usize, usize, &Split)> = outer
        .iter()
        .enumerate()
        .flat_map(|(repeat, splits)| splits.iter().enumerate().map(move |(fold, s)| (repeat, fold, s)))
        .collect();
    // Probabilities of the fold's test rows, by candidate.
    let work = |(repeat, fold, split): &(usize, usize, &Split)| -> Result<Vec<Vec<f64>>, ChurnError> {
        let seed = seed_for(options.seed, 4, repeat * 1000 + fold);
        let fitted = fit_kinds(data, &split.train, kinds, recipe, seed)?;
        let mut values = Vec::new();
        let mut predict = |trained: &Trained| {
            let mut probability = |row: &usize| {
                data.row_into(*row, &mut values);
                trained.platt.probability(trained.learner.log_odds(&values))
            };
            split.test.iter().map(&mut probability).collect()
        };
        Ok(fitted.iter().map(&mut predict).collect())
    };
    // Folds of larger tables are worth a second thread. Which thread works out a fold changes nothing in it.
    let threads = if data.rows() < forest::ROWS_FOR_TREES { 1 } else { THREADS };
    let mut done: Vec<Option<Result<Vec<Vec<f64>>, ChurnError>>> = jobs.iter().map(|_| None).collect();
    std::thread::scope(|scope| {
        let share = jobs.len().div_ceil(threads).max(1);
        let mut parts = jobs.chunks(share).zip(done.chunks_mut(share));
        let own = parts.next();
        for (jobs, done) in parts {
            let work = &work;
            scope.spawn(move || jobs.iter().zip(done).for_each(|(job, slot)| *slot = Some(work(job))));
        }
        if let Some((jobs, done)) = own {
            jobs.iter().zip(done).for_each(|(job, slot)| *slot = Some(work(job)));
        }
    });
    let mut judged = vec![vec![vec![0.0; data.rows()]; outer.len()]; kinds.len()];
    for ((repeat, _, split), result) in jobs.iter().zip(done) {
        let Some(result) = result else { continue };
        for (repeats, predicted) in judged.iter_mut().zip(result?) {
            let Some(out) = repeats.get_mut(*repeat) else { continue };
            for (row, probability) in split.test.iter().zip(predicted) {
                if let Some(slot) = out.get_mut(*row) {
                    *slot = probability;
                }
            }
        }
    }
    Ok(judged)
}

/// Threads that judge a larger table's folds.
const THREADS: usize = 2;

/// Fits each of the kinds to the listed rows. A blend mixes the better of the regressions before it with the trees.
fn fit_kinds(
    data: &Dataset,
    rows: &[usize],
    kinds: &[Kind],
    recipe: Recipe<'_>,
    seed: u64,
) -> Result<Vec<Trained>, ChurnError> {
    let of = |values: &[f64]| rows.iter().filter_map(|row| values.get(*row).copied()).collect::<Vec<f64>>();
    let platt = |unseen: &[f64]| {
        if recipe.calibrate { Platt::fit(&of(unseen), &of(&data.y)) } else { Platt::NONE }
    };
    let mut all = Vec::new();
    let mut regression: Option<(f64, Fitted)> = None;
    let mut grown: Option<forest::Forest> = None;
    for kind in kinds {
        match kind {
            Kind::Lines | Kind::Splines => {
                let fitted =
                    fit_rows(data, rows, Recipe { splines: *kind == Kind::Splines, ..recipe }, seed)?;
                all.push(Trained {
                    learner: Learner::Additive(fitted.additive.clone()),
                    platt: fitted.platt,
                    penalty: fitted.penalty,
                });
                let loss =
                    forest::mean_loss(data, rows, |row| fitted.unseen.get(row).copied().unwrap_or(0.0));
                if regression.as_ref().is_none_or(|(least, _)| loss < *least) {
                    regression = Some((loss, fitted));
                }
            }
            Kind::Trees => {
                let forest = forest::fit(data, rows, seed)?;
                all.push(Trained {
                    learner: Learner::Trees(forest.trees.clone()),
                    platt: platt(&forest.unseen),
                    penalty: 0.0,
                });
                grown = Some(forest);
            }
            Kind::Blend => {
                let (Some((_, fitted)), Some(forest)) = (regression.take(), grown.take()) else { continue };
                let share = forest::best_share(data, rows, &fitted.unseen, &forest.unseen);
                let mixed: Vec<f64> = fitted
                    .unseen
                    .iter()
                    .zip(&forest.unseen)
                    .map(|(a, t)| (1.0 - share) * a + share * t)
                    .collect();
                all.push(Trained {
                    learner: Learner::Blend(Blend { additive: fitted.additive, trees: forest.trees, share }),
                    platt: platt(&mixed),
                    penalty: fitted.penalty,
                });
            }
        }
    }
    Ok(all)
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
        encoder.keep_strongest(data, rows, columns_affordable(rows.len()));
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
                        *slot = fit.log_odds(x.row(*row));
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
fn first_within_one_error(by_fold: &[Vec<f64>]) -> (usize, Vec<(f64, f64)>) {
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

fn choose(
    data: &Dataset,
    outer: &[Vec<Split>],
    candidates: &[Kind],
    judged: &[Vec<Vec<f64>>],
) -> (usize, Vec<Candidate>) {
    let by_fold: Vec<Vec<f64>> = judged
        .iter()
        .map(|repeats| {
            let mut losses = Vec::new();
            for (splits, predicted) in outer.iter().zip(repeats) {
                for split in splits {
                    let pick = |values: &[f64]| {
                        split.test.iter().filter_map(|row| values.get(*row).copied()).collect::<Vec<f64>>()
                    };
                    losses.push(metrics::log_loss(&pick(&data.y), &pick(predicted)));
                }
            }
            losses
        })
        .collect();
    if outer.is_empty() {
        return (0, Vec::new());
    }
    let (chosen, behind) = first_within_one_error(&by_fold);
    let tried = candidates
        .iter()
        .zip(&by_fold)
        .zip(behind)
        .map(|((kind, losses), (behind, standard_error))| Candidate {
            name: kind.words(),
            log_loss: losses.iter().sum::<f64>() / losses.len().max(1) as f64,
            behind,
            standard_error,
        })
        .collect();
    (chosen, tried)
}

fn chosen_words(kind: Kind, learner: &Learner, tried: &[Candidate], penalty: Penalty) -> Words {
    let plain = kind.words();
    if penalty == Penalty::None && matches!(learner, Learner::Additive(_)) {
        return Words::new(
            "logistic regression without a penalty, as asked for",
            "régression logistique sans pénalité, comme demandé",
        );
    }
    let size = |trees: &Trees| trees.trees().len();
    let name = match learner {
        Learner::Additive(_) => plain.clone(),
        Learner::Trees(trees) => Words::new(
            format!("{} ({} trees)", plain.en, size(trees)),
            format!("{} ({} arbres)", plain.fr, size(trees)),
        ),
        Learner::Blend(blend) => Words::new(
            format!("{} ({:.0} % of {} trees)", plain.en, 100.0 * blend.share, size(&blend.trees)),
            format!("{} ({:.0} % de {} arbres)", plain.fr, 100.0 * blend.share, size(&blend.trees)),
        ),
    };
    if tried.len() < 2 {
        return name;
    }
    let least = |a: &&Candidate, b: &&Candidate| a.log_loss.total_cmp(&b.log_loss);
    let Some(best) = tried.iter().min_by(least) else { return name };
    if best.name == plain {
        return Words::new(
            format!("{}: the lowest log-loss ({})", name.en, number(best.log_loss, 4, Lang::En)),
            format!("{} : la plus faible perte ({})", name.fr, number(best.log_loss, 4, Lang::Fr)),
        );
    }
    Words::new(
        format!("{}: simpler than {} and within one standard error of it", name.en, best.name.en),
        format!("{} : plus simple que {}, à moins d'une erreur type", name.fr, best.name.fr),
    )
}

/// The constant where all shapes are straight lines without missing values.
fn constant(learner: &Learner) -> Option<f64> {
    let Learner::Additive(additive) = learner else { return None };
    let mut sum = additive.base;
    for shape in &additive.shapes {
        let Shape::Linear { slope, centre, present, .. } = shape else { return None };
        sum += present - slope * centre;
    }
    Some(sum)
}

fn coefficients(data: &Dataset, learner: &Learner) -> Vec<Coefficient> {
    // In a blend, a slope is not what a unit of the column does.
    let Learner::Additive(additive) = learner else { return Vec::new() };
    data.features
        .iter()
        .zip(&additive.shapes)
        .filter_map(|(feature, shape)| match shape {
            Shape::Linear { slope, .. } => {
                Some(Coefficient { name: feature.name.clone(), per_unit: *slope, per_sd: slope * feature.sd })
            }
            _ => None,
        })
        .collect()
}
