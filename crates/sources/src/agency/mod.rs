//! The agency scenario: customers log in, search, fill carts, buy, comment or fall silent, in accelerated time.
//!
//! ```text
//! 900 records ─▶ introduced on `costumerchurn`
//! each customer:  session … session … session        (events on `evenements`)
//!                 purchase, change of sites, manager  ─▶ changed record on `costumerchurn`
//!                 once a year: decision ──30 days──▶ outcome on `outcomes`; who decided to leave is silent from then on
//! ```
//! Invariants:
//! - the same seed, customers, start and clock give the same records; a draw of one customer depends on nobody else;
//! - an event costs O(log n) (one heap entry a customer);
//! - a customer who left does nothing any more;
//! - a restart neither repeats nor loses a record: the state file is written only after its records are durable, each record carries
//!   its number ([`SEQUENCE_HEADER`]), and [`Agency::skip_published`] looks up in the log which one was the last.
//!
//! The decision is drawn from the hidden hazard of `person.rs`, which is the risk in the agency's own data: a calibrated model of
//! that data is roughly calibrated here. What is made up stays marked: header `time-domain` and `SourceInfo::simulated`.

mod person;
mod published;
mod state;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vigie_domain::{Customer, CustomerId, Outcome, topics};
use vigie_log::{LogError, Timestamp};

use crate::source::interval;
use crate::{Moment, Source, SourceInfo, SourceRecord, Step, Then, shop};
use person::{Act, Person, Tempo};
pub use state::AgencyError;
use state::State;

/// Header with the run and the number of a record of the scenario: `run:number`.
pub const SEQUENCE_HEADER: &str = "scenario-sequence";
/// Value of the header `time-domain`.
pub const TIME_DOMAIN: &str = "agency";
/// At most so many records a step.
const MAX_STEP: usize = 500;
/// The scenario looks for approved assignments at least this often.
const MAX_WAIT: Duration = Duration::from_millis(200);
const MIN_WAIT: Duration = Duration::from_millis(5);
/// A scenario that is further behind than this (a slow log, a machine asleep) does not catch up.
const MAX_LAG: Duration = Duration::from_secs(5);

/// How the scenario behaves.
#[derive(Debug, Clone)]
pub struct AgencyOptions {
    /// The customers it begins with.
    pub customers: Vec<Customer>,
    /// The seed.
    pub seed: u64,
    /// Shop events a second of wall time, about; 0 switches the scenario off.
    pub rate: f64,
    /// How much faster than the wall clock its time runs.
    pub speed: f64,
    /// Its time at the beginning, ms since the epoch; `None`: now.
    pub start: Option<Timestamp>,
    /// What a manager who was assigned on approval does to the log-odds of leaving (hidden from the model).
    pub manager_effect: f64,
    /// Where its state is kept; `None`: nowhere, each start begins anew.
    pub state: Option<PathBuf>,
    /// How often it is written.
    pub state_every: Duration,
    /// Topic of the events.
    pub events_topic: String,
    /// Topic of the customers' records.
    pub customers_topic: String,
    /// Topic of the outcomes.
    pub outcomes_topic: String,
}

impl AgencyOptions {
    /// The scenario of these customers at the demo's speed: half a day a second, 20 events a second.
    pub fn new(customers: Vec<Customer>) -> Self {
        Self {
            customers,
            seed: 7,
            rate: 20.0,
            speed: 43_200.0,
            start: None,
            manager_effect: -0.5,
            state: None,
            state_every: Duration::from_secs(2),
            events_topic: topics::EVENEMENTS.to_owned(),
            customers_topic: topics::COSTUMERCHURN.to_owned(),
            outcomes_topic: topics::OUTCOMES.to_owned(),
        }
    }
}

/// Who has which manager from now on.
type News = Vec<(CustomerId, Option<String>)>;

/// Tells the scenario about managers; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Assignments(Arc<Mutex<News>>);

impl Assignments {
    /// This customer has this manager from now on. Telling it twice changes nothing.
    pub fn assigned(&self, customer: &CustomerId, manager: &str) {
        self.push(customer, Some(manager.to_owned()));
    }

    /// The assignment was undone.
    pub fn undone(&self, customer: &CustomerId) {
        self.push(customer, None);
    }

    fn push(&self, customer: &CustomerId, manager: Option<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((customer.clone(), manager));
    }

    fn take(&self) -> News {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The scenario.
pub struct Agency {
    options: AgencyOptions,
    ids: Vec<CustomerId>,
    by_id: HashMap<CustomerId, usize>,
    assignments: Assignments,
    state: Option<State>,
    /// When each customer does something next, earliest first; an entry that does not agree with the person is stale.
    heap: BinaryHeap<Reverse<(Timestamp, usize)>>,
    active: usize,
    /// Scenario time at a moment of the runner's time.
    anchor: Option<(Timestamp, Duration)>,
    /// Records up to this number are in the log already.
    skip_until: u64,
    saved: Duration,
    dirty: bool,
    error: Option<String>,
}

impl Agency {
    /// The scenario, continued from its state file if there is one of the same seed and customers. A state file of others is
    /// set aside as `*.old`.
    pub fn new(options: AgencyOptions) -> Result<Self, AgencyError> {
        if options.customers.is_empty() {
            return Err(AgencyError::NoCustomers);
        }
        let ids: Vec<CustomerId> = options.customers.iter().map(Customer::id).collect();
        let state = match &options.state {
            Some(path) => State::load(path, options.seed, &ids)?,
            None => None,
        };
        let by_id = ids.iter().cloned().enumerate().map(|(index, id)| (id, index)).collect();
        let mut agency = Self {
            ids,
            by_id,
            assignments: Assignments::default(),
            state,
            heap: BinaryHeap::new(),
            active: 0,
            anchor: None,
            skip_until: 0,
            saved: Duration::ZERO,
            dirty: false,
            error: None,
            options,
        };
        agency.fill_heap();
        Ok(agency)
    }

    /// How to tell it about managers.
    pub fn assignments(&self) -> Assignments {
        self.assignments.clone()
    }

    /// The scenario's time so far, ms since the epoch; `None` before its first step.
    pub fn time(&self) -> Option<Timestamp> {
        self.state.as_ref().map(|state| state.time)
    }

    /// Whether it goes on from a state file.
    pub fn resumed(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.sequence > 0)
    }

    /// Looks up in the log which records were published after the state file was written; they are not published again. To be
    /// called once, before the first step, where there is a log to ask.
    pub fn skip_published(&mut self, log: &dyn vigie_log::Log) -> Result<(), LogError> {
        if let Some(state) = &self.state {
            let topics =
                [&self.options.events_topic, &self.options.customers_topic, &self.options.outcomes_topic];
            self.skip_until =
                published::last_number(log, &topics.map(String::as_str), &state.run)?.unwrap_or(0);
        }
        Ok(())
    }

    fn fill_heap(&mut self) {
        let Some(state) = &self.state else { return };
        self.heap =
            state.people.iter().enumerate().map(|(index, person)| Reverse((person.due(), index))).collect();
        self.active = state.people.iter().filter(|person| person.is_active()).count();
    }

    fn tempo(&self) -> Tempo {
        Tempo::new(self.options.rate, self.options.speed, self.active)
    }

    fn begin(&mut self, wall: Timestamp) {
        let start = self.options.start.unwrap_or(wall);
        self.active = self.ids.len();
        let tempo = self.tempo();
        let people =
            (0..self.ids.len()).map(|index| Person::new(self.options.seed, index, start, tempo)).collect();
        self.state = Some(State::new(self.options.seed, &self.ids, start, people));
        self.fill_heap();
        // The run must be known before its first record is published.
        self.save();
    }

    fn save(&mut self) {
        let (Some(path), Some(state)) = (&self.options.state, &self.state) else { return };
        match state.save(path) {
            Ok(()) => {
                self.dirty = false;
                self.error = None;
            }
            Err(error) => self.error = Some(error.to_string()),
        }
    }

    /// Numbers a record and keeps it, unless it is in the log already.
    fn emit(&mut self, out: &mut Vec<SourceRecord>, mut record: SourceRecord) {
        let Some(state) = &mut self.state else { return };
        state.sequence += 1;
        if state.sequence <= self.skip_until {
            return;
        }
        record.headers.push((topics::TIME_DOMAIN.to_owned(), TIME_DOMAIN.into()));
        record
            .headers
            .push((SEQUENCE_HEADER.to_owned(), format!("{}:{}", state.run, state.sequence).into_bytes()));
        out.push(record);
    }

    fn emit_customer(&mut self, out: &mut Vec<SourceRecord>, index: usize, at: Timestamp) {
        let (Some(state), Some(base)) = (&self.state, self.options.customers.get(index)) else { return };
        let (Some(person), Some(id)) = (state.people.get(index), self.ids.get(index)) else { return };
        let mut customer = person.customer(base, at, state.start);
        customer.customer_id = Some(id.clone());
        let record = SourceRecord {
            topic: self.options.customers_topic.clone(),
            key: Some(id.0.clone().into_bytes()),
            value: serde_json::to_vec(&customer).unwrap_or_default(),
            headers: Vec::new(),
            timestamp: at,
        };
        self.emit(out, record);
    }

    fn take_assignments(&mut self, out: &mut Vec<SourceRecord>) {
        for (customer, manager) in self.assignments.take() {
            let Some(index) = self.by_id.get(&customer).copied() else { continue };
            let Some(state) = &mut self.state else { continue };
            let at = state.time;
            let Some(person) = state.people.get_mut(index) else { continue };
            if person.is_active() && person.manager != manager {
                person.manager = manager;
                self.dirty = true;
                self.emit_customer(out, index, at);
            }
        }
    }

    /// Lets one customer do what is due.
    fn act(&mut self, out: &mut Vec<SourceRecord>, index: usize) {
        let tempo = self.tempo();
        let (seed, effect) = (self.options.seed, self.options.manager_effect);
        let Some(base) = self.options.customers.get(index) else { return };
        let Some(id) = self.ids.get(index) else { return };
        let Some(state) = &mut self.state else { return };
        let start = state.start;
        let Some(person) = state.people.get_mut(index) else { return };
        let at = person.due();
        let act = person.act(seed, index, base, start, tempo, effect);
        let due = person.due();
        state.time = state.time.max(at);
        if due < Timestamp::MAX {
            self.heap.push(Reverse((due, index)));
        }
        match act {
            Act::Nothing => {}
            Act::Changed => self.emit_customer(out, index, at),
            Act::Shop { event_type, price, session, draw } => {
                let mut rng = crate::random::draw(seed ^ 1, index, draw);
                let session = format!("{}-{session}", id.0);
                let mut event = shop::event(&mut rng, event_type, id.0.clone(), session, at);
                if let Some(cents) = price {
                    event.price = Some(cents as f64 / 100.0);
                }
                let record = shop::record(&self.options.events_topic, &event, at);
                self.emit(out, record);
                if price.is_some() {
                    self.emit_customer(out, index, at);
                }
            }
            Act::Outcome { churned } => {
                let outcome = Outcome {
                    customer_id: id.clone(),
                    churned,
                    event_time: at,
                    known_from: String::from("scenario"),
                };
                let record = SourceRecord {
                    topic: self.options.outcomes_topic.clone(),
                    key: Some(id.0.clone().into_bytes()),
                    value: serde_json::to_vec(&outcome).unwrap_or_default(),
                    headers: Vec::new(),
                    timestamp: at,
                };
                self.emit(out, record);
                if churned {
                    self.active = self.active.saturating_sub(1);
                } else {
                    // An anniversary: the years have passed.
                    self.emit_customer(out, index, at);
                }
            }
        }
    }

    /// Introduces the next customers; `false` when all are known.
    fn introduce(&mut self, out: &mut Vec<SourceRecord>) -> bool {
        let Some(state) = &mut self.state else { return false };
        let (from, at) = (state.introduced, state.start);
        let to = (from + MAX_STEP).min(self.ids.len());
        state.introduced = to;
        for index in from..to {
            self.emit_customer(out, index, at);
        }
        to > from
    }
}

impl Source for Agency {
    fn info(&self) -> SourceInfo {
        let AgencyOptions { events_topic, customers_topic, outcomes_topic, rate, .. } = &self.options;
        SourceInfo {
            name: String::from("agency"),
            kind: "agency",
            topics: vec![customers_topic.clone(), events_topic.clone(), outcomes_topic.clone()],
            simulated: true,
            recorded: false,
            rate_per_s: *rate,
        }
    }

    fn next(&mut self, now: Moment) -> Step {
        if interval(self.options.rate).is_none() || interval(self.options.speed).is_none() {
            return Step::idle(Then::Finished);
        }
        if self.state.is_none() {
            self.begin(now.wall);
        }
        let mut out = Vec::new();
        if self.introduce(&mut out) {
            return Step { records: out, then: Then::Pause(Duration::ZERO), error: self.error.clone() };
        }
        let reached = self.time().unwrap_or(now.wall);
        let (time, at) = *self.anchor.get_or_insert((reached, now.elapsed));
        let mut passed = now.elapsed.saturating_sub(at);
        let target = |passed: Duration| {
            time.saturating_add((passed.as_secs_f64() * self.options.speed * 1000.0) as i64)
        };
        let lag = Duration::from_secs_f64(
            ((target(passed).saturating_sub(reached)) as f64 / (self.options.speed * 1000.0)).clamp(0.0, 1e9),
        );
        if lag > MAX_LAG {
            // Counted anew from where it stands.
            self.anchor = Some((reached, now.elapsed));
            passed = Duration::ZERO;
        }
        let target = if lag > MAX_LAG { reached } else { target(passed) };
        self.take_assignments(&mut out);
        let mut wait = MAX_WAIT;
        while let Some(Reverse((due, index))) = self.heap.peek().copied() {
            if due > target {
                let seconds = (due - target) as f64 / (self.options.speed * 1000.0);
                wait = Duration::from_secs_f64(seconds.clamp(0.0, 1e6)).clamp(MIN_WAIT, MAX_WAIT);
                break;
            }
            if out.len() >= MAX_STEP {
                wait = Duration::ZERO;
                break;
            }
            self.heap.pop();
            let stale = self.state.as_ref().and_then(|s| s.people.get(index)).is_none_or(|p| p.due() != due);
            if !stale {
                self.act(&mut out, index);
            }
        }
        if let Some(state) = &mut self.state
            && wait > Duration::ZERO
        {
            state.time = state.time.max(target);
        }
        if self.heap.is_empty() {
            // Everybody has left.
            return Step { records: out, then: Then::Finished, error: self.error.clone() };
        }
        Step { records: out, then: Then::Pause(wait), error: self.error.clone() }
    }

    fn durable(&mut self, now: Moment, ending: bool) {
        // A large file is written less often.
        let every = self.options.state_every.max(Duration::from_micros(self.ids.len() as u64 * 200));
        if ending || self.dirty || now.elapsed.saturating_sub(self.saved) >= every {
            self.saved = now.elapsed;
            self.save();
        }
    }
}
