//! The exactly-once commit of a thread: one transaction for results, changelogs and positions of all its tasks, then the stores.

use std::sync::Arc;

use vigie_log::{BatchBuilder, Consequence, LogError, Offset, TopicPartition};

use super::{PURGE_EVERY, StreamThread, Trouble};
use crate::error::StreamsError;
use crate::runtime::config::ProcessingGuarantee;
use crate::runtime::refused;
use crate::runtime::shared::Shared;
use crate::runtime::task::Task;
use crate::state::{Backend, StoreBatch};
use crate::topology::TopicName;

impl StreamThread {
    /// Opens a transaction if there is none and hands over what the tasks have written.
    pub(super) fn send(&mut self) -> Result<(), Trouble> {
        let (shared, producer) = (&self.shared, self.producer.as_mut().expect("`join` has made one"));
        if !self.in_transaction {
            repeat(shared, || producer.begin())?;
            self.in_transaction = true;
        }
        for task in self.tasks.values_mut() {
            task.drain(&mut |partition: &TopicPartition, builder: &mut BatchBuilder| {
                let name = |error| match error {
                    StreamsError::Log { source, .. } => {
                        StreamsError::Log { doing: format!("writing to `{partition}`"), source }
                    }
                    other => other,
                };
                repeat(shared, || producer.append(partition, builder)).map_err(|trouble| match trouble {
                    Trouble::Fatal(error) => Trouble::Fatal(name(error)),
                    Trouble::Refused(error) => Trouble::Refused(name(error)),
                    other => other,
                })
            })?;
        }
        Ok(())
    }

    pub(super) fn commit_if_due(&mut self) -> Result<(), Trouble> {
        let now = self.shared.config.clock.monotonic();
        if self.careful.is_some()
            || now.saturating_sub(self.last_commit) >= self.shared.config.commit_interval
        {
            self.commit()?;
        }
        Ok(())
    }

    /// Commits results, state and positions, if there are any.
    pub(super) fn commit(&mut self) -> Result<(), Trouble> {
        let now = self.shared.config.clock.monotonic();
        if !self.in_transaction && !self.tasks.values().any(Task::is_dirty) {
            return Ok(());
        }
        for task in self.tasks.values_mut() {
            task.flush()?;
        }
        self.send()?;
        let offsets: Vec<(TopicPartition, Offset)> = self.tasks.values().flat_map(Task::offsets).collect();
        let shared = Arc::clone(&self.shared);
        let producer = self.producer.as_mut().expect("`join` has made one");
        let member = self.member.as_mut().expect("`join` has joined");
        let exactly_once = shared.config.guarantee == ProcessingGuarantee::ExactlyOnce;
        if exactly_once && !offsets.is_empty() {
            let membership = member.membership();
            repeat(&shared, || producer.add_offsets(&membership, &offsets))?;
        }
        shared.crash_point("before log commit")?;
        // IMPORTANT: the log first. State that is ahead of the log could never be taken back.
        let bases = repeat(&shared, || producer.commit())?;
        self.in_transaction = false;
        shared.crash_point("after log commit")?;
        let mut batch = StoreBatch::default();
        for task in self.tasks.values_mut() {
            task.stage(&bases, &shared, &mut batch)?;
        }
        let backend: &dyn Backend = match &shared.disk {
            Some(disk) => &**disk,
            None => &shared.memory,
        };
        backend.apply(&batch).map_err(StreamsError::State)?;
        shared.crash_point("after store commit")?;
        if !exactly_once && !offsets.is_empty() {
            repeat(&shared, || member.commit(&offsets))?;
        }
        for task in self.tasks.values_mut() {
            task.committed(shared.config.cache_entries);
        }
        self.totals.commits += 1;
        self.last_commit = now;
        self.careful = self.careful.and_then(refused::widen);
        self.publish();
        if now.saturating_sub(self.last_purge) >= PURGE_EVERY {
            self.last_purge = now;
            self.purge(&offsets);
        }
        Ok(())
    }

    /// Deletes what all have read from repartition topics; a failure only leaves them longer.
    fn purge(&self, offsets: &[(TopicPartition, Offset)]) {
        let repartitions = &self.shared.topology.inner.repartitions;
        for (partition, offset) in offsets {
            let internal =
                |name: &Arc<str>| TopicName::Internal(Arc::clone(name)).resolve(&self.shared.application_id);
            if repartitions.iter().any(|def| internal(&def.name) == partition.topic)
                && let Err(error) = self.shared.admin.delete_records(partition, *offset)
            {
                tracing::debug!(%partition, %error, "records that are done with stay for now");
            }
        }
    }

    /// Aborts the open transaction and makes all tasks anew from what is committed.
    pub(in crate::runtime) fn recover(&mut self) {
        self.totals.aborts += 1;
        if self.in_transaction {
            self.in_transaction = false;
            let aborted = self.producer.as_mut().map_or(Ok(()), |producer| producer.abort());
            if let Err(error) = aborted {
                tracing::debug!(thread = self.name, %error, "abort failed, a new producer will take over");
                self.producer = None;
            }
        }
        for task in std::mem::take(&mut self.tasks).values_mut() {
            task.close(&self.shared);
        }
    }
}

/// Repeats a call while the log cannot be reached: a transaction must not be left half done for a broken connection.
fn repeat<T>(shared: &Shared, mut call: impl FnMut() -> Result<T, LogError>) -> Result<T, Trouble> {
    loop {
        let error = match call() {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        if matches!(error, LogError::TransactionLost { .. }) {
            tracing::warn!(%error, "the transaction is made once more");
            return Err(Trouble::Abort);
        }
        match error.consequence() {
            Consequence::Retriable if !shared.stopping() => std::thread::sleep(shared.config.retry_backoff),
            Consequence::Retriable | Consequence::Fatal => {
                return Err(Trouble::Fatal(StreamsError::Log {
                    doing: String::from("committing"),
                    source: error,
                }));
            }
            Consequence::Abort if !matches!(error, LogError::InvalidState(_)) => {
                // A record that is too large or a topic that went away will not do better the next time.
                return Err(Trouble::Refused(StreamsError::Log {
                    doing: String::from("committing"),
                    source: error,
                }));
            }
            Consequence::Abort => return Err(Trouble::Abort),
            Consequence::TaskMigrated => return Err(Trouble::Migrated),
        }
    }
}
