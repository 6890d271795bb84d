//! From the death of an instance (SIGKILL) to its tasks running elsewhere, with all their state, in each group protocol.
//!
//! `FAILOVER=all` measures all of them with a state worth restoring; the ordinary tests look at one, small. Every wait has an end.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vigie_log::{BatchBuilder, Log, ProducerConfig, TopicPartition, TopicSpec};
use vigie_log_kafka::{KafkaConfig, KafkaLog};
use vigie_streams::{Config, MetricsSnapshot, Streams};

use crate::chaos::{Instance, SESSION_MS, topology};
use crate::kafka::{one_node, unique};

const PARTITIONS: u32 = 4;
/// Ends a hang.
const PATIENCE: Duration = Duration::from_secs(180);

fn until(what: &str, app: &Streams, dir: &Path, done: impl Fn(&MetricsSnapshot) -> bool) -> Duration {
    let start = Instant::now();
    loop {
        let metrics = app.metrics();
        if done(&metrics) {
            return start.elapsed();
        }
        let said = || std::fs::read_to_string(dir.join("victim.log")).unwrap_or_default();
        assert!(app.error().is_none(), "{what}: {:?}", app.error());
        assert!(
            start.elapsed() < PATIENCE,
            "{what}: {:?}, {:?}\n{}",
            metrics.tasks,
            metrics.standbys,
            said()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How long it took, and how long of that beyond the session.
fn measure(membership: &str, standbys: u32, keys: u64) -> Option<Duration> {
    let cluster = one_node()?;
    let application = unique("failover");
    let mut kafka = KafkaConfig {
        membership: membership.parse().unwrap(),
        client_id: application.clone(),
        ..cluster.config()
    };
    kafka.settings.insert(String::from("consumer.session.timeout.ms"), String::from(SESSION_MS));
    let log = KafkaLog::open(kafka).unwrap();
    for topic in ["in", "counts", "digits"] {
        log.admin().create_topic(&TopicSpec::new(format!("{application}-{topic}"), PARTITIONS)).unwrap();
    }
    let mut producer = log.producer(ProducerConfig::default()).unwrap();
    producer.begin().unwrap();
    for partition in 0..PARTITIONS {
        let mut batch = BatchBuilder::new();
        for key in (0..keys).filter(|key| key % u64::from(PARTITIONS) == u64::from(partition)) {
            batch.push(1_000, Some(format!("k{key}").as_bytes()), Some(&1_i64.to_be_bytes()), &[]);
        }
        producer.append(&TopicPartition::new(format!("{application}-in"), partition), &mut batch).unwrap();
    }
    producer.commit().unwrap();

    let dir = tempfile::tempdir().unwrap();
    let victim =
        Instance::start(cluster.fact("bootstrap"), &application, "victim", dir.path(), standbys, membership);
    let shared: Arc<dyn Log> = Arc::new(log.clone());
    let config = Config::new(application.as_str(), shared)
        .client_id("survivor")
        .state_dir(dir.path().join("survivor"))
        .standby_replicas(standbys)
        .threads(2);
    let app = Streams::new(topology(&application), config).start().unwrap();
    let running =
        |metrics: &MetricsSnapshot| metrics.tasks.iter().filter(|task| task.state == "running").count();
    // Three sub-topologies: the stream by key, the counts, the digits.
    let all = 3 * PARTITIONS as usize;
    let counted = || {
        let admin = log.admin();
        let ends = admin.offsets(&format!("{application}-counts")).unwrap();
        ends.iter().map(|end| u64::try_from(end.latest).unwrap()).sum::<u64>() >= keys
    };
    // Shared out, everything counted, and the copies complete: of each of the eight tasks with a store, one half here is at work, the other a copy.
    until("sharing", &app, dir.path(), |metrics| {
        let own = running(metrics);
        let stateful = metrics.tasks.iter().filter(|task| task.sub_topology > 0).count();
        let copies = metrics.standbys.len();
        own > 0
            && own < all
            && own == metrics.tasks.len()
            && (standbys == 0 || stateful + copies == 2 * PARTITIONS as usize)
            && metrics.standbys.iter().flat_map(|of| &of.changelogs).all(|copy| copy.lag == 0)
            && counted()
    });
    let own = app.metrics().tasks.len();
    victim.kill();
    let took = until("taking over", &app, dir.path(), |metrics| running(metrics) == all);
    assert!(app.close(PATIENCE));
    println!(
        "{membership}, {standbys} standby: {} of {all} tasks moved {:.1} s after the death (session {SESSION_MS} ms), {keys} keys",
        all - own,
        took.as_secs_f64()
    );
    Some(took)
}

#[test]
fn the_tasks_of_a_dead_instance_run_elsewhere_after_its_session() {
    let cases: &[(&str, u32)] = if std::env::var("FAILOVER").as_deref() == Ok("all") {
        &[("streams", 0), ("streams", 1), ("consumer", 0), ("classic", 0)]
    } else {
        &[("streams", 1)]
    };
    let keys = if cases.len() > 1 { 400_000 } else { 4_000 };
    for (membership, standbys) in cases {
        let Some(took) = measure(membership, *standbys, keys) else { return };
        // Half a session at least: a broker counts from the last heartbeat.
        assert!(took > Duration::from_secs(2), "nobody can know so soon: {took:?}");
    }
}
