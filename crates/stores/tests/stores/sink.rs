//! The sink, over the simulated log with its faults.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use vigie_log::{
    BatchBuilder, Faults, Log, Offset, ProducerConfig, SimulatedLog, SystemClock, TopicPartition, TopicSpec,
};
use vigie_stores::{
    Cell, CellKind, Circuit, CollectionSpec, Document, Documents, OffsetStep, Order, Page, Poison, Query,
    Row, RunningSink, Sink, SinkOptions, SqliteStore, Store, StoreError, TableSchema, Tables, Write,
};

type Result<T> = std::result::Result<T, StoreError>;

/// A store that is down as often as it is told.
struct Flaky {
    inner: SqliteStore,
    failures: AtomicU32,
    attempts: AtomicU32,
}

impl Documents for Flaky {
    fn declare_collection(&self, spec: &CollectionSpec) -> Result<()> {
        self.inner.declare_collection(spec)
    }
    fn upsert_many(&self, collection: &str, documents: &[Document]) -> Result<u64> {
        self.inner.upsert_many(collection, documents)
    }
    fn get_document(&self, collection: &str, id: &str) -> Result<Option<Document>> {
        self.inner.get_document(collection, id)
    }
    fn find(&self, collection: &str, query: &Query) -> Result<Page> {
        self.inner.find(collection, query)
    }
    fn count_documents(&self, collection: &str, query: &Query) -> Result<u64> {
        self.inner.count_documents(collection, query)
    }
    fn delete_documents(&self, collection: &str, ids: &[&str]) -> Result<u64> {
        self.inner.delete_documents(collection, ids)
    }
    fn collections(&self) -> Result<Vec<String>> {
        self.inner.collections()
    }
}

impl Tables for Flaky {
    fn declare_table(&self, schema: &TableSchema) -> Result<()> {
        self.inner.declare_table(schema)
    }
    fn upsert_rows(&self, table: &str, rows: &[Row]) -> Result<u64> {
        self.inner.upsert_rows(table, rows)
    }
    fn get_row(&self, table: &str, key: &[Cell]) -> Result<Option<Row>> {
        self.inner.get_row(table, key)
    }
    fn scan(&self, table: &str, partition: &[Cell], order: Order, limit: u64) -> Result<Vec<Row>> {
        self.inner.scan(table, partition, order, limit)
    }
    fn scan_all(&self, table: &str, limit: u64) -> Result<Vec<Row>> {
        self.inner.scan_all(table, limit)
    }
    fn count_rows(&self, table: &str) -> Result<u64> {
        self.inner.count_rows(table)
    }
    fn delete_rows(&self, table: &str, keys: &[Vec<Cell>]) -> Result<u64> {
        self.inner.delete_rows(table, keys)
    }
    fn tables(&self) -> Result<Vec<TableSchema>> {
        self.inner.tables()
    }
}

impl Store for Flaky {
    fn address(&self) -> String {
        self.inner.address()
    }
    fn apply(&self, group: &str, writes: &[Write], steps: &[OffsetStep]) -> Result<u64> {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        if self.failures.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return Err(StoreError::Busy { place: String::from("flaky"), reason: String::from("down") });
        }
        self.inner.apply(group, writes, steps)
    }
    fn offset(&self, group: &str, partition: &TopicPartition) -> Result<Option<Offset>> {
        self.inner.offset(group, partition)
    }
    fn size_bytes(&self) -> Option<u64> {
        self.inner.size_bytes()
    }
}

struct World {
    log: Arc<SimulatedLog>,
    store: Arc<Flaky>,
    poisoned: Arc<Mutex<Vec<Poison>>>,
    _folder: tempfile::TempDir,
}

const PARTITIONS: u32 = 3;

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let inner = SqliteStore::open(folder.path().join("store.db")).unwrap();
    inner
        .declare_table(&TableSchema::new("rows").partition("id", CellKind::Text).column("n", CellKind::Int))
        .unwrap();
    let log = Arc::new(SimulatedLog::new(Arc::new(SystemClock::new()), 7));
    let store = Flaky { inner, failures: AtomicU32::new(0), attempts: AtomicU32::new(0) };
    World { log, store: Arc::new(store), poisoned: Arc::default(), _folder: folder }
}

impl World {
    fn create(&self) {
        self.log.admin().create_topic(&TopicSpec::new("events", PARTITIONS)).unwrap();
    }

    fn publish(&self, values: impl IntoIterator<Item = String>) {
        let mut producer = self.log.producer(ProducerConfig::default()).unwrap();
        producer.begin().unwrap();
        for (n, value) in values.into_iter().enumerate() {
            let mut batch = BatchBuilder::new();
            batch.push(n as i64, None, Some(value.as_bytes()), &[]);
            producer.append(&TopicPartition::new("events", n as u32 % PARTITIONS), &mut batch).unwrap();
        }
        producer.commit().unwrap();
    }

    fn start(&self) -> RunningSink {
        let poisoned = Arc::clone(&self.poisoned);
        let options = SinkOptions {
            poll: Duration::from_millis(10),
            first_wait: Duration::from_millis(5),
            longest_wait: Duration::from_millis(50),
            commit_every: Duration::from_millis(20),
            ..SinkOptions::default()
        };
        Sink::new("events", ["events"], |record| {
            let value = std::str::from_utf8(record.record.value.unwrap_or_default())
                .map_err(|error| error.to_string())?;
            let id = format!("{}-{}", record.partition, record.record.offset);
            match value {
                "unmappable" => Err(String::from("it says so itself")),
                "unstorable" => Ok(vec![Write::row("rows", Row::new().with("n", 1_i64))]),
                value => Ok(vec![
                    Write::document("events", id.clone(), json!({"value": value})),
                    Write::row("rows", Row::new().with("id", id).with("n", record.record.offset)),
                ]),
            }
        })
        .options(options)
        .on_poison(move |poison| poisoned.lock().unwrap().push(poison.clone()))
        .start(Arc::clone(&self.log) as _, Arc::clone(&self.store) as _, Arc::new(SystemClock::new()), 1)
        .unwrap()
    }

    fn stored(&self) -> (u64, u64) {
        let documents = self.store.count_documents("events", &Query::new()).unwrap();
        (documents, self.store.count_rows("rows").unwrap())
    }
}

fn until(what: &str, sink: &RunningSink, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what}: {:?}", sink.status());
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn values(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[test]
fn a_sink_waits_for_its_topic_follows_it_and_goes_on_after_a_restart() {
    let world = world();
    let sink = world.start();
    until("no topic yet", &sink, || {
        sink.status().last_error.is_some_and(|error| error.contains("does not exist"))
    });
    world.create();
    world.publish(values(0..100));
    until("first hundred", &sink, || world.stored() == (100, 100));
    world.publish(values(100..150));
    until("fifty more", &sink, || sink.status().records == 150);
    let status = sink.stop();
    assert_eq!((status.written, status.poison, status.lag, status.circuit), (300, 0, 0, Circuit::Closed));
    // The log knows how far the sink is.
    let group = world.log.admin().describe_group("vigie-sink-events").unwrap();
    let committed: Vec<Offset> = group.committed.iter().map(|(_, offset)| *offset).collect();
    assert_eq!(committed, [51, 50, 49]);
    world.publish(values(150..160));
    let sink = world.start();
    until("after the restart", &sink, || world.stored() == (160, 160));
    assert_eq!(sink.stop().records, 10, "what was stored is not read again");
}

#[test]
fn a_store_that_is_down_opens_the_circuit_and_nothing_is_lost() {
    let world = world();
    world.create();
    world.publish(values(0..30));
    world.store.failures.store(u32::MAX, Ordering::SeqCst);
    let sink = world.start();
    let (mut open, mut half_open) = (false, false);
    until("open", &sink, || {
        let status = sink.status();
        open |= status.circuit == Circuit::Open;
        half_open |= status.circuit == Circuit::HalfOpen;
        open && status.retries >= 5
    });
    let attempts = world.store.attempts.load(Ordering::SeqCst);
    assert!(attempts < 1_000, "it backs off: {attempts}");
    assert!(sink.status().last_error.unwrap().contains("down"));
    assert_eq!(world.stored(), (0, 0));
    world.publish(values(30..60));
    world.store.failures.store(0, Ordering::SeqCst);
    until("closed", &sink, || world.stored() == (60, 60) && sink.status().circuit == Circuit::Closed);
    assert_eq!(sink.stop().records, 60);
}

#[test]
fn a_poison_record_is_counted_reported_once_and_skipped() {
    let world = world();
    world.create();
    let bad = ["a", "unmappable", "b", "c", "unstorable", "d"].map(String::from);
    world.store.failures.store(2, Ordering::SeqCst);
    world.publish(bad);
    let sink = world.start();
    until("the good ones", &sink, || sink.status().records == 6);
    let status = sink.stop();
    assert_eq!(world.stored(), (4, 4));
    assert_eq!(status.poison, 2);
    let mut poisoned = world.poisoned.lock().unwrap().clone();
    poisoned.sort_by_key(|poison| (poison.partition.partition, poison.offset));
    let told: Vec<_> = poisoned.iter().map(|poison| (poison.partition.partition, poison.offset)).collect();
    assert_eq!(told, [(1, 0), (1, 1)]);
    assert_eq!(poisoned[0].reason, "it says so itself");
    assert!(poisoned[1].reason.contains("column id of the key is missing"), "{poisoned:?}");
}

#[test]
fn two_sinks_of_a_group_share_the_work_under_faults_without_loss_or_repetition() {
    let world = world();
    world.create();
    let faults = Faults { unreachable: 0.05, duplicate_poll: 0.2, empty_poll: 0.1, ..Faults::default() };
    world.log.set_faults(faults);
    let first = world.start();
    let mut second = Some(world.start());
    for round in 0..20_u32 {
        world.log.set_faults(Faults::default());
        world.publish(values(round * 60..round * 60 + 60));
        world.log.set_faults(Faults {
            unreachable: 0.05,
            duplicate_poll: 0.2,
            empty_poll: 0.1,
            ..Faults::default()
        });
        std::thread::sleep(Duration::from_millis(15));
        match second.take() {
            Some(sink) if round % 4 == 3 => drop(sink.stop()),
            None => second = Some(world.start()),
            kept => second = kept,
        }
    }
    until("all", &first, || world.stored() == (1_200, 1_200));
    drop(second);
    for partition in 0..PARTITIONS {
        let partition = TopicPartition::new("events", partition);
        assert_eq!(world.store.offset("vigie-sink-events", &partition).unwrap(), Some(400));
    }
    assert!(world.log.injected_faults() > 0);
    assert_eq!(world.poisoned.lock().unwrap().len(), 0);
}

#[test]
fn a_store_that_was_deleted_is_filled_again_from_the_log() {
    let world = world();
    world.create();
    world.publish(values(0..90));
    let sink = world.start();
    until("filled", &sink, || world.stored() == (90, 90));
    sink.stop();
    let fresh = self::world();
    let again = World { log: Arc::clone(&world.log), ..fresh };
    let sink = again.start();
    until("filled again", &sink, || again.stored() == (90, 90));
    sink.stop();
}

#[test]
fn a_topic_made_anew_is_read_from_its_beginning() {
    let world = world();
    world.create();
    world.publish(values(0..90));
    let sink = world.start();
    until("filled", &sink, || world.stored() == (90, 90));
    sink.stop();
    world.log.admin().delete_topic("events").unwrap();
    world.create();
    world.publish((0..6).map(|n| format!("new {n}")));
    let sink = world.start();
    until("read", &sink, || {
        let page = world.store.find("events", &Query::new().page(0, 500)).unwrap();
        page.items.iter().filter(|item| item.doc["value"].as_str().unwrap().starts_with("new")).count() == 6
    });
    let status = sink.stop();
    assert!(status.last_error.unwrap().contains("made anew"));
}
