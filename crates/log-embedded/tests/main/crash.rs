//! Killed with SIGKILL at random moments under load, again and again on the same folder: every acknowledged transaction is there
//! whole, no other one is there in part, and offsets fit records.
//!
//! The child is this test binary once more. It runs four writers; each transaction of a writer has records in several partitions,
//! the writer's group offset (the number of the next transaction), and the writer's last number in a compacted topic that
//! maintenance rewrites all the time.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use vigie_log::{
    BatchBuilder, Log, LogError, MemberConfig, ProducerConfig, SystemClock, TopicPartition, TopicSpec,
};
use vigie_log_embedded::{EmbeddedConfig, EmbeddedLog};

use crate::dice::Dice;

const FOLDER: &str = "VIGIE_TEST_CRASH_FOLDER";
const WRITERS: usize = 4;
const PARTITIONS: u32 = 3;
const KILLS: u64 = 55;
const SEED: u64 = 20_240_607;

fn open(folder: &Path) -> Arc<EmbeddedLog> {
    let mut config = EmbeddedConfig::new(Arc::new(SystemClock::new()));
    config.maintenance_interval = Some(Duration::from_millis(10));
    // Small write buffers, so that flushes and compactions are killed too.
    config.cache_bytes = 0;
    EmbeddedLog::open(folder, config).unwrap()
}

fn create(log: &EmbeddedLog, spec: TopicSpec) {
    match log.admin().create_topic(&spec) {
        Ok(()) | Err(LogError::TopicExists { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

fn create_topics(log: &EmbeddedLog) {
    create(log, TopicSpec::new("records", PARTITIONS).with("retention.ms", "-1"));
    create(log, TopicSpec::compacted("last", 1).with("min.cleanable.dirty.ratio", "0"));
    for writer in 0..WRITERS {
        create(log, TopicSpec::new(format!("source-{writer}"), 1));
    }
}

/// How many records transaction `number` of `writer` has in each partition.
fn shape(writer: usize, number: i64) -> [usize; PARTITIONS as usize] {
    let mut dice = Dice((writer as u64) << 32 | number as u64);
    [0; PARTITIONS as usize].map(|_: usize| dice.below(5) as usize)
}

/// The child: does nothing unless it is told a folder.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let log = open(Path::new(&folder));
    create_topics(&log);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let log = &log;
            scope.spawn(move || write(log, writer));
        }
    });
}

fn write(log: &EmbeddedLog, writer: usize) {
    let source = TopicPartition::new(format!("source-{writer}"), 0);
    let mut member = log.member(MemberConfig::new(format!("group-{writer}"), [&*source.topic])).unwrap();
    while member.assignment().is_empty() {
        member.poll(Duration::from_millis(10)).unwrap();
    }
    let id = Some(format!("writer-{writer}"));
    let mut producer = log.producer(ProducerConfig { transactional_id: id }).unwrap();
    let mut number = member.committed(std::slice::from_ref(&source)).unwrap()[0].unwrap_or(0);
    let mut builder = BatchBuilder::new();
    loop {
        producer.begin().unwrap();
        for (partition, records) in (0..).zip(shape(writer, number)) {
            for i in 0..records {
                // Some of them large, so that a commit is many writes to the file.
                let padding = "x".repeat(if number % 7 == 0 { 20_000 } else { 300 });
                let value = format!("{writer} {number} {i} {padding}");
                builder.push(number, Some(b"key"), Some(value.as_bytes()), &[]);
            }
            producer.append(&TopicPartition::new("records", partition), &mut builder).unwrap();
        }
        builder.push(number, Some(&[writer as u8]), Some(number.to_string().as_bytes()), &[]);
        producer.append(&TopicPartition::new("last", 0), &mut builder).unwrap();
        producer.add_offsets(&member.membership(), &[(source.clone(), number + 1)]).unwrap();
        producer.commit().unwrap();
        // One write, so that the parent sees whole lines.
        std::io::stdout().lock().write_all(format!("\nack {writer} {number}\n").as_bytes()).unwrap();
        number += 1;
    }
}

/// What has been found on disk so far.
#[derive(Default)]
struct Found {
    /// Records of each transaction by partition.
    transactions: BTreeMap<(usize, i64), [usize; PARTITIONS as usize]>,
    positions: [i64; PARTITIONS as usize],
    acknowledged: [Option<i64>; WRITERS],
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_half_written_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let mut dice = Dice(SEED);
    let mut found = Found::default();
    let (mut acknowledgements, mut under_load) = (0, 0);
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["crash::child", "--exact", "--nocapture", "--test-threads=1"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        // Every fifth dies at some moment of its start, the others under load.
        let wait_for_load = kill % 5 != 0;
        let delay = Duration::from_millis(dice.below(if wait_for_load { 150 } else { 60 }));
        let (started, load) = std::sync::mpsc::sync_channel(1);
        let reading = std::thread::spawn(move || {
            let mut seen = Vec::new();
            for line in output.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8(line).unwrap_or_default();
                if let Some((writer, number)) =
                    line.strip_prefix("ack ").and_then(|rest| rest.split_once(' '))
                {
                    seen.push((writer.parse::<usize>().unwrap(), number.parse::<i64>().unwrap()));
                    let _ = started.try_send(());
                }
            }
            seen
        });
        if wait_for_load {
            load.recv_timeout(Duration::from_secs(20)).expect("the child writes");
        }
        std::thread::sleep(delay);
        // SIGKILL.
        child.kill().unwrap();
        child.wait().unwrap();
        let seen = reading.join().unwrap();
        acknowledgements += seen.len();
        under_load += usize::from(!seen.is_empty());
        for (writer, number) in seen {
            found.acknowledged[writer] = found.acknowledged[writer].max(Some(number));
        }
        check(folder.path(), &mut found, kill);
    }
    assert!(under_load >= 40, "only {under_load} of {KILLS} were killed under load (seed {SEED})");
    assert!(acknowledgements > 1_000, "only {acknowledgements} transactions were acknowledged (seed {SEED})");
    println!("{KILLS} kills, {under_load} under load, {acknowledgements} acknowledged transactions");
}

fn check(folder: &Path, found: &mut Found, kill: u64) {
    let context = |what: String| format!("{what} after kill {kill} of seed {SEED}");
    let log = open(folder);
    create_topics(&log);
    read_records(&log, found);
    let mut newest = [-1_i64; WRITERS];
    for (&(writer, number), records) in &found.transactions {
        assert_eq!(*records, shape(writer, number), "{}", context(format!("half of {writer} {number}")));
        newest[writer] = newest[writer].max(number);
    }
    let last = read_last(&log);
    for (writer, newest) in newest.into_iter().enumerate() {
        let group = log.admin().describe_group(&format!("group-{writer}")).unwrap();
        let committed = group.committed.first().map_or(0, |(_, offset)| *offset);
        // A transaction may have no record at all in `records`, so the offset is the measure.
        for number in 0..committed {
            let empty = shape(writer, number) == [0; PARTITIONS as usize];
            let there = found.transactions.contains_key(&(writer, number));
            assert!(empty || there, "{}", context(format!("{writer} {number} is lost")));
        }
        assert!(newest < committed, "{}", context(format!("records of {writer} without their offset")));
        let acknowledged = found.acknowledged[writer].map_or(0, |number| number + 1);
        assert!(
            acknowledged <= committed,
            "{}",
            context(format!("{writer}: {acknowledged} acknowledged, {committed} there"))
        );
        let kept = last.get(&writer).map_or(0, |number| number + 1);
        assert_eq!(kept, committed, "{}", context(format!("the compacted topic of {writer}")));
    }
    log.close().unwrap();
}

fn read_records(log: &EmbeddedLog, found: &mut Found) {
    let partitions: Vec<_> =
        (0..PARTITIONS).map(|partition| TopicPartition::new("records", partition)).collect();
    let ends = log.admin().offsets("records").unwrap();
    let mut reader = log.reader(&partitions).unwrap();
    for (partition, position) in partitions.iter().zip(found.positions) {
        reader.seek(partition, position).unwrap();
    }
    let start = Instant::now();
    while partitions
        .iter()
        .zip(&ends)
        .any(|(partition, end)| reader.position(partition).unwrap() < end.latest)
    {
        assert!(start.elapsed() < Duration::from_secs(20));
        for fetched in reader.poll(Duration::ZERO).unwrap() {
            let partition = fetched.partition.partition as usize;
            for record in fetched.batch.iter() {
                assert_eq!(record.offset, found.positions[partition], "offsets have no gaps here");
                found.positions[partition] += 1;
                let value = std::str::from_utf8(record.value.unwrap()).unwrap();
                let mut words = value.split(' ');
                let writer = words.next().unwrap().parse().unwrap();
                let number = words.next().unwrap().parse().unwrap();
                found.transactions.entry((writer, number)).or_default()[partition] += 1;
            }
        }
    }
}

fn read_last(log: &EmbeddedLog) -> BTreeMap<usize, i64> {
    let from = TopicPartition::new("last", 0);
    let mut reader = log.reader(std::slice::from_ref(&from)).unwrap();
    let end = log.admin().offsets("last").unwrap()[0].latest;
    let mut last = BTreeMap::new();
    while reader.position(&from).unwrap() < end {
        for fetched in reader.poll(Duration::ZERO).unwrap() {
            for record in fetched.batch.iter() {
                let number: i64 = std::str::from_utf8(record.value.unwrap()).unwrap().parse().unwrap();
                let before = last.insert(usize::from(record.key.unwrap()[0]), number);
                assert!(before.is_none_or(|before| before < number), "the order of {before:?} and {number}");
            }
        }
    }
    last
}
