//! Who should take care of whom: a pure function of the customers' scores, the managers and what has been decided before.

use std::collections::BTreeMap;

use vigie_churn::assign::{self, Client, Comparison, Weights};
use vigie_churn::holdout::HoldOut;
use vigie_churn::ranking::EffectBasis;
use vigie_domain::{Assignment, AssignmentState, Customer, CustomerId, CustomerView, Manager};

use crate::config::AssignmentConfig;

/// Who signs what no person decided.
pub const PLANNER: &str = "planner";

/// Share held out in a trial: equal groups tell most with the fewest customers.
const TRIAL_SHARE: f64 = 0.5;

/// What the planner decides from.
pub struct Inputs<'a> {
    /// Customers at or above the configured probability.
    pub customers: &'a [CustomerView],
    /// The managers.
    pub managers: &'a [Manager],
    /// What stands now.
    pub standing: &'a BTreeMap<CustomerId, Assignment>,
    /// The effect that is counted with.
    pub basis: EffectBasis,
    /// Rates and costs.
    pub config: &'a AssignmentConfig,
    /// Whether the history speaks against the action, so that only a trial can justify it: half of the eligible customers are then
    /// held out at random, whatever the configured share.
    pub trial_only: bool,
    /// Decides who is held out.
    pub seed: u64,
    /// The wall clock, ms since the epoch.
    pub now: i64,
}

/// What the planner proposes.
pub struct Plan {
    /// Assignments that differ from what stands: new proposals, newly held out, proposals taken back.
    pub changes: Vec<Assignment>,
    /// The proposal against simpler ways, on the same customers and places.
    pub comparison: Comparison,
}

/// What a customer is worth: purchases per year as a customer, so one year's revenue.
pub fn value_of(customer: &Customer) -> f64 {
    (customer.total_purchase / customer.years.max(1.0)).max(0.0)
}

/// `10265 Elizabeth Mission Barkerburgh, AK 89518` -> `AK`.
pub fn state_of(location: &str) -> Option<&str> {
    let mut words = location.split_whitespace().rev();
    words.next()?;
    words.next().filter(|word| word.len() == 2 && word.chars().all(|c| c.is_ascii_uppercase()))
}

/// Plans anew. What a person decided (approved, undone) stays; a hold-out stays for good.
pub fn plan(inputs: &Inputs<'_>) -> Result<Plan, vigie_churn::ChurnError> {
    let share = if inputs.trial_only {
        inputs.config.holdout_rate.max(TRIAL_SHARE)
    } else {
        inputs.config.holdout_rate
    };
    let hold_out = HoldOut::new(share, inputs.seed)?;
    let decided = |id: &CustomerId| {
        inputs.standing.get(id).is_some_and(|a| match a.state {
            AssignmentState::Approved => true,
            AssignmentState::Undone => a.by != PLANNER,
            AssignmentState::Proposed | AssignmentState::HeldOut => false,
        })
    };
    let eligible: Vec<&CustomerView> = inputs
        .customers
        .iter()
        .filter(|view| view.score.probability >= inputs.config.min_probability)
        .filter(|view| view.customer.account_manager == 0 && !decided(&view.score.customer_id))
        .collect();
    let managers: Vec<assign::Manager> = inputs
        .managers
        .iter()
        .map(|manager| {
            let taken = inputs
                .standing
                .values()
                .filter(|a| {
                    a.state == AssignmentState::Approved && a.manager_id.as_ref() == Some(&manager.id)
                })
                .count();
            assign::Manager {
                id: manager.id.clone(),
                capacity: (manager.capacity as usize).saturating_sub(taken),
                location: None,
                skills: manager.locations.clone(),
            }
        })
        .collect();
    let clients: Vec<Client> = eligible
        .iter()
        .map(|view| {
            let standing = inputs.standing.get(&view.score.customer_id);
            Client {
                id: view.score.customer_id.0.clone(),
                probability: view.score.probability,
                gross_saved: view.score.probability * value_of(&view.customer) * inputs.basis.share_kept(),
                location: None,
                // A manager's states are matched as skills: a manager may cover several, a customer needs one.
                needs: state_of(view.customer.location.reveal()).map(str::to_owned).into_iter().collect(),
                // Who was proposed before stays, unless somebody else is clearly better: people should not see names flicker.
                known_by: standing.and_then(|a| a.manager_id.clone()),
            }
        })
        .collect();
    let weights = Weights { location: 0.0, skill: 0.1, known: 0.1, cost: inputs.config.cost };
    let proposal = assign::propose(&clients, &managers, weights, Some(&hold_out), inputs.seed)?;

    let mut wanted: BTreeMap<CustomerId, Assignment> = BTreeMap::new();
    let assignment = |view: &CustomerView, manager_id: Option<String>, state, saved: f64| Assignment {
        customer_id: view.score.customer_id.clone(),
        manager_id,
        state,
        probability: view.score.probability,
        value: value_of(&view.customer),
        expected_value_saved: saved,
        effect_basis: match inputs.basis {
            EffectBasis::Assumed { .. } => String::from("assumed"),
            EffectBasis::Measured { .. } => String::from("measured"),
        },
        model_version: view.score.model_version.clone(),
        updated_at: inputs.now,
        by: PLANNER.to_owned(),
    };
    for pair in &proposal.pairs {
        if let (Some(view), Some(manager)) = (eligible.get(pair.client), inputs.managers.get(pair.manager)) {
            // What is told is the plain formula; the bonus for a near or known manager only decides between managers.
            let saved = view.score.probability * value_of(&view.customer) * inputs.basis.share_kept()
                - inputs.config.cost;
            let proposed = assignment(view, Some(manager.id.clone()), AssignmentState::Proposed, saved);
            wanted.insert(view.score.customer_id.clone(), proposed);
        }
    }
    for index in &proposal.held_out {
        if let Some(view) = eligible.get(*index) {
            let held = assignment(view, None, AssignmentState::HeldOut, 0.0);
            wanted.insert(view.score.customer_id.clone(), held);
        }
    }
    let mut changes = Vec::new();
    for (id, standing) in inputs.standing {
        // A proposal that no longer pays is taken back; the hold-out group keeps its members, or it could not be compared.
        if standing.state == AssignmentState::Proposed && !wanted.contains_key(id) {
            let by = PLANNER.to_owned();
            let state = AssignmentState::Undone;
            changes.push(Assignment { state, by, updated_at: inputs.now, ..standing.clone() });
        }
    }
    changes.extend(wanted.into_values().filter(|new| {
        inputs.standing.get(&new.customer_id).is_none_or(|old| {
            old.state != new.state
                || old.manager_id != new.manager_id
                || (new.state == AssignmentState::Proposed
                    && (old.expected_value_saved - new.expected_value_saved).abs()
                        > 0.05 * old.expected_value_saved.abs())
        })
    }));
    Ok(Plan { changes, comparison: proposal.comparison })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ChurnConfig;
    use crate::features::FeatureSet;
    use crate::model::{ModelService, ScoredFrom, train};
    use vigie_domain::Origin;

    fn customers(n: usize) -> Vec<CustomerView> {
        let contracts = vigie_contracts::Contracts::built_in().unwrap();
        let set = FeatureSet::new(&[], &contracts.get(vigie_domain::topics::COSTUMERCHURN));
        let model = ModelService::new(train(&ChurnConfig::default()).unwrap(), set.clone().into()).serving();
        let origin = Origin { topic: "t".into(), partition: 0, offset: 0 };
        let from =
            ScoredFrom { origin, event_time: 0, scored_at: 0, published_at: None, correlation_id: None };
        (0..n)
            .map(|i| {
                let customer = Customer {
                    customer_id: None,
                    names: format!("Name {i}").into(),
                    age: 40.0,
                    total_purchase: 9_000.0 + 10.0 * i as f64,
                    account_manager: 0,
                    years: 6.0,
                    num_sites: 12.0,
                    onboard_date: String::new(),
                    location: format!("{i} Street, {} 10001", if i % 2 == 0 { "NY" } else { "CA" }).into(),
                    company: "C".into(),
                    churn: None,
                };
                let features = set.compute(&customer, 0, |_, _, _| Ok::<_, ()>(Vec::new())).unwrap();
                model.score(&customer, &features, "", &from)
            })
            .collect()
    }

    fn managers(capacity: u32) -> Vec<Manager> {
        let manager = |id: &str, state: &str| Manager {
            id: id.into(),
            name: id.into(),
            capacity,
            locations: vec![state.into()],
        };
        vec![manager("east", "NY"), manager("west", "CA")]
    }

    fn run(
        customers: &[CustomerView],
        standing: &BTreeMap<CustomerId, Assignment>,
        trial_only: bool,
        now: i64,
    ) -> Vec<Assignment> {
        let config = AssignmentConfig { cost: 10.0, ..AssignmentConfig::default() };
        let (managers, basis) = (managers(10), EffectBasis::assumed(0.2).unwrap());
        let inputs = Inputs {
            customers,
            managers: &managers,
            standing,
            basis,
            config: &config,
            trial_only,
            seed: 1,
            now,
        };
        plan(&inputs).unwrap().changes
    }

    fn after(changes: &[Assignment]) -> BTreeMap<CustomerId, Assignment> {
        changes.iter().map(|a| (a.customer_id.clone(), a.clone())).collect()
    }

    fn count(changes: &[Assignment], state: AssignmentState) -> usize {
        changes.iter().filter(|a| a.state == state).count()
    }

    #[test]
    fn proposals_fill_the_places_with_near_managers_and_hold_some_out() {
        let customers = customers(60);
        let changes = run(&customers, &BTreeMap::new(), false, 1);
        assert_eq!(count(&changes, AssignmentState::Proposed), 20);
        let held = count(&changes, AssignmentState::HeldOut);
        assert!((5..=20).contains(&held), "{held} of 60 at a share of 0.2");
        for a in changes.iter().filter(|a| a.state == AssignmentState::Proposed) {
            let view = customers.iter().find(|view| view.score.customer_id == a.customer_id).unwrap();
            let near = if state_of(view.customer.location.reveal()) == Some("NY") { "east" } else { "west" };
            assert_eq!(a.manager_id.as_deref(), Some(near));
            assert!(a.expected_value_saved > 0.0 && a.effect_basis == "assumed");
        }
    }

    #[test]
    fn planning_again_changes_nothing() {
        let customers = customers(60);
        let first = run(&customers, &BTreeMap::new(), false, 1);
        assert_eq!(run(&customers, &after(&first), false, 2), []);
    }

    #[test]
    fn what_a_person_decided_stays() {
        let customers = customers(60);
        let mut standing = after(&run(&customers, &BTreeMap::new(), false, 1));
        let mut proposed = standing.values_mut().filter(|a| a.state == AssignmentState::Proposed);
        let approved = proposed.next().unwrap();
        (approved.state, approved.by) = (AssignmentState::Approved, "lead".into());
        let undone = proposed.next().unwrap();
        (undone.state, undone.by) = (AssignmentState::Undone, "lead".into());
        let (approved, undone) = (approved.customer_id.clone(), undone.customer_id.clone());
        let again = run(&customers, &standing, false, 2);
        assert!(again.iter().all(|a| a.customer_id != approved && a.customer_id != undone), "{again:?}");
        // The place that the undone one leaves goes to somebody else.
        assert_eq!(count(&again, AssignmentState::Proposed), 1);
    }

    #[test]
    fn a_proposal_that_no_longer_pays_is_taken_back() {
        let mut customers = customers(10);
        let standing = after(&run(&customers, &BTreeMap::new(), false, 1));
        customers.iter_mut().for_each(|view| view.score.probability = 0.01);
        let changes = run(&customers, &standing, false, 2);
        assert_eq!(
            changes.len(),
            count(&after(&changes).into_values().collect::<Vec<_>>(), AssignmentState::Undone)
        );
        assert!(!changes.is_empty() && changes.iter().all(|a| a.by == PLANNER));
    }

    #[test]
    fn against_the_data_only_a_trial_is_proposed() {
        let customers = customers(200);
        let changes = run(&customers, &BTreeMap::new(), true, 1);
        let held = count(&changes, AssignmentState::HeldOut);
        assert!((80..=120).contains(&held), "{held} of 200 at a share of one half");
    }

    #[test]
    fn states_are_read_from_addresses() {
        for (location, state) in [
            ("10265 Elizabeth Mission Barkerburgh, AK 89518", Some("AK")),
            ("Unit 0789 Box 0734 DPO AP 39702", Some("AP")),
            ("1 Main Street", None),
            ("", None),
        ] {
            assert_eq!(state_of(location), state, "{location}");
        }
    }
}
