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

/// For one manager and each other one: the least that a customer loses by moving there, and which customer.
type Moves = Vec<(i64, usize)>;

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
        moves: vec![Vec::new(); managers],
    };
    let mut net = vec![0i64; managers];
    for customer in order {
        search.insert(customer, &mut net);
    }
    search.manager_of.into_iter().map(|manager| (manager != NONE).then_some(manager)).collect()
}

impl<V: Fn(usize, usize) -> i64> Search<V> {
    fn insert(&mut self, customer: usize, net: &mut [i64]) {
        let mut top = (i64::MIN, NONE);
        for (manager, slot) in net.iter_mut().enumerate() {
            *slot = (self.value)(customer, manager) - self.price[manager];
            if *slot > top.0 {
                top = (*slot, manager);
            }
        }
        if top.0 <= 0 {
            return;
        }
        if self.free[top.1] > 0 {
            self.free[top.1] -= 1;
            self.seat(customer, top.1);
            return;
        }
        self.contest(customer, top.0, net);
    }

    /// Dijkstra over the managers. The distance of a manager is what it costs, against everyone's present best, to
    /// make the newcomer (and those pushed on) end there.
    fn contest(&mut self, customer: usize, best: i64, net: &[i64]) {
        let managers = self.price.len();
        let mut distance: Vec<i64> = net.iter().map(|n| best - n).collect();
        // By whom a manager was reached: the manager left and the customer who moves; NONE is the newcomer.
        let mut reached: Vec<(usize, usize)> = vec![(NONE, customer); managers];
        let mut settled = vec![false; managers];
        let mut visited = Vec::new();
        // Where the path may end: the newcomer stays without, someone loses the seat, or a seat is free.
        let mut end = best;
        let mut last = (NONE, NONE);
        loop {
            let mut manager = NONE;
            for j in 0..managers {
                if !settled[j] && distance[j] < end && (manager == NONE || distance[j] < distance[manager]) {
                    manager = j;
                }
            }
            if manager == NONE {
                break;
            }
            if self.free[manager] > 0 {
                end = distance[manager];
                last = (manager, NONE);
                break;
            }
            settled[manager] = true;
            visited.push(manager);
            if self.free[manager] == 0 && self.seated[manager].is_empty() {
                // No seat at all: a manager who cannot take anyone is a dead end.
                continue;
            }
            self.ready_moves(manager);
            let own_price = self.price[manager];
            let here = distance[manager];
            let (loss, loser) = self.moves[manager][managers];
            if here + loss - own_price < end {
                end = here + loss - own_price;
                last = (manager, loser);
            }
            for j in 0..managers {
                if settled[j] {
                    continue;
                }
                let (loss, mover) = self.moves[manager][j];
                let there = here + loss + self.price[j] - own_price;
                if there < distance[j] {
                    distance[j] = there;
                    reached[j] = (manager, mover);
                }
            }
        }
        for manager in visited {
            self.price[manager] += end - distance[manager];
        }
        let (mut manager, loser) = last;
        if manager == NONE {
            return;
        }
        if loser == NONE {
            self.free[manager] -= 1;
        } else {
            self.unseat(loser, manager);
            self.manager_of[loser] = NONE;
        }
        loop {
            let (from, mover) = reached[manager];
            if from != NONE {
                self.unseat(mover, from);
            }
            self.seat(mover, manager);
            if from == NONE {
                break;
            }
            manager = from;
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

    fn ready_moves(&mut self, manager: usize) {
        if self.moves[manager].is_empty() {
            self.moves[manager] = (0..=self.price.len()).map(|to| self.least(manager, to)).collect();
        }
    }

    fn seat(&mut self, customer: usize, manager: usize) {
        self.manager_of[customer] = manager;
        self.seated[manager].push(customer);
        let mut moves = std::mem::take(&mut self.moves[manager]);
        for (to, slot) in moves.iter_mut().enumerate() {
            *slot = (*slot).min((self.loss(customer, manager, to), customer));
        }
        self.moves[manager] = moves;
    }

    fn unseat(&mut self, customer: usize, manager: usize) {
        self.seated[manager].retain(|seated| *seated != customer);
        let mut moves = std::mem::take(&mut self.moves[manager]);
        for (to, slot) in moves.iter_mut().enumerate() {
            if slot.1 == customer {
                *slot = self.least(manager, to);
            }
        }
        self.moves[manager] = moves;
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
