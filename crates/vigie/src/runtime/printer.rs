//! The shop's first consumer, as the system that Vigie replaces has it: group `groupe-consommateur-1` prints each event, and every
//! ten events the statistics of what it has printed.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use vigie_domain::{EventType, ShopEvent, topics};
use vigie_log::{Log, LogError, MemberConfig};

use super::RuntimeError;

/// The consumer group.
pub const GROUP: &str = "groupe-consommateur-1";
/// Statistics are printed after so many events.
const EVERY: u64 = 10;
const POLL: Duration = Duration::from_millis(200);

/// What has been printed so far.
#[derive(Debug, Default, PartialEq)]
struct Statistics {
    total: u64,
    sales_cents: i64,
    by_type: BTreeMap<&'static str, u64>,
    by_user: BTreeMap<String, u64>,
}

impl Statistics {
    /// Adds an event; tells whether it is time to print.
    fn add(&mut self, event: &ShopEvent) -> bool {
        self.total += 1;
        if event.event_type == EventType::Achat {
            self.sales_cents += crate::pipelines::shop_stats::cents(event.price.unwrap_or_default());
        }
        *self.by_type.entry(event.event_type.as_str()).or_default() += 1;
        *self.by_user.entry(event.user_id.clone()).or_default() += 1;
        self.total.is_multiple_of(EVERY)
    }
}

impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "statistics: {} events, sales {:.2} EUR; by type",
            self.total,
            self.sales_cents as f64 / 100.0
        )?;
        for (kind, count) in &self.by_type {
            write!(f, " {kind}={count}")?;
        }
        // The busiest first; the agency has hundreds of users.
        let mut users: Vec<_> = self.by_user.iter().collect();
        users.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        f.write_str("; by user")?;
        for (user, count) in users.iter().take(10) {
            write!(f, " {user}={count}")?;
        }
        if users.len() > 10 {
            write!(f, " and {} more", users.len() - 10)?;
        }
        Ok(())
    }
}

/// The consumer at work. Dropping it stops it.
pub struct Printer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Starts it; lines go to `out`.
pub fn start(log: Arc<dyn Log>, mut out: Box<dyn Write + Send>) -> Result<Printer, RuntimeError> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = Arc::clone(&stop);
    let thread = std::thread::Builder::new().name(String::from("print-events")).spawn(move || {
        if let Err(error) = run(&*log, &mut *out, &stopping) {
            tracing::warn!(%error, "events are no longer printed");
        }
    })?;
    Ok(Printer { stop, thread: Some(thread) })
}

fn run(log: &dyn Log, out: &mut dyn Write, stopping: &AtomicBool) -> Result<(), LogError> {
    let mut member = log.member(MemberConfig::new(GROUP, [topics::EVENEMENTS]))?;
    let mut statistics = Statistics::default();
    while !stopping.load(Ordering::Acquire) {
        for fetched in member.poll(POLL)?.batches {
            let from =
                member.committed(std::slice::from_ref(&fetched.partition))?.pop().flatten().unwrap_or(0);
            for record in fetched.batch.iter().filter(|record| record.offset >= from) {
                // What is no event is an anomaly; it is not printed here.
                let Ok(event) = serde_json::from_slice::<ShopEvent>(record.value.unwrap_or_default()) else {
                    continue;
                };
                let line = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
                let due = statistics.add(&event);
                let printed = writeln!(out, "{line}")
                    .and_then(|()| if due { writeln!(out, "{statistics}") } else { Ok(()) });
                printed.map_err(|error| LogError::other("printing events", error))?;
            }
            member.commit(&[(fetched.partition.clone(), fetched.batch.last_offset() + 1)])?;
        }
    }
    member.close()
}

impl Drop for Printer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // Its own errors are logged by itself.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, user: &str, price: Option<f64>) -> ShopEvent {
        let event = serde_json::json!({"timestamp": "", "user_id": user, "event_type": kind, "session_id": "s", "price": price});
        serde_json::from_value(event).unwrap()
    }

    #[test]
    fn statistics_come_every_ten_events() {
        let mut statistics = Statistics::default();
        for i in 1..=20 {
            let kind = if i % 4 == 0 { "achat" } else { "navigation" };
            let due = statistics.add(&event(kind, if i < 15 { "user1" } else { "user2" }, Some(10.10)));
            assert_eq!(due, i == 10 || i == 20, "{i}");
        }
        assert_eq!(
            statistics.to_string(),
            "statistics: 20 events, sales 50.50 EUR; by type achat=5 navigation=15; by user user1=14 user2=6"
        );
    }
}
