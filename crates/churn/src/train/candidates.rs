//! The kinds of models that are tried, from the simplest, and how each is fitted.

use super::regression::{Fitted, Recipe, fit_rows, fit_with};
use crate::{
    calibration::Platt,
    encode::Additive,
    error::ChurnError,
    features::Dataset,
    forest::{self, Blend, Forest},
    model::Learner,
    trees::boost::BoostOptions,
    words::Words,
};

/// A kind of model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Lines,
    Splines,
    Trees,
    Blend,
}

impl Kind {
    pub fn words(self) -> Words {
        match self {
            Self::Lines => Words::new("ridge logistic regression", "régression logistique ridge"),
            Self::Splines => Words::new(
                "ridge logistic regression with splines",
                "régression logistique ridge avec splines",
            ),
            Self::Trees => Words::new("boosted trees", "arbres boostés"),
            Self::Blend => Words::new(
                "blend of logistic regression and boosted trees",
                "mélange de régression logistique et d’arbres boostés",
            ),
        }
    }
}

/// What was decided by folds, so that it can be done again on more rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    pub splines: bool,
    pub penalty: f64,
    pub boost: BoostOptions,
    pub share: f64,
    /// Whether the trees learn what the regression leaves over.
    pub on_left_overs: bool,
}

/// Any candidate fitted to some rows.
pub(super) struct Trained {
    pub learner: Learner,
    pub platt: Platt,
    pub choice: Choice,
}

/// Fits each of the kinds to the listed rows. A blend mixes the better of the regressions before it with the trees.
pub(super) fn fit_kinds(
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
    let nothing = Choice {
        splines: false,
        penalty: 0.0,
        boost: BoostOptions::default(),
        share: 0.0,
        on_left_overs: false,
    };
    let mut all = Vec::new();
    let mut regression: Option<(f64, Fitted, Choice)> = None;
    let mut grown: Option<Forest> = None;
    for kind in kinds {
        match kind {
            Kind::Lines | Kind::Splines => {
                let splines = *kind == Kind::Splines;
                let fitted = fit_rows(data, rows, Recipe { splines, ..recipe }, seed)?;
                let choice = Choice { splines, penalty: fitted.penalty, ..nothing };
                all.push(Trained {
                    learner: Learner::Additive(fitted.additive.clone()),
                    platt: fitted.platt,
                    choice,
                });
                let loss =
                    forest::mean_loss(data, rows, |row| fitted.unseen.get(row).copied().unwrap_or(0.0));
                if regression.as_ref().is_none_or(|(least, ..)| loss < *least) {
                    regression = Some((loss, fitted, choice));
                }
            }
            Kind::Trees => {
                let forest = forest::fit(data, rows, None, seed)?;
                all.push(Trained {
                    learner: Learner::Trees(forest.trees.clone()),
                    platt: platt(&forest.unseen),
                    choice: Choice { boost: forest.options, share: 1.0, ..nothing },
                });
                grown = Some(forest);
            }
            Kind::Blend => {
                let (Some((_, fitted, choice)), Some(forest)) = (regression.take(), grown.take()) else {
                    continue;
                };
                all.push(blend(data, rows, fitted, choice, forest, seed, &platt)?);
            }
        }
    }
    Ok(all)
}

/// Regression and trees together, in the better of two ways: mixed, or the trees on what the regression leaves over.
fn blend(
    data: &Dataset,
    rows: &[usize],
    fitted: Fitted,
    choice: Choice,
    grown: Forest,
    seed: u64,
    platt: &dyn Fn(&[f64]) -> Platt,
) -> Result<Trained, ChurnError> {
    let share = forest::best_share(data, rows, &fitted.unseen, &grown.unseen);
    let mixed: Vec<f64> =
        fitted.unseen.iter().zip(&grown.unseen).map(|(a, t)| (1.0 - share) * a + share * t).collect();
    let start =
        |some: &[usize]| log_odds_of_all(data, &fit_with(data, some, choice.splines, choice.penalty)?);
    let stacked = forest::fit(data, rows, Some((&start, grown.options.grow)), seed)?;
    let loss = |unseen: &[f64]| forest::mean_loss(data, rows, |row| unseen.get(row).copied().unwrap_or(0.0));
    if loss(&stacked.unseen) < loss(&mixed) {
        return Ok(Trained {
            learner: Learner::Blend(Blend::sum(fitted.additive, &stacked.trees)?),
            platt: platt(&stacked.unseen),
            choice: Choice { boost: stacked.options, share: 0.5, on_left_overs: true, ..choice },
        });
    }
    Ok(Trained {
        learner: Learner::Blend(Blend { additive: fitted.additive, trees: grown.trees, share }),
        platt: platt(&mixed),
        choice: Choice { boost: grown.options, share, ..choice },
    })
}

fn log_odds_of_all(data: &Dataset, additive: &Additive) -> Result<Vec<f64>, ChurnError> {
    let mut values = Vec::new();
    Ok((0..data.rows())
        .map(|row| {
            data.row_into(row, &mut values);
            additive.log_odds(&values)
        })
        .collect())
}

/// Fits a chosen candidate to more rows than it was chosen on; its calibration stays.
pub(super) fn fit_again(
    data: &Dataset,
    rows: &[usize],
    kind: Kind,
    trained: Trained,
) -> Result<Trained, ChurnError> {
    let Choice { splines, penalty, boost, share, on_left_overs } = trained.choice;
    let learner = match kind {
        Kind::Lines | Kind::Splines => Learner::Additive(fit_with(data, rows, splines, penalty)?),
        Kind::Trees => Learner::Trees(forest::grow(data, rows, None, &boost)?),
        Kind::Blend => {
            let additive = fit_with(data, rows, splines, penalty)?;
            Learner::Blend(if on_left_overs {
                let start = |_: &[usize]| log_odds_of_all(data, &additive);
                let trees = forest::grow(data, rows, Some(&start), &boost)?;
                Blend::sum(additive, &trees)?
            } else {
                Blend { additive, trees: forest::grow(data, rows, None, &boost)?, share }
            })
        }
    };
    Ok(Trained { learner, ..trained })
}
