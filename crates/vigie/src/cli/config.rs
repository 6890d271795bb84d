//! `vigie config check`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Exit, Failure, Global, Outcome, out, place};

#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(super) struct ConfigCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Read the configuration (file, environment) and say what is wrong
    #[command(
        after_help = "Examples:\n  vigie config check vigie.toml\n  VIGIE_SERVER__PORT=9090 vigie config check\n  \
                            vigie config check --json vigie.toml    prints every setting in effect"
    )]
    Check {
        /// The file; default: that of --config, or none (defaults and environment)
        file: Option<PathBuf>,
    },
}

impl ConfigCommand {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let Action::Check { file } = self.action;
        let global = Global { config: file.or_else(|| global.config.clone()), ..global.clone() };
        let config = place::config(&global)?;
        if global.json {
            let text = serde_json::to_string_pretty(&config).map_err(|error| {
                Failure::new(Exit::Failure, format!("the configuration cannot be shown: {error}"))
            })?;
            out::line(text)?;
        } else {
            let data = place::data(&global, &config, false)?;
            let from = match &global.config {
                Some(path) => format!("{} is right", path.display()),
                None => String::from("no file; defaults and environment are right"),
            };
            out::line(format_args!("{from}; data folder {}", data.display()))?;
        }
        Ok(Exit::Ok)
    }
}
