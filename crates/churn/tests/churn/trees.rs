//! Boosted trees: what they learn, that scoring by bit masks is scoring by walking, that reasons are Shapley values.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vigie_churn::trees::{
    Node, Test, Tree, Trees,
    bins::{Binned, Kind},
    boost::{BoostOptions, Objective, boost},
    grow::GrowOptions,
};

/// A tree drawn at random: features 0 and 1 are categories, the others numbers.
fn random_tree(rng: &mut ChaCha8Rng, features: u32, leaves: usize) -> Tree {
    let mut tree = Tree::default();
    grow(rng, features, leaves, &mut tree);
    tree
}

fn grow(rng: &mut ChaCha8Rng, features: u32, leaves: usize, tree: &mut Tree) -> i32 {
    if leaves == 1 {
        tree.values.push(rng.random_range(-1.0..1.0));
        tree.covers.push(f64::from(rng.random_range(1..50)));
        return !(tree.values.len() as i32 - 1);
    }
    let feature = rng.random_range(0..features);
    let test = if feature < 2 {
        Test::OneOf((0..6).filter(|_| rng.random_bool(0.4)).collect())
    } else {
        Test::AtMost(f64::from(rng.random_range(-3..4)))
    };
    let at = tree.nodes.len();
    tree.nodes.push(Node { feature, test, missing_left: rng.random_bool(0.5), left: 0, right: 0 });
    let left = rng.random_range(1..leaves);
    tree.nodes[at].left = grow(rng, features, left, tree);
    tree.nodes[at].right = grow(rng, features, leaves - left, tree);
    at as i32
}

fn random_row(rng: &mut ChaCha8Rng, features: u32) -> Vec<f64> {
    (0..features)
        .map(|feature| match (rng.random_bool(0.15), feature < 2) {
            (true, _) => f64::NAN,
            (_, true) => f64::from(rng.random_range(0..8)),
            _ => f64::from(rng.random_range(-8..9)) / 2.0,
        })
        .collect()
}

#[test]
fn masks_and_walking_agree_to_the_last_bit() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for trees in [0, 1, 15, 16, 17, 50] {
        for features in [3u32, 9, 120] {
            let forest: Vec<Tree> = (0..trees)
                .map(|_| {
                    let leaves = rng.random_range(1..=32);
                    random_tree(&mut rng, features, leaves)
                })
                .collect();
            let forest = Trees::new(0.25, features as usize, forest).unwrap();
            for _ in 0..200 {
                let row = random_row(&mut rng, features);
                assert_eq!(forest.score(&row).to_bits(), forest.score_walking(&row, trees).to_bits());
            }
        }
    }
}

/// The expected value of a tree when only the features of `known` are.
fn expectation(tree: &Tree, at: i32, row: &[f64], known: u32) -> (f64, f64) {
    if at < 0 {
        return (tree.values[!at as usize], tree.covers[!at as usize]);
    }
    let node = &tree.nodes[at as usize];
    let (left, right) = (expectation(tree, node.left, row, known), expectation(tree, node.right, row, known));
    let cover = left.1 + right.1;
    let value = if known >> node.feature & 1 == 1 {
        if node.goes_left(row[node.feature as usize]) { left.0 } else { right.0 }
    } else {
        (left.0 * left.1 + right.0 * right.1) / cover
    };
    (value, cover)
}

#[test]
fn reasons_are_the_shapley_values_of_brute_force() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let factorial = |n: u32| (1..=n).map(f64::from).product::<f64>();
    for case in 0..60 {
        // Few features: they come again on a path; more: paths of many different ones.
        let features = [3u32, 6, 10][case % 3];
        let forest: Vec<Tree> = (0..3)
            .map(|_| {
                let leaves = rng.random_range(1..=32);
                random_tree(&mut rng, features, leaves)
            })
            .collect();
        let row = random_row(&mut rng, features);
        let whole = Trees::new(0.5, features as usize, forest.clone()).unwrap();
        let mut found = vec![0.0; features as usize];
        whole.add_contributions(&row, 1.0, &mut found);
        let value = |known: u32| {
            let start = |tree: &Tree| if tree.nodes.is_empty() { -1 } else { 0 };
            forest.iter().map(|tree| expectation(tree, start(tree), &row, known).0).sum::<f64>()
        };
        assert!((whole.expected() - 0.5 - value(0)).abs() < 1e-9);
        for feature in 0..features {
            let mut expected = 0.0;
            for known in (0..1u32 << features).filter(|known| known >> feature & 1 == 0) {
                let size = known.count_ones();
                let weight = factorial(size) * factorial(features - size - 1) / factorial(features);
                expected += weight * (value(known | 1 << feature) - value(known));
            }
            let found = found[feature as usize];
            assert!((found - expected).abs() < 1e-9, "case {case}, feature {feature}: {found} {expected}");
        }
        let sum: f64 = found.iter().sum::<f64>() + whole.expected();
        assert!((sum - whole.score(&row)).abs() < 1e-9, "case {case}: {sum}");
    }
}

#[test]
fn paths_of_thirty_one_features_add_up_too() {
    // A ladder: each node asks another feature.
    let nodes = (0..31)
        .map(|i| Node {
            feature: i,
            test: Test::AtMost(0.0),
            missing_left: false,
            left: !(i as i32),
            right: if i == 30 { !31 } else { i as i32 + 1 },
        })
        .collect();
    let values = (0..32).map(f64::from).collect();
    let covers = (0..32).map(|i| f64::from(40 - i)).collect();
    let forest = Trees::new(0.0, 31, vec![Tree { nodes, values, covers }]).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    for _ in 0..50 {
        let row: Vec<f64> = (0..31).map(|_| rng.random_range(-0.2..1.0)).collect();
        let mut parts = vec![0.0; 31];
        forest.add_contributions(&row, 1.0, &mut parts);
        let sum: f64 = parts.iter().sum::<f64>() + forest.expected();
        assert!((sum - forest.score(&row)).abs() < 1e-6, "{sum} {}", forest.score(&row));
    }
}

/// Columns: a number, a number with blanks that mean something, a category, noise. The answer needs all but the last.
fn data(rows: usize) -> (Vec<Vec<f64>>, Vec<f64>) {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut columns = vec![Vec::new(); 4];
    let mut y = Vec::new();
    for _ in 0..rows {
        let (a, b) = (rng.random_range(0.0..10.0f64), rng.random_range(0.0..10.0f64));
        let (code, noise) = (rng.random_range(0..40u32), rng.random_range(0.0..1.0f64));
        let blank = rng.random_bool(0.2);
        // Neighbouring codes have nothing in common: thresholds on codes would need many cuts.
        let odd = code % 2 == 1;
        let likely = (a > 5.0) != (blank || b > 5.0) || odd && a > 8.0;
        let row = [a, if blank { f64::NAN } else { b }, f64::from(code), noise];
        columns.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
        y.push(f64::from(u8::from(rng.random_bool(if likely { 0.9 } else { 0.1 }))));
    }
    (columns, y)
}

const KINDS: [Kind; 4] = [Kind::Numbers, Kind::Numbers, Kind::Codes, Kind::Numbers];

fn learn(
    columns: &[Vec<f64>],
    kinds: &[Kind],
    y: &[f64],
    order: Vec<usize>,
    options: &BoostOptions,
) -> Trees {
    let rows: Vec<usize> = (0..y.len()).collect();
    let binned = Binned::learn(columns, kinds, &rows, order);
    boost(&binned, y, &rows, &[], None, options).unwrap().trees
}

#[test]
fn what_lines_cannot_say_is_learnt() {
    let (columns, y) = data(4_000);
    let trees = learn(&columns, &KINDS, &y, vec![0, 1, 2, 3], &BoostOptions::default());
    let score = |a, b, code| trees.score(&[a, b, code, 0.5]);
    assert!(score(7.0, 2.0, 4.0) > 1.0 && score(2.0, 7.0, 4.0) > 1.0, "one of two");
    assert!(score(7.0, 7.0, 4.0) < -1.0 && score(2.0, 2.0, 4.0) < -1.0, "neither both nor none");
    assert!(
        score(2.0, f64::NAN, 4.0) > 1.0 && score(7.0, f64::NAN, 4.0) < -1.0,
        "a blank is like a high value"
    );
    assert!(score(9.5, 7.0, 5.0) > 0.5 && score(9.5, 7.0, 6.0) < -0.5, "odd codes");
    let mut weight = [0.0; 4];
    for row in 0..200 {
        let row: Vec<f64> = columns.iter().map(|column| column[row]).collect();
        let mut parts = [0.0; 4];
        trees.add_contributions(&row, 1.0, &mut parts);
        weight.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part.abs());
    }
    assert!(weight[3] < 0.2 * weight[0], "noise weighs little: {weight:?}");
}

#[test]
fn the_order_of_rows_and_columns_does_not_matter() {
    let (columns, y) = data(3_000);
    let options = BoostOptions { trees: 15, column_share: 0.75, ..BoostOptions::default() };
    let plain = learn(&columns, &KINDS, &y, vec![0, 1, 2, 3], &options);
    assert_eq!(plain, learn(&columns, &KINDS, &y, vec![0, 1, 2, 3], &options), "the same again");
    let turned: Vec<Vec<f64>> = columns.iter().rev().cloned().collect();
    let kinds: Vec<Kind> = KINDS.into_iter().rev().collect();
    let other = learn(&turned, &kinds, &y, vec![3, 2, 1, 0], &options);
    for row in 0..300 {
        let values: Vec<f64> = columns.iter().map(|column| column[row]).collect();
        let reversed: Vec<f64> = values.iter().rev().copied().collect();
        assert_eq!(plain.score(&values), other.score(&reversed), "row {row}");
    }
    let shuffled: Vec<usize> = (0..3_000).map(|i| i * 7 % 3_000).collect();
    let mixed: Vec<Vec<f64>> =
        columns.iter().map(|column| shuffled.iter().map(|row| column[*row]).collect()).collect();
    let answers: Vec<f64> = shuffled.iter().map(|row| y[*row]).collect();
    let other = learn(&mixed, &KINDS, &answers, vec![0, 1, 2, 3], &options);
    for row in 0..300 {
        let values: Vec<f64> = columns.iter().map(|column| column[row]).collect();
        assert!((plain.score(&values) - other.score(&values)).abs() < 1e-9, "row {row}");
    }
}

#[test]
fn leaves_are_as_large_and_as_many_as_asked_for_and_a_mean_is_learnt() {
    let (columns, _) = data(2_000);
    let y: Vec<f64> = columns[0].iter().map(|a| 100.0 + if *a > 3.0 { 7.0 } else { -2.0 }).collect();
    let options = BoostOptions {
        objective: Objective::Mean,
        trees: 200,
        grow: GrowOptions { leaves: 6, leaf_rows: 40, l2: 0.0, shrinkage: 0.2 },
        ..BoostOptions::default()
    };
    let trees = learn(&columns, &KINDS, &y, vec![0, 1, 2, 3], &options);
    for tree in trees.trees() {
        assert!(tree.values.len() <= 6 && tree.covers.iter().all(|rows| *rows >= 39.0), "{tree:?}");
        assert_eq!(tree.covers.iter().sum::<f64>(), 2_000.0);
    }
    assert!((trees.score(&[4.0, 1.0, 1.0, 0.0]) - 107.0).abs() < 0.3);
    assert!((trees.score(&[2.0, 1.0, 1.0, 0.0]) - 98.0).abs() < 0.3);
}

#[test]
fn learning_stops_when_rows_apart_get_no_better() {
    let (columns, y) = data(2_000);
    let (rows, apart): (Vec<usize>, Vec<usize>) = (0..2_000).partition(|row| row % 4 != 0);
    let binned = Binned::learn(&columns, &KINDS, &rows, vec![0, 1, 2, 3]);
    let options = BoostOptions { trees: 2_000, patience: 20, ..BoostOptions::default() };
    let boosted = boost(&binned, &y, &rows, &apart, None, &options).unwrap();
    let count = boosted.trees.trees().len();
    assert!((21..500).contains(&count), "{count}");
    assert_eq!(boosted.losses.len(), count + 1);
    let best =
        (0..boosted.losses.len()).min_by(|a, b| boosted.losses[*a].total_cmp(&boosted.losses[*b])).unwrap();
    assert_eq!(best + 20, count);
    // The loss that is followed is the loss of the trees.
    let loss = |row: &usize| {
        let values: Vec<f64> = columns.iter().map(|column| column[*row]).collect();
        let score = boosted.trees.score(&values);
        (1.0 + score.exp()).ln() - y[*row] * score
    };
    let mean = apart.iter().map(loss).sum::<f64>() / apart.len() as f64;
    assert!((mean - boosted.losses[count]).abs() < 1e-9);
}

#[test]
fn trees_that_make_no_sense_are_refused() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let sound = random_tree(&mut rng, 4, 6);
    assert!(Trees::new(0.0, 4, vec![sound.clone()]).is_ok());
    let check = |change: &dyn Fn(&mut Tree), expect: &str| {
        let mut tree = sound.clone();
        change(&mut tree);
        let error = Trees::new(0.0, 4, vec![tree]).unwrap_err();
        assert!(error.contains(expect), "{error}");
    };
    check(&|t| t.nodes[0].left = 0, "not in order");
    check(&|t| t.nodes[4].left = 77, "not");
    check(&|t| t.nodes[0].feature = 4, "impossible test");
    check(&|t| t.nodes[0].test = Test::AtMost(f64::NAN), "impossible test");
    check(&|t| t.nodes[0].test = Test::OneOf(vec![3, 1]), "impossible test");
    check(&|t| t.values[2] = f64::INFINITY, "impossible number");
    check(&|t| t.covers[2] = 0.0, "impossible number");
    check(&|t| t.values.push(0.0), "leaves");
    assert!(Trees::new(f64::NAN, 4, vec![]).is_err());
}
