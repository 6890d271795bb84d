//! A log of one process: everything but the keeping of bytes, which a [`Storage`] does.
//!
//! The embedded log is a broker on fjall, the simulated log a broker in memory with faults. How a commit goes:
//! ```text
//! producers ─▶ queue ─▶ leader: check, give offsets (state lock) ─▶ storage.write (no lock) ─▶ publish, wake pollers (state lock)
//! ```
//! Of a member's settings, `session.timeout.ms` (60000) has a meaning: without a poll for so long, its partitions go to others.
//!
//! Invariants:
//! - whoever finds nobody writing becomes leader and commits all that is queued with one `storage.write` (group commit);
//! - readers never go beyond the published end of a partition, so they see whole transactions only;
//! - no lock is held while storage reads or writes, except the turn to write itself.

mod admin;
mod fetch;
mod maintenance;
mod member;
mod memory;
mod producer;
mod reader;
mod state;
mod storage;
mod turn;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use maintenance::Maintenance;
pub(crate) use memory::Memory;
pub use storage::{Bounds, Contents, Entry, Note, Slot, Span, Storage, StoredTopic, TopicId, Write};

use crate::{
    Admin, Clock, Log, LogError, Member, MemberConfig, Producer, ProducerConfig, Reader, Result, Timestamp,
    TopicDefaults, TopicPartition,
};
use state::State;
use turn::Turn;

/// Names of groups and transactional ids end up in keys of the storage.
fn check_name(of: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.len() > 1000 {
        let reason = format!("it has {} bytes; give it 1 to 1000", name.len());
        return Err(LogError::other(format!("using the name of {of}"), reason));
    }
    Ok(())
}

/// A log of one process on some storage.
pub struct Broker {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("address", &self.shared.storage.address()).finish_non_exhaustive()
    }
}

struct Shared {
    storage: Box<dyn Storage>,
    clock: Arc<dyn Clock>,
    defaults: TopicDefaults,
    state: Mutex<State>,
    /// Something in the state changed that a poller may wait for.
    changed: Condvar,
    turn: Turn,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the state consistent: it changes only in short, infallible steps.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, at_most: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, at_most).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Notes a change and wakes everybody who polls.
    fn wake(&self, state: &mut State) {
        state.version += 1;
        self.changed.notify_all();
    }

    fn check_open(&self, state: &State) -> Result<()> {
        if state.closed { Err(LogError::Closed) } else { self.storage.check() }
    }
}

impl Broker {
    /// Opens what `storage` holds.
    pub fn open(storage: impl Storage, clock: Arc<dyn Clock>, defaults: TopicDefaults) -> Result<Self> {
        let contents = storage.load()?;
        for topic in &contents.purge {
            storage.purge(*topic)?;
        }
        let state = State::load(&storage, contents, &defaults)?;
        Ok(Self {
            shared: Arc::new(Shared {
                storage: Box::new(storage),
                clock,
                defaults,
                state: Mutex::new(state),
                changed: Condvar::new(),
                turn: Turn::default(),
            }),
        })
    }

    /// Applies retention and compaction as of `now`. Takes a while on large topics; appends and reads go on meanwhile.
    pub fn run_maintenance(&self, now: Timestamp) -> Result<Maintenance> {
        maintenance::run(&self.shared, now)
    }

    /// Lets what is being committed finish, and refuses everything from then on with [`Closed`](LogError::Closed).
    pub fn close(&self) {
        self.shared.turn.alone(|| {
            let mut state = self.shared.lock();
            state.closed = true;
            self.shared.wake(&mut state);
        });
    }

    /// Ends a member's session as if it had been silent for too long. Tells whether there was such a member.
    pub fn expel(&self, group: &str, member: &str) -> bool {
        let mut state = self.shared.lock();
        let there = state.groups.describe(group).members.iter().any(|(id, _)| id == member);
        state.groups.leave(group, member);
        state.layout += 1;
        self.shared.wake(&mut state);
        there
    }
}

impl Log for Broker {
    fn address(&self) -> String {
        self.shared.storage.address()
    }

    fn admin(&self) -> Box<dyn Admin> {
        Box::new(admin::BrokerAdmin { shared: Arc::clone(&self.shared) })
    }

    fn producer(&self, config: ProducerConfig) -> Result<Box<dyn Producer>> {
        Ok(Box::new(producer::BrokerProducer::open(&self.shared, config)?))
    }

    fn member(&self, config: MemberConfig) -> Result<Box<dyn Member>> {
        Ok(Box::new(member::BrokerMember::join(&self.shared, config)?))
    }

    fn reader(&self, partitions: &[TopicPartition]) -> Result<Box<dyn Reader>> {
        Ok(Box::new(reader::BrokerReader::open(&self.shared, partitions)?))
    }
}
