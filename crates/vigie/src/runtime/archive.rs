//! The raw archive: shop events into whole files of a folder, each offset exactly once.
//!
//! The truth about how far the archive is stands in the files' names and last lines; the group's offsets in the log only show the lag.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use vigie_domain::topics;
use vigie_log::{Clock, Fetched, Log, LogError, Member, MemberConfig};
use vigie_stores::{ArchiveWriter, ArchivedRecord, FolderArchive, Roll, StoreError};

use super::RuntimeError;
use crate::config::ArchiveConfig;

const GROUP: &str = "vigie-archive";
/// How long a poll waits; also how soon a stop is noticed.
const POLL: Duration = Duration::from_millis(200);
/// Wait after a failure.
const RETRY: Duration = Duration::from_secs(5);

/// The archive at work. Dropping it stops it after publishing what it holds.
pub struct RunningArchive {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, thiserror::Error)]
enum ArchiveError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Starts the archive in `folder`.
pub fn start(
    folder: &Path,
    config: &ArchiveConfig,
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
) -> Result<RunningArchive, RuntimeError> {
    let archive = Arc::new(FolderArchive::open(folder)?);
    let roll = Roll {
        bytes: usize::try_from(config.roll_bytes).unwrap_or(usize::MAX),
        after: Duration::from_secs(config.roll_s),
    };
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = Arc::clone(&stop);
    let thread = std::thread::Builder::new().name(String::from("archive")).spawn(move || {
        while !stopping.load(Ordering::Acquire) {
            // A writer that failed is thrown away: a new one reads anew how far the files are.
            let mut writer = ArchiveWriter::new(Arc::clone(&archive) as _, roll, Arc::clone(&clock));
            if let Err(error) = run(&mut writer, &*log, &stopping) {
                tracing::warn!(%error, "the archive waits and tries again");
                std::thread::park_timeout(RETRY);
            }
        }
    })?;
    Ok(RunningArchive { stop, thread: Some(thread) })
}

fn run(writer: &mut ArchiveWriter, log: &dyn Log, stopping: &AtomicBool) -> Result<(), ArchiveError> {
    let mut member = log.member(MemberConfig::new(GROUP, [topics::EVENEMENTS]))?;
    while !stopping.load(Ordering::Acquire) {
        let polled = member.poll(POLL)?;
        if !polled.revoked.is_empty() {
            let published = writer.publish(&polled.revoked)?;
            commit(&mut *member, published)?;
        }
        for partition in polled.revoked.iter().chain(&polled.lost) {
            writer.forget(partition);
        }
        for partition in &polled.assigned {
            if let Some(next) = writer.position(partition)? {
                member.seek(partition, next)?;
            }
        }
        for fetched in &polled.batches {
            push(writer, fetched)?;
        }
        let published = writer.roll()?;
        commit(&mut *member, published)?;
    }
    let published = writer.publish_all()?;
    commit(&mut *member, published)?;
    Ok(member.close()?)
}

fn push(writer: &mut ArchiveWriter, fetched: &Fetched) -> Result<(), ArchiveError> {
    for record in fetched.batch.iter() {
        writer.push(&fetched.partition, ArchivedRecord::from(record))?;
    }
    Ok(())
}

fn commit(
    member: &mut dyn Member,
    published: Vec<(vigie_stores::ArchiveFile, i64)>,
) -> Result<(), ArchiveError> {
    if published.is_empty() {
        return Ok(());
    }
    let offsets: Vec<_> = published.into_iter().map(|(file, next)| (file.partition, next)).collect();
    Ok(member.commit(&offsets)?)
}

impl Drop for RunningArchive {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // Its own errors are logged by itself.
            let _ = thread.join();
        }
    }
}
