//! `vigie model`: which model is in service, another one in shadow, promotion, and the way back, all in a running instance.

use std::path::PathBuf;

use base64::Engine as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::place;
use super::remote::Remote;
use super::{Exit, Failure, Global, Outcome, out};

#[derive(Debug, Args)]
pub(super) struct ModelAdmin {
    /// Who does it, for the audit; default: $USER
    #[arg(long, global = true, value_name = "NAME")]
    by: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show where a model comes from, why it was chosen and how good it is
    #[command(
        after_help = "Examples:\n  vigie model card model.vigie\n  vigie model card model.vigie --lang fr --out card.html\n  \
                            vigie model card model.vigie --json\n\n\
                            The ending of --out decides: .html, .json, else text."
    )]
    Card(super::model::Card),
    /// Which model is in service, in shadow, and was in service before
    #[command(after_help = "Example:\n  vigie model list --data /var/lib/vigie")]
    List,
    /// Put a model in shadow: it scores beside the one in service and is compared with it, and shown to nobody
    #[command(after_help = "Examples:\n  vigie model shadow new.vigie\n  vigie model shadow --end")]
    Shadow {
        /// The model file
        #[arg(required_unless_present = "end")]
        file: Option<PathBuf>,
        /// Take the model out of shadow
        #[arg(long, conflicts_with = "file")]
        end: bool,
    },
    /// Put the model in shadow in service
    #[command(
        after_help = "Examples:\n  vigie model promote\n  vigie model promote --now     without waiting until it has scored enough; the audit says so"
    )]
    Promote {
        /// Do not wait until it has scored enough customers in shadow
        #[arg(long)]
        now: bool,
    },
    /// Put the model that was in service before back in service
    #[command(after_help = "Example:\n  vigie model rollback")]
    Rollback,
}

impl ModelAdmin {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let command = match self.command {
            Command::Card(card) => return card.run(global),
            command => command,
        };
        let config = place::config(global)?;
        let data = place::existing_data(global, &config)?;
        let remote = place::running(&data).ok_or_else(|| {
            Failure::new(
                Exit::Unavailable,
                format!(
                    "no vigie runs in {}; start one with `vigie run` or `vigie demo`, or name its folder with --data",
                    data.display()
                ),
            )
        })?;
        let by = self.by.or_else(|| std::env::var("USER").ok().filter(|name| !name.is_empty()));
        let by = by.unwrap_or_else(|| String::from("command line"));
        let models = match command {
            Command::Card(_) => Value::Null,
            Command::List => remote.get("models")?.unwrap_or_default(),
            Command::Shadow { file: Some(file), .. } => {
                let bytes = std::fs::read(&file).map_err(|error| {
                    Failure::new(Exit::BadInput, format!("{}: cannot be read: {error}", file.display()))
                })?;
                let file = base64::engine::general_purpose::STANDARD.encode(bytes);
                remote.post("models/shadow", &json!({"file": file, "by": by}))?
            }
            Command::Shadow { file: None, .. } => remote.post("models/shadow/end", &json!({"by": by}))?,
            Command::Promote { now } => remote.post("models/promote", &json!({"by": by, "now": now}))?,
            Command::Rollback => remote.post("models/rollback", &json!({"by": by}))?,
        };
        show(global, &remote, &models)?;
        Ok(Exit::Ok)
    }
}

fn show(global: &Global, remote: &Remote, models: &Value) -> Result<(), Failure> {
    if global.json {
        out::line(models)?;
        return Ok(());
    }
    out::line(format_args!("vigie at {}", remote.address()))?;
    let place = |label: &str, place: &Value| {
        let text = |name: &str| place.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
        let since = place.get("since").and_then(Value::as_i64).map(vigie_domain::iso8601).unwrap_or_default();
        out::line(format_args!("{label:<10} {}  since {since} by {}", text("version"), text("by")))
    };
    place("in service", models.get("champion").unwrap_or(&Value::Null))?;
    if let Some(shadow) = models.get("shadow").filter(|shadow| !shadow.is_null()) {
        place("in shadow", shadow)?;
    }
    if let Some(compared) = models.get("comparison").filter(|compared| !compared.is_null()) {
        let number = |name: &str| compared.get(name).and_then(Value::as_f64);
        let count = |name: &str| compared.get(name).and_then(Value::as_u64).unwrap_or_default();
        out::line(format_args!(
            "           {} of {} customers scored by both",
            count("customers"),
            count("needed")
        ))?;
        if let (Some(agreement), Some(shift)) = (number("agreement"), number("mean_shift")) {
            out::line(format_args!(
                "           same verdict for {:.1}%, probabilities {:+.1} points in the mean",
                agreement * 100.0,
                shift * 100.0
            ))?;
        }
        if let Some(words) = compared.get("words").and_then(|words| words.get("en")).and_then(Value::as_str) {
            out::line(format_args!("           {words}"))?;
        }
    }
    for before in models.get("previous").and_then(Value::as_array).into_iter().flatten() {
        place("before", before)?;
    }
    Ok(())
}
