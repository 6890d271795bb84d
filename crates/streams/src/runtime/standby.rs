//! A standby copy: the stores of a task that runs elsewhere, kept up to date from their changelogs.
//!
//! It reads committed records only, so that it never holds what the active task may still abort. When the task comes here, the copy is
//! dropped and the task opens the same stores, on disk or in memory, and finds them (almost) complete. No node runs here.

use std::sync::Arc;
use std::time::Duration;

use vigie_log::{Offset, Reader, RecordBatch, TopicPartition};

use super::instance::open_store;
use super::metrics::{PartitionLag, StandbySnapshot};
use super::restore::{Changelog, first_position};
use super::shared::Shared;
use crate::error::StreamsError;
use crate::state::{AnyStore, Freshness};
use crate::topology::TaskId;

/// How often the ends of the changelogs are looked up, for the lag.
const ENDS_EVERY: Duration = Duration::from_secs(1);

struct Copy {
    store: Box<dyn AnyStore>,
    changelog: Changelog,
    freshness: Arc<Freshness>,
}

pub(crate) struct Standby {
    id: TaskId,
    copies: Vec<Copy>,
    reader: Box<dyn Reader>,
    ends_at: Option<Duration>,
    shared: Arc<Shared>,
}

/// Lets the task go when nothing came of it.
struct Held<'a>(&'a Shared, TaskId, bool);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !self.2 {
            self.0.let_go(self.1);
        }
    }
}

impl Standby {
    /// A copy of a task that the caller [holds](Shared::hold); it lets go when it is dropped, or when this fails.
    pub(crate) fn new(shared: &Arc<Shared>, id: TaskId) -> Result<Self, StreamsError> {
        let mut held = Held(shared, id, false);
        let topology = &shared.topology.inner;
        let sub = topology.subs.get(id.sub_topology as usize);
        let mut copies = Vec::new();
        for name in sub.into_iter().flat_map(|sub| &sub.stores) {
            let def = topology.store(name);
            if let Some(mut changelog) = Changelog::of(&shared.application_id, def, id.partition) {
                let committed = open_store(def, id.partition, &shared.memory, shared.disk.as_deref())?;
                let mut store = (def.factory)(committed)?;
                store.count_in(&shared.budget);
                follow(shared, std::iter::once(&mut changelog))?;
                changelog.position = first_position(shared, &mut *store, &changelog)?.0;
                copies.push(Copy { store, changelog, freshness: Arc::default() });
            }
        }
        let partitions: Vec<TopicPartition> =
            copies.iter().map(|copy| copy.changelog.partition.clone()).collect();
        let reader = shared.config.log.reader(&partitions);
        let mut reader = reader.map_err(StreamsError::log("opening the changelogs of a standby copy"))?;
        for copy in &copies {
            let Changelog { partition, position, .. } = &copy.changelog;
            reader.seek(partition, *position).map_err(StreamsError::log("seeking in a changelog"))?;
        }
        for copy in &copies {
            shared.register(&*copy.store, id, Some(Arc::clone(&copy.freshness)));
        }
        held.2 = true;
        Ok(Self { id, copies, reader, ends_at: None, shared: Arc::clone(shared) })
    }

    /// Reads what there is; tells whether there may be more.
    pub(crate) fn advance(&mut self, now: Duration) -> Result<bool, StreamsError> {
        let fetched = self.reader.poll(Duration::ZERO);
        let fetched = fetched.map_err(StreamsError::log("reading a changelog for a standby copy"))?;
        let look = self.ends_at.is_none_or(|at| now.saturating_sub(at) >= ENDS_EVERY);
        if look {
            follow(&self.shared, self.copies.iter_mut().map(|copy| &mut copy.changelog))?;
        }
        let mut held_back = false;
        for Copy { store, changelog, freshness } in &mut self.copies {
            let own = fetched.iter().filter(|fetched| fetched.partition == changelog.partition);
            let batches: Vec<RecordBatch> = own.clone().map(|fetched| fetched.batch.clone()).collect();
            let reached = self.reader.position(&changelog.partition).unwrap_or(changelog.position);
            let end = own.map(|fetched| fetched.end).max();
            changelog.apply(&mut **store, &batches, reached)?;
            if changelog.input.is_some() && reached > changelog.position {
                // What is not committed yet is read again when it is.
                let again = self.reader.seek(&changelog.partition, changelog.position);
                again.map_err(StreamsError::log("seeking in a table's topic"))?;
                held_back = true;
            }
            let end = match end {
                Some(end) => Some(end),
                None if look => {
                    let offsets = self.shared.admin.offsets(&changelog.partition.topic);
                    let offsets = offsets.map_err(StreamsError::log("looking a changelog's end up"))?;
                    offsets.get(self.id.partition as usize).map(|bounds| bounds.latest)
                }
                None => None,
            };
            freshness.update(changelog.position, end.map(|end| changelog.end(end)), now);
        }
        if let Some(disk) = &self.shared.disk {
            let stores: Vec<_> = self.copies.iter().map(|copy| copy.store.reader()).collect();
            disk.tend(&stores, true)?;
        }
        if look {
            self.ends_at = Some(now);
        }
        Ok(!fetched.is_empty() && !held_back)
    }

    pub(crate) fn snapshot(&self, thread: &str) -> StandbySnapshot {
        let inputs = self.copies.iter().map(|copy| {
            let (position, end): (Offset, Offset) = copy.freshness.reached();
            PartitionLag {
                topic: copy.changelog.partition.topic.to_string(),
                partition: copy.changelog.partition.partition,
                position,
                end,
                lag: (end - position).max(0),
            }
        });
        StandbySnapshot {
            id: self.id.to_string(),
            sub_topology: self.id.sub_topology,
            partition: self.id.partition,
            thread: thread.to_owned(),
            changelogs: inputs.collect(),
        }
    }
}

/// Asks how far the group has committed the inputs that are changelogs, if there are any.
fn follow<'c>(
    shared: &Shared,
    changelogs: impl Iterator<Item = &'c mut Changelog>,
) -> Result<(), StreamsError> {
    let mut inputs = changelogs.filter(|changelog| changelog.input.is_some()).peekable();
    if inputs.peek().is_none() {
        return Ok(());
    }
    let group = shared.admin.describe_group(&shared.application_id);
    let group = group.map_err(StreamsError::log("asking how far the group has come"))?;
    let committed = |partition: &TopicPartition| {
        group.committed.iter().find(|(held, _)| held == partition).map(|(_, offset)| *offset)
    };
    for changelog in inputs {
        changelog.follow(&committed);
    }
    Ok(())
}

impl Drop for Standby {
    fn drop(&mut self) {
        for copy in &self.copies {
            self.shared.registry.remove(copy.store.name(), self.id.partition);
        }
        self.copies.clear();
        self.shared.let_go(self.id);
    }
}
