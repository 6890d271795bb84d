//! Joining the group, taking partitions over, giving them up.

use std::collections::BTreeSet;
use std::sync::Arc;

use vigie_log::{MemberConfig, ProducerConfig, StartAt, TopicPartition};

use super::{StreamThread, Trouble, log};
use crate::error::StreamsError;
use crate::runtime::config::ProcessingGuarantee;
use crate::runtime::task::Task;
use crate::topology::{TaskId, TopicName};

impl StreamThread {
    pub(super) fn join(&mut self) -> Result<(), Trouble> {
        let config = &self.shared.config;
        if self.producer.is_none() {
            let transactional_id = match config.guarantee {
                ProcessingGuarantee::ExactlyOnce => Some(self.transactional_id.clone()),
                ProcessingGuarantee::AtLeastOnce => None,
            };
            let producer = config.log.producer(ProducerConfig { transactional_id });
            self.producer = Some(producer.map_err(log("making a producer"))?);
            self.in_transaction = false;
        }
        if self.member.is_none() {
            let mut member = MemberConfig::new(&*self.shared.application_id, &self.topics);
            member.start = config.start;
            member.client_id.clone_from(&self.name);
            member.max_poll_bytes = config.max_poll_bytes;
            member.topology = Some(Arc::clone(&self.shared.group_topology));
            member.endpoint.clone_from(&config.endpoint);
            member.process_id.clone_from(&self.shared.process_id);
            member.standby_replicas = config.standby_replicas;
            self.member = Some(config.log.member(member).map_err(log("joining the group"))?);
        }
        Ok(())
    }

    /// The tasks that read one of these partitions.
    fn readers(&self, partitions: &[TopicPartition]) -> Vec<TaskId> {
        let reads = |task: &Task| task.inputs.iter().any(|input| partitions.contains(&input.partition));
        self.tasks.values().filter(|task| reads(task)).map(|task| task.id).collect()
    }

    pub(super) fn lost(&mut self, partitions: &[TopicPartition]) -> Result<(), Trouble> {
        for partition in partitions {
            self.owned.remove(partition);
        }
        let readers = self.readers(partitions);
        for id in readers {
            if let Some(mut task) = self.tasks.remove(&id) {
                task.close(&self.shared);
            }
        }
        // The open transaction may hold results of the lost tasks: it cannot be committed.
        self.recover();
        Ok(())
    }

    pub(super) fn revoke(&mut self, partitions: &[TopicPartition]) -> Result<(), Trouble> {
        // Still ours until the next poll: what was done is committed first.
        match self.commit() {
            // The next owner meets the record again.
            Err(Trouble::Refused(_)) => self.recover(),
            committed => committed?,
        }
        for id in self.readers(partitions) {
            if let Some(mut task) = self.tasks.remove(&id) {
                task.close(&self.shared);
            }
        }
        for partition in partitions {
            self.owned.remove(partition);
        }
        Ok(())
    }

    /// Makes the tasks of partitions that have none yet.
    pub(super) fn make_tasks(&mut self) -> Result<(), Trouble> {
        let shared = Arc::clone(&self.shared);
        self.waiting_for_tasks = false;
        for (number, sub) in shared.topology.inner.subs.iter().enumerate() {
            let sub_topology = u32::try_from(number).unwrap_or(u32::MAX);
            let topics: Vec<Arc<str>> = shared
                .topology
                .inner
                .inputs(sub)
                .map(|(topic, _)| TopicName::resolve(topic, &shared.application_id))
                .collect();
            let partitions: BTreeSet<u32> = self
                .owned
                .iter()
                .filter(|owned| topics.contains(&owned.topic))
                .map(|owned| owned.partition)
                .collect();
            for partition in partitions {
                let id = TaskId { sub_topology, partition };
                if self.tasks.contains_key(&id) {
                    continue;
                }
                // A copy kept here gives its store over.
                self.standbys.drop_task(id);
                if !shared.hold(id) {
                    self.waiting_for_tasks = true;
                    continue;
                }
                let mut task = match Task::new(&shared, id) {
                    Ok(task) => task,
                    Err(error) => {
                        shared.let_go(id);
                        return Err(error.into());
                    }
                };
                self.position(&mut task)?;
                for (partition, (offset, reason)) in &self.refused {
                    task.refuse(partition, *offset, Arc::clone(reason));
                }
                self.shared.crash_point("before restore")?;
                task.plan_restore(&shared)?;
                self.tasks.insert(id, task);
            }
        }
        Ok(())
    }

    /// Puts a task's inputs where the group has committed, for the member as well.
    fn position(&mut self, task: &mut Task) -> Result<(), Trouble> {
        let member = self.member.as_mut().expect("tasks are made by members");
        let partitions: Vec<TopicPartition> =
            task.inputs.iter().map(|input| input.partition.clone()).collect();
        let committed = member.committed(&partitions).map_err(log("asking for committed positions"))?;
        for (input, committed) in task.inputs.iter_mut().zip(committed) {
            let offsets = self.shared.admin.offsets(&input.partition.topic);
            let offsets = offsets.map_err(log("looking an input's ends up"))?;
            let bounds = offsets.get(input.partition.partition as usize).copied().unwrap_or_default();
            input.group = committed;
            let start = committed.or(self.starts.get(&input.partition).copied());
            let start = start.unwrap_or_else(|| {
                let start = match self.shared.config.start {
                    StartAt::Earliest => bounds.earliest,
                    StartAt::Latest => bounds.latest,
                };
                self.starts.insert(input.partition.clone(), start);
                start
            });
            input.begin(start, bounds.latest);
            member.seek(&input.partition, start).map_err(log("seeking in an input"))?;
        }
        // A task that was dropped may have left them paused.
        member.resume(&partitions).map_err(log("resuming inputs"))?;
        Ok(())
    }

    /// Drops everything and leaves the group; the next turn joins again.
    pub(super) fn leave(&mut self) {
        self.recover();
        self.standbys = super::standbys::Standbys::default();
        self.producer = None;
        self.owned.clear();
        if let Some(member) = self.member.take()
            && let Err(error) = member.close()
        {
            tracing::debug!(thread = self.name, %error, "while leaving the group");
        }
        self.publish();
    }

    /// Commits what was done and leaves the group.
    pub(crate) fn close(&mut self) -> Result<(), StreamsError> {
        let committed = match self.commit() {
            Err(Trouble::Fatal(error)) => Err(error),
            _ => Ok(()),
        };
        self.leave();
        committed
    }

    /// Leaves without a commit, after an error.
    pub(crate) fn fail(&mut self) {
        self.leave();
    }

    /// Asks all members of the group to stop, before [`fail`](Self::fail).
    pub(crate) fn request_shutdown(&mut self) -> bool {
        match self.member.as_mut().map(|member| member.request_shutdown()) {
            Some(Ok(passed_on)) => passed_on,
            Some(Err(error)) => {
                tracing::error!(thread = self.name, %error, "the other members could not be asked to stop");
                false
            }
            None => false,
        }
    }

    /// A thread in the place of this one, which has failed; metrics go on counting.
    pub(crate) fn successor(&self) -> Self {
        let mut next = Self::new(&self.shared, self.number);
        next.totals = self.totals.clone();
        next.published = Arc::clone(&self.published);
        next.stop = Arc::clone(&self.stop);
        next
    }
}
