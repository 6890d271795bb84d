//! Bringing a store up to its changelog: where to begin, and applying what is read.

use std::sync::Arc;
use std::time::Duration;

use vigie_log::{BatchBuilder, Offset, PartitionId, Reader, RecordBatch, TopicPartition};

use super::config::RestoreListener;
use super::metrics::RestoreProgress;
use super::shared::Shared;
use super::topics::changelog_name;
use crate::error::StreamsError;
use crate::state::AnyStore;
use crate::topology::TaskId;

/// What a restore listener is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreEvent {
    /// The store.
    pub store: Arc<str>,
    /// The partition of its changelog.
    pub partition: TopicPartition,
    /// What happens.
    pub phase: RestorePhase,
}

/// The course of a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestorePhase {
    /// It begins.
    Start {
        /// First offset to apply.
        from: Offset,
        /// The offset at which the store is complete.
        end: Offset,
    },
    /// A part was applied.
    Batch {
        /// The next offset to apply.
        position: Offset,
        /// Records of this part.
        records: u64,
    },
    /// The store is complete.
    End {
        /// Records applied in all.
        records: u64,
    },
    /// The task went elsewhere before the store was complete.
    Suspended {
        /// Records applied in all.
        records: u64,
    },
}

/// A store's changelog partition.
pub(crate) struct Changelog {
    pub partition: TopicPartition,
    pub builder: BatchBuilder,
    /// Records of the open transaction.
    pub pending: i64,
    /// The next offset of the changelog that the store needs.
    pub position: Offset,
}

impl Changelog {
    pub(crate) fn new(application_id: &str, store: &str, partition: PartitionId) -> Self {
        Self {
            partition: TopicPartition::new(changelog_name(application_id, store), partition),
            builder: BatchBuilder::new(),
            pending: 0,
            position: 0,
        }
    }

    /// Applies batches to the store, which then is as of `reached` or of the last record; returns how many records there were.
    pub(crate) fn apply(
        &mut self,
        store: &mut dyn AnyStore,
        batches: &[RecordBatch],
        reached: Offset,
    ) -> Result<u64, StreamsError> {
        let position = batches.iter().map(|batch| batch.last_offset() + 1).fold(reached, Offset::max);
        if position <= self.position {
            return Ok(0);
        }
        let applied = store.restore(batches, self.position, position)?;
        self.position = position;
        Ok(applied)
    }
}

/// Where a store goes on in its changelog, and the changelog's end. A store that does not fit the changelog is emptied first.
pub(crate) fn first_position(
    shared: &Shared,
    store: &mut dyn AnyStore,
    changelog: &Changelog,
) -> Result<(Offset, Offset), StreamsError> {
    let TopicPartition { topic, partition } = &changelog.partition;
    let doing = format!("looking changelog `{topic}` up");
    let offsets = shared.admin.offsets(topic).map_err(StreamsError::log(doing))?;
    let bounds = offsets.get(*partition as usize).copied().unwrap_or_default();
    // State that is ahead of its changelog belongs to another log; state behind its beginning may have missed removals.
    let mark = store.mark()?.filter(|mark| mark.reach <= bounds.latest);
    let position = match mark.map(|mark| mark.position) {
        Some(position) if (bounds.earliest..=bounds.latest).contains(&position) => position,
        found => {
            if let Some(position) = found {
                tracing::warn!(
                    store = &**store.name(),
                    partition,
                    position,
                    earliest = bounds.earliest,
                    latest = bounds.latest,
                    "the local store does not fit its changelog: it is emptied and restored"
                );
            }
            store.wipe()?;
            bounds.earliest
        }
    };
    Ok((position, bounds.latest))
}

/// A restore under way.
pub(crate) struct Restore {
    reader: Box<dyn Reader>,
    targets: Vec<Target>,
    pub progress: RestoreProgress,
}

struct Target {
    /// The store, by position.
    store: usize,
    end: Offset,
    records: u64,
}

type Stores<'a> = (&'a mut [Box<dyn AnyStore>], &'a mut [Option<Changelog>]);

impl Restore {
    /// Compares a task's stores with their changelogs; `None` when nothing is missing.
    pub(crate) fn plan(
        shared: &Shared,
        id: TaskId,
        (stores, changelogs): Stores<'_>,
    ) -> Result<Option<Self>, StreamsError> {
        let mut targets = Vec::new();
        let mut partitions = Vec::new();
        let mut total = 0;
        for (index, (store, changelog)) in stores.iter_mut().zip(&mut *changelogs).enumerate() {
            let Some(changelog) = changelog else { continue };
            let (position, end) = first_position(shared, &mut **store, changelog)?;
            changelog.position = position;
            if position < end {
                total += end - position;
                targets.push(Target { store: index, end, records: 0 });
                partitions.push((changelog.partition.clone(), position));
                let start = RestorePhase::Start { from: position, end };
                tell(&shared.config.restore_listener, &**store, changelog, start);
            }
        }
        if targets.is_empty() {
            return Ok(None);
        }
        tracing::debug!(task = %id, records = total, "restoring");
        let names: Vec<TopicPartition> = partitions.iter().map(|(partition, _)| partition.clone()).collect();
        let mut reader =
            shared.config.log.reader(&names).map_err(StreamsError::log("opening changelogs to restore"))?;
        for (partition, position) in &partitions {
            reader.seek(partition, *position).map_err(StreamsError::log("seeking in a changelog"))?;
        }
        Ok(Some(Self { reader, targets, progress: RestoreProgress { done: 0, total } }))
    }

    /// Applies a part; tells whether all stores are complete.
    pub(crate) fn advance(
        &mut self,
        listener: &Option<RestoreListener>,
        (stores, changelogs): Stores<'_>,
        timeout: Duration,
    ) -> Result<bool, StreamsError> {
        let fetched =
            self.reader.poll(timeout).map_err(StreamsError::log("reading a changelog to restore"))?;
        for target in &mut self.targets {
            let Some(store) = stores.get_mut(target.store) else { continue };
            let Some(Some(changelog)) = changelogs.get_mut(target.store) else { continue };
            let own = fetched.iter().filter(|fetched| fetched.partition == changelog.partition);
            let batches: Vec<RecordBatch> = own.map(|fetched| fetched.batch.clone()).collect();
            let reached = self.reader.position(&changelog.partition).unwrap_or(changelog.position);
            let before = changelog.position;
            let records = changelog.apply(&mut **store, &batches, reached)?;
            self.progress.done += changelog.position - before;
            target.records += records;
            if changelog.position > before {
                let position = changelog.position;
                tell(listener, &**store, changelog, RestorePhase::Batch { position, records });
            }
            if changelog.position >= target.end {
                tell(listener, &**store, changelog, RestorePhase::End { records: target.records });
            }
        }
        self.targets.retain(|target| {
            let changelog = changelogs.get(target.store).and_then(Option::as_ref);
            changelog.is_some_and(|changelog| changelog.position < target.end)
        });
        Ok(self.targets.is_empty())
    }

    /// The task goes before it is complete.
    pub(crate) fn suspend(
        &self,
        listener: &Option<RestoreListener>,
        stores: &[Box<dyn AnyStore>],
        changelogs: &[Option<Changelog>],
    ) {
        for target in &self.targets {
            if let (Some(store), Some(Some(changelog))) =
                (stores.get(target.store), changelogs.get(target.store))
            {
                tell(listener, &**store, changelog, RestorePhase::Suspended { records: target.records });
            }
        }
    }
}

fn tell(
    listener: &Option<RestoreListener>,
    store: &dyn AnyStore,
    changelog: &Changelog,
    phase: RestorePhase,
) {
    if let Some(listener) = listener {
        let (store, partition) = (Arc::clone(store.name()), changelog.partition.clone());
        listener(&RestoreEvent { store, partition, phase });
    }
}
