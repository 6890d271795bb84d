//! Who should take care of whom: a pure function of the customers' scores, the managers and what has been decided before.

use std::collections::BTreeMap;

use vigie_churn::Lang;
use vigie_churn::assign::{self, Client, Comparison, Weights};
use vigie_churn::holdout::HoldOut;
use vigie_churn::ranking::EffectBasis;
use vigie_domain::{Assignment, AssignmentState, Customer, CustomerId, CustomerView, Drawn, Manager};

use crate::config::{AssignmentConfig, NeedRule};

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

/// Places of a manager that are taken: approved customers, and those the manager takes care of already.
pub fn places_taken(manager: &Manager, standing: &BTreeMap<CustomerId, Assignment>) -> usize {
    let approved = standing.values().filter(|a| {
        a.state == AssignmentState::Approved
            && a.manager_id.as_ref() == Some(&manager.id)
            && !manager.customers.contains(&a.customer_id)
    });
    approved.count() + manager.customers.len()
}

/// A manager's states and skills, told apart: a manager may cover several states, a customer lives in one.
fn offers(manager: &Manager) -> Vec<String> {
    let states = manager.locations.iter().map(|state| format!("state {state}"));
    states.chain(manager.skills.iter().map(|skill| format!("skill {skill}"))).collect()
}

/// What a customer needs: somebody for their state, and the skills that the rules ask for.
fn needs(view: &CustomerView, rules: &[NeedRule]) -> Vec<String> {
    let state = state_of(view.customer.location.reveal()).map(|state| format!("state {state}"));
    let skills = rules.iter().filter(|rule| {
        let value = view.score.features.get(&rule.feature);
        value.is_some_and(|value| {
            rule.at_least.is_none_or(|least| *value >= least)
                && rule.at_most.is_none_or(|most| *value <= most)
        })
    });
    state.into_iter().chain(skills.map(|rule| format!("skill {}", rule.skill))).collect()
}

/// Plans anew. What a person decided (approved, undone) stays; a hold-out stays for good.
pub fn plan(inputs: &Inputs<'_>) -> Result<Plan, vigie_churn::ChurnError> {
    let share = if inputs.trial_only {
        inputs.config.holdout_rate.max(TRIAL_SHARE)
    } else {
        inputs.config.holdout_rate
    };
    let hold_out = HoldOut::new(share, inputs.seed)?;
    let keeper: BTreeMap<&CustomerId, &str> = inputs
        .managers
        .iter()
        .flat_map(|manager| manager.customers.iter().map(|customer| (customer, manager.id.as_str())))
        .collect();
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
        .map(|manager| assign::Manager {
            id: manager.id.clone(),
            capacity: (manager.capacity as usize).saturating_sub(places_taken(manager, inputs.standing)),
            location: None,
            skills: offers(manager),
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
                needs: needs(view, &inputs.config.needs),
                // Who knows the customer, or was proposed before, stays, unless somebody else is clearly better.
                known_by: keeper
                    .get(&view.score.customer_id)
                    .map(|manager| (*manager).to_owned())
                    .or_else(|| standing.and_then(|a| a.manager_id.clone())),
            }
        })
        .collect();
    let weights = Weights { location: 0.0, skill: 0.2, known: 0.1, cost: inputs.config.cost };
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
        // Drawn once: what comes later changes nothing about the group, nor about what was predicted before.
        drawn: inputs.standing.get(&view.score.customer_id).and_then(|a| a.drawn.clone()).or(Some(Drawn {
            event_time: view.score.event_time,
            probability: view.score.probability,
            holdout_share: share,
        })),
        why_fr: String::new(),
        why_en: String::new(),
    };
    let plain = |view: &CustomerView| {
        view.score.probability * value_of(&view.customer) * inputs.basis.share_kept() - inputs.config.cost
    };
    let mut least = f64::INFINITY;
    for pair in &proposal.pairs {
        if let (Some(view), Some(manager)) = (eligible.get(pair.client), inputs.managers.get(pair.manager)) {
            // What is told is the plain formula; the bonus for a near or known manager only decides between managers.
            let saved = plain(view);
            least = least.min(saved);
            let proposed = assignment(view, Some(manager.id.clone()), AssignmentState::Proposed, saved);
            let (why_fr, why_en) = (pair.why.text(Lang::Fr).to_owned(), pair.why.text(Lang::En).to_owned());
            wanted.insert(view.score.customer_id.clone(), Assignment { why_fr, why_en, ..proposed });
        }
    }
    let places: usize = managers.iter().map(|manager| manager.capacity).sum();
    if proposal.pairs.len() < places {
        // Everybody who pays was proposed.
        least = 0.0;
    }
    for index in &proposal.held_out {
        // The control group is made of those who would have been proposed, were it not for the draw: chance alone decides between
        // the two groups, and they can be compared.
        if let Some(view) = eligible.get(*index).filter(|view| plain(view) >= least) {
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
            skills: Vec::new(),
            customers: Vec::new(),
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
        assert!((2..=10).contains(&held), "{held} beside 20 at a share of 0.2");
        // The groups can be compared: nobody is held out who would not have been proposed.
        let value = |a: &Assignment| a.probability * a.value;
        let least =
            |state| changes.iter().filter(|a| a.state == state).map(value).fold(f64::INFINITY, f64::min);
        assert!(least(AssignmentState::HeldOut) >= least(AssignmentState::Proposed));
        assert!(changes.iter().all(|a| a.drawn.as_ref().is_some_and(|d| d.probability == a.probability)));
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
        assert!((10..=32).contains(&held), "{held} beside 20 proposed, at a share of one half");
    }

    #[test]
    fn skills_and_those_who_know_the_customer_decide_between_managers() {
        let customers = customers(30);
        let mut managers = managers(20);
        managers.iter_mut().for_each(|manager| manager.locations.clear());
        managers[1].skills.push("large accounts".into());
        let config = AssignmentConfig { cost: 10.0, holdout_rate: 0.0, ..AssignmentConfig::default() };
        assert_eq!(config.needs[0].skill, "large accounts");
        let run = |managers: &[Manager]| {
            let inputs = Inputs {
                customers: &customers,
                managers,
                standing: &BTreeMap::new(),
                basis: EffectBasis::assumed(0.2).unwrap(),
                config: &config,
                trial_only: false,
                seed: 1,
                now: 1,
            };
            plan(&inputs).unwrap().changes
        };
        // All have twelve sites, which asks for the skill: who has it is full, the rest goes to the other.
        let with = |changes: &[Assignment], id: &str| {
            changes.iter().filter(|a| a.manager_id.as_deref() == Some(id)).count()
        };
        let changes = run(&managers);
        assert_eq!((with(&changes, "west"), with(&changes, "east")), (20, 10));
        let west = changes.iter().find(|a| a.manager_id.as_deref() == Some("west")).unwrap();
        assert!(west.why_en.contains("skills") && west.why_fr.contains("compétences"), "{west:?}");
        // Whom a manager takes care of already takes a place.
        managers[1].customers = (0..5).map(|i| CustomerId(format!("other {i}"))).collect();
        assert_eq!(with(&run(&managers), "west"), 15);
    }

    #[test]
    fn a_draw_is_made_once() {
        let mut customers = customers(60);
        let standing = after(&run(&customers, &BTreeMap::new(), false, 1));
        customers.iter_mut().for_each(|view| view.score.probability *= 0.8);
        for changed in run(&customers, &standing, false, 2) {
            if let Some(old) = standing.get(&changed.customer_id) {
                assert_eq!(changed.drawn, old.drawn);
            }
        }
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
