//! One budget of memory for all state of a program.
//!
//! ```text
//! budget ─┬─ 1/8 block cache of the database on disk
//!         ├─ 1/8 typed caches, shared by the stores that are open
//!         └─ 6/8 entries as bytes (resident tables), shared by all of them
//! ```
//! A typed cache above its share is emptied with the next commit, which comes early when what is uncommitted alone is above it.
//! Resident tables above theirs are flushed to the disk and emptied, the largest of the committing task first.
//! Stores in memory cannot be emptied; they count, so that the others make room.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Below this nothing works well.
const LEAST: usize = if cfg!(test) { 1 << 10 } else { 8 << 20 };

/// Counts memory in use against the budget. Clones are the same budget.
#[derive(Debug, Clone)]
pub(crate) struct MemoryBudget(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    total: usize,
    caches: AtomicUsize,
    cache_count: AtomicUsize,
    tables: AtomicUsize,
    spills: AtomicUsize,
}

impl MemoryBudget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Counters {
            total: bytes.max(LEAST),
            caches: AtomicUsize::new(0),
            cache_count: AtomicUsize::new(0),
            tables: AtomicUsize::new(0),
            spills: AtomicUsize::new(0),
        }))
    }

    /// The whole of it.
    pub(crate) fn total(&self) -> usize {
        self.0.total
    }

    /// For the database's block cache.
    pub(crate) fn block_cache(&self) -> usize {
        self.0.total / 8
    }

    /// What one typed cache may take.
    pub(crate) fn cache_share(&self) -> usize {
        self.0.total / 8 / self.0.cache_count.load(Ordering::Relaxed).max(1)
    }

    /// Whether the resident tables together are above their part.
    pub(crate) fn tables_over(&self) -> bool {
        self.tables() > self.0.total / 8 * 6
    }

    /// Bytes of typed caches.
    pub(crate) fn caches(&self) -> usize {
        self.0.caches.load(Ordering::Relaxed)
    }

    /// Bytes of resident tables.
    pub(crate) fn tables(&self) -> usize {
        self.0.tables.load(Ordering::Relaxed)
    }

    /// How often tables were emptied to make room.
    pub(crate) fn spills(&self) -> u64 {
        self.0.spills.load(Ordering::Relaxed) as u64
    }

    pub(crate) fn spilled(&self) {
        self.0.spills.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the memory of one typed cache.
    pub(crate) fn cache(&self) -> Held {
        self.0.cache_count.fetch_add(1, Ordering::Relaxed);
        Held { budget: self.clone(), bytes: 0, cache: true }
    }

    /// Counts the memory of one resident table.
    pub(crate) fn table(&self) -> Held {
        Held { budget: self.clone(), bytes: 0, cache: false }
    }
}

/// Memory held by one cache or table; given back when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    budget: MemoryBudget,
    bytes: usize,
    cache: bool,
}

impl Held {
    fn counter(&self) -> &AtomicUsize {
        if self.cache { &self.budget.0.caches } else { &self.budget.0.tables }
    }

    /// Says how much it is now.
    pub(crate) fn set(&mut self, bytes: usize) {
        if bytes >= self.bytes {
            self.counter().fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            self.counter().fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
        if self.cache {
            self.budget.0.cache_count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_given_back() {
        let budget = MemoryBudget::new(80 << 20);
        let (mut a, mut b) = (budget.cache(), budget.cache());
        assert_eq!(budget.cache_share(), 5 << 20);
        a.set(100);
        b.set(50);
        a.set(70);
        assert_eq!(budget.caches(), 120);
        drop(a);
        assert_eq!((budget.caches(), budget.cache_share()), (50, 10 << 20));
        let mut table = budget.table();
        table.set(61 << 20);
        assert!(budget.tables_over());
        table.set(60 << 20);
        assert!(!budget.tables_over());
    }
}
