//! The planner, as the server asks for it.

use std::sync::Arc;

use vigie_churn::Lang;
use vigie_churn::effect::EffectVerdict as Verdict;
use vigie_domain::{Assignment, CustomerId, CustomerView, Manager};
use vigie_server::ports::{
    Answer, Comparison, EffectReport, EffectVerdict, Planner, Points, PortError, Saved, Words,
};

use super::model::words;
use crate::planner::{KnownOutcomes, PLANNER, PlannerError, PlannerService, saved};

/// Gives the customers that the planner plans for.
pub type CustomersView = Box<dyn Fn() -> Answer<Vec<CustomerView>> + Send + Sync>;
/// Gives what became of customers.
pub type OutcomesView = Arc<dyn Fn() -> Answer<KnownOutcomes> + Send + Sync>;

/// The planner behind the server's port.
pub struct Plans {
    /// The planner.
    pub service: Arc<PlannerService>,
    /// Its customers.
    pub customers: CustomersView,
    /// What became of them.
    pub outcomes: OutcomesView,
}

fn port_error(error: PlannerError) -> PortError {
    match error {
        PlannerError::Unknown(_) | PlannerError::NoManager(_) => PortError::NotFound(error.to_string()),
        PlannerError::BadManager(_) => PortError::Invalid(error.to_string()),
        PlannerError::WrongState { .. } | PlannerError::Full { .. } | PlannerError::Busy { .. } => {
            PortError::Conflict(error.to_string())
        }
        PlannerError::Log(_) => PortError::Unavailable(error.to_string()),
        _ => PortError::Failed(error.to_string()),
    }
}

fn points(interval: &vigie_churn::Interval) -> Points {
    Points { points: interval.estimate * 100.0, low: interval.low * 100.0, high: interval.high * 100.0 }
}

impl Plans {
    /// Proposes anew without being asked.
    pub fn propose_by_itself(&self) -> Answer<usize> {
        self.propose(PLANNER)
    }
}

impl Planner for Plans {
    fn standing(&self) -> Vec<Assignment> {
        self.service.standing()
    }

    fn of(&self, customer: &str) -> Option<Assignment> {
        self.service.of(&CustomerId(customer.to_owned()))
    }

    fn managers(&self) -> Vec<Manager> {
        self.service.managers()
    }

    fn put_manager(&self, manager: Manager, by: &str) -> Answer<Manager> {
        self.service.put_manager(manager, by).map_err(port_error)
    }

    fn remove_manager(&self, id: &str, by: &str) -> Answer<Manager> {
        self.service.remove_manager(id, by).map_err(port_error)
    }

    fn comparison(&self) -> Option<Comparison> {
        let comparison = self.service.comparison()?;
        let basis = self.service.basis().ok()?;
        Some(Comparison {
            this_order: comparison.proposal,
            risk_order: comparison.by_risk,
            random_order: comparison.at_random,
            basis: words(&basis.words()),
        })
    }

    fn propose(&self, by: &str) -> Answer<usize> {
        self.service.propose(&(self.customers)()?, by).map_err(port_error)
    }

    fn approve(&self, customer: &str, by: &str) -> Answer<Assignment> {
        self.service.approve(&CustomerId(customer.to_owned()), by).map_err(port_error)
    }

    fn undo(&self, customer: &str, by: &str) -> Answer<Assignment> {
        self.service.undo(&CustomerId(customer.to_owned()), by).map_err(port_error)
    }

    fn effect(&self) -> Option<EffectReport> {
        let report = self.service.effect()?;
        Some(EffectReport {
            treatment: report.treatment.clone(),
            difference: points(&report.difference),
            adjusted: Some(points(&report.adjusted)),
            p_value: None,
            verdict: match report.verdict {
                Verdict::Beneficial => EffectVerdict::Beneficial,
                Verdict::NoMeasurableEffect => EffectVerdict::NoMeasurableEffect,
                Verdict::Harmful => EffectVerdict::Harmful,
            },
            text_fr: report.text(Lang::Fr),
            text_en: report.text(Lang::En),
            rule: words(&report.rule.words()),
            n_treated: report.treated as u64,
            n_control: report.untreated as u64,
        })
    }

    fn saved(&self) -> Option<Saved> {
        let outcomes = (self.outcomes)().ok()?;
        let saved = saved(&self.service.standing(), &outcomes)?;
        let (treated, held) = (saved.treated, saved.held_out);
        Some(Saved {
            value: saved.value.estimate,
            low: saved.value.low,
            high: saved.value.high,
            basis: Words {
                fr: format!(
                    "{treated} clients avec un chargé de compte approuvé, {held} du groupe témoin tiré au sort"
                ),
                en: format!(
                    "{treated} customers with an approved manager, {held} of the randomised hold-out"
                ),
            },
        })
    }
}
