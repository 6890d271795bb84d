//! Which manager goes to which customer: the proposal with the largest total of expected value saved.
//!
//! A manager has a capacity; a pair is worth the customer's value saved, more where the manager is near, has the
//! skills the customer needs, or knows the customer already, less the cost of the action. Pairs that are worth
//! nothing are not proposed, and held-out customers are never in it. The result is a *proposal*: approving it, and
//! keeping the record of who did, is the application's work.

mod transport;

use crate::{error::ChurnError, holdout::HoldOut, words::Words};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use transport::Values;

/// A manager who can take customers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Manager {
    /// The manager's id.
    pub id: String,
    /// How many more customers.
    pub capacity: usize,
    /// Where.
    pub location: Option<String>,
    /// What the manager can do.
    pub skills: Vec<String>,
}

/// A customer who could get a manager.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Client {
    /// The customer's id, which decides the hold-out.
    pub id: String,
    /// Probability of leaving (for the comparison with the order by risk).
    pub probability: f64,
    /// Probability x value x effect, before the cost.
    pub gross_saved: f64,
    /// Where.
    pub location: Option<String>,
    /// The skills that would help.
    pub needs: Vec<String>,
    /// The manager (by id) who knows the customer already.
    pub known_by: Option<String>,
}

/// How much a good fit adds, as a share of the value saved, and what the action costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weights {
    /// Added when manager and customer have the same location.
    pub location: f64,
    /// Added when all needed skills are there; in proportion when some are.
    pub skill: f64,
    /// Added when the manager knows the customer.
    pub known: f64,
    /// What acting on one customer costs.
    pub cost: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { location: 0.1, skill: 0.2, known: 0.3, cost: 0.0 }
    }
}

/// One proposed pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// Index of the customer.
    pub client: usize,
    /// Index of the manager.
    pub manager: usize,
    /// Expected value saved by this pair, less the cost.
    pub value_saved: f64,
    /// Why this manager.
    pub why: Words,
}

/// The total of the proposal beside two simpler ways, on the same customers and seats.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Of the proposal.
    pub proposal: f64,
    /// The riskiest first, each to the best manager who is still free.
    pub by_risk: f64,
    /// Customers and seats drawn at random (mean of twenty draws).
    pub at_random: f64,
}

/// A proposal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// The pairs, the most valuable first.
    pub pairs: Vec<Pair>,
    /// Indices of the customers held out.
    pub held_out: Vec<usize>,
    /// Against simpler ways.
    pub comparison: Comparison,
}

/// Draws behind [`Comparison::at_random`].
const DRAWS: u32 = 20;

/// Names as small numbers, so that comparing them costs nothing.
struct Fitted {
    gross: Vec<f64>,
    client_location: Vec<u32>,
    client_needs: Vec<u128>,
    known_by: Vec<u32>,
    manager_location: Vec<u32>,
    manager_skills: Vec<u128>,
    weights: Weights,
}

const NOWHERE: u32 = u32::MAX;

/// What the fit of a pair rests on.
#[derive(Clone, Copy)]
struct Fit {
    near: bool,
    known: bool,
    skilled: f64,
}

impl Fitted {
    fn new(clients: &[&Client], managers: &[Manager], weights: Weights) -> Result<Self, ChurnError> {
        let mut places: FxHashMap<String, u32> = FxHashMap::default();
        let mut place = |name: &Option<String>| {
            name.as_ref().map_or(NOWHERE, |name| {
                let next = places.len() as u32;
                *places.entry(name.trim().to_lowercase()).or_insert(next)
            })
        };
        let manager_location: Vec<u32> = managers.iter().map(|m| place(&m.location)).collect();
        let client_location = clients.iter().map(|c| place(&c.location)).collect();
        let mut skills: FxHashMap<String, u32> = FxHashMap::default();
        for skill in managers.iter().flat_map(|m| &m.skills) {
            let next = skills.len() as u32;
            skills.entry(skill.trim().to_lowercase()).or_insert(next);
        }
        // One bit stays free: it stands for needs that no manager can meet.
        if skills.len() > 127 {
            return Err(ChurnError::BadSetting {
                setting: "skills",
                value: skills.len().to_string(),
                expected: "at most 127 different skills are told apart",
            });
        }
        let mask = |names: &[String]| {
            names.iter().fold(0u128, |mask, name| {
                mask | (1 << skills.get(&name.trim().to_lowercase()).copied().unwrap_or(127))
            })
        };
        let index: FxHashMap<&str, u32> =
            managers.iter().enumerate().map(|(i, m)| (m.id.as_str(), i as u32)).collect();
        let known_by = clients
            .iter()
            .map(|c| c.known_by.as_deref().and_then(|id| index.get(id)).copied().unwrap_or(NOWHERE))
            .collect();
        Ok(Self {
            gross: clients
                .iter()
                .map(|c| if c.gross_saved.is_finite() { c.gross_saved } else { 0.0 })
                .collect(),
            client_location,
            client_needs: clients.iter().map(|c| mask(&c.needs)).collect(),
            known_by,
            manager_location,
            manager_skills: managers.iter().map(|m| mask(&m.skills)).collect(),
            weights,
        })
    }

    fn fit(&self, client: usize, manager: usize) -> Fit {
        let at = |list: &[u32], i: usize| list.get(i).copied().unwrap_or(NOWHERE);
        let (here, there) = (at(&self.client_location, client), at(&self.manager_location, manager));
        let needs = self.client_needs.get(client).copied().unwrap_or_default();
        let skills = self.manager_skills.get(manager).copied().unwrap_or_default();
        let skilled = if needs == 0 {
            0.0
        } else {
            f64::from((needs & skills).count_ones()) / f64::from(needs.count_ones())
        };
        Fit {
            near: here == there && here != NOWHERE,
            known: at(&self.known_by, client) == manager as u32,
            skilled,
        }
    }

    fn bonus(&self, fit: Fit) -> f64 {
        let w = &self.weights;
        let flag = |yes: bool| f64::from(u8::from(yes));
        flag(fit.near) * w.location + fit.skilled * w.skill + flag(fit.known) * w.known
    }

    fn value(&self, client: usize, manager: usize) -> f64 {
        let bonus = self.bonus(self.fit(client, manager));
        self.gross.get(client).copied().unwrap_or_default() * (1.0 + bonus) - self.weights.cost
    }

    fn why(&self, client: usize, manager: usize) -> Words {
        let fit = self.fit(client, manager);
        let (mut en, mut fr) = (Vec::new(), Vec::new());
        if fit.known {
            en.push("knows the customer");
            fr.push("connaît le client");
        }
        if fit.near {
            en.push("same place");
            fr.push("même lieu");
        }
        if fit.skilled >= 1.0 {
            en.push("has the skills needed");
            fr.push("a les compétences voulues");
        } else if fit.skilled > 0.0 {
            en.push("has some of the skills needed");
            fr.push("a une partie des compétences voulues");
        }
        if en.is_empty() {
            return Words::new("has a free place", "a une place libre");
        }
        Words::new(en.join(", "), fr.join(", "))
    }
}

/// What pairs are worth, laid out for the search: customers with equal place and needs are of one kind and share their factors
/// (one more than the bonus, but for who knows whom), so that a pair is one multiplication. Customers are many, kinds few.
struct Worth<'a> {
    fitted: &'a Fitted,
    kind: Vec<u32>,
    /// One line of managers per kind.
    by_kind: Vec<f64>,
    /// The same, one line of kinds per manager.
    by_manager: Vec<f64>,
    managers: usize,
    kinds: usize,
}

/// One customer, as far as worth goes.
#[derive(Clone, Copy)]
struct Key {
    gross: f64,
    kind: u32,
    known_by: u32,
}

impl<'a> Worth<'a> {
    fn new(fitted: &'a Fitted, managers: usize) -> Self {
        let mut kinds: FxHashMap<(u32, u128), u32> = FxHashMap::default();
        let (mut kind_of, mut by_kind) = (Vec::with_capacity(fitted.gross.len()), Vec::new());
        let places = fitted.client_location.iter().zip(&fitted.client_needs);
        for (client, (place, needs)) in places.enumerate() {
            let next = kinds.len() as u32;
            let kind = *kinds.entry((*place, *needs)).or_insert(next);
            if kind == next {
                by_kind.extend(
                    (0..managers).map(|manager| {
                        1.0 + fitted.bonus(Fit { known: false, ..fitted.fit(client, manager) })
                    }),
                );
            }
            kind_of.push(kind);
        }
        let kinds = kinds.len();
        let by_manager = (0..managers)
            .flat_map(|manager| by_kind.iter().skip(manager).step_by(managers).copied())
            .collect();
        Self { fitted, kind: kind_of, by_kind, by_manager, managers, kinds }
    }
}

impl Values for Worth<'_> {
    type Key = Key;

    fn key(&self, customer: usize) -> Key {
        Key {
            gross: self.fitted.gross.get(customer).copied().unwrap_or_default(),
            kind: self.kind.get(customer).copied().unwrap_or_default(),
            known_by: self.fitted.known_by.get(customer).copied().unwrap_or(NOWHERE),
        }
    }

    fn at(&self, key: Key, manager: usize) -> f64 {
        let factor =
            self.by_manager.get(manager * self.kinds + key.kind as usize).copied().unwrap_or_default();
        let known = if key.known_by == manager as u32 { self.fitted.weights.known } else { 0.0 };
        key.gross * (factor + known) - self.fitted.weights.cost
    }

    fn row(&self, customer: usize, out: &mut [f64]) {
        let key = self.key(customer);
        let from = key.kind as usize * self.managers;
        let line = self.by_kind.get(from..from + self.managers).unwrap_or_default();
        for (slot, factor) in out.iter_mut().zip(line) {
            *slot = key.gross * factor - self.fitted.weights.cost;
        }
        if let Some(slot) = out.get_mut(key.known_by as usize) {
            *slot = self.at(key, key.known_by as usize);
        }
    }
}

/// Proposes who goes to whom: the largest total of value saved that the capacities allow.
///
/// Customers that `hold_out` holds are left out and listed. `seed` serves the comparison with random draws only.
///
/// # Errors
/// [`ChurnError::BadSetting`] when a weight is negative or no number, or when there are too many skills.
pub fn propose(
    clients: &[Client],
    managers: &[Manager],
    weights: Weights,
    hold_out: Option<&HoldOut>,
    seed: u64,
) -> Result<Proposal, ChurnError> {
    for (setting, value) in [
        ("location weight", weights.location),
        ("skill weight", weights.skill),
        ("known weight", weights.known),
        ("cost", weights.cost),
    ] {
        if !(value.is_finite() && value >= 0.0) {
            return Err(ChurnError::BadSetting {
                setting,
                value: value.to_string(),
                expected: "a number of 0 or more is needed",
            });
        }
    }
    let (held_out, eligible): (Vec<usize>, Vec<usize>) = (0..clients.len())
        .partition(|i| clients.get(*i).is_some_and(|c| hold_out.is_some_and(|h| h.holds(&c.id))));
    let chosen: Vec<&Client> = eligible.iter().filter_map(|i| clients.get(*i)).collect();
    let fitted = Fitted::new(&chosen, managers, weights)?;
    let capacities: Vec<usize> = managers.iter().map(|m| m.capacity).collect();
    let worth = Worth::new(&fitted, managers.len());
    let assigned = transport::best(chosen.len(), &capacities, &worth);
    let mut pairs: Vec<Pair> = assigned
        .iter()
        .enumerate()
        .filter_map(|(client, manager)| {
            let manager = (*manager)?;
            Some(Pair {
                client: *eligible.get(client)?,
                manager,
                value_saved: fitted.value(client, manager),
                why: fitted.why(client, manager),
            })
        })
        .collect();
    pairs.sort_by(|a, b| b.value_saved.total_cmp(&a.value_saved).then(a.client.cmp(&b.client)));
    let comparison = Comparison {
        proposal: pairs.iter().map(|pair| pair.value_saved).sum(),
        by_risk: total_by_risk(&chosen, &capacities, &worth),
        at_random: total_at_random(chosen.len(), &capacities, &fitted, seed),
    };
    Ok(Proposal { pairs, held_out, comparison })
}

fn total_by_risk(clients: &[&Client], capacities: &[usize], worth: &Worth<'_>) -> f64 {
    let mut order: Vec<usize> = (0..clients.len()).collect();
    let risk = |i: usize| clients.get(i).map_or(0.0, |c| c.probability);
    order.sort_by(|a, b| risk(*b).total_cmp(&risk(*a)).then(a.cmp(b)));
    let mut free = capacities.to_vec();
    let mut seats: usize = free.iter().fold(0, |sum, seats| sum.saturating_add(*seats));
    let mut total = 0.0;
    let mut row = vec![0.0; capacities.len()];
    // Managers without a seat are out of reach.
    let mut reach: Vec<f64> =
        free.iter().map(|seats| if *seats > 0 { 0.0 } else { f64::NEG_INFINITY }).collect();
    for client in order {
        if seats == 0 {
            break;
        }
        worth.row(client, &mut row);
        let mut best = (f64::NEG_INFINITY, None);
        for (manager, (value, reach)) in row.iter().zip(&reach).enumerate() {
            if value + reach > best.0 {
                best = (value + reach, Some(manager));
            }
        }
        if let (value, Some(manager)) = best {
            total += value;
            seats -= 1;
            if let (Some(left), Some(reach)) = (free.get_mut(manager), reach.get_mut(manager)) {
                *left -= 1;
                if *left == 0 {
                    *reach = f64::NEG_INFINITY;
                }
            }
        }
    }
    total
}

fn total_at_random(clients: usize, capacities: &[usize], fitted: &Fitted, seed: u64) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // More seats of one manager than there are customers cannot matter.
    let mut seats: Vec<usize> = capacities
        .iter()
        .enumerate()
        .flat_map(|(manager, n)| std::iter::repeat_n(manager, (*n).min(clients)))
        .collect();
    let mut order: Vec<usize> = (0..clients).collect();
    let mut total = 0.0;
    for _ in 0..DRAWS {
        order.shuffle(&mut rng);
        seats.shuffle(&mut rng);
        total +=
            order.iter().zip(&seats).map(|(client, manager)| fitted.value(*client, *manager)).sum::<f64>();
    }
    total / f64::from(DRAWS)
}
