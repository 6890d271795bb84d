//! The contract: what every log must do, one function a rule, run on every implementation.
//!
//! ```text
//! vigie_log::contract_tests!(|| -> Box<dyn vigie_log::contract::Subject> { Box::new(MySubject::new()) });
//! ```
//! gives one `#[test]` for each rule. The rules ask only what the traits promise, so that they hold for a log across a network too:
//! they wait for things to happen, up to [`PATIENCE`], and never measure how fast.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests for other crates to run; the name of each rule says what it checks"
)]

mod groups;
mod records;
mod topics;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use groups::*;
pub use records::*;
pub use topics::*;

use crate::{
    Admin, BatchBuilder, Log, LogError, Member, MemberConfig, Offset, Polled, Producer, ProducerConfig,
    Timestamp, TopicPartition, TopicSpec,
};

/// How long a rule waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A log to be examined, empty at first (or shared, if [`name`](Self::name) makes names unique).
pub trait Subject {
    /// The log.
    fn log(&self) -> Arc<dyn Log>;
    /// Ends it and starts it again on the same data. What was made from the log before is not used any more.
    fn restart(&mut self);
    /// Applies retention and compaction as of `now`; `false` when that cannot be asked for.
    fn maintain(&self, now: Timestamp) -> bool;
    /// Lets time pass for sessions; `false` when the clock cannot be moved.
    fn pass(&self, time: Duration) -> bool;
    /// Sets the wall clock; `false` when it cannot be moved.
    fn set_wall_clock(&self, now: Timestamp) -> bool;
    /// The error that a log out of reach gives; `None` when there is no such thing.
    fn unreachable(&self) -> Option<LogError>;
    /// The error that a missing permission gives; `None` when there is no such thing.
    fn not_authorised(&self) -> Option<LogError>;
    /// The smallest timestamp that survives: 0 where the log has no other meaning for it.
    fn smallest_timestamp(&self) -> Timestamp {
        0
    }
    /// The name to use for a topic, group or transactional id.
    fn name(&self, base: &str) -> String {
        base.to_owned()
    }
}

/// Gives the names of all rules to a macro, behind the tokens given: `contract_rules!(made { for me })` becomes
/// `made! { for me; order_is_kept_within_a_partition ... }`. With `anywhere` before it, only the rules that can be checked where
/// neither clocks nor maintenance obey: on a server that others use too.
#[macro_export]
macro_rules! contract_rules {
    (anywhere $made:ident { $($tokens:tt)* }) => {
        $made! { $($tokens)*;
            order_is_kept_within_a_partition
            offsets_increase_strictly
            everything_in_a_record_survives
            what_is_there_is_read_once_from_here_to_there
            open_and_aborted_transactions_are_hidden
            records_and_offsets_appear_together
            a_failed_transaction_leaves_nothing
            an_older_producer_is_fenced
            calls_in_the_wrong_order_are_refused
            transactions_of_many_threads_all_arrive
            a_reader_seeks_and_is_moved_to_the_nearer_end
            a_position_never_passes_a_record_that_was_not_handed_out
            a_waiting_reader_wakes_on_a_commit
            a_poll_is_bounded
            restart_keeps_everything
            a_partition_has_one_owner
            partition_n_of_every_topic_goes_to_one_member
            what_is_revoked_can_be_committed_first
            an_old_generation_is_refused
            a_closed_member_gives_way_at_once
            a_rebalance_skips_no_record
            a_member_goes_on_where_its_group_stopped
            a_member_can_start_with_what_is_to_come
            a_member_pauses_resumes_and_seeks
            groups_are_described_altered_and_deleted
            topics_are_created_described_and_deleted
            partitions_can_be_added
            bad_topics_are_refused
            errors_are_told_apart
            records_can_be_deleted
            times_are_found
        }
    };
    ($made:ident { $($tokens:tt)* }) => {
        $crate::contract_rules! { anywhere $made { $($tokens)* } }
        $made! { $($tokens)*;
            a_clock_set_back_does_no_harm
            a_silent_member_loses_its_partitions
            compaction_keeps_the_last_value
            a_reader_survives_compaction_under_its_feet
            retention_removes_the_oldest
        }
    };
}

/// Makes one `#[test]` of each rule. The argument is an expression that is called to get a `Box<dyn Subject>`.
#[macro_export]
macro_rules! contract_tests {
    (@ $make:expr; $($rule:ident)*) => {
        $(
            #[test]
            fn $rule() {
                let mut subject: Box<dyn $crate::contract::Subject> = ($make)();
                $crate::contract::$rule(&mut *subject);
            }
        )*
    };
    ($make:expr) => {
        use $crate::contract_tests as contract_tests_of;
        $crate::contract_rules! { contract_tests_of { @ $make } }
    };
}

/// A record as the rules compare them: offset, key, value.
pub(crate) type Row = (Offset, Option<String>, Option<String>);

pub(crate) fn at(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

pub(crate) fn create(subject: &dyn Subject, base: &str, partitions: u32) -> String {
    create_with(subject, TopicSpec::new(base, partitions))
}

pub(crate) fn create_with(subject: &dyn Subject, spec: TopicSpec) -> String {
    let name = subject.name(&spec.name);
    subject.log().admin().create_topic(&TopicSpec { name: name.clone(), ..spec }).unwrap();
    name
}

pub(crate) fn producer(subject: &dyn Subject, id: Option<&str>) -> Box<dyn Producer> {
    subject.log().producer(ProducerConfig { transactional_id: id.map(|id| subject.name(id)) }).unwrap()
}

pub(crate) fn batch(values: &[&str]) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    for value in values {
        builder.push(1_000, None, Some(value.as_bytes()), &[]);
    }
    builder
}

/// Commits one value after the other, keyed `key=value` or only `value`; `key=` is a tombstone.
pub(crate) fn put(
    subject: &dyn Subject,
    to: &TopicPartition,
    timestamp: Timestamp,
    values: &[&str],
) -> Offset {
    let mut builder = BatchBuilder::new();
    for value in values {
        match value.split_once('=') {
            Some((key, "")) => builder.push(timestamp, Some(key.as_bytes()), None, &[]),
            Some((key, value)) => builder.push(timestamp, Some(key.as_bytes()), Some(value.as_bytes()), &[]),
            None => builder.push(timestamp, None, Some(value.as_bytes()), &[]),
        }
    }
    let mut producer = producer(subject, None);
    producer.begin().unwrap();
    producer.append(to, &mut builder).unwrap();
    let bases = producer.commit().unwrap();
    assert_eq!(bases.len(), 1);
    assert_eq!(bases[0].0, *to);
    bases[0].1
}

/// Everything committed in a partition.
pub(crate) fn rows(subject: &dyn Subject, from: &TopicPartition) -> Vec<Row> {
    let log = subject.log();
    let end = log.admin().offsets(&from.topic).unwrap()[from.partition as usize];
    let mut reader = log.reader(std::slice::from_ref(from)).unwrap();
    let mut found: Vec<Row> = Vec::new();
    let start = Instant::now();
    while reader.position(from).unwrap() < end.latest {
        assert!(start.elapsed() < PATIENCE, "the end {} of {from} was never reached", end.latest);
        for fetched in reader.poll(Duration::from_millis(100)).unwrap() {
            assert_eq!(fetched.partition, *from);
            let next = found.last().map_or(end.earliest, |row| row.0 + 1);
            let new = fetched.batch.iter().filter(|record| record.offset >= next);
            found.extend(new.map(|record| (record.offset, text(record.key), text(record.value))));
        }
    }
    found
}

pub(crate) fn values(subject: &dyn Subject, from: &TopicPartition) -> Vec<String> {
    rows(subject, from).into_iter().map(|(_, _, value)| value.unwrap_or_default()).collect()
}

pub(crate) fn text(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

pub(crate) fn member(subject: &dyn Subject, group: &str, topics: &[&str]) -> Box<dyn Member> {
    subject.log().member(MemberConfig::new(subject.name(group), topics.iter().copied())).unwrap()
}

/// Polls until `enough` of all that came together, or fails.
pub(crate) fn poll_until(member: &mut dyn Member, enough: impl Fn(&Polled) -> bool) -> Polled {
    let start = Instant::now();
    let mut all = Polled::default();
    loop {
        let polled = member.poll(Duration::from_millis(50)).unwrap();
        all.revoked.extend(polled.revoked);
        all.lost.extend(polled.lost);
        all.assigned.extend(polled.assigned);
        all.batches.extend(polled.batches);
        if enough(&all) {
            return all;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain; so far came {all:?}");
    }
}

pub(crate) fn polled_values(polled: &Polled) -> Vec<String> {
    polled
        .batches
        .iter()
        .flat_map(|fetched| fetched.batch.iter().map(|record| text(record.value).unwrap_or_default()))
        .collect()
}

pub(crate) fn committed(admin: &dyn Admin, group: &str, partition: &TopicPartition) -> Option<Offset> {
    let description = admin.describe_group(group).unwrap();
    description.committed.iter().find(|(committed, _)| committed == partition).map(|(_, offset)| *offset)
}
