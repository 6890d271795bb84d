//! `vigie topics create|describe|list|delete`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use vigie_log::{LogError, TopicDescription, TopicSpec};

use super::place::Place;
use super::{Exit, Failure, Global, Outcome, out, place, remote};

#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(super) struct Topics {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create a topic
    #[command(after_help = "Examples:\n  vigie topics create clics --partitions 3\n  \
                            vigie topics create etats --partitions 2 --set cleanup.policy=compact --set retention.ms=-1")]
    Create {
        /// Its name: letters, digits, `.`, `_`, `-`
        topic: String,
        /// Number of partitions
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        partitions: u32,
        /// Copies of each partition; the embedded log keeps one
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
        replication_factor: u16,
        /// A setting by Kafka's name, may be repeated
        #[arg(long = "set", value_name = "KEY=VALUE")]
        settings: Vec<String>,
        /// Do nothing when it exists already
        #[arg(long)]
        if_not_exists: bool,
    },
    /// Describe a topic: partitions, leader, replicas, in-sync replicas, offsets, settings
    #[command(after_help = "Example:\n  vigie topics describe evenements")]
    Describe {
        /// Its name
        topic: String,
    },
    /// List the topics
    #[command(after_help = "Examples:\n  vigie topics list\n  vigie topics list --internal --json")]
    List {
        /// With the topics that the engine made for itself
        #[arg(long)]
        internal: bool,
    },
    /// Delete a topic with all its records
    #[command(after_help = "Example:\n  vigie topics delete essai --yes")]
    Delete {
        /// Its name
        topic: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

impl Topics {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let config = place::config(global)?;
        let data = place::existing_data(global, &config)?;
        match self.action {
            Action::Create { topic, partitions, replication_factor, settings, if_not_exists } => {
                let mut spec = TopicSpec { replication_factor, ..TopicSpec::new(topic, partitions) };
                for setting in settings {
                    let Some((key, value)) = setting.split_once('=') else {
                        return Err(Failure::new(
                            Exit::Usage,
                            format!("--set {setting}: write KEY=VALUE, for example --set retention.ms=-1"),
                        ));
                    };
                    spec = spec.with(key, value);
                }
                let log = place::open(&data, &config, true)?;
                let existed = match log.admin().create_topic(&spec) {
                    Ok(()) => false,
                    Err(LogError::TopicExists { .. }) if if_not_exists => true,
                    Err(error) => return Err(error.into()),
                };
                if global.json {
                    out::line(
                        json!({"topic": spec.name, "partitions": spec.partitions, "created": !existed}),
                    )?;
                } else if existed {
                    out::line(format_args!("topic `{}` exists already", spec.name))?;
                } else {
                    out::line(format_args!(
                        "topic `{}` created with {} partition(s)",
                        spec.name, spec.partitions
                    ))?;
                }
                Ok(Exit::Ok)
            }
            Action::Describe { topic } => {
                let place = place::open_or_ask(&data, &config)?;
                let described = match &place {
                    Place::Here(log) => describe(&log.admin().describe_topic(&topic)?),
                    Place::Running(remote) => remote.topic(&topic)?,
                };
                if global.json {
                    out::line(described)?;
                } else {
                    print(&described)?;
                }
                Ok(Exit::Ok)
            }
            Action::List { internal } => {
                let topics = match place::open_or_ask(&data, &config)? {
                    Place::Here(log) => {
                        let admin = log.admin();
                        let names = admin.list_topics(internal)?;
                        names.iter().map(|name| Ok(describe(&admin.describe_topic(name)?))).collect::<Result<
                            Vec<_>,
                            LogError,
                        >>(
                        )?
                    }
                    Place::Running(remote) => remote
                        .topics()?
                        .into_iter()
                        .filter(|topic| internal || topic.get("internal") != Some(&Value::Bool(true)))
                        .collect(),
                };
                if global.json {
                    out::line(Value::Array(topics))?;
                } else {
                    let rows: Vec<Vec<String>> = topics
                        .iter()
                        .map(|topic| {
                            let records = topic.get("records").and_then(Value::as_u64);
                            vec![
                                text(topic, "name"),
                                remote::partitions(topic).to_string(),
                                records.map(|n| n.to_string()).unwrap_or_default(),
                            ]
                        })
                        .collect();
                    out::table(&["TOPIC", "PARTITIONS", "RECORDS"], &rows)?;
                }
                Ok(Exit::Ok)
            }
            Action::Delete { topic, yes } => {
                let log = place::open(&data, &config, false)?;
                let admin = log.admin();
                let described = admin.describe_topic(&topic)?;
                if !yes && !confirmed(&topic, records(&described))? {
                    return Err(Failure::new(
                        Exit::Usage,
                        "nothing was deleted; say --yes, or answer with the topic's name",
                    ));
                }
                admin.delete_topic(&topic)?;
                if global.json {
                    out::line(json!({"topic": topic, "deleted": true}))?;
                } else {
                    out::line(format_args!("topic `{topic}` deleted"))?;
                }
                Ok(Exit::Ok)
            }
        }
    }
}

/// Asks on the terminal; without one the answer is no.
fn confirmed(topic: &str, records: i64) -> Result<bool, Failure> {
    use std::io::IsTerminal as _;
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    out::note(format_args!(
        "`{topic}` and its {records} record(s) will be gone for ever. Type the topic's name to go on:"
    ));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == topic)
}

fn records(topic: &TopicDescription) -> i64 {
    topic.partitions.iter().map(|p| p.offsets.latest - p.offsets.earliest).sum()
}

fn text(value: &Value, key: &str) -> String {
    match value.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(Value::Array(list)) => list.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        Some(other) => other.to_string(),
    }
}

/// A topic as JSON.
fn describe(topic: &TopicDescription) -> Value {
    let partitions: Vec<Value> = topic
        .partitions
        .iter()
        .map(|p| {
            json!({"partition": p.partition, "leader": p.leader, "replicas": p.replicas,
                "in_sync_replicas": p.in_sync_replicas, "earliest": p.offsets.earliest, "latest": p.offsets.latest,
                "bytes": p.bytes})
        })
        .collect();
    json!({"name": topic.name, "internal": topic.internal, "replication_factor": topic.replication_factor,
        "records": records(topic), "settings": topic.config, "partitions": partitions})
}

fn print(topic: &Value) -> Result<(), Failure> {
    let internal = if topic.get("internal") == Some(&Value::Bool(true)) { " (internal)" } else { "" };
    out::line(format_args!(
        "topic {}{internal}: {} partition(s), {} record(s)",
        text(topic, "name"),
        remote::partitions(topic),
        text(topic, "records")
    ))?;
    for key in ["replication_factor", "retention_ms", "cleanup", "bytes"] {
        let value = text(topic, key);
        if !value.is_empty() {
            out::line(format_args!("  {key} = {value}"))?;
        }
    }
    if let Some(settings) = topic.get("settings").and_then(Value::as_object) {
        for (key, value) in settings {
            out::line(format_args!("  {key} = {}", value.as_str().unwrap_or_default()))?;
        }
    }
    if let Some(partitions) = topic.get("partitions").and_then(Value::as_array) {
        let columns = ["partition", "leader", "replicas", "in_sync_replicas", "earliest", "latest", "bytes"];
        let rows: Vec<Vec<String>> =
            partitions.iter().map(|p| columns.iter().map(|column| text(p, column)).collect()).collect();
        out::table(&["PARTITION", "LEADER", "REPLICAS", "IN-SYNC", "EARLIEST", "LATEST", "BYTES"], &rows)?;
    }
    Ok(())
}
