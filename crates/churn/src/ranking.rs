//! Whom to act on first: expected value saved = probability x value x effect - cost of the action.
//!
//! The effect is either measured or assumed, and every list says which. Ranking by risk alone is kept for
//! comparison: it spends the effort on those who leave anyway.

use crate::{
    effect::{EffectReport, RankingRule},
    error::ChurnError,
    words::{Lang, Words, percent},
};
use serde::{Deserialize, Serialize};

/// What the action is taken to do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "basis", rename_all = "snake_case")]
pub enum EffectBasis {
    /// An assumption from the configuration: this share (0 to 1) of those who would leave is kept.
    Assumed {
        /// The share kept.
        share_kept: f64,
    },
    /// Measured: this share of those who would leave is kept.
    Measured {
        /// The share kept.
        share_kept: f64,
    },
}

impl EffectBasis {
    /// An assumption; `share_kept` is between 0 and 1.
    ///
    /// # Errors
    /// [`ChurnError::BadSetting`] when it is not.
    pub fn assumed(share_kept: f64) -> Result<Self, ChurnError> {
        if !(0.0..=1.0).contains(&share_kept) {
            return Err(ChurnError::BadSetting {
                setting: "effect",
                value: share_kept.to_string(),
                expected: "the share of leavers that the action keeps is needed, between 0 and 1",
            });
        }
        Ok(Self::Assumed { share_kept })
    }

    /// The basis that a measurement supports: the measured average where the action helps, else the `assumption`
    /// (which may be 0 where the data speaks against the action).
    #[must_use]
    pub fn supported_by(report: &EffectReport, assumption: Self) -> Self {
        match report.rule {
            RankingRule::IndividualEffect | RankingRule::AverageEffect if report.adjusted.estimate < 0.0 => {
                let without = report.churn_untreated.estimate.max(f64::MIN_POSITIVE);
                Self::Measured { share_kept: (-report.adjusted.estimate / without).clamp(0.0, 1.0) }
            }
            _ => assumption,
        }
    }

    /// The share of leavers kept.
    #[must_use]
    pub fn share_kept(self) -> f64 {
        match self {
            Self::Assumed { share_kept } | Self::Measured { share_kept } => share_kept,
        }
    }

    /// The label that stands beside every figure built on it.
    #[must_use]
    pub fn words(self) -> Words {
        let (en, fr) = (percent(self.share_kept(), Lang::En), percent(self.share_kept(), Lang::Fr));
        match self {
            Self::Assumed { .. } => Words::new(
                format!("ASSUMPTION, not measured: the action keeps {en} of those who would leave"),
                format!("HYPOTHÈSE, non mesurée : l’action retient {fr} de ceux qui partiraient"),
            ),
            Self::Measured { .. } => Words::new(
                format!("measured: the action keeps {en} of those who would leave"),
                format!("mesuré : l’action retient {fr} de ceux qui partiraient"),
            ),
        }
    }
}

/// One customer to be ranked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Probability of leaving.
    pub probability: f64,
    /// What is lost if the customer leaves.
    pub value: f64,
    /// Share of the risk that the action removes for this customer, where it is known one by one.
    pub own_effect: Option<f64>,
}

impl Candidate {
    /// Expected value saved by acting, less the action's cost. Below zero: better not.
    #[must_use]
    pub fn value_saved(&self, basis: EffectBasis, cost: f64) -> f64 {
        self.probability * self.value * self.own_effect.unwrap_or(basis.share_kept()) - cost
    }
}

/// One place in the ranking.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    /// Index of the candidate.
    pub index: usize,
    /// Expected value saved, less the cost.
    pub value_saved: f64,
}

/// All candidates, the most valuable to act on first; equal ones in the order given. Values that are no numbers
/// count as nothing to save.
#[must_use]
pub fn rank(candidates: &[Candidate], basis: EffectBasis, cost: f64) -> Vec<Ranked> {
    let mut ranked: Vec<Ranked> = candidates
        .iter()
        .enumerate()
        .map(|(index, candidate)| {
            let saved = candidate.value_saved(basis, cost);
            Ranked { index, value_saved: if saved.is_nan() { -cost } else { saved } }
        })
        .collect();
    ranked.sort_by(|a, b| b.value_saved.total_cmp(&a.value_saved).then(a.index.cmp(&b.index)));
    ranked
}

/// What acting on the first `places` of an order saves in total (negative ones are acted on too: that is what an
/// order by risk does).
#[must_use]
pub fn total_saved(
    candidates: &[Candidate],
    order: &[usize],
    places: usize,
    basis: EffectBasis,
    cost: f64,
) -> f64 {
    order.iter().take(places).filter_map(|i| candidates.get(*i)).map(|c| c.value_saved(basis, cost)).sum()
}

/// The order by risk alone, for comparison.
#[must_use]
pub fn by_risk(candidates: &[Candidate]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    let risk = |i: usize| candidates.get(i).map_or(0.0, |c| c.probability);
    order.sort_by(|a, b| risk(*b).total_cmp(&risk(*a)).then(a.cmp(b)));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(probability: f64, value: f64) -> Candidate {
        Candidate { probability, value, own_effect: None }
    }

    #[test]
    fn value_outranks_risk_and_the_cost_counts() {
        let candidates =
            [candidate(0.9, 100.0), candidate(0.5, 1_000.0), candidate(0.2, 50.0), candidate(0.1, f64::NAN)];
        let basis = EffectBasis::assumed(0.2).unwrap();
        let ranked = rank(&candidates, basis, 10.0);
        let order: Vec<usize> = ranked.iter().map(|r| r.index).collect();
        assert_eq!(order, [1, 0, 2, 3]);
        assert_eq!(ranked[0].value_saved, 0.5 * 1_000.0 * 0.2 - 10.0);
        assert!(ranked[2].value_saved < 0.0);
        let risk = by_risk(&candidates);
        assert_eq!(risk, [0, 1, 2, 3]);
        assert!(
            total_saved(&candidates, &order, 1, basis, 10.0)
                > total_saved(&candidates, &risk, 1, basis, 10.0)
        );
        let own = Candidate { own_effect: Some(0.0), ..candidates[1] };
        assert_eq!(own.value_saved(basis, 10.0), -10.0, "one's own effect wins over the average");
    }

    #[test]
    fn an_assumption_is_called_one() {
        let basis = EffectBasis::assumed(0.2).unwrap();
        assert!(basis.words().text(Lang::En).contains("ASSUMPTION"));
        assert!(basis.words().text(Lang::Fr).contains("HYPOTHÈSE"));
        assert!(EffectBasis::assumed(1.2).is_err());
    }
}
