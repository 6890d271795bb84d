//! Features -> scores; outcomes -> the score that stood before them.
//!
//! Each score is published with the model's version, the features' hash, its reasons and its event time. Where a model is in shadow, it
//! scores the same features, to be compared and not to be shown. For each customer one prediction a day is kept, for so long as an
//! outcome may ask for it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vigie_domain::{CustomerView, KnownOutcome, Outcome, Prediction, ScoredOutcome, ShadowScore, topics};
use vigie_streams::serde::{Json, Utf8};
use vigie_streams::{
    BoxError, KStream, Processor, ProcessorContext, Produced, Record, Store, StoreBuilder, StreamsBuilder,
};

use super::checked::Traced;
use super::features::{Computed, Row};
use super::history::commit_soon;
use crate::model::{ModelService, ScoredFrom};

/// Store: each customer as last seen, so that an outcome can be shown beside the score.
pub const VIEWS: &str = "customer-views";
/// Store: what was predicted of each customer, one prediction a day.
pub const PREDICTIONS: &str = "predictions";
const DAY: i64 = 86_400_000;
/// Predictions are kept for so many days: a year and the longest sensible lead.
const KEPT_DAYS: i64 = 400;
/// So many old predictions of a customer are forgotten for each new one.
const FORGET: usize = 4;

/// What comes of it.
#[derive(Debug, Clone)]
enum Scored {
    View(Box<CustomerView>),
    /// The view with what became of the customer; no new score.
    Known(Box<CustomerView>),
    Shadow(Box<ShadowScore>),
    Outcome(Box<ScoredOutcome>),
}

/// A prediction that an outcome may ask for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Predicted {
    at: i64,
    prediction: Prediction,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    challenger: Option<Prediction>,
    features_hash: String,
}

/// Scores the features; `lead_days` is how long before an outcome a prediction must have been made to be judged by it.
pub fn build(
    b: &mut StreamsBuilder,
    features: &KStream<String, Computed>,
    model: &Arc<ModelService>,
    lead_days: u32,
) {
    b.add_state_store(StoreBuilder::key_value(Store::<String, Predicted>::json_named(PREDICTIONS)));
    b.add_state_store(StoreBuilder::key_value(Store::<String, CustomerView>::json_named(VIEWS)));
    let (model, lead) = (Arc::clone(model), i64::from(lead_days) * DAY);
    let scored = features
        .named("score")
        .process(move || Scorer { model: Arc::clone(&model), lead, asked: i64::MIN }, &[PREDICTIONS, VIEWS]);
    scored
        .flat_map_values(|scored: &Scored| match scored {
            Scored::View(view) => Some(view.score.clone()),
            _ => None,
        })
        .to(topics::CHURN_SCORES, Produced::with(Utf8, Json::new()));
    scored
        .flat_map_values(|scored: &Scored| match scored {
            Scored::View(view) | Scored::Known(view) => Some((**view).clone()),
            _ => None,
        })
        .to(topics::CUSTOMERS, Produced::with(Utf8, Json::new()));
    scored
        .flat_map_values(|scored: &Scored| match scored {
            Scored::Shadow(shadow) => Some((**shadow).clone()),
            _ => None,
        })
        .to(topics::SHADOW_SCORES, Produced::with(Utf8, Json::new()));
    scored
        .flat_map_values(|scored: &Scored| match scored {
            Scored::Outcome(outcome) => Some((**outcome).clone()),
            _ => None,
        })
        .to(topics::SCORED_OUTCOMES, Produced::with(Utf8, Json::new()));
}

struct Scorer {
    model: Arc<ModelService>,
    lead: i64,
    /// When a commit was last asked for.
    asked: i64,
}

type Context<'a, 'b> = ProcessorContext<'a, 'b, String, Scored>;

fn key(customer: &str, at: i64) -> String {
    format!("{customer}\u{1f}{:016x}", (at.div_euclid(DAY) as u64) ^ (1 << 63))
}

impl Scorer {
    fn score(
        &mut self,
        ctx: &mut Context<'_, '_>,
        record: &Record<String, Computed>,
        row: &Row,
    ) -> Result<(), BoxError> {
        let Row { row, customer } = row;
        let from = ScoredFrom {
            origin: row.origin.clone(),
            event_time: row.event_time,
            scored_at: ctx.wall_clock(),
            published_at: record.headers.get_str(topics::PUBLISHED_AT).and_then(|text| text.parse().ok()),
            correlation_id: record.headers.get_str(topics::CORRELATION_ID).map(str::to_owned),
        };
        let serving = self.model.serving();
        let mut view = serving.score(customer, &row.features, &row.features_hash, &from);
        let mut views = ctx.key_value::<String, CustomerView>(VIEWS)?;
        view.outcome = views.get(&record.key)?.and_then(|known| known.outcome);
        views.put(record.key.clone(), view.clone())?;
        let shadow = serving.shadow(&view, &row.features);
        let predicted = Predicted {
            at: row.event_time,
            prediction: Prediction {
                model_version: view.score.model_version.clone(),
                probability: view.score.probability,
            },
            challenger: shadow.as_ref().map(|shadow| shadow.challenger.clone()),
            features_hash: row.features_hash.clone(),
        };
        let mut predictions = ctx.key_value::<String, Predicted>(PREDICTIONS)?;
        let place = key(&record.key, row.event_time);
        match predictions.get(&place)? {
            // A late one does not replace what was known later the same day.
            Some(known) if known.at > predicted.at => {}
            known => {
                if known.is_none() {
                    let last = key(&record.key, row.event_time.saturating_sub(KEPT_DAYS * DAY));
                    let old: Vec<String> = predictions
                        .range(&key(&record.key, i64::MIN), &last)?
                        .take(FORGET)
                        .map(|entry| entry.map(|(key, _)| key))
                        .collect::<Result<_, _>>()?;
                    for key in &old {
                        predictions.delete(key)?;
                    }
                }
                predictions.put(place, predicted)?;
            }
        }
        commit_soon(ctx, &mut self.asked);
        let forward = |ctx: &mut Context<'_, '_>, value| {
            let headers = record.headers.clone();
            ctx.forward(Record {
                key: record.key.clone(),
                value: Some(value),
                timestamp: record.timestamp,
                headers,
            })
        };
        if let Some(shadow) = shadow {
            forward(ctx, Scored::Shadow(Box::new(shadow)))?;
        }
        forward(ctx, Scored::View(Box::new(view)))
    }

    /// The customer's view with this outcome, unless a later one is known or nobody was scored.
    fn known(
        ctx: &mut Context<'_, '_>,
        customer: &str,
        outcome: &Outcome,
    ) -> Result<Option<CustomerView>, BoxError> {
        let mut views = ctx.key_value::<String, CustomerView>(VIEWS)?;
        let Some(mut view) = views.get(&customer.to_owned())? else { return Ok(None) };
        if view.outcome.as_ref().is_some_and(|known| known.event_time > outcome.event_time) {
            return Ok(None);
        }
        view.outcome = Some(KnownOutcome {
            churned: outcome.churned,
            event_time: outcome.event_time,
            known_from: outcome.known_from.clone(),
        });
        views.put(customer.to_owned(), view.clone())?;
        Ok(Some(view))
    }

    /// The newest prediction at least the lead before the outcome; `None` when there was none yet.
    fn judge(
        &self,
        ctx: &mut Context<'_, '_>,
        customer: &str,
        outcome: &Traced<Outcome>,
    ) -> Result<Option<ScoredOutcome>, BoxError> {
        let until = outcome.value.event_time.saturating_sub(self.lead);
        let mut predictions = ctx.key_value::<String, Predicted>(PREDICTIONS)?;
        let range = predictions.reverse_range(&key(customer, i64::MIN), &key(customer, until))?;
        let mut found = None;
        // Two at most: the day of `until` may hold one that was made later that day.
        for entry in range {
            let (_, predicted) = entry?;
            if predicted.at <= until {
                found = Some(predicted);
                break;
            }
        }
        Ok(found.map(|predicted| ScoredOutcome {
            customer_id: outcome.value.customer_id.clone(),
            churned: outcome.value.churned,
            outcome_time: outcome.value.event_time,
            known_from: outcome.value.known_from.clone(),
            origin: outcome.origin.clone(),
            predicted_at: predicted.at,
            prediction: predicted.prediction,
            challenger: predicted.challenger,
            features_hash: predicted.features_hash,
        }))
    }
}

impl Processor<String, Computed, String, Scored> for Scorer {
    fn process(
        &mut self,
        ctx: &mut Context<'_, '_>,
        record: Record<String, Computed>,
    ) -> Result<(), BoxError> {
        match &record.value {
            None => Ok(()),
            Some(Computed::Row(row)) => self.score(ctx, &record, row),
            Some(Computed::Outcome(outcome)) => {
                let (key, at) = (&record.key, record.timestamp);
                if let Some(view) = Self::known(ctx, key, &outcome.value)? {
                    ctx.forward(Record::new(key.clone(), Scored::Known(Box::new(view)), at))?;
                }
                if let Some(judged) = self.judge(ctx, key, outcome)? {
                    ctx.forward(Record::new(key.clone(), Scored::Outcome(Box::new(judged)), at))?;
                }
                Ok(())
            }
        }
    }
}
