//! The thread of a publisher: groups messages by partition, commits, acknowledges.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::Message;
use super::queue::{Queue, Queued};
use crate::{
    Admin, BatchBuilder, Clock, Consequence, Header, Log, LogError, Offset, PartitionId, Producer, Result,
    TopicPartition, partition_for_key,
};

/// How many commits pass before the number of partitions of a topic is asked for again.
const REFRESH: u64 = 1000;

pub(super) struct Worker {
    log: Arc<dyn Log>,
    admin: Box<dyn Admin>,
    producer: Box<dyn Producer>,
    queue: Arc<Queue>,
    linger: Duration,
    clock: Arc<dyn Clock>,
    topics: HashMap<String, Known>,
    commits: u64,
}

/// What is known of a topic.
struct Known {
    name: Arc<str>,
    partitions: u32,
    next: u32,
    as_of: u64,
}

/// Messages of one partition on their way into one transaction.
#[derive(Default)]
struct Share {
    builder: BatchBuilder,
    messages: Vec<Queued>,
}

/// Says that the thread is gone, also when it ends by a panic: nobody must wait for it.
struct Gone(Arc<Queue>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.close();
        while let Some(left) = self.0.take(Duration::ZERO) {
            let count = left.len();
            for queued in left {
                (queued.ack)(Err(LogError::Closed));
            }
            self.0.done(count);
        }
    }
}

/// Counts messages as done even if one of their acknowledgements panics.
struct Counted<'a>(&'a Queue, usize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.done(self.1);
    }
}

impl Worker {
    pub fn new(
        log: Arc<dyn Log>,
        producer: Box<dyn Producer>,
        queue: Arc<Queue>,
        linger: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let admin = log.admin();
        Self { log, admin, producer, queue, linger, clock, topics: HashMap::new(), commits: 0 }
    }

    pub fn run(mut self) {
        let queue = Arc::clone(&self.queue);
        let _gone = Gone(Arc::clone(&queue));
        while let Some(taken) = queue.take(self.linger) {
            let _counted = Counted(&queue, taken.len());
            self.commits += 1;
            self.publish(taken);
        }
    }

    fn publish(&mut self, taken: Vec<Queued>) {
        let mut shares: BTreeMap<TopicPartition, Share> = BTreeMap::new();
        for queued in taken {
            match self.partition(&queued.message) {
                Ok(at) => {
                    let share = shares.entry(at).or_default();
                    self.push(&mut share.builder, &queued.message);
                    share.messages.push(queued);
                }
                Err(error) => (queued.ack)(Err(error)),
            }
        }
        if shares.is_empty() {
            return;
        }
        match self.commit(shares.iter_mut().map(|(at, share)| (at, &mut share.builder))) {
            Ok(bases) => {
                for (at, share) in shares {
                    let base = base_of(&bases, &at);
                    for (i, queued) in (0..).zip(share.messages) {
                        (queued.ack)(Ok((at.clone(), base.map_or(-1, |base| base + i))));
                    }
                }
            }
            // Nothing was committed, and some message is to blame: halving finds it, its neighbours pass.
            Err(error) if error.consequence() == Consequence::Abort => {
                self.topics.clear();
                for (at, share) in shares {
                    self.publish_apart(&at, share.messages);
                }
            }
            Err(error) => {
                self.recover(&error);
                for queued in shares.into_values().flat_map(|share| share.messages) {
                    (queued.ack)(Err(error.to_shared()));
                }
            }
        }
    }

    fn publish_apart(&mut self, at: &TopicPartition, mut messages: Vec<Queued>) {
        let mut builder = BatchBuilder::new();
        for queued in &messages {
            self.push(&mut builder, &queued.message);
        }
        match self.commit([(at, &mut builder)].into_iter()) {
            Ok(bases) => {
                let base = base_of(&bases, at);
                for (i, queued) in (0..).zip(messages) {
                    (queued.ack)(Ok((at.clone(), base.map_or(-1, |base| base + i))));
                }
            }
            Err(error) if error.consequence() == Consequence::Abort && messages.len() > 1 => {
                let second = messages.split_off(messages.len() / 2);
                self.publish_apart(at, messages);
                self.publish_apart(at, second);
            }
            Err(error) => {
                if error.consequence() != Consequence::Abort {
                    self.recover(&error);
                }
                for queued in messages {
                    (queued.ack)(Err(error.to_shared()));
                }
            }
        }
    }

    fn commit<'a>(
        &mut self,
        shares: impl Iterator<Item = (&'a TopicPartition, &'a mut BatchBuilder)>,
    ) -> Result<Vec<(TopicPartition, Offset)>> {
        self.producer.begin()?;
        let outcome = (|| {
            for (at, builder) in shares {
                self.producer.append(at, builder)?;
            }
            self.producer.commit()
        })();
        if outcome.as_ref().is_err_and(|error| error.consequence() == Consequence::Abort) {
            // When even that fails, the next begin says so.
            let _ = self.producer.abort();
        }
        outcome
    }

    /// After a failure of unknown outcome, the producer's state is unknown too: a new one takes its place.
    fn recover(&mut self, error: &LogError) {
        if error.consequence() != Consequence::Fatal
            && let Ok(producer) = self.log.producer(crate::ProducerConfig::default())
        {
            self.producer = producer;
        } else {
            let _ = self.producer.abort();
        }
    }

    fn push(&self, builder: &mut BatchBuilder, message: &Message) {
        let headers: Vec<Header<'_>> =
            message.headers.iter().map(|(name, value)| Header { name, value: Some(value) }).collect();
        let timestamp = message.timestamp.unwrap_or_else(|| self.clock.now());
        builder.push(timestamp, message.key.as_deref(), message.value.as_deref(), &headers);
    }

    fn partition(&mut self, message: &Message) -> Result<TopicPartition> {
        let fresh = self.topics.get(&message.topic).is_some_and(|known| self.commits - known.as_of < REFRESH);
        if !fresh {
            let partitions = self.admin.partition_count(&message.topic)?;
            let as_of = self.commits;
            let known = self.topics.entry(message.topic.clone()).or_insert_with(|| Known {
                name: message.topic.as_str().into(),
                partitions,
                next: 0,
                as_of,
            });
            known.partitions = partitions;
            known.as_of = as_of;
        }
        let Some(known) = self.topics.get_mut(&message.topic) else {
            return Err(LogError::UnknownTopic { topic: message.topic.clone() });
        };
        let partition = match (message.partition, &message.key) {
            (Some(partition), _) if partition >= known.partitions => {
                return Err(LogError::UnknownPartition {
                    topic: message.topic.clone(),
                    partition,
                    count: known.partitions,
                });
            }
            (Some(partition), _) => partition,
            (None, Some(key)) => partition_for_key(key, known.partitions),
            (None, None) => {
                known.next = known.next.wrapping_add(1);
                known.next % known.partitions.max(1)
            }
        };
        Ok(TopicPartition::new(Arc::clone(&known.name), partition as PartitionId))
    }
}

fn base_of(bases: &[(TopicPartition, Offset)], at: &TopicPartition) -> Option<Offset> {
    bases.iter().find(|(partition, _)| partition == at).map(|(_, base)| *base)
}
