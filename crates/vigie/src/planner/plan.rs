//! Who should take care of whom: a pure function of the customers' scores, the managers and what has been decided before.

use std::collections::BTreeMap;

use vigie_churn::assign::{self, Client, Comparison, Weights};
use vigie_churn::holdout::HoldOut;
use vigie_churn::ranking::EffectBasis;
use vigie_domain::{Assignment, AssignmentState, Customer, CustomerId, CustomerView, Manager};

use crate::config::AssignmentConfig;

/// Who signs what no person decided.
pub const PLANNER: &str = "planner";

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
    let hold_out = HoldOut::new(inputs.config.holdout_rate, inputs.seed)?;
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
            let proposed =
                assignment(view, Some(manager.id.clone()), AssignmentState::Proposed, pair.value_saved);
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
