//! The sink's thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use vigie_log::{Clock, Consequence, Fetched, Log, LogError, Member, MemberConfig, Offset, TopicPartition};

use super::backoff::Backoff;
use super::{Circuit, Poison, Shared, Sink, SinkRecord};
use crate::{OffsetStep, Result, Store, StoreError, Write};

/// Failures in a row after which the circuit opens.
const OPENS_AFTER: u32 = 3;

/// Where the sink is in a partition.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// What the store has.
    stored: Option<Offset>,
    /// The next offset to apply; the log's own starting point without one in the store.
    next: Option<Offset>,
    /// The end of the partition as last seen.
    end: Offset,
}

/// Why a round ended early.
enum Trouble {
    /// The store or the log refuses for now: go back to what is stored, and wait.
    Wait(String),
    /// This membership is over: join again.
    Rejoin(String),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        match error.consequence() {
            Consequence::TaskMigrated => Self::Rejoin(error.to_string()),
            _ => Self::Wait(error.to_string()),
        }
    }
}

impl From<LogError> for Trouble {
    fn from(error: LogError) -> Self {
        match error.consequence() {
            Consequence::Retriable => Self::Wait(error.to_string()),
            _ => Self::Rejoin(error.to_string()),
        }
    }
}

/// Writes of one record, so that a bad one can be taken out of a batch.
struct Mapped {
    partition: TopicPartition,
    offset: Offset,
    writes: Vec<Write>,
}

pub(super) struct Worker {
    sink: Sink,
    log: Arc<dyn Log>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    backoff: Backoff,
    places: BTreeMap<TopicPartition, Place>,
    committed_at: Duration,
    uncommitted: bool,
}

impl Worker {
    pub fn new(
        sink: Sink,
        log: Arc<dyn Log>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        shared: Arc<Shared>,
        seed: u64,
    ) -> Self {
        let backoff = Backoff::new(sink.options.first_wait, sink.options.longest_wait, seed);
        let committed_at = clock.monotonic();
        Self {
            sink,
            log,
            store,
            clock,
            shared,
            backoff,
            places: BTreeMap::new(),
            committed_at,
            uncommitted: false,
        }
    }

    pub fn run(mut self) {
        while !self.shared.is_stopping() {
            let mut config = MemberConfig::new(&self.sink.group, &self.sink.topics);
            config.client_id.clone_from(&self.sink.name);
            config.max_poll_bytes = self.sink.options.batch_bytes;
            match self.log.member(config) {
                Ok(mut member) => {
                    self.places.clear();
                    let trouble = self.consume(member.as_mut());
                    if let Err(reason) = &trouble {
                        self.failed(reason);
                    }
                    self.commit(member.as_mut());
                    // Leaving fails only where the membership is over anyway.
                    let _ = member.close();
                    if trouble.is_err() {
                        self.pause();
                    }
                }
                // A topic may be created later, a log may come back.
                Err(error) => {
                    self.failed(&error.to_string());
                    self.pause();
                }
            }
        }
    }

    /// Consumes until stopped, or until the membership is over.
    fn consume(&mut self, member: &mut dyn Member) -> Result<(), String> {
        while !self.shared.is_stopping() {
            match self.round(member) {
                Ok(()) => {}
                Err(Trouble::Rejoin(reason)) => return Err(reason),
                Err(Trouble::Wait(reason)) => {
                    self.failed(&reason);
                    self.wait(member)?;
                }
            }
        }
        Ok(())
    }

    fn round(&mut self, member: &mut dyn Member) -> Result<(), Trouble> {
        let polled = match member.poll(self.sink.options.poll) {
            Ok(polled) => polled,
            Err(LogError::OffsetOutOfRange { topic, partition, offset, earliest, latest }) => {
                return self.out_of_range(
                    member,
                    &TopicPartition::new(topic, partition),
                    (offset, earliest, latest),
                );
            }
            Err(error) => return Err(error.into()),
        };
        for partition in &polled.lost {
            self.places.remove(partition);
        }
        let mut moved = false;
        for partition in &polled.assigned {
            moved |= self.take(member, partition)?;
        }
        if !moved {
            self.batches(&polled.batches)?;
        } else if !polled.batches.is_empty() {
            // Some of them were read from the place before: read again from the store's.
            self.go_back(member)?;
        }
        if !polled.revoked.is_empty()
            || self.clock.monotonic() >= self.committed_at + self.sink.options.commit_every
        {
            self.commit(member);
        }
        for partition in &polled.revoked {
            self.places.remove(partition);
        }
        self.show_lag();
        Ok(())
    }

    /// Takes over a partition where the store says; tells whether that is another place than the log's.
    fn take(&mut self, member: &mut dyn Member, partition: &TopicPartition) -> Result<bool, Trouble> {
        let stored = self.store.offset(&self.sink.group, partition)?;
        self.places.insert(partition.clone(), Place { stored, next: stored, end: stored.unwrap_or(0) });
        match stored {
            Some(offset) => {
                // A log moves a position beyond its ends silently, so the ends are asked for. A topic made anew that has grown beyond
                // the stored offset cannot be told from the old one.
                let ends = self.log.admin().offsets(&partition.topic)?;
                let ends = usize::try_from(partition.partition).ok().and_then(|index| ends.get(index));
                match ends {
                    Some(ends) if offset < ends.earliest || offset > ends.latest => {
                        self.out_of_range(member, partition, (offset, ends.earliest, ends.latest))?;
                    }
                    _ => member.seek(partition, offset)?,
                }
                Ok(true)
            }
            // The group may have committed offsets in a log whose store has been deleted: the store is filled again from the start.
            None => {
                let committed = member.committed(std::slice::from_ref(partition))?;
                if committed.iter().any(Option::is_some) {
                    member.seek(partition, 0)?;
                    return Ok(true);
                }
                Ok(false)
            }
        }
    }

    /// Retention has removed what the store would need next, or the topic has been made anew: go on with the first record there is.
    fn out_of_range(
        &mut self,
        member: &mut dyn Member,
        partition: &TopicPartition,
        (offset, earliest, latest): (Offset, Offset, Offset),
    ) -> Result<(), Trouble> {
        let reason = format!(
            "{partition}: offset {offset} is not in the log any more ({earliest}..{latest}): records were removed before this sink read them, or the topic was made anew; it goes on with offset {earliest}"
        );
        self.shared.update(|status| status.last_error = Some(reason));
        if let Some(place) = self.places.get_mut(partition) {
            place.next = Some(earliest);
        }
        Ok(member.seek(partition, earliest)?)
    }

    fn batches(&mut self, batches: &[Fetched]) -> Result<(), Trouble> {
        let mut mapped: Vec<Mapped> = Vec::new();
        let mut poison: Vec<Poison> = Vec::new();
        let mut steps: BTreeMap<TopicPartition, OffsetStep> = BTreeMap::new();
        let mut records = 0;
        for Fetched { partition, batch, end } in batches {
            let Some(place) = self.places.get_mut(partition) else { continue };
            place.end = *end;
            let (stored, mut next) = (place.stored, steps.get(partition).map(|step| step.to).or(place.next));
            for record in batch.iter() {
                if next.is_some_and(|next| record.offset < next) {
                    continue;
                }
                records += 1;
                match (self.sink.apply)(&SinkRecord { partition, record }) {
                    Ok(writes) => {
                        mapped.push(Mapped { partition: partition.clone(), offset: record.offset, writes })
                    }
                    Err(reason) => poison.push(self.poison(partition, record.offset, reason)),
                }
                next = Some(record.offset + 1);
            }
            // Past the batch's end, where compaction has taken the last records.
            let to = next.unwrap_or(0).max(batch.last_offset() + 1);
            if Some(to) != stored {
                steps
                    .insert(partition.clone(), OffsetStep { partition: partition.clone(), from: stored, to });
            }
        }
        if steps.is_empty() {
            return Ok(());
        }
        let steps: Vec<OffsetStep> = steps.into_values().collect();
        let written = self.store_all(mapped, &steps, &mut poison)?;
        for step in steps {
            if let Some(place) = self.places.get_mut(&step.partition) {
                (place.stored, place.next) = (Some(step.to), Some(step.to));
            }
        }
        self.uncommitted = true;
        self.backoff.reset();
        // Reported only now: a batch that is tried again would report them again.
        poison.iter().for_each(|poison| (self.sink.on_poison)(poison));
        self.shared.update(|status| {
            status.circuit = Circuit::Closed;
            status.written += written;
            status.records += records;
            status.poison += poison.len() as u64;
        });
        Ok(())
    }

    /// One transaction for all; where a record does not fit the store, the good ones without it.
    fn store_all(
        &self,
        mut mapped: Vec<Mapped>,
        steps: &[OffsetStep],
        poison: &mut Vec<Poison>,
    ) -> Result<u64> {
        let flat = |mapped: &mut Vec<Mapped>| -> Vec<Write> {
            mapped.iter_mut().flat_map(|mapped| mapped.writes.iter().cloned()).collect()
        };
        match self.store.apply(&self.sink.group, &flat(&mut mapped), steps) {
            Err(error) if error.is_bad_record() => {}
            result => return result,
        }
        // Which one it is: each alone, which is idempotent, without moving the offsets; then all good ones with them.
        let mut good = Vec::with_capacity(mapped.len());
        for one in mapped {
            match self.store.apply(&self.sink.group, &one.writes, &[]) {
                Err(error) if error.is_bad_record() => {
                    poison.push(self.poison(&one.partition, one.offset, error.to_string()));
                }
                Err(error) => return Err(error),
                Ok(_) => good.push(one),
            }
        }
        self.store.apply(&self.sink.group, &flat(&mut good), steps)
    }

    fn poison(&self, partition: &TopicPartition, offset: Offset, reason: String) -> Poison {
        Poison { sink: self.sink.name.clone(), partition: partition.clone(), offset, reason }
    }

    /// The next poll reads what the store lacks.
    fn go_back(&self, member: &mut dyn Member) -> Result<(), Trouble> {
        for (partition, place) in &self.places {
            member.seek(partition, place.next.unwrap_or(0))?;
        }
        Ok(())
    }

    /// Waits out the backoff, still a member of its group: partitions are paused, not given up.
    fn wait(&mut self, member: &mut dyn Member) -> Result<(), String> {
        let text = |trouble: Trouble| match trouble {
            Trouble::Wait(reason) | Trouble::Rejoin(reason) => reason,
        };
        let owned: Vec<TopicPartition> = member.assignment();
        member.pause(&owned).map_err(|error| error.to_string())?;
        let until = self.clock.monotonic() + self.backoff.next();
        let mut changed = false;
        loop {
            let now = self.clock.monotonic();
            if now >= until || self.shared.is_stopping() || changed {
                break;
            }
            let slice = (until - now).min(Duration::from_millis(50));
            match member.poll(Duration::ZERO) {
                Ok(polled) => {
                    changed =
                        !polled.assigned.is_empty() || !polled.revoked.is_empty() || !polled.lost.is_empty();
                }
                Err(error) if error.consequence() == Consequence::Retriable => {}
                Err(error) => return Err(error.to_string()),
            }
            self.shared.wait(slice);
        }
        if changed {
            return Err(String::from(
                "the group's work was shared out anew while the sink was waiting; it joins again",
            ));
        }
        if self.backoff.failures() >= OPENS_AFTER {
            self.shared.update(|status| status.circuit = Circuit::HalfOpen);
        }
        // The first failure may have come before the store was asked where each partition stands.
        for partition in &owned {
            self.take(member, partition).map_err(text)?;
        }
        self.go_back(member).map_err(text)?;
        member.resume(&owned).map_err(|error| error.to_string())
    }

    fn failed(&mut self, reason: &str) {
        let open = self.backoff.failures() + 1 >= OPENS_AFTER;
        self.shared.update(|status| {
            status.retries += 1;
            status.last_error = Some(reason.to_owned());
            if open {
                status.circuit = Circuit::Open;
            }
        });
    }

    /// Waits before joining again.
    fn pause(&mut self) {
        let wait = self.backoff.next();
        self.shared.wait(wait);
    }

    /// Tells the log how far the store is, for lag; it may fail without harm, the store knows better.
    fn commit(&mut self, member: &mut dyn Member) {
        self.committed_at = self.clock.monotonic();
        if !std::mem::take(&mut self.uncommitted) {
            return;
        }
        let offsets: Vec<(TopicPartition, Offset)> = self
            .places
            .iter()
            .filter_map(|(partition, place)| place.stored.map(|offset| (partition.clone(), offset)))
            .collect();
        if let Err(error) = member.commit(&offsets) {
            self.uncommitted = true;
            self.shared.update(|status| status.last_error = Some(error.to_string()));
        }
    }

    fn show_lag(&self) {
        let behind = |place: &Place| u64::try_from(place.end - place.next.unwrap_or(0)).unwrap_or(0);
        let lag = self.places.values().map(behind).sum();
        self.shared.update(|status| status.lag = lag);
    }
}
