//! Producers: transactions, and what becomes of them.
//!
//! ```text
//!        begin          append, add_offsets
//! idle ─────────▶ open ◀──────────────────┐
//!  ▲  ▲             │└─────────────────────┘
//!  │  └── abort ────┤
//!  └──── committed ─┤ commit: flush, offsets, end
//!                   └── fenced, or the outcome is unknown ──▶ dead
//! ```
//! A commit whose answer is lost is asked for again until the transaction has timed out. After that nobody here can know how it ended:
//! the producer is dead, and a new one of the same id, which first lets the broker finish, starts from what the log says.
//!
//! A producer without an id gets one that nobody else has, because only transactions make several records appear together. Such producers
//! are kept when they are dropped, and used again.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode as Code;
use vigie_log::{
    BatchBuilder, Consequence, LogError, Membership, Offset, Producer, ProducerConfig, Result, TopicPartition,
};

use crate::client::Role;
use crate::error::{About, too_large};
use crate::log::Shared;
use crate::native::{NativeError, NativeProducer};

/// Idle producers without an id that are kept.
const KEPT: usize = 8;

pub(crate) struct KafkaProducer {
    shared: Arc<Shared>,
    /// `None`: dead.
    native: Option<NativeProducer>,
    id: String,
    anonymous: bool,
    open: bool,
    /// A record was refused. Its sequence number is missing at the broker, which would refuse the next transaction too.
    spoilt: bool,
    /// Partitions in order of first append.
    appended: Vec<TopicPartition>,
    offsets: Vec<(Membership, Vec<(TopicPartition, Offset)>)>,
    /// Those of them that the coordinator has.
    sent: Vec<(Membership, Vec<(TopicPartition, Offset)>)>,
    /// Partition counts, so that a record is never sent to where there is nothing.
    counts: Vec<(Arc<str>, u32)>,
}

impl KafkaProducer {
    pub fn new(shared: &Arc<Shared>, config: ProducerConfig) -> Result<Self> {
        let anonymous = config.transactional_id.is_none();
        let kept =
            if anonymous { shared.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() } else { None };
        let (native, id) = match kept {
            Some(kept) => kept,
            None => {
                let id = config.transactional_id.unwrap_or_else(|| shared.unique("producer"));
                (start(shared, &id)?, id)
            }
        };
        Ok(Self {
            shared: Arc::clone(shared),
            native: Some(native),
            id,
            anonymous,
            open: false,
            spoilt: false,
            appended: Vec::new(),
            offsets: Vec::new(),
            sent: Vec::new(),
            counts: Vec::new(),
        })
    }

    fn about<'a>(&'a self, doing: &'a str) -> About<'a> {
        About { transactional_id: Some(&self.id), operation: "Write", ..self.shared.about(doing) }
    }

    fn dead(&self) -> LogError {
        self.about("using a producer").fenced()
    }

    fn native(&self) -> Result<&NativeProducer> {
        self.native.as_ref().ok_or_else(|| self.dead())
    }

    /// Turns an error into the log's. After one that is fatal the producer is dead.
    fn failed(&mut self, error: &NativeError, doing: &str, member: Option<&Membership>) -> LogError {
        // The error does not say which topic; these are in question.
        let mut topics: Vec<_> = self.appended.iter().map(|at| &*at.topic).collect();
        topics.dedup();
        let topics = topics.join(", ");
        let topic = Some(topics.as_str()).filter(|topics| !topics.is_empty());
        let about = About { topic, group: member.map(|member| &*member.group), member, ..self.about(doing) };
        let found = about.native(error);
        if error.fatal {
            tracing::warn!(target: "kafka", id = self.id, "a producer is fenced or broken: {}", error.text);
            self.native = None;
            self.open = false;
        }
        found
    }

    /// What would be worth repeating by itself is not in a transaction that has lost a record or that the broker has given up: each further
    /// attempt to commit it fails in the same way.
    fn lost(&self, error: LogError) -> LogError {
        if error.consequence() != Consequence::Retriable {
            return error;
        }
        tracing::warn!(target: "kafka", id = self.id, "a transaction cannot be committed any more: {error}");
        LogError::TransactionLost { transactional_id: self.id.clone(), reason: error.to_string() }
    }

    fn count(&mut self, to: &TopicPartition) -> Result<u32> {
        if let Some((_, count)) =
            self.counts.iter().find(|(topic, count)| *topic == to.topic && to.partition < *count)
        {
            return Ok(*count);
        }
        let count = self.shared.partitions(&to.topic)?;
        self.counts.retain(|(topic, _)| *topic != to.topic);
        self.counts.push((Arc::clone(&to.topic), count));
        Ok(count)
    }

    /// Why a record was refused, in the log's terms.
    fn refusal(&mut self, topic: &str, code: Code, size: usize) -> LogError {
        // Asked for anew next time: it may have been deleted, or have more partitions.
        self.counts.retain(|(known, _)| **known != *topic);
        match code {
            Code::MessageSizeTooLarge | Code::InvalidMessageSize => {
                let limit = crate::admin::topic_setting(&self.shared, topic, "max.message.bytes");
                too_large(topic, size, limit.and_then(|limit| limit.parse().ok()).unwrap_or(0))
            }
            _ => About { topic: Some(topic), ..self.about("writing") }.code(code, &code.to_string()),
        }
    }

    fn commit_open(&mut self) -> Result<Vec<(TopicPartition, Offset)>> {
        for (member, _) in &self.offsets {
            self.shared.check_generation(member)?;
        }
        let request = self.shared.config.request_timeout;
        let deadline = Instant::now() + self.shared.config.transaction_timeout;
        loop {
            // Records first: then the coordinator is done with the last transaction by the time the offsets come.
            match self.native()?.flush(request) {
                Ok(()) => break,
                Err(_) if Instant::now() < deadline => {}
                Err(error) => return Err(self.failed(&error, "writing the records of a transaction", None)),
            }
        }
        let refused = self.native()?.delivered().refused.clone();
        if let Some((topic, code, size)) = refused {
            self.spoilt = true;
            return Err(match code {
                // The producer as a whole has failed; the end of the transaction tells why.
                Code::Fatal => match self.native()?.commit(request) {
                    Err(error) => self.failed(&error, "writing", None),
                    Ok(()) => self.dead(),
                },
                code => {
                    let refusal = self.refusal(&topic, code, size);
                    self.lost(refusal)
                }
            });
        }
        while let Some((member, offsets)) = self.offsets.first().cloned() {
            let wait = request.min(self.shared.config.transaction_timeout);
            if let Err(error) = self.native()?.send_offsets(&member, &offsets, wait) {
                if !error.retriable || Instant::now() >= deadline {
                    let failed = self.failed(&error, "adding offsets to a transaction", Some(&member));
                    return Err(if error.retriable { failed } else { self.lost(failed) });
                }
            } else {
                self.sent.push(self.offsets.remove(0));
            }
        }
        loop {
            let Err(error) = self.native()?.commit(request) else { break };
            if !error.retriable {
                let failed = self.failed(&error, "ending a transaction", None);
                return Err(self.lost(failed));
            }
            if Instant::now() >= deadline {
                tracing::warn!(target: "kafka", id = self.id, "nobody knows how a transaction ended: {}", error.text);
                self.native = None;
                self.open = false;
                return Err(self.dead());
            }
        }
        let bases = self.native()?.delivered().bases.clone();
        let known = self.appended.drain(..).zip(bases);
        let known: Vec<_> = known.filter_map(|(at, base)| base.map(|base| (at, base))).collect();
        self.shared.note_written(&known);
        for (member, offsets) in &self.sent {
            self.shared.note_positions(&member.group, offsets);
        }
        Ok(known)
    }

    fn end(&mut self) {
        self.open = false;
        self.appended.clear();
        self.offsets.clear();
        self.sent.clear();
    }
}

/// Makes a producer; the broker ends what an older one of the same id left open.
fn start(shared: &Shared, id: &str) -> Result<NativeProducer> {
    let about = About {
        transactional_id: Some(id),
        operation: "IdempotentWrite",
        ..shared.about("starting a producer")
    };
    let mut config = shared.config.client(Role::Producer)?;
    config.remove("allow.auto.create.topics");
    config.set("transactional.id", id);
    let native = NativeProducer::new(&config, shared.context(), id).map_err(|error| about.kafka(&error))?;
    let deadline = Instant::now() + shared.config.request_timeout;
    loop {
        let Err(error) = native.init_transactions(Duration::from_secs(1)) else {
            shared.trouble.over();
            return Ok(native);
        };
        if !error.retriable || shared.trouble.is_refusal() || Instant::now() >= deadline {
            return Err(about.native(&error));
        }
    }
}

impl Producer for KafkaProducer {
    fn begin(&mut self) -> Result<()> {
        if self.open {
            return Err(LogError::InvalidState("begin within an open transaction"));
        }
        if let Err(error) = self.native()?.begin() {
            return Err(self.failed(&error, "beginning a transaction", None));
        }
        self.open = true;
        Ok(())
    }

    fn append(&mut self, partition: &TopicPartition, records: &mut BatchBuilder) -> Result<()> {
        if !self.open {
            return Err(LogError::InvalidState("append without begin"));
        }
        self.native()?;
        let count = self.count(partition)?;
        if partition.partition >= count {
            return Err(LogError::UnknownPartition {
                topic: partition.topic.to_string(),
                partition: partition.partition,
                count,
            });
        }
        if records.is_empty() {
            return Ok(());
        }
        let batch = records.build(0);
        let first = if self.appended.contains(partition) {
            None
        } else {
            self.appended.push(partition.clone());
            Some(self.appended.len() - 1)
        };
        let Some(native) = self.native.as_mut() else { return Err(self.dead()) };
        let deadline = Instant::now() + self.shared.config.request_timeout;
        let error = loop {
            let Err(error) = native.produce(partition, &batch, first) else { return Ok(()) };
            // It is there, as asked above, but this client has not heard of it yet.
            let unheard = matches!(error.code, Code::UnknownPartition | Code::UnknownTopic);
            if !unheard || !native.refresh(&partition.topic, deadline) {
                break error;
            }
        };
        if error.code == Code::MessageSizeTooLarge {
            let largest = batch
                .iter()
                .map(|record| record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len));
            return Err(self.refusal(&partition.topic, error.code, largest.max().unwrap_or(0)));
        }
        Err(self.failed(&error, "writing", None))
    }

    fn add_offsets(&mut self, member: &Membership, offsets: &[(TopicPartition, Offset)]) -> Result<()> {
        if !self.open {
            return Err(LogError::InvalidState("add_offsets without begin"));
        }
        self.shared.check_generation(member)?;
        if !offsets.is_empty() {
            self.offsets.push((member.clone(), offsets.to_vec()));
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<Vec<(TopicPartition, Offset)>> {
        if !self.open {
            return Err(if self.native.is_none() {
                self.dead()
            } else {
                LogError::InvalidState("commit without begin")
            });
        }
        let bases = self.commit_open()?;
        self.end();
        Ok(bases)
    }

    fn abort(&mut self) -> Result<()> {
        if !self.open {
            return if self.native.is_none() {
                Ok(())
            } else {
                Err(LogError::InvalidState("abort without begin"))
            };
        }
        let deadline = Instant::now() + self.shared.config.transaction_timeout;
        let aborted = loop {
            match self.native()?.abort(self.shared.config.request_timeout) {
                Err(error) if error.retriable && Instant::now() < deadline => {}
                outcome => break outcome,
            }
        };
        if let Err(error) = aborted {
            let found = self.failed(&error, "aborting a transaction", None);
            self.end();
            self.native = None;
            if found.consequence() == Consequence::TaskMigrated {
                return Err(found);
            }
            // It cannot be aborted from here, for example because the coordinator was never allowed to begin it: a new producer of the same
            // id lets the broker end whatever there is.
            tracing::debug!(target: "kafka", id = self.id, "beginning anew, since aborting failed: {found}");
            self.spoilt = false;
            self.native = Some(start(&self.shared, &self.id)?);
            return Ok(());
        }
        self.end();
        if std::mem::take(&mut self.spoilt) {
            self.native = None;
            self.native = Some(start(&self.shared, &self.id)?);
        }
        Ok(())
    }
}

impl Drop for KafkaProducer {
    fn drop(&mut self) {
        let Some(native) = self.native.take() else { return };
        // Readers would otherwise wait for the broker to notice.
        if self.open && native.abort(Duration::from_secs(5)).is_err() {
            return;
        }
        let mut idle = self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if self.anonymous && !self.spoilt && idle.len() < KEPT {
            idle.push((native, std::mem::take(&mut self.id)));
        }
    }
}
