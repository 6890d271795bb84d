//! The turn to write: one thread at a time, and the thread whose turn it is writes for all who wait (group commit).

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Work that waits for a turn, and its answer.
pub(super) struct Job<T, R> {
    pub task: T,
    answer: Mutex<Option<R>>,
}

impl<T, R> Job<T, R> {
    pub fn answer(&self, answer: R) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }

    fn take(&self) -> Option<R> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

type CommitJob = Job<super::producer::Transaction, super::producer::Committed>;

#[derive(Default)]
pub(super) struct Turn {
    waiting: Mutex<Waiting>,
    over: Condvar,
}

#[derive(Default)]
struct Waiting {
    busy: bool,
    jobs: Vec<Arc<CommitJob>>,
}

/// Ends a turn, also when the work in it panics.
struct Holding<'a>(&'a Turn);

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.0.lock().busy = false;
        self.0.over.notify_all();
    }
}

impl Turn {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, waiting: MutexGuard<'a, Waiting>) -> MutexGuard<'a, Waiting> {
        self.over.wait(waiting).unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` while nobody else writes.
    pub fn alone<R>(&self, work: impl FnOnce() -> R) -> R {
        let mut waiting = self.lock();
        while waiting.busy {
            waiting = self.wait(waiting);
        }
        waiting.busy = true;
        drop(waiting);
        let _holding = Holding(self);
        work()
    }

    /// Has `task` done, by this thread or by another one that does `lead` for all waiting jobs together. `None`: the leader
    /// gave no answer, which it does only when it panicked.
    pub fn submit(
        &self,
        task: super::producer::Transaction,
        lead: impl Fn(&[Arc<CommitJob>]),
    ) -> Option<super::producer::Committed> {
        let job = Arc::new(Job { task, answer: Mutex::new(None) });
        let mut waiting = self.lock();
        waiting.jobs.push(Arc::clone(&job));
        loop {
            if let Some(answer) = job.take() {
                return Some(answer);
            }
            if !waiting.busy {
                let jobs = std::mem::take(&mut waiting.jobs);
                if jobs.is_empty() {
                    return None;
                }
                waiting.busy = true;
                drop(waiting);
                {
                    let _holding = Holding(self);
                    lead(&jobs);
                }
                waiting = self.lock();
            } else {
                waiting = self.wait(waiting);
            }
        }
    }
}
