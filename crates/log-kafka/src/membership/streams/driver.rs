//! The thread that keeps the member alive: sends what the machine asks for, commits positions, watches the topics.
//!
//! One thread a member, because a heartbeat may take as long as a request may, and the caller's thread works on records meanwhile. Both sides share
//! one lock, which nobody holds while waiting for the network.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use vigie_log::{GroupTopology, LogError, MemberEndpoint, Offset, Result, TopicPartition};

use super::failures;
use super::link::{Link, within};
use super::machine::{Change, Coordinator, Failure, Identity, Machine, Next, NoReply};
use super::messages::{self, Heartbeat, code};
use super::tasks::Tasks;
use crate::KafkaConfig;
use crate::membership::{Joining, Wake};
use crate::wire::{TopicInfo, WireError};

/// Between looks at topics that are not all there yet.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Leaving takes one heartbeat; a broker that does not answer meanwhile notices by itself.
const FAREWELL: Duration = Duration::from_secs(5);
/// Before a commit that met a moving coordinator is repeated.
const COMMIT_PAUSE: Duration = Duration::from_millis(50);

/// What the cluster knows of the program's topics.
pub(super) type Topics = Arc<BTreeMap<String, TopicInfo>>;

/// The caller's end.
pub(super) struct Driver {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    start: Instant,
    config: Arc<KafkaConfig>,
    identity: Identity,
}

struct State {
    machine: Machine,
    topics: Topics,
    /// Whether `topics` is what the cluster has, and complete; no tasks are handed out before.
    topics_known: bool,
    /// When to look at them next, and since when that has been in vain.
    look_at: Duration,
    unknown_since: Option<Duration>,
    commits: VecDeque<Commit>,
    /// When the caller was last heard of.
    heard: Duration,
    /// Why the last call brought no answer.
    outage: Option<WireError>,
}

struct Commit {
    offsets: Vec<(TopicPartition, Offset)>,
    not_before: Instant,
    deadline: Instant,
    done: SyncSender<Result<()>>,
}

/// All topics of the program but its sinks: what tasks read, and their changelogs.
struct Watched(Vec<Arc<str>>);

impl Driver {
    /// Checks that the cluster answers and the sources exist, then begins to join.
    pub(super) fn start(
        joining: Joining,
        machine: Machine,
        topology: &GroupTopology,
        max_poll_interval: Duration,
    ) -> Result<Self> {
        let config = joining.kafka;
        let identity = machine.identity().clone();
        let mut link = Link::new(Arc::clone(&config), Arc::clone(&identity.group));
        let sources: Vec<Arc<str>> = topology
            .sub_topologies
            .iter()
            .flat_map(|sub| sub.sources.iter().map(|topic| Arc::from(topic.as_str())))
            .collect();
        let known = within(config.start_timeout, || {
            let known = link.topics(&sources)?;
            // A topic that was just made is not known everywhere at once.
            match sources.iter().find(|topic| !known.contains_key(&***topic)) {
                Some(missing) => Err(WireError::Unavailable(missing.to_string())),
                None => Ok(known),
            }
        })
        .map_err(|error| match error {
            WireError::Unavailable(text) if sources.iter().any(|source| **source == *text) => {
                LogError::UnknownTopic { topic: text }
            }
            error => failures::unreached(&config, error),
        })?;
        if joining.member.standby_replicas > 0 {
            let set = within(config.start_timeout, || link.set_standbys(joining.member.standby_replicas))
                .map_err(|error| failures::unreached(&config, error))?;
            if let Err(reason) = set {
                // The program runs without; its operator may have set another number on purpose.
                tracing::warn!(
                    group = %identity.group,
                    "the number of standby copies stays what the group has: {reason}; it is the group's setting \
                     `streams.num.standby.replicas`, and needs the permission AlterConfigs on the group"
                );
            }
        }
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                machine,
                topics: Arc::new(known),
                topics_known: false,
                look_at: Duration::ZERO,
                unknown_since: None,
                commits: VecDeque::new(),
                heard: Duration::ZERO,
                outage: None,
            }),
            changed: Condvar::new(),
            start: Instant::now(),
            config,
            identity,
        });
        let watched = Watched::of(topology);
        let worker =
            Worker { shared: Arc::clone(&shared), link, watched, wake: joining.wake, max_poll_interval };
        let thread = thread::Builder::new()
            .name(format!("{}-membership", shared.config.client_id))
            .spawn(move || worker.run())
            .map_err(|error| LogError::other("starting a thread for heartbeats", error))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// What has changed, and what the topics are like.
    pub(super) fn poll(&self) -> Result<(Vec<Change>, Topics)> {
        let now = self.shared.now();
        let mut state = self.shared.lock();
        state.heard = now;
        state.machine.back(now);
        if let Some(failure) = state.machine.failure() {
            return Err(failures::failed(&self.shared.identity, failure));
        }
        match &state.outage {
            Some(outage) if !outage.retriable() => {
                return Err(failures::unreached(&self.shared.config, outage.clone()));
            }
            Some(outage) if !state.machine.has_joined() && now >= self.shared.config.start_timeout => {
                return Err(failures::unreached(&self.shared.config, outage.clone()));
            }
            _ => {}
        }
        let topics = Arc::clone(&state.topics);
        if !state.topics_known {
            return Ok((Vec::new(), topics));
        }
        let changes = state.machine.changes(now);
        drop(state);
        self.shared.changed.notify_all();
        Ok((changes, topics))
    }

    pub(super) fn released(&self, tasks: &Tasks) {
        let now = self.shared.now();
        self.shared.lock().machine.released(now, tasks);
        self.shared.changed.notify_all();
    }

    pub(super) fn proof_epoch(&self) -> i32 {
        self.shared.lock().machine.proof_epoch()
    }

    pub(super) fn held(&self) -> Tasks {
        self.shared.lock().machine.held().clone()
    }

    pub(super) fn endpoints(&self) -> Vec<MemberEndpoint> {
        self.shared.lock().machine.endpoints().to_vec()
    }

    pub(super) fn request_shutdown(&self) {
        let now = self.shared.now();
        self.shared.lock().machine.request_shutdown(now);
        self.shared.changed.notify_all();
    }

    /// Commits positions; waits for the answer.
    pub(super) fn commit(&self, offsets: &[(TopicPartition, Offset)]) -> Result<()> {
        let timeout = self.shared.config.request_timeout;
        let (done, answer) = sync_channel(1);
        let now = Instant::now();
        let commit = Commit { offsets: offsets.to_vec(), not_before: now, deadline: now + timeout, done };
        self.shared.lock().commits.push_back(commit);
        self.shared.changed.notify_all();
        // A call that is under way may use up its own timeout first.
        answer.recv_timeout(timeout.saturating_mul(2)).unwrap_or_else(|_| {
            Err(LogError::Unreachable {
                address: self.shared.config.bootstrap_servers(),
                reason: String::from("no answer to a commit of positions"),
            })
        })
    }

    /// Leaves the group, waiting a little for the broker to know.
    pub(super) fn leave(&mut self) {
        let now = self.shared.now();
        self.shared.lock().machine.leave(now);
        self.shared.changed.notify_all();
        let Some(thread) = self.thread.take() else { return };
        let deadline = Instant::now() + FAREWELL;
        let mut state = self.shared.lock();
        while !state.machine.has_left() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // The thread ends with the call that it is waiting for.
                return;
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        if thread.join().is_err() {
            tracing::error!(group = %self.shared.identity.group, "the thread for heartbeats had stopped with a panic");
        }
    }
}

impl Shared {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of the other side leaves a machine that still knows what it has been told.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    fn of(topology: &GroupTopology) -> Self {
        let subs = || topology.sub_topologies.iter();
        let specs = |topics: &[vigie_log::TopicSpec]| {
            topics.iter().map(|topic| Arc::from(topic.name.as_str())).collect::<Vec<Arc<str>>>()
        };
        let mut all: Vec<Arc<str>> = subs()
            .flat_map(|sub| {
                let sources = sub.sources.iter().map(|topic| Arc::from(topic.as_str()));
                sources
                    .chain(specs(&sub.repartition_sources))
                    .chain(specs(&sub.changelogs))
                    .collect::<Vec<_>>()
            })
            .collect();
        all.sort();
        all.dedup();
        Self(all)
    }

    /// The names of topics that are others than they were.
    fn replaced(
        &self,
        before: &BTreeMap<String, TopicInfo>,
        now: &BTreeMap<String, TopicInfo>,
    ) -> Vec<String> {
        let changed = |name: &&Arc<str>| match (before.get(&***name), now.get(&***name)) {
            (Some(before), Some(now)) => before.id != now.id,
            _ => false,
        };
        self.0.iter().filter(changed).map(ToString::to_string).collect()
    }
}

enum Work {
    Heartbeat(Box<Heartbeat>),
    Commit(Commit),
    Topics,
    End,
}

struct Worker {
    shared: Arc<Shared>,
    link: Link,
    watched: Watched,
    wake: Wake,
    max_poll_interval: Duration,
}

impl Worker {
    fn run(mut self) {
        loop {
            match self.next() {
                Work::Heartbeat(heartbeat) => self.heartbeat(&heartbeat),
                Work::Commit(commit) => self.commit(commit),
                Work::Topics => self.look_at_topics(),
                Work::End => break,
            }
        }
        self.shared.changed.notify_all();
    }

    /// Waits for work. Heartbeats first: a member that is not heard of loses everything.
    fn next(&self) -> Work {
        let mut state = self.shared.lock();
        loop {
            let now = self.shared.now();
            if now.saturating_sub(state.heard) >= self.max_poll_interval {
                tracing::warn!(
                    group = %self.shared.identity.group,
                    "nothing was polled for {:?}: the tasks of this member go to others (max.poll.interval.ms)",
                    self.max_poll_interval
                );
                state.machine.stand_still(now);
                // Once is enough, until the caller is back.
                state.heard = Duration::MAX;
            }
            let next = state.machine.next(now);
            let mut until = match next {
                Next::Left => return Work::End,
                Next::Send(heartbeat) => return Work::Heartbeat(heartbeat),
                Next::Wait(until) => Some(until),
                Next::Rest => None,
            };
            let mut earlier = |at: Duration| until = Some(until.map_or(at, |until: Duration| until.min(at)));
            if let Some(commit) = state.commits.pop_front() {
                let wait = commit.not_before.saturating_duration_since(Instant::now());
                if wait.is_zero() {
                    return Work::Commit(commit);
                }
                state.commits.push_front(commit);
                earlier(now + wait);
            }
            if !state.topics_known && state.machine.epoch() > 0 {
                if now >= state.look_at {
                    return Work::Topics;
                }
                earlier(state.look_at);
            }
            if state.heard < Duration::MAX {
                earlier(state.heard.saturating_add(self.max_poll_interval));
            }
            let wait = until.map_or(Duration::MAX, |until| until.saturating_sub(now));
            // A moment more than asked for, so that the clock has passed it.
            let wait = wait.saturating_add(Duration::from_micros(100)).min(Duration::from_secs(3600));
            state = self.shared.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn heartbeat(&mut self, heartbeat: &Heartbeat) {
        let answer = self.link.heartbeat(heartbeat);
        let mut state = self.shared.lock();
        let now = self.shared.now();
        match answer {
            Ok(reply) => {
                if reply.error != code::NONE {
                    let text = &reply.message;
                    tracing::debug!(group = %self.shared.identity.group, error = reply.error, "heartbeat: {text}");
                }
                if state.outage.take().is_some() {
                    tracing::info!(group = %self.shared.identity.group, "the coordinator answers again");
                }
                let before = state.machine.epoch();
                let news = reply.active.is_some() || !reply.status.is_empty();
                if state.machine.replied(now, heartbeat, reply) == Coordinator::Moved {
                    self.link.lose();
                }
                // Whatever makes a broker think again (a topic, a member) shows in the epoch or in an assignment.
                if news || state.machine.epoch() != before {
                    state.topics_known = false;
                }
            }
            Err(error) => {
                if state.outage.is_none() {
                    tracing::warn!(group = %self.shared.identity.group, "no heartbeat: {error}");
                }
                let how = if error.maybe_sent() { NoReply::Unknown } else { NoReply::NotSent };
                state.machine.no_reply(now, how);
                state.outage = Some(error);
            }
        }
        drop(state);
        self.shared.changed.notify_all();
        self.wake.wake();
    }

    /// Learns how many partitions the topics have, and whether one is another than before.
    fn look_at_topics(&mut self) {
        let found = self.link.topics(&self.watched.0);
        let mut state = self.shared.lock();
        let now = self.shared.now();
        state.look_at = now + LOOK_AGAIN;
        // The next heartbeat tells what is wrong with the connection.
        let Ok(found) = found else { return };
        let replaced = self.watched.replaced(&state.topics, &found);
        if !replaced.is_empty() {
            state.machine.fail(Failure::Replaced(replaced));
        }
        let missing: Vec<String> = self
            .watched
            .0
            .iter()
            .filter(|topic| !found.contains_key(&***topic))
            .map(ToString::to_string)
            .collect();
        state.topics_known = missing.is_empty();
        if missing.is_empty() {
            state.unknown_since = None;
        } else {
            let since = *state.unknown_since.get_or_insert(now);
            if now.saturating_sub(since) >= self.shared.identity.patience {
                state.machine.fail(Failure::Unseen(missing));
            }
        }
        // What is gone for the moment is remembered, to be recognised when it is back.
        let mut known = (*state.topics).clone();
        known.extend(found);
        state.topics = Arc::new(known);
        drop(state);
        self.wake.wake();
    }

    /// One attempt; what may succeed later goes back into the queue, so that heartbeats are not held up.
    fn commit(&mut self, mut commit: Commit) {
        let identity = &self.shared.identity;
        let epoch = self.shared.lock().machine.proof_epoch();
        let request = messages::commit(&identity.group, &identity.member, epoch, &commit.offsets);
        let result = match self.link.commit(&request) {
            Ok(errors) => match errors.into_iter().next() {
                None => Ok(()),
                Some((_, code::NOT_COORDINATOR | code::COORDINATOR_NOT_AVAILABLE)) => {
                    self.link.lose();
                    Err(Err(String::from("the group's coordinator is moving")))
                }
                Some((_, code::COORDINATOR_LOAD_IN_PROGRESS | code::REQUEST_TIMED_OUT)) => {
                    Err(Err(String::from("the group's coordinator is not ready")))
                }
                Some((topic, code)) => Err(Ok(failures::not_committed(identity, code, &topic))),
            },
            // Committing the same position twice does no harm.
            Err(error) if error.retriable() => Err(Err(error.to_string())),
            Err(error) => Err(Ok(failures::unreached(&self.shared.config, error))),
        };
        let result = match result {
            Ok(()) => Ok(()),
            Err(Ok(refused)) => Err(refused),
            Err(Err(reason)) => {
                commit.not_before = Instant::now() + COMMIT_PAUSE;
                if commit.not_before < commit.deadline {
                    self.shared.lock().commits.push_front(commit);
                    return;
                }
                Err(LogError::Unreachable { address: self.shared.config.bootstrap_servers(), reason })
            }
        };
        // The caller may have given up waiting.
        let _ = commit.done.send(result);
    }
}
