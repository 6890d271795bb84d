//! Windows in the simulation: final results on close, sessions with their merges, and what a suppression held back must come out once each,
//! whatever dies in between. What is expected comes from the test driver, one for each partition.

use std::collections::BTreeMap;
use std::time::Duration;

use vigie_log::{Log, TopicPartition};

use super::{PARTITIONS, World};
use crate::record::Headers;
use crate::serde::{I64, Utf8};
use crate::{
    BufferConfig, Consumed, EmitStrategy, KStream, Produced, SessionWindows, SlidingWindows, Store,
    StreamsBuilder, Suppressed, TimeWindows, Topology, TopologyTestDriver,
};

/// Topics of results.
pub(super) const TOPICS: [&str; 4] = ["closed", "closed-sessions", "sessions", "held"];

/// Adds the windows behind a stream. Grace is short, so that some records are late.
pub(super) fn add(input: &KStream<String, i64>) {
    let grouped = input.group_by_key();
    grouped
        .windowed_by(TimeWindows::hopping(millis(300), millis(200)).grace(millis(400)))
        .emit_strategy(EmitStrategy::on_window_close())
        .count(Store::named("closed"))
        .to_stream()
        .to("closed", Produced::default());
    grouped
        .windowed_by(SessionWindows::with_gap(millis(20)).grace(millis(400)))
        .emit_strategy(EmitStrategy::on_window_close())
        .count(Store::named("closed-sessions"))
        .to_stream()
        .to("closed-sessions", Produced::default());
    grouped
        .windowed_by(SessionWindows::with_gap(millis(20)).grace(millis(400)))
        .reduce(|a, b| a + b, Store::named("sessions"))
        .to_stream()
        .to("sessions", Produced::default());
    grouped
        .windowed_by(SlidingWindows::with_time_difference(millis(100)).grace(millis(300)))
        .count(Store::named("sliding"))
        .suppress(Suppressed::until_window_closes(BufferConfig::unbounded()).named("held"))
        .to_stream()
        .to("held", Produced::default());
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Values and timestamps by key.
pub(super) type Results = BTreeMap<Vec<u8>, Vec<(Option<Vec<u8>>, i64)>>;

pub(super) fn sorted(mut results: Results) -> Results {
    results.values_mut().for_each(|all| all.sort());
    results
}

impl World {
    pub(super) fn check_windows(&self) {
        let mut builder = StreamsBuilder::new();
        add(&builder.stream("in", Consumed::default()));
        self.check_against_driver(&builder.build().unwrap(), &TOPICS);
    }

    /// Compares topics with what the test driver says of this topology.
    pub(super) fn check_against_driver(&self, topology: &Topology, topics: &[&str]) {
        let mut expect = self.results_of_driver(topology, topics);
        for topic in topics {
            let expect = expect.remove(*topic).unwrap_or_default();
            assert_eq!(sorted(self.results(topic)), sorted(expect), "results in `{topic}`, each once");
        }
    }

    /// What the test driver, given each partition's input, writes to topics.
    pub(super) fn results_of_driver(
        &self,
        topology: &Topology,
        topics: &[&str],
    ) -> BTreeMap<String, Results> {
        let mut all: BTreeMap<String, Results> = BTreeMap::new();
        for sent in &self.sent {
            let driver = TopologyTestDriver::new(topology, Default::default()).unwrap();
            let input = driver.input("in", Utf8, I64);
            for record in sent {
                let (value, at) = (record >> 16, record & 0xffff);
                input.pipe_with(&format!("k{}", value % 6), Some(&value), at, Headers::new()).unwrap();
            }
            for topic in topics {
                for record in driver.read_raw(topic) {
                    let results = all.entry((*topic).to_owned()).or_default();
                    results.entry(record.key.unwrap()).or_default().push((record.value, record.timestamp));
                }
            }
        }
        all
    }

    /// What stands in a topic of results.
    pub(super) fn results(&self, topic: &str) -> Results {
        let partitions: Vec<_> = (0..PARTITIONS).map(|p| TopicPartition::new(topic, p)).collect();
        let mut reader = self.log.reader(&partitions).unwrap();
        let mut found = Results::new();
        loop {
            let fetched = reader.poll(Duration::ZERO).unwrap();
            if fetched.is_empty() {
                return found;
            }
            for record in fetched.iter().flat_map(|fetched| fetched.batch.iter()) {
                let results = found.entry(record.key.unwrap().to_vec()).or_default();
                results.push((record.value.map(<[u8]>::to_vec), record.timestamp));
            }
        }
    }
}
