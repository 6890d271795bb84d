//! The churn model in service: trained at first start, loaded afterwards, shared by the pipeline and the server.
//!
//! The science is in `vigie-churn`, which does no I/O; this is where files, words and the domain's types meet it.

pub mod registry;
mod serving;
mod shared;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use vigie_churn::{FitOptions, Model, Plan, PlanOptions, Table};

pub use registry::{Placed, Places};
pub use serving::{Scored, ScoredFrom, Serving, row_of};

use crate::config::ChurnConfig;
use crate::decisions::Decisions;
use crate::features::FeatureSet;
use registry::Registry;

/// The table that comes with the program: 900 customers of an agency, 150 of whom left.
pub const BUNDLED_TRAINING: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/customer_churn.csv"));
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
        "{path}: the model reads the column `{column}`, which is not computed here; there are {known}. Train with --columns, or declare the feature in the configuration"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// What is computed.
        known: String,
    },
    /// The model is not where it would have to be.
    #[error("{0}")]
    Place(String),
    /// The log, through which several instances agree on their models. Its error is the source as well.
    #[error("{0}")]
    Log(#[from] vigie_log::LogError),
    /// What the log says about models is not what this version can read.
    #[error(
        "topic `models`, key `{key}`: {reason}; it was written by another version of the program. Start the version that wrote it"
    )]
    Unreadable {
        /// The record's key.
        key: String,
        /// Why.
        reason: String,
    },
    /// Training failed.
    #[error(transparent)]
    Churn(#[from] vigie_churn::ChurnError),
}

/// The models in service. Readers take a snapshot; a promotion swaps it, scores in flight finish with the old one.
#[derive(Debug)]
pub struct ModelService {
    serving: RwLock<Arc<Serving>>,
    /// `None` where there is no folder to keep models in (tests, replays).
    registry: Option<Mutex<Registry>>,
    /// On a log that several instances share: where they agree on the models.
    decisions: Option<Arc<Decisions>>,
}

impl ModelService {
    /// Serves this model, without a folder: it cannot be replaced.
    pub fn new(model: Model, features: Arc<FeatureSet>) -> Self {
        let serving = Serving { champion: Arc::new(model), challenger: None, features };
        Self { serving: RwLock::new(Arc::new(serving)), registry: None, decisions: None }
    }

    /// Loads the champion from `path`, or trains it there when there is none, and the model in shadow, if there is one. Tells
    /// whether it trained.
    pub fn open(
        path: &Path,
        config: &ChurnConfig,
        features: &Arc<FeatureSet>,
        now: i64,
    ) -> Result<(Self, bool), ModelError> {
        let (champion, trained) = match fs::read(path) {
            Ok(bytes) => (registry::read(path, &bytes, features)?, false),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let model = train(config)?;
                let bytes =
                    model.to_bytes().map_err(|source| ModelError::Model { path: path.to_owned(), source })?;
                write_whole(path, &bytes)
                    .map_err(|source| ModelError::File { path: path.to_owned(), source })?;
                (model, true)
            }
            Err(source) => return Err(ModelError::File { path: path.to_owned(), source }),
        };
        let mut registry = Registry::open(path, &champion, now)?;
        let challenger = match registry.places.shadow.clone() {
            None => None,
            Some(shadow) => match registry.load(&shadow.version, features) {
                Ok(model) => Some(model),
                Err(error) => {
                    // Nobody's score depends on it.
                    tracing::warn!(%error, "the model in shadow cannot be used; it is taken out of shadow");
                    let places = registry.places.shadow_ended()?;
                    registry.set(places, &champion)?;
                    None
                }
            },
        };
        let serving = Serving { champion: Arc::new(champion), challenger, features: Arc::clone(features) };
        let service = Self {
            serving: RwLock::new(Arc::new(serving)),
            registry: Some(Mutex::new(registry)),
            decisions: None,
        };
        Ok((service, trained))
    }

    /// The models now.
    pub fn serving(&self) -> Arc<Serving> {
        Arc::clone(&self.serving.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The model in service now.
    pub fn current(&self) -> Arc<Model> {
        Arc::clone(&self.serving().champion)
    }

    fn registry(&self) -> Result<MutexGuard<'_, Registry>, ModelError> {
        let registry = self
            .registry
            .as_ref()
            .ok_or_else(|| ModelError::Place(String::from("this program has no folder to keep models in")))?;
        Ok(registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn swap(&self, champion: Arc<Model>, challenger: Option<Arc<Model>>) {
        let features = Arc::clone(&self.serving().features);
        *self.serving.write().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(Serving { champion, challenger, features });
    }

    /// Which model is where.
    pub fn places(&self) -> Result<Places, ModelError> {
        Ok(self.registry()?.places.clone())
    }

    /// Puts the model of a file in shadow: from now on it scores beside the champion.
    pub fn shadow(&self, name: &Path, bytes: &[u8], by: &str, now: i64) -> Result<Places, ModelError> {
        let model = registry::read(name, bytes, &self.serving().features)?;
        self.change(Some(&model), |places| places.shadowed(model.id(), by, now))
    }

    /// Takes the model out of shadow.
    pub fn end_shadow(&self) -> Result<Placed, ModelError> {
        let before = self.places()?.shadow;
        self.change(None, Places::shadow_ended)?;
        before.ok_or_else(|| ModelError::Place(String::from("the model in shadow is gone")))
    }

    /// Puts the model in shadow in service.
    pub fn promote(&self, by: &str, now: i64) -> Result<Places, ModelError> {
        self.change(None, |places| places.promoted(by, now))
    }

    /// Puts the model that was in service before back in service.
    pub fn rollback(&self, by: &str, now: i64) -> Result<Places, ModelError> {
        self.change(None, |places| places.rolled_back(by, now))
    }

    /// Changes places; `new` is a model that comes from outside. On a shared log all instances change.
    fn change(
        &self,
        new: Option<&Model>,
        next: impl Fn(&Places) -> Result<Places, ModelError>,
    ) -> Result<Places, ModelError> {
        if let Some(decisions) = &self.decisions {
            decisions.decide(|| {
                let registry = self.registry()?;
                let places = next(&registry.places)?;
                Ok::<_, ModelError>((shared::messages(&registry, &places, new)?, ()))
            })?;
            return self.places();
        }
        let mut registry = self.registry()?;
        let places = next(&registry.places)?;
        if let Some(new) = new {
            registry.keep(new)?;
        }
        self.stand(&mut registry, places)
    }

    /// Each model takes its place, in the folder and in service.
    fn stand(&self, registry: &mut Registry, places: Places) -> Result<Places, ModelError> {
        let serving = self.serving();
        let here = |version: &str| {
            let known = std::iter::once(&serving.champion).chain(&serving.challenger);
            match known.into_iter().find(|model| model.id() == version) {
                Some(model) => Ok(Arc::clone(model)),
                None => registry.load(version, &serving.features),
            }
        };
        let champion = here(&places.champion.version)?;
        let challenger = places.shadow.as_ref().map(|shadow| here(&shadow.version)).transpose()?;
        registry.set(places, &champion)?;
        self.swap(champion, challenger);
        Ok(registry.places.clone())
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
    use crate::config::Config;
    use crate::features::Features;
    use vigie_contracts::Contracts;
    use vigie_domain::Verdict;

    fn set() -> Arc<FeatureSet> {
        let records = Contracts::built_in().unwrap().get(vigie_domain::topics::COSTUMERCHURN);
        Arc::new(FeatureSet::new(&Config::default().features, &records))
    }

    fn open(path: &Path) -> (ModelService, bool) {
        ModelService::open(path, &ChurnConfig::default(), &set(), 1).unwrap()
    }

    /// Another model: the same table without one column.
    fn other() -> Model {
        let config =
            ChurnConfig { columns: vec!["Years".into(), "Num_Sites".into()], ..ChurnConfig::default() };
        train(&config).unwrap()
    }

    #[test]
    fn a_model_is_trained_once_and_then_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model").join("churn.vigie");
        let (first, trained) = open(&path);
        assert!(trained);
        let (second, trained) = open(&path);
        assert!(!trained);
        assert_eq!(first.current().id(), second.current().id());
        let features: Features = [
            ("Age", 50.0),
            ("Total_Purchase", 9_000.0),
            ("Account_Manager", 1.0),
            ("Years", 6.0),
            ("Num_Sites", 12.0),
        ]
        .map(|(name, value)| (name.to_owned(), Some(value)))
        .into();
        let scored = second.serving().scored(&features);
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
        let message = ModelService::open(&path, &ChurnConfig::default(), &set(), 1).unwrap_err().to_string();
        assert!(message.contains("churn.vigie") && message.contains("vigie train"), "{message}");
    }

    #[test]
    fn shadow_promotion_and_the_way_back_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("churn.vigie");
        let (service, _) = open(&path);
        let first = service.current().id().to_owned();
        assert!(service.promote("lead", 2).unwrap_err().to_string().contains("vigie model shadow"));
        assert!(service.rollback("lead", 2).unwrap_err().to_string().contains("no earlier model"));

        let challenger = other();
        let bytes = challenger.to_bytes().unwrap();
        let places = service.shadow(Path::new("new.vigie"), &bytes, "ana", 3).unwrap();
        assert_eq!(places.champion.version, first);
        assert_eq!(service.serving().challenger.as_ref().map(|model| model.id()), Some(challenger.id()));
        let (service, _) = open(&path);
        assert_eq!(service.serving().challenger.as_ref().map(|model| model.id()), Some(challenger.id()));

        service.promote("lead", 4).unwrap();
        let (service, _) = open(&path);
        let places = service.places().unwrap();
        assert_eq!((service.current().id(), places.champion.by.as_str()), (challenger.id(), "lead"));
        assert_eq!(places.previous.iter().map(|p| p.version.as_str()).collect::<Vec<_>>(), [first.as_str()]);
        assert!(service.serving().challenger.is_none() && places.shadow.is_none());

        service.rollback("lead", 5).unwrap();
        let (service, _) = open(&path);
        assert_eq!(service.current().id(), first);
        assert!(service.rollback("lead", 6).is_err(), "there is nothing before the first");
        // What was taken back can be tried again.
        service.shadow(Path::new("new.vigie"), &bytes, "ana", 7).unwrap();
        assert_eq!(service.end_shadow().unwrap().version, challenger.id());
        assert!(service.serving().challenger.is_none());
    }

    #[test]
    fn what_cannot_be_in_shadow_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("churn.vigie");
        let (service, _) = open(&path);
        let champion = service.current().to_bytes().unwrap();
        let said =
            |bytes: &[u8]| service.shadow(Path::new("x.vigie"), bytes, "ana", 1).unwrap_err().to_string();
        assert!(said(&champion).contains("in service already"));
        assert!(said(b"junk").contains("x.vigie"));
        let table =
            read_table(Path::new("t"), BUNDLED_TRAINING.replace("Num_Sites", "Sites").as_bytes()).unwrap();
        let plan = Plan::infer(&table, &PlanOptions::for_target(TARGET)).unwrap();
        let columns = Some(vec![String::from("Sites"), String::from("Years")]);
        let foreign =
            vigie_churn::train(&table, &plan, &FitOptions { columns, ..FitOptions::default() }).unwrap();
        let message = said(&foreign.to_bytes().unwrap());
        assert!(message.contains("`Sites`") && message.contains("spend_90d"), "{message}");
    }

    #[test]
    fn a_file_put_there_by_hand_is_in_service_and_said_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("churn.vigie");
        let (service, _) = open(&path);
        let first = service.current().id().to_owned();
        write_whole(&path, &other().to_bytes().unwrap()).unwrap();
        let (service, _) = open(&path);
        let places = service.places().unwrap();
        assert_eq!(
            (places.champion.by.as_str(), places.previous[0].version.as_str()),
            ("file", first.as_str())
        );
        service.rollback("lead", 9).unwrap();
        assert_eq!(service.current().id(), first);
    }
}
