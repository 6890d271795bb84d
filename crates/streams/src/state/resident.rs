//! A store whose newest entries are in memory, and which the disk follows at a distance.
//!
//! ```text
//! commit ──▶ Table (memory) ──flush: sorted, in bulk──▶ Disk
//!                ▲  what is newer than the disk is in the changelog too
//! get, scan ─────┴──▶ else: Disk
//! ```
//! A commit costs no disk at all: the log has the changes, and the store's mark on disk says from which offset of the changelog on
//! they must be applied again after a crash. A flush writes everything that is newer, sorted, in one piece; it comes
//! - when the changelog has gone on by [`FLUSH_AFTER_RECORDS`] or after [`FLUSH_AFTER_COMMITS`] commits: that bounds what a crash costs;
//! - when the memory is needed: the table is then emptied too;
//! - when the program ends.
//!
//! Invariants:
//! - only committed state ever comes here, so that a flush needs nobody's leave;
//! - the mark on disk is never ahead of the values on disk. Values may be ahead of the mark: applying the changelog from the mark on ends
//!   at the same values, as its records are whole values;
//! - before the first value ahead of the mark reaches the disk, the mark says how far it may be ahead (`reach`), so that a log which
//!   lost its end (power, without fsync) is noticed.

use std::collections::HashMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use vigie_log::{Offset, PartitionId};

use super::budget::{Held, MemoryBudget};
use super::committed::{Committed, Disk, StoreMark, Visit, Writes};
use super::table::{Found, Table};
use crate::error::StateError;

/// Changelog records by which the disk may be behind: a second's work to apply again.
const FLUSH_AFTER_RECORDS: Offset = if cfg!(test) { 20 } else { 1 << 20 };
/// Commits by which the disk may be behind: a minute and a half of them.
const FLUSH_AFTER_COMMITS: u32 = if cfg!(test) { 5 } else { 1000 };

struct Content {
    table: Table,
    mark: Option<StoreMark>,
    /// What the disk's mark says.
    on_disk: Option<StoreMark>,
    /// Whether the table has all there is, so that nobody needs to ask the disk.
    complete: bool,
    /// Whether the disk has nothing, not even removed entries.
    disk_empty: bool,
    commits: u32,
    /// Counts writes.
    version: u64,
    held: Held,
}

/// See the module.
pub(crate) struct Resident {
    content: RwLock<Content>,
    disk: Arc<dyn Disk>,
    /// One flush at a time.
    flushing: Mutex<()>,
}

impl Resident {
    pub(crate) fn over(disk: Arc<dyn Disk>, budget: &MemoryBudget) -> Result<Self, StateError> {
        let mark = disk.mark()?;
        let mut empty = true;
        disk.scan(Bound::Unbounded, Bound::Unbounded, false, &mut |_, _| {
            empty = false;
            ControlFlow::Break(())
        })?;
        let content = Content {
            table: Table::default(),
            mark,
            on_disk: mark,
            complete: empty,
            disk_empty: empty,
            commits: 0,
            version: 0,
            held: budget.table(),
        };
        Ok(Self { content: RwLock::new(content), disk, flushing: Mutex::default() })
    }

    fn read(&self) -> RwLockReadGuard<'_, Content> {
        self.content.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> RwLockWriteGuard<'_, Content> {
        self.content.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn flushing(&self) -> MutexGuard<'_, ()> {
        self.flushing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.read().table.bytes()
    }

    /// Whether the disk is so far behind that it is time.
    fn is_due(&self) -> bool {
        let content = self.read();
        let behind = match (content.mark, content.on_disk) {
            (Some(mark), Some(on_disk)) => mark.position - on_disk.position.max(0),
            (Some(mark), None) => mark.position,
            (None, _) => 0,
        };
        behind >= FLUSH_AFTER_RECORDS || behind > 0 && content.commits >= FLUSH_AFTER_COMMITS
    }

    /// Puts on disk what is newer, and the mark. Readers go on meanwhile.
    pub(crate) fn flush(&self) -> Result<(), StateError> {
        let _one = self.flushing();
        self.flush_alone()
    }

    fn flush_alone(&self) -> Result<(), StateError> {
        let (mark, version) = {
            let content = self.read();
            let Some(mark) = content.mark else { return Ok(()) };
            if content.on_disk == Some(mark) && !content.table.is_dirty() {
                return Ok(());
            }
            if content.table.is_dirty() {
                let before = content.on_disk.map_or(
                    StoreMark { position: -1, observed_time: -1, latest_window: -1, reach: mark.position },
                    |on_disk| StoreMark { reach: mark.position, ..on_disk },
                );
                self.disk.put_mark(before)?;
                self.disk.ingest(&mut |take| content.table.for_each_dirty(&mut *take))?;
            }
            (mark, content.version)
        };
        self.disk.put_mark(mark)?;
        let mut content = self.lock();
        content.on_disk = Some(mark);
        content.disk_empty = false;
        content.commits = 0;
        // A write in between (only while the program ends) leaves entries dirty that need not be.
        if content.version == version {
            content.table.clean();
            let bytes = content.table.bytes();
            content.held.set(bytes);
        }
        Ok(())
    }

    /// Puts on disk what is newer and gives the memory back.
    pub(crate) fn spill(&self) -> Result<(), StateError> {
        let _one = self.flushing();
        self.flush_alone()?;
        let mut content = self.lock();
        if !content.table.is_dirty() {
            content.complete = content.disk_empty;
            content.table = Table::default();
            content.held.set(0);
        }
        Ok(())
    }
}

impl Committed for Resident {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        let content = self.read();
        match content.table.get(key) {
            Found::Value(value) => Ok(Some(value.to_vec())),
            Found::Removed => Ok(None),
            Found::Unknown if content.complete => Ok(None),
            Found::Unknown => {
                drop(content);
                self.disk.get(key)
            }
        }
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
        let mut content = self.read();
        // Again when it was emptied and filled meanwhile.
        while !content.table.is_ordered() {
            drop(content);
            self.lock().table.order();
            content = self.read();
        }
        let mut forwards = content.table.range(from, to).peekable();
        let mut backwards = content.table.range(from, to).rev().peekable();
        // The next entry in memory that comes before (or at) `key` in the order of this scan.
        let mut before = |key: Option<&[u8]>| {
            let (held, _) = *if reverse { backwards.peek() } else { forwards.peek() }?;
            let comes = key.is_none_or(|key| if reverse { held >= key } else { held <= key });
            if !comes {
                return None;
            }
            if reverse { backwards.next() } else { forwards.next() }
        };
        let mut stopped = false;
        if !content.complete {
            self.disk.scan(from, to, reverse, &mut |key, value| {
                let mut replaced = false;
                while let Some((held, newer)) = before(Some(key)) {
                    replaced |= held == key;
                    if let Some(newer) = newer
                        && visit(held, newer) == ControlFlow::Break(())
                    {
                        stopped = true;
                        return ControlFlow::Break(());
                    }
                }
                if !replaced && visit(key, value) == ControlFlow::Break(()) {
                    stopped = true;
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })?;
        }
        while !stopped && let Some((held, newer)) = before(None) {
            stopped = newer.is_some_and(|newer| visit(held, newer) == ControlFlow::Break(()));
        }
        Ok(())
    }

    fn approximate_len(&self) -> u64 {
        let content = self.read();
        let held = content.table.len() as u64;
        if content.complete { held } else { self.disk.approximate_len().max(held) }
    }

    fn mark(&self) -> Result<Option<StoreMark>, StateError> {
        Ok(self.read().mark)
    }

    fn write(&self, batch: &Writes) -> Result<(), StateError> {
        let mut content = self.lock();
        for (key, value) in batch.iter() {
            content.table.put(key, value);
        }
        if batch.mark.is_some() {
            content.mark = batch.mark;
        }
        content.commits = content.commits.saturating_add(1);
        content.version += 1;
        let bytes = content.table.bytes();
        content.held.set(bytes);
        Ok(())
    }

    fn wipe(&self) -> Result<(), StateError> {
        let _one = self.flushing();
        let mut content = self.lock();
        if !content.disk_empty || content.on_disk.is_some() {
            self.disk.wipe()?;
        }
        content.table = Table::default();
        content.held.set(0);
        (content.mark, content.on_disk) = (None, None);
        // What was removed from the disk may still lie there as removals; they hide nothing.
        content.complete = true;
        content.version += 1;
        Ok(())
    }
}

/// All resident stores of a program.
pub(crate) struct Residents {
    budget: MemoryBudget,
    open: Mutex<HashMap<(String, PartitionId), Arc<Resident>>>,
}

impl Residents {
    pub(crate) fn new(budget: MemoryBudget) -> Self {
        Self { budget, open: Mutex::default() }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<(String, PartitionId), Arc<Resident>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store, with what it has in memory if it was open before: a task that is made anew goes on where it was.
    pub(crate) fn open(
        &self,
        store: &str,
        partition: PartitionId,
        disk: impl FnOnce() -> Result<Arc<dyn Disk>, StateError>,
    ) -> Result<Arc<dyn Committed>, StateError> {
        let key = (store.to_owned(), partition);
        let mut all = self.all();
        if let Some(open) = all.get(&key) {
            return Ok(Arc::clone(open) as Arc<dyn Committed>);
        }
        let resident = Arc::new(Resident::over(disk()?, &self.budget)?);
        all.insert(key, Arc::clone(&resident));
        Ok(resident)
    }

    /// After writes to these stores: makes room if there is too little, and with `flush_due` flushes what is due.
    pub(crate) fn tend(&self, stores: &[Arc<dyn Committed>], flush_due: bool) -> Result<(), StateError> {
        if !flush_due && !self.budget.tables_over() {
            return Ok(());
        }
        let mut touched: Vec<Arc<Resident>> = {
            let all = self.all();
            let same = |resident: &&Arc<Resident>| {
                stores.iter().any(|store| std::ptr::addr_eq(Arc::as_ptr(store), Arc::as_ptr(resident)))
            };
            all.values().filter(same).map(Arc::clone).collect()
        };
        if flush_due {
            for resident in touched.iter().filter(|resident| resident.is_due()) {
                resident.flush()?;
            }
        }
        if self.budget.tables_over() {
            self.let_unused_go()?;
            touched.sort_by_key(|resident| resident.bytes());
        }
        while self.budget.tables_over()
            && let Some(largest) = touched.pop()
        {
            largest.spill()?;
            self.budget.spilled();
        }
        Ok(())
    }

    /// Closes stores that no task holds any more.
    fn let_unused_go(&self) -> Result<(), StateError> {
        // IMPORTANT: nobody may open a store before its last flush has ended: an older value must not come behind a newer one.
        let mut all = self.all();
        let unused = |resident: &Arc<Resident>| Arc::strong_count(resident) == 1;
        for resident in all.values().filter(|resident| unused(resident)) {
            resident.flush()?;
        }
        all.retain(|_, resident| !unused(resident));
        Ok(())
    }

    /// Puts everything on disk.
    pub(crate) fn flush(&self) -> Result<(), StateError> {
        let all: Vec<Arc<Resident>> = self.all().values().map(Arc::clone).collect();
        all.iter().try_for_each(|resident| resident.flush())
    }
}
