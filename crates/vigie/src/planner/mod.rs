//! The planner: proposes who takes care of whom, records what people decide, and measures whether it helped.
//!
//! The truth is the topic `assignments`: every change of state is a record there, under the customer's key. What stands is read
//! from it at start, so a restart forgets nothing that was acknowledged.

mod managers;
mod measure;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vigie_churn::assign::Comparison;
use vigie_churn::effect::{EffectReport, RankingRule};
use vigie_churn::ranking::EffectBasis;
use vigie_domain::{Assignment, AssignmentState, AuditEntry, CustomerId, CustomerView, Manager, topics};
use vigie_log::{Clock, Log, LogError, Message, Publisher, Span, read_spans};

use crate::audit;
use crate::config::AssignmentConfig;

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
    /// A record of `assignments` cannot be written or read.
    #[error("assignments: {0}")]
    Json(#[from] serde_json::Error),
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

/// The planner of a running program.
pub struct PlannerService {
    config: AssignmentConfig,
    seed: u64,
    clock: Arc<dyn Clock>,
    publisher: Publisher,
    on_decided: OnDecided,
    state: Mutex<State>,
}

impl PlannerService {
    /// Reads what stands from the log.
    pub fn open(
        log: &dyn Log,
        publisher: Publisher,
        clock: Arc<dyn Clock>,
        config: AssignmentConfig,
        seed: u64,
        on_decided: OnDecided,
    ) -> Result<Self, PlannerError> {
        let managers = managers::open(config.managers.as_deref(), log)?;
        let mut standing = BTreeMap::new();
        for assignment in read_all::<Assignment>(log, topics::ASSIGNMENTS)? {
            standing.insert(assignment.customer_id.clone(), assignment);
        }
        for assignment in standing.values().filter(|a| a.state == AssignmentState::Approved) {
            if let Some(manager) = &assignment.manager_id {
                on_decided(&assignment.customer_id, Some(manager));
            }
        }
        let state = Mutex::new(State { managers, standing, ..State::default() });
        Ok(Self { config, seed, clock, publisher, on_decided, state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The managers, by id.
    pub fn managers(&self) -> Vec<Manager> {
        self.state().managers.values().cloned().collect()
    }

    /// Adds a manager, or changes the one with this id.
    pub fn put_manager(&self, entered: Manager, by: &str) -> Result<Manager, PlannerError> {
        let manager = managers::checked(entered)?;
        let mut state = self.state();
        let action =
            if state.managers.contains_key(&manager.id) { "manager.changed" } else { "manager.added" };
        let told = audit::detail([
            ("name", manager.name.clone()),
            ("capacity", manager.capacity.to_string()),
            ("locations", manager.locations.join(" ")),
            ("skills", manager.skills.join(", ")),
            ("customers", manager.customers.len().to_string()),
        ]);
        self.tell(|at| managers::message(&manager, false, at), by, action, &manager.id, told)?;
        state.managers.insert(manager.id.clone(), manager.clone());
        Ok(manager)
    }

    /// Removes a manager who has no approved customers.
    pub fn remove_manager(&self, id: &str, by: &str) -> Result<Manager, PlannerError> {
        let mut state = self.state();
        let manager =
            state.managers.get(id).cloned().ok_or_else(|| PlannerError::NoManager(id.to_owned()))?;
        let approved =
            |a: &&Assignment| a.state == AssignmentState::Approved && a.manager_id.as_deref() == Some(id);
        let customers = state.standing.values().filter(approved).count();
        if customers > 0 {
            return Err(PlannerError::Busy { manager: id.to_owned(), customers });
        }
        let told = audit::detail([("name", manager.name.clone())]);
        self.tell(|at| managers::message(&manager, true, at), by, "manager.removed", id, told)?;
        state.managers.remove(id);
        Ok(manager)
    }

    /// Publishes a change with its audit entry.
    fn tell(
        &self,
        change: impl FnOnce(i64) -> Result<Message, PlannerError>,
        by: &str,
        action: &str,
        subject: &str,
        detail: BTreeMap<String, String>,
    ) -> Result<(), PlannerError> {
        let at = self.clock.now();
        let entry = AuditEntry::new(at, by, action, subject, detail);
        Ok(audit::publish_all(&self.publisher, vec![change(at)?, audit::message(&entry)?])?)
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
        let mut state = self.state();
        let trial_only = state.effect.as_ref().is_some_and(|report| report.rule == RankingRule::TrialOnly);
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
        audit::publish_all(&self.publisher, messages)?;
        state.comparison = Some(plan.comparison);
        let changed = plan.changes.len();
        for assignment in plan.changes {
            state.standing.insert(assignment.customer_id.clone(), assignment);
        }
        Ok(changed)
    }

    /// A person says yes.
    pub fn approve(&self, customer: &CustomerId, by: &str) -> Result<Assignment, PlannerError> {
        let approved = self.decide(customer, by, |state, old| {
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
        })?;
        (self.on_decided)(customer, approved.manager_id.as_deref());
        Ok(approved)
    }

    /// A person takes it back: an approval becomes a proposal again, a proposal is put aside.
    pub fn undo(&self, customer: &CustomerId, by: &str) -> Result<Assignment, PlannerError> {
        let undone = self.decide(customer, by, |_, old| match old.state {
            AssignmentState::Approved => Ok(AssignmentState::Proposed),
            AssignmentState::Proposed => Ok(AssignmentState::Undone),
            AssignmentState::Undone | AssignmentState::HeldOut => Err(wrong_state(old, "undone")),
        })?;
        if undone.state == AssignmentState::Proposed {
            (self.on_decided)(customer, None);
        }
        Ok(undone)
    }

    /// Acknowledged on disk before it is believed: the state changes only after the log has the record.
    fn decide(
        &self,
        customer: &CustomerId,
        by: &str,
        next: impl Fn(&State, &Assignment) -> Result<AssignmentState, PlannerError>,
    ) -> Result<Assignment, PlannerError> {
        let mut state = self.state();
        let old = state.standing.get(customer).ok_or_else(|| PlannerError::Unknown(customer.clone()))?;
        let new = Assignment {
            state: next(&state, old)?,
            by: by.to_owned(),
            updated_at: self.clock.now().max(old.updated_at + 1),
            ..old.clone()
        };
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
        self.tell(|_| message(&new), by, action, customer.as_str(), told)?;
        state.standing.insert(customer.clone(), new.clone());
        Ok(new)
    }
}

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

/// All records of a topic as their type, each partition in its order.
fn read_all<T: serde::de::DeserializeOwned>(log: &dyn Log, topic: &str) -> Result<Vec<T>, PlannerError> {
    let mut all = Vec::new();
    let failed = read_spans(log, &Span::all(&*log.admin(), topic)?, |_, record| {
        match record.value.map(serde_json::from_slice) {
            None => ControlFlow::Continue(()),
            Some(Ok(read)) => {
                all.push(read);
                ControlFlow::Continue(())
            }
            Some(Err(error)) => ControlFlow::Break(error),
        }
    })?;
    failed.map_or(Ok(all), |error| Err(error.into()))
}
