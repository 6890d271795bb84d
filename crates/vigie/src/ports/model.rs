//! The model, as the server asks for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use vigie_churn::{Interval, Lang};
use vigie_domain::Customer;
use vigie_server::ports::{
    Answer, CalibrationBin, CardCandidate, CardColumn, CardImportance, Estimate, Gain, ModelCard,
    ModelHandle, ModelMetrics, PortError, SmallestChange, WhatIf, Words,
};

use crate::features::Features;
use crate::model::ModelService;
use crate::planner;

/// The model in service behind the server's port.
pub struct Model(pub Arc<ModelService>);

pub(super) fn words(words: &vigie_churn::Words) -> Words {
    Words { fr: words.text(Lang::Fr).to_owned(), en: words.text(Lang::En).to_owned() }
}

pub(super) fn estimate(interval: &Interval) -> Estimate {
    Estimate { value: interval.estimate, low: interval.low, high: interval.high }
}

fn optional(features: &BTreeMap<String, f64>) -> Features {
    features.iter().map(|(name, value)| (name.clone(), Some(*value))).collect()
}

impl ModelHandle for Model {
    fn score(&self, features: &BTreeMap<String, f64>) -> Answer<WhatIf> {
        let serving = self.0.serving();
        let model = &serving.champion;
        for feature in model.features() {
            match features.get(&feature.name) {
                Some(value) if value.is_finite() => {}
                Some(value) => {
                    return Err(PortError::Invalid(format!(
                        "{} = {value}: a finite number is needed",
                        feature.name
                    )));
                }
                // An aggregate may have no value: a customer without an event has no newest one.
                None if serving.features.is_aggregate(&feature.name) => {}
                None => {
                    let names: Vec<&str> = model.features().iter().map(|f| f.name.as_str()).collect();
                    return Err(PortError::Invalid(format!(
                        "{} is missing; the model needs {}",
                        feature.name,
                        names.join(", ")
                    )));
                }
            }
        }
        let scored = serving.scored(&optional(features));
        Ok(WhatIf {
            probability: scored.probability,
            log_odds: scored.log_odds,
            baseline_log_odds: scored.baseline_log_odds,
            verdict: scored.verdict,
            reasons: scored.reasons,
            features: scored.features,
            model_version: scored.model_version,
            threshold: model.threshold(),
        })
    }

    fn smallest_change(&self, features: &BTreeMap<String, f64>) -> Option<SmallestChange> {
        let serving = self.0.serving();
        let change = serving.smallest_change(&optional(features), self.threshold())?;
        Some(SmallestChange {
            from: features.get(&change.name).copied()?,
            to: change.to_value,
            probability: change.probability,
            text_fr: change.text(Lang::Fr).replacen(&change.name, serving.label(&change.name, Lang::Fr), 1),
            text_en: change.text(Lang::En).replacen(&change.name, serving.label(&change.name, Lang::En), 1),
            feature: change.name,
        })
    }

    fn card(&self) -> ModelCard {
        let model = self.0.current();
        let card = model.card();
        let columns = card
            .plan
            .columns
            .iter()
            .map(|column| CardColumn {
                name: column.name.clone(),
                role: column.role.name().to_owned(),
                reason: words(&column.reason),
                coefficient: card.coefficients.iter().find(|c| c.name == column.name).map(|c| c.per_unit),
                mean: model.features().iter().find(|f| f.name == column.name).map(|f| f.mean),
            })
            .collect();
        let metrics = card.metrics.as_ref();
        let notes = std::iter::once(&card.chosen)
            .chain(&card.notes)
            .chain(card.plan.warnings.iter().map(|w| &w.words))
            .map(words)
            .collect();
        ModelCard {
            version: model.id().to_owned(),
            rows: card.rows as u64,
            positives: card.positives as u64,
            columns,
            intercept: card.constant.unwrap_or_default(),
            metrics: metrics.map_or_else(ModelMetrics::default, |m| ModelMetrics {
                auc: Some(estimate(&m.auc)),
                log_loss: Some(estimate(&m.log_loss)),
                brier: Some(estimate(&m.brier)),
                average_precision: Some(estimate(&m.average_precision)),
                ece: Some(estimate(&m.calibration_error)),
                lift_top_decile: Some(estimate(&m.lift_top_decile)),
            }),
            calibration: metrics
                .into_iter()
                .flat_map(|m| &m.curve)
                .map(|bin| CalibrationBin {
                    predicted: bin.predicted,
                    observed: bin.observed.estimate,
                    low: bin.observed.low,
                    high: bin.observed.high,
                    count: bin.rows as u64,
                })
                .collect(),
            gains: metrics
                .into_iter()
                .flat_map(|m| m.gains.iter().zip(1u8..))
                .map(|(found, tenth)| Gain { share: f64::from(tenth) / 10.0, found: estimate(found) })
                .collect(),
            candidates: card
                .candidates
                .iter()
                .map(|candidate| CardCandidate {
                    name: words(&candidate.name),
                    log_loss: candidate.log_loss,
                    behind: candidate.behind,
                    standard_error: candidate.standard_error,
                })
                .collect(),
            importance: card
                .importance
                .iter()
                .map(|column| CardImportance {
                    name: column.name.clone(),
                    mean_size: estimate(&column.mean_size),
                })
                .collect(),
            threshold: model.threshold(),
            training_hash: card.data_hash.clone(),
            trained_at: None,
            seed: card.seed,
            notes,
        }
    }

    fn version(&self) -> String {
        self.0.current().id().to_owned()
    }

    fn threshold(&self) -> f64 {
        self.0.current().threshold()
    }

    fn value_of(&self, customer: &Customer) -> f64 {
        planner::value_of(customer)
    }
}
