//! `vigie assign`: who goes to which customer, from files: propose, approve, undo, and measure whether it helped.
//!
//! The plan is one JSON file. Nothing is done without a person's name, every step stands in the file's audit trail, and a share of the
//! customers within reach is held out at random, so that the effect can be measured when outcomes are known.

mod plan_file;
mod propose;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use vigie_churn::holdout::HoldOut;
use vigie_churn::trial::Trial;
use vigie_churn::words::signed;
use vigie_churn::{Lang, Words};
use vigie_log::{Clock as _, SystemClock};

use super::import::delimiter;
use super::tables::read_table;
use super::train::Language;
use super::{Exit, Failure, Global, Outcome, out};
use plan_file::{PlanFile, State};

#[derive(Debug, Args)]
pub(super) struct Assign {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Propose who goes to which customer
    #[command(
        after_help = "Examples:\n  vigie assign propose model.vigie customers.csv --managers managers.json --id Names --value Total_Purchase --out plan.json\n\n\
                            managers.json: [{\"id\": \"m1\", \"name\": \"Alix\", \"capacity\": 25, \"locations\": [\"CA\"], \"skills\": []}, ...]\n\n\
                            Of the customers within reach, the share --hold-out is drawn at random and gets nobody. Where the history speaks against\n\
                            the action, nothing is proposed unless --trial says that you want to find out; half are then held out."
    )]
    Propose(propose::Propose),
    /// Approve what was proposed, all of it or some customers
    #[command(after_help = "Example:\n  vigie assign approve plan.json --by \"Ada Lovelace\"")]
    Approve(Decide),
    /// Take a proposal or an approval back
    #[command(
        after_help = "Example:\n  vigie assign undo plan.json --by \"Ada Lovelace\" --customer c17 --customer c23"
    )]
    Undo(Decide),
    /// Show a plan
    #[command(after_help = "Example:\n  vigie assign show plan.json")]
    Show {
        /// The plan
        plan: PathBuf,
    },
    /// Measure whether acting helped, from the outcomes known so far
    #[command(
        after_help = "Example:\n  vigie assign measure plan.json outcomes.csv --id Names --target Churn\n\n\
                            The interval may be looked at after every outcome and holds all the same."
    )]
    Measure(Measure),
}

#[derive(Debug, Args)]
struct Decide {
    /// The plan
    plan: PathBuf,
    /// Who decides
    #[arg(long, value_name = "NAME")]
    by: String,
    /// Only this customer (may be given several times); default: all
    #[arg(long, value_name = "ID")]
    customer: Vec<String>,
}

#[derive(Debug, Args)]
struct Measure {
    /// The plan
    plan: PathBuf,
    /// Outcomes as they came in, the earliest first; customers who are not in it are not known yet
    file: PathBuf,
    /// The column that names the customer
    #[arg(long, value_name = "COLUMN")]
    id: String,
    /// The column that says who left
    #[arg(long, value_name = "COLUMN")]
    target: String,
    /// The target's value that means "left"
    #[arg(long, value_name = "VALUE", default_value = "1")]
    positive: String,
    /// The separator; default: found out
    #[arg(long, value_name = "CHARACTER")]
    delimiter: Option<char>,
    /// Language of the report
    #[arg(long, value_enum, default_value_t = Language::En)]
    lang: Language,
}

impl Assign {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let now = || SystemClock::new().now();
        match self.command {
            Command::Propose(propose) => propose.run(global, now()),
            Command::Approve(decide) => decide.run(global, State::Approved, now()),
            Command::Undo(decide) => decide.run(global, State::Undone, now()),
            Command::Show { plan } => {
                let plan = PlanFile::read(&plan)?;
                if global.json {
                    out::line(plan.json()?)?
                } else {
                    plan.show()?
                }
                Ok(Exit::Ok)
            }
            Command::Measure(measure) => measure.run(global),
        }
    }
}

impl Decide {
    fn run(self, global: &Global, state: State, now: i64) -> Outcome {
        if self.by.trim().is_empty() {
            return Err(Failure::new(Exit::Usage, "--by: a person's name is needed"));
        }
        let mut plan = PlanFile::read(&self.plan)?;
        let changed = plan.decide(state, &self.by, &self.customer, now)?;
        plan.write(&self.plan)?;
        if global.json {
            out::line(json!({"changed": changed, "state": state, "plan": self.plan}))?;
        } else {
            let done = if state == State::Approved { "approved" } else { "undone" };
            out::line(format_args!("{changed} assignment(s) {done} by {}", self.by))?;
        }
        Ok(Exit::Ok)
    }
}

impl Measure {
    fn run(self, global: &Global) -> Outcome {
        let lang = Lang::from(self.lang);
        let plan = PlanFile::read(&self.plan)?;
        let (table, _) = read_table(&self.file, delimiter(self.delimiter)?, true)?;
        let (ids, answers) = (table.column(&self.id)?, table.column(&self.target)?);
        let mut trial = Trial::new(&HoldOut::new(plan.hold_out, plan.seed)?)?;
        let mut left = [0_u64; 2];
        for row in 0..table.rows() {
            let (Some(id), Some(answer)) = (ids.cell(row), answers.cell(row)) else { continue };
            let Some(entry) = plan.entries.iter().find(|entry| entry.customer == id) else { continue };
            let acted = match entry.state {
                State::Approved => true,
                State::HeldOut => false,
                State::Proposed | State::Undone => continue,
            };
            let leaves = answer == self.positive;
            trial.observe(acted, leaves, entry.probability);
            if let Some(count) = left.get_mut(usize::from(acted)) {
                *count += u64::from(leaves);
            }
        }
        let (acted, held_out) = trial.outcomes();
        let effect = trial.effect();
        if global.json {
            out::line(json!({
                "acted": acted, "held_out": held_out, "left_acted": left[1], "left_held_out": left[0], "effect": effect,
                "verdict": trial.verdict(),
            }))?;
            return Ok(Exit::Ok);
        }
        let [left_held, left_acted] = left;
        out::line(match lang {
            Lang::En => {
                format!("{left_acted} of {acted} with the action left, {left_held} of {held_out} held out")
            }
            Lang::Fr => format!(
                "Départs : {left_acted} sur {acted} avec l’action, {left_held} sur {held_out} témoins"
            ),
        })?;
        let verdict = match effect {
            None => Words::new(
                "too few outcomes yet: at least 20 of each kind are needed",
                "encore trop peu d’issues connues : il en faut au moins 20 de chaque sorte",
            ),
            Some(_) => trial.verdict().words(),
        };
        if let Some(effect) = effect {
            let points = |v: f64| signed(100.0 * v, 1, lang);
            let (estimate, low, high) = (points(effect.estimate), points(effect.low), points(effect.high));
            out::line(match lang {
                Lang::En => format!("Change in churn: {estimate} points [{low}, {high}]"),
                Lang::Fr => format!("Variation des départs : {estimate} points [{low} ; {high}]"),
            })?;
        }
        out::line(verdict.text(lang))?;
        Ok(Exit::Ok)
    }
}
