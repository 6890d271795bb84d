//! `vigie assign propose`.

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;
use vigie_churn::Words;
use vigie_churn::assign::{Client, Manager, Weights, propose};
use vigie_churn::effect::RankingRule;
use vigie_churn::holdout::HoldOut;
use vigie_churn::ranking::{Candidate, EffectBasis};

use super::super::import::delimiter;
use super::super::tables::{read_model, read_table};
use super::super::{Exit, Failure, Global, Outcome, out, score};
use super::plan_file::{Entry, FORMAT, PlanFile, State, Step};

/// In a trial of an action that the history speaks against, at least this share is held out.
const TRIAL_SHARE: f64 = 0.5;

#[derive(Debug, Args)]
pub(super) struct Propose {
    /// The model
    model: PathBuf,
    /// The customers
    file: PathBuf,
    /// Who can go: a JSON list of id, capacity, and perhaps name, locations, skills
    #[arg(long, value_name = "FILE")]
    managers: PathBuf,
    /// The column that names the customer
    #[arg(long, value_name = "COLUMN")]
    id: String,
    /// The column that says what a customer is worth
    #[arg(long, value_name = "COLUMN")]
    value: String,
    /// Where the plan goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The column with the customer's place, matched with the managers' locations
    #[arg(long, value_name = "COLUMN")]
    location: Option<String>,
    /// The column with the manager (id) who knows the customer
    #[arg(long, value_name = "COLUMN")]
    known_by: Option<String>,
    /// Leave out customers whose cell in this column says yes: they have the action already
    #[arg(long, value_name = "COLUMN")]
    skip: Option<String>,
    /// Leave out customers below this risk
    #[arg(long, value_name = "PROBABILITY", default_value_t = 0.0)]
    min_probability: f64,
    /// Share of the customers within reach who are held out at random
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    hold_out: f64,
    /// Share of leavers that the action is taken to keep, where none was measured
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    assumed_effect: f64,
    /// What acting on one customer costs
    #[arg(long, value_name = "MONEY", default_value_t = 0.0)]
    cost: f64,
    /// Act although the history speaks against it, to find out
    #[arg(long)]
    trial: bool,
    /// Decides who is held out
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// The separator; default: found out
    #[arg(long, value_name = "CHARACTER")]
    delimiter: Option<char>,
}

/// A manager as the file has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    id: String,
    capacity: usize,
    #[serde(default, rename = "name")]
    _name: Option<String>,
    #[serde(default)]
    locations: Vec<String>,
    #[serde(default)]
    skills: Vec<String>,
}

impl Propose {
    pub(super) fn run(self, global: &Global, now: i64) -> Outcome {
        let model = read_model(&self.model)?;
        let text = std::fs::read_to_string(&self.managers).map_err(|error| {
            Failure::new(Exit::BadInput, format!("{}: cannot be read: {error}", self.managers.display()))
        })?;
        let listed: Vec<Listed> = serde_json::from_str(&text).map_err(|error| {
            Failure::new(
                Exit::BadInput,
                format!(
                    "{}: {error}; a list such as [{{\"id\": \"m1\", \"capacity\": 25}}] is needed",
                    self.managers.display()
                ),
            )
        })?;
        let seats = listed.iter().fold(0_usize, |sum, manager| sum.saturating_add(manager.capacity));
        let (table, _) = read_table(&self.file, delimiter(self.delimiter)?, true)?;
        score::check_columns(&model, &self.file, &table.names())?;

        let assumed = EffectBasis::assumed(self.assumed_effect)?;
        let report = model.card().effect.as_ref();
        let against = report.is_some_and(|report| report.rule == RankingRule::TrialOnly);
        if let (true, false, Some(report)) = (against, self.trial, report) {
            return Err(Failure::new(
                Exit::Failure,
                format!(
                    "{} Nothing is proposed; --trial proposes a randomised trial all the same",
                    report.text(vigie_churn::Lang::En)
                ),
            ));
        }
        let basis = match report {
            Some(report) if !against => EffectBasis::supported_by(report, assumed),
            _ => assumed,
        };
        let share = if against { self.hold_out.max(TRIAL_SHARE) } else { self.hold_out };
        let hold_out = HoldOut::new(share, self.seed)?;

        let column = |name: &Option<String>| name.as_deref().map(|name| table.column(name)).transpose();
        let (ids, values) = (table.column(&self.id)?, table.column(&self.value)?);
        let (places, known, skip) = (column(&self.location)?, column(&self.known_by)?, column(&self.skip)?);
        let mut clients: Vec<(Client, f64)> = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for row in 0..table.rows() {
            let bad = |what: String| {
                Failure::new(Exit::BadInput, format!("{}, row {}: {what}", self.file.display(), row + 1))
            };
            let Some(id) = ids.cell(row) else { return Err(bad(format!("{} is blank", self.id))) };
            if !seen.insert(id) {
                out::note(format_args!(
                    "{}, row {}: {id:?} occurs more than once; its first row counts",
                    self.file.display(),
                    row + 1
                ));
                continue;
            }
            let has_it =
                skip.and_then(|column| column.cell(row)).and_then(vigie_churn::cells::boolean) == Some(true);
            let values_of = model
                .row(|name| table.column(name).ok().and_then(|column| column.cell(row)))
                .map_err(|error| bad(error.to_string()))?;
            let probability = model.score(&values_of).probability;
            let value = values
                .cell(row)
                .and_then(|text| vigie_churn::cells::number(text, vigie_churn::cells::NumberFormat::Point))
                .unwrap_or(0.0);
            if has_it || probability < self.min_probability {
                continue;
            }
            let candidate = Candidate { probability, value, own_effect: None };
            let place = places.and_then(|column| column.cell(row)).map(place_of);
            let client = Client {
                id: id.to_owned(),
                probability,
                gross_saved: candidate.value_saved(basis, 0.0),
                location: None,
                needs: place.into_iter().collect(),
                known_by: known.and_then(|column| column.cell(row)).map(str::to_owned),
            };
            clients.push((client, value));
        }
        // Within reach are as many as there are places for, the held-out among them: those acted on and those held out then differ by
        // chance alone.
        clients.sort_by(|a, b| b.0.gross_saved.total_cmp(&a.0.gross_saved).then_with(|| a.0.id.cmp(&b.0.id)));
        let reach = if share < 1.0 { (seats as f64 / (1.0 - share)).floor() as usize } else { 0 };
        clients.truncate(reach);
        let managers: Vec<Manager> = listed
            .into_iter()
            .map(|manager| Manager {
                id: manager.id,
                capacity: manager.capacity,
                location: None,
                skills: manager.skills.into_iter().chain(manager.locations).collect(),
            })
            .collect();
        let weights = Weights { location: 0.0, cost: self.cost, ..Weights::default() };
        let list: Vec<Client> = clients.iter().map(|(client, _)| client.clone()).collect();
        let proposal = propose(&list, &managers, weights, Some(&hold_out), self.seed)?;
        let entry = |index: usize| {
            let (client, value) = clients.get(index)?;
            Some(Entry {
                customer: client.id.clone(),
                state: State::HeldOut,
                manager: None,
                probability: client.probability,
                value: *value,
                value_saved: None,
                why: None,
            })
        };
        let mut entries: Vec<Entry> = proposal
            .pairs
            .iter()
            .filter_map(|pair| {
                Some(Entry {
                    state: State::Proposed,
                    manager: managers.get(pair.manager).map(|manager| manager.id.clone()),
                    value_saved: Some(pair.value_saved),
                    why: Some(pair.why.clone()),
                    ..entry(pair.client)?
                })
            })
            .collect();
        entries.extend(proposal.held_out.iter().filter_map(|index| entry(*index)));
        let trial = Words::new(
            "a trial: the history speaks against this action",
            "un essai : l’historique ne soutient pas cette action",
        );
        let basis = basis.words();
        let plan = PlanFile {
            format: FORMAT,
            model: model.id().to_owned(),
            seed: self.seed,
            hold_out: share,
            basis: if against {
                Words::new(format!("{}; {}", trial.en, basis.en), format!("{} ; {}", trial.fr, basis.fr))
            } else {
                basis
            },
            comparison: proposal.comparison,
            audit: vec![Step {
                at: now,
                by: "vigie".to_owned(),
                what: "proposed".to_owned(),
                customers: entries
                    .iter()
                    .filter(|e| e.manager.is_some())
                    .map(|e| e.customer.clone())
                    .collect(),
            }],
            entries,
        };
        plan.write(&self.out)?;
        if global.json {
            out::line(plan.json()?)?
        } else {
            plan.show()?
        }
        Ok(Exit::Ok)
    }
}

/// `1 Road Town, AK 89518` lies in AK; other places are themselves.
fn place_of(location: &str) -> String {
    let mut words = location.split_whitespace().rev();
    let code = words.next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit()));
    match words.next() {
        Some(state) if code && state.len() == 2 && state.chars().all(|c| c.is_ascii_uppercase()) => {
            state.to_owned()
        }
        _ => location.trim().to_owned(),
    }
}
