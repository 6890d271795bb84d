//! One task's copy of its sub-topology: nodes in an arena, stores, outputs. Knows nothing of the log; the test driver runs it as threads do.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use vigie_log::{PartitionId, RecordRef, Timestamp};

use super::handlers::{ErrorHandler, ErrorResponse, FailedRecord, dead_letter_headers};
use super::output::{Outputs, TopicDirectory};
use crate::error::{Failure, StateError, StreamsError};
use crate::processor::{
    AnyNode, Counts, Cx, Flow, PunctuationType, Punctuations, SourceNode, TaskState, Wiring,
};
use crate::record::RecordMetadata;
use crate::state::{AnyStore, Backend, Committed, Globals};
use crate::topology::{Checked, NodeId, NodeKind, StoreDef, TaskId};

/// What handles failures, shared by all tasks.
#[derive(Debug, Clone)]
pub(crate) struct Handlers {
    pub deserialization: ErrorHandler,
    pub processing: ErrorHandler,
    pub production: ErrorHandler,
}

/// Opens the committed side of a store.
pub(crate) type OpenStore<'a> = dyn FnMut(&StoreDef) -> Result<Arc<dyn Committed>, StateError> + 'a;

pub(crate) struct Instance {
    /// One for each topic that the sub-topology reads: its name and the index of its source.
    pub inputs: Vec<(Arc<str>, usize)>,
    sources: Vec<Box<dyn SourceNode>>,
    nodes: Vec<Box<dyn AnyNode>>,
    pub state: TaskState,
    handlers: Handlers,
}

impl Instance {
    /// Makes nodes and stores; nothing runs before [`init`](Self::init).
    pub(crate) fn new(
        topology: &Checked,
        id: TaskId,
        application_id: &Arc<str>,
        open: &mut OpenStore<'_>,
        directory: Arc<dyn TopicDirectory>,
        handlers: Handlers,
        globals: &Globals,
    ) -> Result<Self, StateError> {
        let sub =
            topology.subs.get(id.sub_topology as usize).expect("tasks are made of known sub-topologies");
        let mut stores: Vec<Box<dyn AnyStore>> = Vec::new();
        let mut store_index: HashMap<&str, usize> = HashMap::new();
        for name in &sub.stores {
            let def = topology.store(name);
            store_index.insert(name, stores.len());
            stores.push((def.factory)(open(def)?)?);
        }
        let mut outputs = Outputs::new(directory);
        let inner = |id: &&NodeId| !matches!(topology.node(**id).kind, NodeKind::Source { .. });
        let position: HashMap<NodeId, usize> =
            sub.nodes.iter().filter(inner).enumerate().map(|(position, id)| (*id, position)).collect();
        let (mut sources, mut nodes, mut inputs) = (Vec::new(), Vec::new(), Vec::new());
        for node_id in &sub.nodes {
            let node = topology.node(*node_id);
            let own = position.get(node_id).copied();
            let children: Vec<usize> = node
                .children
                .iter()
                .map(|child| {
                    let at = position.get(child).copied().expect("children are no sources");
                    own.map_or(at, |own| at - own - 1)
                })
                .collect();
            let child_names: Vec<Arc<str>> =
                node.children.iter().map(|child| Arc::clone(&topology.node(*child).name)).collect();
            let node_stores: Vec<(Arc<str>, usize)> = node
                .stores
                .iter()
                .filter_map(|name| store_index.get(&**name).map(|index| (Arc::clone(name), *index)))
                .collect();
            let mut wiring = Wiring {
                children: &children,
                child_names: &child_names,
                stores: &node_stores,
                outputs: &mut outputs,
                application_id,
                position: own.unwrap_or(0),
                send_old: node.send_old,
                null_keys: node.null_keys,
                globals,
            };
            match &node.kind {
                NodeKind::Source { topics, factory } => {
                    inputs.extend(topics.iter().map(|topic| (topic.resolve(application_id), sources.len())));
                    sources.push(factory(&mut wiring));
                }
                NodeKind::Processor { factory } | NodeKind::Sink { factory, .. } => {
                    nodes.push(factory(&mut wiring));
                }
            }
        }
        let metadata =
            RecordMetadata { topic: "".into(), partition: id.partition, offset: -1, timestamp: -1 };
        let state = TaskState {
            id,
            application_id: Arc::clone(application_id),
            stores,
            outputs,
            punctuations: Punctuations::default(),
            stream_time: -1,
            wall_clock: 0,
            metadata,
            counts: Counts::default(),
            commit_requested: false,
            emit_interval: 0,
            record_cache: false,
            join_times: BTreeMap::new(),
        };
        Ok(Self { inputs, sources, nodes, state, handlers })
    }

    /// Starts the nodes, once the stores are restored.
    pub(crate) fn init(&mut self, wall_clock: Timestamp) -> Result<(), StreamsError> {
        self.state.wall_clock = wall_clock;
        self.state.stream_time =
            self.state.stores.iter().map(|store| store.observed_time()).max().unwrap_or(-1);
        for position in 0..self.nodes.len() {
            self.at(position, |node, cx| node.init(cx)).map_err(|failure| self.fatal(&failure))?;
        }
        Ok(())
    }

    pub(crate) fn close(&mut self) {
        for node in &mut self.nodes {
            node.close();
        }
    }

    fn at(&mut self, position: usize, run: impl FnOnce(&mut dyn AnyNode, &mut Cx<'_>) -> Flow) -> Flow {
        let Some((node, rest)) = self.nodes.get_mut(position..).and_then(<[_]>::split_first_mut) else {
            return Ok(());
        };
        run(node.as_mut(), &mut Cx { nodes: rest, task: &mut self.state })
    }

    fn fatal(&self, failure: &Failure) -> StreamsError {
        StreamsError::Record { task: self.state.id.to_string(), failure: failure.to_string() }
    }

    /// Says where the next records come from.
    pub(crate) fn enter(&mut self, topic: &Arc<str>, partition: PartitionId) {
        if !Arc::ptr_eq(&self.state.metadata.topic, topic) {
            self.state.metadata.topic = Arc::clone(topic);
        }
        self.state.metadata.partition = partition;
    }

    /// Processes one record; an error only if the handler said to stop, or if the state is broken.
    #[inline]
    pub(crate) fn process(&mut self, source: usize, record: &RecordRef<'_>) -> Result<(), StreamsError> {
        self.state.counts.records_in += 1;
        self.state.metadata.offset = record.offset;
        self.state.metadata.timestamp = record.timestamp;
        let Some(node) = self.sources.get_mut(source) else { return Ok(()) };
        let mut cx = Cx { nodes: &mut self.nodes, task: &mut self.state };
        if let Err(failure) = node.process(record, &mut cx) {
            self.failed(*failure, record)?;
        }
        let due = self.state.punctuations.next(PunctuationType::StreamTime);
        if due.is_some_and(|at| at <= self.state.stream_time) {
            self.punctuate(PunctuationType::StreamTime, self.state.stream_time)?;
        }
        Ok(())
    }

    /// Passes a record by whose results the log does not take; an error only if the handler said to stop.
    #[cold]
    pub(crate) fn refuse(&mut self, record: &RecordRef<'_>, reason: &Arc<str>) -> Result<(), StreamsError> {
        self.state.counts.records_in += 1;
        self.failed(Failure::Refused { reason: Arc::clone(reason) }, record)
    }

    /// Whether the program may go on after a punctuation's results were refused.
    #[cold]
    pub(crate) fn refuse_punctuation(&self, reason: &str) -> bool {
        let failed = FailedRecord {
            topic: "",
            partition: self.state.id.partition,
            offset: -1,
            timestamp: self.state.wall_clock,
            key: None,
            value: None,
            stage: "production",
            reason,
        };
        self.handlers.production.decide(&failed) != ErrorResponse::Fail
    }

    #[cold]
    fn failed(&mut self, failure: Failure, record: &RecordRef<'_>) -> Result<(), StreamsError> {
        let failure = &match failure {
            // The state is broken, not the record: no handler decides about that.
            Failure::State(error) => return Err(error.into()),
            other => other,
        };
        self.state.counts.errors += 1;
        let topic = Arc::clone(&self.state.metadata.topic);
        let partition = self.state.metadata.partition;
        let reason = failure.to_string();
        let handler = match failure.stage() {
            "deserialization" => &self.handlers.deserialization,
            "production" => &self.handlers.production,
            _ => &self.handlers.processing,
        };
        let failed = FailedRecord {
            topic: &topic,
            partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            stage: failure.stage(),
            reason: &reason,
        };
        match handler.decide(&failed) {
            ErrorResponse::Fail => Err(self.fatal(failure)),
            ErrorResponse::Continue => {
                tracing::warn!(topic = &*topic, partition, offset = record.offset, reason, "record skipped");
                Ok(())
            }
            ErrorResponse::DeadLetter(target) => {
                tracing::warn!(
                    topic = &*topic,
                    partition,
                    offset = record.offset,
                    reason,
                    to = &*target,
                    "dead letter"
                );
                let headers = dead_letter_headers(record, &topic, partition, failure);
                let index = self.state.outputs.index(&target);
                let timestamp = record.timestamp;
                let pushed =
                    self.state.outputs.push(index, None, timestamp, record.key, record.value, &headers);
                // A dead-letter topic that cannot be written must not swallow records.
                pushed.map_err(|reason| StreamsError::Record {
                    task: self.state.id.to_string(),
                    failure: format!("dead-letter topic `{target}`: {reason}"),
                })
            }
        }
    }

    /// Stream time goes on without a record; tells whether somebody was told.
    pub(crate) fn advance_stream_time(&mut self, time: Timestamp) -> Result<bool, StreamsError> {
        self.state.stream_time = self.state.stream_time.max(time);
        Ok(self.punctuate(PunctuationType::StreamTime, time)? > 0)
    }

    /// Has the nodes send what must not wait for the next commit.
    pub(crate) fn before_commit(&mut self) -> Result<(), StreamsError> {
        for position in 0..self.nodes.len() {
            self.at(position, |node, cx| node.before_commit(cx)).map_err(|failure| self.fatal(&failure))?;
        }
        Ok(())
    }

    /// Runs the punctuations that are due; returns how many.
    pub(crate) fn punctuate(&mut self, kind: PunctuationType, now: Timestamp) -> Result<u32, StreamsError> {
        let mut ran = 0;
        while let Some((id, position)) = self.state.punctuations.take_due(kind, now) {
            self.state.metadata.offset = -1;
            self.state.metadata.timestamp = now;
            if let Err(failure) = self.at(position, |node, cx| node.punctuate(id, now, cx)) {
                // There is no record to set aside: a failing punctuation is a failing program unless the handler says otherwise.
                let reason = failure.to_string();
                let failed = FailedRecord {
                    topic: "",
                    partition: self.state.id.partition,
                    offset: -1,
                    timestamp: now,
                    key: None,
                    value: None,
                    stage: "processing",
                    reason: &reason,
                };
                if let Failure::State(error) = *failure {
                    return Err(error.into());
                }
                if self.handlers.processing.decide(&failed) == ErrorResponse::Fail {
                    return Err(self.fatal(&failure));
                }
                self.state.counts.errors += 1;
                tracing::warn!(task = %self.state.id, reason, "punctuation failed");
            }
            ran += 1;
        }
        Ok(ran)
    }
}

/// Opens a store's committed side: on disk if it wants to be and there is a disk.
pub(crate) fn open_store(
    def: &StoreDef,
    partition: PartitionId,
    memory: &dyn Backend,
    disk: Option<&dyn Backend>,
) -> Result<Arc<dyn Committed>, StateError> {
    if let Some(supplier) = &def.supplier {
        return memory.open_supplied(&def.name, partition, supplier);
    }
    match disk {
        Some(disk) if def.persistent => disk.open(&def.name, partition, def.is_restorable()),
        _ => memory.open(&def.name, partition, def.is_restorable()),
    }
}
