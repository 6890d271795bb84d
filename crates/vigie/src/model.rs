//! The churn model in service: trained at first start, loaded afterwards, shared by the pipeline and the server.
//!
//! The science is in `vigie-churn`, which does no I/O; this is where files, words and the domain's types meet it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use vigie_churn::{FeatureRow, FitOptions, Lang, Model, Plan, PlanOptions, Table};
use vigie_domain::{Customer, CustomerView, FeatureReason, Origin, Score, Verdict};

use crate::config::ChurnConfig;

/// The table that comes with the program: 900 customers of an agency, 150 of whom left.
pub const BUNDLED_TRAINING: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/customer_churn.csv"));
/// Columns that a person can act on; nobody gets younger.
const CHANGEABLE: [&str; 3] = ["Total_Purchase", "Account_Manager", "Num_Sites"];
/// The numeric columns of a customer's record, in the file's order.
const COLUMNS: [&str; 5] = ["Age", "Total_Purchase", "Account_Manager", "Years", "Num_Sites"];
const TARGET: &str = "Churn";

/// What can go wrong with the model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file cannot be read or written.
    #[error("{path}: {source}; check the path, its permissions and the free space")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A table is not a CSV file.
    #[error("{path}: not a CSV table: {source}")]
    Csv {
        /// The file.
        path: PathBuf,
        /// Why, with the line.
        source: csv::Error,
    },
    /// The model file is damaged or foreign.
    #[error(
        "{path}: {source}; train a new model with `vigie train`, or delete the file to train it anew at the next start"
    )]
    Model {
        /// The file.
        path: PathBuf,
        /// Why.
        source: vigie_churn::ModelFileError,
    },
    /// The model needs columns that a customer's record does not have.
    #[error(
        "{path}: the model reads the column `{column}`, which customers' records do not have; train with --columns"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
    },
    /// Training failed.
    #[error(transparent)]
    Churn(#[from] vigie_churn::ChurnError),
}

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
    /// What went in.
    pub features: BTreeMap<String, f64>,
    /// Fingerprint of what went in.
    pub features_hash: String,
    /// Which model.
    pub model_version: String,
}

/// The model in service. Readers take a snapshot; a promotion swaps it.
#[derive(Debug)]
pub struct ModelService {
    current: RwLock<Arc<Model>>,
}

impl ModelService {
    /// Serves this model.
    pub fn new(model: Model) -> Self {
        Self { current: RwLock::new(Arc::new(model)) }
    }

    /// Loads `path`, or trains a model there when there is none. Tells whether it trained.
    pub fn open(path: &Path, config: &ChurnConfig) -> Result<(Self, bool), ModelError> {
        match fs::read(path) {
            Ok(bytes) => {
                let model = Model::from_bytes(&bytes)
                    .map_err(|source| ModelError::Model { path: path.to_owned(), source })?;
                for feature in model.features() {
                    if !COLUMNS.contains(&feature.name.as_str()) {
                        return Err(ModelError::Foreign {
                            path: path.to_owned(),
                            column: feature.name.clone(),
                        });
                    }
                }
                Ok((Self::new(model), false))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let model = train(config)?;
                let bytes =
                    model.to_bytes().map_err(|source| ModelError::Model { path: path.to_owned(), source })?;
                write_whole(path, &bytes)
                    .map_err(|source| ModelError::File { path: path.to_owned(), source })?;
                Ok((Self::new(model), true))
            }
            Err(source) => Err(ModelError::File { path: path.to_owned(), source }),
        }
    }

    /// The model now.
    pub fn current(&self) -> Arc<Model> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another model in service; scores in flight finish with the old one.
    pub fn promote(&self, model: Model) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(model);
    }

    /// Scores one customer's columns.
    pub fn score_features(&self, features: &BTreeMap<String, f64>) -> Scored {
        let model = self.current();
        let row = row_of(&model, features);
        scored(&model, &row)
    }

    /// Scores a customer's record and ties the score to it.
    pub fn score(&self, customer: &Customer, from: &ScoredFrom) -> CustomerView {
        let parts = self.score_features(&features_of(customer));
        let score = Score {
            customer_id: customer.id(),
            probability: parts.probability,
            log_odds: parts.log_odds,
            baseline_log_odds: parts.baseline_log_odds,
            verdict: parts.verdict,
            reasons: parts.reasons,
            features: parts.features,
            features_hash: parts.features_hash,
            model_version: parts.model_version,
            event_time: from.event_time,
            scored_at: from.scored_at,
            origin: from.origin.clone(),
            published_at: from.published_at,
            correlation_id: from.correlation_id.clone(),
        };
        CustomerView { customer: customer.clone(), score }
    }

    /// The smallest change of one field that brings the probability to `target`, if there is one.
    pub fn smallest_change(
        &self,
        features: &BTreeMap<String, f64>,
        target: f64,
    ) -> Option<vigie_churn::Counterfactual> {
        let model = self.current();
        let row = row_of(&model, features);
        model.changes_below(&row, target, |name| CHANGEABLE.contains(&name)).into_iter().next()
    }
}

/// The record that a score is computed from.
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

/// A customer's columns as the model reads them.
pub fn features_of(customer: &Customer) -> BTreeMap<String, f64> {
    let columns = [
        customer.age,
        customer.total_purchase,
        f64::from(customer.account_manager),
        customer.years,
        customer.num_sites,
    ];
    COLUMNS.iter().zip(columns).map(|(name, value)| ((*name).to_owned(), value)).collect()
}

fn row_of(model: &Model, features: &BTreeMap<String, f64>) -> FeatureRow {
    let values: Vec<Option<f64>> =
        model.features().iter().map(|feature| features.get(&feature.name).copied()).collect();
    model.row_of(&values)
}

fn scored(model: &Model, row: &FeatureRow) -> Scored {
    let explanation = model.explain(row);
    let features: BTreeMap<String, f64> =
        model.features().iter().zip(row.values()).map(|(f, value)| (f.name.clone(), *value)).collect();
    let reasons = explanation
        .reasons
        .iter()
        .map(|reason| FeatureReason {
            feature: reason.name.clone(),
            value: features.get(&reason.name).copied().unwrap_or_default(),
            baseline: model.features().iter().find(|f| f.name == reason.name).map_or(0.0, |f| f.mean),
            contribution: reason.contribution,
            text_fr: reason.text_as(label(&reason.name, Lang::Fr), Lang::Fr),
            text_en: reason.text_as(label(&reason.name, Lang::En), Lang::En),
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
        features,
        features_hash: format!("{:016x}", row.hash()),
        model_version: model.id().to_owned(),
    }
}

/// The column's name for people.
pub fn label(column: &str, lang: Lang) -> &str {
    match (column, lang) {
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
        (other, _) => other,
    }
}

/// Reads a CSV table as it is: every cell text, blanks missing.
pub fn read_table(path: &Path, bytes: &[u8]) -> Result<Table, ModelError> {
    let csv_error = |source| ModelError::Csv { path: path.to_owned(), source };
    let mut reader = csv::ReaderBuilder::new().flexible(false).from_reader(bytes);
    let mut table = Table::new(reader.headers().map_err(csv_error)?.iter())?;
    for record in reader.records() {
        let record = record.map_err(csv_error)?;
        let cells: Vec<Option<&str>> = record.iter().map(Some).collect();
        table.push_row(&cells)?;
    }
    Ok(table)
}

/// The labelled table of this configuration.
pub fn training_table(config: &ChurnConfig) -> Result<Table, ModelError> {
    match &config.training_csv {
        None => read_table(Path::new("customer_churn.csv (built in)"), BUNDLED_TRAINING.as_bytes()),
        Some(path) => {
            let bytes = fs::read(path).map_err(|source| ModelError::File { path: path.clone(), source })?;
            read_table(path, &bytes)
        }
    }
}

/// Trains the application's model.
pub fn train(config: &ChurnConfig) -> Result<Model, ModelError> {
    let table = training_table(config)?;
    let plan = Plan::infer(&table, &PlanOptions::for_target(TARGET))?;
    let options = FitOptions {
        columns: Some(config.columns.clone()),
        seed: config.seed,
        threshold: config.threshold,
        splines: false,
        ..FitOptions::default()
    };
    Ok(vigie_churn::train(&table, &plan, &options)?)
}

/// Writes a file so that it is there whole or not at all.
pub fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // A bare file name has an empty parent.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let part = path.with_extension("part");
    let mut file = fs::File::create(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    // The rename itself is durable only when the folder is.
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_trained_once_and_then_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model").join("churn.vigie");
        let config = ChurnConfig::default();
        let (first, trained) = ModelService::open(&path, &config).unwrap();
        assert!(trained);
        let (second, trained) = ModelService::open(&path, &config).unwrap();
        assert!(!trained);
        assert_eq!(first.current().id(), second.current().id());
        let features = [("Age", 50.0), ("Total_Purchase", 9_000.0), ("Account_Manager", 1.0), ("Years", 6.0)];
        let mut features: BTreeMap<String, f64> =
            features.map(|(name, value)| (name.to_owned(), value)).into();
        features.insert("Num_Sites".into(), 12.0);
        let scored = second.score_features(&features);
        assert_eq!(scored.verdict, Verdict::WillChurn);
        let sum: f64 = scored.reasons.iter().map(|reason| reason.contribution).sum();
        assert!((scored.baseline_log_odds + sum - scored.log_odds).abs() < 1e-9, "{scored:?}");
        assert!(scored.reasons[0].text_fr.contains("sites") && scored.reasons[0].text_en.contains("sites"));
    }

    #[test]
    fn a_damaged_model_is_refused_with_its_path_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("churn.vigie");
        std::fs::write(&path, b"not a model").unwrap();
        let message = ModelService::open(&path, &ChurnConfig::default()).unwrap_err().to_string();
        assert!(message.contains("churn.vigie") && message.contains("vigie train"), "{message}");
    }
}
