//! Windows on real threads: what is open, held back or late survives a restart, with the local files and without them.

use std::sync::Arc;
use std::time::Duration;

use vigie_log::{BatchBuilder, Log, ProducerConfig, SimulatedLog, TopicPartition};
use vigie_streams::serde::{Serde, SessionWindowed, TimeWindowed, Utf8};
use vigie_streams::{
    BufferConfig, Config, Consumed, EmitStrategy, Produced, SessionKey, SessionWindows, SlidingWindows,
    State, Store, Streams, StreamsBuilder, Suppressed, TimeWindows, Topology, Windowed,
};

use crate::running::{PATIENCE, log, until};
use crate::windows::millis;

fn topology() -> Topology {
    let mut builder = StreamsBuilder::new();
    let grouped = builder.stream("in", Consumed::<String, i64>::default()).group_by_key();
    grouped
        .windowed_by(SessionWindows::with_gap(millis(10)).grace(millis(100)))
        .count(Store::named("sessions"))
        .to_stream()
        .to("sessions", Produced::default());
    grouped
        .windowed_by(TimeWindows::tumbling(millis(100)).grace(millis(50)))
        .emit_strategy(EmitStrategy::on_window_close())
        .count(Store::named("closed"))
        .to_stream()
        .to("closed", Produced::default());
    grouped
        .windowed_by(SlidingWindows::with_time_difference(millis(20)).grace(millis(50)))
        .count(Store::named("sliding"))
        .suppress(Suppressed::until_window_closes(BufferConfig::unbounded()).named("held"))
        .to_stream()
        .to("held", Produced::default());
    builder.build().unwrap()
}

fn send(log: &SimulatedLog, times: &[i64]) {
    let mut producer = log.producer(ProducerConfig::default()).unwrap();
    let mut batch = BatchBuilder::new();
    for at in times {
        batch.push(*at, Some(b"k"), Some(&1_i64.to_be_bytes()), &[]);
    }
    producer.begin().unwrap();
    producer.append(&TopicPartition::new("in", 0), &mut batch).unwrap();
    producer.commit().unwrap();
}

/// Start, end and count of all results in a topic so far.
fn read(log: &SimulatedLog, topic: &str, key: &dyn Serde<Windowed<String>>) -> Vec<(i64, i64, Option<i64>)> {
    let mut reader = log.reader(&[TopicPartition::new(topic, 0)]).unwrap();
    let mut all = Vec::new();
    loop {
        let fetched = reader.poll(Duration::ZERO).unwrap();
        if fetched.is_empty() {
            return all;
        }
        for record in fetched.iter().flat_map(|fetched| fetched.batch.iter()) {
            let window = key.decode(record.key.unwrap()).unwrap().window;
            let count = record.value.map(|bytes| i64::from_be_bytes(bytes.try_into().unwrap()));
            all.push((window.start, window.end, count));
        }
    }
}

#[test]
fn windows_survive_restarts() {
    let log = log(&[("in", 1), ("sessions", 1), ("closed", 1), ("held", 1)]);
    let dir = tempfile::tempdir().unwrap();
    let mut sent = 0;
    let mut run = |times: &[i64], check: &dyn Fn(&Streams)| {
        let config = Config::new("app", Arc::clone(&log) as Arc<dyn Log>)
            .commit_interval(millis(10))
            .emit_interval(Duration::from_secs(3_600))
            .state_dir(dir.path());
        let app = Streams::new(topology(), config).start().unwrap();
        assert!(app.wait_for(State::Running, PATIENCE));
        send(&log, times);
        sent += times.len();
        until("all is processed", || {
            let metrics = app.metrics();
            metrics.records_in == times.len() as u64
                && metrics.tasks.iter().flat_map(|task| &task.inputs).all(|input| input.lag == 0)
        });
        check(&app);
        assert!(app.close(PATIENCE));
    };
    let sessions = |log: &SimulatedLog| read(log, "sessions", &SessionWindowed::new(Utf8));
    let closed = |log: &SimulatedLog| read(log, "closed", &TimeWindowed::new(Utf8, 100));
    let held = |log: &SimulatedLog| read(log, "held", &TimeWindowed::new(Utf8, 20));

    run(&[1_000, 1_020], &|_| ());
    assert_eq!(sessions(&log), [(1_000, 1_000, Some(1)), (1_020, 1_020, Some(1))]);
    // With the local files: the record joins the sessions of the run before.
    run(&[1_010], &|app| {
        let store = app.session_store::<String, i64>("sessions").unwrap();
        let joined = SessionKey { key: String::from("k"), start: 1_000, end: 1_020 };
        until("the store follows", || store.get(&joined).unwrap() == Some(3));
        assert_eq!(store.all().unwrap(), [(joined, 3)]);
    });
    assert_eq!(sessions(&log)[2..], [(1_000, 1_000, None), (1_020, 1_020, None), (1_000, 1_020, Some(3))]);
    assert_eq!((closed(&log), held(&log)), (Vec::new(), Vec::new()));
    // From the changelogs alone: what was open and held back is there, and closes.
    std::fs::remove_dir_all(dir.path()).unwrap();
    run(&[1_150], &|_| ());
    assert_eq!(closed(&log), [(1_000, 1_100, Some(3))], "at the commit, the emit interval being long");
    let windows = [(980, 1), (990, 2), (1_000, 3), (1_001, 2), (1_011, 1)];
    let windows = windows.map(|(start, count)| (start, start + 20, Some(count)));
    assert_eq!(held(&log), windows);
    // What was late before the restart is late after it, with files and without; nothing is sent twice.
    for files in [true, false] {
        if !files {
            std::fs::remove_dir_all(dir.path()).unwrap();
        }
        run(&[1_000], &|app| {
            until("it counts as late", || app.metrics().late == 3);
        });
    }
    assert_eq!((closed(&log).len(), held(&log).len(), sessions(&log).len()), (1, 5, 6));
}
