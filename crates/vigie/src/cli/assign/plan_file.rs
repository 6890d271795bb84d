//! The file of a plan: who was proposed to whom, what people decided, and the trail of it.
//!
//! Format 1, JSON. Decisions only ever add to the trail; a held-out customer stays held out.

use std::path::Path;

use serde::{Deserialize, Serialize};
use vigie_churn::assign::Comparison;
use vigie_churn::words::{number, percent};
use vigie_churn::{Lang, Words};

use super::super::tables::write_file;
use super::super::{Exit, Failure, out};

pub(super) const FORMAT: u32 = 1;

/// Where a customer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Proposed,
    Approved,
    Undone,
    HeldOut,
}

/// One customer within reach.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    pub customer: String,
    pub state: State,
    /// Absent for those held out.
    pub manager: Option<String>,
    pub probability: f64,
    pub value: f64,
    pub value_saved: Option<f64>,
    pub why: Option<Words>,
}

/// One step of the trail.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Step {
    /// Milliseconds since 1970.
    pub at: i64,
    pub by: String,
    pub what: String,
    pub customers: Vec<String>,
}

/// A plan.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PlanFile {
    pub format: u32,
    pub model: String,
    pub seed: u64,
    pub hold_out: f64,
    /// What the values saved rest on.
    pub basis: Words,
    pub comparison: Comparison,
    pub entries: Vec<Entry>,
    pub audit: Vec<Step>,
}

impl PlanFile {
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let wrong = |what: String| Failure::new(Exit::BadInput, format!("{}: {what}", path.display()));
        let bytes = std::fs::read(path).map_err(|error| {
            wrong(format!("cannot be read: {error}; make a plan with `vigie assign propose`"))
        })?;
        let plan: Self = serde_json::from_slice(&bytes).map_err(|error| {
            wrong(format!("is not a plan: {error}; make one with `vigie assign propose`"))
        })?;
        if plan.format > FORMAT {
            return Err(wrong(format!(
                "has format {}, this program reads {FORMAT}: update Vigie",
                plan.format
            )));
        }
        Ok(plan)
    }

    pub fn json(&self) -> Result<String, Failure> {
        serde_json::to_string_pretty(self)
            .map_err(|error| Failure::new(Exit::Failure, format!("the plan cannot be written: {error}")))
    }

    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        write_file(path, self.json()?.as_bytes())
    }

    /// Approves or undoes; an empty list means all that can be. Gives how many changed.
    pub fn decide(
        &mut self,
        state: State,
        by: &str,
        customers: &[String],
        now: i64,
    ) -> Result<usize, Failure> {
        let from: &[State] = if state == State::Approved {
            &[State::Proposed, State::Undone]
        } else {
            &[State::Proposed, State::Approved]
        };
        for id in customers {
            let entry = self.entries.iter().find(|entry| entry.customer == *id);
            let refused = match entry {
                None => Some("is not in the plan"),
                Some(entry) if entry.state == State::HeldOut => {
                    Some("is held out at random, which cannot be changed")
                }
                Some(entry) if !from.contains(&entry.state) => Some("is there already"),
                Some(_) => None,
            };
            if let Some(why) = refused {
                return Err(Failure::new(
                    Exit::NothingFound,
                    format!("customer {id:?} {why}; nothing was changed"),
                ));
            }
        }
        // All at once means what is proposed; what somebody undid comes back by name only.
        let chosen = |entry: &Entry| match customers {
            [] => matches!(
                (state, entry.state),
                (State::Approved | State::Undone, State::Proposed) | (State::Undone, State::Approved)
            ),
            _ => customers.contains(&entry.customer),
        };
        let mut changed = Vec::new();
        for entry in self.entries.iter_mut().filter(|entry| chosen(entry)) {
            entry.state = state;
            changed.push(entry.customer.clone());
        }
        if changed.is_empty() {
            return Err(Failure::new(Exit::NothingFound, "nothing in the plan waits for this"));
        }
        let count = changed.len();
        let what = if state == State::Approved { "approved" } else { "undone" };
        self.audit.push(Step { at: now, by: by.to_owned(), what: what.to_owned(), customers: changed });
        Ok(count)
    }

    pub fn show(&self) -> Result<(), Failure> {
        let count = |state: State| self.entries.iter().filter(|entry| entry.state == state).count();
        out::line(format_args!(
            "{} proposed, {} approved, {} undone, {} held out",
            count(State::Proposed),
            count(State::Approved),
            count(State::Undone),
            count(State::HeldOut)
        ))?;
        out::line(&self.basis.en)?;
        let say = |value: f64| number(value, 0, Lang::En);
        out::line(format_args!(
            "expected value saved: {}; the riskiest first: {}; at random: {}",
            say(self.comparison.proposal),
            say(self.comparison.by_risk),
            say(self.comparison.at_random)
        ))?;
        let rows: Vec<Vec<String>> = self
            .entries
            .iter()
            .filter(|entry| entry.state != State::HeldOut)
            .take(20)
            .map(|entry| {
                vec![
                    entry.customer.clone(),
                    entry.manager.clone().unwrap_or_default(),
                    percent(entry.probability, Lang::En),
                    entry.value_saved.map_or_else(String::new, say),
                    format!("{:?}", entry.state).to_lowercase(),
                    entry.why.as_ref().map_or_else(String::new, |why| why.en.clone()),
                ]
            })
            .collect();
        out::table(&["CUSTOMER", "MANAGER", "RISK", "SAVED", "STATE", "WHY"], &rows)?;
        Ok(())
    }
}
