//! One tree, leaf by leaf: always the leaf whose best split gains most.
//!
//! Gradients and curvatures are rounded to whole numbers and added up two at a time in one 64-bit word (gradient in the
//! upper half, curvature in the lower): half the work, exact subtraction of a child's histogram from its parent's, and
//! sums that do not depend on the order of rows. Rounding is to 1/20,000 of the largest gradient at 100,000 rows; what
//! a leaf adds is worked out from the unrounded gradients.
#![expect(clippy::indexing_slicing, reason = "dense kernels: sizes are equal by construction")]

use super::{
    MOST_LEAVES, Node, Test, Tree,
    bins::{Binned, Kind, SIDE_BY_SIDE},
};

/// How one tree is grown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GrowOptions {
    /// At most this many leaves (2 to 32).
    pub leaves: usize,
    /// A leaf has about this many rows at least (counted by their share of the curvature while splitting).
    pub leaf_rows: usize,
    /// Added to the curvature: holds values of small leaves back.
    pub l2: f64,
    /// Each leaf's value is multiplied by this.
    pub shrinkage: f64,
}

/// Added to the curvature of categories while they are ordered and split: many small ones invite overfitting.
const CATEGORY_L2: f64 = 10.0;
/// A split must gain at least this.
const LEAST_GAIN: f64 = 1e-9;

type Histogram = [i64; 256];

/// Gradient and curvature in one word.
fn pack(gradient: i64, curvature: i64) -> i64 {
    (gradient << 32).wrapping_add(curvature)
}

fn gradient(packed: i64) -> f64 {
    ((packed >> 32) as i32).into()
}

fn curvature(packed: i64) -> f64 {
    // Stays below 2^31, so the signed conversion (which the processor has for several at once) is right.
    (packed as i32).into()
}

/// Where a leaf is best divided.
#[derive(Debug, Clone, Copy)]
struct Split {
    gain: f64,
    column: usize,
    /// One bit per bin: who goes left.
    left: [u64; 4],
}

impl Split {
    fn has(&self, bin: u8) -> bool {
        self.left[usize::from(bin >> 6)] >> (bin & 63) & 1 == 1
    }
}

/// A leaf while the tree grows.
struct Leaf {
    from: usize,
    to: usize,
    histogram: Vec<Histogram>,
    best: Option<Split>,
}

/// A node while the tree grows; children are nodes, or complements of leaves.
struct Draft {
    split: Split,
    children: [i32; 2],
}

/// Memory that is used again from tree to tree.
#[derive(Default)]
pub(super) struct Grower {
    /// The rows, each leaf's side by side.
    rows: Vec<u32>,
    spare: Vec<u32>,
    packed: Vec<i64>,
    gathered: Vec<i64>,
    pool: Vec<Vec<Histogram>>,
}

/// What growing needs to know.
pub(super) struct Task<'a> {
    pub binned: &'a Binned,
    /// The rows to learn from.
    pub rows: &'a [u32],
    /// Gradient of each row of `rows`' table.
    pub gradients: &'a [f64],
    /// Curvature, in the same way.
    pub curvatures: &'a [f64],
    /// Which columns may be used.
    pub columns: &'a [bool],
    pub options: GrowOptions,
}

/// A grown tree, and where each of the rows ended.
pub(super) struct Grown {
    pub tree: Tree,
    /// One entry per leaf: where its rows lie in [`Grower::rows`].
    pub spans: Vec<(usize, usize)>,
}

impl Grower {
    pub fn rows(&self, span: (usize, usize)) -> &[u32] {
        &self.rows[span.0..span.1]
    }

    /// Grows one tree; `None` where no split gains anything.
    pub fn grow(&mut self, task: &Task<'_>) -> Option<Grown> {
        let scale = self.pack_all(task);
        self.rows.clear();
        self.rows.extend_from_slice(task.rows);
        self.spare.resize(task.rows.len(), 0);
        let mut histogram = self.take_histogram(task.binned);
        self.accumulate(task, (0, task.rows.len()), &mut histogram);
        let mut root = Leaf { from: 0, to: task.rows.len(), histogram, best: None };
        root.best = best_split(task, &root, scale);
        root.best?;
        let mut leaves = vec![root];
        let mut drafts: Vec<Draft> = Vec::new();
        // Which link points at each leaf: (draft, side).
        let mut links: Vec<Option<(usize, usize)>> = vec![None];
        while leaves.len() < task.options.leaves.clamp(2, MOST_LEAVES) {
            let chosen = leaves
                .iter()
                .enumerate()
                .filter_map(|(index, leaf)| Some((index, leaf.best?)))
                // The first of equals: leaves are in the order of their making, which is the same each time.
                .max_by(|a, b| a.1.gain.total_cmp(&b.1.gain).then(b.0.cmp(&a.0)));
            let Some((index, split)) = chosen else { break };
            let (from, to) = (leaves[index].from, leaves[index].to);
            let middle = self.partition(&task.binned.columns[split.column], &split, from, to);
            if middle == from || middle == to {
                // Rounded sums promised rows on both sides where there are none: not a split.
                leaves[index].best = None;
                continue;
            }
            let full = leaves.len() + 1 >= task.options.leaves.clamp(2, MOST_LEAVES);
            let mut parent = std::mem::take(&mut leaves[index].histogram);
            let (mut left, mut right) = (
                Leaf { from, to: middle, histogram: Vec::new(), best: None },
                Leaf { from: middle, to, histogram: Vec::new(), best: None },
            );
            if !full {
                let mut small = self.take_histogram(task.binned);
                let left_is_small = middle - from <= to - middle;
                let span = if left_is_small { (from, middle) } else { (middle, to) };
                self.accumulate(task, span, &mut small);
                subtract(&mut parent, &small);
                (left.histogram, right.histogram) =
                    if left_is_small { (small, parent) } else { (parent, small) };
                left.best = best_split(task, &left, scale);
                right.best = best_split(task, &right, scale);
            } else {
                self.pool.push(parent);
            }
            let draft = drafts.len();
            drafts.push(Draft { split, children: [!(index as i32), !(leaves.len() as i32)] });
            if let Some((above, side)) = links[index] {
                drafts[above].children[side] = draft as i32;
            }
            links[index] = Some((draft, 0));
            links.push(Some((draft, 1)));
            leaves[index] = left;
            leaves.push(right);
        }
        let grown = self.finish(task, &leaves, &drafts);
        self.pool.extend(leaves.into_iter().map(|leaf| leaf.histogram).filter(|h| !h.is_empty()));
        (!drafts.is_empty()).then_some(grown)
    }

    /// Rounds gradients and curvatures; gives what one unit of each is worth.
    fn pack_all(&mut self, task: &Task<'_>) -> (f64, f64) {
        let most =
            |values: &[f64]| task.rows.iter().map(|row| values[*row as usize].abs()).fold(1e-12, f64::max);
        // The sum over all rows must stay below 2^31.
        let units = (f64::from(i32::MAX) / task.rows.len().max(1) as f64 - 1.0).clamp(1.0, 1_048_576.0);
        let (g, h) = (units / most(task.gradients), units / most(task.curvatures));
        self.packed.clear();
        self.packed.extend(task.gradients.iter().zip(task.curvatures).map(|(gradient, curvature)| {
            // Adding 1.5 x 2^52 leaves the rounded number in the low bits: no call, several at once.
            const ROUND: f64 = 6_755_399_441_055_744.0;
            let whole = |v: f64| i64::from((v + ROUND).to_bits() as u32 as i32);
            pack(whole(gradient * g), whole(curvature * h))
        }));
        (1.0 / g, 1.0 / h)
    }

    fn take_histogram(&mut self, binned: &Binned) -> Vec<Histogram> {
        let wide = binned.blocks.len() * SIDE_BY_SIDE;
        let mut histogram = self.pool.pop().unwrap_or_default();
        histogram.clear();
        histogram.resize(wide, [0; 256]);
        histogram
    }

    fn accumulate(&mut self, task: &Task<'_>, (from, to): (usize, usize), histogram: &mut [Histogram]) {
        let rows = &self.rows[from..to];
        self.gathered.clear();
        self.gathered.extend(rows.iter().map(|row| self.packed[*row as usize]));
        for (index, (block, four)) in
            task.binned.blocks.iter().zip(histogram.as_chunks_mut::<SIDE_BY_SIDE>().0).enumerate()
        {
            if task.columns.iter().skip(index * SIDE_BY_SIDE).take(SIDE_BY_SIDE).any(|used| *used) {
                add_block(block, rows, &self.gathered, four);
            }
        }
    }

    /// Brings the rows that go left to the front, keeping the order on both sides.
    fn partition(&mut self, column: &[u8], split: &Split, from: usize, to: usize) -> usize {
        let mut goes = [0u8; 256];
        (0..=255u8).for_each(|bin| goes[usize::from(bin)] = u8::from(split.has(bin)));
        let rows = &mut self.rows[from..to];
        let spare = &mut self.spare[..rows.len()];
        let (mut left, mut right) = (0, 0);
        for index in 0..rows.len() {
            let row = rows[index];
            let is_left = usize::from(goes[usize::from(column[row as usize])]);
            // Both are written, one counts: no branch to guess.
            rows[left] = row;
            spare[right] = row;
            left += is_left;
            right += 1 - is_left;
        }
        rows[left..].copy_from_slice(&spare[..right]);
        from + left
    }

    /// Numbers nodes and leaves in the order of a walk and works out what each leaf adds.
    fn finish(&self, task: &Task<'_>, leaves: &[Leaf], drafts: &[Draft]) -> Grown {
        let (mut tree, mut spans) = (Tree::default(), Vec::new());
        // (draft or complement of a leaf, node and side that point at it)
        let mut stack = vec![(if drafts.is_empty() { -1 } else { 0i32 }, None::<(usize, bool)>)];
        while let Some((at, link)) = stack.pop() {
            let number = if at < 0 {
                let leaf = &leaves[!at as usize];
                let (mut g, mut h) = (0.0, 0.0);
                for row in &self.rows[leaf.from..leaf.to] {
                    g += task.gradients[*row as usize];
                    h += task.curvatures[*row as usize];
                }
                tree.values.push(-task.options.shrinkage * g / (h + task.options.l2));
                tree.covers.push((leaf.to - leaf.from) as f64);
                spans.push((leaf.from, leaf.to));
                !(tree.values.len() as i32 - 1)
            } else {
                let draft = &drafts[at as usize];
                let number = tree.nodes.len();
                tree.nodes.push(node(task.binned, &draft.split));
                stack.push((draft.children[1], Some((number, false))));
                stack.push((draft.children[0], Some((number, true))));
                number as i32
            };
            match link {
                Some((node, true)) => tree.nodes[node].left = number,
                Some((node, false)) => tree.nodes[node].right = number,
                None => {}
            }
        }
        Grown { tree, spans }
    }
}

fn node(binned: &Binned, split: &Split) -> Node {
    let bins = &binned.bins[split.column];
    let last = (1..bins.count).rev().find(|bin| split.has(*bin as u8)).unwrap_or(1);
    let test = match bins.kind {
        // Past the last cut, all numbers are on this side and the missing on the other.
        Kind::Numbers => Test::AtMost(bins.cuts.get(last - 1).copied().unwrap_or(f64::MAX)),
        Kind::Codes => Test::OneOf((1..=255u8).filter(|bin| split.has(*bin)).map(|bin| bin - 1).collect()),
    };
    Node { feature: split.column as u32, test, missing_left: split.has(0), left: 0, right: 0 }
}

fn add_block(
    block: &[[u8; SIDE_BY_SIDE]],
    rows: &[u32],
    packed: &[i64],
    histogram: &mut [Histogram; SIDE_BY_SIDE],
) {
    let [a, b, c, d] = histogram;
    for (row, packed) in rows.iter().zip(packed) {
        let [i, j, k, l] = block[*row as usize];
        a[usize::from(i)] = a[usize::from(i)].wrapping_add(*packed);
        b[usize::from(j)] = b[usize::from(j)].wrapping_add(*packed);
        c[usize::from(k)] = c[usize::from(k)].wrapping_add(*packed);
        d[usize::from(l)] = d[usize::from(l)].wrapping_add(*packed);
    }
}

fn subtract(from: &mut [Histogram], part: &[Histogram]) {
    for (a, b) in from.iter_mut().zip(part) {
        for (a, b) in a.iter_mut().zip(b) {
            *a = a.wrapping_sub(*b);
        }
    }
}

/// Sums of one leaf, and what a split of them must keep to.
struct Sums {
    total: i64,
    scale: (f64, f64),
    /// Least curvature of a side, in units.
    least: i64,
    l2: f64,
    /// What the leaf is worth undivided.
    undivided: f64,
}

impl Sums {
    /// What dividing off `left` gains; below zero where a side is too small.
    fn gain(&self, left: i64, l2: f64) -> f64 {
        let right = self.total.wrapping_sub(left);
        if i64::from(left as i32) < self.least || i64::from(right as i32) < self.least {
            return -1.0;
        }
        let (g, h) = self.scale;
        let (gl, hl) = (gradient(left) * g, curvature(left) * h + l2);
        let (gr, hr) = (gradient(right) * g, curvature(right) * h + l2);
        // One division instead of two.
        (gl * gl * hr + gr * gr * hl) / (hl * hr) - self.undivided
    }
}

fn best_split(task: &Task<'_>, leaf: &Leaf, scale: (f64, f64)) -> Option<Split> {
    let rows = leaf.to - leaf.from;
    if rows < 2 * task.options.leaf_rows.max(1) {
        return None;
    }
    let first = task.columns.iter().position(|used| *used)?;
    let total = leaf.histogram[first].iter().fold(0i64, |sum, bin| sum.wrapping_add(*bin));
    let (g, h) = (gradient(total) * scale.0, curvature(total) * scale.1);
    // Rows are not counted bin by bin: a row is an equal share of the leaf's curvature.
    let least = (task.options.leaf_rows.max(1) as f64 / rows as f64 * curvature(total)).ceil() as i64;
    let l2 = task.options.l2;
    let sums = Sums { total, scale, least: least.max(1), l2, undivided: g * g / (h + l2) };
    let mut best: Option<Split> = None;
    for &column in &task.binned.order {
        if !task.columns[column] {
            continue;
        }
        let bins = &task.binned.bins[column];
        let found = match bins.kind {
            Kind::Numbers => best_cut(&leaf.histogram[column], bins.count, &sums),
            Kind::Codes => best_set(&leaf.histogram[column], bins.count, &sums),
        };
        if let Some((gain, left)) = found
            && gain > best.map_or(LEAST_GAIN, |best| best.gain)
        {
            best = Some(Split { gain, column, left });
        }
    }
    best
}

/// The best threshold, and the side of missing values: the better one, or the heavier one where the leaf saw none.
fn best_cut(histogram: &Histogram, count: usize, sums: &Sums) -> Option<(f64, [u64; 4])> {
    let missing = histogram[0];
    let (mut best, mut cut, mut with_missing) = (LEAST_GAIN, 0usize, false);
    let mut left = 0i64;
    // All numbers against the missing ones is a cut too.
    let end = if missing == 0 { count.saturating_sub(1) } else { count };
    for (bin, sum) in histogram.iter().enumerate().take(end).skip(1) {
        if *sum == 0 {
            continue;
        }
        left = left.wrapping_add(*sum);
        let gain = sums.gain(left, sums.l2);
        if gain > best {
            (best, cut, with_missing) = (gain, bin, false);
        }
        if missing != 0 {
            let gain = sums.gain(left.wrapping_add(missing), sums.l2);
            if gain > best {
                (best, cut, with_missing) = (gain, bin, true);
            }
        }
    }
    if cut == 0 {
        return None;
    }
    if missing == 0 {
        let left = histogram[1..=cut].iter().fold(0i64, |sum, bin| sum.wrapping_add(*bin));
        with_missing = 2.0 * curvature(left) > curvature(sums.total);
    }
    let mut set = [0u64; 4];
    (1..=cut).for_each(|bin| set[bin >> 6] |= 1 << (bin & 63));
    set[0] |= u64::from(with_missing);
    Some((best, set))
}

/// The best subset of categories: ordered by gradient over curvature, the best subset is a prefix (Fisher 1958).
/// Missing is a category here. The listed side is the lighter one: codes that the leaf never saw go with the other.
fn best_set(histogram: &Histogram, count: usize, sums: &Sums) -> Option<(f64, [u64; 4])> {
    let mut order = [(0.0f64, 0usize); 256];
    let mut seen = 0;
    for (bin, sum) in histogram.iter().enumerate().take(count) {
        if *sum != 0 {
            let (g, h) = (gradient(*sum) * sums.scale.0, curvature(*sum) * sums.scale.1);
            order[seen] = (g / (h + CATEGORY_L2), bin);
            seen += 1;
        }
    }
    let order = &mut order[..seen];
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let l2 = if seen > 4 { sums.l2 + CATEGORY_L2 } else { sums.l2 };
    let (mut best, mut length, mut left, mut taken) = (LEAST_GAIN, 0, 0i64, 0i64);
    for (index, (_, bin)) in order.iter().enumerate().take(seen.saturating_sub(1)) {
        left = left.wrapping_add(histogram[*bin]);
        let gain = sums.gain(left, l2);
        if gain > best {
            (best, length, taken) = (gain, index + 1, left);
        }
    }
    if length == 0 {
        return None;
    }
    let prefix_is_light = 2.0 * curvature(taken) <= curvature(sums.total);
    let listed = if prefix_is_light { &order[..length] } else { &order[length..] };
    let mut set = [0u64; 4];
    listed.iter().for_each(|(_, bin)| set[bin >> 6] |= 1 << (bin & 63));
    Some((best, set))
}
