//! Assignment as a whole: hold-out, fit, comparison, and a size that an agency can have.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vigie_churn::Lang;
use vigie_churn::assign::{Client, Manager, Weights, propose};
use vigie_churn::holdout::HoldOut;

fn market(customers: usize, managers: usize, capacity: usize, seed: u64) -> (Vec<Client>, Vec<Manager>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let managers: Vec<Manager> = (0..managers)
        .map(|i| Manager {
            id: format!("m{i}"),
            capacity,
            location: Some(format!("city {}", rng.random_range(0..20))),
            skills: (0..2).map(|_| format!("skill {}", rng.random_range(0..6))).collect(),
        })
        .collect();
    let clients = (0..customers)
        .map(|i| {
            let probability = rng.random::<f64>().powi(3);
            Client {
                id: format!("c{i}"),
                probability,
                gross_saved: probability * 0.2 * rng.random_range(100.0..20_000.0),
                location: Some(format!("City {}", rng.random_range(0..20))),
                needs: (0..rng.random_range(0..3))
                    .map(|_| format!("skill {}", rng.random_range(0..7)))
                    .collect(),
                known_by: rng.random_bool(0.3).then(|| format!("m{}", rng.random_range(0..managers.len()))),
            }
        })
        .collect();
    (clients, managers)
}

#[test]
fn the_proposal_beats_simpler_ways_and_leaves_the_held_out_alone() {
    let (clients, managers) = market(900, 12, 15, 3);
    let hold_out = HoldOut::new(0.1, 9).unwrap();
    let proposal =
        propose(&clients, &managers, Weights { cost: 20.0, ..Weights::default() }, Some(&hold_out), 1)
            .unwrap();
    assert_eq!(proposal.pairs.len(), 180);
    let comparison = proposal.comparison;
    assert!(
        comparison.proposal > comparison.by_risk && comparison.by_risk > comparison.at_random,
        "{comparison:?}"
    );
    assert!((60..130).contains(&proposal.held_out.len()));
    for pair in &proposal.pairs {
        assert!(!proposal.held_out.contains(&pair.client));
        assert!(pair.value_saved > 0.0);
        assert!(!pair.why.text(Lang::Fr).is_empty());
    }
    let known = proposal
        .pairs
        .iter()
        .find(|pair| clients[pair.client].known_by == Some(managers[pair.manager].id.clone()));
    assert!(known.unwrap().why.text(Lang::En).contains("knows the customer"));
    assert_eq!(
        propose(&clients, &managers, Weights { cost: 20.0, ..Weights::default() }, Some(&hold_out), 1)
            .unwrap(),
        proposal,
        "deterministic"
    );
}

#[test]
fn a_cost_above_all_values_proposes_nobody() {
    let (clients, managers) = market(50, 3, 5, 4);
    let proposal =
        propose(&clients, &managers, Weights { cost: 1e9, ..Weights::default() }, None, 1).unwrap();
    assert!(proposal.pairs.is_empty());
    assert!(propose(&clients, &managers, Weights { known: -1.0, ..Weights::default() }, None, 1).is_err());
}

#[test]
fn an_agency_of_twenty_thousand_customers_is_served() {
    let (clients, managers) = market(20_000, 200, 30, 5);
    let proposal = propose(&clients, &managers, Weights::default(), None, 1).unwrap();
    assert_eq!(proposal.pairs.len(), 6_000);
    assert!(proposal.comparison.proposal > proposal.comparison.by_risk);
}
