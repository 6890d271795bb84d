//! Where Kafka is, how to log in, and how long to wait.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use vigie_log::{LogError, Result};

use crate::Security;

/// Which protocol shares a group's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MembershipMode {
    /// The first of the others that the broker offers, in their order here.
    #[default]
    Auto,
    /// Streams groups (KIP-1071, brokers from 4.2 on): the broker assigns the program's tasks and standby copies.
    Streams,
    /// KIP-848 groups (brokers from 4.0 on): the broker assigns partitions, one by one, by range.
    Consumer,
    /// Classic groups: a member assigns partitions by range; everything is revoked at each change.
    Classic,
}

impl FromStr for MembershipMode {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "streams" => Ok(Self::Streams),
            "consumer" => Ok(Self::Consumer),
            "classic" => Ok(Self::Classic),
            other => Err(LogError::other(
                format!("membership `{other}`"),
                "there is no such protocol; it may be `auto`, `streams`, `consumer` or `classic`",
            )),
        }
    }
}

/// How to reach and use a cluster.
#[derive(Debug, Clone)]
pub struct KafkaConfig {
    /// `host:port` of some brokers; they name the others.
    pub bootstrap: Vec<String>,
    /// A name for the broker's logs and quotas.
    pub client_id: String,
    /// TLS and SASL.
    pub security: Security,
    /// Any setting of librdkafka by its own name, stronger than ours. With `consumer.`, `producer.` or `admin.` before the name it is for
    /// these clients only, as Kafka Streams has it.
    pub settings: BTreeMap<String, String>,
    /// How groups share their work.
    pub membership: MembershipMode,
    /// A name of this process that outlives a restart (`group.instance.id`): it gets its partitions back without the others noticing.
    /// For the protocols `consumer` and `classic`; several members of one process append their client id.
    pub instance_id: Option<String>,
    /// Copies of a topic that asks for one copy; `None`: the broker's `default.replication.factor`.
    pub replication_factor: Option<u16>,
    /// How long one request may take, repetitions included.
    pub request_timeout: Duration,
    /// How long the first contact with the cluster may take.
    pub start_timeout: Duration,
    /// A transaction that is open for longer is aborted by the broker, and its producer fenced.
    pub transaction_timeout: Duration,
}

impl KafkaConfig {
    /// Plain text, protocol `auto`, a minute for a request or a transaction, ten seconds for the first contact.
    pub fn new(bootstrap: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            bootstrap: bootstrap.into_iter().map(Into::into).collect(),
            client_id: String::from("vigie"),
            security: Security::default(),
            settings: BTreeMap::new(),
            membership: MembershipMode::Auto,
            instance_id: None,
            replication_factor: None,
            request_timeout: Duration::from_secs(30),
            start_timeout: Duration::from_secs(10),
            transaction_timeout: Duration::from_secs(60),
        }
    }

    /// From `kafka://host:9092` or `kafka://host1:9092,host2:9092`. The port may be left out.
    ///
    /// ```
    /// let config = vigie_log_kafka::KafkaConfig::from_url("kafka://a:9092,b")?;
    /// assert_eq!(config.bootstrap, ["a:9092", "b:9092"]);
    /// # Ok::<(), vigie_log::LogError>(())
    /// ```
    pub fn from_url(url: &str) -> Result<Self> {
        let wrong = |reason: &str| {
            LogError::other(
                format!("the address `{url}`"),
                format!("{reason}; write kafka://host:9092 or kafka://host1:9092,host2:9092"),
            )
        };
        let hosts = url.strip_prefix("kafka://").ok_or_else(|| wrong("it does not begin with kafka://"))?;
        let hosts = hosts.strip_suffix('/').unwrap_or(hosts);
        if hosts.contains('@') {
            return Err(wrong(
                "users and passwords do not belong in an address: give them as security settings",
            ));
        }
        let bootstrap: Vec<String> = hosts
            .split(',')
            .map(|host| match host.rsplit_once(':') {
                _ if host.is_empty() => Err(wrong("a host is missing")),
                Some((name, port)) if !port.ends_with(']') => {
                    let port: u16 = port.parse().map_err(|_| wrong("a port is not a number"))?;
                    if name.is_empty() {
                        Err(wrong("a host is missing"))
                    } else {
                        Ok(format!("{name}:{port}"))
                    }
                }
                _ => Ok(format!("{host}:9092")),
            })
            .collect::<Result<_>>()?;
        Ok(Self::new(bootstrap))
    }

    /// All brokers of the configuration, as librdkafka and people write them.
    pub fn bootstrap_servers(&self) -> String {
        self.bootstrap.join(",")
    }

    /// The settings for one kind of client: those without prefix, then those with it.
    pub fn settings_of(&self, role: &str) -> impl Iterator<Item = (&str, &str)> {
        const ROLES: [&str; 3] = ["consumer.", "producer.", "admin."];
        let common = self
            .settings
            .iter()
            .filter(|(name, _)| !ROLES.iter().any(|role| name.starts_with(role)))
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let own = self.settings.iter().filter_map(move |(name, value)| {
            let name = name.strip_prefix(role)?.strip_prefix('.')?;
            Some((name, value.as_str()))
        });
        common.chain(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_or_refused() {
        let check = |url: &str, expect: Option<&[&str]>| {
            let found = KafkaConfig::from_url(url).map(|config| config.bootstrap);
            match expect {
                Some(hosts) => assert_eq!(found.unwrap(), hosts, "{url}"),
                None => assert!(found.unwrap_err().to_string().contains("kafka://host:9092"), "{url}"),
            }
        };
        check("kafka://localhost:9092", Some(&["localhost:9092"]));
        check("kafka://a,b:1/", Some(&["a:9092", "b:1"]));
        check("kafka://[::1]:9093,[::2]", Some(&["[::1]:9093", "[::2]:9092"]));
        check("http://a", None);
        check("kafka://", None);
        check("kafka://a,,b", None);
        check("kafka://a:b", None);
        check("kafka://user:secret@a:1", None);
    }

    #[test]
    fn settings_have_roles() {
        let mut config = KafkaConfig::new(["a:1"]);
        for (name, value) in
            [("linger.ms", "1"), ("producer.linger.ms", "2"), ("consumer.fetch.min.bytes", "3")]
        {
            config.settings.insert(name.to_owned(), value.to_owned());
        }
        assert_eq!(
            config.settings_of("producer").collect::<Vec<_>>(),
            [("linger.ms", "1"), ("linger.ms", "2")]
        );
        assert_eq!(config.settings_of("admin").collect::<Vec<_>>(), [("linger.ms", "1")]);
    }
}
