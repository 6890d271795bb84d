//! Whether managers help: by the history at hand, and by the hold-out of the running program.

use std::collections::BTreeMap;

use vigie_churn::effect::{self, EffectOptions, EffectReport};
use vigie_churn::{Interval, Plan, PlanOptions, Table};
use vigie_domain::{Assignment, AssignmentState, CustomerId};

use crate::config::ChurnConfig;

/// The column that says who had a manager.
const TREATMENT: &str = "Account_Manager";
const TARGET: &str = "Churn";
/// Below so many known outcomes in either group nothing is said.
const LEAST_OUTCOMES: usize = 10;

/// What the labelled table says about managers.
pub fn effect_of(table: &Table, config: &ChurnConfig) -> Result<EffectReport, vigie_churn::ChurnError> {
    let options = PlanOptions {
        treatment: Some(TREATMENT.to_owned()),
        as_of: Some(config.as_of.clone()),
        ..PlanOptions::for_target(TARGET)
    };
    let plan = Plan::infer(table, &options)?;
    effect::measure(table, &plan, &EffectOptions { seed: config.seed, ..EffectOptions::default() })
}

/// What became of each customer: time and whether they left, oldest first.
pub type KnownOutcomes = BTreeMap<CustomerId, Vec<(i64, bool)>>;

/// The first outcome after the customer came into the trial: what came before says nothing about it.
pub fn after_the_draw(assignment: &Assignment, known: &KnownOutcomes) -> Option<bool> {
    let since = assignment.drawn.as_ref().map_or(i64::MIN, |drawn| drawn.event_time);
    known.get(&assignment.customer_id)?.iter().find(|(at, _)| *at > since).map(|(_, left)| *left)
}

/// Value saved so far, from the randomised hold-out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Saved {
    /// Fewer departures than without managers, times the mean value of a customer.
    pub value: Interval,
    /// Customers with an approved manager whose outcome is known.
    pub treated: usize,
    /// Held-out customers whose outcome is known.
    pub held_out: usize,
}

/// Compares approved with held-out customers: both come from the same eligible ones, and chance alone decided who was held out.
/// `None` until both groups have enough known outcomes. The interval is Newcombe's (1998, method 10) for a difference of
/// proportions, 95 %.
pub fn saved(standing: &[Assignment], known: &KnownOutcomes) -> Option<Saved> {
    let group = |state: AssignmentState| {
        let judged: Vec<(&Assignment, bool)> = standing
            .iter()
            .filter(|a| a.state == state)
            .filter_map(|a| Some((a, after_the_draw(a, known)?)))
            .collect();
        let left = judged.iter().filter(|(_, left)| *left).count();
        (judged, left)
    };
    let (treated, treated_left) = group(AssignmentState::Approved);
    let (held, held_left) = group(AssignmentState::HeldOut);
    if treated.len() < LEAST_OUTCOMES || held.len() < LEAST_OUTCOMES {
        return None;
    }
    let (n1, n0) = (treated.len() as f64, held.len() as f64);
    let with = vigie_churn::metrics::wilson(treated_left as f64, n1);
    let without = vigie_churn::metrics::wilson(held_left as f64, n0);
    let difference = without.estimate - with.estimate;
    let low =
        difference - ((without.estimate - without.low).powi(2) + (with.high - with.estimate).powi(2)).sqrt();
    let high =
        difference + ((without.high - without.estimate).powi(2) + (with.estimate - with.low).powi(2)).sqrt();
    let total: f64 = treated.iter().map(|(a, _)| a.value).sum();
    let value = Interval { estimate: difference * total, low: low * total, high: high * total };
    Some(Saved { value, treated: treated.len(), held_out: held.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::training_table;
    use vigie_churn::effect::{EffectVerdict, RankingRule};
    use vigie_domain::Drawn;

    #[test]
    fn the_agencys_own_data_speaks_against_managers() {
        let config = ChurnConfig::default();
        let report = effect_of(&training_table(&config).unwrap(), &config).unwrap();
        let points = |value: f64| (value * 1000.0).round() / 10.0;
        let difference =
            [report.difference.estimate, report.difference.low, report.difference.high].map(points);
        assert_eq!(difference, [5.3, 0.4, 10.2]);
        assert!((points(report.adjusted.estimate) - 4.0).abs() <= 0.1, "{:?}", report.adjusted);
        assert_eq!((report.verdict, report.rule), (EffectVerdict::Harmful, RankingRule::TrialOnly));
    }

    #[test]
    fn value_saved_is_told_only_with_enough_outcomes_and_with_its_interval() {
        let assignment = |i: usize, state| Assignment {
            customer_id: CustomerId(format!("c{i}")),
            manager_id: None,
            state,
            probability: 0.5,
            value: 100.0,
            expected_value_saved: 0.0,
            effect_basis: String::new(),
            model_version: String::new(),
            updated_at: 0,
            by: String::new(),
            drawn: Some(Drawn { event_time: 10, probability: 0.5, holdout_share: 0.5 }),
            why_fr: String::new(),
            why_en: String::new(),
        };
        let standing: Vec<Assignment> = (0..40)
            .map(|i| assignment(i, if i < 20 { AssignmentState::Approved } else { AssignmentState::HeldOut }))
            .collect();
        // 5 of 20 leave with a manager, 10 of 20 without.
        let outcomes = |n: usize| {
            (0..n)
                .map(|i| {
                    // What became of them before the draw does not count.
                    let now = (20, i < 5 || (20..30).contains(&i));
                    (CustomerId(format!("c{i}")), vec![(5, true), now])
                })
                .collect()
        };
        assert_eq!(saved(&standing, &outcomes(29)), None);
        let saved = saved(&standing, &outcomes(40)).unwrap();
        assert_eq!((saved.treated, saved.held_out), (20, 20));
        assert!((saved.value.estimate - 0.25 * 2_000.0).abs() < 1e-9);
        // Newcombe's interval of 10/20 - 5/20 is [-0.05, 0.49].
        assert!((saved.value.low / 2_000.0 + 0.05).abs() < 0.01, "{saved:?}");
        assert!((saved.value.high / 2_000.0 - 0.49).abs() < 0.01, "{saved:?}");
    }
}
