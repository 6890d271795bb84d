//! The folder around the store: the lock that tells who has it open, and the version of its format.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use vigie_log::{LogError, Result};

use crate::failure::from_io;

/// The newest format that this program reads, and the one that it writes.
pub(crate) const FORMAT: u32 = 1;
const PREFIX: &str = "vigie-log ";

/// A lock that is held is tried so many times, two milliseconds apart.
const PATIENCE: u32 = 50;

/// Held as long as the folder is in use. The operating system gives it free when the process ends, however that happens.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

/// Makes the folder, takes the lock, checks the format.
pub(crate) fn claim(folder: &Path) -> Result<FolderLock> {
    std::fs::create_dir_all(folder).map_err(|error| from_io(folder, error))?;
    let path = folder.join("LOCK");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| from_io(folder, error))?;
    let mut locked = file.try_lock();
    // A child that is being started holds the files of its parent for a moment, a lock that was just given up among them.
    for _ in 0..PATIENCE {
        if !matches!(locked, Err(TryLockError::WouldBlock)) {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
        locked = file.try_lock();
    }
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // The holder is a courtesy; that it is locked is certain.
            let _ = file.read_to_string(&mut pid);
            let holder = match pid.trim() {
                "" => String::from("process id not known"),
                pid => format!("process id {pid}"),
            };
            return Err(LogError::Locked { place: folder.display().to_string(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(from_io(folder, error)),
    }
    let write_pid = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write_pid(&mut file).map_err(|error| from_io(folder, error))?;
    check_format(folder)?;
    Ok(FolderLock { _file: file })
}

fn check_format(folder: &Path) -> Result<()> {
    let path = folder.join("FORMAT");
    let corrupt = |reason: String| LogError::Corrupt { place: path.display().to_string(), reason };
    match std::fs::read_to_string(&path) {
        Ok(text) => match text.trim().strip_prefix(PREFIX).map(str::parse::<u32>) {
            Some(Ok(found)) if found > FORMAT => {
                Err(LogError::NewerFormat { place: folder.display().to_string(), found, supported: FORMAT })
            }
            Some(Ok(_)) => Ok(()),
            _ => Err(corrupt(format!("it says {:?}, not `{PREFIX}<number>`", text.trim()))),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if folder.join("store").exists() {
                return Err(corrupt(String::from("it is missing although there is a store")));
            }
            write_format(folder, &path).map_err(|error| from_io(folder, error))
        }
        Err(error) => Err(from_io(folder, error)),
    }
}

/// IMPORTANT: complete before the store is made, so that no store ever stands without its format.
fn write_format(folder: &Path, path: &Path) -> std::io::Result<()> {
    let unfinished = folder.join("FORMAT.new");
    let mut file = File::create(&unfinished)?;
    writeln!(file, "{PREFIX}{FORMAT}")?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    File::open(folder)?.sync_all()
}
