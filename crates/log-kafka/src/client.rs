//! librdkafka's configuration for each kind of client, and why its values are what they are.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use vigie_log::{LogError, Result};

use crate::{KafkaConfig, Sasl, Secret};

/// Settings that would put a secret where configurations are printed.
const SECRETS: &[&str] = &[
    "sasl.password",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
    "sasl.oauthbearer.client.secret",
];
/// Settings without which the log's promises would not hold.
const OURS: &[&str] = &[
    "bootstrap.servers",
    "metadata.broker.list",
    "group.id",
    "transactional.id",
    "isolation.level",
    "enable.auto.commit",
    "enable.idempotence",
    "acks",
    "request.required.acks",
    "enable.partition.eof",
    "log.queue",
    "partition.assignment.strategy",
    "group.remote.assignor",
];

/// Which kind of client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Admin,
    Consumer,
    Producer,
}

impl KafkaConfig {
    /// Whatever is wrong with the settings, before anything is connected.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |name: &str, reason: &str| {
            Err(LogError::other(format!("the setting `{name}`"), reason.to_owned()))
        };
        if self.bootstrap.is_empty() {
            return wrong("bootstrap", "no broker is named; write kafka://host:9092");
        }
        for name in self.settings.keys() {
            let bare = ["consumer.", "producer.", "admin."].iter().find_map(|role| name.strip_prefix(role));
            let bare = bare.unwrap_or(name);
            if SECRETS.contains(&bare) {
                return wrong(
                    name,
                    "a secret does not belong in a configuration; name a file or an environment variable in the security settings",
                );
            }
            if OURS.contains(&bare) {
                return wrong(name, "it is set by the log itself, whose promises depend on it; remove it");
            }
        }
        Ok(())
    }

    /// The token's place, where the login is a token.
    pub(crate) fn token(&self) -> Option<&Secret> {
        match &self.security.sasl {
            Some(Sasl::OauthBearer { token }) => Some(token),
            _ => None,
        }
    }

    /// What every client of this role starts from.
    pub(crate) fn client(&self, role: Role) -> Result<ClientConfig> {
        let mut config = ClientConfig::new();
        let timeout = self.request_timeout.as_millis().clamp(1_000, 300_000).to_string();
        for (name, value) in [
            ("bootstrap.servers", self.bootstrap_servers().as_str()),
            ("client.id", &self.client_id),
            ("security.protocol", self.security.protocol()),
            // A broker that comes back is found within a second or two, not ten.
            ("reconnect.backoff.ms", "50"),
            ("reconnect.backoff.max.ms", "1000"),
            ("allow.auto.create.topics", "false"),
        ] {
            config.set(name, value);
        }
        match role {
            Role::Admin => {}
            Role::Consumer => {
                for (name, value) in [
                    ("isolation.level", "read_committed"),
                    ("enable.auto.commit", "false"),
                    ("enable.auto.offset.store", "false"),
                    // So that a position reaches the end also where the last offsets hold no record.
                    ("enable.partition.eof", "true"),
                    // A partition that is sought or newly assigned waits for the fetch under way; that must not be half a second.
                    ("fetch.wait.max.ms", "100"),
                    // By default fetching pauses for a whole second when a queue has been full.
                    ("fetch.queue.backoff.ms", "5"),
                    // Of each partition, since each has its own queue. A small record costs several times its size there, so that these are what
                    // a program's memory is spent on.
                    ("queued.max.messages.kbytes", "512"),
                    ("queued.min.messages", "5000"),
                    // Larger answers cost memory and save nothing; across a slow network they save waits.
                    ("fetch.message.max.bytes", "262144"),
                    ("auto.offset.reset", "earliest"),
                    // Classic groups learn from it that partitions were added.
                    ("topic.metadata.refresh.interval.ms", "10000"),
                    // The broker waits for nobody longer than a transaction may last.
                    ("socket.timeout.ms", &timeout),
                ] {
                    config.set(name, value);
                }
            }
            Role::Producer => {
                let transaction = self.transaction_timeout.as_millis().to_string();
                // librdkafka asks for this order.
                let timeout =
                    self.request_timeout.min(self.transaction_timeout).as_millis().max(1_000).to_string();
                for (name, value) in [
                    ("enable.idempotence", "true"),
                    ("acks", "all"),
                    ("transaction.timeout.ms", transaction.as_str()),
                    // A record that is not acknowledged within the transaction is of no use to it.
                    ("message.timeout.ms", &transaction),
                    // The wait between repetitions while the markers of the last transaction are being written.
                    ("retry.backoff.ms", "10"),
                    ("linger.ms", "5"),
                    ("batch.size", "1000000"),
                    ("batch.num.messages", "10000"),
                    // The topic's limit decides, and is named in the error.
                    ("message.max.bytes", "100000000"),
                    ("queue.buffering.max.kbytes", "32768"),
                    // Some 250 bytes each beside its own; whoever writes faster waits.
                    ("queue.buffering.max.messages", "100000"),
                    ("compression.type", "lz4"),
                    ("socket.timeout.ms", &timeout),
                ] {
                    config.set(name, value);
                }
            }
        }
        self.add_security(&mut config)?;
        let role = match role {
            Role::Admin => "admin",
            Role::Consumer => "consumer",
            Role::Producer => "producer",
        };
        for (name, value) in self.settings_of(role) {
            config.set(name, value);
        }
        config.set_log_level(RDKafkaLogLevel::Info);
        Ok(config)
    }

    fn add_security(&self, config: &mut ClientConfig) -> Result<()> {
        if let Some(tls) = &self.security.tls {
            let paths = [
                ("ssl.ca.location", &tls.ca),
                ("ssl.certificate.location", &tls.certificate),
                ("ssl.key.location", &tls.key),
            ];
            for (name, path) in paths {
                if let Some(path) = path {
                    if let Err(error) = std::fs::File::open(path) {
                        let what = format!("reading {} for TLS", path.display());
                        return Err(LogError::other(
                            what,
                            format!("{error}; check the path and who may read it"),
                        ));
                    }
                    config.set(name, path.to_string_lossy());
                }
            }
            if let Some(password) = &tls.key_password {
                config.set("ssl.key.password", password.read()?);
            }
            config.set("ssl.endpoint.identification.algorithm", if tls.any_host { "none" } else { "https" });
        }
        if let Some(sasl) = &self.security.sasl {
            config.set("sasl.mechanism", sasl.mechanism());
            match sasl {
                Sasl::Plain { user, password } | Sasl::Scram { user, password, .. } => {
                    config.set("sasl.username", user);
                    config.set("sasl.password", password.read()?);
                }
                Sasl::OauthBearer { token } => {
                    token.read()?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_would_break_a_promise_or_leak_a_secret_are_refused() {
        for name in ["isolation.level", "producer.acks", "sasl.password", "consumer.group.id"] {
            let mut config = KafkaConfig::new(["a:1"]);
            config.settings.insert(name.to_owned(), String::from("x"));
            let refused = config.check().unwrap_err().to_string();
            assert!(refused.contains(name), "{refused}");
        }
        let mut config = KafkaConfig::new(["a:1"]);
        config.settings.insert(String::from("producer.linger.ms"), String::from("1"));
        config.check().unwrap();
        assert_eq!(config.client(Role::Producer).unwrap().get("linger.ms"), Some("1"));
        assert_eq!(config.client(Role::Consumer).unwrap().get("linger.ms"), None);
    }
}
