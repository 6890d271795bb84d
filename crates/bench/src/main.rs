//! `vigie-bench`: measures, and prints each figure as one line of JSON.
//!
//! Each workload is one file under `workloads/`: its arguments, and a `run` that gives a [`Figure`]. To add one, write the
//! file and add a line to [`Workload`] and to its two functions below. `vigie-bench all` runs every workload with its defaults, each in a
//! process of its own, so that one's memory is not another's.
//!
//! Figures are not tests: nothing here fails because a machine is slow.

mod measure;
mod peers;
mod program;
mod workloads;

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use measure::Figure;
use workloads::churn::Churn;
use workloads::churn_quality::ChurnQuality;
use workloads::churn_whole::ChurnWhole;
use workloads::compare::Compare;
use workloads::demo::{AllPipelines, DemoStart, ScoreLatency};
use workloads::generate::Produce;
use workloads::instructions::Instructions;
use workloads::user_total::{Memory, Pipe, UserTotal};
use workloads::{
    log_append::LogAppend, log_read::LogRead, page_count::PageCount, restore::Restore, stateless::Stateless,
};

/// Measures Vigie; one line of JSON a figure.
#[derive(Parser)]
#[command(name = "vigie-bench", version)]
struct Arguments {
    #[command(subcommand)]
    workload: Option<Workload>,
}

#[derive(Subcommand)]
enum Workload {
    /// All of them, with their defaults.
    All,
    /// Durable appends of small records to the embedded log.
    LogAppend(LogAppend),
    /// Reading them back from the disk.
    LogRead(LogRead),
    /// Start of the program, from an empty folder and from a used one.
    DemoStart(DemoStart),
    /// From a customer's record to its score on the screen's event stream.
    ScoreLatency(ScoreLatency),
    /// Cost of a steady stream of events through all pipelines.
    AllPipelines(AllPipelines),
    /// Boosted trees: training, scoring, reasons, and LightGBM beside them where it is at hand.
    Churn(Churn),
    /// The engine: a filter from topic to topic.
    Stateless(Stateless),
    /// Log-loss of whole models on tables of many shapes, beside tuned LightGBM and logistic regression.
    ChurnQuality(ChurnQuality),
    /// What a person waits for: training with everything, on 900 rows and on a large table; an assignment.
    ChurnWhole(ChurnWhole),
    /// The engine: a count by page and window, through a repartition topic.
    PageCount(PageCount),
    /// The engine: a sum for each of a million users.
    UserTotal(UserTotal),
    /// The engine: those sums from their changelog, and a restart with local files.
    Restore(Restore),
    /// The engine: sums of more users than fit into the memory that they may take.
    Memory(Memory),
    /// Writes the page views that these workloads read.
    Produce(Produce),
    /// Compares two engines' results with each other and with what the page views come to.
    Compare(Compare),
    /// The engine between two topics, until it is stopped.
    Pipe(Pipe),
    /// The engine's hot paths over a fixed input, for valgrind.
    Instructions(Instructions),
}

/// What `all` runs, in this order.
const ALL: &[&str] = &[
    "log-append",
    "log-read",
    "demo-start",
    "score-latency",
    "all-pipelines",
    "churn",
    "stateless",
    "churn-quality",
    "churn-whole",
    "page-count",
    "user-total",
    "restore",
    "memory",
];

fn run(workload: Workload) -> Result<Vec<Figure>> {
    match workload {
        Workload::All => run_all().map(|()| Vec::new()),
        Workload::LogAppend(arguments) => arguments.run().map(|figure| vec![figure]),
        Workload::LogRead(arguments) => arguments.run().map(|figure| vec![figure]),
        Workload::DemoStart(arguments) => arguments.run().map(|figure| vec![figure]),
        Workload::ScoreLatency(arguments) => arguments.run().map(|figure| vec![figure]),
        Workload::AllPipelines(arguments) => arguments.run().map(|figure| vec![figure]),
        Workload::Churn(arguments) => arguments.run(),
        Workload::ChurnQuality(arguments) => arguments.run(),
        Workload::ChurnWhole(arguments) => arguments.run(),
        Workload::PageCount(arguments) => arguments.run().map(|figure| vec![figure]),
        Workload::UserTotal(arguments) => arguments.run().map(|figure| vec![figure]),
        Workload::Stateless(arguments) => arguments.run().map(|figure| vec![figure]),
        Workload::Restore(arguments) => arguments.run().map(|figure| vec![figure]),
        Workload::Memory(arguments) => arguments.run().map(|figure| vec![figure]),
        Workload::Produce(arguments) => arguments.run().map(|figure| vec![figure]),
        Workload::Compare(arguments) => arguments.run().map(|figure| vec![figure]),
        Workload::Pipe(arguments) => arguments.run().map(|()| Vec::new()),
        Workload::Instructions(arguments) => arguments.run().map(|()| Vec::new()),
    }
}

/// What `all` runs once more, with other arguments: the page count with results once a commit, and the cost of a record by the number of keys.
const AGAIN: &[(&str, &[&str])] = &[
    ("page-count", &["--record-cache"]),
    ("user-total", &["--keys", "10000"]),
    ("user-total", &["--keys", "100000"]),
    ("user-total", &["--keys", "10000000"]),
];

#[expect(clippy::print_stdout, reason = "the figures are this program's output")]
fn run_all() -> Result<()> {
    let program = std::env::current_exe().context("finding this program's own file")?;
    let mut failed = Vec::new();
    for name in ALL {
        let again = AGAIN.iter().filter(|(other, _)| other == name).map(|(_, arguments)| *arguments);
        for arguments in std::iter::once(fewer(name)).chain(again) {
            let status = Command::new(&program)
                .arg(name)
                .args(arguments)
                .stdin(Stdio::null())
                .status()
                .with_context(|| format!("starting the workload {name}"))?;
            if !status.success() {
                failed.push(*name);
            }
        }
        for peer in peers::of(name) {
            println!("{}", peer.to_json());
        }
    }
    anyhow::ensure!(failed.is_empty(), "these workloads failed: {}", failed.join(", "));
    Ok(())
}

/// `all` is to end within minutes: a workload that takes longer by itself gets fewer records here.
fn fewer(workload: &str) -> &'static [&'static str] {
    match workload {
        "churn-quality" => &["--table", "small"],
        _ => &[],
    }
}

#[expect(clippy::print_stdout, reason = "the figures are this program's output")]
fn main() -> ExitCode {
    let _ = measure::age();
    let workload = Arguments::parse().workload.unwrap_or(Workload::All);
    match run(workload) {
        Ok(figures) => {
            for figure in figures {
                println!("{}", figure.to_json());
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("vigie-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// What is no measurement by itself.
    const TOOLS: [&str; 5] = ["all", "produce", "compare", "pipe", "instructions"];

    #[test]
    fn all_runs_every_workload() {
        let command = Arguments::command();
        let names: Vec<&str> = command
            .get_subcommands()
            .map(clap::Command::get_name)
            .filter(|name| !TOOLS.contains(name))
            .collect();
        assert_eq!(names, ALL);
    }
}
