//! The standby copies that a thread keeps: what the group asks for, as far as no other thread of the process holds the task.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use vigie_log::{Consequence, StandbyTask};

use super::{Standby, StreamThread, Trouble};
use crate::error::StreamsError;
use crate::runtime::metrics::StandbySnapshot;
use crate::topology::TaskId;

/// How often an idle copy looks for news.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Default)]
pub(super) struct Standbys {
    wanted: BTreeSet<TaskId>,
    kept: BTreeMap<TaskId, Standby>,
    looked: Option<Duration>,
    /// There was more than one reading.
    pub busy: bool,
}

impl Standbys {
    /// Lets a copy go; its store stays for the task that comes.
    pub fn drop_task(&mut self, id: TaskId) {
        self.kept.remove(&id);
    }

    pub fn snapshot(&self, thread: &str) -> Vec<StandbySnapshot> {
        self.kept.values().map(|standby| standby.snapshot(thread)).collect()
    }
}

impl StreamThread {
    /// The group says which copies to keep.
    pub(super) fn want_standbys(&mut self, tasks: &[StandbyTask]) {
        let known = tasks.iter().filter_map(|task| {
            let sub_topology = task.sub_topology.parse().ok()?;
            let tasks = *self.shared.counts.tasks.get(usize::try_from(sub_topology).ok()?)?;
            (task.partition < tasks).then_some(TaskId { sub_topology, partition: task.partition })
        });
        self.standbys.wanted = known.collect();
        let wanted = &self.standbys.wanted;
        self.standbys.kept.retain(|id, _| wanted.contains(id));
    }

    /// Makes the copies that are missing and reads what has come in their changelogs; tells whether it has looked.
    pub(super) fn keep_standbys(&mut self) -> Result<bool, Trouble> {
        if self.standbys.wanted.is_empty() {
            self.standbys.busy = false;
            return Ok(false);
        }
        let now = self.shared.config.clock.monotonic();
        let looked = self.standbys.looked;
        if !self.standbys.busy && looked.is_some_and(|at| now.saturating_sub(at) < LOOK_EVERY) {
            return Ok(false);
        }
        self.standbys.looked = Some(now);
        self.standbys.busy = false;
        let missing: Vec<TaskId> = self
            .standbys
            .wanted
            .iter()
            .filter(|id| !self.standbys.kept.contains_key(id) && !self.tasks.contains_key(id))
            .copied()
            .collect();
        for id in missing {
            if self.shared.hold(id) {
                match Standby::new(&self.shared, id) {
                    Ok(standby) => {
                        self.standbys.kept.insert(id, standby);
                    }
                    Err(error) => may_wait(id, error)?,
                }
            }
        }
        let mut broken = Vec::new();
        for (id, standby) in &mut self.standbys.kept {
            match standby.advance(now) {
                Ok(more) => self.standbys.busy |= more,
                Err(error) => broken.push((*id, error)),
            }
        }
        self.shared.crash_point("in standby")?;
        for (id, error) in broken {
            self.standbys.drop_task(id);
            may_wait(id, error)?;
        }
        Ok(true)
    }
}

/// A copy is no reason to disturb the tasks: what the log refuses now is tried again later.
fn may_wait(id: TaskId, error: StreamsError) -> Result<(), Trouble> {
    match &error {
        StreamsError::Log { source, .. } if source.consequence() != Consequence::Fatal => {
            tracing::debug!(task = %id, %error, "a standby copy waits");
            Ok(())
        }
        _ => Err(error.into()),
    }
}
