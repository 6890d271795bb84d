//! Retention and compaction.
//!
//! Retention removes whole batches from the start of a partition: those whose newest record is too old, and the oldest while the
//! partition is too large (never below the limit, as Kafka).
//!
//! Compaction reads the part that it has not seen yet, notes the last offset of each key, then goes through the partition from
//! its start, drops records that have a successor, and joins what is left into larger batches. Offsets stay, with gaps between
//! them. A tombstone stays until `delete.retention.ms` after the first compaction that met it, so that a reader on its way from the
//! start does not miss it. Records without a key are kept. Memory is bounded: keys are noted as 128-bit hashes, at most
//! [`MOST_KEYS`] in one pass; what does not fit is left to the next pass.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::Shared;
use super::state::Partition;
use super::storage::{Entry, Note, Slot, Span, Write};
use crate::{BatchBuilder, Header, Offset, RecordRef, Result, Timestamp, TopicPartition, TopicSettings};

/// How much is read and rewritten at a time.
pub(super) const CHUNK: usize = 1 << 20;
/// Batches are joined until they have this size.
const JOINED: usize = 64 << 10;
const MOST_KEYS: usize = 400_000;
/// Offset deltas are 32 bits wide.
const WIDEST: Offset = 1 << 30;

/// What one run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Maintenance {
    /// Batches removed by retention.
    pub expired_batches: u64,
    /// Records removed by compaction.
    pub compacted_records: u64,
    /// Bytes that both removed.
    pub removed_bytes: u64,
}

pub(super) fn run(shared: &Shared, now: Timestamp) -> Result<Maintenance> {
    let mut done = Maintenance::default();
    let work: Vec<(TopicPartition, TopicSettings)> = {
        let state = shared.lock();
        shared.check_open(&state)?;
        state
            .topics
            .values()
            .flat_map(|topic| {
                (0..topic.count()).map(|n| {
                    (TopicPartition::new(std::sync::Arc::clone(&topic.name), n), topic.settings.clone())
                })
            })
            .collect()
    };
    let mut first_error = None;
    for (at, settings) in work {
        if let Err(error) = maintain(shared, &at, &settings, now, &mut done) {
            // Trouble with one partition must not let all others grow; but when nothing can be written any more, that is all.
            shared.check_open(&shared.lock())?;
            first_error.get_or_insert(error);
        }
    }
    first_error.map_or(Ok(done), Err)
}

fn maintain(
    shared: &Shared,
    at: &TopicPartition,
    settings: &TopicSettings,
    now: Timestamp,
    done: &mut Maintenance,
) -> Result<()> {
    if settings.delete && (settings.retention_ms.is_some() || settings.retention_bytes.is_some()) {
        retain(shared, at, settings, now, done)?;
    }
    if settings.compact {
        while compact(shared, at, settings, now, done)? {}
    }
    Ok(())
}

/// The partition now; `None` when it has been deleted meanwhile.
fn look(shared: &Shared, at: &TopicPartition) -> Result<Option<(Slot, Partition)>> {
    let state = shared.lock();
    shared.check_open(&state)?;
    Ok(state.partition(at).ok().map(|(slot, partition)| (slot, partition.clone())))
}

fn retain(
    shared: &Shared,
    at: &TopicPartition,
    settings: &TopicSettings,
    now: Timestamp,
    done: &mut Maintenance,
) -> Result<()> {
    let cutoff = settings.retention_cutoff(now);
    loop {
        // One chunk a turn: commits wait only for that.
        let more = shared.turn.alone(|| -> Result<bool> {
            let Some((slot, mut there)) = look(shared, at)? else { return Ok(false) };
            let span = Span { from: there.earliest, until: there.latest, overlapping: true };
            let mut writes = Vec::new();
            let entries = shared.storage.read(slot, span, CHUNK)?;
            let found = entries.len();
            for Entry { batch, .. } in entries {
                let bytes = batch.bytes() as u64;
                let too_old = cutoff.is_some_and(|cutoff| batch.max_timestamp() < cutoff);
                let too_much =
                    settings.retention_bytes.is_some_and(|limit| there.live.saturating_sub(bytes) >= limit);
                if !too_old && !too_much {
                    break;
                }
                there.live = there.live.saturating_sub(bytes);
                there.earliest = there.earliest.max(batch.last_offset() + 1);
                done.expired_batches += 1;
                done.removed_bytes += bytes;
                writes.push(Write::RemoveBatch { slot, base: batch.base_offset() });
            }
            let more = found > 0 && writes.len() == found;
            if !writes.is_empty() {
                writes.push(Write::PutBounds { slot, bounds: there.bounds() });
                shared.storage.write(writes)?;
                let mut state = shared.lock();
                if let Ok((_, partition)) = state.partition_mut(at) {
                    partition.live = there.live;
                    partition.earliest = there.earliest;
                }
                shared.wake(&mut state);
            }
            Ok(more)
        })?;
        if !more {
            return Ok(());
        }
    }
}

/// One pass. Tells whether another one is needed because there were too many keys for this one.
fn compact(
    shared: &Shared,
    at: &TopicPartition,
    settings: &TopicSettings,
    now: Timestamp,
    done: &mut Maintenance,
) -> Result<bool> {
    let Some((slot, there)) = look(shared, at)? else { return Ok(false) };
    let tombstones_due = there.tombstones_until.is_some_and(|until| until <= now);
    let from = there.cleaned.max(there.earliest);
    let first_dirty = shared
        .storage
        .read(slot, Span { from, until: there.latest, overlapping: false }, 1)?
        .into_iter()
        .next();
    let dirty = first_dirty.map_or(0, |entry| there.appended.saturating_sub(entry.note.appended_before));
    let worth_while = dirty > 0 && dirty as f64 >= settings.min_cleanable_dirty_ratio * there.live as f64;
    if !worth_while && !tombstones_due {
        return Ok(false);
    }
    let mut pass = Pass {
        last: HashMap::new(),
        end: from,
        now,
        delete_retention: settings.delete_retention_ms,
        earliest: there.earliest,
        tombstones_until: None,
    };
    let young = now.saturating_sub(settings.min_compaction_lag_ms);
    let full =
        pass.note_keys(shared, slot, there.latest, (settings.min_compaction_lag_ms > 0).then_some(young))?;
    if pass.end == from && !tombstones_due {
        return Ok(false);
    }
    mark(shared, at, |partition| partition.rewriting = true);
    let outcome = pass.rewrite(shared, at, slot, done);
    mark(shared, at, |partition| {
        partition.rewriting = false;
        partition.rewrites += 1;
    });
    outcome?;
    shared.turn.alone(|| -> Result<()> {
        let Some((slot, mut there)) = look(shared, at)? else { return Ok(()) };
        there.cleaned = pass.end;
        there.tombstones_until = pass.tombstones_until;
        shared.storage.write(vec![Write::PutBounds { slot, bounds: there.bounds() }])?;
        mark(shared, at, |partition| {
            partition.cleaned = pass.end;
            partition.tombstones_until = pass.tombstones_until;
        });
        Ok(())
    })?;
    Ok(full && pass.end > from)
}

fn mark(shared: &Shared, at: &TopicPartition, change: impl FnOnce(&mut Partition)) {
    if let Ok((_, partition)) = shared.lock().partition_mut(at) {
        change(partition);
    }
}

struct Pass {
    /// The last offset of each key between `cleaned` and `end`.
    last: HashMap<u128, Offset>,
    end: Offset,
    now: Timestamp,
    delete_retention: i64,
    earliest: Offset,
    tombstones_until: Option<Timestamp>,
}

fn fingerprint(key: &[u8]) -> u128 {
    let half = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        key.hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(1) << 64 | half(2)
}

impl Pass {
    /// Notes the keys from `end` on; tells whether it stopped because there were too many.
    fn note_keys(
        &mut self,
        shared: &Shared,
        slot: Slot,
        latest: Offset,
        young: Option<Timestamp>,
    ) -> Result<bool> {
        while self.end < latest {
            shared.check_open(&shared.lock())?;
            let span = Span { from: self.end, until: latest, overlapping: false };
            let entries = shared.storage.read(slot, span, CHUNK)?;
            if entries.is_empty() {
                self.end = latest;
            }
            for Entry { batch, .. } in entries {
                if young.is_some_and(|young| batch.max_timestamp() > young) {
                    return Ok(false);
                }
                if self.last.len() + batch.len() > MOST_KEYS && !self.last.is_empty() {
                    return Ok(true);
                }
                for record in batch.iter() {
                    if let Some(key) = record.key {
                        self.last.insert(fingerprint(key), record.offset);
                    }
                }
                self.end = batch.last_offset() + 1;
            }
        }
        Ok(false)
    }

    /// Goes through everything before `end`, chunk by chunk.
    fn rewrite(
        &mut self,
        shared: &Shared,
        at: &TopicPartition,
        slot: Slot,
        done: &mut Maintenance,
    ) -> Result<()> {
        // None: from the first record there is.
        let mut from = None;
        while from.is_none_or(|from| from < self.end) {
            let next = shared.turn.alone(|| -> Result<Offset> {
                let Some((now, mut there)) = look(shared, at)? else { return Ok(self.end) };
                if now != slot {
                    return Ok(self.end);
                }
                let span = Span {
                    from: from.unwrap_or(there.earliest),
                    until: self.end,
                    overlapping: from.is_none(),
                };
                let entries = shared.storage.read(slot, span, CHUNK)?;
                let Some(last) = entries.last() else { return Ok(self.end) };
                let next = last.batch.last_offset() + 1;
                self.earliest = there.earliest;
                let mut joined = Joined::new(slot);
                for entry in &entries {
                    self.take_over(entry, &mut joined);
                }
                joined.flush();
                if !joined.writes.is_empty() {
                    there.live = (there.live + joined.put_bytes).saturating_sub(joined.removed_bytes);
                    joined.writes.push(Write::PutBounds { slot, bounds: there.bounds() });
                    shared.storage.write(joined.writes)?;
                    mark(shared, at, |partition| partition.live = there.live);
                    done.compacted_records += joined.dropped;
                    done.removed_bytes += joined.removed_bytes.saturating_sub(joined.put_bytes);
                }
                Ok(next)
            })?;
            from = Some(next);
        }
        Ok(())
    }

    fn is_kept(&self, record: &RecordRef<'_>, note: &Note) -> bool {
        if record.offset < self.earliest {
            return false;
        }
        let Some(key) = record.key else { return true };
        if self.last.get(&fingerprint(key)).is_some_and(|last| *last > record.offset) {
            return false;
        }
        record.value.is_some() || note.tombstones_until.is_none_or(|until| until > self.now)
    }

    fn take_over(&mut self, entry: &Entry, joined: &mut Joined) {
        let (mut kept, mut tombstones) = (0, false);
        for record in entry.batch.iter().filter(|record| self.is_kept(record, &entry.note)) {
            kept += 1;
            tombstones |= record.key.is_some() && record.value.is_none();
        }
        let until = entry.note.tombstones_until.unwrap_or(self.now.saturating_add(self.delete_retention));
        let tombstones_until = tombstones.then_some(until);
        if let Some(until) = tombstones_until {
            self.tombstones_until = Some(self.tombstones_until.map_or(until, |other| other.min(until)));
        }
        let unchanged = kept == entry.batch.len() && tombstones_until == entry.note.tombstones_until;
        if unchanged && entry.batch.bytes() >= JOINED / 2 {
            joined.flush();
            return;
        }
        joined.start(entry);
        for record in entry.batch.iter().filter(|record| self.is_kept(record, &entry.note)) {
            joined.push(&record);
        }
        joined.dropped += (entry.batch.len() - kept) as u64;
        joined.note.running_max = joined.note.running_max.max(entry.note.running_max);
        joined.note.tombstones_until = joined.note.tombstones_until.max(tombstones_until);
        if joined.builder.bytes() >= JOINED {
            joined.flush();
        }
    }
}

/// The batch that is being put together.
struct Joined {
    slot: Slot,
    builder: BatchBuilder,
    base: Offset,
    note: Note,
    /// What goes into it.
    sources: Vec<Entry>,
    writes: Vec<Write>,
    put_bytes: u64,
    removed_bytes: u64,
    dropped: u64,
}

impl Joined {
    fn new(slot: Slot) -> Self {
        Self {
            slot,
            builder: BatchBuilder::new(),
            base: 0,
            note: Note::default(),
            sources: Vec::new(),
            writes: Vec::new(),
            put_bytes: 0,
            removed_bytes: 0,
            dropped: 0,
        }
    }

    /// A further batch goes into it.
    fn start(&mut self, entry: &Entry) {
        if !self.sources.is_empty() && entry.batch.last_offset() - self.base > WIDEST {
            self.flush();
        }
        if self.sources.is_empty() {
            self.base = entry.batch.base_offset();
            self.note = Note { tombstones_until: None, ..entry.note };
        }
        self.sources.push(entry.clone());
    }

    fn push(&mut self, record: &RecordRef<'_>) {
        let headers: Vec<Header<'_>> = record.headers.iter().collect();
        let delta = u32::try_from(record.offset - self.base).unwrap_or(u32::MAX);
        self.builder.push_at(delta, record.timestamp, record.key, record.value, &headers);
    }

    fn flush(&mut self) {
        let sources = std::mem::take(&mut self.sources);
        if sources.is_empty() {
            return;
        }
        let records: usize = sources.iter().map(|entry| entry.batch.len()).sum();
        if let [only] = sources.as_slice()
            && records == self.builder.len()
            && self.note.tombstones_until == only.note.tombstones_until
        {
            // One small batch, as it was.
            self.builder.clear();
            return;
        }
        for entry in &sources {
            self.removed_bytes += entry.batch.bytes() as u64;
            let base = entry.batch.base_offset();
            if base != self.base || self.builder.is_empty() {
                self.writes.push(Write::RemoveBatch { slot: self.slot, base });
            }
        }
        if !self.builder.is_empty() {
            let batch = self.builder.build(self.base);
            self.put_bytes += batch.bytes() as u64;
            self.writes.push(Write::Replace { slot: self.slot, entry: Entry { note: self.note, batch } });
        }
    }
}
