//! Many trees, each on what the ones before it left over, until rows kept apart stop getting better.
#![expect(clippy::indexing_slicing, reason = "dense kernels: sizes are equal by construction")]

use super::{
    Tree, Trees,
    bins::Binned,
    grow::{GrowOptions, Grower, Task},
};
use crate::special::{sigmoid, softplus};
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

/// What is learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objective {
    /// The log-odds of a yes or no (answers 1 and 0).
    LogOdds,
    /// A number, by least squares.
    Mean,
}

/// How trees are boosted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoostOptions {
    /// What is learnt.
    pub objective: Objective,
    /// At most this many trees.
    pub trees: usize,
    /// How each tree is grown.
    pub grow: GrowOptions,
    /// Share of the columns that each tree may use, drawn by the seed.
    pub column_share: f64,
    /// Share of the rows that each tree learns from, drawn by the seed.
    pub row_share: f64,
    /// Stops when the rows kept apart have not got better for so many trees; 0: never.
    pub patience: usize,
    /// Decides which columns and rows each tree may use.
    pub seed: u64,
}

impl Default for BoostOptions {
    fn default() -> Self {
        Self {
            objective: Objective::LogOdds,
            trees: 100,
            grow: GrowOptions { leaves: 31, leaf_rows: 20, l2: 1.0, shrinkage: 0.1 },
            column_share: 1.0,
            row_share: 1.0,
            patience: 0,
            seed: 1,
        }
    }
}

/// Boosted trees, and how the rows kept apart fared.
#[derive(Debug, Clone)]
pub struct Boosted {
    /// The trees.
    pub trees: Trees,
    /// Mean loss on the rows kept apart without any tree, with one, with two and so on.
    pub losses: Vec<f64>,
}

/// Learns trees from the listed rows, watching those `apart` (which may be none).
///
/// With `start`, a score per row that is there already, the trees learn what it leaves over; their own base is then 0.
///
/// # Errors
/// What is wrong with the trees, in words; answers that are finite numbers give sound ones.
pub fn boost(
    binned: &Binned,
    y: &[f64],
    rows: &[usize],
    apart: &[usize],
    start: Option<&[f64]>,
    options: &BoostOptions,
) -> Result<Boosted, String> {
    let mean = rows.iter().map(|row| y[*row]).sum::<f64>() / rows.len().max(1) as f64;
    let base = match options.objective {
        _ if start.is_some() => 0.0,
        Objective::Mean => mean,
        Objective::LogOdds => {
            let mean = mean.clamp(1e-6, 1.0 - 1e-6);
            (mean / (1.0 - mean)).ln()
        }
    };
    let learn: Vec<u32> = rows.iter().map(|row| *row as u32).collect();
    let (mut drawn, mut left_out) = (Vec::new(), Vec::new());
    let mut scores = start.map_or_else(|| vec![base; y.len()], <[f64]>::to_vec);
    let (mut gradients, mut curvatures) = (vec![0.0; y.len()], vec![1.0; y.len()]);
    let mut grower = Grower::default();
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let mut trees: Vec<Tree> = Vec::with_capacity(options.trees);
    let mut losses = vec![loss(options.objective, y, &scores, apart)];
    let mut best = 0;
    while trees.len() < options.trees {
        for &row in rows {
            (gradients[row], curvatures[row]) = match options.objective {
                Objective::Mean => (scores[row] - y[row], 1.0),
                Objective::LogOdds => {
                    let p = sigmoid(scores[row]);
                    (p - y[row], p * (1.0 - p))
                }
            };
        }
        let columns = draw_columns(binned, options.column_share, &mut rng);
        let sampled = options.row_share < 1.0;
        if sampled {
            draw_rows(&learn, options.row_share, &mut rng, &mut drawn, &mut left_out);
        }
        let task = Task {
            binned,
            rows: if sampled { &drawn } else { &learn },
            gradients: &gradients,
            curvatures: &curvatures,
            columns: &columns,
            options: options.grow,
        };
        let Some(grown) = grower.grow(&task) else { break };
        for (span, value) in grown.spans.iter().zip(&grown.tree.values) {
            for row in grower.rows(*span) {
                scores[*row as usize] += value;
            }
        }
        let walk = (sampled || !apart.is_empty()).then(|| Walk::new(binned, &grown.tree));
        if let (Some(walk), true) = (&walk, sampled) {
            for &row in &left_out {
                scores[row as usize] += grown.tree.values[walk.leaf(binned, row as usize)];
            }
        }
        if let (Some(walk), false) = (&walk, apart.is_empty()) {
            for &row in apart {
                scores[row] += grown.tree.values[walk.leaf(binned, row)];
            }
            losses.push(loss(options.objective, y, &scores, apart));
            if losses[losses.len() - 1] < losses[best] {
                best = losses.len() - 1;
            }
        }
        trees.push(grown.tree);
        if options.patience > 0 && !apart.is_empty() && losses.len() > best + options.patience {
            break;
        }
    }
    Ok(Boosted { trees: Trees::new(base, binned.width(), trees)?, losses })
}

fn draw_columns(binned: &Binned, share: f64, rng: &mut ChaCha8Rng) -> Vec<bool> {
    let width = binned.width();
    let wanted = ((share * width as f64).ceil() as usize).clamp(1, width.max(1));
    if wanted == width {
        return vec![true; width];
    }
    // Drawn in the order in which ties are settled, so that the order of the table's columns does not matter.
    let mut order = binned.order.clone();
    order.shuffle(rng);
    let mut columns = vec![false; width];
    order.iter().take(wanted).for_each(|column| columns[*column] = true);
    columns
}

/// Divides the rows by chance, keeping their order on both sides.
fn draw_rows(rows: &[u32], share: f64, rng: &mut ChaCha8Rng, drawn: &mut Vec<u32>, left_out: &mut Vec<u32>) {
    drawn.clear();
    left_out.clear();
    let limit = (share.clamp(0.0, 1.0) * f64::from(u16::MAX)) as u64;
    // Four draws of sixteen bits from each number: drawing must not cost more than learning.
    for four in rows.chunks(4) {
        let mut bits: u64 = rng.random();
        for row in four {
            if bits & 0xFFFF < limit {
                drawn.push(*row)
            } else {
                left_out.push(*row)
            }
            bits >>= 16;
        }
    }
    if drawn.is_empty() {
        drawn.append(left_out);
    }
}

fn loss(objective: Objective, y: &[f64], scores: &[f64], rows: &[usize]) -> f64 {
    let sum: f64 = rows
        .iter()
        .map(|&row| match objective {
            Objective::Mean => 0.5 * (scores[row] - y[row]).powi(2),
            Objective::LogOdds => softplus(scores[row]) - y[row] * scores[row],
        })
        .sum();
    sum / rows.len().max(1) as f64
}

/// A tree over bins, to follow the rows kept apart.
struct Walk<'a> {
    tree: &'a Tree,
    /// Per node: who goes left, by bin.
    left: Vec<[bool; 256]>,
}

impl<'a> Walk<'a> {
    fn new(binned: &Binned, tree: &'a Tree) -> Self {
        let left = tree
            .nodes
            .iter()
            .map(|node| {
                let bins = &binned.bins[node.feature as usize];
                std::array::from_fn(|bin| match bin {
                    0 => node.missing_left,
                    // Any value of the bin will do: its upper end, or its code.
                    _ if bins.kind == super::bins::Kind::Codes => node.goes_left((bin - 1) as f64),
                    _ => node.goes_left(bins.cuts.get(bin - 1).copied().unwrap_or(f64::MAX)),
                })
            })
            .collect();
        Self { tree, left }
    }

    fn leaf(&self, binned: &Binned, row: usize) -> usize {
        let mut at = if self.tree.nodes.is_empty() { -1 } else { 0i32 };
        while at >= 0 {
            let node = &self.tree.nodes[at as usize];
            let bin = binned.columns[node.feature as usize][row];
            at = if self.left[at as usize][usize::from(bin)] { node.left } else { node.right };
        }
        !at as usize
    }
}
