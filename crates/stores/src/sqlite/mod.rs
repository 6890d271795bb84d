//! Documents and tables in one SQLite file.
//!
//! # Layout (format 1, `PRAGMA user_version`)
//! ```text
//! collections(name, spec)                  one row a collection: its specification as JSON
//! tables(name, spec)                       one row a table
//! offsets(grp, topic, part, next)          where each group stands
//! "d:<collection>"(id, version, doc, search, "k:<path>"...)   one column an index, filled by this program
//! "t:<table>"(<columns>..., "-version")    primary key as declared, without rowid
//! ```
//! One connection writes (behind a lock), a few read. The file is in WAL mode, so readers never wait for the writer.
//!
//! `synchronous = NORMAL`: after a power failure the last transactions may be missing, but each is missing whole. As the consumed offsets
//! are in the same transactions, a sink then reads those records again from the log, where they are durable: nothing is lost.
//! Killing the process loses nothing at all.

mod documents;
mod failure;
mod tables;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};
use vigie_log::{Offset, TopicPartition};

use crate::{CollectionSpec, OffsetStep, Result, Store, StoreError, TableSchema, Write};

/// The newest layout that this program reads.
const FORMAT: i64 = 1;
/// "VIGI": tells this program's files from any other SQLite file.
const APPLICATION_ID: i64 = 0x5649_4749;
/// Connections for readers.
const READERS: usize = 3;

/// Documents and tables in one SQLite file. Cheap to share behind an `Arc`.
pub struct SqliteStore {
    path: PathBuf,
    /// IMPORTANT: before the writer, so that they are closed first: the last connection to close brings the WAL into the file, which
    /// a reader may not.
    readers: Mutex<Vec<Connection>>,
    writer: Mutex<Connection>,
    returned: Condvar,
    known: RwLock<Known>,
    /// Held as long as the store is open, so that a second process is told.
    _lock: File,
}

/// What has been declared.
#[derive(Default)]
struct Known {
    collections: BTreeMap<String, Arc<CollectionSpec>>,
    tables: BTreeMap<String, Arc<TableSchema>>,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens the file, or creates it and its folder.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| StoreError::io(folder, error))?;
        }
        let lock = lock(&path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_EXRESCODE;
        let failed = |error| failure::class(&path, error);
        let writer = Connection::open_with_flags(&path, flags).map_err(failed)?;
        prepare(&path, &writer)?;
        let known = load(&path, &writer)?;
        let mut readers = Vec::with_capacity(READERS);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_EXRESCODE;
        for _ in 0..READERS {
            let reader = Connection::open_with_flags(&path, flags).map_err(failed)?;
            tune(&reader).map_err(failed)?;
            readers.push(reader);
        }
        Ok(Self {
            path,
            writer: Mutex::new(writer),
            readers: Mutex::new(readers),
            returned: Condvar::new(),
            known: RwLock::new(known),
            _lock: lock,
        })
    }

    fn failed(&self, error: rusqlite::Error) -> StoreError {
        failure::class(&self.path, error)
    }

    /// Runs `work` in a transaction of the one writer; rolled back on error.
    fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        let mut writer = self.lock_writer();
        let transaction = writer
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| self.failed(error))?;
        let result = work(&transaction)?;
        transaction.commit().map_err(|error| self.failed(error))?;
        Ok(result)
    }

    fn lock_writer(&self) -> MutexGuard<'_, Connection> {
        // A panic in a transaction rolls it back, so the connection behind a poisoned lock is sound.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on a reader, in one snapshot.
    fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let reader = {
            let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                if let Some(reader) = readers.pop() {
                    break reader;
                }
                readers = self.returned.wait(readers).unwrap_or_else(PoisonError::into_inner);
            }
        };
        // Given back however `work` ends, so that a panic cannot drain the pool.
        let lent = Lent { store: self, reader: Some(reader) };
        let Some(reader) = lent.reader.as_ref() else {
            return Err(StoreError::other("reading", "the reader is gone"));
        };
        let snapshot = reader.unchecked_transaction().map_err(|error| self.failed(error))?;
        let result = work(&snapshot);
        drop(snapshot);
        result
    }

    fn collection(&self, name: &str) -> Option<Arc<CollectionSpec>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).collections.get(name).map(Arc::clone)
    }

    fn table(&self, name: &str) -> Result<Arc<TableSchema>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known
            .tables
            .get(name)
            .map(Arc::clone)
            .ok_or_else(|| StoreError::UnknownTable { table: name.to_owned() })
    }

    /// For tests of a full disk: the file may not grow beyond this many pages.
    #[doc(hidden)]
    pub fn limit_pages(&self, pages: u32) -> Result<()> {
        let writer = self.lock_writer();
        writer
            .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
            .map_err(|error| self.failed(error))
    }
}

struct Lent<'a> {
    store: &'a SqliteStore,
    reader: Option<Connection>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            self.store.readers.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
            self.store.returned.notify_one();
        }
    }
}

fn lock(path: &Path) -> Result<File> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let place = PathBuf::from(name);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&place)
        .map_err(|error| StoreError::io(&place, error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The holder's number is a help for the reader of the message, nothing depends on it.
            let _ = file.read_to_string(&mut holder);
            let holder = if holder.is_empty() { String::from("unknown") } else { holder };
            return Err(StoreError::Locked { place: path.display().to_string(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(StoreError::io(&place, error)),
    }
    file.set_len(0).map_err(|error| StoreError::io(&place, error))?;
    write!(file, "process {}", std::process::id()).map_err(|error| StoreError::io(&place, error))?;
    Ok(file)
}

fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(256);
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -8_192)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

fn prepare(path: &Path, writer: &Connection) -> Result<()> {
    let failed = |error| failure::class(path, error);
    let number =
        |name: &str| writer.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(failed);
    let (found, application) = (number("user_version")?, number("application_id")?);
    if found > FORMAT {
        return Err(StoreError::NewerFormat { place: path.display().to_string(), found, supported: FORMAT });
    }
    let tables: i64 =
        writer.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0)).map_err(failed)?;
    if tables > 0 && application != APPLICATION_ID {
        let reason = String::from("it is an SQLite file of another program");
        return Err(StoreError::Corrupt { place: path.display().to_string(), reason });
    }
    writer.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    tune(writer).map_err(failed)?;
    writer
        .execute_batch(&format!(
            "BEGIN IMMEDIATE;
             CREATE TABLE IF NOT EXISTS collections(name TEXT PRIMARY KEY, spec TEXT NOT NULL) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS tables(name TEXT PRIMARY KEY, spec TEXT NOT NULL) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS offsets(grp TEXT, topic TEXT, part INTEGER, next INTEGER NOT NULL,
                 PRIMARY KEY(grp, topic, part)) WITHOUT ROWID;
             PRAGMA application_id = {APPLICATION_ID};
             PRAGMA user_version = {FORMAT};
             COMMIT;"
        ))
        .map_err(failed)
}

fn load(path: &Path, connection: &Connection) -> Result<Known> {
    let mut known = Known::default();
    let rows = |table: &str| -> Result<Vec<String>> {
        let mut statement = connection
            .prepare(&format!("SELECT spec FROM {table}"))
            .map_err(|error| failure::class(path, error))?;
        let rows = statement.query_map([], |row| row.get(0)).map_err(|error| failure::class(path, error))?;
        rows.collect::<rusqlite::Result<_>>().map_err(|error| failure::class(path, error))
    };
    let damaged = |error: serde_json::Error| StoreError::Corrupt {
        place: path.display().to_string(),
        reason: format!("a specification in it cannot be read: {error}"),
    };
    for spec in rows("collections")? {
        let spec: CollectionSpec = serde_json::from_str(&spec).map_err(damaged)?;
        known.collections.insert(spec.name.clone(), Arc::new(spec));
    }
    for spec in rows("tables")? {
        let spec: TableSchema = serde_json::from_str(&spec).map_err(damaged)?;
        known.tables.insert(spec.name.clone(), Arc::new(spec));
    }
    Ok(known)
}

impl Store for SqliteStore {
    fn address(&self) -> String {
        self.path.display().to_string()
    }

    fn apply(&self, group: &str, writes: &[Write], steps: &[OffsetStep]) -> Result<u64> {
        // A collection comes into being with its first document; outside the transaction, as it changes what is known.
        for write in writes {
            if let Write::UpsertDocument { collection, .. } = write {
                self.ensure_collection(collection)?;
            }
        }
        self.write(|transaction| {
            for step in steps {
                let found =
                    stored(transaction, group, &step.partition).map_err(|error| self.failed(error))?;
                if found != step.from {
                    return Err(StoreError::OffsetMoved {
                        group: group.to_owned(),
                        partition: step.partition.to_string(),
                        expected: step.from,
                        found,
                    });
                }
                let sql = "INSERT INTO offsets(grp, topic, part, next) VALUES (?1, ?2, ?3, ?4)
                           ON CONFLICT DO UPDATE SET next = excluded.next";
                transaction
                    .prepare_cached(sql)
                    .and_then(|mut statement| {
                        statement.execute(params![
                            group,
                            &*step.partition.topic,
                            step.partition.partition,
                            step.to
                        ])
                    })
                    .map_err(|error| self.failed(error))?;
            }
            let mut effective = 0;
            for write in writes {
                effective += match write {
                    Write::UpsertDocument { collection, id, doc, only_if_newer } => {
                        self.put_document(transaction, collection, id, doc, *only_if_newer)?
                    }
                    Write::DeleteDocument { collection, id, only_if_newer } => {
                        self.delete_document(transaction, collection, id, *only_if_newer)?
                    }
                    Write::UpsertRow { table, row, only_if_newer } => {
                        self.put_row(transaction, &*self.table(table)?, row, *only_if_newer)?
                    }
                    Write::DeleteRow { table, key } => {
                        self.delete_row(transaction, &*self.table(table)?, key)?
                    }
                };
            }
            Ok(effective)
        })
    }

    fn offset(&self, group: &str, partition: &TopicPartition) -> Result<Option<Offset>> {
        self.read(|reader| stored(reader, group, partition).map_err(|error| self.failed(error)))
    }

    fn size_bytes(&self) -> Option<u64> {
        std::fs::metadata(&self.path).ok().map(|metadata| metadata.len())
    }
}

fn stored(
    connection: &Connection,
    group: &str,
    partition: &TopicPartition,
) -> rusqlite::Result<Option<Offset>> {
    let sql = "SELECT next FROM offsets WHERE grp = ?1 AND topic = ?2 AND part = ?3";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row(params![group, &*partition.topic, partition.partition], |row| row.get(0)).optional()
}
