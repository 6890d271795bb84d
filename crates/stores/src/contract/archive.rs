//! What every archive must do.

use std::sync::Arc;

use vigie_log::TopicPartition;

use crate::{Archive, ArchivedRecord, StoreError};

const GO: &str = "the archive under test answers";
const DAY: i64 = 86_400_000;

fn record(offset: i64, value: &[u8]) -> ArchivedRecord {
    ArchivedRecord {
        offset,
        timestamp: 1_750_000_000_000 + offset,
        key: (offset % 2 == 0).then(|| b"k\xff".to_vec()),
        value: (offset % 5 != 4).then(|| value.to_vec()),
        headers: vec![(String::from("h"), None), (String::from("é"), Some(vec![0, 255]))],
    }
}

/// Runs the suite; `open` opens the same, at first empty, archive anew each time.
pub fn archive(open: &dyn Fn() -> Arc<dyn Archive>) {
    // A topic whose name holds what separates the parts of a file's name.
    let one = TopicPartition::new("even-ements-1", 0);
    let two = TopicPartition::new("even-ements-1", 12);
    let long = vec![b'x'; 20_000];
    let records: Vec<ArchivedRecord> = (3..20)
        .map(|offset| record(offset * 2, if offset == 19 { &long } else { b"{\"a\":\"\n\"}" }))
        .collect();
    let archive = open();
    assert_eq!(archive.last_offset(&one).expect(GO), None);
    assert_eq!(archive.files("even-ements-1").expect(GO), []);
    let (head, tail) = records.split_at(9);
    let first = archive.publish(&one, head, 20_000 * DAY).expect(GO);
    assert_eq!(first.path, "even-ements-1/event_date=2024-10-04/even-ements-1-0-00000000000000000006.jsonl");
    assert_eq!(archive.last_offset(&one).expect(GO), Some(22));
    assert_eq!(archive.last_offset(&two).expect(GO), None);
    // Twice, overlapping, out of order, empty: refused, and nothing changes.
    for wrong in [head, records.as_slice()] {
        let error =
            archive.publish(&one, wrong, 20_000 * DAY).expect_err("what is published is not published again");
        assert!(matches!(error, StoreError::AlreadyPublished { .. }), "{error}");
    }
    assert!(archive.publish(&one, &[], 0).is_err());
    assert!(archive.publish(&one, &[record(41, b""), record(40, b"")], 0).is_err());
    archive.publish(&two, &[record(0, b"")], 20_001 * DAY - 1).expect(GO);
    drop(archive);

    let archive = open();
    assert_eq!(archive.last_offset(&one).expect(GO), Some(22), "after a restart");
    archive.publish(&one, tail, 20_001 * DAY).expect(GO);
    assert_eq!(open().last_offset(&one).expect(GO), Some(38), "with a long last line");
    let files = archive.files("even-ements-1").expect(GO);
    let firsts: Vec<_> = files.iter().map(|file| (file.partition.partition, file.first)).collect();
    assert_eq!(firsts, [(0, 6), (0, 24), (12, 0)]);
    let all: Vec<ArchivedRecord> = files
        .iter()
        .filter(|file| file.partition == one)
        .flat_map(|file| archive.read(file).expect(GO))
        .collect();
    assert_eq!(all, records);
}
