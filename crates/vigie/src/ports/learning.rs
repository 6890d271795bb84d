//! Models, features and what outcomes say, as the server asks for them.

use std::sync::Arc;

use base64::Engine as _;
use vigie_churn::{Lang, Model};
use vigie_domain::{AuditEntry, ScoredOutcome, ShadowScore};
use vigie_log::{Clock, Log, Publisher};
use vigie_server::ports::{
    Answer, DeclaredFeature, DriftVerdict, FeatureList, InputDrift, Learning, LearningReport, ModelPlace,
    Models, PortError, ReplayAsk, ReplayTable, Verified, Words,
};
use vigie_server::views::{self, CustomerDoc, field};
use vigie_stores::{Documents, Query, SqliteStore};

use super::model::{estimate, words};
use super::planner::OutcomesView;
use crate::audit;
use crate::config::{ChurnConfig, FeatureConfig, Measure};
use crate::features::replay::{self, Order, ReplayError, Rows};
use crate::features::{FeatureSet, Features};
use crate::learning;
use crate::model::{ModelError, ModelService, Placed, Places, row_of};
use crate::planner::PlannerService;
use crate::runtime::read_all;

/// Customers whose features are compared with the training at most: more tell nothing new.
const COMPARED: u64 = 20_000;

/// What learns, behind the server's port.
pub struct LearningView {
    /// The models.
    pub model: Arc<ModelService>,
    /// The log.
    pub log: Arc<dyn Log>,
    /// What is stored.
    pub store: Arc<SqliteStore>,
    /// Tells the audit.
    pub publisher: Publisher,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Leads and limits.
    pub config: ChurnConfig,
    /// What was declared.
    pub declared: Vec<FeatureConfig>,
    /// Who is in which group.
    pub planner: Arc<PlannerService>,
    /// What became of customers.
    pub outcomes: OutcomesView,
}

fn port_error(error: ModelError) -> PortError {
    let text = error.to_string();
    match error {
        ModelError::Place(_) => PortError::Conflict(text),
        ModelError::Model { .. } | ModelError::Foreign { .. } => PortError::Invalid(text),
        ModelError::File { .. } | ModelError::Log(_) => PortError::Unavailable(text),
        _ => PortError::Failed(text),
    }
}

fn replay_error(error: &ReplayError) -> PortError {
    match error {
        ReplayError::Log(log) => PortError::Unavailable(log.to_string()),
        other => PortError::Failed(other.to_string()),
    }
}

/// How a feature is computed, in words.
fn how(feature: &FeatureConfig) -> Words {
    let (topic, days) = (&feature.topic, feature.window_days);
    let only: Vec<String> =
        feature.only.iter().map(|(name, value)| format!("{name} = {value}").replace('"', "")).collect();
    let (only_fr, only_en) = if only.is_empty() {
        (String::new(), String::new())
    } else {
        (format!(" où {}", only.join(" et ")), format!(" where {}", only.join(" and ")))
    };
    let field = feature.field.as_deref().unwrap_or_default();
    let (fr, en) = match feature.measure {
        Measure::Count => (format!("nombre d’événements de {topic}"), format!("events on {topic}")),
        Measure::Sum => (format!("somme de {field} sur {topic}"), format!("sum of {field} on {topic}")),
        Measure::Recency => (
            format!("jours depuis le dernier événement de {topic}"),
            format!("days since the newest event on {topic}"),
        ),
        Measure::Trend => (
            format!("événements de {topic}, moins ceux de la période d’avant"),
            format!("events on {topic}, less those of the period before"),
        ),
    };
    Words { fr: format!("{fr}{only_fr}, {days} jours"), en: format!("{en}{only_en}, {days} days") }
}

impl LearningView {
    fn set(&self) -> Arc<FeatureSet> {
        Arc::clone(&self.model.serving().features)
    }

    fn place(&self, placed: &Placed, model: Option<&Model>) -> ModelPlace {
        ModelPlace {
            version: placed.version.clone(),
            since: placed.since,
            by: placed.by.clone(),
            rows: model.map(|model| model.card().rows as u64),
            auc: model.and_then(|model| model.card().metrics.as_ref()).map(|metrics| estimate(&metrics.auc)),
            features: model
                .map(|model| model.features().iter().map(|feature| feature.name.clone()).collect())
                .unwrap_or_default(),
        }
    }

    fn scored_outcomes(&self) -> Answer<Vec<ScoredOutcome>> {
        read_all(&*self.store, views::SCORED_OUTCOMES, Query::new())
    }

    fn described(&self, places: &Places) -> Answer<Models> {
        let serving = self.model.serving();
        let comparison = match &serving.challenger {
            None => None,
            Some(challenger) => {
                let query = Query::new().eq(field::CHALLENGER, challenger.id());
                let mut scores: Vec<ShadowScore> = read_all(&*self.store, views::SHADOW_SCORES, query)?;
                scores.retain(|score| score.champion.model_version == serving.champion.id());
                let judged =
                    learning::judged(&self.scored_outcomes()?, serving.champion.id(), challenger.id());
                Some(learning::comparison(&scores, &judged, self.config.shadow_customers))
            }
        };
        Ok(Models {
            champion: self.place(&places.champion, Some(&serving.champion)),
            shadow: places.shadow.as_ref().map(|placed| self.place(placed, serving.challenger.as_deref())),
            comparison,
            previous: places.previous.iter().rev().map(|placed| self.place(placed, None)).collect(),
        })
    }

    fn tell<const N: usize>(
        &self,
        by: &str,
        action: &str,
        model: &str,
        detail: [(&str, String); N],
    ) -> Answer<()> {
        let entry = AuditEntry::new(self.clock.now(), by, action, model, audit::detail(detail));
        let message = audit::message(&entry).map_err(|error| PortError::Failed(error.to_string()))?;
        audit::publish_all(&self.publisher, vec![message]).map_err(|error| {
            PortError::Unavailable(format!("it was done, but the audit entry could not be written: {error}"))
        })
    }
}

impl Learning for LearningView {
    fn features(&self) -> FeatureList {
        let set = self.set();
        let serving = self.model.serving();
        let features = set
            .names()
            .map(|name| {
                let declared = self.declared.iter().find(|feature| feature.name == name);
                DeclaredFeature {
                    name: name.to_owned(),
                    label: Words {
                        fr: serving.label(name, Lang::Fr).to_owned(),
                        en: serving.label(name, Lang::En).to_owned(),
                    },
                    topic: declared.map(|feature| feature.topic.clone()),
                    how: declared.map_or_else(
                        || Words {
                            fr: String::from("colonne de la fiche"),
                            en: String::from("column of the record"),
                        },
                        how,
                    ),
                }
            })
            .collect();
        FeatureList { definitions: set.definitions().to_owned(), features }
    }

    fn replay(&self, ask: &ReplayAsk) -> Answer<ReplayTable> {
        let lead_days = ask.lead_days.unwrap_or(self.config.lead_days);
        let rows = match ask.rows.as_deref().unwrap_or("labelled") {
            "labelled" => Rows::Labelled { lead_days },
            "all" => Rows::All,
            other => {
                return Err(PortError::Invalid(format!("`rows` is {other:?}; it may be labelled or all")));
            }
        };
        let order = if ask.by_event_time { Order::EventTime } else { Order::AsProcessed };
        let set = self.set();
        let replayed =
            replay::replay(&*self.log, &set, ask.events, order).map_err(|error| replay_error(&error))?;
        let csv = String::from_utf8_lossy(&replay::table(&replayed, &set, rows)).into_owned();
        Ok(ReplayTable { csv, cut: replayed.cut })
    }

    fn verify(&self) -> Answer<Verified> {
        let found = replay::verify(&*self.log, &self.set()).map_err(|error| replay_error(&error))?;
        let replay::Verified { logged, equal, different, missing } = found;
        Ok(Verified { logged, equal, different, missing })
    }

    fn models(&self) -> Answer<Models> {
        self.described(&self.model.places().map_err(port_error)?)
    }

    fn shadow(&self, file: &str, by: &str) -> Answer<Models> {
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(file.trim())
            .map_err(|error| PortError::Invalid(format!("`file` is not base64: {error}")))?;
        let name = std::path::Path::new("the model file");
        let places = self.model.shadow(name, &bytes, by, self.clock.now()).map_err(port_error)?;
        if let Some(shadow) = &places.shadow {
            self.tell(by, "model.shadowed", &shadow.version, [("beside", places.champion.version.clone())])?;
        }
        self.described(&places)
    }

    fn end_shadow(&self, by: &str) -> Answer<Models> {
        let ended = self.model.end_shadow().map_err(port_error)?;
        self.tell(by, "model.shadow_ended", &ended.version, [])?;
        self.models()
    }

    fn promote(&self, by: &str, now: bool) -> Answer<Models> {
        let before = self.models()?;
        let compared = before.comparison.clone().unwrap_or_default();
        if before.shadow.is_some() && !compared.ready && !now {
            return Err(PortError::Conflict(format!(
                "the model in shadow has scored {} of the {} customers that are needed before it is promoted; wait, or insist (`vigie model promote --now`)",
                compared.customers, compared.needed
            )));
        }
        let places = self.model.promote(by, self.clock.now()).map_err(port_error)?;
        let share = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.4}"));
        self.tell(
            by,
            "model.promoted",
            &places.champion.version,
            [
                ("instead_of", before.champion.version),
                ("customers_in_shadow", compared.customers.to_string()),
                ("agreement", share(compared.agreement)),
                ("mean_shift", share(compared.mean_shift)),
                ("insisted", if compared.ready { String::new() } else { String::from("yes") }),
            ],
        )?;
        self.described(&places)
    }

    fn rollback(&self, by: &str) -> Answer<Models> {
        let before = self.model.current().id().to_owned();
        let places = self.model.rollback(by, self.clock.now()).map_err(port_error)?;
        self.tell(by, "model.rolled_back", &places.champion.version, [("instead_of", before)])?;
        self.described(&places)
    }

    fn report(&self) -> Answer<LearningReport> {
        let serving = self.model.serving();
        let champion = &serving.champion;
        let scored = self.scored_outcomes()?;
        let calibration = learning::calibration(&learning::predictions_of(&scored, champion.id()));
        let query = Query::new().descending(field::UPDATED).page(0, COMPARED);
        let found = self
            .store
            .find(views::CUSTOMERS, &query)
            .map_err(|error| PortError::Unavailable(error.to_string()))?;
        // Scored by this model: the features of another one may lack what this one reads.
        let rows: Vec<_> = found
            .items
            .into_iter()
            .filter_map(|item| serde_json::from_value::<CustomerDoc>(item.doc).ok())
            .filter(|doc| doc.score.model_version == champion.id())
            .map(|doc| {
                let features: Features =
                    doc.score.features.into_iter().map(|(name, value)| (name, Some(value))).collect();
                row_of(champion, &features)
            })
            .collect();
        let inputs: Vec<InputDrift> = champion
            .drift(&rows)
            .into_iter()
            .map(|column| {
                let said = words(&column.words());
                // Sentences begin with the column's name; people know it by another.
                let label = |lang| serving.label(&column.name, lang);
                InputDrift {
                    words: Words {
                        fr: said.fr.replacen(&column.name, label(Lang::Fr), 1),
                        en: said.en.replacen(&column.name, label(Lang::En), 1),
                    },
                    feature: column.name,
                    stability_index: column.stability_index,
                    p_value: column.p_value,
                    verdict: match column.verdict {
                        vigie_churn::drift::DriftVerdict::TooFew => DriftVerdict::TooFew,
                        vigie_churn::drift::DriftVerdict::Stable => DriftVerdict::Stable,
                        vigie_churn::drift::DriftVerdict::Changed => DriftVerdict::Changed,
                        vigie_churn::drift::DriftVerdict::Drifted => DriftVerdict::Drifted,
                    },
                }
            })
            .collect();
        let rows_learnt = champion.card().rows as u64;
        let outcomes = scored.len() as u64;
        Ok(LearningReport {
            model_version: champion.id().to_owned(),
            outcomes,
            lead_days: self.config.lead_days,
            retraining: learning::retraining(&calibration, &inputs, calibration.outcomes, rows_learnt),
            calibration,
            compared: rows.len() as u64,
            inputs,
            trial: learning::trial(&self.planner.standing(), &(self.outcomes)()?),
        })
    }
}
