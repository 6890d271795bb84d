//! Finding the record whose results the log does not take (too large, or for a topic that is gone).
//!
//! The log refuses a transaction as a whole, and may do so as late as at its commit. So the transaction is aborted and its input processed
//! again in smaller and smaller ones, until one holds a single record: that one goes through the production handler instead of the
//! nodes. What comes before and after it is committed as usual; its own changes of state are undone with the rest. Costs nothing while all goes well.

use std::sync::Arc;

use vigie_log::LogError;

use super::thread::StreamThread;
use crate::error::StreamsError;

/// From this many records on, a transaction is not limited any more.
const UNLIMITED: usize = 1 << 16;

/// The limit of the next transaction after one that went well.
pub(super) fn widen(limit: usize) -> Option<usize> {
    Some(limit * 2).filter(|limit| *limit < UNLIMITED)
}

impl StreamThread {
    /// Aborts after a refusal, and comes closer to its cause; an error if the program must stop.
    pub(super) fn narrow(&mut self, error: StreamsError) -> Result<(), StreamsError> {
        if let StreamsError::Log {
            source: LogError::UnknownTopic { topic } | LogError::UnknownPartition { topic, .. },
            ..
        } = &error
        {
            self.shared.directory.forget(topic);
        }
        let records: usize = self.tasks.values().map(|task| task.uncommitted().0).sum();
        let reason = text(&error);
        tracing::warn!(thread = self.name, records, reason, "the log refused a transaction");
        if records == 0 {
            // Nothing but punctuations wrote.
            if !self.tasks.values().all(|task| task.instance.refuse_punctuation(&reason)) {
                return Err(error);
            }
        } else if records > 1 {
            self.careful = Some((records / 4).max(1));
        } else {
            let found = self.tasks.values().find_map(|task| task.uncommitted().1.cloned());
            let Some((partition, offset)) = found else {
                // Its task has several inputs and does not know which: the next time it will.
                self.careful = Some(1);
                self.recover();
                return Ok(());
            };
            // What the handler wrote in its place (a dead letter) is refused too.
            if self.refused.get(&partition).is_some_and(|(known, _)| *known == offset) {
                return Err(error);
            }
            self.careful = Some(1);
            self.refused.insert(partition, (offset, Arc::from(reason)));
        }
        self.recover();
        Ok(())
    }
}

fn text(error: &StreamsError) -> String {
    error.to_string()
}
