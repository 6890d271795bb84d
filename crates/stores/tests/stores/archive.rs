//! The folder archive: the suite, rolling, and what a crash leaves.

use std::sync::Arc;
use std::time::Duration;

use vigie_log::{ManualClock, TopicPartition};
use vigie_stores::{Archive, ArchiveWriter, ArchivedRecord, FolderArchive, Roll, StoreError, contract};

fn record(offset: i64) -> ArchivedRecord {
    ArchivedRecord { offset, timestamp: offset, key: None, value: Some(vec![b'v'; 100]), headers: Vec::new() }
}

#[test]
fn the_folder_passes_the_suite() {
    let folder = tempfile::tempdir().unwrap();
    contract::archive(&|| Arc::new(FolderArchive::open(folder.path()).unwrap()));
}

#[test]
fn files_are_rolled_by_size_and_by_time_and_go_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(1_750_000_000_000));
    let partition = TopicPartition::new("t", 1);
    let roll = Roll { bytes: 1_000, after: Duration::from_secs(60) };
    let open = || -> (Arc<FolderArchive>, ArchiveWriter) {
        let archive = Arc::new(FolderArchive::open(folder.path()).unwrap());
        let writer =
            ArchiveWriter::new(Arc::clone(&archive) as Arc<dyn Archive>, roll, Arc::clone(&clock) as _);
        (archive, writer)
    };
    let (_, mut writer) = open();
    (0..3).for_each(|offset| writer.push(&partition, record(offset)).unwrap());
    assert_eq!(writer.roll().unwrap(), [], "neither large nor old");
    (3..6).for_each(|offset| writer.push(&partition, record(offset)).unwrap());
    assert_eq!(writer.roll().unwrap()[0].1, 6, "large");
    writer.push(&partition, record(6)).unwrap();
    clock.advance(Duration::from_secs(59));
    assert_eq!(writer.roll().unwrap(), []);
    clock.advance(Duration::from_secs(1));
    assert_eq!(writer.roll().unwrap()[0].1, 7, "old");
    // Gathered and not published: the process dies here, and the next one reads them again.
    writer.push(&partition, record(7)).unwrap();
    drop(writer);
    let (archive, mut writer) = open();
    assert_eq!(writer.position(&partition).unwrap(), Some(7));
    (0..10).for_each(|offset| writer.push(&partition, record(offset)).unwrap());
    assert_eq!(writer.publish_all().unwrap()[0].1, 10);
    let offsets: Vec<i64> = archive
        .files("t")
        .unwrap()
        .iter()
        .flat_map(|file| archive.read(file).unwrap())
        .map(|record| record.offset)
        .collect();
    assert_eq!(offsets, (0..10).collect::<Vec<_>>());
}

#[test]
fn what_a_crash_leaves_unfinished_is_removed_and_never_read() {
    let folder = tempfile::tempdir().unwrap();
    let partition = TopicPartition::new("t", 0);
    let archive = FolderArchive::open(folder.path()).unwrap();
    let file = archive.publish(&partition, &[record(0)], 0).unwrap();
    let unfinished = folder.path().join("t/event_date=1970-01-01/t-0-00000000000000000001.jsonl.tmp");
    std::fs::write(&unfinished, "{\"topic\":").unwrap();
    let archive = FolderArchive::open(folder.path()).unwrap();
    assert!(!unfinished.exists());
    assert_eq!(archive.files("t").unwrap(), std::slice::from_ref(&file));
    // A file that somebody has cut is damage, said with its place.
    std::fs::write(folder.path().join(&file.path), "{\"topic\":\"t\"").unwrap();
    let error = FolderArchive::open(folder.path()).unwrap().last_offset(&partition).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains(&file.path), "{error}");
}

#[test]
fn a_folder_that_is_a_file_is_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "").unwrap();
    let error = FolderArchive::open(path.join("archive")).unwrap_err();
    assert!(matches!(error, StoreError::NotWritable { .. }), "{error}");
}
