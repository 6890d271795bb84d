//! The thread that reads the log for the live stream.
//!
//! Everything but `customers` is read from the end at start: what was before is the stores' business. Topics that are created later
//! are found within a second and read from their beginning. A log that cannot be read is tried again, from the same positions.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::de::DeserializeOwned;
use vigie_domain::{EventStat, PageCount, Score, topics};
use vigie_log::{Offset, Reader, RecordRef, TopicPartition};

use super::pending::Pending;
use super::{LiveParts, Shared, lock};
use crate::views::{AnomalyStatus, EventDoc, Named};

const FOLLOWED: [&str; 11] = [
    topics::CUSTOMERS,
    topics::CHURN_SCORES,
    topics::EVENEMENTS,
    topics::EVENEMENTS_STATS,
    topics::R4,
    topics::ALERTS,
    topics::ANOMALIES,
    topics::SESSION_PATTERNS,
    topics::USERS,
    topics::ASSIGNMENTS,
    topics::OUTCOMES,
];
/// At most ten messages a second.
const BETWEEN: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
/// Topics rarely get more partitions, and asking costs a round trip for each topic.
const MORE_PARTITIONS: Duration = Duration::from_secs(30);

/// Runs until the live stream is dropped.
pub(super) fn run(shared: &Shared, parts: &LiveParts) {
    let mut tail = Tail {
        shared,
        parts,
        positions: HashMap::new(),
        customers_until: HashMap::new(),
        reader: None,
        started: false,
        pending: Pending::default(),
        last_overview: String::new(),
        counted: None,
        asked: None,
    };
    let clock = &parts.app.clock;
    let mut flushed = None::<Duration>;
    let mut looked = None::<Duration>;
    while !shared.stop.load(Ordering::Relaxed) {
        let now = clock.monotonic();
        if looked.is_none_or(|at| now.saturating_sub(at) >= SECOND) {
            tail.each_second(now);
            looked = Some(now);
        }
        // Quiet for a tenth of a second: what comes is sent at once. Otherwise the rest of the tenth is waited for.
        let wait = flushed.map_or(Duration::ZERO, |at| BETWEEN.saturating_sub(now.saturating_sub(at)));
        if !tail.pending.is_empty() && wait.is_zero() {
            tail.flush();
            flushed = Some(clock.monotonic());
            continue;
        }
        tail.poll(if tail.pending.is_empty() { BETWEEN } else { wait });
    }
}

struct Tail<'a> {
    shared: &'a Shared,
    parts: &'a LiveParts,
    positions: HashMap<TopicPartition, Offset>,
    /// Records of `customers` before this offset were there before this start.
    customers_until: HashMap<u32, Offset>,
    reader: Option<Box<dyn Reader>>,
    started: bool,
    pending: Pending,
    last_overview: String,
    counted: Option<(Duration, i64)>,
    /// When all topics were last asked for their partitions.
    asked: Option<Duration>,
}

impl Tail<'_> {
    fn each_second(&mut self, now: Duration) {
        match self.refresh(now) {
            Ok(()) => *lock(&self.shared.trouble) = None,
            Err(error) => {
                self.trouble(&error);
                return;
            }
        }
        let admin = self.parts.app.log.admin();
        let count: i64 = topics::SOURCES
            .iter()
            .filter_map(|topic| admin.offsets(topic).ok())
            .flat_map(|partitions| partitions.into_iter().map(|offsets| offsets.latest))
            .sum();
        if let Some((at, before)) = self.counted {
            let seconds = now.saturating_sub(at).as_secs_f64();
            if seconds > 0.0 {
                // Smoothed over a few seconds, so that a source with pauses does not make the figure jump.
                let rate = (count - before).max(0) as f64 / seconds;
                let mut smooth = lock(&self.shared.rate);
                *smooth += (rate - *smooth) * (1.0 - (-seconds / 3.0).exp());
            }
        }
        self.counted = Some((now, count));
        if self.shared.newest.receiver_count() > 0 {
            self.overview();
        }
    }

    fn overview(&mut self) {
        let app = &self.parts.app;
        let risk = lock(&self.shared.index).risk(app.model.threshold());
        let rate = *lock(&self.shared.rate);
        let latency = lock(&self.shared.latency).quantiles(app.clock.now());
        match crate::routes::overview::gather(app, risk, rate, latency, None) {
            Ok(overview) => {
                let json = serde_json::to_string(&overview).unwrap_or_default();
                if json != self.last_overview {
                    self.last_overview.clone_from(&json);
                    self.pending.overview(json);
                }
            }
            Err(problem) => tracing::warn!(detail = %problem.detail, "the overview cannot be computed"),
        }
    }

    fn trouble(&mut self, error: &vigie_log::LogError) {
        let text = error.to_string();
        let mut trouble = lock(&self.shared.trouble);
        if trouble.as_deref() != Some(&text) {
            tracing::warn!(%error, "the live stream cannot read the log; it tries again");
        }
        *trouble = Some(text);
        drop(trouble);
        self.reader = None;
        std::thread::sleep(BETWEEN);
    }

    /// Finds new topics and partitions, and makes the reader anew when there are some, or when there is none.
    fn refresh(&mut self, now: Duration) -> vigie_log::Result<()> {
        let admin = self.parts.app.log.admin();
        let there = admin.list_topics(false)?;
        let mut new = Vec::new();
        let all = self.asked.is_none_or(|at| now.saturating_sub(at) >= MORE_PARTITIONS);
        if all {
            self.asked = Some(now);
        }
        for topic in FOLLOWED.iter().filter(|topic| there.iter().any(|name| name == *topic)) {
            if !all && self.positions.keys().any(|known| &*known.topic == *topic) {
                continue;
            }
            for (number, ends) in admin.offsets(topic)?.into_iter().enumerate() {
                let partition = TopicPartition::new(*topic, u32::try_from(number).unwrap_or(u32::MAX));
                if self.positions.contains_key(&partition) {
                    continue;
                }
                let from_start = self.started || *topic == topics::CUSTOMERS;
                if *topic == topics::CUSTOMERS && !self.started {
                    self.customers_until.insert(partition.partition, ends.latest);
                }
                new.push((partition, if from_start { ends.earliest } else { ends.latest }));
            }
        }
        self.started = true;
        if new.is_empty() && (self.reader.is_some() || self.positions.is_empty()) {
            return Ok(());
        }
        self.positions.extend(new);
        let partitions: Vec<TopicPartition> = self.positions.keys().cloned().collect();
        let mut reader = self.parts.app.log.reader(&partitions)?;
        for (partition, position) in &self.positions {
            reader.seek(partition, *position)?;
        }
        self.reader = Some(reader);
        Ok(())
    }

    fn poll(&mut self, wait: Duration) {
        let Some(reader) = &mut self.reader else {
            std::thread::sleep(wait.min(BETWEEN));
            return;
        };
        match reader.poll(wait) {
            Err(error) => self.trouble(&error),
            Ok(mut fetched) => {
                // Customers first: their names go with the scores of the same transaction.
                fetched.sort_by_key(|f| &*f.partition.topic != topics::CUSTOMERS);
                for batch in &fetched {
                    // What has been seen is known here: a reader's own position may lie behind records that it still has to hand out.
                    let start = self.positions.get(&batch.partition).copied().unwrap_or_default();
                    for record in batch.batch.iter().filter(|record| record.offset >= start) {
                        self.positions.insert(batch.partition.clone(), record.offset + 1);
                        self.record(&batch.partition, &record);
                    }
                }
            }
        }
    }

    fn record(&mut self, from: &TopicPartition, record: &RecordRef<'_>) {
        let Some(value) = record.value else {
            if &*from.topic == topics::CUSTOMERS
                && let Some(key) = record.key.and_then(|key| std::str::from_utf8(key).ok())
            {
                lock(&self.shared.index).forget(key);
            }
            return;
        };
        let pending = &mut self.pending;
        match &*from.topic {
            topics::CUSTOMERS => {
                if let Some(view) = json::<vigie_domain::CustomerView>(value) {
                    let worth = self.parts.app.model.value_of(&view.customer);
                    let until = self.customers_until.get(&from.partition).copied().unwrap_or_default();
                    lock(&self.shared.index).customer(view, worth, record.offset >= until);
                }
            }
            topics::CHURN_SCORES => {
                if let Some(score) = json::<Score>(value) {
                    self.parts.waiters.answer(&score);
                    let (name, previous) = lock(&self.shared.index).score(&score);
                    pending.score(score, name, previous);
                }
            }
            // What breaks its contract is not JSON of this shape and comes as an anomaly.
            topics::EVENEMENTS => {
                if let Some(event) = json::<vigie_domain::ShopEvent>(value) {
                    let name = lock(&self.shared.index).name(&event.user_id);
                    let event_time =
                        vigie_domain::parse_iso8601(&event.timestamp).unwrap_or(record.timestamp);
                    let origin = vigie_domain::Origin {
                        topic: from.topic.to_string(),
                        partition: from.partition,
                        offset: record.offset,
                    };
                    pending.shop(Named { item: EventDoc { event, origin, event_time }, name });
                }
            }
            topics::EVENEMENTS_STATS => {
                if record.key == Some(b"total")
                    && let Some(stat) = json::<EventStat>(value)
                {
                    pending.shop_total(stat.count);
                }
            }
            topics::R4 => page_count(record).map(|count| pending.page(count)).unwrap_or_default(),
            topics::ALERTS => {
                if let Some(alert) = json::<vigie_domain::Alert>(value) {
                    let name = lock(&self.shared.index).name(&alert.subject);
                    pending.alert(Named { item: alert, name });
                }
            }
            topics::ANOMALIES => {
                if let Some(doc) = json::<crate::views::AnomalyDoc>(value)
                    && doc.status == AnomalyStatus::Open
                {
                    pending.anomaly(&doc);
                }
            }
            topics::SESSION_PATTERNS => {
                if let Some(found) = json::<vigie_domain::SessionPattern>(value) {
                    let name = lock(&self.shared.index).name(&found.user_id);
                    pending.pattern(Named { item: found, name });
                }
            }
            topics::USERS => pending.user(),
            topics::ASSIGNMENTS => json(value).map(|new| pending.assignment(new)).unwrap_or_default(),
            topics::OUTCOMES => json(value).map(|known| pending.outcome(known)).unwrap_or_default(),
            _ => {}
        }
    }

    fn flush(&mut self) {
        let now = self.parts.app.clock.now();
        let (parts, latencies) = self.pending.take(now);
        let mut latency = lock(&self.shared.latency);
        for ms in latencies {
            latency.add(now, ms);
            self.parts.metrics.event_to_score(ms);
        }
        drop(latency);
        if parts.is_empty() {
            return;
        }
        let newest = lock(&self.shared.ring).push(now, parts);
        self.shared.newest.send_replace(newest);
    }
}

fn json<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    serde_json::from_slice(value).ok()
}

/// Reads records of `R4`: the window and the page stand in headers, the count is eight bytes, big endian.
pub(crate) fn page_count(record: &RecordRef<'_>) -> Option<PageCount> {
    let header = |name: &str| std::str::from_utf8(record.headers.get(name)?.value?).ok();
    Some(PageCount {
        page: header(topics::PAGE)?.to_owned(),
        window_start: header(topics::WINDOW_START)?.parse().ok()?,
        window_end: header(topics::WINDOW_END)?.parse().ok()?,
        count: i64::from_be_bytes(record.value?.try_into().ok()?),
    })
}
