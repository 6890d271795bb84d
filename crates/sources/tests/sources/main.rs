//! The sources as a whole: through files, through HTTP on loopback, through a log.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests, and the helpers beside them"
)]

mod csv_input;
mod decoders;
mod running;
mod scenario;
mod users_http;

use std::path::PathBuf;
use std::sync::Arc;

use vigie_log::{Log, ManualClock, Reader, SimulatedLog, TopicPartition};

/// A file that comes with the program.
fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../data").join(name)
}

/// One record as read from a log.
#[derive(Debug, Clone, PartialEq)]
struct Read {
    topic: String,
    key: Option<String>,
    value: Vec<u8>,
    headers: Vec<(String, String)>,
    timestamp: i64,
}

impl Read {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// All records of a topic, in order within each partition.
fn read_all(log: &dyn Log, topic: &str) -> Vec<Read> {
    let ends = log.admin().offsets(topic).unwrap();
    let partitions: Vec<_> = (0..ends.len()).map(|n| TopicPartition::new(topic, n as u32)).collect();
    let mut reader: Box<dyn Reader> = log.reader(&partitions).unwrap();
    let mut all = Vec::new();
    while partitions.iter().zip(&ends).any(|(p, end)| reader.position(p).unwrap() < end.latest) {
        for fetched in reader.poll(std::time::Duration::from_millis(100)).unwrap() {
            for record in fetched.batch.iter() {
                all.push(Read {
                    topic: topic.to_owned(),
                    key: record.key.map(|key| String::from_utf8(key.to_vec()).unwrap()),
                    value: record.value.unwrap_or_default().to_vec(),
                    headers: record
                        .headers
                        .iter()
                        .map(|h| {
                            (
                                h.name.to_owned(),
                                String::from_utf8_lossy(h.value.unwrap_or_default()).into_owned(),
                            )
                        })
                        .collect(),
                    timestamp: record.timestamp,
                });
            }
        }
    }
    all
}

/// A log in memory with these topics, of two partitions each.
fn log_with(topics: &[&str]) -> Arc<dyn Log> {
    let log = SimulatedLog::new(Arc::new(ManualClock::at(1_750_000_000_000)), 1);
    for topic in topics {
        log.admin().create_topic(&vigie_log::TopicSpec::new(*topic, 2)).unwrap();
    }
    Arc::new(log)
}
