//! The models in service at one moment: the champion, whose scores are shown, and maybe a challenger in shadow. Scoring is a pure
//! function of both and the features.

use std::collections::BTreeMap;
use std::sync::Arc;

use vigie_churn::{FeatureRow, Lang, Model};
use vigie_domain::{Customer, CustomerView, FeatureReason, Origin, Prediction, Score, ShadowScore, Verdict};

use crate::features::{FeatureSet, Features};

/// Columns that a person can act on; nobody gets younger.
const CHANGEABLE: [&str; 3] = ["Total_Purchase", "Account_Manager", "Num_Sites"];

/// A score with its reasons, before it is tied to a record.
#[derive(Debug, Clone)]
pub struct Scored {
    /// Calibrated probability.
    pub probability: f64,
    /// In log-odds.
    pub log_odds: f64,
    /// Log-odds of the usual customer.
    pub baseline_log_odds: f64,
    /// In a word.
    pub verdict: Verdict,
    /// Contributions, the weightiest first.
    pub reasons: Vec<FeatureReason>,
    /// What the model read; a feature without a value is not in it.
    pub features: BTreeMap<String, f64>,
    /// Which model.
    pub model_version: String,
}

/// The record or event that a score is computed from.
#[derive(Debug, Clone)]
pub struct ScoredFrom {
    /// Where it stands.
    pub origin: Origin,
    /// Its event time.
    pub event_time: i64,
    /// The wall clock now.
    pub scored_at: i64,
    /// When it was published, where it says so.
    pub published_at: Option<i64>,
    /// The request behind it, where there is one.
    pub correlation_id: Option<String>,
}

/// What scores at one moment.
#[derive(Debug, Clone)]
pub struct Serving {
    /// The model in service.
    pub champion: Arc<Model>,
    /// The model in shadow.
    pub challenger: Option<Arc<Model>>,
    /// What the features are.
    pub features: Arc<FeatureSet>,
}

/// A model's row of these features.
pub fn row_of(model: &Model, features: &Features) -> FeatureRow {
    let values: Vec<Option<f64>> =
        model.features().iter().map(|feature| features.get(&feature.name).copied().flatten()).collect();
    model.row_of(&values)
}

impl Serving {
    /// Whether a model reads aggregates, so that an event alone changes a score.
    pub fn follows_events(&self) -> bool {
        let reads = |model: &Arc<Model>| model.features().iter().any(|f| self.features.is_aggregate(&f.name));
        reads(&self.champion) || self.challenger.as_ref().is_some_and(reads)
    }

    /// The champion's score of these features.
    pub fn scored(&self, features: &Features) -> Scored {
        let model = &self.champion;
        let row = row_of(model, features);
        let explanation = model.explain(&row);
        let named = model.features().iter().zip(row.values());
        let known: BTreeMap<String, f64> =
            named.filter(|(_, value)| value.is_finite()).map(|(f, value)| (f.name.clone(), *value)).collect();
        let reasons = explanation
            .reasons
            .iter()
            .map(|reason| {
                let baseline =
                    model.features().iter().find(|f| f.name == reason.name).map_or(0.0, |f| f.mean);
                FeatureReason {
                    feature: reason.name.clone(),
                    value: known.get(&reason.name).copied().unwrap_or(baseline),
                    baseline,
                    contribution: reason.contribution,
                    text_fr: reason.text_as(self.label(&reason.name, Lang::Fr), Lang::Fr),
                    text_en: reason.text_as(self.label(&reason.name, Lang::En), Lang::En),
                }
            })
            .collect();
        Scored {
            probability: explanation.score.probability,
            log_odds: explanation.score.log_odds,
            baseline_log_odds: explanation.base_log_odds,
            verdict: match explanation.score.verdict {
                vigie_churn::Verdict::Leaves => Verdict::WillChurn,
                vigie_churn::Verdict::Stays => Verdict::WillStay,
            },
            reasons,
            features: known,
            model_version: model.id().to_owned(),
        }
    }

    /// The champion's score of a customer's features, tied to what it was computed from.
    pub fn score(
        &self,
        customer: &Customer,
        features: &Features,
        features_hash: &str,
        from: &ScoredFrom,
    ) -> CustomerView {
        let parts = self.scored(features);
        let score = Score {
            customer_id: customer.id(),
            probability: parts.probability,
            log_odds: parts.log_odds,
            baseline_log_odds: parts.baseline_log_odds,
            verdict: parts.verdict,
            reasons: parts.reasons,
            features: parts.features,
            features_hash: features_hash.to_owned(),
            model_version: parts.model_version,
            event_time: from.event_time,
            scored_at: from.scored_at,
            origin: from.origin.clone(),
            published_at: from.published_at,
            correlation_id: from.correlation_id.clone(),
        };
        CustomerView { customer: customer.clone(), score, outcome: None }
    }

    /// The challenger's score of the same features beside it.
    pub fn shadow(&self, view: &CustomerView, features: &Features) -> Option<ShadowScore> {
        let challenger = self.challenger.as_ref()?;
        let score = challenger.score(&row_of(challenger, features));
        let champion = &view.score;
        Some(ShadowScore {
            customer_id: champion.customer_id.clone(),
            event_time: champion.event_time,
            origin: champion.origin.clone(),
            features_hash: champion.features_hash.clone(),
            champion: Prediction {
                model_version: champion.model_version.clone(),
                probability: champion.probability,
            },
            champion_leaves: champion.verdict == Verdict::WillChurn,
            challenger: Prediction {
                model_version: challenger.id().to_owned(),
                probability: score.probability,
            },
            challenger_leaves: score.verdict == vigie_churn::Verdict::Leaves,
        })
    }

    /// The smallest change of one field that brings the probability to `target`, if there is one.
    pub fn smallest_change(&self, features: &Features, target: f64) -> Option<vigie_churn::Counterfactual> {
        let row = row_of(&self.champion, features);
        self.champion.changes_below(&row, target, |name| CHANGEABLE.contains(&name)).into_iter().next()
    }

    /// A feature's name for people.
    pub fn label<'a>(&'a self, feature: &'a str, lang: Lang) -> &'a str {
        match (feature, lang) {
            ("Age", Lang::En) => "Age",
            ("Age", Lang::Fr) => "L'âge",
            ("Total_Purchase", Lang::En) => "Total purchase",
            ("Total_Purchase", Lang::Fr) => "Le total des achats",
            ("Account_Manager", Lang::En) => "Account manager",
            ("Account_Manager", Lang::Fr) => "Le chargé de compte",
            ("Years", Lang::En) => "Years as a customer",
            ("Years", Lang::Fr) => "L'ancienneté (années)",
            ("Num_Sites", Lang::En) => "Number of sites",
            ("Num_Sites", Lang::Fr) => "Le nombre de sites",
            (other, lang) => self.features.label(other).map_or(other, |(fr, en)| match lang {
                Lang::Fr => fr,
                Lang::En => en,
            }),
        }
    }
}
