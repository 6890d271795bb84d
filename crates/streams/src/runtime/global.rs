//! The global thread: keeps this process's copy of every global table.
//!
//! Tables are read to the end of their topics before any task starts, and followed from then on. Rows and positions are written one after the
//! other; after a crash in between some records are applied again, in the same order, to the same end.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use vigie_log::{Consequence, Fetched, Offset, Reader, RecordBatch, TopicPartition};

use super::handlers::{ErrorResponse, FailedRecord};
use super::shared::Shared;
use crate::error::StreamsError;
use crate::state::{Backend, Committed, Globals, StoreMark, Writes};
use crate::topology::{Checked, GlobalDef, Topology};

/// How long a poll waits, so that a stop is noticed soon.
const WAIT: Duration = Duration::from_millis(100);

/// Opens the stores of all global tables.
pub(crate) fn open_globals(
    topology: &Checked,
    memory: &dyn Backend,
    disk: Option<&dyn Backend>,
) -> Result<Globals, StreamsError> {
    let mut globals = Globals::default();
    for def in &topology.globals {
        globals.0.insert(Arc::clone(&def.store), backend(def, memory, disk).open(&def.store, 0, false)?);
    }
    Ok(globals)
}

fn backend<'b>(def: &GlobalDef, memory: &'b dyn Backend, disk: Option<&'b dyn Backend>) -> &'b dyn Backend {
    disk.filter(|_| def.persistent).unwrap_or(memory)
}

/// Puts one record into a global table; tells the reason if it cannot be read.
pub(crate) fn apply_global(
    def: &GlobalDef,
    record: &vigie_log::RecordRef<'_>,
    writes: &mut Writes,
) -> Result<(), String> {
    if let Some((key, row)) = (def.read)(record).map_err(|failure| failure.to_string())? {
        writes.push(&key, row.as_deref());
    }
    Ok(())
}

struct Partition {
    name: TopicPartition,
    table: usize,
    /// Keeps how far the table has read the partition.
    position: Arc<dyn Committed>,
    next: Offset,
}

struct Tables {
    shared: Arc<Shared>,
    rows: Vec<Arc<dyn Committed>>,
    partitions: Vec<Partition>,
    reader: Box<dyn Reader>,
}

/// Reads all global tables to their ends, then follows them in a thread of its own. `None` where the topology has none.
pub(crate) fn start(
    shared: &Arc<Shared>,
    failed: impl FnOnce(&StreamsError) + Send + 'static,
) -> Result<Option<JoinHandle<()>>, StreamsError> {
    let Some(mut tables) = Tables::open(shared)? else { return Ok(None) };
    tables.catch_up()?;
    let run = move || {
        while !tables.shared.stopping() {
            if let Err(error) = tables.follow() {
                tracing::error!(%error, "the thread of the global tables stopped");
                failed(&error);
                return;
            }
        }
    };
    let name = format!("{}-global", shared.application_id);
    let started = std::thread::Builder::new().name(name).spawn(run);
    started.map(Some).map_err(|e| StreamsError::Config(format!("a thread cannot be started: {e}")))
}

impl Tables {
    fn open(shared: &Arc<Shared>) -> Result<Option<Self>, StreamsError> {
        let topology = &shared.topology.inner;
        if topology.globals.is_empty() {
            return Ok(None);
        }
        let (mut rows, mut partitions) = (Vec::new(), Vec::new());
        for (table, def) in topology.globals.iter().enumerate() {
            let doing = || format!("looking topic `{}` of a global table up", def.topic);
            let bounds = shared.admin.offsets(&def.topic).map_err(|source| match source {
                vigie_log::LogError::UnknownTopic { .. } => StreamsError::MissingTopic {
                    topic: def.topic.to_string(),
                    node: topology.node(def.source).name.to_string(),
                },
                source => StreamsError::Log { doing: doing(), source },
            })?;
            let kept = shared.globals.0.get(&def.store).expect("`open_globals` opened all tables");
            let backend = backend(def, &shared.memory, shared.disk.as_deref());
            let first = partitions.len();
            let mut usable = true;
            for (number, bounds) in (0_u32..).zip(&bounds) {
                let position = backend.open(&format!("{}.positions", def.store), number, false)?;
                let mark = position.mark()?.map(|mark| mark.position);
                // Rows that are ahead of their topic are of another one; behind its beginning removals may be missing.
                let next = mark.filter(|next| (bounds.earliest..=bounds.latest).contains(next));
                usable &= next.is_some() || bounds.latest == 0;
                let name = TopicPartition::new(Arc::clone(&def.topic), number);
                partitions.push(Partition { name, table, position, next: next.unwrap_or(bounds.earliest) });
            }
            if !usable {
                for (partition, bounds) in partitions.iter_mut().skip(first).zip(&bounds) {
                    partition.position.wipe()?;
                    partition.next = bounds.earliest;
                }
                kept.wipe()?;
            }
            shared.registry.know(&def.store, Arc::clone(&def.types), 1);
            shared.registry.add(&def.store, 0, Arc::clone(kept), None);
            rows.push(Arc::clone(kept));
        }
        let names: Vec<TopicPartition> = partitions.iter().map(|partition| partition.name.clone()).collect();
        let doing = "reading the topics of the global tables";
        let mut reader = shared.config.log.reader(&names).map_err(StreamsError::log(doing))?;
        for partition in &partitions {
            reader.seek(&partition.name, partition.next).map_err(StreamsError::log(doing))?;
        }
        Ok(Some(Self { shared: Arc::clone(shared), rows, partitions, reader }))
    }

    /// Reads to where the topics end now.
    fn catch_up(&mut self) -> Result<(), StreamsError> {
        let mut ends = Vec::new();
        for partition in &self.partitions {
            let doing = "looking the ends of the global tables' topics up";
            let bounds =
                self.shared.admin.offsets(&partition.name.topic).map_err(StreamsError::log(doing))?;
            ends.push(bounds.get(partition.name.partition as usize).map_or(0, |bounds| bounds.latest));
        }
        while self.partitions.iter().zip(&ends).any(|(partition, end)| partition.next < *end) {
            if self.shared.stopping() {
                return Ok(());
            }
            self.follow()?;
        }
        Ok(())
    }

    /// One poll; a log that cannot be reached for now is asked again.
    fn follow(&mut self) -> Result<(), StreamsError> {
        match self.reader.poll(WAIT) {
            Ok(fetched) => self.apply(&fetched),
            Err(source) if source.consequence() == Consequence::Retriable => {
                tracing::warn!(%source, "the log did not answer the global tables, trying again");
                std::thread::sleep(self.shared.config.retry_backoff);
                Ok(())
            }
            Err(source) => Err(StreamsError::log("reading the topics of the global tables")(source)),
        }
    }

    fn apply(&mut self, fetched: &[Fetched]) -> Result<(), StreamsError> {
        let topology: Topology = self.shared.topology.clone();
        for partition in &mut self.partitions {
            let own = fetched.iter().filter(|fetched| fetched.partition == partition.name);
            let batches: Vec<&RecordBatch> = own.map(|fetched| &fetched.batch).collect();
            let (Some(def), Some(rows)) =
                (topology.inner.globals.get(partition.table), self.rows.get(partition.table))
            else {
                continue;
            };
            let mut writes = Writes::default();
            let from = partition.next;
            for record in batches.iter().flat_map(|batch| batch.iter()).filter(|record| record.offset >= from)
            {
                if let Err(reason) = apply_global(def, &record, &mut writes) {
                    refuse(&self.shared, &partition.name, &record, &reason)?;
                }
            }
            let read = batches.iter().map(|batch| batch.last_offset() + 1).max();
            let reached = self.reader.position(&partition.name).max(read).unwrap_or(from);
            if reached > from {
                rows.write(&writes)?;
                let mut reached_now = Writes::default();
                reached_now.mark = Some(StoreMark::at(reached, -1, -1));
                partition.position.write(&reached_now)?;
                partition.next = reached;
            }
        }
        Ok(())
    }
}

/// Asks the handler what to do about a record that cannot be read. There is no producer here, so that a dead letter is only logged.
fn refuse(
    shared: &Shared,
    partition: &TopicPartition,
    record: &vigie_log::RecordRef<'_>,
    reason: &str,
) -> Result<(), StreamsError> {
    let failed = FailedRecord {
        topic: &partition.topic,
        partition: partition.partition,
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key,
        value: record.value,
        stage: "deserialization",
        reason,
    };
    if shared.config.handlers.deserialization.decide(&failed) == ErrorResponse::Fail {
        return Err(StreamsError::Record { task: String::from("global"), failure: reason.to_owned() });
    }
    tracing::warn!(
        topic = &*partition.topic,
        partition = partition.partition,
        offset = record.offset,
        reason,
        "record of a global table skipped"
    );
    Ok(())
}
