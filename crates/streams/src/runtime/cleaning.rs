//! Removing local state that this process does not need any more: that of tasks which neither run here nor have a copy here, after a delay, for they
//! may come back.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use vigie_log::PartitionId;

use super::shared::Shared;
use crate::error::StateError;
use crate::state::Backend;
use crate::topology::TaskId;

/// How long state in memory stays for a task that has left: it may be on its way to another thread.
const KEEP_MEMORY: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(crate) struct Cleaning(Mutex<Unowned>);

#[derive(Default)]
struct Unowned {
    looked: Option<Duration>,
    /// Since when nobody here has held the task of a store.
    since: BTreeMap<(String, PartitionId), Duration>,
}

impl Shared {
    /// Called by every thread, now and then; one of them does the work.
    pub(crate) fn clean_up(&self) {
        let now = self.config.clock.monotonic();
        self.memory.forget_unused(now, KEEP_MEMORY);
        let Some(disk) = &self.disk else { return };
        let delay = self.config.state_cleanup_delay;
        let every = (delay / 10).clamp(Duration::from_millis(10), Duration::from_secs(60));
        let mut unowned = self.cleaning.0.lock().unwrap_or_else(PoisonError::into_inner);
        if unowned.looked.is_some_and(|at| now.saturating_sub(at) < every) {
            return;
        }
        unowned.looked = Some(now);
        if let Err(error) = self.remove_unowned(&**disk, &mut unowned, now, delay) {
            tracing::warn!(%error, "local state of tasks that run elsewhere stays for now");
        }
    }

    fn remove_unowned(
        &self,
        disk: &dyn Backend,
        unowned: &mut Unowned,
        now: Duration,
        delay: Duration,
    ) -> Result<(), StateError> {
        let mut before = std::mem::take(&mut unowned.since);
        for (store, partition) in disk.stored()? {
            // What no task has, another part of the program may.
            let Some((id, logged)) = self.task_of(&store, partition) else { continue };
            if self.is_held(id) {
                continue;
            }
            let place = (store, partition);
            let since = before.remove(&place).unwrap_or(now);
            // IMPORTANT: held while it is removed, so that no thread opens it meanwhile.
            if now.saturating_sub(since) < delay || !self.hold(id) {
                unowned.since.insert(place, since);
                continue;
            }
            let wiped = disk.open(&place.0, partition, logged).and_then(|store| store.wipe());
            self.let_go(id);
            wiped?;
            tracing::info!(
                store = place.0,
                partition,
                "local state of a task that runs elsewhere is removed"
            );
        }
        Ok(())
    }

    fn task_of(&self, store: &str, partition: PartitionId) -> Option<(TaskId, bool)> {
        let topology = &self.topology.inner;
        let sub = topology.subs.iter().position(|sub| sub.stores.iter().any(|name| **name == *store))?;
        let id = TaskId { sub_topology: u32::try_from(sub).ok()?, partition };
        Some((id, topology.store(store).is_restorable()))
    }
}
