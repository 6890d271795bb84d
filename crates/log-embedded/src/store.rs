//! Storage of a broker on fjall.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode, Readable, Slice};
use vigie_log::broker::{Contents, Entry, Slot, Span, Storage, TopicId, Write};
use vigie_log::{LogError, Offset, Result};

use crate::failure::{from_fjall, from_io, reason};
use crate::folder::{FolderLock, claim};
use crate::journal::{State, mend};
use crate::keys::{self, Meta};
use crate::tail::Tail;
use crate::{Durability, EmbeddedConfig};

/// Below this nothing works well.
const LEAST_MEMORY: usize = 12 << 20;
/// Write buffers that wait to be flushed, before commits wait too. fjall itself waits at 4, but without an end if its
/// workers have failed; so this store must wait first.
const MOST_SEALED: usize = 2;
/// The same for files that wait to be compacted: fjall waits at 30.
const MOST_TABLES: usize = 24;
const PURGE_AT_ONCE: usize = 1000;

/// The store of one folder. Clones are the same store.
#[derive(Clone)]
pub(crate) struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    sync: PersistMode,
    tail: Tail,
    next_topic: AtomicU32,
    /// The first failure of a write: nothing is served after it.
    failed: OnceLock<String>,
    /// `None` once closed.
    open: RwLock<Option<Open>>,
    /// Given free last of all.
    lock: Mutex<Option<FolderLock>>,
}

struct Open {
    db: Database,
    records: Keyspace,
    meta: Keyspace,
}

impl Store {
    pub fn open(folder: &Path, config: &EmbeddedConfig) -> Result<Self> {
        let lock = claim(folder)?;
        let path = folder.join("store");
        discard_unfinished(&path).map_err(|error| from_io(folder, error))?;
        let all_synced = config.durability == Durability::Commit;
        if let State::Damaged(journal) = mend(&path, all_synced).map_err(|error| from_io(folder, error))? {
            let reason = String::from("its checksums do not fit, and it is not the end that is missing");
            return Err(LogError::Corrupt { place: journal.display().to_string(), reason });
        }
        // A sixth each: block cache, newest batches, one active and two sealed write buffers; the rest for `meta`.
        let share = config.cache_bytes.max(LEAST_MEMORY) / 6;
        let failed = |error| from_fjall(folder, error);
        let db = Database::builder(&path)
            .cache_size(share as u64)
            // IMPORTANT: of several workers fjall keeps one for flushes, which hands compactions back to the queue as fast as it can
            // for as long as the other one compacts: a whole processor, for nothing.
            .worker_threads(1)
            // fjall checks the journal by compressing its values again, which only the very same compressor survives.
            .journal_compression(fjall::CompressionType::None)
            .max_journaling_size(64 << 20)
            .open()
            .map_err(failed)?;
        let records = db
            .keyspace("records", || {
                // Batches stay in the files that they were flushed to; what is compacted is keys and places.
                let apart = KvSeparationOptions::default().compression(fjall::CompressionType::None);
                KeyspaceCreateOptions::default()
                    .max_memtable_size(share as u64)
                    .with_kv_separation(Some(apart))
            })
            .map_err(failed)?;
        let meta = db
            .keyspace("meta", || KeyspaceCreateOptions::default().max_memtable_size(share as u64 / 4))
            .map_err(failed)?;
        Ok(Self {
            inner: Arc::new(Inner {
                folder: folder.to_path_buf(),
                sync: match config.durability {
                    Durability::Commit => PersistMode::SyncData,
                    Durability::Interval(_) => PersistMode::Buffer,
                },
                tail: Tail::new(share),
                next_topic: AtomicU32::new(0),
                failed: OnceLock::new(),
                open: RwLock::new(Some(Open { db, records, meta })),
                lock: Mutex::new(Some(lock)),
            }),
        })
    }

    /// Puts on disk what has been written so far.
    pub fn sync(&self) -> Result<()> {
        self.with(|open| open.db.persist(PersistMode::SyncData).map_err(|error| self.inner.poison(error)))
    }

    pub fn disk_bytes(&self) -> Result<u64> {
        self.with(|open| open.db.disk_space().map_err(|error| from_fjall(&self.inner.folder, error)))
    }

    /// Closes the store and gives the folder free.
    pub fn close(&self) -> Result<()> {
        let open = self.inner.open.write().unwrap_or_else(PoisonError::into_inner).take();
        let synced = match &open {
            Some(open) if self.inner.failed.get().is_none() => {
                open.db.persist(PersistMode::SyncAll).map_err(|error| self.inner.poison(error))
            }
            _ => Ok(()),
        };
        // IMPORTANT: the database first (it waits for its threads), then the lock.
        drop(open);
        *self.inner.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
        synced
    }

    fn open_or_closed(&self) -> RwLockReadGuard<'_, Option<Open>> {
        self.inner.open.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<R>(&self, work: impl FnOnce(&Open) -> Result<R>) -> Result<R> {
        self.check()?;
        work(self.open_or_closed().as_ref().ok_or(LogError::Closed)?)
    }

    fn corrupt(&self, key: &[u8], reason: String) -> LogError {
        LogError::Corrupt { place: format!("{} (entry {key:02x?})", self.inner.folder.display()), reason }
    }

    fn entry(&self, guard: fjall::Guard) -> Result<Entry> {
        let (key, value) = guard.into_inner().map_err(|error| from_fjall(&self.inner.folder, error))?;
        keys::read_entry(Bytes::from_owner(Owned(value))).map_err(|reason| self.corrupt(&key, reason))
    }
}

/// A value of the store as the owner of bytes, so that batches are read where they lie.
struct Owned(Slice);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A store whose making was interrupted holds nothing yet, but cannot be opened: fjall writes its version last.
fn discard_unfinished(path: &Path) -> std::io::Result<()> {
    if path.exists() && !path.join("version").exists() {
        std::fs::remove_dir_all(path)?;
    }
    Ok(())
}

impl Inner {
    /// Notes the failure of a write, and tells what it was.
    fn poison(&self, error: fjall::Error) -> LogError {
        let error = match error {
            // A worker failed earlier and took its reason along: try what it tried.
            fjall::Error::Poisoned => self.probe().map_or_else(
                |error| from_io(&self.folder, error),
                |()| from_fjall(&self.folder, fjall::Error::Poisoned),
            ),
            error => from_fjall(&self.folder, error),
        };
        let _ = self.failed.set(reason(&error));
        error
    }

    fn probe(&self) -> std::io::Result<()> {
        let path = self.folder.join("PROBE");
        let outcome =
            std::fs::write(&path, [1; 64 << 10]).and_then(|()| std::fs::File::open(&path)?.sync_all());
        // What could not be written need not be there.
        let _ = std::fs::remove_file(&path);
        outcome
    }

    /// Waits until the background has caught up, but no longer than it works.
    fn throttle(&self, open: &Open) -> Result<()> {
        let behind = |keyspace: &Keyspace| {
            keyspace.sealed_memtable_count() > MOST_SEALED || keyspace.l0_table_count() > MOST_TABLES
        };
        while behind(&open.records) || behind(&open.meta) {
            open.db.persist(PersistMode::Buffer).map_err(|error| self.poison(error))?;
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Storage for Store {
    fn address(&self) -> String {
        self.inner.folder.display().to_string()
    }

    fn load(&self) -> Result<Contents> {
        self.with(|open| {
            let mut contents = Contents::default();
            for guard in open.db.snapshot().iter(&open.meta) {
                let (key, value) =
                    guard.into_inner().map_err(|error| from_fjall(&self.inner.folder, error))?;
                match keys::read_meta(&key, &value).map_err(|reason| self.corrupt(&key, reason))? {
                    Meta::Topic(topic) => contents.topics.push(topic),
                    Meta::Bounds(slot, bounds) => {
                        contents.bounds.insert(slot, bounds);
                    }
                    Meta::Offset(group, partition, offset) => {
                        contents.offsets.push((group, partition, offset))
                    }
                    Meta::Epoch(id, epoch) => {
                        contents.epochs.insert(id, epoch);
                    }
                    Meta::NextTopic(id) => contents.next_topic = id,
                    Meta::Purge(id) => contents.purge.push(id),
                }
            }
            self.inner.next_topic.store(contents.next_topic, Ordering::Relaxed);
            Ok(contents)
        })
    }

    fn write(&self, writes: Vec<Write>) -> Result<()> {
        self.with(|open| {
            self.inner.throttle(open)?;
            let mut batch = open.db.batch().durability(Some(self.inner.sync));
            let mut appended = Vec::new();
            for write in writes {
                match write {
                    Write::PutTopic(topic) => {
                        let next = self.inner.next_topic.fetch_max(topic.id + 1, Ordering::Relaxed);
                        batch.insert(&open.meta, keys::topic_key(topic.id), keys::topic_value(&topic));
                        let next = next.max(topic.id + 1);
                        batch.insert(&open.meta, keys::NEXT_TOPIC_KEY, keys::u32_value(next));
                    }
                    Write::DeleteTopic { id, .. } => {
                        batch.remove(&open.meta, keys::topic_key(id));
                        batch.insert(&open.meta, keys::purge_key(id), keys::u32_value(0));
                        self.inner.tail.forget_topic(id);
                    }
                    Write::Append { slot, entry } => {
                        let key = keys::record_key(slot, entry.batch.base_offset());
                        // The newest batches are kept in the bytes that the write buffer has of them.
                        let value = Slice::from(keys::entry_value(&entry));
                        batch.insert(&open.records, key, value.clone());
                        let encoded = Bytes::from_owner(Owned(value)).slice(keys::NOTE_BYTES..);
                        appended.push((slot, Entry { batch: entry.batch.in_place(&encoded), ..entry }));
                    }
                    Write::Replace { slot, entry } => {
                        let base = entry.batch.base_offset();
                        batch.insert(&open.records, keys::record_key(slot, base), keys::entry_value(&entry));
                        self.inner.tail.forget_to(slot, base);
                    }
                    Write::RemoveBatch { slot, base } => {
                        batch.remove(&open.records, keys::record_key(slot, base));
                        self.inner.tail.forget_to(slot, base);
                    }
                    Write::PutBounds { slot, bounds } => {
                        batch.insert(&open.meta, keys::bounds_key(slot), keys::bounds_value(&bounds));
                    }
                    Write::PutOffset { group, partition, offset } => {
                        let key = keys::offset_key(&group, &partition);
                        match offset {
                            Some(offset) => batch.insert(&open.meta, key, keys::i64_value(offset)),
                            None => batch.remove(&open.meta, key),
                        }
                    }
                    Write::PutEpoch { id, epoch } => {
                        batch.insert(&open.meta, keys::epoch_key(&id), keys::u32_value(epoch));
                    }
                }
            }
            batch.commit().map_err(|error| self.inner.poison(error))?;
            for (slot, entry) in appended {
                self.inner.tail.add(slot, entry);
            }
            Ok(())
        })
    }

    fn read(&self, slot: Slot, span: Span, max_bytes: usize) -> Result<Vec<Entry>> {
        if let Some(found) = self.inner.tail.read(slot, span, max_bytes) {
            return Ok(found);
        }
        self.with(|open| {
            let snapshot = open.db.snapshot();
            let mut found = Vec::new();
            let mut bytes = 0;
            let from = keys::record_key(slot, span.from);
            if span.overlapping {
                let before = keys::record_key(slot, 0)..from;
                if let Some(guard) = snapshot.range(&open.records, before).next_back() {
                    let entry = self.entry(guard)?;
                    if entry.batch.last_offset() >= span.from {
                        bytes += entry.batch.bytes();
                        found.push(entry);
                    }
                }
            }
            let until = keys::record_key(slot, span.until.max(span.from));
            for guard in snapshot.range(&open.records, from..until) {
                if !found.is_empty() && bytes >= max_bytes {
                    break;
                }
                let entry = self.entry(guard)?;
                bytes += entry.batch.bytes();
                found.push(entry);
            }
            Ok(found)
        })
    }

    fn floor(&self, slot: Slot, offset: Offset) -> Result<Option<Entry>> {
        self.with(|open| {
            let range = keys::record_key(slot, 0)..=keys::record_key(slot, offset);
            open.db
                .snapshot()
                .range(&open.records, range)
                .next_back()
                .map(|guard| self.entry(guard))
                .transpose()
        })
    }

    fn purge(&self, topic: TopicId) -> Result<()> {
        self.with(|open| {
            let failed = |error| self.inner.poison(error);
            let read = |error| from_fjall(&self.inner.folder, error);
            let mut first = keys::record_key(Slot { topic, partition: 0 }, 0).to_vec();
            let last = keys::record_key(Slot { topic, partition: u32::MAX }, Offset::MAX);
            loop {
                self.inner.throttle(open)?;
                let mut batch = open.db.batch().durability(Some(self.inner.sync));
                let range = first.clone()..=last.to_vec();
                for guard in open.db.snapshot().range(&open.records, range).take(PURGE_AT_ONCE) {
                    let key = guard.key().map_err(read)?;
                    // On from here next time, without going over what has just been removed.
                    first = key.to_vec();
                    batch.remove(&open.records, key);
                }
                let more = batch.len() == PURGE_AT_ONCE;
                batch.commit().map_err(failed)?;
                if !more {
                    break;
                }
            }
            let mut batch = open.db.batch().durability(Some(self.inner.sync));
            for guard in open.db.snapshot().prefix(&open.meta, [&b"b"[..], &topic.to_be_bytes()].concat()) {
                batch.remove(&open.meta, guard.key().map_err(read)?);
            }
            batch.remove(&open.meta, keys::purge_key(topic));
            batch.commit().map_err(failed)
        })
    }

    fn check(&self) -> Result<()> {
        match self.inner.failed.get() {
            None => Ok(()),
            Some(reason) => Err(LogError::Poisoned {
                place: self.inner.folder.display().to_string(),
                reason: reason.clone(),
            }),
        }
    }
}
