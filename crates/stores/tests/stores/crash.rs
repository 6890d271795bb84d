//! A process that publishes and sinks is killed at random moments, again and again: the store never has anything but exactly the
//! records up to its offsets, and in the end all that the log has.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use vigie_log::{Log, Message, Publisher, SystemClock, TopicPartition, TopicSpec};
use vigie_log_embedded::{EmbeddedConfig, EmbeddedLog};
use vigie_stores::{
    Archive, ArchiveWriter, Documents, FolderArchive, Query, Roll, RunningSink, Sink, SinkOptions,
    SqliteStore, Store, Write,
};

const FOLDER: &str = "VIGIE_STORES_CRASH_FOLDER";
const KILLS: u64 = 24;
const PARTITIONS: u32 = 3;

fn open(folder: &Path) -> (Arc<EmbeddedLog>, Arc<SqliteStore>) {
    let log =
        EmbeddedLog::open(folder.join("log"), EmbeddedConfig::new(Arc::new(SystemClock::new()))).unwrap();
    (log, Arc::new(SqliteStore::open(folder.join("store.db")).unwrap()))
}

fn sink(log: &Arc<EmbeddedLog>, store: &Arc<SqliteStore>) -> RunningSink {
    Sink::new("crash", ["events"], |record| {
        let partition = record.partition.partition;
        let id = format!("{partition}-{}", record.record.offset);
        Ok(vec![Write::document(
            "events",
            id,
            json!({"partition": partition, "offset": record.record.offset}),
        )])
    })
    .options(SinkOptions { batch_bytes: 4_096, poll: Duration::from_millis(5), ..SinkOptions::default() })
    .start(Arc::clone(log) as _, Arc::clone(store) as _, Arc::new(SystemClock::new()), 3)
    .unwrap()
}

/// The process that is killed. Without its folder in the environment it is not one, and does nothing.
#[test]
fn victim() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let (log, store) = open(folder);
    let _sink = sink(&log, &store);
    let clock = Arc::new(SystemClock::new());
    let publisher = Publisher::start(Arc::clone(&log) as _, Duration::ZERO, Arc::clone(&clock) as _).unwrap();
    let archive = Arc::new(FolderArchive::open(folder.join("archive")).unwrap());
    let roll = Roll { bytes: 2_000, after: Duration::from_millis(20) };
    let mut writer = ArchiveWriter::new(archive as Arc<dyn Archive>, roll, clock);
    let partitions: Vec<_> = (0..PARTITIONS).map(|n| TopicPartition::new("events", n)).collect();
    let mut reader = log.reader(&partitions).unwrap();
    for partition in &partitions {
        reader.seek(partition, writer.position(partition).unwrap().unwrap_or(0)).unwrap();
    }
    for n in 0_u64.. {
        let message =
            Message { partition: Some(n as u32 % PARTITIONS), ..Message::new("events", n.to_string()) };
        publisher.publish(message, |result| drop(result.unwrap()));
        if n % 20 == 0 {
            for fetched in reader.poll(Duration::from_millis(1)).unwrap() {
                fetched
                    .batch
                    .iter()
                    .for_each(|record| writer.push(&fetched.partition, record.into()).unwrap());
            }
            writer.roll().unwrap();
        }
    }
}

#[test]
fn killed_at_any_moment_the_store_and_the_archive_stay_exact() {
    let folder = tempfile::tempdir().unwrap();
    let (log, store) = open(folder.path());
    log.admin().create_topic(&TopicSpec::new("events", PARTITIONS)).unwrap();
    store
        .declare_collection(&vigie_stores::CollectionSpec::new("events").index("partition").index("offset"))
        .unwrap();
    drop((log, store));
    let mut before = 0;
    let mut grown = 0;
    for kill in 0..KILLS {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["crash::victim", "--exact", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(150 + kill * 7_919 % 250));
        assert!(victim.try_wait().unwrap().is_none(), "the victim ended by itself");
        victim.kill().unwrap();
        victim.wait().unwrap();
        // At this very moment: the store has the records up to its offsets, no more and no fewer.
        let store = SqliteStore::open(folder.path().join("store.db")).unwrap();
        let now = exact(&store);
        assert!(now >= before, "acknowledged documents are gone: {now} < {before}");
        grown += u32::from(now > before);
        before = now;
    }
    assert!(grown >= KILLS as u32 / 2, "hardly a victim came to write: {grown}");

    let (log, store) = open(folder.path());
    let ends: Vec<i64> =
        log.admin().offsets("events").unwrap().iter().map(|offsets| offsets.latest).collect();
    let sink = sink(&log, &store);
    let started = Instant::now();
    let total: i64 = ends.iter().sum();
    while exact(&store) != u64::try_from(total).unwrap() {
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", sink.status());
        std::thread::sleep(Duration::from_millis(10));
    }
    sink.stop();
    let archive = FolderArchive::open(folder.path().join("archive")).unwrap();
    let mut next = [0_i64; PARTITIONS as usize];
    for file in archive.files("events").unwrap() {
        for record in archive.read(&file).unwrap() {
            let next = &mut next[file.partition.partition as usize];
            assert_eq!(record.offset, *next, "{}: neither gap nor duplicate", file.path);
            *next += 1;
        }
    }
    assert!(next.iter().zip(&ends).all(|(next, end)| *next > 0 && next <= end), "{next:?} {ends:?}");
    println!("{KILLS} kills, {total} records, {next:?} archived");
}

/// Checks that documents and offsets agree; returns how many documents there are.
fn exact(store: &SqliteStore) -> u64 {
    let mut sum = 0;
    for partition in 0..PARTITIONS {
        let stored =
            store.offset("vigie-sink-crash", &TopicPartition::new("events", partition)).unwrap().unwrap_or(0);
        let query = Query::new().eq("partition", partition).lt("offset", stored);
        let below = store.count_documents("events", &query).unwrap();
        assert_eq!(i64::try_from(below).unwrap(), stored, "partition {partition}");
        sum += below;
    }
    sum
}
