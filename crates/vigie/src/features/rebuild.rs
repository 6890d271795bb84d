//! When the declarations change: the new features are computed over the whole history before anybody is scored with them.
//!
//! The state of other declarations has a store of its own (its name carries their fingerprint), and the history is read again from
//! its beginning. What was scored before is not scored again: up to the positions that had been reached, the history only fills the
//! state. Those positions are kept in `features.json`, so that a rebuild that is interrupted goes on.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use vigie_domain::topics;
use vigie_log::{Admin, LogError, TopicPartition};

use super::FeatureSet;
use crate::model::write_whole;

/// What features.json holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rebuild {
    /// Fingerprint of the declarations.
    definitions: String,
    /// By partition of the history: what lies before this offset was scored already.
    scored_before: BTreeMap<u32, i64>,
    /// Whether the group has been set back to the beginning.
    done: bool,
}

/// Why the declarations in use cannot be found out or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RebuildError {
    /// The file.
    #[error("{path}: {source}; check the folder's permissions and the free space")]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The log. Its error is the source as well.
    #[error("{0}")]
    Log(#[from] LogError),
}

impl Rebuild {
    /// Whether what stands at this place of the history was scored before.
    pub fn was_scored(&self, partition: u32, offset: i64) -> bool {
        self.scored_before.get(&partition).is_some_and(|until| offset < *until)
    }

    /// Compares the declarations with those of the last start; where they differ, the group is set back to the beginning of the
    /// history. To be called before the engine starts. On a log that is `shared` an instance that starts for the first time takes over what
    /// the others declared: its state comes from their changelogs.
    pub fn prepare(
        file: &Path,
        set: &FeatureSet,
        group: &str,
        admin: &dyn Admin,
        shared: bool,
    ) -> Result<Self, RebuildError> {
        let failed = |source| RebuildError::File { path: file.to_owned(), source };
        let first_start = !file.exists();
        let known: Option<Self> = match std::fs::read(file) {
            // A damaged file only means that the state is computed again.
            Ok(bytes) => serde_json::from_slice(&bytes).ok(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let known = known.filter(|known| known.definitions == set.definitions());
        if let Some(known) = known.as_ref().filter(|known| known.done) {
            return Ok(known.clone());
        }
        let write = |rebuild: &Self| {
            let json = serde_json::to_vec(rebuild).map_err(|error| failed(error.into()))?;
            write_whole(file, &json).map_err(failed)
        };
        if first_start && shared {
            let others = Self {
                definitions: set.definitions().to_owned(),
                scored_before: BTreeMap::new(),
                done: true,
            };
            write(&others)?;
            return Ok(others);
        }
        let mut rebuild = match known {
            Some(interrupted) => interrupted,
            None => {
                let mut scored_before = BTreeMap::new();
                for (at, offset) in &admin.describe_group(group)?.committed {
                    if &*at.topic == topics::CUSTOMER_HISTORY {
                        scored_before.insert(at.partition, *offset);
                    }
                }
                let fresh = Self { definitions: set.definitions().to_owned(), scored_before, done: false };
                // The positions must be known before they are set back, and that it was done after it was.
                write(&fresh)?;
                fresh
            }
        };
        let ends = admin.offsets(topics::CUSTOMER_HISTORY)?;
        let back: Vec<(TopicPartition, i64)> = rebuild
            .scored_before
            .keys()
            .map(|partition| {
                let earliest = ends.get(*partition as usize).map_or(0, |ends| ends.earliest);
                (TopicPartition::new(topics::CUSTOMER_HISTORY, *partition), earliest)
            })
            .collect();
        if !back.is_empty() {
            tracing::info!(
                definitions = set.definitions(),
                "features were declared anew: they are computed over the whole history"
            );
            admin.alter_offsets(group, &back)?;
        }
        rebuild.done = true;
        write(&rebuild)?;
        Ok(rebuild)
    }
}
