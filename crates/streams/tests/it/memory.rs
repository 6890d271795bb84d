//! More state than the memory that it may take: it goes to disk, nothing is lost, and the budget holds.

use std::sync::Arc;
use std::time::Duration;

use vigie_log::{BatchBuilder, Log, ProducerConfig, SimulatedLog, SystemClock, TopicPartition, TopicSpec};
use vigie_streams::{Config, Consumed, MemoryUse, State, Store, Streams, StreamsBuilder, Topology};

use crate::running::{PATIENCE, end, until};

const BUDGET: usize = 8 << 20;
const KEYS: i64 = 60_000;
const ROUNDS: i64 = 2;

fn last_of_each() -> Topology {
    let mut builder = StreamsBuilder::new();
    builder
        .stream("in", Consumed::<String, String>::default())
        .group_by_key()
        .reduce(|_, newer| newer, Store::named("last"));
    builder.build().unwrap()
}

/// About 180 bytes, of which the round can be told.
fn value(key: i64, round: i64) -> String {
    format!("{round}:{:0>180}", key * 1_000 + round)
}

fn send(log: &SimulatedLog, round: i64) {
    let mut producer = log.producer(ProducerConfig::default()).unwrap();
    for partition in 0..2_i64 {
        let mut batch = BatchBuilder::new();
        // In an order that is not that of the keys.
        for n in (partition..KEYS).step_by(2) {
            let key = n * 7_919 % KEYS;
            batch.push(n, Some(format!("k{key}").as_bytes()), Some(value(key, round).as_bytes()), &[]);
        }
        producer.begin().unwrap();
        producer.append(&TopicPartition::new("in", partition as u32), &mut batch).unwrap();
        producer.commit().unwrap();
    }
}

fn start(log: &Arc<SimulatedLog>, dir: &std::path::Path) -> Streams {
    let config = Config::new("app", Arc::clone(log) as Arc<dyn Log>)
        .state_dir(dir)
        .commit_interval(Duration::from_millis(20))
        .memory_budget(BUDGET);
    let app = Streams::new(last_of_each(), config).start().unwrap();
    assert!(app.wait_for(State::Running, PATIENCE), "{:?}", app.error());
    app
}

fn check(app: &Streams, round: i64) {
    let store = app.store::<String, String>("last").unwrap();
    let mut found = 0;
    for entry in store.all() {
        let (key, held) = entry.unwrap();
        let number: i64 = key[1..].parse().unwrap();
        assert_eq!(held, value(number, round), "{key}");
        found += 1;
    }
    assert_eq!(found, KEYS);
    assert_eq!(store.get(&String::from("k17")).unwrap(), Some(value(17, round)));
}

fn within(memory: MemoryUse) {
    assert_eq!(memory.budget, BUDGET);
    let used = memory.caches + memory.tables + memory.block_cache;
    assert!(used <= BUDGET, "{memory:?}");
}

#[test]
fn state_larger_than_its_budget_goes_to_disk_and_is_whole() {
    let log = SimulatedLog::new(Arc::new(SystemClock::new()), 1);
    log.admin().create_topic(&TopicSpec::new("in", 2).with("retention.ms", "-1")).unwrap();
    let log = Arc::new(log);
    let dir = tempfile::tempdir().unwrap();
    let app = start(&log, dir.path());
    for round in 0..ROUNDS {
        send(&log, round);
        let all = (round + 1) * KEYS;
        until("the round is processed", || app.metrics().records_in as i64 == all);
        until("it is committed", || app.metrics().tasks.iter().all(|task| task.inputs[0].lag == 0));
        std::thread::sleep(Duration::from_millis(100));
        within(app.metrics().memory);
        check(&app, round);
    }
    let memory = app.metrics().memory;
    assert!(memory.spills >= 2, "nothing had to go to disk: {memory:?}");
    assert!(app.close(PATIENCE));
    // With the files, and without them.
    let app = start(&log, dir.path());
    check(&app, ROUNDS - 1);
    assert_eq!(app.metrics().records_in, 0);
    assert!(app.close(PATIENCE));
    assert!(end(&log, "app-last-changelog") >= KEYS);
    std::fs::remove_dir_all(dir.path().join("app")).unwrap();
    let app = start(&log, dir.path());
    within(app.metrics().memory);
    check(&app, ROUNDS - 1);
}
