//! Threads that come and go while a program runs, pauses, a stop of the whole application, clean-ups.

use std::sync::Arc;
use std::time::Duration;

use vigie_log::{Log, SimulatedLog};
use vigie_streams::{
    BoxError, Config, Consumed, Processor, ProcessorContext, Produced, Record, State, StateError, Store,
    Streams, StreamsBuilder, StreamsError, Topology, UncaughtErrorPolicy,
};

use crate::running::{PATIENCE, end, log, send, until};

fn count() -> Topology {
    let mut builder = StreamsBuilder::new();
    builder
        .stream("in", Consumed::<String, i64>::default())
        .group_by_key()
        .count(Store::named("counts"))
        .to_stream()
        .to("out", Produced::default());
    builder.build().unwrap()
}

fn config(log: &Arc<SimulatedLog>) -> Config {
    Config::new("app", Arc::clone(log) as Arc<dyn Log>).commit_interval(Duration::from_millis(10))
}

fn feed(log: &SimulatedLog, key: &str) {
    for partition in 0..4 {
        send(log, "in", partition, &[(key, &1_i64.to_be_bytes())]);
    }
}

fn owners(app: &Streams) -> Vec<String> {
    let mut owners: Vec<String> = app.metrics().tasks.into_iter().map(|task| task.thread).collect();
    owners.sort();
    owners.dedup();
    owners
}

#[test]
fn threads_come_and_go_while_records_are_counted() {
    let log = log(&[("in", 4), ("out", 1)]);
    let app = Streams::new(count(), config(&log)).start().unwrap();
    assert!(app.wait_for(State::Running, PATIENCE));
    feed(&log, "a");
    until("one thread counts", || end(&log, "out") == 4);
    assert_eq!(app.threads(), ["app-0"]);
    assert_eq!(app.add_thread().unwrap(), "app-1");
    until("both have tasks", || owners(&app) == ["app-0", "app-1"] && app.state() == State::Running);
    feed(&log, "a");
    until("two threads count", || end(&log, "out") == 8);
    assert_eq!(app.remove_thread(PATIENCE).unwrap().as_deref(), Some("app-1"));
    assert_eq!(app.threads(), ["app-0"]);
    until("one has them all", || app.metrics().tasks.len() == 4 && owners(&app) == ["app-0"]);
    feed(&log, "a");
    until("the first one counts on", || end(&log, "out") == 12);
    until("the counters of the thread that went stay", || app.metrics().records_in == 12);
    let counts = app.store::<String, i64>("counts").unwrap();
    let all: Vec<i64> = counts.all().map(|entry| entry.unwrap().1).collect();
    assert_eq!(all, [3, 3, 3, 3], "each partition has counted each record once");
    assert_eq!(app.add_thread().unwrap(), "app-1", "the number is free again");
    assert_eq!(app.remove_thread(PATIENCE).unwrap().as_deref(), Some("app-1"));
    assert_eq!(app.remove_thread(PATIENCE).unwrap().as_deref(), Some("app-0"));
    assert_eq!(app.remove_thread(PATIENCE).unwrap(), None);
    feed(&log, "a");
    assert_eq!(app.add_thread().unwrap(), "app-0");
    until("a program may do without a thread for a while", || end(&log, "out") == 16);
    assert!(app.close(PATIENCE));
}

#[test]
fn a_paused_program_keeps_its_partitions_and_processes_nothing() {
    let log = log(&[("in", 4), ("out", 1)]);
    let app = Streams::new(count(), config(&log)).start().unwrap();
    assert!(app.wait_for(State::Running, PATIENCE));
    app.pause();
    assert!(app.is_paused());
    // A turn that has begun may still be under way.
    std::thread::sleep(Duration::from_millis(250));
    feed(&log, "a");
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!((end(&log, "out"), app.metrics().tasks.len(), app.state()), (0, 4, State::Running));
    app.resume();
    until("it goes on", || end(&log, "out") == 4);
}

struct Poisoned;

impl Processor<String, i64, String, i64> for Poisoned {
    fn process(
        &mut self,
        _: &mut ProcessorContext<'_, '_, String, i64>,
        record: Record<String, i64>,
    ) -> Result<(), BoxError> {
        assert_ne!(record.key, "poison");
        Ok(())
    }
}

fn poisoned() -> Topology {
    let mut builder = StreamsBuilder::new();
    builder
        .stream("in", Consumed::<String, i64>::default())
        .process(|| Poisoned, &[])
        .to("out", Produced::default());
    builder.build().unwrap()
}

#[test]
fn one_error_can_stop_the_application_everywhere() {
    let log = log(&[("in", 4), ("out", 1)]);
    let start = |client: &str, policy| {
        let config = config(&log).client_id(client).uncaught_error(policy);
        let app = Streams::new(poisoned(), config).start().unwrap();
        assert!(app.wait_for(State::Running, PATIENCE));
        app
    };
    let first = start("p1", UncaughtErrorPolicy::StopApplication);
    let second = start("p2", UncaughtErrorPolicy::StopApplication);
    until("the tasks are shared", || first.metrics().tasks.len() == 2 && second.metrics().tasks.len() == 2);
    send(&log, "in", 0, &[("poison", &1_i64.to_be_bytes())]);
    assert!(first.wait_for(State::Error, PATIENCE) && second.wait_for(State::Error, PATIENCE));
    let errors = [first.error().unwrap(), second.error().unwrap()];
    assert!(errors.iter().any(|error| error.contains("panicked")), "{errors:?}");
    assert!(errors.iter().any(|error| error.contains("asked all of them to stop")), "{errors:?}");
    until("all threads end", || first.threads().is_empty() && second.threads().is_empty());
    assert!(first.close(PATIENCE) && second.close(PATIENCE));
    // The next start is not told of it any more.
    send(&log, "in", 1, &[("fine", &1_i64.to_be_bytes())]);
    // It may come to the poison before anybody sees it run.
    let config = config(&log).client_id("p1").uncaught_error(UncaughtErrorPolicy::StopClient);
    let third = Streams::new(poisoned(), config).start().unwrap();
    assert!(third.wait_for(State::Error, PATIENCE), "the poison is still there");
    assert!(third.error().unwrap().contains("panicked"));
}

#[test]
fn an_error_handler_decides_for_each_error() {
    let log = log(&[("in", 1), ("out", 1)]);
    let config = config(&log).uncaught_error_handler(|error| match error {
        StreamsError::Panicked { .. } => UncaughtErrorPolicy::StopClient,
        _ => UncaughtErrorPolicy::default(),
    });
    let app = Streams::new(poisoned(), config).start().unwrap();
    send(&log, "in", 0, &[("poison", &1_i64.to_be_bytes())]);
    assert!(app.wait_for(State::Error, PATIENCE));
}

#[test]
fn local_state_is_of_one_log_and_can_be_cleaned_up() {
    let first = log(&[("in", 4), ("out", 1)]);
    let dir = tempfile::tempdir().unwrap();
    let run = |log: &Arc<SimulatedLog>, expect: i64| {
        let config = config(log).state_dir(dir.path());
        let app = Streams::new(count(), config).start().unwrap();
        assert!(app.wait_for(State::Running, PATIENCE));
        let before = end(log, "out");
        feed(log, "a");
        until("it is counted", || end(log, "out") == before + 4);
        let counts = app.store::<String, i64>("counts").unwrap();
        until("the store follows", || counts.all().all(|entry| entry.unwrap().1 == expect));
        // What another program must not do meanwhile.
        let other = Streams::new(count(), config_of(log, dir.path()));
        assert!(matches!(other.clean_up(), Err(StreamsError::State(StateError::Locked { .. }))));
        assert!(app.clean_up().is_err(), "it runs");
        assert!(app.close(PATIENCE));
    };
    run(&first, 1);
    run(&first, 2);
    // The same offsets, other contents: only the identity tells.
    let second = Arc::new(SimulatedLog::new(Arc::new(vigie_log::SystemClock::new()), 77));
    for (topic, partitions) in [("in", 4), ("out", 1)] {
        let spec = vigie_log::TopicSpec::new(topic, partitions).with("retention.ms", "-1");
        second.admin().create_topic(&spec).unwrap();
    }
    run(&second, 1);
    let idle = Streams::new(count(), config_of(&second, dir.path()));
    idle.clean_up().unwrap();
    assert!(!dir.path().join("app").exists());
    idle.clean_up().unwrap();
    run(&second, 2);
}

fn config_of(log: &Arc<SimulatedLog>, dir: &std::path::Path) -> Config {
    config(log).state_dir(dir)
}

#[test]
fn damaged_files_are_replaced_from_the_changelog() {
    let log = log(&[("in", 4), ("out", 1)]);
    let dir = tempfile::tempdir().unwrap();
    let run = |expect: i64| {
        let app = Streams::new(count(), config_of(&log, dir.path())).start().unwrap();
        assert!(app.wait_for(State::Running, PATIENCE));
        let before = end(&log, "out");
        feed(&log, "a");
        until("it is counted", || end(&log, "out") == before + 4);
        let counts = app.store::<String, i64>("counts").unwrap();
        until("the store follows", || counts.all().all(|entry| entry.unwrap().1 == expect));
        assert!(app.close(PATIENCE));
    };
    run(1);
    for (round, victim) in ["IDENTITY", "version"].into_iter().enumerate() {
        let path = dir.path().join("app").join(victim);
        assert!(path.exists(), "{victim}");
        std::fs::write(&path, b"rubbish").unwrap();
        run(i64::try_from(round).unwrap() + 2);
    }
}

#[test]
fn state_of_tasks_that_run_elsewhere_is_removed_after_a_while() {
    let log = log(&[("in", 4), ("out", 1)]);
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let told: Arc<std::sync::Mutex<Vec<(u32, i64)>>> = Arc::default();
    let start = |client: &str, dir: &std::path::Path| {
        let told = Arc::clone(&told);
        let config = config(&log)
            .client_id(client)
            .state_dir(dir)
            .state_cleanup_delay(Duration::from_millis(300))
            .restore_listener(move |event| {
                if let vigie_streams::RestorePhase::Start { from, .. } = event.phase {
                    told.lock().unwrap().push((event.partition.partition, from));
                }
            });
        let app = Streams::new(count(), config).start().unwrap();
        assert!(app.wait_for(State::Running, PATIENCE));
        app
    };
    let first = start("p1", one.path());
    feed(&log, "a");
    until("all is counted", || end(&log, "out") == 4);
    // State reaches the disk with the close at the latest.
    assert!(first.close(PATIENCE));
    let first = start("p1", one.path());
    let second = start("p2", two.path());
    until("two have left", || first.metrics().tasks.len() == 2 && second.metrics().tasks.len() == 2);
    let gone: Vec<u32> = second.metrics().tasks.iter().map(|task| task.partition).collect();
    std::thread::sleep(Duration::from_secs(1));
    told.lock().unwrap().clear();
    assert!(second.close(PATIENCE));
    until("they are back", || first.metrics().tasks.len() == 4 && first.state() == State::Running);
    let mut restored = told.lock().unwrap().clone();
    restored.sort_unstable();
    assert_eq!(
        restored,
        gone.iter().map(|partition| (*partition, 0)).collect::<Vec<_>>(),
        "from the beginning"
    );
    feed(&log, "a");
    until("they count on", || end(&log, "out") == 8);
    let counts = first.store::<String, i64>("counts").unwrap();
    until("from where they were", || counts.all().all(|entry| entry.unwrap().1 == 2));
}
