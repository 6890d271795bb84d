//! What the simulation compares: outputs, stores and standby copies with what the input demands.

use super::World;
use crate::state::Staleness;
use std::collections::{BTreeMap, BTreeSet};

impl World {
    /// Values of a topic by key, each in the order in which they were written.
    pub(super) fn read(&self, topic: &str) -> BTreeMap<String, Vec<Vec<u8>>> {
        let text = |key| String::from_utf8(key).unwrap();
        let values =
            |results: Vec<(Option<Vec<u8>>, i64)>| results.into_iter().map(|(v, _)| v.unwrap()).collect();
        self.results(topic).into_iter().map(|(key, results)| (text(key), values(results))).collect()
    }

    /// The counts in the stores of all tasks.
    fn stored_counts(&self) -> BTreeMap<String, i64> {
        let mut stored = BTreeMap::new();
        for process in self.processes.iter().flatten() {
            if let Ok(store) = process.shared.registry.key_value::<String, i64>("counts", Staleness::Active) {
                for entry in store.all() {
                    let (key, value) = entry.unwrap();
                    assert_eq!(stored.insert(key, value), None, "a partition is owned twice");
                }
            }
        }
        stored
    }

    pub(super) fn check(&self) {
        if self.exactly_once() {
            self.check_exactly_once();
        } else {
            self.check_at_least_once();
        }
        self.check_joins();
    }

    /// Nothing is lost; what came again may count again.
    fn check_at_least_once(&self) {
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        let mut joined: BTreeSet<(String, String)> = BTreeSet::new();
        for record in self.sent.iter().flatten() {
            let value = record >> 16;
            *counts.entry(format!("g{}", value % 7)).or_default() += 1;
            if value % 6 < 4 {
                joined.insert((format!("k{}", value % 6), format!("n{}:{value}", value % 6)));
            }
        }
        let found: BTreeSet<(String, String)> = self
            .read("joined")
            .into_iter()
            .flat_map(|(key, values)| {
                values.into_iter().map(move |value| (key.clone(), String::from_utf8(value).unwrap()))
            })
            .collect();
        assert_eq!(found, joined, "each record joined at least once, and no other");
        let stored = self.stored_counts();
        for (key, count) in counts {
            assert!(stored.get(&key).is_some_and(|found| *found >= count), "{key}: {count} of {stored:?}");
        }
    }

    fn check_exactly_once(&self) {
        let number = |bytes: &Vec<u8>| i64::from_be_bytes(bytes.as_slice().try_into().unwrap());
        let numbered: BTreeMap<String, Vec<i64>> =
            self.read("numbered").into_iter().map(|(k, v)| (k, v.iter().map(number).collect())).collect();
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        let mut windows: BTreeMap<(String, i64), i64> = BTreeMap::new();
        let mut joined: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (partition, sent) in self.sent.iter().enumerate() {
            if !sent.is_empty() {
                let expect: Vec<i64> = (0..sent.len() as i64).collect();
                assert_eq!(numbered[&format!("p{partition}")], expect, "each record once, in order");
            }
            for record in sent {
                let (value, at) = (record >> 16, record & 0xffff);
                *counts.entry(format!("g{}", value % 7)).or_default() += 1;
                *windows.entry((format!("w{}", value % 5), at / 100 * 100)).or_default() += 1;
                if value % 6 < 4 {
                    joined
                        .entry(format!("k{}", value % 6))
                        .or_default()
                        .push(format!("n{}:{value}", value % 6));
                }
            }
        }
        let counted: BTreeMap<String, Vec<i64>> =
            self.read("counted").into_iter().map(|(k, v)| (k, v.iter().map(number).collect())).collect();
        let expect: BTreeMap<String, Vec<i64>> =
            counts.iter().map(|(key, n)| (key.clone(), (1..=*n).collect())).collect();
        assert_eq!(counted, expect, "each count once, in order");
        let mut found: BTreeMap<String, Vec<String>> = self
            .read("joined")
            .into_iter()
            .map(|(k, v)| (k, v.into_iter().map(|bytes| String::from_utf8(bytes).unwrap()).collect()))
            .collect();
        found.values_mut().for_each(|all| all.sort());
        joined.values_mut().for_each(|all| all.sort());
        assert_eq!(found, joined, "each record joined once");
        self.check_windows();
        let stored = self.stored_counts();
        let mut stored_windows = BTreeMap::new();
        for process in self.processes.iter().flatten() {
            if let Ok(store) = process.shared.registry.window::<String, i64>("windows", Staleness::Active) {
                for (window, value) in store.all().unwrap() {
                    stored_windows.insert((window.key, window.start), value);
                }
            }
        }
        assert_eq!(stored, counts, "the store of counts");
        assert_eq!(stored_windows, windows, "the store of windows");
        if self.replicas() > 0 {
            // Two processes: each has every partition, as task or as copy.
            for process in self.processes.iter().flatten() {
                let store = process.shared.registry.key_value::<String, i64>("counts", Staleness::Records(0));
                let all: BTreeMap<String, i64> = store.unwrap().all().map(Result::unwrap).collect();
                assert_eq!(all, counts, "tasks and copies of the counts");
                let store = process.shared.registry.window::<String, i64>("windows", Staleness::Records(0));
                let all = store.unwrap().all().unwrap().into_iter();
                let all: BTreeMap<(String, i64), i64> =
                    all.map(|(window, value)| ((window.key, window.start), value)).collect();
                assert_eq!(all, windows, "tasks and copies of the windows");
            }
        }
    }
}
