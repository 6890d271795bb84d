//! What is larger than memory: read from disk, bounded in memory, and given back to the disk.

use std::sync::Arc;
use std::time::Duration;

use vigie_log::{BatchBuilder, Log, ManualClock, ProducerConfig, TopicPartition, TopicSpec};
use vigie_log_embedded::{Durability, EmbeddedConfig, EmbeddedLog};

fn open(folder: &std::path::Path, durability: Durability) -> Arc<EmbeddedLog> {
    let mut config = EmbeddedConfig::new(Arc::new(ManualClock::at(1_000)));
    config.maintenance_interval = None;
    config.cache_bytes = 0;
    config.durability = durability;
    EmbeddedLog::open(folder, config).unwrap()
}

/// A value that does not compress.
fn noise(seed: u64) -> Vec<u8> {
    let mut dice = crate::dice::Dice(seed);
    (0..125).flat_map(|_| dice.below(u64::MAX).to_le_bytes()).collect()
}

fn append(log: &EmbeddedLog, transactions: u64) {
    let mut producer = log.producer(ProducerConfig::default()).unwrap();
    let mut builder = BatchBuilder::new();
    for transaction in 0..transactions {
        producer.begin().unwrap();
        for partition in 0..2 {
            for i in 0..20 {
                builder.push(1_000, None, Some(&noise(transaction << 16 | i)), &[]);
            }
            producer.append(&TopicPartition::new("t", partition), &mut builder).unwrap();
        }
        producer.commit().unwrap();
    }
}

fn count(log: &EmbeddedLog, expect: i64) {
    for partition in 0..2 {
        let from = TopicPartition::new("t", partition);
        let mut reader = log.reader(std::slice::from_ref(&from)).unwrap();
        let mut next = 0;
        while next < expect {
            let polled = reader.poll(Duration::from_secs(5)).unwrap();
            assert!(!polled.is_empty(), "stuck at {next}");
            for fetched in polled {
                for record in fetched.batch.iter() {
                    assert_eq!(record.offset, next);
                    let seed = (next as u64 / 20) << 16 | (next as u64 % 20);
                    assert_eq!(record.value, Some(&noise(seed)[..]));
                    next += 1;
                }
            }
        }
    }
}

#[test]
fn more_than_the_memory_is_kept_and_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), Durability::Commit);
    log.admin().create_topic(&TopicSpec::new("t", 2).with("retention.bytes", "1000000")).unwrap();
    append(&log, 1_000);
    count(&log, 20_000);
    log.close().unwrap();
    let log = open(folder.path(), Durability::Commit);
    count(&log, 20_000);
    let bytes = |log: &EmbeddedLog| -> u64 {
        let partitions = log.admin().describe_topic("t").unwrap().partitions;
        partitions.iter().map(|partition| partition.bytes.unwrap()).sum()
    };
    let before = bytes(&log);
    assert!((40_000_000..42_000_000).contains(&before), "{before}");
    let done = log.run_maintenance(1_000).unwrap();
    let after = bytes(&log);
    assert!((2_000_000..2_100_000).contains(&after), "{after}");
    assert_eq!(before - after, done.removed_bytes);
    log.close().unwrap();
    let log = open(folder.path(), Durability::Commit);
    assert_eq!(bytes(&log), after, "sizes survive");
    log.admin().delete_topic("t").unwrap();
    log.close().unwrap();
    let log = open(folder.path(), Durability::Commit);
    assert!(log.admin().list_topics(true).unwrap().is_empty());
}

#[test]
fn with_interval_durability_nothing_is_lost_by_closing() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), Durability::Interval(Duration::from_millis(5)));
    log.admin().create_topic(&TopicSpec::new("t", 2)).unwrap();
    append(&log, 50);
    drop(log);
    count(&open(folder.path(), Durability::Commit), 1_000);
}

#[test]
fn what_retention_removes_is_given_back_to_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), Durability::Commit);
    log.admin().create_topic(&TopicSpec::new("t", 2).with("retention.bytes", "1000000")).unwrap();
    let mut appended = 0;
    for _ in 0..4 {
        append(&log, 1_000);
        appended += log.run_maintenance(1_000).unwrap().removed_bytes;
    }
    // The journal is 64 MiB, and the newest of what was removed waits for a compaction.
    let left = log.disk_bytes().unwrap();
    assert!(
        appended > 150_000_000 && left < 64 * 1024 * 1024 + appended / 2,
        "{left} of {appended} are left"
    );
}
