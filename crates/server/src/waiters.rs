//! Who waits for which answer: correlation id -> the request that asked.
//!
//! A waiter is registered before its question is published, so that no answer can come too early; it is forgotten when the request
//! ends, for whatever reason.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use vigie_domain::Score;

/// The waiting requests.
#[derive(Default)]
pub(crate) struct Waiters {
    waiting: Mutex<HashMap<String, oneshot::Sender<Score>>>,
}

/// One waiting request.
pub(crate) struct Waiting {
    waiters: Arc<Waiters>,
    id: String,
    answer: oneshot::Receiver<Score>,
}

impl Waiters {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<Score>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a request.
    pub(crate) fn register(self: &Arc<Self>, id: String) -> Waiting {
        let (sender, answer) = oneshot::channel();
        self.lock().insert(id.clone(), sender);
        Waiting { waiters: Arc::clone(self), id, answer }
    }

    /// Hands a score to the request that waits for it, if one does.
    pub(crate) fn answer(&self, score: &Score) {
        let Some(id) = &score.correlation_id else { return };
        if let Some(sender) = self.lock().remove(id) {
            // The request may have ended meanwhile; nobody is left to be told.
            let _ = sender.send(score.clone());
        }
    }

    /// How many requests wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }
}

impl Waiting {
    /// Waits for the answer; `None` when the server closes.
    pub(crate) async fn answer(mut self) -> Option<Score> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.waiters.lock().remove(&self.id);
    }
}
