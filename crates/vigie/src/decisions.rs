//! What is decided here counts for all instances: decisions are records on compacted topics, in one order, and every instance follows them.
//!
//! One instance at a time has the *turn*: it owns the newest producer of one transactional id, and whoever makes a newer one fences it.
//! ```text
//! no turn ──make a producer (fences the others)──▶ read to the end ──▶ turn ──decide──▶ commit ──▶ read it back
//!    ▲                                                                      ╰── fenced: somebody else decided ──╯ again
//!    ╰──────────────────────────────────── any other failure ────────────────────────────────────────────────────
//! ```
//! Invariants:
//! - as long as the turn is not fenced nobody else has decided anything, so what is checked before a decision still holds when it is
//!   committed;
//! - what stands changes only by reading the log, in its order: a decision that is told as done is on disk, and what an instance shows is
//!   what any other will show;
//! - a decision and its audit entry are one transaction.
//!
//! On a log of one process nobody else decides: what has been committed is applied at once, and no thread follows anything.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use vigie_log::{
    BatchBuilder, Clock, Consequence, Header, Log, LogError, Message, Offset, Producer, ProducerConfig,
    Reader, Result, Span, TopicPartition, partition_for_key, read_spans,
};

/// So often somebody else may be faster before it is given up.
const MOST_TURNS: u32 = 20;
/// A little longer after each turn that was lost.
const AFTER_YOU: Duration = Duration::from_millis(20);
/// So often a commit whose outcome is unknown is asked for again, and the time between.
const MOST_COMMITS: u32 = 5;
const BETWEEN_COMMITS: Duration = Duration::from_millis(200);
/// What others decided is here within this time, or the log is out of reach.
const CATCH_UP: Duration = Duration::from_secs(30);
/// How long a poll waits, so that a stop is noticed soon.
const WAIT: Duration = Duration::from_millis(100);
/// Topics rarely get more partitions.
const MORE_PARTITIONS: Duration = Duration::from_secs(30);
/// After a failure of the log.
const AGAIN: Duration = Duration::from_secs(1);

/// Takes one record: key, value (`None`: removed) and timestamp. It must not decide anything itself.
pub type Apply = Box<dyn Fn(&[u8], Option<&[u8]>, i64) + Send + Sync>;

/// What stands on a topic: the last record of each key.
#[derive(Debug, Default)]
pub struct Standing {
    /// By key: timestamp and value.
    pub values: BTreeMap<Vec<u8>, (i64, Vec<u8>)>,
    /// Where to go on.
    next: BTreeMap<TopicPartition, Offset>,
}

/// Decides, and follows what the other instances decide.
pub struct Decisions {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    id: String,
    turn: Mutex<Option<Box<dyn Producer>>>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Whether other instances may decide too.
    is_shared: bool,
}

#[derive(Default)]
struct Shared {
    followed: Mutex<Followed>,
    moved: Condvar,
    stop: AtomicBool,
}

#[derive(Default)]
struct Followed {
    topics: BTreeMap<String, Apply>,
    next: BTreeMap<TopicPartition, Offset>,
    /// Partitions have to be looked up anew.
    stale: bool,
    /// This instance has written something that it has not read back yet: what comes now may be its own.
    own: bool,
    /// When records of others were last read.
    others: Option<Instant>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What stands on a topic now. A topic that is not there has nothing.
pub fn standing(log: &dyn Log, topic: &str) -> Result<Standing> {
    let spans = Span::all_if_there(&*log.admin(), topic)?;
    let mut standing = Standing::default();
    standing.next.extend(spans.iter().map(|span| (span.partition.clone(), span.to)));
    read_spans(log, &spans, |_, record| {
        let key = record.key.unwrap_or_default();
        match record.value {
            Some(value) => drop(standing.values.insert(key.to_vec(), (record.timestamp, value.to_vec()))),
            None => drop(standing.values.remove(key)),
        }
        std::ops::ControlFlow::<()>::Continue(())
    })?;
    Ok(standing)
}

impl Decisions {
    /// For the application `id`. `is_shared`: other instances may decide too.
    pub fn new(log: Arc<dyn Log>, clock: Arc<dyn Clock>, application: &str, is_shared: bool) -> Self {
        let id = format!("{application}-decisions");
        Self {
            log,
            clock,
            id,
            turn: Mutex::default(),
            shared: Arc::default(),
            thread: Mutex::default(),
            is_shared,
        }
    }

    /// Whether other instances may decide too.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// The log.
    pub fn log(&self) -> &dyn Log {
        &*self.log
    }

    /// From now on `apply` gets every record of this topic after `standing`, whoever wrote it.
    ///
    /// # Errors
    /// Where the thread that follows cannot be started.
    pub fn follow(&self, topic: &str, standing: Standing, apply: Apply) -> Result<()> {
        let mut followed = self.shared.lock();
        followed.topics.insert(topic.to_owned(), apply);
        followed.next.extend(standing.next);
        followed.stale = true;
        drop(followed);
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_shared && thread.is_none() {
            let (log, shared) = (Arc::clone(&self.log), Arc::clone(&self.shared));
            let run = move || follow(&*log, &shared);
            let started = std::thread::Builder::new().name(String::from("decisions")).spawn(run);
            *thread = Some(started.map_err(|error| LogError::other("starting a thread", error))?);
        }
        Ok(())
    }

    /// Decides: `attempt` looks at what stands and gives the records to be written, and what to tell once they are. It is called again where
    /// another instance was faster. No records: nothing had to be decided.
    ///
    /// # Errors
    /// What `attempt` says; those of the log. After [`LogError::Unreachable`] it is not known whether the decision was written; what
    /// stands will show it.
    pub fn decide<T, E: From<LogError>>(
        &self,
        mut attempt: impl FnMut() -> Result<(Vec<Message>, T), E>,
    ) -> Result<T, E> {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lost = 0;
        loop {
            let mut producer = match turn.take() {
                Some(producer) => producer,
                None => {
                    let config = ProducerConfig { transactional_id: Some(self.id.clone()) };
                    let producer = self.log.producer(config)?;
                    self.catch_up()?;
                    producer
                }
            };
            let decided = attempt();
            if !matches!(&decided, Ok((messages, _)) if !messages.is_empty()) {
                *turn = Some(producer);
                return decided.map(|(_, told)| told);
            }
            let (messages, told) = decided?;
            self.shared.lock().own = true;
            let committed = self.commit(&mut *producer, &messages);
            if committed.is_ok() {
                self.read_back(&messages);
            }
            self.shared.lock().own = false;
            match committed {
                Ok(()) => {
                    *turn = Some(producer);
                    return Ok(told);
                }
                Err(LogError::Fenced { .. }) if lost < MOST_TURNS => {
                    lost += 1;
                    std::thread::sleep(AFTER_YOU * lost);
                }
                Err(error) => {
                    // The transaction may be open still; the next turn ends it.
                    let _ = producer.abort();
                    return Err(error.into());
                }
            }
        }
    }

    fn commit(&self, producer: &mut dyn Producer, messages: &[Message]) -> Result<()> {
        let admin = self.log.admin();
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        let mut batches: BTreeMap<TopicPartition, BatchBuilder> = BTreeMap::new();
        for message in messages {
            let count = match counts.get(message.topic.as_str()) {
                Some(count) => *count,
                None => {
                    let count = admin.partition_count(&message.topic)?;
                    counts.insert(&message.topic, count);
                    count
                }
            };
            let key = message.key.as_deref().unwrap_or_default();
            let at = TopicPartition::new(message.topic.as_str(), partition_for_key(key, count));
            let headers: Vec<Header<'_>> =
                message.headers.iter().map(|(name, value)| Header { name, value: Some(value) }).collect();
            let time = message.timestamp.unwrap_or_else(|| self.clock.now());
            batches.entry(at).or_default().push(
                time,
                message.key.as_deref(),
                message.value.as_deref(),
                &headers,
            );
        }
        producer.begin()?;
        for (at, batch) in &mut batches {
            producer.append(at, batch)?;
        }
        let mut commits = 1;
        loop {
            match producer.commit() {
                Ok(_) => return Ok(()),
                Err(error) if error.consequence() == Consequence::Retriable && commits < MOST_COMMITS => {
                    commits += 1;
                    std::thread::sleep(BETWEEN_COMMITS);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether another instance has decided something within this time.
    pub fn others_decided_within(&self, time: Duration) -> bool {
        self.shared.lock().others.is_some_and(|at| at.elapsed() < time)
    }

    /// What was just committed is what stands, before anybody is told.
    fn read_back(&self, messages: &[Message]) {
        if self.is_shared {
            if let Err(error) = self.catch_up() {
                tracing::warn!(%error, "a decision is written, but cannot be read back yet; it is shown once it can");
            }
            return;
        }
        let followed = self.shared.lock();
        for message in messages {
            if let Some(apply) = followed.topics.get(&message.topic) {
                let time = message.timestamp.unwrap_or_default();
                apply(message.key.as_deref().unwrap_or_default(), message.value.as_deref(), time);
            }
        }
    }

    /// Waits until everything that has been decided so far is applied here.
    ///
    /// # Errors
    /// Those of the log; [`LogError::Unreachable`] when it takes too long.
    pub fn catch_up(&self) -> Result<()> {
        if !self.is_shared {
            return Ok(());
        }
        let admin = self.log.admin();
        let topics: Vec<String> = self.shared.lock().topics.keys().cloned().collect();
        let mut targets = Vec::new();
        for topic in &topics {
            targets.extend(Span::all_if_there(&*admin, topic)?.into_iter().filter(|span| !span.is_empty()));
        }
        let deadline = Instant::now() + CATCH_UP;
        let mut followed = self.shared.lock();
        loop {
            let behind = targets
                .iter()
                .find(|span| followed.next.get(&span.partition).is_none_or(|next| *next < span.to));
            let Some(behind) = behind else { return Ok(()) };
            if !followed.next.contains_key(&behind.partition) {
                followed.stale = true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(LogError::Unreachable {
                    address: self.log.address(),
                    reason: format!(
                        "what other instances decided ({} up to offset {}) could not be read within {} s",
                        behind.partition,
                        behind.to,
                        CATCH_UP.as_secs()
                    ),
                });
            }
            let waited = self.shared.moved.wait_timeout(followed, left);
            followed = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Follows nothing any more.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A panic in there has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Decisions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decisions").field("id", &self.id).field("is_shared", &self.is_shared).finish()
    }
}

impl Drop for Decisions {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The thread: reads what is decided, by whomever, and applies it.
fn follow(log: &dyn Log, shared: &Shared) {
    let mut reader: Option<Box<dyn Reader>> = None;
    let mut looked = Instant::now();
    while !shared.stop.load(Ordering::Acquire) {
        let stale = std::mem::take(&mut shared.lock().stale);
        if stale || reader.is_none() || looked.elapsed() >= MORE_PARTITIONS {
            looked = Instant::now();
            match open(log, shared, reader.take(), stale) {
                Ok(made) => reader = made,
                Err(error) => {
                    shared.lock().stale = true;
                    tracing::warn!(%error, "what other instances decide cannot be followed; it is tried again");
                    std::thread::sleep(AGAIN);
                    continue;
                }
            }
        }
        let Some(open) = reader.as_mut() else {
            std::thread::sleep(WAIT);
            continue;
        };
        match open.poll(WAIT) {
            Ok(fetched) => {
                let mut followed = shared.lock();
                let (own, mut others) = (followed.own, false);
                for batch in &fetched {
                    let next = followed.next.get(&batch.partition).copied().unwrap_or_default();
                    if let Some(apply) = followed.topics.get(&*batch.partition.topic) {
                        for record in batch.batch.iter().filter(|record| record.offset >= next) {
                            apply(record.key.unwrap_or_default(), record.value, record.timestamp);
                            others |= !own;
                        }
                    }
                    let seen = next.max(batch.batch.last_offset() + 1);
                    followed.next.insert(batch.partition.clone(), seen);
                }
                // Past what holds no records: the ends of transactions.
                for (partition, next) in &mut followed.next {
                    *next = (*next).max(open.position(partition).unwrap_or_default());
                }
                if others {
                    followed.others = Some(Instant::now());
                }
                drop(followed);
                shared.moved.notify_all();
            }
            Err(error) => {
                tracing::warn!(%error, "what other instances decide cannot be followed; it is tried again");
                reader = None;
                std::thread::sleep(AGAIN);
            }
        }
    }
}

/// A reader of all that is followed, each partition from where it is; the one there is, where nothing has changed.
fn open(
    log: &dyn Log,
    shared: &Shared,
    reader: Option<Box<dyn Reader>>,
    stale: bool,
) -> Result<Option<Box<dyn Reader>>> {
    let admin = log.admin();
    let topics: Vec<String> = shared.lock().topics.keys().cloned().collect();
    let mut there = Vec::new();
    for topic in &topics {
        there.extend(Span::all_if_there(&*admin, topic)?);
    }
    let mut followed = shared.lock();
    let mut new = false;
    for span in &there {
        if !followed.next.contains_key(&span.partition) {
            // A partition that was added is read from its beginning.
            followed.next.insert(span.partition.clone(), span.from);
            new = true;
        }
    }
    let next: Vec<(TopicPartition, Offset)> =
        followed.next.iter().map(|(partition, next)| (partition.clone(), *next)).collect();
    drop(followed);
    if !new && !stale && reader.is_some() {
        return Ok(reader);
    }
    if next.is_empty() {
        return Ok(None);
    }
    let partitions: Vec<TopicPartition> = next.iter().map(|(partition, _)| partition.clone()).collect();
    let mut made = log.reader(&partitions)?;
    for (partition, next) in &next {
        made.seek(partition, *next)?;
    }
    Ok(Some(made))
}
