//! The simulated log: in memory, with faults drawn from a seed. For tests and simulations.
//!
//! It is a [`Broker`] in memory behind wrappers that make calls fail, and it obeys the contract suite when no fault is on.
//! The same seed and the same sequence of calls give the same faults. Faults are those that a log may show without being wrong:
//! whatever was acknowledged stays, whatever was not appears whole or not at all.

mod faults;
mod handles;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use faults::Dice;
pub use faults::Faults;

use crate::broker::{Broker, Maintenance, Memory};
use crate::{
    Admin, Clock, Log, LogError, Member, MemberConfig, Producer, ProducerConfig, Reader, Result, Timestamp,
    TopicDefaults, TopicPartition,
};

/// A log in memory whose failures can be chosen. Clones are the same log.
#[derive(Clone)]
pub struct SimulatedLog {
    inner: Arc<Inner>,
}

struct Inner {
    identity: String,
    memory: Arc<Memory>,
    clock: Arc<dyn Clock>,
    defaults: TopicDefaults,
    broker: RwLock<Broker>,
    chance: Mutex<Chance>,
    /// Members that died without leaving: they stay in their groups until their sessions end.
    dead: Mutex<Dead>,
}

struct Chance {
    faults: Faults,
    dice: Dice,
    injected: u64,
}

#[derive(Default)]
struct Dead {
    names: Vec<String>,
    bodies: Vec<Box<dyn Member>>,
}

impl SimulatedLog {
    /// An empty log without faults. `seed` decides when faults strike that are turned on later.
    pub fn new(clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self::with_defaults(clock, seed, TopicDefaults::default())
    }

    /// As [`new`](Self::new), with settings for topics that do not say.
    pub fn with_defaults(clock: Arc<dyn Clock>, seed: u64, defaults: TopicDefaults) -> Self {
        let memory = Arc::new(Memory::default());
        let broker = Broker::open(Arc::clone(&memory), Arc::clone(&clock), defaults.clone())
            .expect("an empty memory can be opened");
        Self {
            inner: Arc::new(Inner {
                identity: format!("simulated-{seed}"),
                memory,
                clock,
                defaults,
                broker: RwLock::new(broker),
                chance: Mutex::new(Chance { faults: Faults::default(), dice: Dice::new(seed), injected: 0 }),
                dead: Mutex::default(),
            }),
        }
    }

    /// Turns faults on, or off with `Faults::default()`.
    pub fn set_faults(&self, faults: Faults) {
        self.inner.chance().faults = faults;
    }

    /// How many faults have struck so far.
    pub fn injected_faults(&self) -> u64 {
        self.inner.chance().injected
    }

    /// The process of a member dies: its handle answers nothing any more, and its partitions stay its own until its session
    /// has timed out.
    pub fn kill_member(&self, member: &str) {
        self.inner.dead().names.push(member.to_owned());
    }

    /// Ends a member's session at once, as after a long pause: its next poll reports `lost`. Tells whether it was there.
    pub fn expel_member(&self, group: &str, member: &str) -> bool {
        self.inner.broker().expel(group, member)
    }

    /// A newer producer of this transactional id appears: the present one is fenced.
    pub fn fence(&self, transactional_id: &str) -> Result<()> {
        let config = ProducerConfig { transactional_id: Some(transactional_id.to_owned()) };
        self.inner.broker().producer(config).map(drop)
    }

    /// The log dies and starts again: open transactions and memberships are gone, every handle answers
    /// [`Closed`](LogError::Closed), and all that was acknowledged is there.
    pub fn restart(&self) {
        let mut broker = self.inner.broker.write().unwrap_or_else(PoisonError::into_inner);
        broker.close();
        *broker = Broker::open(
            Arc::clone(&self.inner.memory),
            Arc::clone(&self.inner.clock),
            self.inner.defaults.clone(),
        )
        .expect("what a broker wrote to memory can be opened again");
        *self.inner.dead() = Dead::default();
    }

    /// Applies retention and compaction as of `now`.
    pub fn run_maintenance(&self, now: Timestamp) -> Result<Maintenance> {
        self.inner.broker().run_maintenance(now)
    }
}

impl std::fmt::Debug for SimulatedLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimulatedLog").field("faults", &self.inner.chance().faults).finish_non_exhaustive()
    }
}

impl Inner {
    fn broker(&self) -> RwLockReadGuard<'_, Broker> {
        self.broker.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn chance(&self) -> MutexGuard<'_, Chance> {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dead(&self) -> MutexGuard<'_, Dead> {
        self.dead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn strikes(&self, probability: impl FnOnce(&Faults) -> f64) -> bool {
        let mut chance = self.chance();
        let probability = probability(&chance.faults);
        let strikes = chance.dice.strikes(probability);
        chance.injected += u64::from(strikes);
        strikes
    }

    /// What may happen to any call that goes over the network.
    fn travel(&self) -> Result<()> {
        if self.strikes(|faults| faults.slow) {
            let delay = self.chance().faults.delay;
            std::thread::sleep(delay);
        }
        if self.strikes(|faults| faults.unreachable) {
            Err(unreachable("the connection broke"))
        } else {
            Ok(())
        }
    }

    fn is_dead(&self, member: &str) -> bool {
        self.dead().names.iter().any(|name| name == member)
    }
}

fn unreachable(reason: &str) -> LogError {
    LogError::Unreachable { address: String::from("simulated"), reason: reason.to_owned() }
}

impl Log for SimulatedLog {
    fn identity(&self) -> Result<Option<String>> {
        self.inner.travel()?;
        Ok(Some(self.inner.identity.clone()))
    }

    fn address(&self) -> String {
        String::from("simulated")
    }

    fn admin(&self) -> Box<dyn Admin> {
        Box::new(handles::FaultyAdmin { log: self.clone() })
    }

    fn producer(&self, config: ProducerConfig) -> Result<Box<dyn Producer>> {
        self.inner.travel()?;
        let producer = self.inner.broker().producer(config)?;
        Ok(Box::new(handles::FaultyProducer::new(&self.inner, producer)))
    }

    fn member(&self, config: MemberConfig) -> Result<Box<dyn Member>> {
        self.inner.travel()?;
        let member = self.inner.broker().member(config)?;
        Ok(Box::new(handles::FaultyMember::new(&self.inner, member)))
    }

    fn reader(&self, partitions: &[TopicPartition]) -> Result<Box<dyn Reader>> {
        self.inner.travel()?;
        let reader = self.inner.broker().reader(partitions)?;
        Ok(Box::new(handles::FaultyReader::new(&self.inner, reader)))
    }
}

/// How long a slow call takes unless a test says otherwise.
const DELAY: Duration = Duration::from_millis(5);
