//! Standby copies on real threads: kept, asked, and taken over without a restore.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use vigie_log::{Log, SimulatedLog};
use vigie_streams::serde::Utf8;
use vigie_streams::{
    Config, Consumed, RestoreEvent, RestorePhase, Staleness, State, StateError, Store, Streams,
    StreamsBuilder, StreamsError, Topology,
};

use crate::running::{PATIENCE, log, send, until};

fn count() -> Topology {
    let mut builder = StreamsBuilder::new();
    builder.stream("in", Consumed::<String, i64>::default()).group_by_key().count(Store::named("counts"));
    builder.build().unwrap()
}

fn start(log: &Arc<SimulatedLog>, client: &str, told: &Arc<Mutex<Vec<RestoreEvent>>>) -> Streams {
    let told = Arc::clone(told);
    let config = Config::new("app", Arc::clone(log) as Arc<dyn Log>)
        .commit_interval(Duration::from_millis(10))
        .client_id(client)
        .endpoint(client, 7000)
        .standby_replicas(1)
        .restore_listener(move |event| told.lock().unwrap().push(event.clone()));
    let app = Streams::new(count(), config).start().unwrap();
    assert!(app.wait_for(State::Running, PATIENCE));
    app
}

/// Keys that the default partitioner puts where they are sent.
fn feed(log: &SimulatedLog, rounds: usize) {
    for _ in 0..rounds {
        for n in 0..40 {
            let key = format!("k{n}");
            let partition = vigie_log::partition_for_key(key.as_bytes(), 4);
            send(log, "in", partition, &[(&key, &1_i64.to_be_bytes())]);
        }
    }
}

#[test]
fn a_copy_can_be_asked_and_takes_over_without_a_restore() {
    let log = log(&[("in", 4)]);
    let told: Arc<Mutex<Vec<RestoreEvent>>> = Arc::default();
    let first = start(&log, "p1", &told);
    feed(&log, 3);
    until("all is counted", || first.metrics().records_in == 120);
    let second = start(&log, "p2", &told);
    let copies = |app: &Streams| {
        let standbys = app.metrics().standbys;
        let complete =
            standbys.iter().flat_map(|copy| &copy.changelogs).all(|log| log.lag == 0 && log.end > 0);
        if complete { standbys.len() } else { 0 }
    };
    until("both have tasks and copies", || {
        first.metrics().tasks.len() == 2
            && second.metrics().tasks.len() == 2
            && copies(&first) == 2
            && copies(&second) == 2
    });
    for copy in second.metrics().standbys {
        assert!(second.metrics().tasks.iter().all(|task| task.id != copy.id), "never beside its task");
    }
    // Active tasks alone have half of the keys, and say so of the others.
    let active = second.store::<String, i64>("counts").unwrap();
    assert_eq!(active.partitions().len(), 2);
    let asked: Vec<_> = (0..40).map(|n| active.get(&format!("k{n}"))).collect();
    assert!(asked.iter().flatten().all(|count| *count == Some(3)));
    let elsewhere = asked.iter().filter(|answer| matches!(answer, Err(StateError::Migrated { .. }))).count();
    assert_eq!(asked.iter().filter(|answer| answer.is_ok()).count() + elsewhere, 40);
    assert!(elsewhere > 0);
    for staleness in [Staleness::Any, Staleness::Records(0), Staleness::Age(Duration::from_secs(60))] {
        let all = second.store_with::<String, i64>("counts", staleness).unwrap();
        assert_eq!(all.all().count(), 40, "{staleness:?}");
        assert!((0..40).all(|n| all.get(&format!("k{n}")).unwrap() == Some(3)));
        assert_eq!(all.get(&"nobody".into()).unwrap(), None);
    }
    until("each process tells both where it can be asked", || {
        let tells = |app: &Streams, host: &str| {
            app.endpoints().iter().any(|e| e.host == host && e.active.len() == 2 && e.standby.len() == 2)
        };
        [&first, &second].iter().all(|app| tells(app, "p1") && tells(app, "p2"))
    });
    // Both say the same of each key, and the one that they name has it.
    for n in 0..40 {
        let key = format!("k{n}");
        let place = second.metadata_for_key("counts", &key, &Utf8).unwrap();
        assert_eq!(place, first.metadata_for_key("counts", &key, &Utf8).unwrap());
        let here = place.active.as_ref().is_some_and(|process| process.host == "p2" && process.port == 7000);
        assert_eq!(here, active.get(&key).is_ok(), "{place:?}");
        assert_eq!(place.standbys.len(), 1);
        assert_ne!(place.standbys.first(), place.active.as_ref(), "never beside its task");
    }
    let processes = first.streams_metadata_for_store("counts").unwrap();
    assert_eq!(processes.iter().map(|process| process.host.host.as_str()).collect::<Vec<_>>(), ["p1", "p2"]);
    let mut all: Vec<u32> = processes.iter().flat_map(|process| process.active.clone()).collect();
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3]);
    let nowhere = first.streams_metadata_for_store("nothing");
    assert!(matches!(nowhere, Err(StreamsError::NoSuchStore(_))), "{nowhere:?}");
    told.lock().unwrap().clear();
    assert!(first.close(PATIENCE));
    until("the second one has all", || second.metrics().tasks.len() == 4 && second.state() == State::Running);
    let restored: u64 = told
        .lock()
        .unwrap()
        .iter()
        .map(|event| if let RestorePhase::Batch { records, .. } = event.phase { records } else { 0 })
        .sum();
    assert!(restored < 10, "{restored} records were restored although there were copies");
    feed(&log, 1);
    until("it counts on", || (0..40).all(|n| matches!(active.get(&format!("k{n}")), Ok(Some(4)))));
    assert!(second.metrics().standbys.is_empty(), "nobody else is there");
}

#[test]
fn a_cold_start_tells_its_restore_step_by_step() {
    let log = log(&[("in", 4)]);
    let told: Arc<Mutex<Vec<RestoreEvent>>> = Arc::default();
    let first = start(&log, "p1", &told);
    feed(&log, 3);
    until("all is counted", || first.metrics().records_in == 120);
    assert!(first.close(PATIENCE));
    assert!(told.lock().unwrap().is_empty(), "there was nothing to restore");
    let second = start(&log, "p1", &told);
    let told = told.lock().unwrap();
    for partition in 0..4 {
        let phases: Vec<RestorePhase> = told
            .iter()
            .filter(|event| event.partition.partition == partition)
            .map(|event| {
                assert_eq!((&*event.store, &*event.partition.topic), ("counts", "app-counts-changelog"));
                event.phase
            })
            .collect();
        let [RestorePhase::Start { from: 0, end }, batches @ .., RestorePhase::End { records }] =
            phases.as_slice()
        else {
            panic!("{phases:?}");
        };
        let applied: u64 =
            batches
                .iter()
                .map(|phase| {
                    if let RestorePhase::Batch { records, .. } = phase {
                        *records
                    } else {
                        panic!("{phase:?}")
                    }
                })
                .sum();
        assert_eq!((applied, i64::try_from(applied).unwrap()), (*records, *end));
    }
    drop(second);
}

#[test]
fn stores_are_missing_for_different_reasons() {
    let log = log(&[("in", 4)]);
    let told = Arc::default();
    let first = start(&log, "p1", &told);
    assert!(matches!(first.store::<String, i64>("nothing"), Err(StreamsError::NoSuchStore(_))));
    assert!(matches!(first.store::<i64, i64>("counts"), Err(StreamsError::WrongStoreType { .. })));
    assert!(first.remove_thread(PATIENCE).unwrap().is_some());
    assert!(matches!(first.store::<String, i64>("counts"), Err(StreamsError::StoreMigrated { .. })));
}
