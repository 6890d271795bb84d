//! The planner: proposes who takes care of whom, records what people decide, and measures whether it helped.
//!
//! The truth is the topic `assignments`: every change of state is a record there, under the customer's key. What stands is read
//! from it at start, so a restart forgets nothing that was acknowledged.

mod measure;
mod plan;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vigie_churn::assign::Comparison;
use vigie_churn::effect::{EffectReport, RankingRule};
use vigie_churn::ranking::EffectBasis;
use vigie_domain::{Assignment, AssignmentState, CustomerId, CustomerView, Manager, topics};
use vigie_log::{Clock, Log, LogError, Message, Publisher, TopicPartition};

use crate::config::AssignmentConfig;

pub use measure::{Saved, effect_of, saved};
pub use plan::{PLANNER, Plan, state_of, value_of};

/// Managers of the demo, labelled as examples on the screens.
const EXAMPLE_MANAGERS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/managers.json"));

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
    standing: BTreeMap<CustomerId, Assignment>,
    comparison: Option<Comparison>,
    effect: Option<Arc<EffectReport>>,
}

/// Called with each approved pair, and with `None` when an approval is undone, so that a scenario can make it come true.
pub type OnDecided = Box<dyn Fn(&CustomerId, Option<&str>) + Send + Sync>;

/// The planner of a running program.
pub struct PlannerService {
    config: AssignmentConfig,
    managers: Vec<Manager>,
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
        let managers = managers(config.managers.as_deref())?;
        let standing = read_standing(log)?;
        for assignment in standing.values().filter(|a| a.state == AssignmentState::Approved) {
            if let Some(manager) = &assignment.manager_id {
                on_decided(&assignment.customer_id, Some(manager));
            }
        }
        let state = Mutex::new(State { standing, ..State::default() });
        Ok(Self { config, managers, seed, clock, publisher, on_decided, state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The managers.
    pub fn managers(&self) -> &[Manager] {
        &self.managers
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
    pub fn propose(&self, customers: &[CustomerView]) -> Result<usize, PlannerError> {
        let basis = self.basis()?;
        let mut state = self.state();
        let trial_only = state.effect.as_ref().is_some_and(|report| report.rule == RankingRule::TrialOnly);
        let plan = plan::plan(&plan::Inputs {
            trial_only,
            customers,
            managers: &self.managers,
            standing: &state.standing,
            basis,
            config: &self.config,
            seed: self.seed,
            now: self.clock.now(),
        })?;
        let failure: Arc<Mutex<Option<LogError>>> = Arc::default();
        for assignment in &plan.changes {
            let failure = Arc::clone(&failure);
            self.publisher.publish(message(assignment)?, move |outcome| {
                if let Err(error) = outcome {
                    *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
            });
        }
        self.publisher.flush();
        if let Some(error) = failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error.into());
        }
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
            let taken = state
                .standing
                .values()
                .filter(|a| a.state == AssignmentState::Approved && a.manager_id.as_ref() == Some(manager))
                .count();
            let capacity = self.managers.iter().find(|m| m.id == *manager).map_or(0, |m| m.capacity);
            if taken >= capacity as usize {
                return Err(PlannerError::Full { manager: manager.clone(), capacity });
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
        self.publisher.publish_wait(message(&new)?)?;
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

fn read_standing(log: &dyn Log) -> Result<BTreeMap<CustomerId, Assignment>, PlannerError> {
    let ends = log.admin().offsets(topics::ASSIGNMENTS)?;
    let partitions: Vec<TopicPartition> =
        (0..ends.len()).map(|p| TopicPartition::new(topics::ASSIGNMENTS, p as u32)).collect();
    let mut reader = log.reader(&partitions)?;
    let mut standing = BTreeMap::new();
    loop {
        let fetched = reader.poll(Duration::ZERO)?;
        for record in fetched.iter().flat_map(|fetched| fetched.batch.iter()) {
            if let Some(value) = record.value {
                let assignment: Assignment = serde_json::from_slice(value)?;
                standing.insert(assignment.customer_id.clone(), assignment);
            }
        }
        let at_end = partitions.iter().zip(&ends).all(|(partition, ends)| {
            reader.position(partition).is_some_and(|position| position >= ends.latest)
        });
        if at_end {
            return Ok(standing);
        }
    }
}

fn managers(path: Option<&Path>) -> Result<Vec<Manager>, PlannerError> {
    let (shown, text) = match path {
        None => (Path::new("managers.json (built in)"), EXAMPLE_MANAGERS.to_owned()),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| PlannerError::Managers {
                path: path.to_owned(),
                reason: error.to_string(),
            })?;
            (path, text)
        }
    };
    let bad = |reason: String| PlannerError::Managers { path: shown.to_owned(), reason };
    let managers: Vec<Manager> = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    let mut ids = std::collections::BTreeSet::new();
    match managers.iter().find(|manager| !ids.insert(manager.id.as_str())) {
        Some(twice) => Err(bad(format!("two managers have the id `{}`", twice.id))),
        None => Ok(managers),
    }
}
