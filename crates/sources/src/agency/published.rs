//! Which record of a run was the last one to reach the log: read from the ends of the partitions.

use std::time::Duration;

use vigie_log::{Log, Result, TopicPartition};

use super::SEQUENCE_HEADER;

/// A partition is read backwards in steps of so many records ...
const WINDOW: i64 = 256;
/// ... and no further than this: other producers may have written since.
const MAX_BACK: i64 = 100_000;

/// The highest number of the run on these topics; `None` when there is none. Topics that do not exist hold none.
pub(super) fn last_number(log: &dyn Log, topics: &[&str], run: &str) -> Result<Option<u64>> {
    let admin = log.admin();
    let existing = admin.list_topics(false)?;
    let mut last = None;
    for topic in topics.iter().filter(|topic| existing.iter().any(|name| name == **topic)) {
        for (number, ends) in admin.offsets(topic)?.into_iter().enumerate() {
            let partition = TopicPartition::new(*topic, u32::try_from(number).unwrap_or(u32::MAX));
            let mut to = ends.latest;
            let floor = ends.earliest.max(ends.latest - MAX_BACK);
            while to > floor {
                let from = (to - WINDOW).max(floor);
                let found = highest(log, &partition, from, to, run)?;
                if found.is_some() {
                    last = last.max(found);
                    break;
                }
                to = from;
            }
        }
    }
    Ok(last)
}

/// The highest number of the run between two offsets of a partition.
fn highest(log: &dyn Log, partition: &TopicPartition, from: i64, to: i64, run: &str) -> Result<Option<u64>> {
    let mut reader = log.reader(std::slice::from_ref(partition))?;
    reader.seek(partition, from)?;
    let mut last = None;
    while reader.position(partition).is_some_and(|position| position < to) {
        let fetched = reader.poll(Duration::from_millis(500))?;
        if fetched.is_empty() {
            break;
        }
        for batch in &fetched {
            for record in batch.batch.iter() {
                let number = record
                    .headers
                    .get(SEQUENCE_HEADER)
                    .and_then(|header| std::str::from_utf8(header.value?).ok())
                    .and_then(|text| text.strip_prefix(run)?.strip_prefix(':')?.parse::<u64>().ok());
                last = last.max(number);
            }
        }
    }
    Ok(last)
}
