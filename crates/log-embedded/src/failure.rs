//! Errors of the file system and of fjall, told as the log's errors.

use std::io::{Error, ErrorKind};
use std::path::Path;

use vigie_log::LogError;

/// What went wrong, before it is known what was being done.
pub(crate) fn from_io(place: &Path, error: Error) -> LogError {
    let place = place.display().to_string();
    let reason = error.to_string();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            LogError::DiskFull { place, reason }
        }
        ErrorKind::PermissionDenied
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::NotADirectory
        | ErrorKind::AlreadyExists
        | ErrorKind::IsADirectory => LogError::NotWritable { place, reason },
        _ => LogError::other(format!("reading or writing {place}"), error),
    }
}

pub(crate) fn from_fjall(place: &Path, error: fjall::Error) -> LogError {
    let shown = place.display().to_string();
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => from_io(place, error),
        fjall::Error::Locked => {
            LogError::Locked { place: shown, holder: String::from("a process that uses its store directly") }
        }
        fjall::Error::Poisoned => LogError::Poisoned {
            place: shown,
            reason: String::from("a write in the background failed, for example because the disk is full"),
        },
        error => LogError::Corrupt { place: shown, reason: error.to_string() },
    }
}

/// The reason alone, for an error that stops the log.
pub(crate) fn reason(error: &LogError) -> String {
    match error {
        LogError::DiskFull { reason, .. } => format!("no room on the disk ({reason})"),
        LogError::NotWritable { reason, .. }
        | LogError::Corrupt { reason, .. }
        | LogError::Poisoned { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_failure_are_told_apart() {
        let place = Path::new("/data");
        let check = |kind: ErrorKind, expect: &str| {
            let shown = format!("{:?}", from_fjall(place, fjall::Error::Io(Error::from(kind))));
            assert!(shown.starts_with(expect), "{kind:?}: {shown}");
        };
        check(ErrorKind::StorageFull, "DiskFull");
        check(ErrorKind::QuotaExceeded, "DiskFull");
        check(ErrorKind::ReadOnlyFilesystem, "NotWritable");
        check(ErrorKind::PermissionDenied, "NotWritable");
        check(ErrorKind::NotADirectory, "NotWritable");
        check(ErrorKind::TimedOut, "Other");
        let corrupt = from_fjall(place, fjall::Error::InvalidTrailer);
        assert!(matches!(corrupt, LogError::Corrupt { .. }));
    }
}
