//! Reading what is known to be there: parts of partitions, from one offset to another, and then done.
//!
//! Whoever follows a log uses a [`Reader`](crate::Reader) or a [`Member`](crate::Member); this is for those who want all of it, or the
//! last few records, as of now: a recount, a replay, what stood before a start. Tombstones are records without a value and are
//! handed over like any other; offsets without a record (compacted, aborted, ends of transactions) are passed over.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::{Admin, Log, LogError, Offset, RecordRef, Result, TopicPartition};

/// What is there comes at once in the process, after a round trip over a network. After so long without anything the ends are looked
/// up again: retention may have removed what was to be read.
const COMES: Duration = Duration::from_secs(1);
/// A log that gives nothing for so long, though there is something, is out of reach.
const PATIENCE: Duration = Duration::from_secs(30);

/// The part of a partition from offset `from` up to, but not including, offset `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Where.
    pub partition: TopicPartition,
    /// The first offset.
    pub from: Offset,
    /// The offset after the last one.
    pub to: Offset,
}

impl Span {
    /// All committed records of a topic as of now, one span a partition, in their order.
    pub fn all(admin: &dyn Admin, topic: &str) -> Result<Vec<Self>> {
        let ends = admin.offsets(topic)?;
        let number = |ends: &crate::PartitionOffsets, partition| Self {
            partition: TopicPartition::new(topic, partition),
            from: ends.earliest,
            to: ends.latest,
        };
        Ok((0..).zip(&ends).map(|(partition, ends)| number(ends, partition)).collect())
    }

    /// The same of a topic that may not exist: it has nothing then.
    pub fn all_if_there(admin: &dyn Admin, topic: &str) -> Result<Vec<Self>> {
        match Self::all(admin, topic) {
            Err(LogError::UnknownTopic { .. }) => Ok(Vec::new()),
            other => other,
        }
    }

    /// Only the last `count` offsets.
    #[must_use]
    pub fn last(mut self, count: usize) -> Self {
        self.from = self.from.max(self.to.saturating_sub(Offset::try_from(count).unwrap_or(Offset::MAX)));
        self
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.from >= self.to
    }
}

/// Reads the committed records of these spans, each once and in order within its partition; of several partitions as they come.
/// `each` may end it with [`ControlFlow::Break`], whose value is returned.
///
/// # Errors
/// Those of the log; [`LogError::Unreachable`] when nothing comes for half a minute although something is there. What retention
/// removes meanwhile is no error: it is no longer there.
pub fn read_spans<B>(
    log: &dyn Log,
    spans: &[Span],
    mut each: impl FnMut(&TopicPartition, &RecordRef<'_>) -> ControlFlow<B>,
) -> Result<Option<B>> {
    let mut left: BTreeMap<TopicPartition, Span> = BTreeMap::new();
    for span in spans.iter().filter(|span| !span.is_empty()) {
        left.insert(span.partition.clone(), span.clone());
    }
    if left.is_empty() {
        return Ok(None);
    }
    let partitions: Vec<TopicPartition> = left.keys().cloned().collect();
    let mut reader = log.reader(&partitions)?;
    for span in left.values() {
        reader.seek(&span.partition, span.from)?;
    }
    let mut moved = Instant::now();
    while !left.is_empty() {
        let mut progress = false;
        for fetched in reader.poll(COMES)? {
            let Some(span) = left.get_mut(&fetched.partition) else { continue };
            // A batch may begin before what was asked for, end behind it, or come twice.
            for record in fetched.batch.iter().filter(|record| record.offset < span.to) {
                if record.offset < span.from {
                    continue;
                }
                span.from = record.offset + 1;
                progress = true;
                if let ControlFlow::Break(value) = each(&fetched.partition, &record) {
                    return Ok(Some(value));
                }
            }
        }
        left.retain(|partition, span| {
            let position = reader.position(partition).unwrap_or(span.from);
            progress |= position > span.from;
            span.from = span.from.max(position);
            !span.is_empty()
        });
        if progress {
            moved = Instant::now();
            continue;
        }
        trim(&*log.admin(), &mut left)?;
        if let Some(span) = left.values().next().filter(|_| moved.elapsed() >= PATIENCE) {
            return Err(LogError::Unreachable {
                address: log.address(),
                reason: format!(
                    "reading {} from offset {} to {}, nothing came for {} s",
                    span.partition,
                    span.from,
                    span.to,
                    PATIENCE.as_secs()
                ),
            });
        }
    }
    Ok(None)
}

/// Takes out of the spans what is no longer there.
fn trim(admin: &dyn Admin, left: &mut BTreeMap<TopicPartition, Span>) -> Result<()> {
    let mut ends = BTreeMap::new();
    for partition in left.keys() {
        if !ends.contains_key(&partition.topic) {
            ends.insert(partition.topic.clone(), admin.offsets(&partition.topic)?);
        }
    }
    left.retain(|partition, span| {
        let there = ends.get(&partition.topic).and_then(|ends| ends.get(partition.partition as usize));
        span.from = span.from.max(there.map_or(span.to, |there| there.earliest));
        span.to = span.to.min(there.map_or(span.to, |there| there.latest));
        !span.is_empty()
    });
    Ok(())
}
