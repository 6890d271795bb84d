//! What is learnt from how things turned out, and which model is in service, as the server sees it.

use serde::{Deserialize, Serialize};

use super::{Answer, CalibrationBin, EffectVerdict, Estimate, Points, Words};

/// Models in service and in shadow, features, and what outcomes say about both.
pub trait Learning: Send + Sync {
    /// What is computed for each score.
    fn features(&self) -> FeatureList;
    /// The features computed again over the whole history, as a table to train from.
    fn replay(&self, ask: &ReplayAsk) -> Answer<ReplayTable>;
    /// What was served beside what a replay gives.
    fn verify(&self) -> Answer<Verified>;
    /// Which model is where.
    fn models(&self) -> Answer<Models>;
    /// Puts the model of a file (base64) in shadow.
    fn shadow(&self, file: &str, by: &str) -> Answer<Models>;
    /// Takes the model out of shadow.
    fn end_shadow(&self, by: &str) -> Answer<Models>;
    /// Puts the model in shadow in service; `now` does not wait until it has scored enough.
    fn promote(&self, by: &str, now: bool) -> Answer<Models>;
    /// Puts the model that was in service before back in service.
    fn rollback(&self, by: &str) -> Answer<Models>;
    /// What the outcomes say.
    fn report(&self) -> Answer<LearningReport>;
}

/// One feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeclaredFeature {
    /// Its name.
    pub name: String,
    /// Its name for people.
    pub label: Words,
    /// The topic that its events are on; absent: a column of the record.
    pub topic: Option<String>,
    /// How it is computed, in words.
    pub how: Words,
}

/// All features.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FeatureList {
    /// Fingerprint of the declarations.
    pub definitions: String,
    /// Columns first.
    pub features: Vec<DeclaredFeature>,
}

/// Which table.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ReplayAsk {
    /// `labelled` (default): one row an outcome; `all`: one row a record.
    pub rows: Option<String>,
    /// Labelled rows are as of so many days before the outcome.
    pub lead_days: Option<u32>,
    /// Also as of each event.
    #[serde(default)]
    pub events: bool,
    /// In order of event time.
    #[serde(default)]
    pub by_event_time: bool,
}

/// The table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReplayTable {
    /// CSV with a header.
    pub csv: String,
    /// Whether the beginning of the history is gone.
    pub cut: bool,
}

/// Served rows beside replayed ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Verified {
    /// Rows that were served.
    pub logged: u64,
    /// Replayed with the same bytes.
    pub equal: u64,
    /// Replayed with other bytes.
    pub different: u64,
    /// No longer in the history.
    pub missing: u64,
}

/// A model and its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ModelPlace {
    /// Its version.
    pub version: String,
    /// Since when it is there, ms since the epoch.
    pub since: i64,
    /// Who put it there.
    pub by: String,
    /// Rows learnt from, where the file is at hand.
    pub rows: Option<u64>,
    /// Area under the ROC curve on rows not seen in training.
    pub auc: Option<Estimate>,
    /// What it reads.
    pub features: Vec<String>,
}

/// Which model is where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Models {
    /// In service.
    pub champion: ModelPlace,
    /// In shadow.
    pub shadow: Option<ModelPlace>,
    /// How the two compare.
    pub comparison: Option<ShadowComparison>,
    /// In service before, the latest first.
    pub previous: Vec<ModelPlace>,
}

/// The challenger beside the champion, on the same customers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ShadowComparison {
    /// Customers scored by both.
    pub customers: u64,
    /// So many are needed before a promotion.
    pub needed: u64,
    /// Whether that is reached.
    pub ready: bool,
    /// Share of customers with the same verdict.
    pub agreement: Option<f64>,
    /// Mean of challenger less champion.
    pub mean_shift: Option<f64>,
    /// Mean distance between the two.
    pub mean_distance: Option<f64>,
    /// Outcomes that both predicted.
    pub outcomes: u64,
    /// Of the champion on them.
    pub champion_log_loss: Option<f64>,
    /// Of the challenger on them.
    pub challenger_log_loss: Option<f64>,
    /// Of the champion on them.
    pub champion_brier: Option<f64>,
    /// Of the challenger on them.
    pub challenger_brier: Option<f64>,
    /// What the outcomes say so far.
    pub words: Words,
}

/// Whether predictions still hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DriftVerdict {
    /// Too few to tell.
    #[default]
    TooFew,
    /// As expected, as far as so many can tell.
    Stable,
    /// Different, and not by chance; worth a look.
    Changed,
    /// Very different, and not by chance.
    Drifted,
}

/// Predicted against observed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CalibrationDrift {
    /// In a word.
    pub verdict: DriftVerdict,
    /// Outcomes that the model in service predicted.
    pub outcomes: u64,
    /// How many were to leave, by the predictions.
    pub expected: f64,
    /// How many left.
    pub observed: u64,
    /// Observed less expected, per customer, in points; its interval holds at all times, however often one looks.
    pub difference: Option<Points>,
    /// In a sentence.
    pub words: Words,
    /// The curve.
    pub curve: Vec<CalibrationBin>,
}

/// One feature of today's customers against those of the training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct InputDrift {
    /// The feature.
    pub feature: String,
    /// Population stability index.
    pub stability_index: f64,
    /// Of a difference like this by chance.
    pub p_value: f64,
    /// Both together.
    pub verdict: DriftVerdict,
    /// In a sentence.
    pub words: Words,
}

/// An effect measured on the hold-out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TrialArm {
    /// Whom it compares.
    pub compares: Words,
    /// Known outcomes of those acted on.
    pub acted: u64,
    /// Known outcomes of those held out.
    pub held_out: u64,
    /// Change in churn; its interval holds at all times. Absent: too few outcomes.
    pub effect: Option<Points>,
    /// In a word.
    pub verdict: EffectVerdict,
    /// In a sentence.
    pub words: Words,
}

/// Whether to train again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Retraining {
    /// Whether it is proposed.
    pub proposed: bool,
    /// Why, or why not.
    pub reasons: Vec<Words>,
}

/// What the outcomes say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LearningReport {
    /// The model that it is about.
    pub model_version: String,
    /// Outcomes joined with the prediction that stood before them, of any model.
    pub outcomes: u64,
    /// Days between prediction and outcome at least.
    pub lead_days: u32,
    /// Predicted against observed.
    pub calibration: CalibrationDrift,
    /// Customers whose features were compared.
    pub compared: u64,
    /// Feature by feature.
    pub inputs: Vec<InputDrift>,
    /// The effect of managers.
    pub trial: Vec<TrialArm>,
    /// Whether to train again.
    pub retraining: Retraining,
}
