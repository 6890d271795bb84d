//! When the declarations change: the new features are computed over the whole history before anybody is scored with them.
//!
//! The state of other declarations has a store of its own (its name carries their fingerprint), and the history is read again from
//! its beginning. What was scored before is not scored again: up to the positions that had been reached, the history only fills the
//! state. Those positions are kept in `features.json`, on a log that several instances share on the topic `feature-definitions`, so that a
//! rebuild that is interrupted goes on.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use vigie_domain::topics;
use vigie_log::{Admin, LogError, Message, TopicPartition};

use super::FeatureSet;
use crate::decisions::{self, Decisions};
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
    /// Other instances are at work, with other declarations.
    #[error(
        "the instances that run now (group `{group}`) compute other features than are declared here{difference}; their state and scores would not agree. Give all instances the same [[features]]: either take over theirs, or stop all of them and start them with the new ones. An instance that ended without a goodbye counts as running for up to a minute"
    )]
    Others {
        /// The group.
        group: String,
        /// Which features only one side has, in words.
        difference: String,
    },
    /// What the log says about features is not what this version can read.
    #[error(
        "topic `feature-definitions`: {0}; it was written by another version of the program. Start the version that wrote it"
    )]
    Unreadable(serde_json::Error),
}

/// What all instances of a cluster compute features from, on the topic `feature-definitions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Definitions {
    // Not flattened: serde would then want the numbers of partitions as numbers, which JSON's keys are not.
    rebuild: Rebuild,
    /// The names, to say what differs.
    names: Vec<String>,
}

const KEY: &str = "definitions";

impl Rebuild {
    /// Whether what stands at this place of the history was scored before.
    pub fn was_scored(&self, partition: u32, offset: i64) -> bool {
        self.scored_before.get(&partition).is_some_and(|until| offset < *until)
    }

    /// Compares the declarations with those of the last start; where they differ, the group is set back to the beginning of the
    /// history. To be called before the engine starts.
    pub fn prepare(
        file: &Path,
        set: &FeatureSet,
        group: &str,
        admin: &dyn Admin,
    ) -> Result<Self, RebuildError> {
        let failed = |source| RebuildError::File { path: file.to_owned(), source };
        let known = read(file)?.filter(|known| known.definitions == set.definitions());
        let write = |rebuild: &Self| {
            let json = serde_json::to_vec(rebuild).map_err(|error| failed(error.into()))?;
            write_whole(file, &json).map_err(failed)
        };
        let mut rebuild = match known {
            Some(known) => known,
            None => {
                let fresh = Self::fresh(set, group, admin)?;
                // The positions must be known before they are set back, and that it was done after it was.
                write(&fresh)?;
                fresh
            }
        };
        if !rebuild.done {
            rebuild.set_back(set, group, admin)?;
            write(&rebuild)?;
        }
        Ok(rebuild)
    }

    /// The same on a log that several instances share, where the topic `feature-definitions` says what was declared at their last start. The
    /// first of them with new declarations sets the group back; where others are at work with other ones, it refuses. `file` is what an
    /// instance knew before there was that topic.
    pub fn prepare_shared(
        decisions: &Decisions,
        file: &Path,
        set: &FeatureSet,
        group: &str,
    ) -> Result<Self, RebuildError> {
        let admin = decisions.log().admin();
        let names: Vec<String> = set.names().map(str::to_owned).collect();
        let message = |rebuild: &Self| {
            let definitions = Definitions { rebuild: rebuild.clone(), names: names.clone() };
            let json = serde_json::to_vec(&definitions).map_err(RebuildError::Unreadable)?;
            Ok::<_, RebuildError>(vec![Message::new(topics::FEATURE_DEFINITIONS, json).with_key(KEY)])
        };
        let mut rebuild = decisions.decide(|| {
            let told = decisions::standing(decisions.log(), topics::FEATURE_DEFINITIONS)?;
            let told: Option<Definitions> = told
                .values
                .get(KEY.as_bytes())
                .map(|(_, value)| serde_json::from_slice(value).map_err(RebuildError::Unreadable))
                .transpose()?;
            let before = match &told {
                Some(told) => Some(told.rebuild.clone()),
                None => read(file)?,
            };
            let rebuild = match before {
                Some(same) if same.definitions == set.definitions() => same,
                Some(_) => {
                    let fresh = Self::fresh(set, group, &*admin)?;
                    if at_work(group, &*admin)? {
                        let theirs = told.map(|told| told.names).unwrap_or_default();
                        let difference = difference(&names, &theirs);
                        return Err(RebuildError::Others { group: group.to_owned(), difference });
                    }
                    fresh
                }
                // Nobody was here before: what others have committed was computed from the same.
                None => Self {
                    definitions: set.definitions().to_owned(),
                    scored_before: BTreeMap::new(),
                    done: true,
                },
            };
            let known = told.is_some_and(|told| told.rebuild == rebuild);
            Ok((if known { Vec::new() } else { message(&rebuild)? }, rebuild))
        })?;
        if !rebuild.done {
            rebuild.set_back(set, group, &*admin)?;
            decisions.decide(|| Ok::<_, RebuildError>((message(&rebuild)?, ())))?;
        }
        Ok(rebuild)
    }

    /// Of new declarations: what the group has read is what was scored.
    fn fresh(set: &FeatureSet, group: &str, admin: &dyn Admin) -> Result<Self, RebuildError> {
        let mut scored_before = BTreeMap::new();
        for (at, offset) in &admin.describe_group(group)?.committed {
            if &*at.topic == topics::CUSTOMER_HISTORY {
                scored_before.insert(at.partition, *offset);
            }
        }
        Ok(Self { definitions: set.definitions().to_owned(), scored_before, done: false })
    }

    /// Sets the group back to the beginning of the history.
    fn set_back(&mut self, set: &FeatureSet, group: &str, admin: &dyn Admin) -> Result<(), RebuildError> {
        let ends = admin.offsets(topics::CUSTOMER_HISTORY)?;
        let back: Vec<(TopicPartition, i64)> = self
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
        self.done = true;
        Ok(())
    }
}

/// Whether the group has members. Not every log can list those of every kind of group, but each refuses to move a group that has some; so
/// it is asked to leave the group where it is.
fn at_work(group: &str, admin: &dyn Admin) -> Result<bool, LogError> {
    let described = admin.describe_group(group)?;
    if !described.members.is_empty() {
        return Ok(true);
    }
    if described.committed.is_empty() {
        return Ok(false);
    }
    match admin.alter_offsets(group, &described.committed) {
        Ok(()) => Ok(false),
        Err(error @ (LogError::Unreachable { .. } | LogError::NotAuthorised { .. })) => Err(error),
        Err(error) => {
            tracing::debug!(%error, group, "the group cannot be moved");
            Ok(true)
        }
    }
}

/// What an instance knew at its last start.
fn read(file: &Path) -> Result<Option<Rebuild>, RebuildError> {
    match std::fs::read(file) {
        // A damaged file only means that the state is computed again.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(RebuildError::File { path: file.to_owned(), source }),
    }
}

/// ` (only here: a, b; only there: c)`; nothing where the names are the same.
fn difference(here: &[String], there: &[String]) -> String {
    let only = |these: &[String], those: &[String]| {
        these.iter().filter(|name| !those.contains(name)).cloned().collect::<Vec<_>>().join(", ")
    };
    let (mine, theirs) = (only(here, there), only(there, here));
    let said: Vec<String> = [("only here: ", mine), ("only there: ", theirs)]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("{what}{names}"))
        .collect();
    if said.is_empty() { String::new() } else { format!(" ({})", said.join("; ")) }
}
