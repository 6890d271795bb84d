//! A publisher: many threads hand in single messages, one thread commits them together.
//!
//! ```text
//! publish ─▶ bounded queue ─▶ thread: partition, batch, one transaction per linger ─▶ acknowledgements
//! ```
//! Invariants:
//! - an acknowledgement comes exactly once for each accepted message, with its offset or with the reason;
//! - messages of one caller to one partition keep their order;
//! - a message that cannot be committed (unknown topic, too large) fails alone, not with its neighbours;
//! - the queue is bounded in messages and in bytes: a slow log slows its sources, it does not fill the memory.
//!
//! A commit whose outcome is unknown ([`Unreachable`](LogError::Unreachable)) is not repeated here: the caller knows whether a
//! duplicate would hurt.

mod queue;
mod worker;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::{Clock, Log, LogError, Offset, PartitionId, ProducerConfig, Result, Timestamp, TopicPartition};
use queue::{Queue, Queued};

/// What is called when a message is durable, or failed. Runs on the publisher's thread: it must not block.
pub type Ack = Box<dyn FnOnce(Result<(TopicPartition, Offset)>) + Send>;

/// One message to publish.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Where to.
    pub topic: String,
    /// Which partition; `None`: chosen by the key as Kafka does, or in turn without a key.
    pub partition: Option<PartitionId>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// What travels beside it.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its event time; `None`: the moment at which it is batched.
    pub timestamp: Option<Timestamp>,
}

impl Message {
    /// A message with a value, and nothing else.
    pub fn new(topic: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { topic: topic.into(), value: Some(value.into()), ..Self::default() }
    }

    /// Adds a key.
    pub fn with_key(self, key: impl Into<Vec<u8>>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// Adds an event time.
    pub fn at(self, timestamp: Timestamp) -> Self {
        Self { timestamp: Some(timestamp), ..self }
    }

    /// Adds a header.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    fn bytes(&self) -> usize {
        let optional = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        64 + self.topic.len() + optional(&self.key) + optional(&self.value) + headers
    }
}

/// Publishes messages; clones share the queue and the thread. When the last clone is dropped, what was accepted is still committed.
#[derive(Clone)]
pub struct Publisher {
    handle: Arc<Handle>,
}

struct Handle {
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A message that was not accepted because the queue is full.
#[derive(Debug, thiserror::Error)]
pub enum TryPublishError {
    /// Try again later; the acknowledgement is not called.
    #[error(
        "the queue of messages to publish is full ({waiting} wait): the log is slower than its sources; try again later"
    )]
    Full {
        /// How many messages wait.
        waiting: usize,
        /// The message, to be tried again with an acknowledgement of its own.
        message: Box<Message>,
    },
    /// The publisher has been closed.
    #[error("the publisher is closed")]
    Closed,
}

impl Publisher {
    /// Starts a publisher. A message waits at most `linger` for company before it is committed; zero commits at once what is
    /// there (while a commit is under way, the next messages gather by themselves).
    pub fn start(log: Arc<dyn Log>, linger: Duration, clock: Arc<dyn Clock>) -> Result<Self> {
        let producer = log.producer(ProducerConfig::default())?;
        let queue = Arc::new(Queue::default());
        let worker = worker::Worker::new(log, producer, Arc::clone(&queue), linger, clock);
        let thread = std::thread::Builder::new()
            .name(String::from("publisher"))
            .spawn(move || worker.run())
            .map_err(|error| LogError::other("starting the publisher's thread", error))?;
        Ok(Self { handle: Arc::new(Handle { queue, thread: Mutex::new(Some(thread)) }) })
    }

    /// Hands in a message; `ack` is called once it is durable or has failed. Blocks while the queue is full.
    pub fn publish(
        &self,
        message: Message,
        ack: impl FnOnce(Result<(TopicPartition, Offset)>) + Send + 'static,
    ) {
        let queued = Queued { message, ack: Box::new(ack) };
        if let Err(queued) = self.handle.queue.push(queued) {
            (queued.ack)(Err(LogError::Closed));
        }
    }

    /// Hands in a message if there is room for it now.
    pub fn try_publish(
        &self,
        message: Message,
        ack: impl FnOnce(Result<(TopicPartition, Offset)>) + Send + 'static,
    ) -> Result<(), TryPublishError> {
        self.handle.queue.try_push(Queued { message, ack: Box::new(ack) })
    }

    /// Hands in a message and waits until it is durable.
    pub fn publish_wait(&self, message: Message) -> Result<(TopicPartition, Offset)> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.publish(message, move |outcome| {
            // Nobody listens only when this thread is gone.
            let _ = sender.send(outcome);
        });
        receiver.recv().unwrap_or(Err(LogError::Closed))
    }

    /// Waits until everything handed in so far is durable or has failed.
    pub fn flush(&self) {
        self.handle.queue.flush();
    }

    /// How many messages have been handed in and not been acknowledged yet.
    pub fn pending(&self) -> usize {
        self.handle.queue.pending()
    }

    /// Commits what was accepted, then stops. Messages handed in later fail with [`Closed`](LogError::Closed).
    pub fn close(&self) {
        self.handle.close();
    }
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("pending", &self.pending()).finish()
    }
}

impl Handle {
    fn close(&self) {
        self.queue.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            // The last clone may be dropped by an acknowledgement, on the thread itself, which ends on its own then.
            && thread.thread().id() != std::thread::current().id()
        {
            // A panic in there has been reported by the panic hook; the queue is closed either way.
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}
