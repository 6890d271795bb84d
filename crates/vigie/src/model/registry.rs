//! Which model is in service, which is in shadow, and which were before: files in the model folder, and one list of them.
//!
//! ```text
//! model/churn.vigie      the champion: what is in this file is in service
//! model/<version>.vigie  every model that was in service or in shadow
//! model/models.json      who put which one where, and when
//!
//! shadow ──promote──▶ champion ──(next promotion)──▶ previous ──rollback──▶ champion
//! ```
//! Each file is written beside and renamed. `churn.vigie` is written before the list: after a crash between the two, the list is
//! brought in line with the file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vigie_churn::Model;

use super::{ModelError, write_whole};
use crate::features::FeatureSet;

/// So many former champions are remembered.
const REMEMBERED: usize = 20;
/// Who put a model in service by the file itself.
pub const BY_FILE: &str = "file";

/// A model's place, and since when and by whom it has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// The model's version.
    pub version: String,
    /// Since when, ms since the epoch.
    pub since: i64,
    /// Who put it there.
    pub by: String,
}

/// All places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// In service.
    pub champion: Placed,
    /// In shadow.
    pub shadow: Option<Placed>,
    /// In service before, the latest last.
    pub previous: Vec<Placed>,
}

/// The models of a data folder.
#[derive(Debug)]
pub struct Registry {
    champion_file: PathBuf,
    folder: PathBuf,
    /// Who is where.
    pub places: Places,
}

/// Reads a model file and checks that its columns are features that are computed here.
pub fn read(path: &Path, bytes: &[u8], features: &FeatureSet) -> Result<Model, ModelError> {
    let model =
        Model::from_bytes(bytes).map_err(|source| ModelError::Model { path: path.to_owned(), source })?;
    for feature in model.features() {
        if !features.names().any(|name| name == feature.name) {
            return Err(ModelError::Foreign {
                path: path.to_owned(),
                column: feature.name.clone(),
                known: features.names().collect::<Vec<_>>().join(", "),
            });
        }
    }
    Ok(model)
}

/// See [`Registry::keep_file`].
pub(super) fn keep_file(folder: &Path, version: &str, bytes: &[u8]) -> Result<(), ModelError> {
    let path = folder.join(format!("{version}.vigie"));
    if path.exists() {
        return Ok(());
    }
    write_whole(&path, bytes).map_err(|source| ModelError::File { path, source })
}

/// The list of a folder, if there is one.
pub(super) fn list(folder: &Path) -> Result<Option<Places>, ModelError> {
    let path = folder.join("models.json");
    let failed = |source| ModelError::File { path: path.clone(), source };
    match fs::read(&path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(std::io::Error::from(error)))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

impl Registry {
    /// The models of the folder of `champion_file`, in which `champion` is.
    pub fn open(champion_file: &Path, champion: &Model, now: i64) -> Result<Self, ModelError> {
        let folder = champion_file.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        let known = list(&folder)?;
        let here = |by: &str| Placed { version: champion.id().to_owned(), since: now, by: by.to_owned() };
        let mut places = match known {
            None => Places { champion: here("vigie"), shadow: None, previous: Vec::new() },
            Some(known) => known,
        };
        if places.champion.version != champion.id() {
            // A promotion that a crash interrupted, or somebody put another file there.
            let by = match &places.shadow {
                Some(shadow) if shadow.version == champion.id() => shadow.by.clone(),
                _ => BY_FILE.to_owned(),
            };
            let before = std::mem::replace(&mut places.champion, here(&by));
            places.previous.push(before);
        }
        places.shadow = places.shadow.filter(|shadow| shadow.version != champion.id());
        let registry = Self { champion_file: champion_file.to_owned(), folder, places };
        registry.keep(champion)?;
        registry.save()?;
        Ok(registry)
    }

    fn file(&self, version: &str) -> PathBuf {
        self.folder.join(format!("{version}.vigie"))
    }

    fn save(&self) -> Result<(), ModelError> {
        let path = self.folder.join("models.json");
        let failed = |source| ModelError::File { path: path.clone(), source };
        let json = serde_json::to_vec_pretty(&self.places).map_err(|error| failed(error.into()))?;
        write_whole(&path, &json).map_err(failed)
    }

    /// A model's file, as bytes.
    pub fn bytes(&self, model: &Model) -> Result<Vec<u8>, ModelError> {
        model.to_bytes().map_err(|source| ModelError::Model { path: self.file(model.id()), source })
    }

    /// Keeps a model's file, so that it can come back.
    pub fn keep(&self, model: &Model) -> Result<(), ModelError> {
        self.keep_file(model.id(), &self.bytes(model)?)
    }

    /// Keeps these bytes as the file of a version, unless it is there.
    pub fn keep_file(&self, version: &str, bytes: &[u8]) -> Result<(), ModelError> {
        keep_file(&self.folder, version, bytes)
    }

    /// A model that was kept.
    pub fn load(&self, version: &str, features: &FeatureSet) -> Result<Arc<Model>, ModelError> {
        let path = self.file(version);
        let bytes = fs::read(&path).map_err(|source| ModelError::File { path: path.clone(), source })?;
        read(&path, &bytes, features).map(Arc::new)
    }

    /// Each model has the place that `places` says. The champion's file is written before the list.
    pub fn set(&mut self, places: Places, champion: &Model) -> Result<(), ModelError> {
        if champion.id() != self.places.champion.version {
            let bytes = self.bytes(champion)?;
            let path = self.champion_file.clone();
            write_whole(&path, &bytes).map_err(|source| ModelError::File { path, source })?;
        }
        let before = std::mem::replace(&mut self.places, places);
        // Where the list cannot be written, nothing has changed.
        self.save().inspect_err(|_| self.places = before)
    }
}

impl Places {
    /// With a model in shadow, in place of the one that was there.
    pub fn shadowed(&self, version: &str, by: &str, now: i64) -> Result<Self, ModelError> {
        if version == self.champion.version {
            return Err(ModelError::Place(format!(
                "model {version} is in service already; train another one to compare it with"
            )));
        }
        let shadow = Some(Placed { version: version.to_owned(), since: now, by: by.to_owned() });
        Ok(Self { shadow, ..self.clone() })
    }

    /// Without the model in shadow.
    pub fn shadow_ended(&self) -> Result<Self, ModelError> {
        self.shadow.as_ref().ok_or_else(no_shadow)?;
        Ok(Self { shadow: None, ..self.clone() })
    }

    /// With the model in shadow in service.
    pub fn promoted(&self, by: &str, now: i64) -> Result<Self, ModelError> {
        let mut places = self.clone();
        let shadow = places.shadow.take().ok_or_else(no_shadow)?;
        let champion = Placed { version: shadow.version, since: now, by: by.to_owned() };
        places.previous.push(std::mem::replace(&mut places.champion, champion));
        let surplus = places.previous.len().saturating_sub(REMEMBERED);
        places.previous.drain(..surplus);
        Ok(places)
    }

    /// With the model that was in service before back in service.
    pub fn rolled_back(&self, by: &str, now: i64) -> Result<Self, ModelError> {
        let mut places = self.clone();
        let before = places.previous.pop().ok_or_else(|| {
            ModelError::Place(String::from(
                "there is no earlier model to go back to; none has been promoted yet",
            ))
        })?;
        places.shadow = places.shadow.filter(|shadow| shadow.version != before.version);
        places.champion = Placed { version: before.version, since: now, by: by.to_owned() };
        Ok(places)
    }

    /// Every model that has a place.
    pub fn versions(&self) -> impl Iterator<Item = &str> {
        let placed = std::iter::once(&self.champion).chain(&self.shadow).chain(&self.previous);
        placed.map(|placed| placed.version.as_str())
    }
}

fn no_shadow() -> ModelError {
    ModelError::Place(String::from(
        "no model is in shadow; put one there with `vigie model shadow FILE` or on the Model page",
    ))
}
