//! SQLite's result codes, classed by what the user must do.

use std::io::ErrorKind;
use std::path::Path;

use rusqlite::{Error, ErrorCode, ffi};

use crate::StoreError;

pub(super) fn class(path: &Path, error: Error) -> StoreError {
    class_by(path, error, has_room)
}

fn class_by(path: &Path, error: Error, has_room: impl Fn(&Path) -> bool) -> StoreError {
    let place = path.display().to_string();
    let reason = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::DiskFull { place, reason },
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            StoreError::NotWritable { place, reason }
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt { place, reason },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy { place, reason },
        // A file that cannot be written, synced or made longer: SQLite does not say why, the disk does.
        Some(ErrorCode::SystemIoFailure) if writes(&error) && !has_room(path) => {
            StoreError::DiskFull { place, reason }
        }
        // The disk did not take or give the bytes: the next attempt may succeed, and a transaction is whole or not there.
        Some(ErrorCode::SystemIoFailure) => StoreError::Busy { place, reason },
        Some(ErrorCode::TooBig) => StoreError::BadRecord { name: place, reason },
        _ => StoreError::other(place, error),
    }
}

/// Whether it was a write that failed.
fn writes(error: &Error) -> bool {
    matches!(
        error.sqlite_error().map(|error| error.extended_code),
        Some(
            ffi::SQLITE_IOERR_WRITE
                | ffi::SQLITE_IOERR_FSYNC
                | ffi::SQLITE_IOERR_TRUNCATE
                | ffi::SQLITE_IOERR_SHMOPEN
                | ffi::SQLITE_IOERR_SHMSIZE
                | ffi::SQLITE_IOERR_SHMMAP
        )
    )
}

/// Whether a page more can be written beside the database: false only when the disk says that it is full.
fn has_room(path: &Path) -> bool {
    let Some(folder) = path.parent() else { return true };
    let probe = folder.join(format!("room-{}.tmp", std::process::id()));
    let tried = std::fs::write(&probe, [0_u8; 8192]);
    // It is in nobody's way where it cannot be removed, and is overwritten the next time.
    let _ = std::fs::remove_file(&probe);
    !tried.is_err_and(|error| matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
}

#[cfg(test)]
mod tests {
    use vigie_log::Consequence;

    use super::*;

    #[test]
    fn a_write_that_failed_is_a_full_disk_only_where_there_is_no_room() {
        for (code, room, full) in [
            (ffi::SQLITE_IOERR_WRITE, false, true),
            (ffi::SQLITE_IOERR_SHMSIZE, false, true),
            (ffi::SQLITE_IOERR_SHMOPEN, false, true),
            (ffi::SQLITE_IOERR_WRITE, true, false),
            (ffi::SQLITE_IOERR_READ, false, false),
        ] {
            let error = Error::SqliteFailure(ffi::Error::new(code), None);
            let error = class_by(Path::new("/data/x.db"), error, |_| room);
            assert_eq!(matches!(error, StoreError::DiskFull { .. }), full, "{code}, room: {room}: {error}");
        }
    }

    #[test]
    fn a_disk_with_room_is_not_full_and_the_probe_goes() {
        let folder = tempfile::tempdir().unwrap();
        assert!(has_room(&folder.path().join("x.db")));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn each_code_has_its_consequence() {
        for (code, consequence, words) in [
            (ffi::SQLITE_FULL, Consequence::Retriable, "no room on the disk of /data/x.db"),
            (ffi::SQLITE_READONLY, Consequence::Fatal, "cannot be written"),
            (ffi::SQLITE_CANTOPEN, Consequence::Fatal, "check its owner and permissions"),
            (ffi::SQLITE_CORRUPT, Consequence::Fatal, "is damaged"),
            (ffi::SQLITE_NOTADB, Consequence::Fatal, "is damaged"),
            (ffi::SQLITE_BUSY, Consequence::Retriable, "tried again"),
            (ffi::SQLITE_IOERR, Consequence::Retriable, "tried again"),
            (ffi::SQLITE_MISUSE, Consequence::Fatal, "/data/x.db"),
        ] {
            let error = class(Path::new("/data/x.db"), Error::SqliteFailure(ffi::Error::new(code), None));
            assert_eq!(error.consequence(), consequence, "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
