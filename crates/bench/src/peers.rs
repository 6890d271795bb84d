//! What other engines took for the same input and the same work: recorded on a machine with two cores and one Apache Kafka 4.3.1 broker beside the
//! program, processor time being the client process's own. `make bench` prints them behind Vigie's figures, marked as recorded: they are
//! not measured again, and their machine was not this one.

use serde::Serialize;

/// A recorded figure of another engine; pairs are the smallest and the largest of several runs.
#[derive(Debug, Serialize)]
pub struct Peer {
    workload: &'static str,
    engine: &'static str,
    /// Always true: this was not measured now.
    recorded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    rec_per_s: Option<(f64, f64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_us_per_rec: Option<(f64, f64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rss_mb: Option<(f64, f64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    startup_s: Option<(f64, f64)>,
    how: &'static str,
}

impl Peer {
    const fn of(workload: &'static str, engine: &'static str, how: &'static str) -> Self {
        Self {
            workload,
            engine,
            recorded: true,
            rec_per_s: None,
            cpu_us_per_rec: None,
            rss_mb: None,
            startup_s: None,
            how,
        }
    }

    const fn speed(self, low: f64, high: f64) -> Self {
        Self { rec_per_s: Some((low, high)), ..self }
    }

    const fn cpu(self, low: f64, high: f64) -> Self {
        Self { cpu_us_per_rec: Some((low, high)), ..self }
    }

    const fn rss(self, low: f64, high: f64) -> Self {
        Self { rss_mb: Some((low, high)), ..self }
    }

    const fn start(self, low: f64, high: f64) -> Self {
        Self { startup_s: Some((low, high)), ..self }
    }

    /// The line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and text can always be written as JSON")
    }
}

const KAFKA_STREAMS: &str = "Kafka Streams 4.3.1";
const FLINK: &str = "Flink 2.2.1";

const PEERS: &[Peer] = &[
    Peer::of("page-count", KAFKA_STREAMS, "exactly once")
        .speed(128_000.0, 174_000.0)
        .cpu(7.0, 7.8)
        .rss(626.0, 626.0)
        .start(2.7, 3.9),
    Peer::of("page-count", KAFKA_STREAMS, "at least once")
        .speed(167_000.0, 174_000.0)
        .cpu(7.2, 7.2)
        .rss(820.0, 820.0),
    Peer::of("page-count", FLINK, "results on window close, checkpoints each 100 ms, heap state")
        .speed(500_000.0, 500_000.0)
        .cpu(3.5, 3.5)
        .rss(760.0, 760.0)
        .start(3.6, 3.6),
    Peer::of("page-count", "Spark 4.0.0", "one batch, update mode")
        .speed(152_000.0, 152_000.0)
        .cpu(10.5, 10.5)
        .rss(1_100.0, 1_100.0)
        .start(5.7, 5.7),
    Peer::of("user-total", KAFKA_STREAMS, "exactly once, every update to a topic")
        .speed(30_000.0, 30_000.0)
        .cpu(31.0, 31.0)
        .rss(1_350.0, 1_350.0),
    Peer::of("user-total", FLINK, "heap state, checkpoints each second").cpu(9.1, 10.7).rss(1_600.0, 2_300.0),
    Peer::of("user-total", FLINK, "RocksDB, checkpoints each second").cpu(15.0, 16.0).rss(1_000.0, 1_000.0),
    Peer::of("restore", KAFKA_STREAMS, "5.0 million changelog records, local files lost").start(37.0, 37.0),
    Peer::of("restore", KAFKA_STREAMS, "restart with the local files").start(3.3, 3.3),
];

/// What is recorded of a workload.
pub fn of(workload: &str) -> impl Iterator<Item = &'static Peer> {
    PEERS.iter().filter(move |peer| peer.workload == workload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_figures_say_so() {
        let lines: Vec<String> = of("page-count").map(Peer::to_json).collect();
        assert_eq!(lines.len(), 4);
        let first: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(first["recorded"], true);
        assert_eq!(first["cpu_us_per_rec"], serde_json::json!([7.0, 7.8]));
        assert!(PEERS.iter().all(|peer| crate::ALL.contains(&peer.workload)));
    }
}
