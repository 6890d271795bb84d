//! Exact reasons: Shapley values of a tree whose unknown features are taken as the training rows had them
//! (path-dependent TreeSHAP, Lundberg 2020), without its quadratic recursion.
//!
//! A leaf's game is a product: each feature on its path gives 1 or 0 when known (the row goes there or not), and
//! the share of rows that went there when unknown. The Shapley value of a product game is an integral over t of a
//! polynomial, t being the chance that any other feature is known (Owen's extension); Gauss and Legendre's quadrature
//! with half as many points as the path has features gives it exactly. So each tree takes one pass down (products) and
//! one pass up (sums), a few numbers per edge, all worked out beforehand but for which way the row goes.
#![expect(clippy::indexing_slicing, reason = "dense kernels: sizes are equal by construction")]

use super::{MOST_LEAVES, Tree};

/// Places of a tree: its inner nodes, then its leaves, then one that is always on a row's way.
const PLACES: usize = 2 * MOST_LEAVES;
/// The last place: "no node above asked this feature".
const NOWHERE: u8 = PLACES as u8 - 1;

/// Which way a row goes at a node, without a branch.
#[derive(Debug, Clone)]
enum Way {
    AtMost(f64),
    OneOf([u64; 4]),
}

/// One inner node, with numbers for each of `K` quadrature points.
#[derive(Debug, Clone)]
struct Prepared<const K: usize> {
    way: Way,
    missing_left: bool,
    feature: u32,
    /// The places of the children, left and right.
    children: [u8; 2],
    /// The place below the last node above that asked the same feature, or [`NOWHERE`].
    before: u8,
    /// Shares of the node's rows that go left and right.
    shares: [f64; 2],
    /// The feature's share along the path so far, 1 where it was not asked.
    old: f64,
    /// One over the old factor, where `old` is not 1.
    undo: [f64; K],
    /// The old part of the integral.
    part_before: [f64; K],
    /// The part of the integral when the row goes left, and right.
    part: [[f64; K]; 2],
}

/// A tree prepared for reasons.
#[derive(Debug, Clone)]
struct Plan<const K: usize> {
    nodes: Vec<Prepared<K>>,
    values: Vec<f64>,
    points: [f64; K],
    /// 1 - t, and weight / (1 - t).
    rest: [f64; K],
    lost: [f64; K],
}

/// Memory of one pass: what is written before it is read needs no clearing.
struct Scratch<const K: usize> {
    product: [[f64; K]; PLACES],
    sum: [[f64; K]; PLACES],
    on: [bool; PLACES],
    asked: [bool; MOST_LEAVES],
    right: [u8; MOST_LEAVES],
}

impl<const K: usize> Scratch<K> {
    fn new() -> Self {
        let mut product = [[0.0; K]; PLACES];
        product[0] = [1.0; K];
        let on = [true; PLACES];
        Self { product, sum: [[0.0; K]; PLACES], on, asked: [true; MOST_LEAVES], right: [0; MOST_LEAVES] }
    }
}

impl<const K: usize> Plan<K> {
    fn new(tree: &Tree) -> Self {
        let (points, weights) = legendre::<K>();
        let cover = covers(tree);
        let place = |child: i32| if child < 0 { tree.nodes.len() + !child as usize } else { child as usize };
        // Per place: the node above and the feature's share along the path, itself included.
        let mut above: [Option<usize>; PLACES] = [None; PLACES];
        let mut combined = [1.0; PLACES];
        let at = |share: f64, t: f64| share + t * (1.0 - share);
        let nodes = tree.nodes.iter().enumerate().map(|(index, node)| {
            let own =
                |child: i32| if child < 0 { tree.covers[!child as usize] } else { cover[child as usize] };
            let shares = [own(node.left) / cover[index], own(node.right) / cover[index]];
            // Up the path, to the place below the last node that asked the same.
            let (mut here, mut before) = (index, NOWHERE);
            while let Some(parent) = above[here] {
                if tree.nodes[parent].feature == node.feature {
                    before = here as u8;
                    break;
                }
                here = parent;
            }
            let old = if before == NOWHERE { 1.0 } else { combined[usize::from(before)] };
            let children = [place(node.left) as u8, place(node.right) as u8];
            for (child, share) in children.iter().zip(shares) {
                above[usize::from(*child)] = Some(index);
                combined[usize::from(*child)] = old * share;
            }
            let part =
                |share: f64| std::array::from_fn(|k| weights[k] * (1.0 - share) / at(share, points[k]));
            let way = match &node.test {
                super::Test::AtMost(threshold) => Way::AtMost(*threshold),
                super::Test::OneOf(codes) => {
                    let mut set = [0u64; 4];
                    codes.iter().for_each(|code| set[usize::from(code >> 6)] |= 1 << (code & 63));
                    Way::OneOf(set)
                }
            };
            Prepared {
                way,
                missing_left: node.missing_left,
                feature: node.feature,
                children,
                before,
                shares,
                old,
                undo: std::array::from_fn(|k| 1.0 / at(old, points[k])),
                part_before: part(old),
                part: [part(old * shares[0]), part(old * shares[1])],
            }
        });
        Self {
            nodes: nodes.collect(),
            values: tree.values.clone(),
            points,
            rest: points.map(|t| 1.0 - t),
            lost: std::array::from_fn(|k| weights[k] / (1.0 - points[k])),
        }
    }

    #[inline(always)]
    fn add(&self, row: &[f64], factor: f64, scratch: &mut Scratch<K>, out: &mut [f64]) {
        let Scratch { product, sum, on, asked, right } = scratch;
        let place = |at: u8| usize::from(at) % PLACES;
        for (index, node) in self.nodes.iter().enumerate() {
            let value = row.get(node.feature as usize).copied().unwrap_or(f64::NAN);
            let fits = match &node.way {
                Way::AtMost(threshold) => value <= *threshold,
                Way::OneOf(set) => {
                    let code = super::bins::code(value);
                    !value.is_nan() & (set[usize::from(code >> 6)] >> (code & 63) & 1 == 1)
                }
            };
            let side = usize::from(!(fits | (value.is_nan() & node.missing_left)));
            let (taken, other) = (place(node.children[side]), place(node.children[1 - side]));
            let (share, share_other) = (node.shares[side], node.shares[1 - side]);
            let from = product[index % PLACES];
            let before = on[place(node.before)];
            right[index % MOST_LEAVES] = side as u8;
            asked[index % MOST_LEAVES] = before;
            on[taken] = before;
            on[other] = false;
            let (mut here, mut gone) = ([0.0; K], [0.0; K]);
            if node.before == NOWHERE {
                for k in 0..K {
                    here[k] = from[k] * (share + self.points[k] * share_other);
                    gone[k] = from[k] * (share_other * self.rest[k]);
                }
            } else if before {
                let (new, new_other) = (node.old * share, node.old * share_other);
                for k in 0..K {
                    let from = from[k] * node.undo[k];
                    here[k] = from * (new + self.points[k] * (1.0 - new));
                    gone[k] = from * (new_other * self.rest[k]);
                }
            } else {
                for k in 0..K {
                    here[k] = from[k] * share;
                    gone[k] = from[k] * share_other;
                }
            }
            product[taken] = here;
            product[other] = gone;
        }
        for (leaf, value) in self.values.iter().enumerate() {
            let at = (self.nodes.len() + leaf) % PLACES;
            for k in 0..K {
                sum[at][k] = value * product[at][k];
            }
        }
        for (index, node) in self.nodes.iter().enumerate().rev() {
            let side = usize::from(right[index % MOST_LEAVES]) % 2;
            let (taken, other) = (sum[place(node.children[side])], sum[place(node.children[1 - side])]);
            let (mut both, mut parts) = ([0.0; K], [0.0f64; 2]);
            for k in 0..K {
                both[k] = taken[k] + other[k];
            }
            sum[index % PLACES] = both;
            if node.before == NOWHERE {
                for k in 0..K {
                    parts[k % 2] += taken[k] * node.part[side][k] - other[k] * self.lost[k];
                }
            } else if asked[index % MOST_LEAVES] {
                for k in 0..K {
                    parts[k % 2] += taken[k] * node.part[side][k]
                        - other[k] * self.lost[k]
                        - both[k] * node.part_before[k];
                }
            }
            if let Some(slot) = out.get_mut(node.feature as usize) {
                *slot += factor * (parts[0] + parts[1]);
            }
        }
    }
}

/// Rows of each node: the sum of its leaves'.
fn covers(tree: &Tree) -> Vec<f64> {
    let mut cover = vec![0.0; tree.nodes.len()];
    for index in (0..tree.nodes.len()).rev() {
        let of = |child: i32| if child < 0 { tree.covers[!child as usize] } else { cover[child as usize] };
        cover[index] = of(tree.nodes[index].left) + of(tree.nodes[index].right);
    }
    cover
}

/// The most different features on any path.
fn features_on_a_path(tree: &Tree) -> usize {
    let mut most = 0;
    let mut stack = vec![(0i32, Vec::<u32>::new())];
    while let Some((at, mut path)) = stack.pop() {
        let Some(node) = usize::try_from(at).ok().and_then(|index| tree.nodes.get(index)) else {
            most = most.max(path.len());
            continue;
        };
        if !path.contains(&node.feature) {
            path.push(node.feature);
        }
        stack.push((node.left, path.clone()));
        stack.push((node.right, path));
    }
    most
}

/// Points and weights of Gauss and Legendre on 0 to 1.
fn legendre<const K: usize>() -> ([f64; K], [f64; K]) {
    let (mut points, mut weights) = ([0.0; K], [0.0; K]);
    for k in 0..K {
        let mut x = (std::f64::consts::PI * (k as f64 + 0.75) / (K as f64 + 0.5)).cos();
        let mut slope = 1.0;
        for _ in 0..100 {
            let (mut p, mut last) = (1.0, 0.0);
            for n in 1..=K {
                let n = n as f64;
                (p, last) = (((2.0 * n - 1.0) * x * p - (n - 1.0) * last) / n, p);
            }
            slope = K as f64 * (x * p - last) / (x * x - 1.0);
            let step = p / slope;
            x -= step;
            if step.abs() < 1e-16 {
                break;
            }
        }
        points[k] = 0.5 * (1.0 + x);
        weights[k] = 1.0 / ((1.0 - x * x) * slope * slope);
    }
    (points, weights)
}

/// A forest prepared for reasons: trees by how many quadrature points their paths need.
#[derive(Debug, Clone)]
pub(super) struct Shap {
    expected: f64,
    /// Whether the processor adds four numbers at a time.
    wide: bool,
    two: Vec<Plan<2>>,
    four: Vec<Plan<4>>,
    six: Vec<Plan<6>>,
    sixteen: Vec<Plan<16>>,
}

impl Shap {
    pub fn new(trees: &[Tree]) -> Self {
        let mean = |tree: &Tree| {
            let sum: f64 = tree.values.iter().zip(&tree.covers).map(|(v, c)| v * c).sum();
            sum / tree.covers.iter().sum::<f64>()
        };
        let expected = trees.iter().map(mean).sum();
        #[cfg(target_arch = "x86_64")]
        let wide = std::arch::is_x86_feature_detected!("avx2");
        #[cfg(not(target_arch = "x86_64"))]
        let wide = false;
        let mut shap =
            Self { expected, wide, two: Vec::new(), four: Vec::new(), six: Vec::new(), sixteen: Vec::new() };
        for tree in trees {
            match features_on_a_path(tree) {
                0..=4 => shap.two.push(Plan::new(tree)),
                5..=8 => shap.four.push(Plan::new(tree)),
                9..=12 => shap.six.push(Plan::new(tree)),
                // A path of a tree with 32 leaves has 31 nodes at most.
                _ => shap.sixteen.push(Plan::new(tree)),
            }
        }
        shap
    }

    /// The trees' mean over the training rows.
    pub fn expected(&self) -> f64 {
        self.expected
    }

    pub fn add(&self, row: &[f64], factor: f64, out: &mut [f64]) {
        #[cfg(target_arch = "x86_64")]
        if self.wide {
            #[expect(unsafe_code, reason = "a function for processors with AVX2")]
            // SAFETY: `wide` says that this processor has AVX2, which is all that the function asks for.
            return unsafe { self.add_wide(row, factor, out) };
        }
        self.add_any(row, factor, out);
    }

    /// The same additions and multiplications, four at a time: the sums are the same to the last bit.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn add_wide(&self, row: &[f64], factor: f64, out: &mut [f64]) {
        self.add_any(row, factor, out);
    }

    #[inline(always)]
    fn add_any(&self, row: &[f64], factor: f64, out: &mut [f64]) {
        add_all(&self.two, row, factor, out);
        add_all(&self.four, row, factor, out);
        add_all(&self.six, row, factor, out);
        add_all(&self.sixteen, row, factor, out);
    }
}

#[inline(always)]
fn add_all<const K: usize>(plans: &[Plan<K>], row: &[f64], factor: f64, out: &mut [f64]) {
    if !plans.is_empty() {
        let mut scratch = Scratch::new();
        for plan in plans {
            plan.add(row, factor, &mut scratch, out);
        }
    }
}
