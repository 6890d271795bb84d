//! Stores of bounded size and stores that the user writes, in a running program.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use vigie_log::{Log, SimulatedLog, TopicPartition};
use vigie_streams::serde::{I64, Utf8};
use vigie_streams::{
    BoxError, Config, Consumed, DriverConfig, State, StateStore, Store, StoreVisitor, Streams,
    StreamsBuilder, Topology, TopologyTestDriver,
};

use crate::running::{PATIENCE, log, send, until};

fn counting(store: Store<String, i64>) -> Topology {
    let mut builder = StreamsBuilder::new();
    builder.stream("in", Consumed::<String, i64>::default()).group_by_key().count(store);
    builder.build().unwrap()
}

fn start(log: &Arc<SimulatedLog>, store: Store<String, i64>) -> Streams {
    let config =
        Config::new("app", Arc::clone(log) as Arc<dyn Log>).commit_interval(Duration::from_millis(10));
    let app = Streams::new(counting(store), config).start().unwrap();
    assert!(app.wait_for(State::Running, PATIENCE));
    app
}

#[test]
fn a_store_of_bounded_size_forgets_what_was_used_least_recently() {
    let driver =
        TopologyTestDriver::new(&counting(Store::named("recent").lru(2)), DriverConfig::default()).unwrap();
    let input = driver.input("in", Utf8, I64);
    let held = || -> Vec<(String, i64)> {
        driver.store::<String, i64>("recent").unwrap().all().map(Result::unwrap).collect()
    };
    for key in ["a", "b", "a", "c"] {
        input.pipe(&key.to_owned(), &1, 1).unwrap();
    }
    assert_eq!(held(), [("a".to_owned(), 2), ("c".to_owned(), 1)], "b was used before a");
    input.pipe(&"b".to_owned(), &1, 1).unwrap();
    assert_eq!(held(), [("b".to_owned(), 1), ("c".to_owned(), 1)], "what was forgotten begins anew");
}

#[test]
fn what_a_bounded_store_forgot_is_not_restored() {
    let log = log(&[("in", 1)]);
    let app = start(&log, Store::named("recent").lru(2));
    for key in ["a", "b", "c", "d"] {
        send(&log, "in", 0, &[(key, &1_i64.to_be_bytes())]);
        let counts = app.store::<String, i64>("recent").unwrap();
        until("it is counted", || counts.get(&key.to_owned()).unwrap() == Some(1));
    }
    assert!(app.close(PATIENCE));
    let app = start(&log, Store::named("recent").lru(2));
    let counts = app.store::<String, i64>("recent").unwrap();
    let all: Vec<(String, i64)> = counts.all().map(Result::unwrap).collect();
    assert_eq!(all, [("c".to_owned(), 1), ("d".to_owned(), 1)]);
    let mut reader = log.reader(&[TopicPartition::new("app-recent-changelog", 0)]).unwrap();
    let removed: usize = reader
        .poll(Duration::ZERO)
        .unwrap()
        .iter()
        .flat_map(|fetched| fetched.batch.iter())
        .filter(|record| record.value.is_none())
        .count();
    assert_eq!(removed, 2, "the changelog says so");
}

/// Entries and the note.
type Content = (BTreeMap<Vec<u8>, Vec<u8>>, Option<Vec<u8>>);

/// Entries in a map that outlives the program.
#[derive(Default)]
struct Own {
    held: Mutex<Content>,
    full: Mutex<bool>,
}

impl StateStore for Own {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, BoxError> {
        Ok(self.held.lock().unwrap().0.get(key).cloned())
    }
    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
        visit: StoreVisitor<'_>,
    ) -> Result<(), BoxError> {
        let held = self.held.lock().unwrap();
        let mut range = held.0.range::<[u8], _>((from, to));
        while let Some((key, value)) = if reverse { range.next_back() } else { range.next() } {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
    fn write(
        &self,
        entries: &mut dyn Iterator<Item = (&[u8], Option<&[u8]>)>,
        note: Option<&[u8]>,
    ) -> Result<(), BoxError> {
        if *self.full.lock().unwrap() {
            return Err("no room".into());
        }
        let mut held = self.held.lock().unwrap();
        for (key, value) in entries {
            match value {
                Some(value) => held.0.insert(key.to_vec(), value.to_vec()),
                None => held.0.remove(key),
            };
        }
        if let Some(note) = note {
            held.1 = Some(note.to_vec());
        }
        Ok(())
    }
    fn note(&self) -> Result<Option<Vec<u8>>, BoxError> {
        Ok(self.held.lock().unwrap().1.clone())
    }
    fn wipe(&self) -> Result<(), BoxError> {
        *self.held.lock().unwrap() = Default::default();
        Ok(())
    }
    fn approximate_len(&self) -> u64 {
        self.held.lock().unwrap().0.len() as u64
    }
}

#[test]
fn a_store_that_the_user_wrote_is_counted_in_asked_and_kept() {
    let log = log(&[("in", 1)]);
    let own = Arc::new(Own::default());
    let store = || {
        let own = Arc::clone(&own);
        Store::<String, i64>::named("own").supplied(move |name, partition| {
            assert_eq!((name, partition), ("own", 0));
            Ok(Arc::clone(&own) as Arc<dyn StateStore>)
        })
    };
    let app = start(&log, store());
    send(
        &log,
        "in",
        0,
        &[("a", &1_i64.to_be_bytes()), ("b", &1_i64.to_be_bytes()), ("a", &1_i64.to_be_bytes())],
    );
    let counts = app.store::<String, i64>("own").unwrap();
    until("it is counted", || counts.get(&"a".to_owned()).unwrap() == Some(2));
    assert_eq!((own.approximate_len(), own.note().unwrap().is_some()), (2, true));
    // Its errors stop the program, with its name.
    *own.full.lock().unwrap() = true;
    send(&log, "in", 0, &[("a", &1_i64.to_be_bytes())]);
    assert!(app.wait_for(State::Error, PATIENCE));
    assert!(app.error().unwrap().contains("`own`, partition 0, refused: no room"), "{:?}", app.error());
    assert!(app.close(PATIENCE));
    *own.full.lock().unwrap() = false;
    // The log had committed: what the store missed comes from the changelog.
    let app = start(&log, store());
    let counts = app.store::<String, i64>("own").unwrap();
    until("nothing is lost", || counts.get(&"a".to_owned()).unwrap() == Some(3));
}
