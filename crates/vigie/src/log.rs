//! The log of a configuration: the embedded one of a data folder, or an Apache Kafka cluster.
//!
//! The only place of the application that knows which one it is; everything else works with `Arc<dyn Log>`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use vigie_log::{Clock, Log, LogError};
use vigie_log_embedded::{Durability, EmbeddedConfig, EmbeddedLog};
use vigie_log_kafka::{KafkaConfig, KafkaLog, Sasl, ScramHash, Secret, Security, Tls};

use crate::config::{self, LogConfig, SecurityConfig};

/// An open log. Cheap to clone.
#[derive(Clone)]
pub enum AnyLog {
    /// In this process, in the data folder.
    Embedded(Arc<EmbeddedLog>),
    /// Somebody's cluster, shared with other instances.
    Kafka(Arc<KafkaLog>),
}

impl AnyLog {
    /// As the rest of the application sees it.
    pub fn shared(&self) -> Arc<dyn Log> {
        match self {
            Self::Embedded(log) => Arc::clone(log) as Arc<dyn Log>,
            Self::Kafka(log) => Arc::clone(log) as Arc<dyn Log>,
        }
    }

    /// Whether other instances may work on the same log.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Kafka(_))
    }

    /// For screens: `embedded: FOLDER` or `kafka://HOST:PORT`.
    pub fn described(&self) -> String {
        match self {
            Self::Embedded(log) => format!("embedded: {}", log.address()),
            Self::Kafka(log) => log.address(),
        }
    }

    /// Makes durable what is buffered and lets go of the files.
    pub fn close(&self) -> Result<(), LogError> {
        match self {
            Self::Embedded(log) => log.close(),
            Self::Kafka(_) => Ok(()),
        }
    }
}

/// What only the embedded log asks for.
pub struct EmbeddedOptions {
    /// Memory of its block cache; `None`: its own default.
    pub cache_bytes: Option<u64>,
    /// Whether retention and compaction run in the background.
    pub maintenance: bool,
}

/// Opens the log that the configuration names.
pub fn open(
    data: &Path,
    config: &LogConfig,
    clock: &Arc<dyn Clock>,
    options: &EmbeddedOptions,
) -> Result<AnyLog, LogError> {
    if config.is_embedded() {
        let mut embedded = EmbeddedConfig::new(Arc::clone(clock));
        if let Some(bytes) = options.cache_bytes {
            embedded.cache_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        }
        if !options.maintenance {
            embedded.maintenance_interval = None;
        }
        embedded.durability = match config.durability {
            config::Durability::Commit => Durability::Commit,
            config::Durability::Interval => Durability::Interval(Duration::from_secs(1)),
        };
        return EmbeddedLog::open(data.join("log"), embedded).map(AnyLog::Embedded);
    }
    KafkaLog::open(kafka(config)?).map(|log| AnyLog::Kafka(Arc::new(log)))
}

/// The Kafka client's settings. Reads no secret: only where each of them is.
pub fn kafka(config: &LogConfig) -> Result<KafkaConfig, LogError> {
    let mut kafka = KafkaConfig::from_url(&config.url)?;
    kafka.membership = config.membership.parse()?;
    kafka.replication_factor = config.replication_factor;
    kafka.settings.clone_from(&config.settings);
    kafka.security = security(&config.security)?;
    // An instance that died leaves its transaction open for so long, and everybody behind it waits. It lasts for about a commit interval.
    kafka.transaction_timeout = Duration::from_secs(15);
    Ok(kafka)
}

fn security(config: &SecurityConfig) -> Result<Security, LogError> {
    let wrong = |reason: String| LogError::other(String::from("log.security"), reason);
    let secret =
        |name: &str, file: &Option<std::path::PathBuf>, variable: &Option<String>| match (file, variable) {
            (Some(_), Some(_)) => {
                Err(wrong(format!("{name}_file and {name}_env are both set; one of them is enough")))
            }
            (Some(file), None) => Ok(Some(Secret::File(file.clone()))),
            (None, Some(variable)) => Ok(Some(Secret::Env(variable.clone()))),
            (None, None) => Ok(None),
        };
    let key_password =
        secret("tls_key_password", &config.tls_key_password_file, &config.tls_key_password_env)?;
    let tls_named = config.tls_ca.is_some() || config.tls_certificate.is_some() || config.tls_key.is_some();
    let tls = (config.tls || tls_named).then(|| Tls {
        ca: config.tls_ca.clone(),
        certificate: config.tls_certificate.clone(),
        key: config.tls_key.clone(),
        key_password,
        any_host: config.tls_any_host,
    });
    let password = secret("sasl_password", &config.sasl_password_file, &config.sasl_password_env)?;
    let need = |what: &str| {
        wrong(format!(
            "sasl_mechanism = \"{}\" needs {what}",
            config.sasl_mechanism.as_deref().unwrap_or_default()
        ))
    };
    let login = || -> Result<(String, Secret), LogError> {
        let user = config.sasl_user.clone().ok_or_else(|| need("sasl_user"))?;
        let password = password.clone().ok_or_else(|| need("sasl_password_file or sasl_password_env"))?;
        Ok((user, password))
    };
    let scram = |hash| login().map(|(user, password)| Sasl::Scram { hash, user, password });
    let sasl = match config.sasl_mechanism.as_deref() {
        None if config.sasl_user.is_some() || password.is_some() => {
            return Err(wrong(String::from("a user or password is given, but no sasl_mechanism")));
        }
        None => None,
        Some("PLAIN") => Some(login().map(|(user, password)| Sasl::Plain { user, password })?),
        Some("SCRAM-SHA-256") => Some(scram(ScramHash::Sha256)?),
        Some("SCRAM-SHA-512") => Some(scram(ScramHash::Sha512)?),
        Some("OAUTHBEARER") => {
            let token = password
                .clone()
                .ok_or_else(|| need("its token in sasl_password_file or sasl_password_env"))?;
            Some(Sasl::OauthBearer { token })
        }
        Some(other) => {
            return Err(wrong(format!(
                "sasl_mechanism = \"{other}\" is not known; it may be PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER"
            )));
        }
    };
    Ok(Security { tls, sasl })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<KafkaConfig, String> {
        let log: LogConfig = toml::from_str(text).unwrap();
        kafka(&log).map_err(|error| error.to_string())
    }

    #[test]
    fn a_cluster_is_described_by_url_and_security() {
        let config = read(
            "url = \"kafka://a:1,b\"\nmembership = \"classic\"\nreplication_factor = 3\nsettings = { \"linger.ms\" = \"7\" }\n\
             [security]\ntls_ca = \"ca.pem\"\nsasl_mechanism = \"SCRAM-SHA-512\"\nsasl_user = \"u\"\nsasl_password_env = \"P\"",
        )
        .unwrap();
        assert_eq!(config.bootstrap, ["a:1", "b:9092"]);
        assert_eq!(config.replication_factor, Some(3));
        assert_eq!(config.settings.get("linger.ms").map(String::as_str), Some("7"));
        assert_eq!(config.security.protocol(), "SASL_SSL");
        let expect =
            Sasl::Scram { hash: ScramHash::Sha512, user: "u".into(), password: Secret::Env("P".into()) };
        assert_eq!(config.security.sasl, Some(expect));
        assert_eq!(read("url = \"kafka://a\"").unwrap().security.protocol(), "PLAINTEXT");
    }

    #[test]
    fn half_of_a_login_is_refused_and_says_which_half() {
        let check = |security: &str, expect: &str| {
            let message = read(&format!("url = \"kafka://a\"\n[security]\n{security}")).unwrap_err();
            assert!(message.contains(expect), "{security}: {message}");
        };
        check("sasl_user = \"u\"", "no sasl_mechanism");
        check("sasl_mechanism = \"PLAIN\"", "needs sasl_user");
        check("sasl_mechanism = \"PLAIN\"\nsasl_user = \"u\"", "sasl_password_file or sasl_password_env");
        check("sasl_mechanism = \"KERBEROS\"", "is not known");
        check(
            "sasl_mechanism = \"PLAIN\"\nsasl_user = \"u\"\nsasl_password_file = \"f\"\nsasl_password_env = \"E\"",
            "both set",
        );
    }
}
