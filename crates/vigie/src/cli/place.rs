//! The data folder: where it is, its log, and the instance that may be using it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vigie_log::{Clock, Log, LogError, SystemClock};

use super::remote::Remote;
use super::{Exit, Failure, Global};
use crate::config::{self, Config};

/// The file in the data folder in which a running instance writes its address.
pub(super) const ADDRESS_FILE: &str = "vigie.addr";

/// The configuration of this command line.
pub(super) fn config(global: &Global) -> Result<Config, Failure> {
    Ok(config::load(global.config.as_deref(), std::env::vars())?)
}

/// The data folder: command line, then configuration and environment, then `$XDG_DATA_HOME/vigie` (the demo has its own).
pub(super) fn data(global: &Global, config: &Config, demo: bool) -> Result<PathBuf, Failure> {
    if let Some(data) = global.data.clone().or_else(|| config.data.clone()) {
        return Ok(data);
    }
    let home = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share")));
    let home = home.ok_or_else(|| {
        Failure::new(
            Exit::Usage,
            "neither XDG_DATA_HOME nor HOME is set; name the data folder with --data DIR",
        )
    })?;
    Ok(home.join(if demo { "vigie-demo" } else { "vigie" }))
}

/// The folder of the embedded log in a data folder.
pub(super) fn log_folder(data: &Path) -> PathBuf {
    data.join("log")
}

/// The model file in a data folder.
pub(super) fn model_file(data: &Path) -> PathBuf {
    data.join("model").join("churn.vigie")
}

/// The folder that a command which is not `demo` or `run` means: the usual one, or the demo's where only that one exists.
pub(super) fn existing_data(global: &Global, config: &Config) -> Result<PathBuf, Failure> {
    let data = self::data(global, config, false)?;
    let named = global.data.is_some() || config.data.is_some();
    if !named && !log_folder(&data).is_dir() {
        let demo = self::data(global, config, true)?;
        if log_folder(&demo).is_dir() {
            return Ok(demo);
        }
    }
    Ok(data)
}

/// A log to work with: opened here, or that of a running instance.
pub(super) enum Place {
    /// Opened by this process.
    Here(Arc<dyn Log>),
    /// Held by a running instance that can be asked.
    Running(Remote),
}

/// Opens the log of the data folder for this process alone. A folder without a log is an error unless `create`.
pub(super) fn open(data: &Path, config: &Config, create: bool) -> Result<Arc<dyn Log>, Failure> {
    match open_raw(data, config, create)? {
        Ok(log) => Ok(log),
        Err(error) => Err(locked(data, error)),
    }
}

/// Opens the log, or asks the instance that holds it.
pub(super) fn open_or_ask(data: &Path, config: &Config) -> Result<Place, Failure> {
    match open_raw(data, config, false)? {
        Ok(log) => Ok(Place::Here(log)),
        Err(error @ LogError::Locked { .. }) => match running(data) {
            Some(remote) => Ok(Place::Running(remote)),
            None => Err(locked(data, error)),
        },
        Err(error) => Err(error.into()),
    }
}

fn open_raw(data: &Path, config: &Config, create: bool) -> Result<Result<Arc<dyn Log>, LogError>, Failure> {
    let folder = log_folder(data);
    if !create && config.log.is_embedded() && !folder.is_dir() {
        return Err(Failure::new(
            Exit::Unavailable,
            format!(
                "there is no log in {}; start one with `vigie demo` or `vigie run`, make a topic with `vigie topics create`, or name another folder with --data",
                data.display()
            ),
        ));
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let options = crate::log::EmbeddedOptions { cache_bytes: None, maintenance: false };
    Ok(crate::log::open(data, &config.log, &clock, &options).map(|log| log.shared()))
}

/// The instance that says that it runs in this folder, if it answers.
pub(super) fn running(data: &Path) -> Option<Remote> {
    let address = std::fs::read_to_string(data.join(ADDRESS_FILE)).ok()?;
    let remote = Remote::new(address.trim());
    remote.is_alive().then_some(remote)
}

/// What to do when somebody else holds the log.
fn locked(data: &Path, error: LogError) -> Failure {
    let advice = match (&error, running(data)) {
        (LogError::Locked { .. }, Some(remote)) => format!(
            " (it is the vigie at {}; listing, describing and consuming work beside it, this command does not)",
            remote.address()
        ),
        _ => String::new(),
    };
    let failure = Failure::from(error);
    Failure::new(failure.exit, failure.message + &advice)
}
