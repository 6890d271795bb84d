//! A member of a streams group, as a machine: replies and time in, requests and changes of what is owned out. No I/O, no clock.
//!
//! ```text
//!                  fenced (110), unknown (25): all is lost
//!        ┌───────────────────────────────────────────────────────────────┐
//!        ▼                                                               │
//!     Joining ──ok──▶ Member ──no answer──▶ Probing ──ok──▶ Rejoining ───┤
//!   (epoch 0,   ▲       │  ▲              (old epoch,     (epoch 0,      │
//!    topology)  │       │  │               all fields)     topology)     │
//!               │       │  └───────ok with an assignment───────┘         │
//!               │    leave, or the caller stands still                   │
//!               │       ▼                                                │
//!               └── Leaving (epoch -1) ──▶ Away ──the caller is back─────┘
//! ```
//! Why it is like this (seen on brokers of version 4.3):
//! - **The broker sends an assignment once.** An answer that got lost may have carried one, and asking again does not bring it back; joining
//!   again under the same member id does. But a broker that has given up this member in the meantime would take the same request as a first
//!   join, and hand out tasks that others have worked on since. So after a lost answer the member first shows its old epoch
//!   (`Probing`): if the broker knows it, nothing was missed but the answer, and what is still assigned after joining again was owned
//!   all along. If not, everything is lost.
//! - A member that is asked to give up tasks keeps its epoch until it reports the smaller set; the others get theirs only then.
//! - Every change is followed by a heartbeat at once: a broker answers heartbeats, it never calls.
//!
//! Invariants:
//! - What is reported as owned is what the caller holds: a task leaves the report only after the caller has released it.
//! - [`Machine::proof_epoch`] does not move while there is a loss that the caller has not been told of: brokers check the epoch of a commit, not
//!   its partitions, so an epoch of after the loss would let the caller commit what others own.
//! - After a failure that a person must mend ([`Failure`]) heartbeats go on, so that the caller can commit what is under way and leave.

use std::sync::Arc;
use std::time::Duration;

use vigie_log::{MemberEndpoint, StandbyTask};

use super::messages::{Heartbeat, Join, Reply, Status, StatusCode, code};
use super::tasks::{Assignment, Tasks};

/// Until the broker has named its interval.
const FIRST_INTERVAL: Duration = Duration::from_secs(5);
/// Between heartbeats of a member that waits for its first tasks or for topics to appear.
const SETTLING: Duration = Duration::from_millis(250);
/// The same in the first moment after a join or a change, which is when a broker that need not wait for others assigns.
const HURRY: Duration = Duration::from_millis(50);
const HURRY_FOR: Duration = Duration::from_secs(1);
/// For how long after a join or a change heartbeats come faster.
const SETTLE_FOR: Duration = Duration::from_secs(15);
/// Wait before the first repetition of what failed; doubled each time.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(2);

/// What the member never changes.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) group: Arc<str>,
    pub(super) member: Arc<str>,
    pub(super) join: Arc<Join>,
    /// How long topics may be missing or unfit before that is a failure.
    pub(super) patience: Duration,
}

/// How a call ended that brought no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoReply {
    /// The broker has not seen the request.
    NotSent,
    /// The broker may have carried it out.
    Unknown,
}

/// What the driver has to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Send this and report how it went.
    Send(Box<Heartbeat>),
    /// Nothing before this moment.
    Wait(Duration),
    /// Nothing until somebody calls.
    Rest,
    /// The member has left; nothing follows.
    Left,
}

/// Whether another broker coordinates the group now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coordinator {
    Stays,
    Moved,
}

/// One change for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Revoke(Tasks),
    Lost(Tasks),
    Assign(Tasks),
    Standbys(Vec<StandbyTask>),
    /// A member asked all of them to stop; told once.
    Shutdown(String),
}

/// What a person has to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// Source topics are missing.
    MissingSources(String),
    /// Topics do not fit together.
    UnfitTopics(String),
    /// The broker did not make the internal topics.
    MissingInternal(String),
    /// These topics are there, but not shown to this member.
    Unseen(Vec<String>),
    /// These topics were deleted under the running program, and made again.
    Replaced(Vec<String>),
    /// The group runs another version of the program.
    OtherTopology(String),
    /// The broker refused the request for good.
    Refused { code: i16, text: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Joining,
    Member,
    Probing,
    Rejoining,
    Leaving,
    Away,
    Left,
}

/// The member. All times are since some fixed moment.
#[derive(Debug)]
pub(super) struct Machine {
    identity: Identity,
    phase: Phase,
    epoch: i32,
    proof_epoch: i32,
    /// The newest whole assignment; `None` until the broker has given one.
    target: Option<Assignment>,
    /// What the caller owns, as far as it has been told and has not released it.
    held: Tasks,
    /// The part of it that the caller was asked to give up.
    revoking: Tasks,
    /// What the caller still has to be told is gone.
    lost: Tasks,
    /// The copies that the caller was told to keep.
    copies: Option<Assignment>,
    /// What the broker has been told is owned.
    reported: Option<Assignment>,
    endpoint_epoch: i32,
    endpoints: Vec<MemberEndpoint>,
    interval: Duration,
    due: Duration,
    settle_until: Option<Duration>,
    failures: u32,
    /// The status that stands in the way of tasks, and since when.
    trouble: Option<(StatusCode, Duration)>,
    failure: Option<Failure>,
    ask_shutdown: bool,
    /// A member asked for the end of all; the text until the caller has been told.
    shutdown: Option<Option<String>>,
    /// After leaving: for good, or until the caller is back.
    leave_for_good: bool,
    /// A heartbeat is under way.
    in_flight: bool,
    /// The broker has answered with an epoch once.
    answered: bool,
}

impl Machine {
    /// A member about to join.
    pub(super) fn new(identity: Identity) -> Self {
        Self {
            identity,
            phase: Phase::Joining,
            epoch: 0,
            proof_epoch: 0,
            target: None,
            held: Tasks::new(),
            revoking: Tasks::new(),
            lost: Tasks::new(),
            copies: None,
            reported: None,
            endpoint_epoch: -1,
            endpoints: Vec::new(),
            interval: FIRST_INTERVAL,
            due: Duration::ZERO,
            settle_until: None,
            failures: 0,
            trouble: None,
            failure: None,
            ask_shutdown: false,
            shutdown: None,
            leave_for_good: false,
            in_flight: false,
            answered: false,
        }
    }

    /// Who it is.
    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The epoch that proves what the caller knows of.
    pub(super) fn proof_epoch(&self) -> i32 {
        self.proof_epoch
    }

    /// The broker's epoch of the member; 0 while it is none.
    pub(super) fn epoch(&self) -> i32 {
        self.epoch
    }

    /// What the caller owns.
    pub(super) fn held(&self) -> &Tasks {
        &self.held
    }

    /// The members that said where they can be asked.
    pub(super) fn endpoints(&self) -> &[MemberEndpoint] {
        &self.endpoints
    }

    /// What a person has to mend, if anything.
    pub(super) fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Whether the broker has accepted this member once.
    pub(super) fn has_joined(&self) -> bool {
        self.answered
    }

    /// Whether the member is none any more, for good.
    pub(super) fn has_left(&self) -> bool {
        self.phase == Phase::Left
    }

    /// What to do now.
    pub(super) fn next(&mut self, now: Duration) -> Next {
        match self.phase {
            Phase::Left => Next::Left,
            Phase::Away => Next::Rest,
            // A join that was refused for good is not repeated.
            Phase::Joining if self.failure.is_some() => Next::Rest,
            _ if now < self.due => Next::Wait(self.due),
            _ => {
                self.in_flight = true;
                Next::Send(Box::new(self.heartbeat()))
            }
        }
    }

    fn heartbeat(&self) -> Heartbeat {
        let mut heartbeat = Heartbeat {
            group: Arc::clone(&self.identity.group),
            member: Arc::clone(&self.identity.member),
            epoch: self.epoch,
            endpoint_epoch: self.endpoint_epoch,
            join: None,
            owned: None,
            shutdown: self.ask_shutdown,
        };
        match self.phase {
            Phase::Joining | Phase::Rejoining => {
                heartbeat.epoch = 0;
                heartbeat.join = Some(Arc::clone(&self.identity.join));
                // Brokers refuse a join that owns something.
                heartbeat.owned = Some(Assignment::default());
            }
            Phase::Leaving => heartbeat.epoch = -1,
            Phase::Probing => heartbeat.owned = Some(self.owned()),
            Phase::Member | Phase::Away | Phase::Left => {
                let owned = self.owned();
                if self.reported.as_ref() != Some(&owned) {
                    heartbeat.owned = Some(owned);
                }
            }
        }
        heartbeat
    }

    fn owned(&self) -> Assignment {
        let copies = self.copies.clone().unwrap_or_default();
        Assignment { active: self.held.clone(), ..copies }
    }

    /// How the call that [`next`](Self::next) asked for ended without a reply.
    pub(super) fn no_reply(&mut self, now: Duration, how: NoReply) {
        self.in_flight = false;
        self.phase = match (self.phase, how) {
            // Leaving is a courtesy: the session ends by itself.
            (Phase::Leaving, _) => self.after_leaving(),
            (Phase::Member | Phase::Rejoining, NoReply::Unknown) => Phase::Probing,
            (phase, _) => phase,
        };
        self.back_off(now);
    }

    fn back_off(&mut self, now: Duration) {
        let wait = FIRST_BACKOFF.saturating_mul(1 << self.failures.min(5));
        self.due = now + wait.min(LONGEST_BACKOFF);
        self.failures = self.failures.saturating_add(1);
    }

    /// The reply to what [`next`](Self::next) asked for. `sent` is that heartbeat.
    pub(super) fn replied(&mut self, now: Duration, sent: &Heartbeat, reply: Reply) -> Coordinator {
        self.in_flight = false;
        if sent.epoch == -1 {
            self.phase = self.after_leaving();
            return Coordinator::Stays;
        }
        match reply.error {
            code::NONE => self.accepted(now, sent, reply),
            code::UNKNOWN_MEMBER_ID | code::FENCED_MEMBER_EPOCH => {
                self.lose_all();
                self.phase = match self.phase {
                    Phase::Leaving => self.after_leaving(),
                    _ => Phase::Joining,
                };
                self.due = now;
            }
            code::NOT_COORDINATOR | code::COORDINATOR_NOT_AVAILABLE => {
                self.back_off(now);
                return Coordinator::Moved;
            }
            code::COORDINATOR_LOAD_IN_PROGRESS => self.back_off(now),
            // The broker may or may not have carried it out.
            code::REQUEST_TIMED_OUT | code::UNKNOWN_SERVER_ERROR => self.no_reply(now, NoReply::Unknown),
            error => {
                let text = reply.message;
                self.fail(if text.contains("opology updates are not supported") {
                    Failure::OtherTopology(text)
                } else {
                    Failure::Refused { code: error, text }
                });
                self.back_off(now);
            }
        }
        Coordinator::Stays
    }

    fn accepted(&mut self, now: Duration, sent: &Heartbeat, reply: Reply) {
        let grown = reply.epoch != self.epoch;
        self.epoch = reply.epoch;
        self.answered = true;
        self.failures = 0;
        if !reply.interval.is_zero() {
            self.interval = reply.interval;
        }
        if let Some(owned) = &sent.owned {
            self.reported = Some(owned.clone());
        }
        if sent.shutdown {
            self.ask_shutdown = false;
        }
        let gave = reply.active.is_some();
        let fresh = self.target.is_none();
        let target = self.target.get_or_insert_default();
        for (place, tasks) in [
            (&mut target.active, reply.active),
            (&mut target.standby, reply.standby),
            (&mut target.warmup, reply.warmup),
        ] {
            if let Some(tasks) = tasks {
                *place = tasks;
            }
        }
        match self.phase {
            Phase::Probing if !gave => self.phase = Phase::Rejoining,
            Phase::Rejoining => {
                // Joining again gave up, for the broker, what is not assigned anew.
                let gone: Tasks = self.held.difference(&target.active).cloned().collect();
                self.lose(gone);
                self.phase = Phase::Member;
            }
            Phase::Joining | Phase::Probing => self.phase = Phase::Member,
            Phase::Member | Phase::Leaving | Phase::Away | Phase::Left => {}
        }
        if let Some(endpoints) = reply.endpoints {
            self.endpoints = endpoints;
        }
        self.endpoint_epoch = reply.endpoint_epoch;
        self.consider(now, &reply.status);
        self.prove();
        if fresh || grown || gave {
            self.settle_until = Some(now + SETTLE_FOR);
        }
        let waits =
            self.trouble.is_some() || self.target.as_ref().is_none_or(|target| target.active.is_empty());
        let soon = waits && self.settle_until.is_some_and(|until| now < until);
        self.due = match self.phase {
            Phase::Rejoining | Phase::Leaving => now,
            _ if self.unreported() => now,
            _ if soon => {
                let hurries = self.settle_until.is_some_and(|until| now + SETTLE_FOR < until + HURRY_FOR);
                now + (if hurries { HURRY } else { SETTLING }).min(self.interval)
            }
            _ => now + self.interval,
        };
    }

    /// What the broker says stands in the way.
    fn consider(&mut self, now: Duration, status: &[Status]) {
        // The worst first: one of them is acted on.
        let worst = status
            .iter()
            .filter(|status| status.code != StatusCode::Delayed)
            .max_by_key(|status| status.code);
        let Some(worst) = worst else {
            self.trouble = None;
            return;
        };
        let text = || worst.text.clone();
        if worst.code == StatusCode::ShutdownRequested {
            self.shutdown.get_or_insert(Some(text()));
            return;
        }
        let since = match self.trouble {
            Some((code, since)) if code == worst.code => since,
            _ => now,
        };
        self.trouble = Some((worst.code, since));
        if now.saturating_sub(since) >= self.identity.patience {
            match worst.code {
                StatusCode::MissingSources => self.fail(Failure::MissingSources(text())),
                StatusCode::UnfitTopics => self.fail(Failure::UnfitTopics(text())),
                StatusCode::MissingInternal => self.fail(Failure::MissingInternal(text())),
                StatusCode::StaleTopology => self.fail(Failure::OtherTopology(text())),
                StatusCode::Delayed | StatusCode::ShutdownRequested | StatusCode::Unknown => {}
            }
        }
    }

    /// Notes what a person must mend; the first reason stays.
    pub(super) fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }

    /// Whether the caller holds something else than the broker has been told.
    fn unreported(&self) -> bool {
        self.phase == Phase::Member && self.reported.as_ref() != Some(&self.owned())
    }

    fn lose_all(&mut self) {
        let all = std::mem::take(&mut self.held);
        self.lose(all);
        self.target = None;
        self.reported = None;
        self.epoch = 0;
        // Without a fresh answer nothing is known of the others either.
        self.endpoint_epoch = -1;
    }

    fn lose(&mut self, gone: Tasks) {
        for task in &gone {
            self.held.remove(task);
            self.revoking.remove(task);
        }
        self.lost.extend(gone);
    }

    /// The caller's knowledge is complete: the newest epoch is its own.
    fn prove(&mut self) {
        if self.lost.is_empty() && self.epoch > 0 {
            self.proof_epoch = self.epoch;
        }
    }

    /// What has changed since the last call, in order. The next heartbeat, due at once, reports it.
    pub(super) fn changes(&mut self, now: Duration) -> Vec<Change> {
        let mut changes = Vec::new();
        if !self.lost.is_empty() {
            changes.push(Change::Lost(std::mem::take(&mut self.lost)));
            self.prove();
        }
        if let Some(target) = &self.target
            && matches!(self.phase, Phase::Member | Phase::Probing | Phase::Rejoining)
        {
            let revoke: Tasks = self
                .held
                .iter()
                .filter(|task| !target.active.contains(task) && !self.revoking.contains(task))
                .cloned()
                .collect();
            if !revoke.is_empty() {
                self.revoking.extend(revoke.iter().cloned());
                changes.push(Change::Revoke(revoke));
            }
            if self.revoking.is_empty() {
                let assign: Tasks = target.active.difference(&self.held).cloned().collect();
                if !assign.is_empty() {
                    self.held.extend(assign.iter().cloned());
                    changes.push(Change::Assign(assign));
                }
            }
            let known = self.copies.as_ref();
            if known.map(|known| (&known.standby, &known.warmup)) != Some((&target.standby, &target.warmup)) {
                let first = known.is_none();
                let copies = Assignment { active: Tasks::new(), ..target.clone() };
                let told = copies.copies();
                // A member that never had a copy and has none now has nothing to be told.
                if !(first && told.is_empty()) {
                    changes.push(Change::Standbys(told));
                }
                self.copies = Some(copies);
            }
        }
        if let Some(text) = self.shutdown.as_mut().and_then(Option::take) {
            changes.push(Change::Shutdown(text));
        }
        if self.unreported() {
            self.due = self.due.min(now);
        }
        changes
    }

    /// The caller no longer works on these tasks of a [`Change::Revoke`].
    pub(super) fn released(&mut self, now: Duration, tasks: &Tasks) {
        for task in tasks {
            if self.revoking.remove(task) {
                self.held.remove(task);
            }
        }
        if self.revoking.is_empty() && self.unreported() {
            self.due = self.due.min(now);
        }
    }

    /// Asks all members of the group to stop, with the next heartbeat.
    pub(super) fn request_shutdown(&mut self, now: Duration) {
        self.ask_shutdown = true;
        self.due = self.due.min(now);
    }

    /// Leaves for good. What is held is not lost, but given up: the caller has committed it.
    pub(super) fn leave(&mut self, now: Duration) {
        self.leave_for_good = true;
        self.begin_leaving(now);
    }

    /// The caller has not been heard of for too long: others shall have its tasks, until it is [`back`](Self::back).
    pub(super) fn stand_still(&mut self, now: Duration) {
        if !matches!(self.phase, Phase::Leaving | Phase::Away | Phase::Left) {
            self.begin_leaving(now);
            self.lose_all();
        }
    }

    /// The caller is heard of again.
    pub(super) fn back(&mut self, now: Duration) {
        if self.phase == Phase::Away {
            // What an answer may have brought after the farewell is void.
            self.lose_all();
            self.phase = Phase::Joining;
            self.due = now;
        }
    }

    fn begin_leaving(&mut self, now: Duration) {
        let known = matches!(self.phase, Phase::Member | Phase::Probing | Phase::Rejoining)
            // A join that is under way, or whose answer got lost, may have made a member.
            || (self.phase == Phase::Joining && (self.in_flight || self.failures > 0));
        self.phase = match self.phase {
            Phase::Left => Phase::Left,
            _ if known => Phase::Leaving,
            Phase::Leaving => Phase::Leaving,
            _ => self.after_leaving(),
        };
        self.due = now;
    }

    fn after_leaving(&self) -> Phase {
        if self.leave_for_good { Phase::Left } else { Phase::Away }
    }
}

#[cfg(test)]
mod tests;
