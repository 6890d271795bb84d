//! The command line: one file a command.
//!
//! Invariants: what is asked for goes to standard output, everything else to standard error; every command ends with an [`Exit`];
//! `--json` prints one JSON document (or one object a line, where there is no end) and nothing else on standard output.

mod assign;
mod completions;
mod config;
mod consume;
mod doctor;
mod evaluate;
mod exit;
mod explain;
mod features;
mod import;
mod interrupt;
mod labels;
mod model;
mod model_admin;
mod out;
mod place;
mod produce;
mod remote;
mod score;
mod start;
mod tables;
mod topics;
mod train;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

pub use exit::{Exit, Failure};

type Outcome = Result<Exit, Failure>;

/// Real-time customer analytics and churn prevention.
#[derive(Debug, Parser)]
#[command(
    name = "vigie",
    version,
    about,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 110,
    after_help = "Examples:\n  vigie demo                              everything, on example data, at http://127.0.0.1:8080\n  \
                  vigie run --config vigie.toml           on your own data\n  \
                  vigie topics list                       what is in the log\n  \
                  vigie consume evenements --from-beginning --max-messages 10\n\n\
                  Exit codes: 0 ok, 1 failure, 2 wrong usage, 3 bad input data, 4 log or store unavailable or locked, 5 nothing found."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The data folder: log, stores, model. Default: from the configuration, or $XDG_DATA_HOME/vigie
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON for machines
    #[arg(long, global = true)]
    json: bool,
    /// Say more on standard error
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start everything on example data: sources, pipelines, screens
    Demo(start::Start),
    /// Start pipelines and screens on your own data
    Run(start::Start),
    /// Create, describe, list and delete topics
    Topics(topics::Topics),
    /// Write messages to a topic, one a line
    Produce(produce::Produce),
    /// Read messages of a topic
    Consume(consume::Consume),
    /// Import customers from a CSV file
    Import(import::Import),
    /// Train a model from a labelled CSV file
    Train(train::Train),
    /// Score the rows of a CSV file
    Score(score::Score),
    /// A model's card; the model in service and the one in shadow: list, shadow, promote, rollback
    Model(model_admin::ModelAdmin),
    /// What scores are made of: list, replay for training, verify
    Features(features::Features),
    /// Judge a model on a table whose outcomes are known
    Evaluate(evaluate::Evaluate),
    /// Say why one row has its score, and what would change it
    Explain(explain::Explain),
    /// Propose, approve, undo and measure who goes to which customer
    Assign(assign::Assign),
    /// Work with the configuration
    Config(config::ConfigCommand),
    /// Check the installation and say what to do
    Doctor(doctor::Doctor),
    /// Print a script that completes commands in your shell
    Completions(completions::Completions),
}

/// The program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are not errors; clap knows where each belongs.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            // Nobody reads any more: there is nobody to tell.
            let _ = error.print();
            return exit.into();
        }
    };
    let level = match (&cli.command, cli.global.verbose) {
        (_, true) => tracing::Level::DEBUG,
        (Command::Demo(_) | Command::Run(_), false) => tracing::Level::INFO,
        _ => tracing::Level::WARN,
    };
    // A subscriber that is there already (in tests) stays.
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        .try_init();
    let global = cli.global;
    let outcome = match cli.command {
        Command::Demo(start) => start.run(&global, true),
        Command::Run(start) => start.run(&global, false),
        Command::Topics(topics) => topics.run(&global),
        Command::Produce(produce) => produce.run(&global),
        Command::Consume(consume) => consume.run(&global),
        Command::Import(import) => import.run(&global),
        Command::Train(train) => train.run(&global),
        Command::Score(score) => score.run(&global),
        Command::Model(admin) => admin.run(&global),
        Command::Features(features) => features.run(&global),
        Command::Evaluate(evaluate) => evaluate.run(&global),
        Command::Explain(explain) => explain.run(&global),
        Command::Assign(assign) => assign.run(&global),
        Command::Config(command) => command.run(&global),
        Command::Doctor(doctor) => doctor.run(&global),
        Command::Completions(completions) => completions.run(),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.print(global.json);
            failure.exit.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples() {
        for command in Cli::command().get_subcommands() {
            let leaves: Vec<_> = command.get_subcommands().collect();
            for leaf in if leaves.is_empty() { vec![command] } else { leaves } {
                let help = leaf.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example"), "`{}` has no example in its help", leaf.get_name());
            }
        }
    }
}
