//! The scenario's state file: JSON, replaced atomically (written beside, synced, renamed).
//!
//! It holds no personal data: customers are known by their place in the list that they come from.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vigie_domain::CustomerId;
use vigie_log::Timestamp;
use xxhash_rust::xxh3::Xxh3;

use super::person::Person;

const VERSION: u32 = 1;

/// Why the scenario cannot start or keep its state.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgencyError {
    /// A scenario needs somebody.
    #[error("the agency scenario has no customers; give it a file with at least one row")]
    NoCustomers,
    /// The state file cannot be read or written.
    #[error("the scenario's state {}: {doing}: {source}; check the folder's permissions and the free space", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The state file is damaged.
    #[error("the scenario's state {} is damaged: {reason}; delete it, and the scenario begins anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    seed: u64,
    /// Of the customers' ids.
    customers: String,
    /// Identity of this run: seed, customers and start.
    pub(super) run: String,
    /// The scenario's time at its beginning, ms since the epoch.
    pub(super) start: Timestamp,
    /// The scenario's time so far.
    pub(super) time: Timestamp,
    /// Number of the newest record.
    pub(super) sequence: u64,
    /// How many customers have been introduced.
    pub(super) introduced: usize,
    pub(super) people: Vec<Person>,
}

fn fingerprint(seed: u64, ids: &[CustomerId]) -> u64 {
    let mut hash = Xxh3::with_seed(seed);
    for id in ids {
        hash.update(id.as_str().as_bytes());
        hash.update(&[0x1f]);
    }
    hash.digest()
}

impl State {
    pub(super) fn new(seed: u64, ids: &[CustomerId], start: Timestamp, people: Vec<Person>) -> Self {
        let customers = fingerprint(seed, ids);
        let run = format!("{:08x}", (customers ^ (start as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)) >> 32);
        let customers = format!("{customers:016x}");
        Self {
            version: VERSION,
            seed,
            customers,
            run,
            start,
            time: start,
            sequence: 0,
            introduced: 0,
            people,
        }
    }

    /// `None` when there is no state of this seed and these customers; another one's is set aside.
    pub(super) fn load(path: &Path, seed: u64, ids: &[CustomerId]) -> Result<Option<Self>, AgencyError> {
        let failed = |doing| move |source| AgencyError::Io { path: path.to_owned(), doing, source };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("cannot be read")(error)),
        };
        let damaged = |reason: String| AgencyError::Damaged { path: path.to_owned(), reason };
        let state: Self =
            serde_json::from_reader(BufReader::new(file)).map_err(|error| damaged(error.to_string()))?;
        if state.version > VERSION {
            return Err(damaged(format!("it was written by a newer version (format {})", state.version)));
        }
        if state.seed != seed || state.customers != format!("{:016x}", fingerprint(seed, ids)) {
            tracing::warn!(path = %path.display(), "the scenario's state is of another seed or other customers; it is set aside");
            std::fs::rename(path, path.with_extension("old")).map_err(failed("cannot be set aside"))?;
            return Ok(None);
        }
        if state.people.len() != ids.len() || state.introduced > ids.len() {
            return Err(damaged(format!("{} customers in place of {}", state.people.len(), ids.len())));
        }
        Ok(Some(state))
    }

    pub(super) fn save(&self, path: &Path) -> Result<(), AgencyError> {
        let failed = |doing| move |source| AgencyError::Io { path: path.to_owned(), doing, source };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed("its folder cannot be made"))?;
        }
        let beside = path.with_extension("new");
        let write = || -> std::io::Result<()> {
            let mut writer = BufWriter::new(File::create(&beside)?);
            serde_json::to_writer(&mut writer, self)?;
            writer.flush()?;
            writer.into_inner().map_err(|error| error.into_error())?.sync_all()
        };
        write().map_err(failed("cannot be written"))?;
        std::fs::rename(&beside, path).map_err(failed("cannot be replaced"))
    }
}
