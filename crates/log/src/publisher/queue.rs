//! The bounded queue between those who publish and the thread that commits.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Ack, Message, TryPublishError};

/// As many messages may wait,
const MOST_MESSAGES: usize = 16_384;
/// and as many bytes (one message more, so that a huge one can pass alone).
const MOST_BYTES: usize = 16 << 20;
/// A transaction is not made larger than this.
const BATCH_MESSAGES: usize = 8_192;
const BATCH_BYTES: usize = 2 << 20;

pub(super) struct Queued {
    pub message: Message,
    pub ack: Ack,
}

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Something to take, to flush, or the end.
    filled: Condvar,
    /// Room again, or something done.
    emptied: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Queued>,
    bytes: usize,
    /// Accepted and acknowledged so far.
    accepted: u64,
    done: u64,
    /// Everything accepted up to this count is to be committed without lingering.
    flush_to: u64,
    closed: bool,
}

impl State {
    fn is_full(&self) -> bool {
        self.waiting.len() >= MOST_MESSAGES || self.bytes >= MOST_BYTES
    }

    fn add(&mut self, queued: Queued) {
        self.bytes += queued.message.bytes();
        self.accepted += 1;
        self.waiting.push_back(queued);
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room. Gives the message back when the queue is closed.
    pub fn push(&self, queued: Queued) -> Result<(), Box<Queued>> {
        let mut state = self.lock();
        while state.is_full() && !state.closed {
            state = self.emptied.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return Err(Box::new(queued));
        }
        state.add(queued);
        self.filled.notify_one();
        Ok(())
    }

    pub fn try_push(&self, queued: Queued) -> Result<(), TryPublishError> {
        let mut state = self.lock();
        if state.closed {
            return Err(TryPublishError::Closed);
        }
        if state.is_full() {
            return Err(TryPublishError::Full {
                waiting: state.waiting.len(),
                message: Box::new(queued.message),
            });
        }
        state.add(queued);
        self.filled.notify_one();
        Ok(())
    }

    /// The next messages to commit together, at most `linger` after the first of them came. `None`: closed, and all done.
    pub fn take(&self, linger: Duration) -> Option<Vec<Queued>> {
        let mut state = self.lock();
        let mut first = None;
        loop {
            if state.waiting.is_empty() {
                if state.closed {
                    return None;
                }
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let lingered = first.get_or_insert_with(Instant::now).elapsed();
            let enough =
                state.waiting.len() >= BATCH_MESSAGES || state.bytes >= BATCH_BYTES || state.is_full();
            if enough || lingered >= linger || state.closed || state.flush_to > state.done {
                break;
            }
            let left = linger - lingered;
            state = self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut taken = Vec::new();
        let mut bytes = 0;
        while taken.len() < BATCH_MESSAGES && bytes < BATCH_BYTES {
            let Some(queued) = state.waiting.pop_front() else { break };
            bytes += queued.message.bytes();
            taken.push(queued);
        }
        state.bytes -= bytes;
        self.emptied.notify_all();
        Some(taken)
    }

    /// Notes that so many messages have been acknowledged.
    pub fn done(&self, count: usize) {
        self.lock().done += count as u64;
        self.emptied.notify_all();
    }

    pub fn flush(&self) {
        let mut state = self.lock();
        let target = state.accepted;
        state.flush_to = state.flush_to.max(target);
        self.filled.notify_one();
        while state.done < target {
            state = self.emptied.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub fn pending(&self) -> usize {
        let state = self.lock();
        usize::try_from(state.accepted - state.done).unwrap_or(usize::MAX)
    }

    pub fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
        self.emptied.notify_all();
    }
}
