//! Judging candidates on rows that they have not seen, and choosing among them.

use super::{
    FitOptions,
    candidates::{Kind, Trained, fit_kinds},
    regression::{Recipe, first_within_one_error},
    seed_for,
};
use crate::{card::Candidate, error::ChurnError, features::Dataset, folds::Split, metrics};
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

/// Probabilities of a fold's rows, by candidate.
type Predicted = Result<Vec<Vec<f64>>, ChurnError>;

/// One calibrated probability per candidate, repeat and row, each from a procedure that never saw the row.
///
/// Folds are worked out by as many threads as the options say. Which thread does one changes nothing in it. `watch` is told
/// the share that is done.
pub(super) fn predict_unseen(
    data: &Dataset,
    outer: &[Vec<Split>],
    kinds: &[Kind],
    recipe: Recipe<'_>,
    options: &FitOptions,
    watch: &(dyn Fn(f64) + Sync),
) -> Result<Vec<Vec<Vec<f64>>>, ChurnError> {
    let jobs: Vec<(usize, usize, &Split)> = outer
        .iter()
        .enumerate()
        .flat_map(|(repeat, splits)| splits.iter().enumerate().map(move |(fold, s)| (repeat, fold, s)))
        .collect();
    // Probabilities of the fold's test rows, by candidate.
    let work = |(repeat, fold, split): &(usize, usize, &Split)| -> Predicted {
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
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let results: Mutex<Vec<Option<Predicted>>> = Mutex::new(jobs.iter().map(|_| None).collect());
    let run = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(index) else { break };
            let result = work(job);
            if let Some(slot) = results.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index) {
                *slot = Some(result);
            }
            watch((done.fetch_add(1, Ordering::Relaxed) + 1) as f64 / jobs.len() as f64);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..options.threads.clamp(1, jobs.len().max(1)) {
            scope.spawn(run);
        }
        run();
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut judged = vec![vec![vec![0.0; data.rows()]; outer.len()]; kinds.len()];
    for ((repeat, _, split), result) in jobs.iter().zip(results) {
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

/// The simplest candidate within one standard error of the best, and how each fared. Trees and a blend are as hard to read as
/// each other: of these two, the better one.
pub(super) fn choose(
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
    let (mut chosen, behind) = first_within_one_error(&by_fold);
    let place = |wanted: Kind| candidates.iter().position(|kind| *kind == wanted);
    if let (Some(trees), Some(blend)) = (place(Kind::Trees), place(Kind::Blend))
        && chosen == trees
        && let (Some(of_trees), Some(of_blend)) = (behind.get(trees), behind.get(blend))
        && of_blend.0 < of_trees.0
    {
        chosen = blend;
    }
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

/// The figures of a candidate on the rows that it was judged on.
pub(super) fn figures(
    data: &Dataset,
    rows: &[usize],
    repeats: &[Vec<f64>],
    outer: &[Vec<Split>],
    options: &FitOptions,
    seed: u64,
) -> Option<metrics::Metrics> {
    let (threshold, replicates) = (options.threshold, options.replicates);
    if rows.len() == data.rows() {
        return metrics::judge(&data.y, repeats, outer, threshold, replicates, seed);
    }
    // A sample: its rows are numbered anew.
    let mut place = vec![0; data.rows()];
    for (index, row) in rows.iter().enumerate() {
        if let Some(slot) = place.get_mut(*row) {
            *slot = index;
        }
    }
    let of = |values: &[f64]| rows.iter().filter_map(|row| values.get(*row).copied()).collect::<Vec<f64>>();
    let moved =
        |list: &[usize]| list.iter().filter_map(|row| place.get(*row).copied()).collect::<Vec<usize>>();
    let outer: Vec<Vec<Split>> = outer
        .iter()
        .map(|splits| splits.iter().map(|s| Split { train: moved(&s.train), test: moved(&s.test) }).collect())
        .collect();
    let repeats: Vec<Vec<f64>> = repeats.iter().map(|values| of(values)).collect();
    metrics::judge(&of(&data.y), &repeats, &outer, threshold, replicates, seed)
}
