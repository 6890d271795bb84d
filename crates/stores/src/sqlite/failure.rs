//! SQLite's result codes, classed by what the user must do.

use std::path::Path;

use rusqlite::{Error, ErrorCode};

use crate::StoreError;

pub(super) fn class(path: &Path, error: Error) -> StoreError {
    let place = path.display().to_string();
    let reason = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::DiskFull { place, reason },
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            StoreError::NotWritable { place, reason }
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt { place, reason },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy { place, reason },
        // The disk did not take or give the bytes: the next attempt may succeed, and a transaction is whole or not there.
        Some(ErrorCode::SystemIoFailure) => StoreError::Busy { place, reason },
        Some(ErrorCode::TooBig) => StoreError::BadRecord { name: place, reason },
        _ => StoreError::other(place, error),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;
    use vigie_log::Consequence;

    use super::*;

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
