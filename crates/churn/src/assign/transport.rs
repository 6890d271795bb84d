//! The transportation problem behind an assignment, solved exactly.
//!
//! Customers are inserted one by one, the most valuable first, into an optimal assignment of those before
//! (successive shortest paths with prices, as in the Hungarian method, on the managers' graph). A price per manager
//! says what a seat is worth; a customer who cannot beat any price is passed over in one look along the managers,
//! and only a contested seat starts a search. Invariants, which prove the result optimal (complementary slackness):
//!
//! - prices are never below zero, never fall, and are zero while a seat is free;
//! - whoever is seated has no better (value - price) elsewhere, and one of zero or more;
//! - whoever is not seated has (value - price) of zero or less everywhere.
//!
//! Values are scaled to whole numbers of 40 bits first, which floating point adds and compares exactly and several at a time:
//! sums are exact, ties are ties, and the search cannot cycle.
#![expect(
    clippy::indexing_slicing,
    reason = "dense kernel: indices run over customers and managers counted on entry"
)]

const NONE: usize = usize::MAX;
/// More than any sum of values.
const FAR: f64 = 1e18;

/// What each pair is worth.
pub(super) trait Values {
    /// What must be known of a customer to say what a pair is worth; kept where the customer sits, so that it is near.
    type Key: Copy;
    /// A customer's key.
    fn key(&self, customer: usize) -> Self::Key;
    /// Of one pair.
    fn at(&self, key: Self::Key, manager: usize) -> f64;
    /// Of one customer with each manager: the very numbers that `at` gives.
    fn row(&self, customer: usize, out: &mut [f64]);
}

/// For one manager and each other one (and, last, for losing the seat): the least that a seated customer loses by
/// moving there, and which customer; and the next after. When both have left, the entry goes stale: its loss is then a lower
/// bound, and it is worked out again only when a search would use it.
#[derive(Default)]
struct Moves {
    loss: Vec<f64>,
    movers: Vec<Movers>,
}

#[derive(Clone, Copy)]
struct Movers {
    /// [`NONE`]: stale.
    first: usize,
    /// [`NONE`]: not known.
    second: usize,
    second_loss: f64,
}

const STALE: Movers = Movers { first: NONE, second: NONE, second_loss: FAR };

impl Moves {
    /// Enters a customer who loses so much.
    fn enter(&mut self, to: usize, customer: usize, own: f64) {
        let (loss, movers) = (&mut self.loss[to], &mut self.movers[to]);
        if own <= *loss {
            // A stale entry's loss is a bound: whoever is within it is the first, and the second is not known.
            if movers.first != NONE {
                (movers.second, movers.second_loss) = (movers.first, *loss);
            }
            (*loss, movers.first) = (own, customer);
        } else if movers.second != NONE && own < movers.second_loss {
            (movers.second, movers.second_loss) = (customer, own);
        }
    }

    fn leave(&mut self, customer: usize) {
        for (loss, movers) in self.loss.iter_mut().zip(&mut self.movers) {
            if movers.first == customer {
                if movers.second != NONE {
                    *loss = movers.second_loss;
                }
                movers.first = movers.second;
                movers.second = NONE;
            } else if movers.second == customer {
                movers.second = NONE;
            }
        }
    }
}

/// Somebody on a seat, and what that is worth.
struct Seated<K> {
    customer: usize,
    key: K,
    here: f64,
}

/// Distances of managers that are not settled yet, with the least of each block.
struct Open {
    far: Vec<f64>,
    least: Vec<f64>,
}

const BLOCK: usize = 32;

impl Open {
    fn new(distance: &[f64]) -> Self {
        Self { far: distance.to_vec(), least: distance.chunks(BLOCK).map(least_of).collect() }
    }

    fn nearer(&mut self, manager: usize, distance: f64) {
        self.far[manager] = distance;
        let least = &mut self.least[manager / BLOCK];
        *least = if distance < *least { distance } else { *least };
    }

    /// The nearest one, if it is nearer than `end`.
    fn nearest(&self, end: f64) -> Option<(usize, f64)> {
        let here = least_of(&self.least);
        let block = self.least.iter().position(|least| *least == here).filter(|_| here < end)?;
        let from = block * BLOCK;
        let at = self.far[from..].iter().take(BLOCK).position(|far| *far == here)?;
        Some((from + at, here))
    }

    fn settle(&mut self, manager: usize) {
        self.far[manager] = FAR;
        let from = manager / BLOCK * BLOCK;
        let until = (from + BLOCK).min(self.far.len());
        self.least[manager / BLOCK] = least_of(&self.far[from..until]);
    }
}

struct Search<'a, V: Values> {
    values: &'a V,
    scale: f64,
    price: Vec<f64>,
    free: Vec<usize>,
    seated: Vec<Vec<Seated<V::Key>>>,
    manager_of: Vec<usize>,
    /// Kept up to date once a manager was searched through; empty before.
    moves: Vec<Moves>,
    /// One customer's values with all managers.
    row: Vec<f64>,
}

/// Rounds to a whole number (below 2^51 in size) without a call, several at once.
fn whole(value: f64) -> f64 {
    const ROUND: f64 = 6_755_399_441_055_744.0;
    (value + ROUND) - ROUND
}

/// The least of many, without a branch.
fn least_of(values: &[f64]) -> f64 {
    let smaller = |a: f64, b: f64| if a < b { a } else { b };
    let (eights, rest) = values.as_chunks::<8>();
    let mut least = [FAR; 8];
    for eight in eights {
        for (slot, value) in least.iter_mut().zip(eight) {
            *slot = smaller(*slot, *value);
        }
    }
    least.into_iter().chain(rest.iter().copied()).fold(FAR, smaller)
}

/// The manager of each customer, such that the sum of values is largest. Pairs worth zero or less are not made.
pub(super) fn best(customers: usize, capacities: &[usize], values: &impl Values) -> Vec<Option<usize>> {
    solve(customers, capacities, values).0
}

/// The assignment, and what a seat of each manager is worth: prices that prove it the best.
fn solve(customers: usize, capacities: &[usize], values: &impl Values) -> (Vec<Option<usize>>, Vec<f64>) {
    let managers = capacities.len();
    let mut row = vec![0.0; managers];
    let tops: Vec<f64> = (0..customers)
        .map(|customer| {
            values.row(customer, &mut row);
            row.iter().fold(0.0, |top, value| if *value > top { *value } else { top })
        })
        .collect();
    let largest = tops.iter().copied().fold(0.0, f64::max);
    if largest <= 0.0 || !largest.is_finite() {
        return (vec![None; customers], vec![0.0; managers]);
    }
    let scale = (1u64 << 40) as f64 / largest;
    let mut order: Vec<usize> = (0..customers).filter(|c| tops[*c] > 0.0).collect();
    order.sort_by(|a, b| tops[*b].total_cmp(&tops[*a]).then(a.cmp(b)));
    let mut search = Search {
        values,
        scale,
        price: vec![0.0; managers],
        free: capacities.to_vec(),
        seated: (0..managers).map(|_| Vec::new()).collect(),
        manager_of: vec![NONE; customers],
        moves: (0..managers).map(|_| Moves::default()).collect(),
        row,
    };
    let mut net = vec![0.0; managers];
    for customer in order {
        search.insert(customer, &mut net);
    }
    let prices = search.price.iter().map(|price| price / scale).collect();
    let assigned = search.manager_of.into_iter().map(|manager| (manager != NONE).then_some(manager));
    (assigned.collect(), prices)
}

impl<V: Values> Search<'_, V> {
    fn value(&self, customer: usize, manager: usize) -> f64 {
        whole(self.values.at(self.values.key(customer), manager) * self.scale)
    }

    fn fill_row(&mut self, customer: usize) {
        self.values.row(customer, &mut self.row);
        for value in &mut self.row {
            *value = whole(*value * self.scale);
        }
    }

    fn insert(&mut self, customer: usize, net: &mut [f64]) {
        self.fill_row(customer);
        for ((slot, value), price) in net.iter_mut().zip(&self.row).zip(&self.price) {
            *slot = price - value;
        }
        let best = -least_of(net);
        if best <= 0.0 {
            return;
        }
        // Among equals a free seat first: it saves a search.
        let equal = |manager: &usize| net[*manager] == -best;
        let free = (0..net.len()).find(|manager| equal(manager) && self.free[*manager] > 0);
        let Some(manager) = free else {
            return self.contest(customer, best, net);
        };
        self.free[manager] -= 1;
        self.seat(customer, manager);
    }

    /// Dijkstra over the managers. The distance of a manager is what it costs, against everyone's present best, to
    /// make the newcomer (and those pushed on) end there. `net` holds prices less values.
    fn contest(&mut self, customer: usize, best: f64, net: &[f64]) {
        let managers = self.price.len();
        let mut distance: Vec<f64> = net.iter().map(|n| best + n).collect();
        let mut open = Open::new(&distance);
        // From which manager each was reached; NONE is the newcomer.
        let mut reached = vec![NONE; managers];
        let mut visited = Vec::new();
        // Where the path may end: the newcomer stays without, someone loses the seat, or a seat is free.
        let mut end = best;
        let mut last = (NONE, NONE);
        // A free seat bounds the search as soon as it is in sight, not when it is walked to: many managers are equally near (their
        // seats are worth the same), and all of them would be walked to first.
        for (manager, (far, free)) in distance.iter().zip(&self.free).enumerate() {
            if *free > 0 && *far < end {
                (end, last) = (*far, (manager, NONE));
            }
        }
        while let Some((manager, here)) = open.nearest(end) {
            open.settle(manager);
            visited.push(manager);
            if self.seated[manager].is_empty() {
                // No seat at all: a manager who cannot take anyone is a dead end.
                continue;
            }
            let mut moves = self.take_moves(manager);
            let from_here = here - self.price[manager];
            if from_here + moves.loss[managers] < end {
                self.renew(&mut moves, manager, managers);
                if from_here + moves.loss[managers] < end {
                    end = from_here + moves.loss[managers];
                    last = (manager, moves.movers[managers].first);
                }
            }
            // Those settled are nearer than `here`, and no move is shorter than nothing: they stay as they are.
            // Eight at a time, and one by one only where one of them came nearer, which is rare. Beyond `end` nobody goes.
            for start in (0..managers).step_by(8) {
                let until = (start + 8).min(managers);
                let (loss, price, far) =
                    (&moves.loss[start..until], &self.price[start..until], &distance[start..until]);
                let mut any = false;
                for ((loss, price), far) in loss.iter().zip(price).zip(far) {
                    let there = from_here + loss + price;
                    any |= (there < *far) & (there < end);
                }
                if !any {
                    continue;
                }
                for j in start..until {
                    let bound = from_here + moves.loss[j] + self.price[j];
                    if bound < distance[j] && bound < end {
                        self.renew(&mut moves, manager, j);
                        let there = from_here + moves.loss[j] + self.price[j];
                        if there < distance[j] {
                            distance[j] = there;
                            open.nearer(j, there);
                            reached[j] = manager;
                            if self.free[j] > 0 && there < end {
                                (end, last) = (there, (j, NONE));
                            }
                        }
                    }
                }
            }
            self.moves[manager] = moves;
        }
        for manager in visited {
            self.price[manager] += end - distance[manager];
        }
        let (mut manager, loser) = last;
        if manager == NONE {
            return;
        }
        // The path backwards, movers first: seats must not change while it is read.
        let mut path = Vec::new();
        loop {
            let from = reached[manager];
            let mover = if from == NONE { customer } else { self.moves[from].movers[manager].first };
            path.push((from, mover, manager));
            if from == NONE {
                break;
            }
            manager = from;
        }
        if loser == NONE {
            self.free[last.0] -= 1;
        } else {
            self.unseat(loser, last.0);
            self.manager_of[loser] = NONE;
        }
        for (from, mover, to) in path {
            if from != NONE {
                self.unseat(mover, from);
            }
            self.seat(mover, to);
        }
    }

    /// Works a stale entry out again: the two who lose least.
    fn renew(&self, moves: &mut Moves, from: usize, to: usize) {
        if moves.movers[to].first != NONE {
            return;
        }
        let (mut loss, mut movers) = (FAR, STALE);
        let nowhere = to == self.price.len();
        for seated in &self.seated[from] {
            let there = if nowhere { 0.0 } else { whole(self.values.at(seated.key, to) * self.scale) };
            let own = seated.here - there;
            if own < loss {
                (movers.second, movers.second_loss) = (movers.first, loss);
                (loss, movers.first) = (own, seated.customer);
            } else if own < movers.second_loss {
                (movers.second, movers.second_loss) = (seated.customer, own);
            }
        }
        (moves.loss[to], moves.movers[to]) = (loss, movers);
    }

    fn take_moves(&mut self, manager: usize) -> Moves {
        let mut moves = std::mem::take(&mut self.moves[manager]);
        if moves.loss.is_empty() {
            moves.loss = vec![FAR; self.price.len() + 1];
            moves.movers = vec![STALE; self.price.len() + 1];
            for index in 0..self.seated[manager].len() {
                let Seated { customer, here, .. } = self.seated[manager][index];
                self.fill_row(customer);
                self.enter(&mut moves, customer, here);
            }
        }
        moves
    }

    /// Enters a customer, whose values are in the row, into a manager's moves.
    fn enter(&self, moves: &mut Moves, customer: usize, here: f64) {
        for (to, there) in self.row.iter().chain(&[0.0]).enumerate() {
            moves.enter(to, customer, here - there);
        }
    }

    fn seat(&mut self, customer: usize, manager: usize) {
        self.manager_of[customer] = manager;
        let here = self.value(customer, manager);
        self.seated[manager].push(Seated { customer, key: self.values.key(customer), here });
        if !self.moves[manager].loss.is_empty() {
            self.fill_row(customer);
            let mut moves = std::mem::take(&mut self.moves[manager]);
            self.enter(&mut moves, customer, here);
            self.moves[manager] = moves;
        }
    }

    fn unseat(&mut self, customer: usize, manager: usize) {
        self.seated[manager].retain(|seated| seated.customer != customer);
        self.moves[manager].leave(customer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    struct Listed(Vec<Vec<f64>>);

    impl Values for Listed {
        type Key = usize;
        fn key(&self, customer: usize) -> usize {
            customer
        }
        fn at(&self, customer: usize, manager: usize) -> f64 {
            self.0[customer][manager]
        }
        fn row(&self, customer: usize, out: &mut [f64]) {
            out.copy_from_slice(&self.0[customer]);
        }
    }

    fn total(values: &[Vec<f64>], assigned: &[Option<usize>]) -> f64 {
        assigned.iter().enumerate().filter_map(|(c, m)| Some(values[c][(*m)?])).sum()
    }

    /// The best total by trying everything.
    fn brute(values: &[Vec<f64>], customer: usize, free: &mut [usize]) -> f64 {
        if customer == values.len() {
            return 0.0;
        }
        let mut top = brute(values, customer + 1, free);
        for manager in 0..free.len() {
            if free[manager] > 0 {
                free[manager] -= 1;
                top = top.max(values[customer][manager] + brute(values, customer + 1, free));
                free[manager] += 1;
            }
        }
        top
    }

    #[test]
    fn small_cases_equal_brute_force() {
        let mut rng = ChaCha8Rng::seed_from_u64(42);
        for case in 0..1_500 {
            let customers = rng.random_range(0..8);
            let managers = rng.random_range(0..5);
            let whole = case % 3 == 0;
            let values: Vec<Vec<f64>> = (0..customers)
                .map(|_| {
                    let draw = |rng: &mut ChaCha8Rng| rng.random_range(-3.0..10.0f64);
                    (0..managers)
                        .map(|_| if whole { draw(&mut rng).round() } else { draw(&mut rng) })
                        .collect()
                })
                .collect();
            let capacities: Vec<usize> = (0..managers).map(|_| rng.random_range(0..4)).collect();
            let assigned = best(customers, &capacities, &Listed(values.clone()));
            for (manager, capacity) in capacities.iter().enumerate() {
                assert!(assigned.iter().filter(|m| **m == Some(manager)).count() <= *capacity, "case {case}");
            }
            let expected = brute(&values, 0, &mut capacities.clone());
            let found = total(&values, &assigned);
            assert!((found - expected).abs() < 1e-6, "case {case}: {found} of {expected}");
        }
    }

    #[test]
    fn prices_prove_larger_cases_the_best() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        for (customers, managers, most) in
            [(1_500, 40, 30), (1_500, 40, 60), (700, 120, 6), (300, 3, 200), (4_000, 20, 400)]
        {
            let values: Vec<Vec<f64>> = (0..customers)
                .map(|_| {
                    let gross = rng.random::<f64>().powi(3) * 1_000.0;
                    (0..managers)
                        .map(|_| gross * (1.0 + 0.1 * f64::from(rng.random_range(0..4))) - 20.0)
                        .collect()
                })
                .collect();
            let capacities: Vec<usize> = (0..managers).map(|_| rng.random_range(0..=most)).collect();
            let (assigned, prices) = solve(customers, &capacities, &Listed(values.clone()));
            // No assignment can be worth more than this, whatever the prices (weak duality).
            let seats: f64 = prices.iter().zip(&capacities).map(|(price, n)| price * *n as f64).sum();
            let nets =
                values.iter().map(|row| row.iter().zip(&prices).map(|(v, p)| v - p).fold(0.0, f64::max));
            let bound = seats + nets.sum::<f64>();
            let found = total(&values, &assigned);
            assert!(prices.iter().all(|price| *price >= 0.0));
            assert!((bound - found).abs() <= 1e-6 * bound, "{found} of at most {bound}");
        }
    }

    #[test]
    fn a_pair_worth_nothing_is_not_made() {
        assert_eq!(best(2, &[5], &Listed(vec![vec![0.0], vec![-1.0]])), [None, None]);
        assert_eq!(best(1, &[], &Listed(vec![vec![]])), [None]);
        let endless = Listed(vec![vec![f64::INFINITY]; 2]);
        assert_eq!(best(2, &[1], &endless), [None, None], "values must be finite");
    }
}
