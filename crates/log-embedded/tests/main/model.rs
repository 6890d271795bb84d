//! Random actions on the embedded log and on a plain model of it give the same, crashes included.
//!
//! A crash is a copy of the folder, taken while the log is open, in which the journal's last bytes may be missing as if the machine
//! had died while they were written: then the last commit must be gone whole, and nothing else.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;
use vigie_log::{BatchBuilder, Log, ManualClock, MemberConfig, ProducerConfig, TopicPartition, TopicSpec};
use vigie_log_embedded::{EmbeddedConfig, EmbeddedLog};

const PARTITIONS: u32 = 2;

#[derive(Debug, Clone)]
enum Action {
    /// Records by partition of `plain` (how many, how long), keys into `compacted`, the group's new offset.
    Commit {
        plain: Vec<(u32, usize, usize)>,
        keys: Vec<u8>,
        offset: Option<i64>,
        abort: bool,
    },
    DeleteBefore {
        partition: u32,
        part: f64,
    },
    Maintain,
    Reopen,
    /// How many bytes the last write lacks; 0: everything arrived.
    Crash {
        missing: usize,
    },
}

fn action() -> impl Strategy<Value = Action> {
    let commit = (
        prop::collection::vec((0..PARTITIONS, 1..4_usize, 0..600_usize), 0..4),
        prop::collection::vec(0..6_u8, 0..5),
        prop::option::of(0..1_000_i64),
        prop::bool::weighted(0.15),
    )
        .prop_map(|(plain, keys, offset, abort)| Action::Commit { plain, keys, offset, abort });
    prop_oneof![
        10 => commit,
        1 => (0..PARTITIONS, 0.0..=1.0).prop_map(|(partition, part)| Action::DeleteBefore { partition, part }),
        2 => Just(Action::Maintain),
        1 => Just(Action::Reopen),
        2 => prop_oneof![Just(0_usize), 1..40_usize, 1..2_000_usize].prop_map(|missing| Action::Crash { missing }),
    ]
}

/// Offset and value of each record; plain partitions, then the compacted one.
#[derive(Debug, Clone, PartialEq, Default)]
struct Model {
    records: [Vec<(i64, Vec<u8>)>; PARTITIONS as usize + 1],
    latest: [i64; PARTITIONS as usize + 1],
    offset: Option<i64>,
    /// Makes values unique.
    count: u32,
}

impl Model {
    fn push(&mut self, partition: usize, value: Vec<u8>) {
        self.records[partition].push((self.latest[partition], value));
        self.latest[partition] += 1;
    }

    fn compact(&mut self) {
        let compacted = &mut self.records[PARTITIONS as usize];
        let last: BTreeMap<u8, i64> = compacted.iter().map(|(offset, value)| (value[0], *offset)).collect();
        compacted.retain(|(offset, value)| last[&value[0]] == *offset);
    }
}

struct Subject {
    folder: TempDir,
    log: Arc<EmbeddedLog>,
}

fn open(folder: &Path) -> Arc<EmbeddedLog> {
    let mut config = EmbeddedConfig::new(Arc::new(ManualClock::at(1_000)));
    config.maintenance_interval = None;
    EmbeddedLog::open(folder, config).unwrap()
}

fn partition(number: usize) -> TopicPartition {
    match u32::try_from(number).unwrap() {
        PARTITIONS => TopicPartition::new("compacted", 0),
        number => TopicPartition::new("plain", number),
    }
}

impl Subject {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = open(folder.path());
        log.admin().create_topic(&TopicSpec::new("plain", PARTITIONS)).unwrap();
        let compacted = TopicSpec::compacted("compacted", 1).with("min.cleanable.dirty.ratio", "0");
        log.admin().create_topic(&compacted).unwrap();
        Self { folder, log }
    }

    /// Gives back how many bytes the commit added to the journal.
    fn commit(&self, records: &BTreeMap<usize, Vec<Vec<u8>>>, offset: Option<i64>, abort: bool) -> usize {
        let mut member = self.log.member(MemberConfig::new("group", ["plain"])).unwrap();
        member.poll(Duration::ZERO).unwrap();
        let id = Some(String::from("writer"));
        let mut producer = self.log.producer(ProducerConfig { transactional_id: id }).unwrap();
        producer.begin().unwrap();
        for (number, values) in records {
            let mut builder = BatchBuilder::new();
            for value in values {
                builder.push(1, value.get(..1), Some(value), &[]);
            }
            producer.append(&partition(*number), &mut builder).unwrap();
        }
        if let Some(offset) = offset {
            producer.add_offsets(&member.membership(), &[(partition(0), offset)]).unwrap();
        }
        let before = journal(self.folder.path()).len();
        if abort {
            producer.abort().unwrap();
        } else {
            producer.commit().unwrap();
        }
        journal(self.folder.path()).len() - before
    }

    fn crash(&mut self, missing: usize) {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(self.folder.path(), copy.path());
        let mut bytes = journal(copy.path());
        let used = bytes.len();
        bytes[used - missing..].fill(0);
        // Behind it the zeros of a file made in advance.
        bytes.resize(used + 4_096, 0);
        std::fs::write(copy.path().join(JOURNAL), bytes).unwrap();
        let log = open(copy.path());
        // The old one only now, so that closing it cannot help.
        *self = Self { folder: copy, log };
    }

    fn look(&self) -> Model {
        let mut model = Model::default();
        for number in 0..=PARTITIONS as usize {
            let from = partition(number);
            let end = self.log.admin().offsets(&from.topic).unwrap()[from.partition as usize];
            let mut reader = self.log.reader(std::slice::from_ref(&from)).unwrap();
            while reader.position(&from).unwrap() < end.latest {
                for fetched in reader.poll(Duration::ZERO).unwrap() {
                    let new = fetched.batch.iter().filter(|record| record.offset >= end.earliest);
                    model.records[number].extend(new.map(|r| (r.offset, r.value.unwrap().to_vec())));
                }
            }
            model.latest[number] = end.latest;
        }
        let group = self.log.admin().describe_group("group").unwrap();
        model.offset = group.committed.first().map(|(_, offset)| *offset);
        model
    }
}

const JOURNAL: &str = "store/0.jnl";

/// What has been written to the journal, which is mostly a hole.
fn journal(folder: &Path) -> Vec<u8> {
    let mut bytes = read_start(&folder.join(JOURNAL));
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(used);
    bytes
}

fn read_start(path: &Path) -> Vec<u8> {
    const ENOUGH: u64 = 1 << 20;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).unwrap().take(ENOUGH).read_to_end(&mut bytes).unwrap();
    assert!(read < 1 << 20 || bytes.ends_with(&[0; 1_000]), "{} is larger than thought", path.display());
    bytes
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            let bytes = read_start(&entry.path());
            std::fs::write(target, bytes).unwrap();
        }
    }
}

fn run(actions: &[Action]) -> Result<(), TestCaseError> {
    let mut subject = Subject::new();
    let mut model = Model::default();
    // The model before the last commit, while nothing else has been written since.
    let mut before: Option<(Model, usize)> = None;
    for action in actions {
        match action {
            Action::Commit { plain, keys, offset, abort } => {
                let mut records: BTreeMap<usize, Vec<Vec<u8>>> = BTreeMap::new();
                let mut after = model.clone();
                for (number, count, length) in plain {
                    for _ in 0..*count {
                        after.count += 1;
                        let mut value = after.count.to_be_bytes().to_vec();
                        value.resize(4 + length, b'x');
                        records.entry(*number as usize).or_default().push(value);
                    }
                }
                for key in keys {
                    after.count += 1;
                    let value = [&[*key][..], &after.count.to_be_bytes()].concat();
                    records.entry(PARTITIONS as usize).or_default().push(value);
                }
                let written = subject.commit(&records, *offset, *abort);
                for (number, values) in records {
                    values.into_iter().for_each(|value| after.push(number, value));
                }
                after.offset = offset.or(after.offset);
                before = None;
                if !abort && written > 0 {
                    before = Some((std::mem::replace(&mut model, after), written));
                }
            }
            Action::DeleteBefore { partition: number, part } => {
                let number = *number as usize;
                let until = (model.latest[number] as f64 * part) as i64;
                subject.log.admin().delete_records(&partition(number), until).unwrap();
                model.records[number].retain(|(offset, _)| *offset >= until);
                before = None;
            }
            Action::Maintain => {
                subject.log.run_maintenance(2_000).unwrap();
                model.compact();
                before = None;
            }
            Action::Reopen => {
                subject.log.close().unwrap();
                subject.log = open(subject.folder.path());
                before = None;
            }
            Action::Crash { missing } => {
                let Some((earlier, written)) = before.take() else {
                    subject.crash(0);
                    continue;
                };
                let missing = (*missing).min(written);
                subject.crash(missing);
                let count = model.count;
                // Without its end it is not there; the comparison below sees whether it is gone whole.
                if missing > 0 {
                    model = Model { count, ..earlier };
                }
            }
        }
        let count = std::mem::take(&mut model.count);
        prop_assert_eq!(&subject.look(), &model, "after {:?}", action);
        model.count = count;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_its_model(actions in prop::collection::vec(action(), 1..30)) {
        run(&actions)?;
    }
}
