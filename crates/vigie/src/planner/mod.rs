//! The planner: proposes who takes care of whom, records what people decide, and measures whether it helped.
//!
//! The truth are the topics `assignments` and `managers`: every change of state is a record there, under the customer's or manager's key.
//! What stands is read from them, at start and afterwards, whichever instance decided ([`crate::decisions`]): a restart forgets nothing
//! that was acknowledged, and all instances show the same.

mod managers;
mod measure;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vigie_churn::assign::Comparison;
use vigie_churn::effect::{EffectReport, RankingRule};
use vigie_churn::ranking::EffectBasis;
use vigie_domain::{Assignment, AssignmentState, AuditEntry, CustomerId, CustomerView, Manager, topics};
use vigie_log::{Clock, LogError, Message};

use crate::audit;
use crate::config::AssignmentConfig;
use crate::decisions::{self, Decisions};

pub use measure::{KnownOutcomes, Saved, after_the_draw, effect_of, saved};
pub use plan::{PLANNER, Plan, state_of, value_of};

/// What can go wrong with proposals.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlannerError {
    /// The managers' file.
    #[error(
        "managers' file {path}: {reason}; it must be a JSON array of objects with `id`, `name` and `capacity`"
    )]
    Managers {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A record of `assignments` or `managers` cannot be written.
    #[error("assignments: {0}")]
    Json(#[from] serde_json::Error),
    /// A record of `assignments` or `managers` is not one that this version can read.
    #[error(
        "topic `{topic}`, key `{key}`: {source}; it was written by another version of the program, or by another program. Start the version that wrote it, or remove the record (write one with this key and no value)"
    )]
    Unreadable {
        /// The topic.
        topic: &'static str,
        /// The record's key.
        key: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A manager as nobody can be.
    #[error("{0}")]
    BadManager(String),
    /// No such manager.
    #[error("there is no manager {0}")]
    NoManager(String),
    /// The manager still has customers.
    #[error("manager {manager} has {customers} approved customer(s); undo these approvals first")]
    Busy {
        /// The manager.
        manager: String,
        /// How many.
        customers: usize,
    },
    /// No such assignment.
    #[error("customer {0} has no proposal or assignment")]
    Unknown(CustomerId),
    /// The change is not possible from this state.
    #[error("the assignment of customer {customer} is {state} and cannot be {wanted}")]
    WrongState {
        /// The customer.
        customer: CustomerId,
        /// Where it stands.
        state: &'static str,
        /// What was asked for.
        wanted: &'static str,
    },
    /// The manager has no place left.
    #[error(
        "manager {manager} has {capacity} customers already, which is the capacity; undo one first, or raise the capacity"
    )]
    Full {
        /// The manager.
        manager: String,
        /// How many at most.
        capacity: u32,
    },
    /// The computation.
    #[error(transparent)]
    Churn(#[from] vigie_churn::ChurnError),
}

/// What stands, and what was computed last.
#[derive(Debug, Clone, Default)]
struct State {
    managers: BTreeMap<String, Manager>,
    standing: BTreeMap<CustomerId, Assignment>,
    comparison: Option<Comparison>,
    effect: Option<Arc<EffectReport>>,
}

/// Called with each approved pair, and with `None` when an approval is undone, so that a scenario can make it come true.
pub type OnDecided = Box<dyn Fn(&CustomerId, Option<&str>) + Send + Sync>;

/// Where what was decided arrives, from this instance and from others.
struct Desk {
    on_decided: OnDecided,
    state: Mutex<State>,
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record of `assignments`.
    fn assignment(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), PlannerError> {
        let customer = CustomerId(String::from_utf8_lossy(key).into_owned());
        let new: Option<Assignment> = readable(topics::ASSIGNMENTS, key, value)?;
        let mut state = self.state();
        let old = match &new {
            Some(new) => state.standing.insert(customer.clone(), new.clone()),
            None => state.standing.remove(&customer),
        };
        drop(state);
        let approved = |assignment: Option<Assignment>| {
            assignment.filter(|a| a.state == AssignmentState::Approved).map(|a| a.manager_id)
        };
        let (before, now) = (approved(old), approved(new));
        if before != now {
            (self.on_decided)(&customer, now.flatten().as_deref());
        }
        Ok(())
    }

    /// A record of `managers`.
    fn manager(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), PlannerError> {
        if let Some(change) = readable::<managers::Change>(topics::MANAGERS, key, value)? {
            change.apply(&mut self.state().managers);
        }
        Ok(())
    }
}

fn readable<T: serde::de::DeserializeOwned>(
    topic: &'static str,
    key: &[u8],
    value: Option<&[u8]>,
) -> Result<Option<T>, PlannerError> {
    let read = value.map(serde_json::from_slice).transpose();
    read.map_err(|source| PlannerError::Unreadable {
        topic,
        key: String::from_utf8_lossy(key).into_owned(),
        source,
    })
}

/// The planner of a running program.
pub struct PlannerService {
    config: AssignmentConfig,
    seed: u64,
    clock: Arc<dyn Clock>,
    decisions: Arc<Decisions>,
    desk: Arc<Desk>,
}

impl PlannerService {
    /// Reads what stands from the log, and follows it from there.
    pub fn open(
        decisions: Arc<Decisions>,
        clock: Arc<dyn Clock>,
        config: AssignmentConfig,
        seed: u64,
        on_decided: OnDecided,
    ) -> Result<Self, PlannerError> {
        let managers = managers::of_file(config.managers.as_deref())?;
        let managers = managers.into_iter().map(|manager| (manager.id.clone(), manager)).collect();
        let state = Mutex::new(State { managers, ..State::default() });
        let desk = Arc::new(Desk { on_decided, state });
        for (topic, take) in
            [(topics::MANAGERS, Desk::manager as Take), (topics::ASSIGNMENTS, Desk::assignment as Take)]
        {
            let standing = decisions::standing(decisions.log(), topic)?;
            for (key, (_, value)) in &standing.values {
                take(&desk, key, Some(value))?;
            }
            let desk = Arc::clone(&desk);
            let apply = move |key: &[u8], value: Option<&[u8]>, _: i64| {
                if let Err(error) = take(&desk, key, value) {
                    tracing::warn!(%error, "what another instance decided cannot be read");
                }
            };
            decisions.follow(topic, standing, Box::new(apply))?;
        }
        Ok(Self { config, seed, clock, decisions, desk })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.desk.state()
    }

    /// The managers, by id.
    pub fn managers(&self) -> Vec<Manager> {
        self.state().managers.values().cloned().collect()
    }

    /// Adds a manager, or changes the one with this id.
    pub fn put_manager(&self, entered: Manager, by: &str) -> Result<Manager, PlannerError> {
        let manager = managers::checked(entered)?;
        let told = audit::detail([
            ("name", manager.name.clone()),
            ("capacity", manager.capacity.to_string()),
            ("locations", manager.locations.join(" ")),
            ("skills", manager.skills.join(", ")),
            ("customers", manager.customers.len().to_string()),
        ]);
        self.decisions.decide(|| {
            let known = self.state().managers.contains_key(&manager.id);
            let action = if known { "manager.changed" } else { "manager.added" };
            let change = |at| managers::message(&manager, false, at);
            Ok((self.told(change, by, action, &manager.id, told.clone())?, manager.clone()))
        })
    }

    /// Removes a manager who has no approved customers.
    pub fn remove_manager(&self, id: &str, by: &str) -> Result<Manager, PlannerError> {
        self.decisions.decide(|| {
            let state = self.state();
            let manager =
                state.managers.get(id).cloned().ok_or_else(|| PlannerError::NoManager(id.to_owned()))?;
            let approved =
                |a: &&Assignment| a.state == AssignmentState::Approved && a.manager_id.as_deref() == Some(id);
            let customers = state.standing.values().filter(approved).count();
            drop(state);
            if customers > 0 {
                return Err(PlannerError::Busy { manager: id.to_owned(), customers });
            }
            let told = audit::detail([("name", manager.name.clone())]);
            let change = |at| managers::message(&manager, true, at);
            Ok((self.told(change, by, "manager.removed", id, told)?, manager.clone()))
        })
    }

    /// A change with its audit entry.
    fn told(
        &self,
        change: impl FnOnce(i64) -> Result<Message, PlannerError>,
        by: &str,
        action: &str,
        subject: &str,
        detail: BTreeMap<String, String>,
    ) -> Result<Vec<Message>, PlannerError> {
        let at = self.clock.now();
        let entry = AuditEntry::new(at, by, action, subject, detail);
        Ok(vec![change(at)?, audit::message(&entry)?])
    }

    /// The configuration.
    pub fn config(&self) -> &AssignmentConfig {
        &self.config
    }

    /// All assignments: proposals first, the most valuable first, then what was decided.
    pub fn standing(&self) -> Vec<Assignment> {
        let mut all: Vec<Assignment> = self.state().standing.values().cloned().collect();
        all.sort_by(|a, b| {
            rank(a.state)
                .cmp(&rank(b.state))
                .then(b.expected_value_saved.total_cmp(&a.expected_value_saved))
                .then(a.customer_id.cmp(&b.customer_id))
        });
        all
    }

    /// One customer's assignment.
    pub fn of(&self, customer: &CustomerId) -> Option<Assignment> {
        self.state().standing.get(customer).cloned()
    }

    /// How the last proposal compares with simpler ways.
    pub fn comparison(&self) -> Option<Comparison> {
        self.state().comparison
    }

    /// What the history says about managers, once it has been measured.
    pub fn effect(&self) -> Option<Arc<EffectReport>> {
        self.state().effect.clone()
    }

    /// Sets what was measured.
    pub fn set_effect(&self, report: EffectReport) {
        self.state().effect = Some(Arc::new(report));
    }

    /// The effect that proposals count with: the measured one where the data supports it, else the assumption.
    pub fn basis(&self) -> Result<EffectBasis, PlannerError> {
        let assumed = EffectBasis::assumed(self.config.assumed_effect)?;
        Ok(self.effect().map_or(assumed, |report| EffectBasis::supported_by(&report, assumed)))
    }

    /// Proposes anew for these customers; publishes what changed and returns how many that is.
    pub fn propose(&self, customers: &[CustomerView], by: &str) -> Result<usize, PlannerError> {
        let basis = self.basis()?;
        let (changed, comparison) = self.decisions.decide(|| {
            let state = self.state();
            let trial_only =
                state.effect.as_ref().is_some_and(|report| report.rule == RankingRule::TrialOnly);
            let managers: Vec<Manager> = state.managers.values().cloned().collect();
            let plan = plan::plan(&plan::Inputs {
                trial_only,
                customers,
                managers: &managers,
                standing: &state.standing,
                basis,
                config: &self.config,
                seed: self.seed,
                now: self.clock.now(),
            })?;
            Ok::<_, PlannerError>((self.proposed(&state, &plan, by)?, (plan.changes.len(), plan.comparison)))
        })?;
        self.state().comparison = Some(comparison);
        Ok(changed)
    }

    /// The records of a plan, with their audit entry if there is something to tell.
    fn proposed(&self, state: &State, plan: &Plan, by: &str) -> Result<Vec<Message>, PlannerError> {
        let mut messages = plan.changes.iter().map(message).collect::<Result<Vec<_>, _>>()?;
        // A value that moved is no decision; a new group, manager or state is.
        let decided = |wanted: AssignmentState| {
            let new = plan.changes.iter().filter(|new| new.state == wanted).filter(|new| {
                let old = state.standing.get(&new.customer_id);
                old.is_none_or(|old| old.state != new.state || old.manager_id != new.manager_id)
            });
            new.count()
        };
        let counts = [
            ("proposed", decided(AssignmentState::Proposed)),
            ("held_out", decided(AssignmentState::HeldOut)),
            ("taken_back", decided(AssignmentState::Undone)),
        ];
        if by != PLANNER || counts.iter().any(|(_, count)| *count > 0) {
            let told = audit::detail(counts.map(|(name, count)| (name, count.to_string())));
            let entry = AuditEntry::new(self.clock.now(), by, "assignments.proposed", "queue", told);
            messages.push(audit::message(&entry)?);
        }
        Ok(messages)
    }

    /// A person says yes.
    pub fn approve(&self, customer: &CustomerId, by: &str) -> Result<Assignment, PlannerError> {
        self.decide(customer, by, |state, old| {
            let manager = match (old.state, &old.manager_id) {
                (AssignmentState::Proposed | AssignmentState::Undone, Some(manager)) => manager,
                _ => return Err(wrong_state(old, "approved")),
            };
            let of = state.managers.get(manager).ok_or_else(|| PlannerError::NoManager(manager.clone()))?;
            let known = of.customers.contains(&old.customer_id);
            if !known && plan::places_taken(of, &state.standing) >= of.capacity as usize {
                return Err(PlannerError::Full { manager: manager.clone(), capacity: of.capacity });
            }
            Ok(AssignmentState::Approved)
        })
    }

    /// A person takes it back: an approval becomes a proposal again, a proposal is put aside.
    pub fn undo(&self, customer: &CustomerId, by: &str) -> Result<Assignment, PlannerError> {
        self.decide(customer, by, |_, old| match old.state {
            AssignmentState::Approved => Ok(AssignmentState::Proposed),
            AssignmentState::Proposed => Ok(AssignmentState::Undone),
            AssignmentState::Undone | AssignmentState::HeldOut => Err(wrong_state(old, "undone")),
        })
    }

    /// Acknowledged on disk before it is believed: what stands changes only after the log has the record.
    fn decide(
        &self,
        customer: &CustomerId,
        by: &str,
        next: impl Fn(&State, &Assignment) -> Result<AssignmentState, PlannerError>,
    ) -> Result<Assignment, PlannerError> {
        self.decisions.decide(|| {
            let state = self.state();
            let old = state.standing.get(customer).ok_or_else(|| PlannerError::Unknown(customer.clone()))?;
            let new = Assignment {
                state: next(&state, old)?,
                by: by.to_owned(),
                updated_at: self.clock.now().max(old.updated_at + 1),
                ..old.clone()
            };
            drop(state);
            let action = match new.state {
                AssignmentState::Approved => "assignment.approved",
                AssignmentState::Proposed => "assignment.unapproved",
                AssignmentState::Undone => "assignment.put_aside",
                AssignmentState::HeldOut => "assignment.held_out",
            };
            let told = audit::detail([
                ("manager", new.manager_id.clone().unwrap_or_default()),
                ("expected_value_saved", format!("{:.2}", new.expected_value_saved)),
                ("probability", format!("{:.4}", new.probability)),
                ("model", new.model_version.clone()),
            ]);
            Ok((self.told(|_| message(&new), by, action, customer.as_str(), told)?, new))
        })
    }
}

/// How the desk takes a record.
type Take = fn(&Desk, &[u8], Option<&[u8]>) -> Result<(), PlannerError>;

fn wrong_state(old: &Assignment, wanted: &'static str) -> PlannerError {
    let state = match old.state {
        AssignmentState::Proposed => "proposed",
        AssignmentState::Approved => "approved",
        AssignmentState::Undone => "undone",
        AssignmentState::HeldOut => {
            "held out (the control group gets no manager, so that the effect can be measured)"
        }
    };
    PlannerError::WrongState { customer: old.customer_id.clone(), state, wanted }
}

fn rank(state: AssignmentState) -> u8 {
    match state {
        AssignmentState::Proposed => 0,
        AssignmentState::Approved => 1,
        AssignmentState::Undone => 2,
        AssignmentState::HeldOut => 3,
    }
}

fn message(assignment: &Assignment) -> Result<Message, PlannerError> {
    Ok(Message::new(topics::ASSIGNMENTS, serde_json::to_vec(assignment)?)
        .with_key(assignment.customer_id.as_str())
        .at(assignment.updated_at))
}
