//! The folder of an application's local state: whose it is, and what happens when it is somebody else's, damaged, or too new.
//!
//! # Format: `<state dir>/<application id>/IDENTITY`, text
//! ```text
//! vigie-state 1
//! application <application id>
//! log <the log's identity, or ->
//! crc32 <of the lines above, 8 hexadecimal digits>
//! ```
//! The state is derived: what cannot be trusted is removed, with a warning, and restored from the changelogs. What belongs to another
//! application, or was written by a newer version, is left alone and refused. A folder without the file was made before there was one.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::StateError;

const FORMAT: u32 = 1;
const FILE: &str = "IDENTITY";
/// Says that the database gave wrong answers: the next start does not use it.
const DAMAGED: &str = "DAMAGED";

#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// Nothing there, or from before there were identities.
    Unmarked,
    Of {
        application: String,
        log: Option<String>,
    },
    Newer(u32),
    Damaged(&'static str),
}

/// Opens an application's state with `open`, once it is certain that it is this application's, of this log, and whole; what is not is
/// removed first, and restored later.
pub(crate) fn open_state<T>(
    dir: &Path,
    application_id: &str,
    log: Option<&str>,
    open: impl Fn() -> Result<T, StateError>,
) -> Result<T, StateError> {
    let folder = dir.join(application_id);
    let place = folder.display().to_string();
    std::fs::create_dir_all(&folder).map_err(|e| io_error(&folder, &e))?;
    let reason = match read(&folder) {
        Found::Newer(found) => return Err(StateError::NewerFormat { place, found, supported: FORMAT }),
        Found::Of { application, .. } if application != application_id => {
            return Err(StateError::Foreign { place, owner: application });
        }
        Found::Of { log: Some(of), .. } if log.is_some_and(|log| log != of) => {
            Some(format!("it was made from another log ({of})"))
        }
        Found::Damaged(what) => Some(what.to_owned()),
        Found::Of { .. } | Found::Unmarked => None,
    };
    // IMPORTANT: opened first, whatever it is: the database's lock tells whether another process uses it.
    let opened = match (open(), reason) {
        (Err(error @ StateError::Locked { .. }), _) => return Err(error),
        (opened, Some(reason)) => {
            drop(opened);
            start_over(&folder, &reason)?;
            open()?
        }
        (Err(StateError::Database { reason, .. }), None) if is_writable(&folder) => {
            start_over(&folder, &format!("its database does not open ({reason})"))?;
            open()?
        }
        (opened, None) => opened?,
    };
    write(&folder, application_id, log).map_err(|e| io_error(&folder, &e))?;
    Ok(opened)
}

/// Removes an application's state, unless another process uses it.
pub(crate) fn remove_state<T>(
    dir: &Path,
    application_id: &str,
    open: impl Fn() -> Result<T, StateError>,
) -> Result<(), StateError> {
    let folder = dir.join(application_id);
    if !folder.exists() {
        return Ok(());
    }
    match read(&folder) {
        Found::Of { application, .. } if application != application_id => {
            return Err(StateError::Foreign { place: folder.display().to_string(), owner: application });
        }
        _ => {}
    }
    if let Err(error @ StateError::Locked { .. }) = open().map(drop) {
        return Err(error);
    }
    std::fs::remove_dir_all(&folder).map_err(|e| io_error(&folder, &e))
}

/// The database gave an answer that cannot be right: the next start removes it. Nothing is noted when nothing can be written, for then the
/// disk is to blame and not what is on it.
pub(crate) fn note_damage(dir: &Path, application_id: &str, reason: &str) {
    let path = dir.join(application_id).join(DAMAGED);
    match std::fs::write(&path, reason) {
        Ok(()) => tracing::error!(
            place = %path.display(),
            reason,
            "the local state is damaged: the next start removes it and restores it from the changelogs"
        ),
        Err(error) => tracing::warn!(place = %path.display(), %error, "damage could not be noted"),
    }
}

fn io_error(folder: &Path, error: &std::io::Error) -> StateError {
    StateError::Database { place: folder.display().to_string(), reason: error.to_string() }
}

fn is_writable(folder: &Path) -> bool {
    let probe = folder.join("PROBE");
    let written = std::fs::write(&probe, b"probe").is_ok();
    // Whether it can be removed says nothing more.
    let _ = std::fs::remove_file(&probe);
    written
}

fn start_over(folder: &Path, reason: &str) -> Result<(), StateError> {
    tracing::warn!(
        place = %folder.display(),
        reason,
        "the local state cannot be used: it is removed and will be restored from the changelogs"
    );
    std::fs::remove_dir_all(folder).map_err(|e| io_error(folder, &e))?;
    std::fs::create_dir_all(folder).map_err(|e| io_error(folder, &e))
}

fn text(application_id: &str, log: Option<&str>) -> String {
    let lines = format!("vigie-state {FORMAT}\napplication {application_id}\nlog {}\n", log.unwrap_or("-"));
    let crc = crc32fast::hash(lines.as_bytes());
    format!("{lines}crc32 {crc:08x}\n")
}

fn read(folder: &Path) -> Found {
    if folder.join(DAMAGED).exists() {
        return Found::Damaged("its database gave wrong answers when it was last used");
    }
    match std::fs::read(folder.join(FILE)) {
        Ok(bytes) => parse(&bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Found::Unmarked,
        Err(_) => Found::Damaged("its IDENTITY cannot be read"),
    }
}

fn parse(bytes: &[u8]) -> Found {
    const BROKEN: Found = Found::Damaged("its IDENTITY is damaged");
    let Ok(all) = std::str::from_utf8(bytes) else { return BROKEN };
    let Some((lines, crc)) = all.rsplit_once("crc32 ") else { return BROKEN };
    if crc.strip_suffix('\n') != Some(format!("{:08x}", crc32fast::hash(lines.as_bytes())).as_str()) {
        return BROKEN;
    }
    let mut lines = lines.lines();
    let mut field = |name: &str| lines.next().and_then(|line| line.strip_prefix(name));
    match field("vigie-state ").and_then(|version| version.parse::<u32>().ok()) {
        Some(FORMAT) => {}
        Some(newer) if newer > FORMAT => return Found::Newer(newer),
        _ => return BROKEN,
    }
    match (field("application "), field("log ")) {
        (Some(application), Some(log)) => {
            Found::Of { application: application.to_owned(), log: (log != "-").then(|| log.to_owned()) }
        }
        _ => BROKEN,
    }
}

fn write(folder: &Path, application_id: &str, log: Option<&str>) -> std::io::Result<()> {
    let path: PathBuf = folder.join(FILE);
    let text = text(application_id, log);
    if std::fs::read(&path).is_ok_and(|found| found == text.as_bytes()) {
        return Ok(());
    }
    let unfinished = folder.join("IDENTITY.new");
    let mut file = File::create(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&unfinished, &path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(application: &str, log: Option<&str>) -> Found {
        Found::Of { application: application.to_owned(), log: log.map(str::to_owned) }
    }

    #[test]
    fn an_identity_is_read_as_it_was_written() {
        assert_eq!(parse(text("app", Some("embedded-1")).as_bytes()), of("app", Some("embedded-1")));
        assert_eq!(parse(text("app", None).as_bytes()), of("app", None));
        let bytes = b"vigie-state 1\napplication sales\nlog a-b\ncrc32 9e5b69a5\n";
        assert_eq!(
            parse(bytes),
            parse(text("sales", Some("a-b")).as_bytes()),
            "format 1 is readable for ever"
        );
        let newer = "vigie-state 2\nwhatever\n";
        let newer = format!("{newer}crc32 {:08x}\n", crc32fast::hash(newer.as_bytes()));
        assert_eq!(parse(newer.as_bytes()), Found::Newer(2));
    }

    #[test]
    fn each_damaged_byte_is_noticed() {
        let whole = text("app", Some("log-1")).into_bytes();
        for place in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[place] ^= 1 << bit;
                assert!(matches!(parse(&damaged), Found::Damaged(_)), "byte {place}, bit {bit}");
            }
            assert!(matches!(parse(&whole[..place]), Found::Damaged(_)), "cut at {place}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }

    /// Opens by noting whether there was something in the folder.
    fn open(folder: &Path) -> Result<bool, StateError> {
        let data = folder.join("data");
        let there = data.exists();
        std::fs::write(&data, b"x").map_err(|e| io_error(folder, &e))?;
        Ok(there)
    }

    #[test]
    fn state_of_another_log_is_removed_and_of_another_application_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("app");
        let start = |log: Option<&str>| open_state(dir.path(), "app", log, || open(&folder));
        assert!(!start(Some("one")).unwrap());
        assert!(start(Some("one")).unwrap(), "kept");
        assert!(!start(Some("two")).unwrap(), "of another log");
        assert!(start(None).unwrap(), "a log without identity");
        assert!(start(Some("three")).unwrap(), "whose state that was is not known");
        std::fs::write(folder.join(FILE), text("other", None)).unwrap();
        assert!(matches!(start(None), Err(StateError::Foreign { owner, .. }) if owner == "other"));
        assert!(remove_state(dir.path(), "app", || open(&folder)).is_err());
        std::fs::write(folder.join(FILE), b"vigie-state").unwrap();
        assert!(!start(None).unwrap(), "a damaged identity");
        note_damage(dir.path(), "app", "a block does not add up");
        assert!(!start(None).unwrap(), "noted damage");
        assert!(start(None).unwrap(), "once");
        remove_state(dir.path(), "app", || open(&folder)).unwrap();
        assert!(!folder.exists());
    }

    #[test]
    fn a_database_that_does_not_open_is_made_anew_once_and_one_in_use_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("app");
        let broken = || match folder.join("data").exists() {
            true => Err(StateError::Database { place: String::new(), reason: String::from("checksum") }),
            false => Ok(()),
        };
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("data"), b"x").unwrap();
        open_state(dir.path(), "app", None, broken).unwrap();
        let always = || Err::<(), _>(StateError::Database { place: String::new(), reason: String::new() });
        assert!(open_state(dir.path(), "app", None, always).is_err());
        std::fs::write(folder.join("data"), b"x").unwrap();
        std::fs::write(folder.join(DAMAGED), b"x").unwrap();
        let locked = || Err::<(), _>(StateError::Locked { place: String::new() });
        assert!(matches!(open_state(dir.path(), "app", None, locked), Err(StateError::Locked { .. })));
        assert!(remove_state(dir.path(), "app", locked).is_err());
        assert!(folder.join("data").exists());
    }
}
