//! `TopologyTestDriver`: runs a topology in the calling thread, without a log, one partition, record by record.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use vigie_log::{BatchBuilder, Timestamp};

use crate::error::StreamsError;
use crate::processor::PunctuationType;
use crate::record::{Headers, Record};
use crate::runtime::output::TopicDirectory;
use crate::runtime::{ErrorHandler, ErrorResponse, FailedRecord, Instance, apply_global, open_globals};
use crate::serde::{Serde, SerdeRef};
use crate::state::{
    AnyStore, Committed, MemoryBackend, ReadOnlySessionStore, ReadOnlyStore, ReadOnlyVersionedStore,
    ReadOnlyWindowStore, Staleness, StoreBatch, StoreRegistry, Writes,
};
use crate::topology::{GlobalDef, TaskId, Topology};

/// How the driver runs.
#[derive(Debug, Clone)]
pub struct DriverConfig {
    /// Begins the names of internal topics.
    pub application_id: String,
    /// The wall clock at the start, in milliseconds since the epoch.
    pub wall_clock: Timestamp,
    /// What happens to records that cannot be read.
    pub deserialization_error: ErrorHandler,
    /// What happens to records whose processing fails.
    pub processing_error: ErrorHandler,
    /// What happens to records that cannot be written.
    pub production_error: ErrorHandler,
}

impl Default for DriverConfig {
    fn default() -> Self {
        Self {
            application_id: String::from("test"),
            wall_clock: 0,
            deserialization_error: ErrorHandler::log_and_fail(),
            processing_error: ErrorHandler::log_and_fail(),
            production_error: ErrorHandler::log_and_fail(),
        }
    }
}

struct OnePartition;

impl TopicDirectory for OnePartition {
    fn partitions(&self, _: &str) -> Result<u32, String> {
        Ok(1)
    }
}

/// A record as bytes, as it was written to a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRecord {
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value.
    pub value: Option<Vec<u8>>,
    /// Event time.
    pub timestamp: Timestamp,
    /// Headers.
    pub headers: Headers,
}

struct Driven {
    tasks: Vec<Instance>,
    /// Topic to task and source.
    readers: HashMap<Arc<str>, Vec<(usize, usize)>>,
    /// Topic to global table.
    globals: HashMap<Arc<str>, (GlobalDef, Arc<dyn Committed>)>,
    deserialization: ErrorHandler,
    /// Records of global tables with a null key.
    global_skipped: u64,
    outputs: BTreeMap<String, VecDeque<RawRecord>>,
    offsets: HashMap<Arc<str>, i64>,
    wall_clock: Timestamp,
    pending: VecDeque<(Arc<str>, RawRecord)>,
}

/// Runs a topology record by record, as Kafka Streams' driver of the same name does: each record is processed through all sub-topologies
/// and committed before `pipe_input` returns, every update is emitted.
///
/// ```
/// use vigie_streams::{Consumed, Produced, Store, StreamsBuilder, TopologyTestDriver};
/// use vigie_streams::serde::{I64, Utf8};
/// let mut builder = StreamsBuilder::new();
/// builder
///     .stream("words", Consumed::<(), String>::default())
///     .group_by(|_, word| word.clone())
///     .count(Store::named("counts"))
///     .to_stream()
///     .to("counts", Produced::default());
/// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
/// let words = driver.input("words", Utf8, Utf8);
/// let counts = driver.output("counts", Utf8, I64);
/// words.pipe(&String::new(), &String::from("tea"), 1)?;
/// words.pipe(&String::new(), &String::from("tea"), 2)?;
/// assert_eq!(counts.read_key_values()?, [("tea".into(), Some(1)), ("tea".into(), Some(2))]);
/// assert_eq!(driver.store::<String, i64>("counts")?.get(&"tea".into())?, Some(2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TopologyTestDriver {
    driven: Rc<RefCell<Driven>>,
    stores: Arc<StoreRegistry>,
}

impl TopologyTestDriver {
    /// Makes and starts one task for each sub-topology.
    pub fn new(topology: &Topology, config: DriverConfig) -> Result<Self, StreamsError> {
        let checked = &topology.inner;
        let application_id: Arc<str> = config.application_id.into();
        let handlers = crate::runtime::Handlers {
            deserialization: config.deserialization_error,
            processing: config.processing_error,
            production: config.production_error,
        };
        let stores = Arc::new(StoreRegistry::default());
        let tables = open_globals(checked, &MemoryBackend, None)?;
        let mut globals = HashMap::new();
        for def in &checked.globals {
            let rows = Arc::clone(tables.0.get(&def.store).expect("`open_globals` opened all tables"));
            stores.know(&def.store, Arc::clone(&def.types), 1);
            stores.add(&def.store, 0, Arc::clone(&rows), None);
            globals.insert(Arc::clone(&def.topic), (def.clone(), rows));
        }
        let mut readers: HashMap<Arc<str>, Vec<(usize, usize)>> = HashMap::new();
        let mut tasks = Vec::new();
        for (number, sub) in checked.subs.iter().enumerate().filter(|(_, sub)| !sub.global) {
            let id = TaskId { sub_topology: u32::try_from(number).unwrap_or(u32::MAX), partition: 0 };
            let mut open =
                |def: &crate::topology::StoreDef| crate::runtime::open_store(def, 0, &MemoryBackend, None);
            let mut task = Instance::new(
                checked,
                id,
                &application_id,
                &mut open,
                Arc::new(OnePartition),
                handlers.clone(),
                &tables,
            )?;
            for (store, name) in task.state.stores.iter().zip(&sub.stores) {
                let types = Arc::clone(&checked.store(name).types);
                stores.know(name, types, 1);
                stores.add(name, 0, store.reader(), None);
            }
            for (topic, source) in &task.inputs {
                readers.entry(Arc::clone(topic)).or_default().push((tasks.len(), *source));
            }
            task.init(config.wall_clock)?;
            tasks.push(task);
        }
        let driven = Driven {
            tasks,
            readers,
            globals,
            deserialization: handlers.deserialization,
            global_skipped: 0,
            outputs: BTreeMap::new(),
            offsets: HashMap::new(),
            wall_clock: config.wall_clock,
            pending: VecDeque::new(),
        };
        let driver = Self { driven: Rc::new(RefCell::new(driven)), stores };
        driver.driven.borrow_mut().settle()?;
        Ok(driver)
    }

    /// Writes a record to an input topic and processes it to the end.
    pub fn pipe_raw(&self, topic: &str, record: RawRecord) -> Result<(), StreamsError> {
        let mut driven = self.driven.borrow_mut();
        let known = driven.readers.get_key_value(topic).map(|(name, _)| name);
        let topic = known
            .or_else(|| driven.globals.get_key_value(topic).map(|(name, _)| name))
            .ok_or_else(|| StreamsError::Config(format!("the topology does not read topic `{topic}`")))?;
        let topic = Arc::clone(topic);
        driven.pending.push_back((topic, record));
        driven.settle()
    }

    /// An input topic with its serdes.
    pub fn input<K, V>(
        &self,
        topic: &str,
        key: impl Serde<K> + 'static,
        value: impl Serde<V> + 'static,
    ) -> TestInputTopic<'_, K, V> {
        TestInputTopic { driver: self, topic: topic.to_owned(), key: Arc::new(key), value: Arc::new(value) }
    }

    /// An output topic with its serdes.
    pub fn output<K, V>(
        &self,
        topic: &str,
        key: impl Serde<K> + 'static,
        value: impl Serde<V> + 'static,
    ) -> TestOutputTopic<'_, K, V> {
        TestOutputTopic { driver: self, topic: topic.to_owned(), key: Arc::new(key), value: Arc::new(value) }
    }

    /// Moves the wall clock and runs the punctuations that are due.
    pub fn advance_wall_clock_time(&self, by: std::time::Duration) -> Result<(), StreamsError> {
        let mut driven = self.driven.borrow_mut();
        driven.wall_clock += i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        let now = driven.wall_clock;
        for task in &mut driven.tasks {
            task.state.wall_clock = now;
            task.punctuate(PunctuationType::WallClock, now)?;
        }
        driven.settle()
    }

    /// The records written to a topic and not read yet, internal topics included, as bytes.
    pub fn read_raw(&self, topic: &str) -> Vec<RawRecord> {
        self.driven.borrow_mut().outputs.get_mut(topic).map_or(Vec::new(), |queue| queue.drain(..).collect())
    }

    /// The topics written to so far, sorted.
    pub fn produced_topics(&self) -> Vec<String> {
        self.driven.borrow().outputs.keys().cloned().collect()
    }

    /// A key-value store.
    pub fn store<K: 'static, V: 'static>(&self, name: &str) -> Result<ReadOnlyStore<K, V>, StreamsError> {
        self.stores.key_value(name, Staleness::Active)
    }

    /// A window store.
    pub fn window_store<K: 'static, V: 'static>(
        &self,
        name: &str,
    ) -> Result<ReadOnlyWindowStore<K, V>, StreamsError> {
        self.stores.window(name, Staleness::Active)
    }

    /// A session store.
    pub fn session_store<K: 'static, V: 'static>(
        &self,
        name: &str,
    ) -> Result<ReadOnlySessionStore<K, V>, StreamsError> {
        self.stores.session(name, Staleness::Active)
    }

    /// A versioned store.
    pub fn versioned_store<K: 'static, V: 'static>(
        &self,
        name: &str,
    ) -> Result<ReadOnlyVersionedStore<K, V>, StreamsError> {
        self.stores.versioned(name)
    }

    /// Records skipped for a null key or value, and records that came too late, over all tasks.
    pub fn skipped_and_late(&self) -> (u64, u64) {
        let driven = self.driven.borrow();
        driven.tasks.iter().fold((driven.global_skipped, 0), |(skipped, late), task| {
            (skipped + task.state.counts.skipped, late + task.state.counts.late)
        })
    }

    /// Closes the processors.
    pub fn close(self) {
        for task in &mut self.driven.borrow_mut().tasks {
            task.close();
        }
    }
}

impl Driven {
    /// Processes until nothing is under way, committing after each record.
    fn settle(&mut self) -> Result<(), StreamsError> {
        loop {
            self.collect()?;
            let Some((topic, record)) = self.pending.pop_front() else { return Ok(()) };
            let offset = self.offsets.entry(Arc::clone(&topic)).or_insert(0);
            let mut builder = BatchBuilder::new();
            let headers = record.headers.to_log();
            builder.push(record.timestamp, record.key.as_deref(), record.value.as_deref(), &headers);
            let batch = builder.build(*offset);
            *offset += 1;
            if let Some((def, rows)) = self.globals.get(&topic) {
                self.global_skipped += batch.iter().filter(|record| record.key.is_none()).count() as u64;
                put_global(def, rows.as_ref(), &batch, &self.deserialization)?;
            }
            for (task, source) in self.readers.get(&topic).into_iter().flatten() {
                let Some(task) = self.tasks.get_mut(*task) else { continue };
                task.enter(&topic, 0);
                task.state.wall_clock = self.wall_clock;
                for record in batch.iter() {
                    task.process(*source, &record)?;
                }
            }
        }
    }

    /// Commits the stores and takes what the tasks wrote.
    fn collect(&mut self) -> Result<(), StreamsError> {
        for task in &mut self.tasks {
            let mut batch = StoreBatch::default();
            for store in &mut task.state.stores {
                store.flush(None)?;
                store.stage(&mut batch, None)?;
            }
            crate::state::Backend::apply(&MemoryBackend, &batch)?;
            for store in &mut task.state.stores {
                AnyStore::committed(store.as_mut(), usize::MAX);
            }
            for (partition, builder) in task.state.outputs.drain() {
                for record in builder.build(0).iter() {
                    let raw = RawRecord {
                        key: record.key.map(<[u8]>::to_vec),
                        value: record.value.map(<[u8]>::to_vec),
                        timestamp: record.timestamp,
                        headers: Headers::from_log(record.headers),
                    };
                    let topic = &partition.topic;
                    if self.readers.contains_key(topic) || self.globals.contains_key(topic) {
                        self.pending.push_back((Arc::clone(&partition.topic), raw.clone()));
                    }
                    self.outputs.entry(partition.topic.to_string()).or_default().push_back(raw);
                }
            }
        }
        Ok(())
    }
}

/// Puts records into a global table.
fn put_global(
    def: &GlobalDef,
    rows: &dyn Committed,
    batch: &vigie_log::RecordBatch,
    handler: &ErrorHandler,
) -> Result<(), StreamsError> {
    let mut writes = Writes::default();
    for record in batch.iter() {
        let Err(reason) = apply_global(def, &record, &mut writes) else { continue };
        let failed = FailedRecord {
            topic: &def.topic,
            partition: 0,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key,
            value: record.value,
            stage: "deserialization",
            reason: &reason,
        };
        if handler.decide(&failed) == ErrorResponse::Fail {
            return Err(StreamsError::Record { task: String::from("global"), failure: reason });
        }
    }
    Ok(rows.write(&writes)?)
}

/// Writes typed records into a driver.
pub struct TestInputTopic<'d, K, V> {
    driver: &'d TopologyTestDriver,
    topic: String,
    key: SerdeRef<K>,
    value: SerdeRef<V>,
}

impl<K, V> TestInputTopic<'_, K, V> {
    /// Writes and processes one record.
    pub fn pipe(&self, key: &K, value: &V, timestamp: Timestamp) -> Result<(), StreamsError> {
        self.pipe_with(key, Some(value), timestamp, Headers::new())
    }

    /// Writes and processes one record, with headers, and maybe without a value.
    pub fn pipe_with(
        &self,
        key: &K,
        value: Option<&V>,
        timestamp: Timestamp,
        headers: Headers,
    ) -> Result<(), StreamsError> {
        let refused = |error: crate::serde::SerdeError| StreamsError::Config(error.to_string());
        let key = if self.key.is_null(key) {
            None
        } else {
            let mut bytes = Vec::new();
            self.key.encode(key, &mut bytes).map_err(refused)?;
            Some(bytes)
        };
        let value = value.map(|value| {
            let mut bytes = Vec::new();
            self.value.encode(value, &mut bytes).map(|()| bytes)
        });
        let value = value.transpose().map_err(refused)?;
        self.driver.pipe_raw(&self.topic, RawRecord { key, value, timestamp, headers })
    }
}

/// Reads typed records that a driver wrote.
pub struct TestOutputTopic<'d, K, V> {
    driver: &'d TopologyTestDriver,
    topic: String,
    key: SerdeRef<K>,
    value: SerdeRef<V>,
}

impl<K, V> TestOutputTopic<'_, K, V> {
    /// All records written since the last read.
    pub fn read(&self) -> Result<Vec<Record<K, V>>, StreamsError> {
        let refused = |error: crate::serde::SerdeError| StreamsError::Config(error.to_string());
        let records = self.driver.read_raw(&self.topic).into_iter().map(|raw| {
            let key = match &raw.key {
                Some(bytes) => self.key.decode(bytes),
                None => self.key.decode_null(),
            };
            let value = raw.value.as_deref().map(|bytes| self.value.decode(bytes)).transpose();
            Ok(Record {
                key: key.map_err(refused)?,
                value: value.map_err(refused)?,
                timestamp: raw.timestamp,
                headers: raw.headers,
            })
        });
        records.collect()
    }

    /// Keys and values of all records written since the last read.
    pub fn read_key_values(&self) -> Result<Vec<(K, Option<V>)>, StreamsError> {
        Ok(self.read()?.into_iter().map(|record| (record.key, record.value)).collect())
    }
}
