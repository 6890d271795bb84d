//! Stratified folds: shuffled first (tables often come sorted by their answer), each fold with its share of yes.

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

/// One split: rows to learn from and rows to be judged on, both ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Rows to learn from.
    pub train: Vec<usize>,
    /// Rows to be judged on.
    pub test: Vec<usize>,
}

/// Splits `rows` into `folds` parts; `yes` tells the answer of a row. The same seed gives the same folds.
///
/// Rows of one `group` (neighbours in `rows`, with the same answer) always share a fold: copies of a row are then
/// never judged by what learnt from the row. With fewer groups of an answer than folds, some folds
/// lack it: callers choose `folds` by [`folds_possible`].
#[must_use]
pub fn stratified(
    rows: &[usize],
    yes: impl Fn(usize) -> bool,
    group: impl Fn(usize) -> usize,
    folds: usize,
    seed: u64,
) -> Vec<Split> {
    let folds = folds.max(2);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut with, mut without): (Vec<&[usize]>, Vec<&[usize]>) = rows
        .chunk_by(|a, b| group(*a) == group(*b))
        .partition(|chunk| chunk.first().is_some_and(|row| yes(*row)));
    with.shuffle(&mut rng);
    without.shuffle(&mut rng);
    let mut parts = vec![Vec::new(); folds];
    // Dealing the two kinds one after the other keeps the parts' sizes within one of each other.
    for (turn, chunk) in with.into_iter().chain(without).enumerate() {
        if let Some(part) = parts.get_mut(turn % folds) {
            part.extend_from_slice(chunk);
        }
    }
    for part in &mut parts {
        part.sort_unstable();
    }
    (0..folds)
        .map(|held| {
            let others = parts.iter().enumerate().filter(|(i, _)| *i != held);
            let mut train: Vec<usize> = others.flat_map(|(_, part)| part.iter().copied()).collect();
            train.sort_unstable();
            Split { train, test: parts.get(held).cloned().unwrap_or_default() }
        })
        .collect()
}

/// How many folds the rarer answer allows, at most `wanted`.
#[must_use]
pub fn folds_possible(yes: usize, no: usize, wanted: usize) -> usize {
    wanted.min(yes.min(no))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_judged_once_and_answers_are_spread() {
        let rows: Vec<usize> = (0..103).collect();
        let splits = stratified(&rows, |row| row < 15, |row| row, 5, 7);
        let mut judged: Vec<usize> = splits.iter().flat_map(|s| s.test.clone()).collect();
        judged.sort_unstable();
        assert_eq!(judged, rows);
        for split in &splits {
            assert_eq!(split.test.iter().filter(|row| **row < 15).count(), 3);
            assert_eq!(split.train.len() + split.test.len(), 103);
            assert!(split.test.iter().all(|row| !split.train.contains(row)));
        }
        assert_eq!(splits, stratified(&rows, |row| row < 15, |row| row, 5, 7));
        assert_ne!(splits, stratified(&rows, |row| row < 15, |row| row, 5, 8));
        assert_eq!(folds_possible(3, 90, 5), 3);
        let copies = stratified(&rows, |row| row < 15, |row| row / 3, 5, 7);
        for split in &copies {
            assert!(split.test.iter().all(|row| split.train.iter().all(|other| other / 3 != row / 3)));
        }
    }
}
