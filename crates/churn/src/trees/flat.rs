//! Scoring without walking.
//!
//! A row is turned into one slot per feature (which of the forest's thresholds lie below its value, or which code it
//! has, or that it is missing). For each feature, slot and tree, the leaves that can still be reached are known
//! beforehand: one bit each. The words of sixteen trees make one line; a row's lines are and-ed, feature by feature, and
//! one bit is left of each tree: its leaf. No branch depends on a value, and sixteen trees advance at once. The idea
//! of bit masks is QuickScorer's (Lucchese 2015); keeping them by slot instead of by node saves all comparisons.
#![expect(clippy::indexing_slicing, reason = "dense kernels: sizes are equal by construction")]

use super::{MOST_LEAVES, Tree, bins::code};
use std::hint::select_unpredictable;

/// Trees in one line: 64 bytes, a cache line.
const TOGETHER: usize = 16;
/// Rows of more used features than this are scored by walking: most trees look at few of them.
const MOST_FEATURES: usize = 96;

type Line = [u32; TOGETHER];

/// How a feature's value becomes a slot.
#[derive(Debug, Clone)]
struct Lane {
    feature: usize,
    /// The slot of a missing value; the others follow.
    first: usize,
    /// Ascending thresholds; empty for categories.
    thresholds: Vec<f64>,
    /// Codes, and one slot for all that no test names; 0 for numbers.
    codes: usize,
}

impl Lane {
    fn slot(&self, value: f64) -> usize {
        if value.is_nan() {
            return self.first;
        }
        if self.codes > 0 {
            return self.first + 1 + usize::from(code(value)).min(self.codes - 1);
        }
        self.first + 1 + below(&self.thresholds, value)
    }

    fn slots(&self) -> usize {
        1 + if self.codes > 0 { self.codes } else { self.thresholds.len() + 1 }
    }
}

/// How many of the ascending thresholds lie below a value.
fn below(thresholds: &[f64], value: f64) -> usize {
    let (mut from, mut length) = (0usize, thresholds.len());
    while length > 1 {
        let half = length / 2;
        // Not a branch: which half it is cannot be foretold.
        from = select_unpredictable(thresholds[from + half - 1] < value, from + half, from);
        length -= half;
    }
    from + usize::from(length == 1 && thresholds[from] < value)
}

/// A forest laid out for scoring.
#[derive(Debug, Clone)]
pub(super) struct Flat {
    lanes: Vec<Lane>,
    /// Slots of all lanes.
    slots: usize,
    /// One line per sixteen trees and slot.
    lines: Vec<Line>,
    /// What each tree's leaves add.
    values: Vec<[f64; MOST_LEAVES]>,
}

impl Flat {
    /// `None` where walking is the better way.
    pub fn new(trees: &[Tree], features: usize) -> Option<Self> {
        let mut lanes = Vec::new();
        let mut slots = 0;
        for feature in 0..features {
            let (mut thresholds, mut codes) = (Vec::new(), 0);
            let nodes = trees.iter().flat_map(|tree| &tree.nodes);
            for node in nodes.filter(|node| node.feature as usize == feature) {
                match &node.test {
                    super::Test::AtMost(threshold) => thresholds.push(*threshold),
                    // One slot more than any listed code stands for all that are listed nowhere.
                    super::Test::OneOf(listed) => {
                        codes = codes.max(listed.last().map_or(1, |code| usize::from(*code) + 2));
                    }
                }
            }
            thresholds.sort_by(f64::total_cmp);
            thresholds.dedup();
            if codes > 0 && !thresholds.is_empty() {
                // A feature is a number or a category; trees that mix both are walked.
                return None;
            }
            if codes > 0 || !thresholds.is_empty() {
                let lane = Lane { feature, first: slots, thresholds, codes };
                slots += lane.slots();
                lanes.push(lane);
            }
        }
        if lanes.len() > MOST_FEATURES {
            return None;
        }
        let groups = trees.len().div_ceil(TOGETHER);
        let mut lines = vec![[u32::MAX; TOGETHER]; groups * slots];
        let mut values = vec![[0.0; MOST_LEAVES]; groups * TOGETHER];
        for (index, tree) in trees.iter().enumerate() {
            values[index][..tree.values.len()].copy_from_slice(&tree.values);
            let reach = reachable(tree);
            for (node, (left, right)) in tree.nodes.iter().zip(&reach) {
                let Some(lane) = lanes.iter().find(|lane| lane.feature == node.feature as usize) else {
                    continue;
                };
                for slot in 0..lane.slots() {
                    // A value that stands for the slot.
                    let value = match slot {
                        0 => f64::NAN,
                        _ if lane.codes > 0 => (slot - 1) as f64,
                        _ => lane.thresholds.get(slot - 1).copied().unwrap_or(f64::INFINITY),
                    };
                    let lost = if node.goes_left(value) { *right } else { *left };
                    let line = &mut lines[index / TOGETHER * slots + lane.first + slot];
                    line[index % TOGETHER] &= !lost;
                }
            }
        }
        Some(Self { lanes, slots, lines, values })
    }

    pub fn score(&self, base: f64, row: &[f64]) -> f64 {
        let mut slots = [0usize; MOST_FEATURES];
        let slots = &mut slots[..self.lanes.len()];
        for (slot, lane) in slots.iter_mut().zip(&self.lanes) {
            *slot = lane.slot(row.get(lane.feature).copied().unwrap_or(f64::NAN));
        }
        let mut sum = base;
        let groups = self.values.as_chunks::<TOGETHER>().0.iter();
        if self.slots == 0 {
            return groups.flatten().fold(sum, |sum, values| sum + values[0]);
        }
        for (lines, values) in self.lines.chunks_exact(self.slots).zip(groups) {
            let left = narrow(lines, slots);
            for (left, values) in left.iter().zip(values) {
                sum += values[left.trailing_zeros() as usize % MOST_LEAVES];
            }
        }
        sum
    }
}

/// The leaves left of sixteen trees. Never inlined: beside the code that takes single words out, the compiler would
/// keep sixteen words instead of four vectors.
#[inline(never)]
fn narrow(lines: &[Line], slots: &[usize]) -> Line {
    let mut left = [u32::MAX; TOGETHER];
    for slot in slots {
        let line = &lines[*slot];
        for i in 0..TOGETHER {
            left[i] &= line[i];
        }
    }
    left
}

/// For each node, the leaves below its left and its right side.
fn reachable(tree: &Tree) -> Vec<(u32, u32)> {
    let mut reach = vec![(0u32, 0u32); tree.nodes.len()];
    // Children come after their parents: from the last node up, what is below is known.
    for index in (0..tree.nodes.len()).rev() {
        let below = |child: i32| {
            if child < 0 {
                1u32 << !child
            } else {
                let (left, right) = reach[child as usize];
                left | right
            }
        };
        reach[index] = (below(tree.nodes[index].left), below(tree.nodes[index].right));
    }
    reach
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_below_a_value_are_counted() {
        for n in 0..70 {
            let thresholds: Vec<f64> = (0..n).map(f64::from).collect();
            for twice in -3..150 {
                let value = f64::from(twice) / 2.0;
                assert_eq!(
                    below(&thresholds, value),
                    thresholds.partition_point(|t| *t < value),
                    "{n} {value}"
                );
            }
        }
    }
}
