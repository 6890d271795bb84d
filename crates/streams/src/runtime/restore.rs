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
use crate::topology::{ReadRow, SourceTopic, StoreDef, TaskId};

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
    /// Where it is the table's own input.
    pub input: Option<TableInput>,
}

/// A changelog that is an input as well: nobody writes it here, and the store follows what was committed of the input.
pub(crate) struct TableInput {
    read: ReadRow,
    /// How far the group has committed. What lies behind is no row yet: a task will process it.
    pub committed: Offset,
}

impl Changelog {
    /// What the store of a partition is restored from; `None` if from nothing.
    pub(crate) fn of(application_id: &str, store: &StoreDef, partition: PartitionId) -> Option<Self> {
        let (topic, input) = match &store.source {
            Some(SourceTopic { topic, read }) => {
                (Arc::clone(topic), Some(TableInput { read: Arc::clone(read), committed: 0 }))
            }
            None if store.logged => (changelog_name(application_id, &store.name), None),
            None => return None,
        };
        let partition = TopicPartition::new(topic, partition);
        Some(Self { partition, builder: BatchBuilder::new(), pending: 0, position: 0, input })
    }

    /// Where changes are to be written, if anywhere.
    pub(crate) fn writer(&mut self) -> Option<&mut BatchBuilder> {
        self.input.is_none().then_some(&mut self.builder)
    }

    /// How far the store may follow a log that ends at `latest`.
    pub(crate) fn end(&self, latest: Offset) -> Offset {
        self.input.as_ref().map_or(latest, |input| input.committed.min(latest))
    }

    /// Learns how far the group has committed, where that matters.
    pub(crate) fn follow(&mut self, committed: &dyn Fn(&TopicPartition) -> Option<Offset>) {
        if let Some(input) = &mut self.input {
            input.committed = committed(&self.partition).unwrap_or(0);
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
        let position = self.end(position);
        if position <= self.position {
            return Ok(0);
        }
        let applied = match &self.input {
            None => store.restore(batches, self.position, position)?,
            Some(input) => {
                let here = self.position..position;
                let mut rows = BatchBuilder::new();
                for record in batches.iter().flat_map(RecordBatch::iter).filter(|r| here.contains(&r.offset))
                {
                    (input.read)(&record, &mut rows);
                }
                let rows = (!rows.is_empty()).then(|| rows.build(self.position));
                store.restore(rows.as_slice(), self.position, position)?
            }
        };
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
    let end = changelog.end(bounds.latest);
    // State that is ahead of its changelog belongs to another log, or to an input that will be processed again; state behind its beginning may
    // have missed removals.
    let mark = store.mark()?.filter(|mark| mark.reach <= end);
    let position = match mark.map(|mark| mark.position) {
        Some(position) if (bounds.earliest..=end).contains(&position) => position,
        found => {
            if let Some(position) = found {
                tracing::warn!(
                    store = &**store.name(),
                    partition,
                    position,
                    earliest = bounds.earliest,
                    latest = end,
                    "the local store does not fit its changelog: it is emptied and restored"
                );
            }
            store.wipe()?;
            bounds.earliest
        }
    };
    Ok((position, end))
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
