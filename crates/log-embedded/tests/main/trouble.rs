//! What can be wrong with a folder or its disk: each gives an error of its own that says what and where.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use vigie_log::{BatchBuilder, Log, LogError, ProducerConfig, SystemClock, TopicPartition, TopicSpec};
use vigie_log_embedded::{EmbeddedConfig, EmbeddedLog};

fn open(folder: &Path) -> Result<Arc<EmbeddedLog>, LogError> {
    EmbeddedLog::open(folder, EmbeddedConfig::new(Arc::new(SystemClock::new())))
}

#[test]
fn a_second_instance_is_told_who_has_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).unwrap();
    let error = open(folder.path()).unwrap_err();
    let LogError::Locked { place, holder } = &error else { panic!("{error:?}") };
    assert_eq!(Path::new(place), folder.path());
    assert_eq!(*holder, format!("process id {}", std::process::id()));
    log.admin().create_topic(&TopicSpec::new("t", 1)).unwrap();
    let _still_held = log.producer(ProducerConfig::default()).unwrap();
    log.close().unwrap();
    let log = open(folder.path()).unwrap();
    assert_eq!(log.admin().list_topics(true).unwrap(), ["t"]);
}

#[test]
fn a_lock_file_left_behind_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("LOCK"), "999999999\n").unwrap();
    open(folder.path()).unwrap();
}

#[test]
fn a_newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).unwrap().close().unwrap();
    let format = folder.path().join("FORMAT");
    assert_eq!(std::fs::read_to_string(&format).unwrap(), "vigie-log 1\n");
    std::fs::write(&format, "vigie-log 2\n").unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(matches!(error, LogError::NewerFormat { found: 2, supported: 1, .. }), "{error:?}");
    for broken in ["", "vigie-log x", "something else"] {
        std::fs::write(&format, broken).unwrap();
        let error = open(folder.path()).unwrap_err();
        assert!(matches!(error, LogError::Corrupt { .. }), "{broken:?}: {error:?}");
    }
    std::fs::remove_file(&format).unwrap();
    assert!(matches!(open(folder.path()), Err(LogError::Corrupt { .. })));
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    // Even root can make no folder below a file, nor in /sys.
    for place in [file.join("data"), file, Path::new("/sys/vigie-data").to_path_buf()] {
        let error = open(&place).unwrap_err();
        assert!(matches!(error, LogError::NotWritable { .. }), "{error:?}");
        assert!(error.to_string().contains(&place.display().to_string()), "{error}");
    }
}

#[test]
fn a_store_whose_making_was_interrupted_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).unwrap().close().unwrap();
    std::fs::remove_file(folder.path().join("store/version")).unwrap();
    let log = open(folder.path()).unwrap();
    log.admin().create_topic(&TopicSpec::new("t", 1)).unwrap();
}

#[test]
fn damage_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path()).unwrap();
    log.admin().create_topic(&TopicSpec::new("t", 1)).unwrap();
    for _ in 0..10 {
        append(&log, 100).unwrap();
    }
    log.close().unwrap();
    // A bit that flips in the middle of what was acknowledged.
    let journal = folder.path().join("store/0.jnl");
    let mut bytes = std::fs::read(&journal).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[used / 2] ^= 4;
    std::fs::write(&journal, bytes).unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(matches!(error, LogError::Corrupt { .. }), "{error:?}");
}

fn append(log: &EmbeddedLog, bytes: usize) -> Result<(), LogError> {
    let mut builder = BatchBuilder::new();
    let mut dice = crate::dice::Dice(bytes as u64);
    let noise: Vec<u8> = (0..bytes).map(|_| dice.below(256) as u8).collect();
    builder.push(1, None, Some(&noise), &[]);
    let mut producer = log.producer(ProducerConfig::default())?;
    producer.begin()?;
    producer.append(&TopicPartition::new("t", 0), &mut builder)?;
    producer.commit().map(drop)
}

const SMALL_DISK: &str = "VIGIE_TEST_SMALL_DISK";

/// In a mount namespace of its own, a disk of 32 MB is mounted, and this test binary runs there once more.
#[test]
fn a_full_disk_loses_nothing_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let script =
        "mount -t tmpfs -o size=32m tmpfs \"$1\" && exec \"$2\" trouble::small_disk --exact --nocapture";
    let run = |flags: &[&str]| {
        Command::new("unshare")
            .args(flags)
            .args(["sh", "-c", script, "sh"])
            .arg(folder.path())
            .arg(std::env::current_exe().unwrap())
            .env(SMALL_DISK, folder.path())
            .output()
            .expect("unshare (util-linux) is installed")
    };
    let mut output = run(&["--mount"]);
    if !output.status.success() && !String::from_utf8_lossy(&output.stdout).contains("small disk") {
        // Not root: in a user namespace, then.
        output = run(&["--user", "--map-root-user", "--mount"]);
    }
    let shown =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && shown.contains("small disk: recovered"), "{shown}");
}

#[test]
fn small_disk() {
    let Some(disk) = std::env::var_os(SMALL_DISK) else { return };
    println!("small disk: mounted");
    let (folder, filler) = (Path::new(&disk).join("log"), Path::new(&disk).join("filler"));
    std::fs::write(&filler, vec![1; 20 << 20]).unwrap();
    let log = open(&folder).unwrap();
    log.admin().create_topic(&TopicSpec::new("t", 1)).unwrap();
    let mut acknowledged = 0;
    let error = loop {
        match append(&log, 100_000) {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 1_000, "the disk never fills");
    };
    assert!(matches!(error, LogError::DiskFull { .. }), "{error:?}");
    assert!(error.to_string().contains(&folder.display().to_string()), "{error}");
    assert!(acknowledged > 20, "{acknowledged}");
    for next in [append(&log, 10), log.admin().list_topics(true).map(drop)] {
        assert!(
            matches!(&next, Err(LogError::Poisoned { reason, .. }) if reason.contains("no room")),
            "{next:?}"
        );
    }
    drop(log);
    std::fs::remove_file(filler).unwrap();
    let log = open(&folder).unwrap();
    let ends = log.admin().offsets("t").unwrap()[0];
    assert!(
        (acknowledged..=acknowledged + 1).contains(&ends.latest),
        "{ends:?}, {acknowledged} acknowledged"
    );
    for _ in 0..5 {
        append(&log, 100_000).unwrap();
    }
    println!("small disk: recovered");
}
