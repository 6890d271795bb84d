//! A real Kafka for the tests: started once for the whole binary by `dev/kafka.sh`, and ended by it when this process ends.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use vigie_log_kafka::{KafkaConfig, KafkaLog};

/// What `dev/kafka.sh start` printed.
#[derive(Debug, Clone)]
pub struct Cluster {
    facts: BTreeMap<String, String>,
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dev/kafka.sh")
}

impl Cluster {
    fn start(options: &[&str]) -> Self {
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
        Self { facts: facts.map(|(name, value)| (name.to_owned(), value.to_owned())).collect() }
    }

    pub fn fact(&self, name: &str) -> &str {
        &self.facts[name]
    }

    pub fn config(&self) -> KafkaConfig {
        let mut config = KafkaConfig::from_url(&format!("kafka://{}", self.fact("bootstrap"))).unwrap();
        // Only ends a hang: the first answers take long where everything is being compiled beside.
        config.start_timeout = std::time::Duration::from_secs(120);
        config
    }

    pub fn log(&self) -> KafkaLog {
        KafkaLog::open(self.config()).unwrap()
    }

    /// `kill N`, `resume N`, `pause N`, `unpause N`, `tool ...`: what it printed.
    pub fn run(&self, command: &[&str]) -> String {
        let output = Command::new(script())
            .arg(command[0])
            .args(["--dir", self.fact("dir"), "--"])
            .args(&command[1..])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "dev/kafka.sh {command:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Whether there is a Java to run Kafka with. With `CI=true` its absence is a failure.
fn has_java() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let runs = |program: &str| {
            let found =
                Command::new(program).arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            found.is_ok_and(|status| status.success())
        };
        let home = std::env::var("JAVA_HOME").map(|home| format!("{home}/bin/java"));
        let found = runs(home.as_deref().unwrap_or("java"));
        if !found {
            assert_ne!(
                std::env::var("CI").as_deref(),
                Ok("true"),
                "there is no java, and CI must not do without"
            );
            println!("skipped: there is no java to run Kafka with; install a JDK, version 17 or newer");
        }
        found
    })
}

fn shared(place: &'static Mutex<Option<Cluster>>, options: &[&str]) -> Option<Cluster> {
    if !has_java() {
        return None;
    }
    let mut place = place.lock().unwrap();
    Some(place.get_or_insert_with(|| Cluster::start(options)).clone())
}

/// One node, shared by all tests: each uses names of its own.
pub fn one_node() -> Option<Cluster> {
    static ONE: Mutex<Option<Cluster>> = Mutex::new(None);
    shared(&ONE, &[])
}

/// Three nodes.
pub fn three_nodes() -> Option<Cluster> {
    static THREE: Mutex<Option<Cluster>> = Mutex::new(None);
    shared(&THREE, &["--nodes", "3"])
}

/// One node with logins, certificates and access rules.
pub fn secured() -> Option<Cluster> {
    static SECURED: Mutex<Option<Cluster>> = Mutex::new(None);
    shared(&SECURED, &["--sasl"])
}

/// One node that the caller may stop.
pub fn own_node() -> Option<Cluster> {
    has_java().then(|| Cluster::start(&[]))
}

/// One node with options of its own.
pub fn node_with(options: &[&str]) -> Option<Cluster> {
    has_java().then(|| Cluster::start(options))
}

/// A name that no other test has.
pub fn unique(base: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{base}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
