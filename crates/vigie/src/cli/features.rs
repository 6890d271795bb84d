//! `vigie features`: what a score is made of, the table to train from, and the proof that both are the same.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::json;
use vigie_contracts::Contracts;
use vigie_domain::topics;

use super::place::{self, Place};
use super::{Exit, Failure, Global, Outcome, out};
use crate::features::FeatureSet;
use crate::features::replay::{self, Order, Replayed, Rows};
use crate::model::write_whole;

#[derive(Debug, Args)]
pub(super) struct Features {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What is declared and computed
    #[command(after_help = "Example:\n  vigie features list --config vigie.toml")]
    List,
    /// Compute the features again over the whole history: the table to train from
    #[command(
        after_help = "Examples:\n  vigie features replay --out features.csv                one row an outcome, as of 30 days before it\n  \
                            vigie train features.csv --target Churn --id customer_id --exclude event_time,origin --out new.vigie\n  \
                            vigie features replay --rows all --out -                a row for each record"
    )]
    Replay(Replay),
    /// Check that the features that were served are those that a replay gives, byte for byte
    #[command(after_help = "Example:\n  vigie features verify --data /var/lib/vigie")]
    Verify,
}

/// Which rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Which {
    /// One for each known outcome
    Labelled,
    /// One for each record
    All,
}

#[derive(Debug, Args)]
struct Replay {
    /// Where the table goes; `-` is standard output
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Which rows
    #[arg(long, value_enum, default_value_t = Which::Labelled)]
    rows: Which,
    /// Labelled rows are as of so many days before the outcome; default: `churn.lead_days`
    #[arg(long, value_name = "DAYS")]
    lead_days: Option<u32>,
    /// Also as of each event, where all rows are asked for
    #[arg(long)]
    events: bool,
    /// Put the history in order of event time first (for one that was read in at once)
    #[arg(long)]
    by_event_time: bool,
}

impl Features {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let config = place::config(global)?;
        let contracts =
            Contracts::built_in().map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
        let set = Arc::new(FeatureSet::new(&config.features, &contracts.get(topics::COSTUMERCHURN)));
        match self.command {
            Command::List => list(global, &config, &set),
            Command::Replay(replay) => replay.run(global, &config, &set),
            Command::Verify => verify(global, &config, &set),
        }
    }
}

fn list(global: &Global, config: &crate::config::Config, set: &FeatureSet) -> Outcome {
    if global.json {
        let columns: Vec<&str> = set.names().filter(|name| !set.is_aggregate(name)).collect();
        out::line(
            json!({"definitions": set.definitions(), "columns": columns, "aggregates": config.features}),
        )?;
        return Ok(Exit::Ok);
    }
    for name in set.names().filter(|name| !set.is_aggregate(name)) {
        out::line(format_args!("{name:<24} column of the record"))?;
    }
    for feature in &config.features {
        let of = feature.field.as_ref().map(|field| format!(" of {field}")).unwrap_or_default();
        let only = if feature.only.is_empty() {
            String::new()
        } else {
            format!(", where {}", serde_json::to_string(&feature.only).unwrap_or_default())
        };
        let measure = format!("{:?}", feature.measure).to_lowercase();
        out::line(format_args!(
            "{:<24} {measure}{of} on {} over {} days{only}",
            feature.name, feature.topic, feature.window_days
        ))?;
    }
    out::line(format_args!("definitions {}", set.definitions()))?;
    Ok(Exit::Ok)
}

fn failed(error: &replay::ReplayError) -> Failure {
    match error {
        replay::ReplayError::Log(log) => Failure::from(log.to_shared()),
        other => Failure::new(Exit::Failure, other.to_string()),
    }
}

fn nothing() -> Failure {
    Failure::new(
        Exit::NothingFound,
        "the history is empty; features are computed from the records and events that come in while `vigie run` or `vigie demo` works",
    )
}

impl Replay {
    fn run(self, global: &Global, config: &crate::config::Config, set: &Arc<FeatureSet>) -> Outcome {
        let lead_days = self.lead_days.unwrap_or(config.churn.lead_days);
        let rows = match self.rows {
            Which::Labelled => Rows::Labelled { lead_days },
            Which::All => Rows::All,
        };
        let order = if self.by_event_time { Order::EventTime } else { Order::AsProcessed };
        let data = place::existing_data(global, config)?;
        let (csv, cut) = match place::open_or_ask(&data, config)? {
            Place::Here(log) => {
                let replayed: Replayed =
                    replay::replay(&*log, set, self.events, order).map_err(|error| failed(&error))?;
                if replayed.rows.is_empty() {
                    return Err(nothing());
                }
                (replay::table(&replayed, set, rows), replayed.cut)
            }
            Place::Running(remote) => {
                let which = if self.rows == Which::All { "all" } else { "labelled" };
                let path = format!(
                    "features/replay?rows={which}&lead_days={lead_days}&events={}&by_event_time={}",
                    self.events, self.by_event_time
                );
                let answer = remote.get(&path)?.ok_or_else(nothing)?;
                let csv = answer.get("csv").and_then(serde_json::Value::as_str).unwrap_or_default();
                (csv.as_bytes().to_vec(), answer.get("cut") == Some(&json!(true)))
            }
        };
        if cut {
            out::note(
                "the beginning of the history is gone (churn.history_days): windows that reach behind it are not whole",
            );
        }
        let lines = csv.iter().filter(|byte| **byte == b'\n').count().saturating_sub(1);
        if self.out.as_os_str() == "-" {
            std::io::Write::write_all(&mut std::io::stdout().lock(), &csv)?;
            return Ok(Exit::Ok);
        }
        write_whole(&self.out, &csv).map_err(|error| {
            let path = self.out.display();
            Failure::new(
                Exit::Failure,
                format!("{path}: cannot be written: {error}; check the folder and the free space"),
            )
        })?;
        if global.json {
            out::line(json!({"rows": lines, "out": self.out, "definitions": set.definitions()}))?;
        } else {
            out::line(format_args!("{lines} row(s), written to {}", self.out.display()))?;
        }
        if lines == 0 {
            out::note(
                "no outcome is known yet that lies long enough after a record; `--rows all` gives the rows without a label",
            );
        }
        Ok(Exit::Ok)
    }
}

fn verify(global: &Global, config: &crate::config::Config, set: &Arc<FeatureSet>) -> Outcome {
    let data = place::existing_data(global, config)?;
    let verified = match place::open_or_ask(&data, config)? {
        Place::Here(log) => {
            let verified = replay::verify(&*log, set).map_err(|error| failed(&error))?;
            serde_json::to_value(verified).unwrap_or_default()
        }
        Place::Running(remote) => remote.get("features/verify")?.ok_or_else(nothing)?,
    };
    let number = |name: &str| verified.get(name).and_then(serde_json::Value::as_u64).unwrap_or_default();
    if number("logged") == 0 {
        return Err(nothing());
    }
    if global.json {
        out::line(&verified)?;
    } else {
        out::line(format_args!(
            "{} served row(s): {} replayed with the same bytes, {} different, {} not replayed",
            number("logged"),
            number("equal"),
            number("different"),
            number("missing")
        ))?;
    }
    Ok(if number("different") + number("missing") > 0 { Exit::Failure } else { Exit::Ok })
}
