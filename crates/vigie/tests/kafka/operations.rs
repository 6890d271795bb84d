//! What operators do to a cluster under a running program, and what it tells them.

use serde_json::json;
use vigie_log::{BatchBuilder, Clock, Log, ProducerConfig, SystemClock, TopicPartition, TopicSpec};
use vigie_log_kafka::KafkaLog;

use super::Cluster;
use crate::cli::Place;
use crate::faults::Program;

fn write(log: &KafkaLog, topic: &str, partition: u32, time: i64, value: &str) {
    let mut batch = BatchBuilder::new();
    batch.push(time, Some(b"k"), Some(value.as_bytes()), &[]);
    let mut producer = log.producer(ProducerConfig::default()).unwrap();
    producer.begin().unwrap();
    producer.append(&TopicPartition::new(topic, partition), &mut batch).unwrap();
    producer.commit().unwrap();
}

fn says(program: &Program, what: &str) {
    let start = std::time::Instant::now();
    while !program.said().contains(what) {
        assert!(start.elapsed().as_secs() < 60, "it does not say {what:?}:\n{}", program.said());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn topics_that_lose_records_and_clocks_that_are_wrong_are_warned_of_and_nothing_stops() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let log = cluster.log();
    let now = SystemClock::new().now();
    let make = |spec: TopicSpec| log.admin().create_topic(&spec).unwrap();
    make(TopicSpec::new("R2", 2).with("retention.ms", "20000"));
    make(TopicSpec::new("assignments", 2));
    let ahead = TopicSpec::new("evenements", 2).with("message.timestamp.after.max.ms", i64::MAX.to_string());
    make(ahead);
    let event = |user: &str| {
        json!({"timestamp": vigie_domain::iso8601(now), "user_id": user, "event_type": "connexion", "session_id": "s"})
            .to_string()
    };
    write(&log, "evenements", 0, now + 3_600_000, &event("ahead"));

    let place = Place::new();
    let url = cluster.url();
    let program = Program::start(&place, &["run", "--log", &url]);
    program.is_ready();
    says(&program, "topic `R2` keeps records for 20000 ms");
    says(&program, "topic `assignments` has cleanup.policy=delete");
    says(&program, "record evenements-0 @ 0 has a time more than 10 min ahead");
    let total = |wanted: u64| {
        program.until("all events are counted", "shop", |shop| shop["total"].as_u64() == Some(wanted));
    };
    total(1);
    write(&log, "evenements", 1, now, &event("on time"));
    total(2);
    program.stop_well();
}
