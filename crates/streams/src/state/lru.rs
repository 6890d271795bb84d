//! A store in memory that keeps the entries used last, so many a partition, as Kafka Streams' LRU map. What it forgets is forgotten in
//! its changelog too, in the transaction of the write that pushed it out.
//!
//! Used is what a task or a query gets by key, or writes; a scan is no use. Within one commit the order of uses is that of the writes.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::committed::{Committed, StoreMark, Visit, Writes};
use crate::error::StateError;

struct Content {
    entries: BTreeMap<Vec<u8>, (Vec<u8>, u64)>,
    /// Keys by the moment of their last use.
    uses: BTreeMap<u64, Vec<u8>>,
    now: u64,
    mark: Option<StoreMark>,
}

pub(crate) struct LruStore {
    capacity: usize,
    content: Mutex<Content>,
}

impl LruStore {
    pub(crate) fn new(capacity: usize) -> Self {
        let content = Content { entries: BTreeMap::new(), uses: BTreeMap::new(), now: 0, mark: None };
        Self { capacity, content: Mutex::new(content) }
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn touch(&mut self, key: &[u8]) {
        self.now += 1;
        let now = self.now;
        if let Some((_, used)) = self.entries.get_mut(key)
            && let Some(key) = self.uses.remove(&std::mem::replace(used, now))
        {
            self.uses.insert(now, key);
        }
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.remove(key);
        self.now += 1;
        self.entries.insert(key.to_vec(), (value.to_vec(), self.now));
        self.uses.insert(self.now, key.to_vec());
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some((_, used)) = self.entries.remove(key) {
            self.uses.remove(&used);
        }
    }
}

impl Committed for LruStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        let mut content = self.lock();
        content.touch(key);
        Ok(content.entries.get(key).map(|(value, _)| value.clone()))
    }

    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        reverse: bool,
        visit: Visit<'_>,
    ) -> Result<(), StateError> {
        if super::memory::is_empty_range(from, to) {
            return Ok(());
        }
        let content = self.lock();
        let mut range = content.entries.range::<[u8], _>((from, to));
        while let Some((key, (value, _))) = if reverse { range.next_back() } else { range.next() } {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn approximate_len(&self) -> u64 {
        self.lock().entries.len() as u64
    }

    fn mark(&self) -> Result<Option<StoreMark>, StateError> {
        Ok(self.lock().mark)
    }

    fn write(&self, batch: &Writes) -> Result<(), StateError> {
        let mut content = self.lock();
        for (key, value) in batch.iter() {
            match value {
                Some(value) => content.put(key, value),
                None => content.remove(key),
            }
        }
        // After a restore only: a commit brings its removals with it.
        while content.entries.len() > self.capacity {
            let Some((_, key)) = content.uses.pop_first() else { break };
            content.entries.remove(&key);
        }
        if batch.mark.is_some() {
            content.mark = batch.mark;
        }
        Ok(())
    }

    fn wipe(&self) -> Result<(), StateError> {
        *self.lock() = Content { entries: BTreeMap::new(), uses: BTreeMap::new(), now: 0, mark: None };
        Ok(())
    }

    fn overflow(&self, staged: &Writes) -> Result<Vec<Vec<u8>>, StateError> {
        let content = self.lock();
        // What is staged is newer than all that is held; the last write of a key counts.
        let mut written: Vec<(&[u8], bool)> = Vec::new();
        let mut seen: HashSet<&[u8]> = HashSet::new();
        let all: Vec<(&[u8], Option<&[u8]>)> = staged.iter().collect();
        for (key, value) in all.iter().rev() {
            if seen.insert(key) {
                written.push((key, value.is_some()));
            }
        }
        written.reverse();
        let kept = content.entries.keys().filter(|key| !seen.contains(key.as_slice())).count();
        let put = written.iter().filter(|(_, present)| *present);
        let over = (kept + put.clone().count()).saturating_sub(self.capacity);
        let old = content.uses.values().filter(|key| !seen.contains(key.as_slice())).cloned();
        Ok(old.chain(put.map(|(key, _)| key.to_vec())).take(over).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writes(entries: &[(&str, Option<&str>)]) -> Writes {
        let mut writes = Writes::default();
        for (key, value) in entries {
            writes.push(key.as_bytes(), value.map(str::as_bytes));
        }
        writes
    }

    #[test]
    fn what_was_used_last_stays() {
        let store = LruStore::new(3);
        let check = |staged: &[(&str, Option<&str>)], expect: &[&str]| {
            let mut staged = writes(staged);
            let over = store.overflow(&staged).unwrap();
            let names: Vec<String> = over.iter().map(|key| String::from_utf8(key.clone()).unwrap()).collect();
            assert_eq!(names, expect);
            for key in &over {
                staged.push(key, None);
            }
            store.write(&staged).unwrap();
            assert!(store.approximate_len() <= 3);
        };
        check(&[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))], &[]);
        store.get(b"a").unwrap();
        check(&[("d", Some("1"))], &["b"]);
        check(&[("c", Some("2")), ("e", Some("1"))], &["a"]);
        check(&[("d", None), ("f", Some("1"))], &[]);
        check(
            &[("v", Some("1")), ("w", Some("1")), ("x", Some("1")), ("y", Some("1"))],
            &["c", "e", "f", "v"],
        );
        check(&[("w", None), ("w", Some("2")), ("x", Some("2")), ("x", None)], &[]);
        assert_eq!(store.approximate_len(), 2);
    }
}
