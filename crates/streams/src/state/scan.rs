//! Lazy scans: a few hundred entries at a time, so that no lock and no snapshot is held between two steps of the caller.

use std::collections::VecDeque;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use vigie_log::Timestamp;

use super::committed::Committed;
use super::format::KeyFormat;
use super::typed::{Overlay, TypedStore, decode_value};
use crate::error::StateError;
use crate::serde::SerdeRef;

const CHUNK: usize = 256;

/// Entries in order of their bytes (or the reverse), uncommitted ones over committed ones.
pub(crate) struct Scan<'s, Q, V> {
    name: &'s str,
    keys: &'s dyn KeyFormat<Q>,
    values: &'s SerdeRef<V>,
    overlay: Option<&'s Overlay>,
    committed: Arc<dyn Committed>,
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
    reverse: bool,
    ready: VecDeque<(Vec<u8>, Vec<u8>)>,
    done: bool,
}

fn borrow(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}

impl<'s, Q, V> Scan<'s, Q, V> {
    pub(crate) fn over_store(
        store: &'s TypedStore<Q, V>,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        reverse: bool,
    ) -> Self {
        let mut scan = Self::over_committed(
            &store.name,
            &*store.keys,
            &store.values,
            Arc::clone(&store.committed),
            from,
            to,
            reverse,
        );
        scan.overlay = Some(&store.overlay).filter(|overlay| !overlay.is_empty());
        scan
    }

    pub(crate) fn over_committed(
        name: &'s str,
        keys: &'s dyn KeyFormat<Q>,
        values: &'s SerdeRef<V>,
        committed: Arc<dyn Committed>,
        from: Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        reverse: bool,
    ) -> Self {
        let ready = VecDeque::new();
        Self { name, keys, values, overlay: None, committed, from, to, reverse, ready, done: false }
    }

    fn fill(&mut self) -> Result<(), StateError> {
        let (from, to) = (borrow(&self.from), borrow(&self.to));
        if super::memory::is_empty_range(from, to) {
            self.done = true;
            return Ok(());
        }
        let empty = Overlay::new();
        let mut uncommitted = self.overlay.unwrap_or(&empty).range::<[u8], _>((from, to)).peekable();
        let mut backwards = self.overlay.unwrap_or(&empty).range::<[u8], _>((from, to)).rev().peekable();
        let reverse = self.reverse;
        let mut peek_before = |key: Option<&[u8]>| -> Option<(Vec<u8>, Option<Vec<u8>>)> {
            // The next uncommitted entry that comes before (or at) `key` in the order of this scan.
            let next = if reverse { backwards.peek() } else { uncommitted.peek() };
            let (held, _) = next?;
            let before =
                key.is_none_or(|key| if reverse { held.as_slice() >= key } else { held.as_slice() <= key });
            if !before {
                return None;
            }
            let taken = if reverse { backwards.next() } else { uncommitted.next() };
            taken.map(|(key, (_, value))| (key.clone(), value.clone()))
        };
        let ready = &mut self.ready;
        // How far this chunk has come: deleted entries count, or a run of them would end the scan.
        let mut last: Option<Vec<u8>> = None;
        let mut seen = 0;
        let mut full = false;
        self.committed.scan(from, to, reverse, &mut |key, value| {
            let mut replaced = false;
            while let Some((held, new)) = peek_before(Some(key)) {
                replaced |= held == key;
                if let Some(new) = new {
                    ready.push_back((held, new));
                }
                seen += 1;
            }
            if !replaced {
                ready.push_back((key.to_vec(), value.to_vec()));
            }
            seen += 1;
            if seen >= CHUNK {
                last = Some(key.to_vec());
                full = true;
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        if full {
            if let Some(last) = last {
                *(if reverse { &mut self.to } else { &mut self.from }) = Bound::Excluded(last);
            }
        } else {
            while let Some((held, new)) = peek_before(None) {
                if let Some(new) = new {
                    ready.push_back((held, new));
                }
            }
            self.done = true;
        }
        Ok(())
    }

    /// The next entry with its timestamp.
    pub(crate) fn next_entry(&mut self) -> Option<Result<(Q, V, Timestamp), StateError>> {
        while self.ready.is_empty() && !self.done {
            if let Err(error) = self.fill() {
                self.done = true;
                return Some(Err(error));
            }
        }
        let (key, value) = self.ready.pop_front()?;
        let decoded = self.keys.read_local(&key).and_then(|key| {
            let (value, at) = decode_value(&**self.values, &value)?;
            Ok((key, value, at))
        });
        Some(decoded.map_err(|source| StateError::Decode { store: self.name.to_owned(), source }))
    }
}

impl<Q, V> Iterator for Scan<'_, Q, V> {
    type Item = Result<(Q, V, Timestamp), StateError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_entry()
    }
}
