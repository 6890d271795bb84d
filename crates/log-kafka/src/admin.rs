//! Administration: topics, offsets and groups.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode as Code;
use vigie_log::{
    Admin, Consequence, GroupDescription, LogError, Offset, PartitionDescription, PartitionOffsets, Reader,
    Result, Timestamp, TopicDescription, TopicPartition, TopicSpec, check_spec, is_internal,
};

use crate::error::About;
use crate::log::Shared;
use crate::native::{self, OffsetAt};
use crate::reader::KafkaReader;
use crate::wire::{Cluster, WireError};

/// How long to wait until what this process has committed can be seen. Brokers say that a transaction is committed before they have written so
/// into every partition: a few milliseconds later, or more on a busy cluster.
const OWN_COMMIT: Duration = Duration::from_secs(3);

pub(crate) struct KafkaAdmin(pub Arc<Shared>);

/// Lets a thread wait for one future. rdkafka's own threads complete it, so no runtime is needed.
fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut TaskContext::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// One setting of a topic, as the broker applies it; `None` where it may not be asked for.
pub(crate) fn topic_setting(shared: &Shared, topic: &str, name: &str) -> Option<String> {
    settings(shared, topic).ok()?.remove(name)
}

fn settings(shared: &Shared, topic: &str) -> Result<BTreeMap<String, String>> {
    let about = About {
        topic: Some(topic),
        operation: "DescribeConfigs",
        ..shared.about("asking for a topic's settings")
    };
    // Any broker may be asked, also one that has just died: then another one, after some seconds.
    let deadline = Instant::now() + shared.config.request_timeout;
    let short = shared.config.request_timeout.min(Duration::from_secs(5));
    let found = loop {
        let options = AdminOptions::new().request_timeout(Some(short));
        match wait(shared.admin().describe_configs([&ResourceSpecifier::Topic(topic)], &options)) {
            Ok(found) => break found,
            Err(error) => {
                let error = about.kafka(&error);
                if error.consequence() != Consequence::Retriable || Instant::now() >= deadline {
                    return Err(error);
                }
            }
        }
    };
    let mut all = BTreeMap::new();
    for resource in found {
        let resource = resource.map_err(|code| about.code(code, &code.to_string()))?;
        all.extend(resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))));
    }
    Ok(all)
}

fn options(shared: &Shared) -> AdminOptions {
    let limit = shared.config.request_timeout;
    AdminOptions::new().request_timeout(Some(limit)).operation_timeout(Some(limit))
}

impl KafkaAdmin {
    fn about<'a>(&'a self, doing: &'a str, topic: &'a str, operation: &'a str) -> About<'a> {
        About { topic: Some(topic), operation, ..self.0.about(doing) }
    }

    /// Notes what this process has made of a topic, which not every broker has heard of yet.
    fn made(&self, topic: &str, partitions: Option<u32>) {
        let mut made = self.0.made.lock().unwrap_or_else(PoisonError::into_inner);
        match partitions {
            Some(count) => made.insert(topic.to_owned(), count),
            None => made.remove(topic),
        };
    }

    /// Waits until what has been changed can be seen, which on several brokers is a little later.
    fn until(&self, topic: &str, seen: impl Fn(Option<(u32, bool)>) -> bool) -> Result<()> {
        let deadline = Instant::now() + self.0.config.request_timeout;
        while !seen(self.0.partitions_now(topic)?) {
            if Instant::now() >= deadline {
                let about = self.0.about("waiting for a topic");
                return Err(about.unreachable(&format!("topic `{topic}` has no leader for some partition")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn all(&self, topic: &str) -> Result<Vec<TopicPartition>> {
        let name: Arc<str> = Arc::from(topic);
        Ok((0..self.0.partitions(topic)?)
            .map(|partition| TopicPartition::new(Arc::clone(&name), partition))
            .collect())
    }

    fn list(&self, partitions: &[TopicPartition], at: OffsetAt) -> Result<BTreeMap<TopicPartition, Offset>> {
        self.0.list_offsets("asking for offsets", partitions, at)
    }

    fn ends(&self, partitions: &[TopicPartition]) -> Result<Vec<PartitionOffsets>> {
        // What this process has committed until now is to be seen by it; what its other threads commit meanwhile is not waited for, or a busy
        // program would wait for ever. Somebody else's open transaction may hold the end back for longer: no reason to wait for that either.
        let targets: Vec<Option<Offset>> = partitions.iter().map(|at| self.0.written(at)).collect();
        let earliest = self.list(partitions, OffsetAt::Earliest)?;
        let deadline = Instant::now() + OWN_COMMIT;
        let latest = loop {
            let latest = self.list(partitions, OffsetAt::Latest)?;
            let mut behind = false;
            for (at, target) in partitions.iter().zip(&targets) {
                let Some(written) = *target else { continue };
                if latest.get(at).is_some_and(|end| *end <= written) && Instant::now() < deadline {
                    behind = true;
                } else if self.0.written(at) == Some(written) {
                    self.0.seen(at);
                }
            }
            if !behind {
                break latest;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let of = |found: &BTreeMap<_, _>, at| found.get(at).copied().unwrap_or(0);
        let both = |at| PartitionOffsets { earliest: of(&earliest, at), latest: of(&latest, at) };
        Ok(partitions.iter().map(both).collect())
    }

    /// What librdkafka cannot ask, asked on a connection of our own; again, where asking again may help.
    fn streams<T>(&self, doing: &str, ask: impl Fn() -> std::result::Result<T, WireError>) -> Result<T> {
        let deadline = Instant::now() + self.0.config.request_timeout;
        loop {
            match ask() {
                Ok(found) => return Ok(found),
                Err(error) if error.retriable() && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(WireError::NotAuthorised { resource, permission }) => {
                    return Err(LogError::NotAuthorised { resource, permission: permission.to_owned() });
                }
                Err(error) => return Err(self.0.about(doing).unreachable(&error.to_string())),
            }
        }
    }

    fn group_about<'a>(&'a self, doing: &'a str, group: &'a str) -> About<'a> {
        About { group: Some(group), operation: "Describe", ..self.0.about(doing) }
    }
}

impl Admin for KafkaAdmin {
    fn create_topic(&self, spec: &TopicSpec) -> Result<()> {
        check_spec(&TopicSpec { replication_factor: 1, ..spec.clone() })?;
        let about = self.about("creating a topic", &spec.name, "Create");
        let copies = match spec.replication_factor {
            0 | 1 => self.0.config.replication_factor.map_or(-1, i32::from),
            copies => i32::from(copies),
        };
        let partitions = i32::try_from(spec.partitions).unwrap_or(i32::MAX);
        let mut topic = NewTopic::new(&spec.name, partitions, TopicReplication::Fixed(copies));
        for (name, value) in &spec.config {
            topic = topic.set(name, value);
        }
        let created = wait(self.0.admin().create_topics([&topic], &options(&self.0)));
        for outcome in created.map_err(|error| about.kafka(&error))? {
            if let Err((_, code)) = outcome {
                if code == Code::TopicAlreadyExists {
                    // Another instance may have made it this very moment: whoever is told that it is there may ask about it next.
                    self.until(&spec.name, |found| found.is_some_and(|(_, led)| led))?;
                }
                return Err(match code {
                    Code::InvalidReplicationFactor => LogError::InvalidTopic {
                        topic: spec.name.clone(),
                        reason: format!(
                            "{copies} copies are asked for, but fewer brokers are there; ask for fewer, or start more brokers"
                        ),
                    },
                    Code::InvalidConfig => LogError::InvalidTopic {
                        topic: spec.name.clone(),
                        reason: format!(
                            "the broker does not accept its settings {:?}; their names and values are Kafka's",
                            spec.config
                        ),
                    },
                    code => about.code(code, &code.to_string()),
                });
            }
        }
        self.made(&spec.name, Some(spec.partitions));
        self.until(&spec.name, |found| found.is_some_and(|(count, led)| count == spec.partitions && led))
    }

    fn add_partitions(&self, topic: &str, partitions: u32) -> Result<()> {
        let about = self.about("adding partitions", topic, "Alter");
        let now = self.0.partitions(topic)?;
        if partitions < now {
            let reason =
                format!("it has {now} partitions, which cannot become {partitions}: none can be taken away");
            return Err(LogError::InvalidTopic { topic: topic.to_owned(), reason });
        }
        if partitions > now {
            let wanted = NewPartitions::new(topic, partitions as usize);
            let added = wait(self.0.admin().create_partitions([&wanted], &options(&self.0)));
            for outcome in added.map_err(|error| about.kafka(&error))? {
                outcome.map_err(|(_, code)| about.code(code, &code.to_string()))?;
            }
        }
        self.made(topic, Some(partitions));
        self.until(topic, |found| found.is_some_and(|(count, led)| count == partitions && led))
    }

    fn delete_topic(&self, topic: &str) -> Result<()> {
        let about = self.about("deleting a topic", topic, "Delete");
        let deleted = wait(self.0.admin().delete_topics(&[topic], &options(&self.0)));
        for outcome in deleted.map_err(|error| about.kafka(&error))? {
            outcome.map_err(|(_, code)| about.code(code, &code.to_string()))?;
        }
        self.made(topic, None);
        self.until(topic, |found| found.is_none())
    }

    fn delete_records(&self, partition: &TopicPartition, before: Offset) -> Result<()> {
        let about = self.about("deleting records", &partition.topic, "Delete");
        self.0.check_partition(partition)?;
        let [ends] = self.ends(std::slice::from_ref(partition))?[..] else { return Ok(()) };
        if before > ends.latest {
            return Err(LogError::OffsetOutOfRange {
                topic: partition.topic.to_string(),
                partition: partition.partition,
                offset: before,
                earliest: ends.earliest,
                latest: ends.latest,
            });
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(
            &partition.topic,
            crate::fetcher::number(partition),
            rdkafka::Offset::Offset(before),
        )
        .map_err(|error| about.kafka(&error))?;
        let deleted = wait(self.0.admin().delete_records(&list, &options(&self.0)));
        for element in deleted.map_err(|error| about.kafka(&error))?.elements() {
            element.error().map_err(|error| about.kafka(&error))?;
        }
        Ok(())
    }

    fn list_topics(&self, with_internal: bool) -> Result<Vec<String>> {
        let about = self.0.about("listing topics");
        let metadata = self
            .0
            .asking()
            .fetch_metadata(None, self.0.config.request_timeout)
            .map_err(|error| about.kafka(&error))?;
        let names = metadata.topics().iter().map(|topic| topic.name().to_owned());
        let mut names: Vec<_> = names.filter(|name| with_internal || !is_internal(name)).collect();
        names.sort();
        Ok(names)
    }

    fn describe_topic(&self, topic: &str) -> Result<TopicDescription> {
        let all = self.all(topic)?;
        let about = self.about("describing a topic", topic, "Describe");
        let offsets = self.ends(&all)?;
        let metadata = self
            .0
            .asking()
            .fetch_metadata(Some(topic), self.0.config.request_timeout)
            .map_err(|error| about.kafka(&error))?;
        let unknown = || LogError::UnknownTopic { topic: topic.to_owned() };
        let found = metadata.topics().iter().find(|found| found.name() == topic).ok_or_else(unknown)?;
        let mut partitions: Vec<_> = found
            .partitions()
            .iter()
            .map(|partition| {
                let number = u32::try_from(partition.id()).unwrap_or(u32::MAX);
                PartitionDescription {
                    partition: number,
                    leader: partition.leader(),
                    replicas: partition.replicas().to_vec(),
                    in_sync_replicas: partition.isr().to_vec(),
                    offsets: offsets.get(number as usize).copied().unwrap_or_default(),
                    bytes: None,
                    latest_timestamp: None,
                }
            })
            .collect();
        partitions.sort_by_key(|partition| partition.partition);
        let copies = partitions.first().map_or(0, |partition| partition.replicas.len());
        Ok(TopicDescription {
            name: topic.to_owned(),
            internal: is_internal(topic),
            replication_factor: u16::try_from(copies).unwrap_or(u16::MAX),
            config: settings(&self.0, topic)?,
            partitions,
        })
    }

    fn offsets(&self, topic: &str) -> Result<Vec<PartitionOffsets>> {
        self.ends(&self.all(topic)?)
    }

    fn offset_for_time(&self, partition: &TopicPartition, at: Timestamp) -> Result<Option<Offset>> {
        self.0.check_partition(partition)?;
        let found = self.list(std::slice::from_ref(partition), OffsetAt::Time(at))?;
        let Some(mut offset) = found.get(partition).copied().filter(|offset| *offset >= 0) else {
            return Ok(None);
        };
        // The broker counts the marks at the end of transactions too, which carry the time of day: its answer may lie too early, never
        // too late. So the first record that fits is looked for from there.
        let [ends] = self.ends(std::slice::from_ref(partition))?[..] else { return Ok(None) };
        let mut reader = KafkaReader::new(&self.0, std::slice::from_ref(partition))?;
        reader.seek(partition, offset)?;
        let deadline = Instant::now() + self.0.config.request_timeout;
        while offset < ends.latest {
            if Instant::now() >= deadline {
                // Too early is still right, only less exact.
                return Ok(Some(offset));
            }
            for fetched in reader.poll(Duration::from_millis(100))? {
                if let Some(first) = fetched.batch.iter().find(|record| record.timestamp >= at) {
                    return Ok(Some(first.offset));
                }
            }
            offset = reader.position(partition).unwrap_or(offset).max(offset);
        }
        Ok(None)
    }

    fn list_groups(&self) -> Result<Vec<String>> {
        let about = self.0.about("listing groups");
        let mut groups = native::list_groups(self.0.asking(), self.0.config.request_timeout)
            .map_err(|error| about.native(&error))?;
        groups.extend(self.streams("listing groups", || Cluster::new(&self.0.config).streams_groups())?);
        groups.sort();
        groups.dedup();
        Ok(groups)
    }

    fn describe_group(&self, group: &str) -> Result<GroupDescription> {
        let about = self.group_about("describing a group", group);
        let timeout = self.0.config.request_timeout;
        let deadline = Instant::now() + timeout;
        let described = loop {
            let error = match native::describe_group(self.0.asking(), group, timeout) {
                Ok(found) => break found,
                Err(error) if error.code == Code::GroupIdNotFound => break native::SysGroup::default(),
                Err(error) => about.native(&error),
            };
            // Coordinators take a moment on a new cluster, and when they move.
            if error.consequence() != Consequence::Retriable || Instant::now() >= deadline {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let mut members: Vec<_> = described
            .members
            .into_iter()
            .map(|mut member| {
                member.partitions.sort();
                (member.id, member.partitions)
            })
            .collect();
        // No consumers: then perhaps a program with tasks.
        if members.is_empty() {
            let cluster = Cluster::new(&self.0.config);
            members =
                self.streams("describing a group", || cluster.streams_group(group))?.unwrap_or_default();
        }
        members.sort();
        // What this process has committed is to be seen by it, though a broker writes the ends of transactions a moment after it has
        // answered. Somebody else may have committed since: no reason to wait for long.
        let waited_for = self.0.take_positions(group);
        let (until, deadline) = (Instant::now() + OWN_COMMIT, Instant::now() + timeout);
        let offsets = loop {
            let found = match native::group_offsets(self.0.asking(), group, timeout) {
                Ok(found) => found,
                Err(error) if error.code == Code::GroupIdNotFound => break Vec::new(),
                Err(error) => {
                    let error = about.native(&error);
                    if error.consequence() != Consequence::Retriable || Instant::now() >= deadline {
                        return Err(error);
                    }
                    std::thread::sleep(Duration::from_millis(50));
                    continue;
                }
            };
            if !waited_for.is_empty() {
                let seen = |(at, offset): (&TopicPartition, &Offset)| {
                    found.iter().any(|(found, position, _)| found == at && position == offset)
                };
                if !waited_for.iter().all(seen) && Instant::now() < until {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                }
            }
            // Of a transaction that is being ended at this moment.
            let unstable = |failed: &Option<Code>| *failed == Some(Code::UnstableOffsetCommit);
            if !found.iter().any(|(_, _, failed)| unstable(failed)) || Instant::now() >= deadline {
                break found;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut committed: Vec<_> = offsets
            .into_iter()
            .filter(|(_, offset, failed)| *offset >= 0 && failed.is_none())
            .map(|(at, offset, _)| (at, offset))
            .collect();
        committed.sort();
        Ok(GroupDescription { group: group.to_owned(), members, committed })
    }

    fn alter_offsets(&self, group: &str, offsets: &[(TopicPartition, Offset)]) -> Result<()> {
        let about = self.group_about("setting a group's offsets", group);
        for (at, offset) in offsets {
            self.0.check_partition(at)?;
            let [ends] = self.ends(std::slice::from_ref(at))?[..] else { continue };
            if !(ends.earliest..=ends.latest).contains(offset) {
                return Err(LogError::OffsetOutOfRange {
                    topic: at.topic.to_string(),
                    partition: at.partition,
                    offset: *offset,
                    earliest: ends.earliest,
                    latest: ends.latest,
                });
            }
        }
        if !self.describe_group(group)?.members.is_empty() {
            return Err(has_members(group));
        }
        let altered =
            native::alter_group_offsets(self.0.asking(), group, offsets, self.0.config.request_timeout)
                .map_err(|error| match error.code {
                    Code::UnknownMemberId | Code::NonEmptyGroup => has_members(group),
                    _ => about.native(&error),
                })?;
        for (at, _, failed) in altered {
            if let Some(code) = failed {
                return Err(match code {
                    Code::UnknownMemberId | Code::NonEmptyGroup => has_members(group),
                    code => About { topic: Some(&at.topic), operation: "Read", ..about }
                        .code(code, &code.to_string()),
                });
            }
        }
        Ok(())
    }

    fn delete_group(&self, group: &str) -> Result<()> {
        let about = self.group_about("deleting a group", group);
        let deleted = wait(self.0.admin().delete_groups(&[group], &options(&self.0)));
        for outcome in deleted.map_err(|error| about.kafka(&error))? {
            match outcome {
                Ok(_) | Err((_, Code::GroupIdNotFound)) => {}
                Err((_, Code::NonEmptyGroup)) => return Err(has_members(group)),
                Err((_, code)) => return Err(about.code(code, &code.to_string())),
            }
        }
        Ok(())
    }
}

fn has_members(group: &str) -> LogError {
    LogError::other(
        format!("changing group `{group}`"),
        "it has members; stop the programs that use it first",
    )
}
