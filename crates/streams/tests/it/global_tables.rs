//! Global tables: whole before anything runs, followed afterwards, kept on disk.

use std::sync::Arc;
use std::time::Duration;

use vigie_log::Log;
use vigie_streams::{
    Config, Consumed, ErrorHandler, Produced, State, Store, Streams, StreamsBuilder, StreamsError, Topology,
};

use crate::running::{PATIENCE, end, log, until};
use crate::stream_joins::{send_at, values};

fn topology() -> Topology {
    let mut builder = StreamsBuilder::new();
    let names = builder.global_table("names", Consumed::<String, String>::default(), Store::named("names"));
    assert_eq!(names.queryable_store_name(), Some("names"));
    builder
        .stream("in", Consumed::<String, String>::default())
        .left_join_global(&names, |_, id| id.clone(), |_, id, name| name.unwrap_or(id).clone())
        .to("out", Produced::default());
    builder.build().unwrap()
}

#[test]
fn a_global_table_is_whole_before_the_first_record_and_followed_afterwards() {
    let log = log(&[("names", 3), ("in", 2), ("out", 1)]);
    let dir = tempfile::tempdir().unwrap();
    for n in 0..300_u32 {
        send_at(&log, "names", n % 3, &format!("id{n}"), Some(&format!("name{n}")), 10);
    }
    send_at(&log, "names", 1, "id1", None, 11);
    for n in [0, 1, 2, 299] {
        send_at(&log, "in", 0, "k", Some(&format!("id{n}")), 5);
    }
    let config = || {
        Config::new("app", Arc::clone(&log) as Arc<dyn Log>)
            .commit_interval(Duration::from_millis(10))
            .state_dir(dir.path())
    };
    let app = Streams::new(topology(), config()).start().unwrap();
    until("the records that were there meet the whole table", || end(&log, "out") == 4);
    let found: Vec<String> = values(&log, "out").into_iter().flatten().collect();
    assert_eq!(found, ["name0", "id1", "name2", "name299"]);
    let names = app.store::<String, String>("names").unwrap();
    assert_eq!(names.all().count(), 299);
    send_at(&log, "names", 2, "id1", Some("again"), 12);
    until("the table is followed", || names.get(&"id1".into()).unwrap() == Some("again".into()));
    send_at(&log, "in", 1, "k", Some("id1"), 6);
    until("and met", || end(&log, "out") == 5);
    assert!(app.wait_for(State::Running, PATIENCE));
    assert!(app.close(PATIENCE));
    // Another row while nobody looks; the others come from the files.
    send_at(&log, "names", 0, "new", Some("row"), 13);
    let app = Streams::new(topology(), config()).start().unwrap();
    let names = app.store::<String, String>("names").unwrap();
    assert_eq!(names.get(&"new".into()).unwrap(), Some("row".into()), "whole when `start` returns");
    assert_eq!(names.all().count(), 301);
    assert!(app.close(PATIENCE));
    let topics = log.admin().list_topics(true).unwrap();
    assert!(!topics.iter().any(|topic| topic.contains("names-changelog")), "{topics:?}");
}

#[test]
fn what_cannot_be_read_is_the_handlers_business_and_a_missing_topic_is_named() {
    let log = log(&[("names", 1), ("in", 1), ("out", 1)]);
    let mut builder = StreamsBuilder::new();
    let numbers = builder.global_table("names", Consumed::<String, i64>::default(), Store::named("numbers"));
    builder
        .stream("in", Consumed::<String, String>::default())
        .join_global(&numbers, |_, id| id.clone(), |_, _, n| *n)
        .to("out", Produced::default());
    let topology = builder.build().unwrap();
    send_at(&log, "names", 0, "good", Some("8 bytes."), 1);
    send_at(&log, "names", 0, "bad", Some("no number"), 1);
    let config = || Config::new("app", Arc::clone(&log) as Arc<dyn Log>);
    let error = Streams::new(topology.clone(), config()).start().map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("8 bytes"), "{error}");
    let lenient = config().deserialization_error(ErrorHandler::log_and_continue());
    let app = Streams::new(topology.clone(), lenient).start().unwrap();
    assert_eq!(app.store::<String, i64>("numbers").unwrap().all().count(), 1);
    assert!(app.close(PATIENCE));
    log.admin().delete_topic("names").unwrap();
    let error = Streams::new(topology, config()).start().map(|_| ()).unwrap_err();
    assert!(matches!(&error, StreamsError::MissingTopic { topic, .. } if topic == "names"), "{error}");
}
