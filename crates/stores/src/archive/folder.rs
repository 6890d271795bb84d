//! The archive in a local folder.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::tz::TimeZone;
use vigie_log::{Offset, Timestamp, TopicPartition};

use super::{Archive, ArchiveFile, ArchivedRecord, line};
use crate::{Result, StoreError};

const ENDING: &str = ".jsonl";
const UNFINISHED: &str = ".tmp";

/// The archive in a local folder. One process writes to it.
#[derive(Debug)]
pub struct FolderArchive {
    folder: PathBuf,
    /// The last published offset of each partition that has been asked for.
    last: Mutex<BTreeMap<TopicPartition, Option<Offset>>>,
}

impl FolderArchive {
    /// Opens the folder, or creates it; what an earlier process left unfinished is removed.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref().to_path_buf();
        fs::create_dir_all(&folder).map_err(|error| StoreError::io(&folder, error))?;
        for topic in entries(&folder)? {
            for file in dates(&topic)?
                .iter()
                .map(|date| entries(date))
                .collect::<Result<Vec<_>>>()?
                .into_iter()
                .flatten()
            {
                if file.to_string_lossy().ends_with(UNFINISHED) {
                    fs::remove_file(&file).map_err(|error| StoreError::io(&file, error))?;
                }
            }
        }
        Ok(Self { folder, last: Mutex::default() })
    }

    fn corrupt(&self, path: &str, reason: String) -> StoreError {
        StoreError::Corrupt { place: format!("{}/{path}", self.folder.display()), reason }
    }

    /// The last offset in a file: its last line's.
    fn last_of(&self, file: &ArchiveFile) -> Result<Offset> {
        let path = self.folder.join(&file.path);
        let io = |error| StoreError::io(&path, error);
        let mut open = File::open(&path).map_err(io)?;
        let length = open.metadata().map_err(io)?.len();
        let mut tail = 4_096_u64;
        loop {
            let from = length.saturating_sub(tail);
            open.seek(SeekFrom::Start(from)).map_err(io)?;
            let mut bytes = Vec::new();
            open.read_to_end(&mut bytes).map_err(io)?;
            let Some(body) = bytes.strip_suffix(b"\n") else {
                return Err(self.corrupt(&file.path, String::from("its last line is not finished")));
            };
            let start = body.iter().rposition(|byte| *byte == b'\n').map(|position| position + 1);
            if let Some(start) = start.or((from == 0).then_some(0)) {
                let text = std::str::from_utf8(body.get(start..).unwrap_or_default())
                    .map_err(|error| self.corrupt(&file.path, error.to_string()))?;
                let record = line::read(text).map_err(|reason| self.corrupt(&file.path, reason))?;
                return Ok(record.offset);
            }
            tail = tail.saturating_mul(8);
        }
    }
}

/// What is in a folder, sorted; nothing if it is not there.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let io = |error| StoreError::io(folder, error);
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(io(error)),
    };
    let mut paths: Vec<PathBuf> =
        listing.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>().map_err(io)?;
    paths.sort();
    Ok(paths)
}

fn dates(topic: &Path) -> Result<Vec<PathBuf>> {
    let mut dates = entries(topic)?;
    dates.retain(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("event_date="))
    });
    Ok(dates)
}

fn date(ingestion: Timestamp) -> String {
    // Beyond the calendar: the last day that it has.
    let limit = if ingestion < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    let time = jiff::Timestamp::from_millisecond(ingestion).unwrap_or(limit);
    time.to_zoned(TimeZone::UTC).date().to_string()
}

fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| StoreError::io(folder, error))
}

impl Archive for FolderArchive {
    fn address(&self) -> String {
        self.folder.display().to_string()
    }

    fn last_offset(&self, partition: &TopicPartition) -> Result<Option<Offset>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = last.get(partition) {
            return Ok(*known);
        }
        let files = self.files(&partition.topic)?;
        let newest = files.iter().filter(|file| file.partition == *partition).max_by_key(|file| file.first);
        let found = newest.map(|file| self.last_of(file)).transpose()?;
        last.insert(partition.clone(), found);
        Ok(found)
    }

    fn publish(
        &self,
        partition: &TopicPartition,
        records: &[ArchivedRecord],
        ingestion: Timestamp,
    ) -> Result<ArchiveFile> {
        let bad = |reason: String| StoreError::BadRecord { name: partition.to_string(), reason };
        let (Some(first), Some(end)) = (records.first(), records.last()) else {
            return Err(bad(String::from("a file needs at least one record")));
        };
        if records.windows(2).any(|pair| matches!(pair, [one, two] if one.offset >= two.offset)) {
            return Err(bad(String::from("the records are not in order of offset")));
        }
        let name = format!("{partition}-{:020}{ENDING}", first.offset);
        let path = format!("{}/event_date={}/{name}", partition.topic, date(ingestion));
        let place = self.folder.join(&path);
        if self.last_offset(partition)?.is_some_and(|last| first.offset <= last) {
            return Err(StoreError::AlreadyPublished { place: place.display().to_string() });
        }
        let mut bytes = Vec::new();
        for record in records {
            line::write(partition, record, &mut bytes).map_err(bad)?;
        }
        let io = |error| StoreError::io(&place, error);
        let folder = place.parent().unwrap_or(&self.folder);
        if !folder.is_dir() {
            fs::create_dir_all(folder).map_err(io)?;
            // The names of new folders must survive a power failure as the file does.
            folder.parent().map(sync_folder).transpose()?;
            sync_folder(&self.folder)?;
        }
        let unfinished = folder.join(format!("{name}{UNFINISHED}"));
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&unfinished)
            .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()));
        let published = written.and_then(|()| fs::hard_link(&unfinished, &place));
        // Published or not, the temporary name goes; a left-over is removed at the next start.
        let _ = fs::remove_file(&unfinished);
        match published {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(StoreError::AlreadyPublished { place: place.display().to_string() });
            }
            Err(error) => return Err(io(error)),
        }
        sync_folder(folder)?;
        self.last.lock().unwrap_or_else(PoisonError::into_inner).insert(partition.clone(), Some(end.offset));
        Ok(ArchiveFile { partition: partition.clone(), first: first.offset, path })
    }

    fn files(&self, topic: &str) -> Result<Vec<ArchiveFile>> {
        let mut files = Vec::new();
        for date in dates(&self.folder.join(topic))? {
            for path in entries(&date)? {
                let name =
                    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                let Some(stem) = name.strip_suffix(ENDING) else { continue };
                let parts = stem
                    .strip_prefix(topic)
                    .and_then(|rest| rest.strip_prefix('-'))
                    .and_then(|rest| rest.split_once('-'));
                let numbers =
                    parts.and_then(|(partition, first)| Some((partition.parse().ok()?, first.parse().ok()?)));
                let Some((number, first)) = numbers else { continue };
                let date =
                    date.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                files.push(ArchiveFile {
                    partition: TopicPartition::new(topic, number),
                    first,
                    path: format!("{topic}/{date}/{name}"),
                });
            }
        }
        files.sort();
        Ok(files)
    }

    fn read(&self, file: &ArchiveFile) -> Result<Vec<ArchivedRecord>> {
        let path = self.folder.join(&file.path);
        let text = fs::read_to_string(&path).map_err(|error| StoreError::io(&path, error))?;
        text.lines()
            .enumerate()
            .map(|(index, text)| {
                line::read(text)
                    .map_err(|reason| self.corrupt(&file.path, format!("line {}: {reason}", index + 1)))
            })
            .collect()
    }
}
