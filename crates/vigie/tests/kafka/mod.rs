//! Several instances of the running program on a real Kafka, which `dev/kafka.sh` starts for the test and which ends with it.
//!
//! Without a Java the tests say so and do nothing; with `CI=true` that is a failure.

mod chaos;
mod decisions;
mod operations;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use vigie_log_kafka::{KafkaConfig, KafkaLog};

/// A cluster of one test. Its nodes end when this process does, at the latest.
pub(crate) struct Cluster {
    facts: BTreeMap<String, String>,
    /// One at a time: several brokers, each with several instances, are more than a small machine carries.
    _alone: MutexGuard<'static, ()>,
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dev/kafka.sh")
}

fn has_java() -> bool {
    let home = std::env::var("JAVA_HOME").map(|home| format!("{home}/bin/java"));
    let mut java = Command::new(home.as_deref().unwrap_or("java"));
    let found = java.arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return true;
    }
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "there is no java, and CI must not do without");
    println!("skipped: there is no java to run Kafka with; install a JDK, version 17 or newer");
    false
}

impl Cluster {
    /// Starts one; `None` where there is no Java.
    pub(crate) fn start(options: &[&str]) -> Option<Self> {
        if !has_java() {
            return None;
        }
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        // Kept, because the script's watch removes it when this process has ended.
        let dir = tempfile::Builder::new().prefix("vigie-kafka-").tempdir().unwrap().keep();
        let owner = std::process::id().to_string();
        let output = Command::new(script())
            .args(["start", "--quick", "--heap", "384m", "--owner", &owner, "--dir"])
            .arg(&dir)
            .args(options)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "dev/kafka.sh start failed; what it said is above");
        let text = String::from_utf8(output.stdout).unwrap();
        let facts = text.lines().filter_map(|line| line.split_once('='));
        let facts = facts.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Some(Self { facts, _alone: alone })
    }

    pub(crate) fn bootstrap(&self) -> &str {
        &self.facts["bootstrap"]
    }

    pub(crate) fn url(&self) -> String {
        format!("kafka://{}", self.bootstrap())
    }

    pub(crate) fn log(&self) -> KafkaLog {
        let mut config = KafkaConfig::from_url(&self.url()).unwrap();
        // What a test writes is to survive brokers that are away for a while.
        config.transaction_timeout = std::time::Duration::from_secs(60);
        KafkaLog::open(config).unwrap()
    }

    /// For a thread that kills nodes and brings them back.
    pub(crate) fn nodes(&self) -> Nodes {
        Nodes { dir: self.facts["dir"].clone() }
    }
}

/// The nodes of a cluster.
pub(crate) struct Nodes {
    dir: String,
}

impl Nodes {
    /// `kill N`, `resume N`, `tool ...`.
    pub(crate) fn run(&self, command: &[&str]) {
        let output = Command::new(script())
            .arg(command[0])
            .args(["--dir", &self.dir, "--"])
            .args(&command[1..])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "dev/kafka.sh {command:?}: {errors}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let stop = Command::new(script()).args(["stop", "--dir", &self.facts["dir"]]).output();
        if stop.is_ok_and(|stop| stop.status.success()) {
            // What cannot be removed is removed by the script's watch.
            let _ = std::fs::remove_dir_all(&self.facts["dir"]);
        }
    }
}
