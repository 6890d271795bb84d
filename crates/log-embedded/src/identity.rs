//! What tells one embedded log from another: made once, kept in the folder, moves with it.
//!
//! `<folder>/IDENTITY` holds `embedded-<wall clock in ms>-<process id>` of the moment at which it was made, in hexadecimal, and a checksum:
//! two folders made by one process in one millisecond are told apart by a count.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use vigie_log::{Clock, LogError, Result};

use crate::failure::from_io;

static MADE: AtomicU32 = AtomicU32::new(0);

/// The identity of the log in a folder that this process has locked; made if there is none.
pub(crate) fn of(folder: &Path, clock: &dyn Clock) -> Result<String> {
    let path = folder.join("IDENTITY");
    match std::fs::read_to_string(&path) {
        Ok(text) => match text.trim_end().rsplit_once(" crc32 ") {
            Some((identity, crc)) if crc == checksum(identity) => Ok(identity.to_owned()),
            _ => Err(LogError::Corrupt {
                place: path.display().to_string(),
                reason: String::from(
                    "its checksum is wrong; remove the file, and the programs will restore their local state",
                ),
            }),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let count = MADE.fetch_add(1, Ordering::Relaxed);
            let identity = format!("embedded-{:x}-{:x}-{count:x}", clock.now(), std::process::id());
            write(folder, &path, &identity).map_err(|error| from_io(folder, error))?;
            Ok(identity)
        }
        Err(error) => Err(from_io(folder, error)),
    }
}

fn checksum(identity: &str) -> String {
    format!("{:08x}", crc32fast::hash(identity.as_bytes()))
}

fn write(folder: &Path, path: &Path, identity: &str) -> std::io::Result<()> {
    let unfinished = folder.join("IDENTITY.new");
    let mut file = File::create(&unfinished)?;
    writeln!(file, "{identity} crc32 {}", checksum(identity))?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use vigie_log::ManualClock;

    use super::*;

    #[test]
    fn an_identity_is_made_once_and_damage_is_told() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let clock = ManualClock::at(7);
        let first = of(one.path(), &clock).unwrap();
        assert_ne!(first, of(two.path(), &clock).unwrap());
        assert_eq!(first, of(one.path(), &ManualClock::at(8)).unwrap());
        let path = one.path().join("IDENTITY");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[3] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(of(one.path(), &clock), Err(LogError::Corrupt { .. })));
    }
}
