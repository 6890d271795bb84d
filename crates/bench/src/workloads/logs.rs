//! Which log a workload runs on.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use vigie_log::Log;
use vigie_log_embedded::EmbeddedLog;
#[cfg(feature = "kafka")]
use vigie_log_kafka::{KafkaConfig, KafkaLog};

use super::log_append::{Promise, open_with};

/// The kinds of logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// In this process, in a folder.
    Embedded,
    /// A cluster.
    Kafka,
}

/// Where the log is.
#[derive(Debug, Clone, Args)]
pub struct LogOptions {
    /// The kind of log.
    #[arg(long, value_enum, default_value_t = Kind::Embedded)]
    pub log: Kind,
    /// Host and port of a Kafka broker; for `--log kafka`.
    #[arg(long)]
    pub bootstrap: Option<String>,
    /// A setting of librdkafka, `NAME=VALUE`, for this run; may be given several times. For `--log kafka`.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub settings: Vec<String>,
    /// MiB of memory for the embedded log's caches and write buffers; its default when not given.
    #[arg(long)]
    pub log_cache_mb: Option<usize>,
    /// Folder of the embedded log and of the state, kept at the end; a new one, removed at the end, by default.
    #[arg(long)]
    pub data: Option<PathBuf>,
}

impl LogOptions {
    /// The name of the kind, for figures.
    pub fn name(&self) -> &'static str {
        match self.log {
            Kind::Embedded => "embedded",
            Kind::Kafka => "kafka",
        }
    }

    /// Kafka where an address is given: for workloads that make sense on a broker above all.
    #[must_use]
    pub fn by_address(mut self) -> Self {
        if self.bootstrap.is_some() {
            self.log = Kind::Kafka;
        }
        self
    }

    /// Opens the log; an embedded one in `folder`.
    pub fn open(&self, folder: &Path) -> Result<OpenLog> {
        match self.log {
            Kind::Embedded => {
                ensure!(self.bootstrap.is_none(), "--bootstrap needs --log kafka");
                Ok(OpenLog::Embedded(open_with(&folder.join("log"), Promise::Interval, self.log_cache_mb)?))
            }
            Kind::Kafka => {
                let bootstrap =
                    self.bootstrap.as_deref().context("--log kafka needs --bootstrap HOST:PORT")?;
                open_kafka(bootstrap, &self.settings)
            }
        }
    }
}

#[cfg(feature = "kafka")]
fn open_kafka(bootstrap: &str, settings: &[String]) -> Result<OpenLog> {
    let mut config = KafkaConfig::from_url(&format!("kafka://{bootstrap}"))?;
    for setting in settings {
        let (name, value) = setting.split_once('=').context("--set wants NAME=VALUE")?;
        config.settings.insert(name.to_owned(), value.to_owned());
    }
    Ok(OpenLog::Kafka(Arc::new(KafkaLog::open(config)?)))
}

#[cfg(not(feature = "kafka"))]
fn open_kafka(_: &str, _: &[String]) -> Result<OpenLog> {
    anyhow::bail!("this program was built without the feature `kafka`: build it with it")
}

/// A log that is open.
pub enum OpenLog {
    /// Closed when dropped.
    Embedded(Arc<EmbeddedLog>),
    /// A client of a cluster.
    #[cfg_attr(not(feature = "kafka"), expect(dead_code, reason = "made by the Kafka client only"))]
    Kafka(Arc<dyn Log>),
}

impl OpenLog {
    /// As any log.
    pub fn shared(&self) -> Arc<dyn Log> {
        match self {
            Self::Embedded(log) => Arc::clone(log) as Arc<dyn Log>,
            Self::Kafka(log) => Arc::clone(log),
        }
    }
}

/// Runs this program once more with other arguments, so that its memory is not that of the workload; its output is dropped.
pub fn in_another_process(arguments: &[String]) -> Result<()> {
    let program = std::env::current_exe().context("finding this program's own file")?;
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("starting this program once more")?;
    ensure!(status.success(), "preparing with {arguments:?} failed");
    Ok(())
}
