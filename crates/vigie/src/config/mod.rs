//! One configuration: a TOML file, overridden by the environment, overridden by the command line.
//!
//! Every threshold, rate and interval of the application has its default here, in the section of the part that uses it.
//! A key that nobody knows is an error that suggests the nearest one; nothing is ignored in silence.

mod features;
mod load;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use features::{FeatureConfig, Measure};
pub use load::{ConfigError, load};

/// All settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The data folder: log, stores, model, archive. Empty: `$XDG_DATA_HOME/vigie`.
    pub data: Option<PathBuf>,
    /// What this instance does; on Kafka the work may be spread over instances.
    pub roles: BTreeSet<Role>,
    /// Where the log is.
    pub log: LogConfig,
    /// HTTP.
    pub server: ServerConfig,
    /// The stream engine.
    pub engine: EngineConfig,
    /// Page views.
    pub pages: PagesConfig,
    /// Shop events.
    pub shop: ShopConfig,
    /// Churn scoring.
    pub churn: ChurnConfig,
    /// Proposals of account managers.
    pub assignment: AssignmentConfig,
    /// The raw archive.
    pub archive: ArchiveConfig,
    /// Sources of records.
    pub sources: SourcesConfig,
    /// Aggregates of events that are features of a customer, beside the columns of the record.
    pub features: Vec<FeatureConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: None,
            roles: Role::ALL.into(),
            log: LogConfig::default(),
            server: ServerConfig::default(),
            engine: EngineConfig::default(),
            pages: PagesConfig::default(),
            shop: ShopConfig::default(),
            churn: ChurnConfig::default(),
            assignment: AssignmentConfig::default(),
            archive: ArchiveConfig::default(),
            sources: SourcesConfig::default(),
            features: features::defaults(),
        }
    }
}

/// A part of the work of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sends records: files, the users service, the demo's generators.
    Source,
    /// Runs its share of the pipelines.
    Process,
    /// Writes results to the stores and the archive.
    Sink,
    /// Screens and API, proposals of account managers. It keeps its own copy of the results, so it writes its store as well.
    Serve,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Source, Self::Process, Self::Sink, Self::Serve];
}

/// Where the log is and how its topics are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `embedded`, or `kafka://host:9092,host2:9092`.
    pub url: String,
    /// Partitions of each topic that Vigie creates.
    pub partitions: u32,
    /// `commit`: acknowledged means on disk. `interval`: fsync once a second, faster, may lose the last second on power loss.
    pub durability: Durability,
    /// How long records are kept, days; -1 without limit.
    pub retention_days: i64,
    /// How instances share the work on Kafka: `streams` (KIP-1071), `consumer` (KIP-848), `classic`, or `auto`: the first that the broker offers.
    pub membership: String,
    /// Copies of each topic that Vigie creates on Kafka. Empty: the broker's default.
    pub replication_factor: Option<u16>,
    /// Login and encryption on Kafka.
    pub security: SecurityConfig,
    /// Settings of the Kafka client by its own names (librdkafka's), stronger than ours.
    pub settings: BTreeMap<String, String>,
}

impl LogConfig {
    /// Whether the log lives in this process.
    pub fn is_embedded(&self) -> bool {
        self.url == "embedded"
    }
}

/// Login and encryption on Kafka. A secret is in a file or in an environment variable, whose name stands here.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecurityConfig {
    /// Encrypts, trusting the system's authorities. Naming an authority or a certificate switches it on too.
    pub tls: bool,
    /// Authorities that may have signed the broker's certificate (PEM).
    pub tls_ca: Option<PathBuf>,
    /// This client's certificate (PEM).
    pub tls_certificate: Option<PathBuf>,
    /// The key of that certificate (PEM).
    pub tls_key: Option<PathBuf>,
    /// A file whose first line is the password of that key.
    pub tls_key_password_file: Option<PathBuf>,
    /// The environment variable that holds it.
    pub tls_key_password_env: Option<String>,
    /// Accepts a certificate made out to another host: for tunnels only.
    pub tls_any_host: bool,
    /// `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512` or `OAUTHBEARER`.
    pub sasl_mechanism: Option<String>,
    /// The user.
    pub sasl_user: Option<String>,
    /// A file whose first line is the password, or the token.
    pub sasl_password_file: Option<PathBuf>,
    /// The environment variable that holds it.
    pub sasl_password_env: Option<String>,
}

/// When the embedded log calls fsync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Before each acknowledgement.
    Commit,
    /// Once a second.
    Interval,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            url: String::from("embedded"),
            partitions: 2,
            durability: Durability::Commit,
            retention_days: 30,
            membership: String::from("auto"),
            replication_factor: None,
            security: SecurityConfig::default(),
            settings: BTreeMap::new(),
        }
    }
}

/// HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Address to listen on. Anything but loopback exposes personal data to that network.
    pub host: String,
    /// Port; 0 takes a free one.
    pub port: u16,
    /// Further names under which browsers may reach it (Host header), for a reverse proxy.
    pub allowed_hosts: Vec<String>,
    /// `host:port` where other instances reach this one to ask for the state that it owns. Empty: where it listens.
    pub advertised: Option<String>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self { host: String::from("127.0.0.1"), port: 8080, allowed_hosts: Vec::new(), advertised: None }
    }
}

/// The stream engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// Kafka Streams' `application.id`: prefix of groups, internal topics and state.
    pub application_id: String,
    /// Stream threads.
    pub threads: usize,
    /// Kafka Streams' `commit.interval.ms`.
    pub commit_interval_ms: u64,
    /// Kafka Streams' `num.standby.replicas`: copies of the state kept ready in other instances.
    pub standby_replicas: u32,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            application_id: String::from("vigie"),
            threads: 1,
            commit_interval_ms: 100,
            standby_replicas: 0,
        }
    }
}

impl EngineConfig {
    /// The commit interval.
    pub fn commit_interval(&self) -> Duration {
        Duration::from_millis(self.commit_interval_ms)
    }
}

/// Page views (R1 to R4).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PagesConfig {
    /// Size of the tumbling window, ms.
    pub window_ms: u64,
    /// Views of at most this duration are not counted, ms.
    pub min_duration_ms: i64,
    /// How long a window accepts late views, ms.
    pub grace_ms: u64,
}

impl Default for PagesConfig {
    fn default() -> Self {
        Self { window_ms: 5_000, min_duration_ms: 100, grace_ms: 30_000 }
    }
}

/// Shop events: alert rules and session patterns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShopConfig {
    /// A purchase above this raises an alert, EUR.
    pub large_purchase_eur: f64,
    /// So many logins of one user ...
    pub logins: usize,
    /// ... within so many seconds of event time raise an alert.
    pub logins_window_s: u64,
    /// So many searches in one session make a CHERCHEUR_INTENSIF.
    pub intensive_searches: u32,
    /// A session ends after so many seconds of event time without an event (or with a `deconnexion`).
    pub session_gap_s: u64,
    /// Whether group `groupe-consommateur-1` prints each event, and every ten events the statistics.
    pub print_events: bool,
}

impl Default for ShopConfig {
    fn default() -> Self {
        Self {
            large_purchase_eur: 500.0,
            logins: 3,
            logins_window_s: 60,
            intensive_searches: 5,
            session_gap_s: 1800,
            print_events: false,
        }
    }
}

/// Churn scoring.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChurnConfig {
    /// The labelled table to train from at first start. Empty: the 900 customers that come with the program.
    pub training_csv: Option<PathBuf>,
    /// Columns that the model uses.
    pub columns: Vec<String>,
    /// Dates of the training table count as ages at this day.
    pub as_of: String,
    /// Seed of folds and bootstraps.
    pub seed: u64,
    /// Probability from which on a customer counts as at risk.
    pub threshold: f64,
    /// How long the history that features are made of is kept, days; -1 without limit.
    pub history_days: i64,
    /// An outcome is compared with the newest score at least so many days before it: later ones may know too much.
    pub lead_days: u32,
    /// A challenger is promoted only after so many customers were scored by both models, unless somebody insists.
    pub shadow_customers: u64,
}

impl Default for ChurnConfig {
    fn default() -> Self {
        Self {
            training_csv: None,
            columns: ["Age", "Total_Purchase", "Account_Manager", "Years", "Num_Sites"]
                .map(String::from)
                .to_vec(),
            as_of: String::from("2017-01-01"),
            seed: 42,
            threshold: 0.5,
            history_days: 400,
            lead_days: 30,
            shadow_customers: 200,
        }
    }
}

/// Which customers need which skill of a manager.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NeedRule {
    /// The skill.
    pub skill: String,
    /// The feature that decides; the model must read it.
    pub feature: String,
    /// Customers of at least this value need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// Customers of at most this value need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
}

/// Proposals of account managers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AssignmentConfig {
    /// A JSON file with an array of managers (`id`, `name`, `capacity`, `locations`, `skills`, `customers`). Empty: five example managers.
    pub managers: Option<PathBuf>,
    /// Share of eligible customers that is held out at random, 0 to 1.
    pub holdout_rate: f64,
    /// Assumed share of churn that a manager prevents, as long as no effect has been measured. Shown as an assumption.
    pub assumed_effect: f64,
    /// Cost of one assignment, in the currency of `Total_Purchase`.
    pub cost: f64,
    /// Customers below this probability are not proposed.
    pub min_probability: f64,
    /// Proposals are computed anew at most every so many seconds.
    pub every_s: u64,
    /// Which customers need which skill.
    pub needs: Vec<NeedRule>,
}

impl Default for AssignmentConfig {
    fn default() -> Self {
        Self {
            managers: None,
            holdout_rate: 0.2,
            assumed_effect: 0.2,
            cost: 50.0,
            min_probability: 0.3,
            every_s: 5,
            needs: vec![NeedRule {
                skill: String::from("large accounts"),
                feature: String::from("Num_Sites"),
                at_least: Some(12.0),
                at_most: None,
            }],
        }
    }
}

/// The raw archive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ArchiveConfig {
    /// Whether shop events are archived.
    pub enabled: bool,
    /// A file is published at this size at the latest, bytes.
    pub roll_bytes: u64,
    /// A file is published after this time at the latest, seconds.
    pub roll_s: u64,
}

impl Default for ArchiveConfig {
    fn default() -> Self {
        Self { enabled: true, roll_bytes: 64 << 20, roll_s: 60 }
    }
}

/// Sources of records. A rate of 0 switches a source off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourcesConfig {
    /// Seed of every generator.
    pub seed: u64,
    /// A CSV file whose rows are sent to `costumerchurn`. Empty: none.
    pub csv: Option<PathBuf>,
    /// Rows a second.
    pub csv_rate: f64,
    /// The agency scenario: events a second of wall time.
    pub agency_rate: f64,
    /// How much faster than the wall clock the scenario's time runs.
    pub speed: f64,
    /// Page views a second on `R2`.
    pub page_rate: f64,
    /// Shop events of user1 to user5: a pause is drawn between 0.5 and 2 s and divided by this. 0 switches it off.
    pub shop_speed: f64,
    /// The users' service. Empty: the recorded answer, served by a local replay server.
    pub users_url: Option<String>,
    /// Whether the users' service is asked at all.
    pub users: bool,
    /// Seconds between two requests.
    pub users_interval_s: u64,
    /// Seconds to wait after a failure.
    pub users_retry_s: u64,
}

impl Default for SourcesConfig {
    fn default() -> Self {
        Self {
            seed: 7,
            csv: None,
            csv_rate: 1.0,
            agency_rate: 20.0,
            speed: 43_200.0,
            page_rate: 10.0,
            shop_speed: 1.0,
            users_url: None,
            users: true,
            users_interval_s: 10,
            users_retry_s: 60,
        }
    }
}
