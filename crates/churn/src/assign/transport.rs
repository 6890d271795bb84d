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
//! Values are scaled to 40-bit integers first: sums are exact, ties are ties, and the search cannot cycle.
#![expect(
    clippy::indexing_slicing,
    reason = "dense kernel: indices run over customers and managers counted on entry"
)]

const NONE: usize = usize::MAX;

/// For one manager and each other one (and, last, for losing the seat): the least that a seated customer loses by
/// moving there, and which customer. When that customer leaves, the entry goes stale: its loss is then a lower
/// bound, and it is worked out again only when a search would use it.
#[derive(Default)]
struct Moves {
    loss: Vec<i64>,
    /// [`NONE`]: stale.
    mover: Vec<usize>,
}

struct Search<V: Fn(usize, usize) -> i64> {
    value: V,
    price: Vec<i64>,
    free: Vec<usize>,
    seated: Vec<Vec<usize>>,
    manager_of: Vec<usize>,
    /// Kept up to date once a manager was searched through; empty before.
    moves: Vec<Moves>,
}

/// The manager of each customer, such that the sum of values is largest. Pairs worth zero or less are not made.
pub(super) fn best(
    customers: usize,
    capacities: &[usize],
    value: impl Fn(usize, usize) -> f64,
) -> Vec<Option<usize>> {
    let managers = capacities.len();
    let mut tops = vec![0.0f64; customers];
    for (customer, top) in tops.iter_mut().enumerate() {
        for manager in 0..managers {
            let v = value(customer, manager);
            if v > *top {
                *top = v;
            }
        }
    }
    let largest = tops.iter().copied().fold(0.0, f64::max);
    if largest <= 0.0 || !largest.is_finite() {
        return vec![None; customers];
    }
    let scale = (1u64 << 40) as f64 / largest;
    let mut order: Vec<usize> = (0..customers).filter(|c| tops[*c] > 0.0).collect();
    order.sort_by(|a, b| tops[*b].total_cmp(&tops[*a]).then(a.cmp(b)));
    let mut search = Search {
        value: |customer, manager| (value(customer, manager) * scale).round() as i64,
        price: vec![0; managers],
        free: capacities.to_vec(),
        seated: vec![Vec::new(); managers],
        manager_of: vec![NONE; customers],
        moves: (0..managers).map(|_| Moves::default()).collect(),
    };
    let mut net = vec![0i64; managers];
    for customer in order {
        search.insert(customer, &mut net);
    }
    search.manager_of.into_iter().map(|manager| (manager != NONE).then_some(manager)).collect()
}

impl<V: Fn(usize, usize) -> i64> Search<V> {
    fn insert(&mut self, customer: usize, net: &mut [i64]) {
        let mut top = (0, NONE);
        for (manager, slot) in net.iter_mut().enumerate() {
            *slot = (self.value)(customer, manager) - self.price[manager];
            // Among equals a free seat first: it saves a search.
            let freer = *slot == top.0 && top.1 != NONE && self.free[manager] > 0 && self.free[top.1] == 0;
            if *slot > top.0 || freer {
                top = (*slot, manager);
            }
        }
        let (best, manager) = top;
        if manager == NONE {
            return;
        }
        if self.free[manager] > 0 {
            self.free[manager] -= 1;
            self.seat(customer, manager);
        } else {
            self.contest(customer, best, net);
        }
    }

    /// Dijkstra over the managers. The distance of a manager is what it costs, against everyone's present best, to
    /// make the newcomer (and those pushed on) end there.
    fn contest(&mut self, customer: usize, best: i64, net: &[i64]) {
        let managers = self.price.len();
        let mut distance: Vec<i64> = net.iter().map(|n| best - n).collect();
        // From which manager each was reached; NONE is the newcomer.
        let mut reached = vec![NONE; managers];
        let mut settled = vec![false; managers];
        let mut visited = Vec::new();
        // Where the path may end: the newcomer stays without, someone loses the seat, or a seat is free.
        let mut end = best;
        let mut last = (NONE, NONE);
        loop {
            let (mut manager, mut here) = (NONE, end);
            for (j, (far, done)) in distance.iter().zip(&settled).enumerate() {
                if *far < here && !done {
                    (manager, here) = (j, *far);
                }
            }
            if manager == NONE {
                break;
            }
            if self.free[manager] > 0 {
                end = here;
                last = (manager, NONE);
                break;
            }
            settled[manager] = true;
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
                    last = (manager, moves.mover[managers]);
                }
            }
            // Those settled are nearer than `here`, and no move is shorter than nothing: they stay as they are.
            for j in 0..managers {
                if from_here + moves.loss[j] + self.price[j] < distance[j] {
                    self.renew(&mut moves, manager, j);
                    let there = from_here + moves.loss[j] + self.price[j];
                    if there < distance[j] {
                        distance[j] = there;
                        reached[j] = manager;
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
            let mover = if from == NONE { customer } else { self.moves[from].mover[manager] };
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

    /// What `customer`, seated at `from`, loses by going to `to` (or, past the last manager, by losing the seat).
    fn loss(&self, customer: usize, from: usize, to: usize) -> i64 {
        let other = if to == self.price.len() { 0 } else { (self.value)(customer, to) };
        (self.value)(customer, from) - other
    }

    fn least(&self, from: usize, to: usize) -> (i64, usize) {
        let losses = self.seated[from].iter().map(|&customer| (self.loss(customer, from, to), customer));
        losses.min().unwrap_or((i64::MAX / 4, NONE))
    }

    /// Works a stale entry out again.
    fn renew(&self, moves: &mut Moves, from: usize, to: usize) {
        if moves.mover[to] == NONE {
            (moves.loss[to], moves.mover[to]) = self.least(from, to);
        }
    }

    fn take_moves(&mut self, manager: usize) -> Moves {
        let mut moves = std::mem::take(&mut self.moves[manager]);
        if moves.loss.is_empty() {
            (moves.loss, moves.mover) = (0..=self.price.len()).map(|to| self.least(manager, to)).unzip();
        }
        moves
    }

    fn seat(&mut self, customer: usize, manager: usize) {
        self.manager_of[customer] = manager;
        self.seated[manager].push(customer);
        let mut moves = std::mem::take(&mut self.moves[manager]);
        for (to, (loss, mover)) in moves.loss.iter_mut().zip(&mut moves.mover).enumerate() {
            let own = self.loss(customer, manager, to);
            if own <= *loss {
                (*loss, *mover) = (own, customer);
            }
        }
        self.moves[manager] = moves;
    }

    fn unseat(&mut self, customer: usize, manager: usize) {
        self.seated[manager].retain(|seated| *seated != customer);
        for mover in &mut self.moves[manager].mover {
            if *mover == customer {
                *mover = NONE;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

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
            let assigned = best(customers, &capacities, |c, m| values[c][m]);
            for (manager, capacity) in capacities.iter().enumerate() {
                assert!(assigned.iter().filter(|m| **m == Some(manager)).count() <= *capacity, "case {case}");
            }
            let expected = brute(&values, 0, &mut capacities.clone());
            let found = total(&values, &assigned);
            assert!((found - expected).abs() < 1e-6, "case {case}: {found} of {expected}");
        }
    }

    #[test]
    fn a_pair_worth_nothing_is_not_made() {
        assert_eq!(best(2, &[5], |c, _| if c == 0 { 0.0 } else { -1.0 }), [None, None]);
        assert_eq!(best(1, &[], |_, _| 1.0), [None]);
        assert_eq!(best(2, &[1], |_, _| f64::INFINITY), [None, None], "values must be finite");
    }
}
