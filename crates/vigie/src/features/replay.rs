//! Replaying the history: the very topology that serves, over everything that happened, gives the table that a model is trained from.
//!
//! Each partition of the history is read in its order; a customer lies in one partition, so what is computed here is, byte for byte,
//! what was computed in service. Nothing is written to the log.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use vigie_domain::{FeatureRow, Outcome, Trigger, topics};
use vigie_log::{Log, LogError, Span, read_spans};
use vigie_streams::{
    DriverConfig, RawRecord, StreamsBuilder, StreamsError, TopologyError, TopologyTestDriver,
};

use super::FeatureSet;
use crate::pipelines::features::{self, Serving};
use crate::pipelines::history::Happening;

/// So many records of the history pass at once.
const AT_ONCE: usize = 1_000;

/// Why the history cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The log. Its error is the source as well.
    #[error("{0}")]
    Log(#[from] LogError),
    /// The topology.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// A record of the history cannot be processed.
    #[error("replaying the history: {0}")]
    Streams(#[from] StreamsError),
    /// What was computed is not what this version writes.
    #[error("replaying the history: {0}")]
    Json(#[from] serde_json::Error),
}

/// What a replay gives.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Replayed {
    /// Features, customer by customer in the order in which they were computed, and the bytes that go to `customer-features`.
    pub rows: Vec<(FeatureRow, Vec<u8>)>,
    /// Known outcomes, in the order of the history.
    pub outcomes: Vec<Outcome>,
    /// Whether the beginning of the history is gone (its retention is over): the first windows are not whole then.
    pub cut: bool,
}

impl Replayed {
    /// Lets these records pass, and takes what comes of them.
    fn take(&mut self, driver: &TopologyTestDriver, records: Vec<RawRecord>) -> Result<(), ReplayError> {
        for raw in records {
            if let Some(Ok(Happening::Outcome(outcome))) =
                raw.value.as_ref().map(|value| serde_json::from_slice(value))
            {
                self.outcomes.push(outcome.value);
            }
            driver.pipe_raw(topics::CUSTOMER_HISTORY, raw)?;
        }
        for record in driver.read_raw(topics::CUSTOMER_FEATURES) {
            if let Some(bytes) = record.value {
                self.rows.push((serde_json::from_slice(&bytes)?, bytes));
            }
        }
        Ok(())
    }
}

/// In which order the history is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As it was processed: gives what was logged, byte for byte.
    AsProcessed,
    /// By event time, for a history that was read in at once, topic after topic: a record then knows the events before it although
    /// they came later. One partition at a time is held in memory.
    EventTime,
}

/// Computes the features as of each record of the history (and, with `on_events`, as of each event).
pub fn replay(
    log: &dyn Log,
    set: &Arc<FeatureSet>,
    on_events: bool,
    order: Order,
) -> Result<Replayed, ReplayError> {
    let mut builder = StreamsBuilder::new();
    let serving = Serving { on_events: Arc::new(move || on_events), rebuild: Arc::default() };
    features::build(&mut builder, set, &serving);
    let topology = builder.build()?;
    let mut replayed = Replayed::default();
    for span in Span::all_if_there(&*log.admin(), topics::CUSTOMER_HISTORY)? {
        replayed.cut |= span.from > 0;
        let driver = TopologyTestDriver::new(&topology, DriverConfig::default())?;
        let mut waiting = Vec::new();
        let failed = read_spans(log, &[span], |_, record| {
            waiting.push(RawRecord {
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                timestamp: record.timestamp,
                headers: vigie_streams::Headers::default(),
            });
            if order == Order::EventTime || waiting.len() < AT_ONCE {
                return ControlFlow::Continue(());
            }
            match replayed.take(&driver, std::mem::take(&mut waiting)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(error),
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        if order == Order::EventTime {
            // Stable: what happened at the same millisecond stays as it was processed.
            waiting.sort_by_key(|raw| raw.timestamp);
        }
        replayed.take(&driver, waiting)?;
    }
    Ok(replayed)
}

/// Which rows a table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// As of every record, with the outcome that came next, if one is known.
    All,
    /// For each outcome one: the newest at least so many days before it.
    Labelled {
        /// Days.
        lead_days: u32,
    },
}

/// The table as CSV: who, as of when, from which record, the features, and `Churn` (1 left, 0 stayed, empty: not known).
pub fn table(replayed: &Replayed, set: &FeatureSet, rows: Rows) -> Vec<u8> {
    let mut by_customer: BTreeMap<&str, Vec<&FeatureRow>> = BTreeMap::new();
    for (row, _) in &replayed.rows {
        by_customer.entry(row.customer_id.as_str()).or_default().push(row);
    }
    let mut outcomes: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    for outcome in &replayed.outcomes {
        outcomes.entry(outcome.customer_id.as_str()).or_default().push(outcome);
    }
    outcomes.values_mut().for_each(|known| known.sort_by_key(|outcome| outcome.event_time));
    let names: Vec<&str> = set.names().collect();
    let mut lines = vec![
        ["customer_id", "event_time", "origin"]
            .into_iter()
            .chain(names.iter().copied())
            .chain(["Churn"])
            .collect::<Vec<_>>()
            .join(","),
    ];
    let mut line = |row: &FeatureRow, churned: Option<bool>| {
        let mut cells = vec![
            quoted(row.customer_id.as_str()),
            vigie_domain::iso8601(row.event_time),
            quoted(&row.origin.id()),
        ];
        let value = |name: &&str| {
            row.features.get(*name).copied().flatten().map_or_else(String::new, |v| v.to_string())
        };
        cells.extend(names.iter().map(value));
        cells.push(churned.map_or_else(String::new, |churned| u8::from(churned).to_string()));
        lines.push(cells.join(","));
    };
    for (customer, of_customer) in &by_customer {
        let known = outcomes.get(customer).map(Vec::as_slice).unwrap_or_default();
        match rows {
            Rows::All => {
                for row in of_customer {
                    let next = known.iter().find(|outcome| outcome.event_time > row.event_time);
                    line(row, next.map(|outcome| outcome.churned));
                }
            }
            Rows::Labelled { lead_days } => {
                for outcome in known {
                    let until = outcome.event_time - i64::from(lead_days) * 86_400_000;
                    let newest = of_customer
                        .iter()
                        .filter(|row| row.event_time <= until)
                        .max_by_key(|row| row.event_time);
                    if let Some(row) = newest {
                        line(row, Some(outcome.churned));
                    }
                }
            }
        }
    }
    let mut text = lines.join("\n");
    text.push('\n');
    text.into_bytes()
}

/// A cell whose text may hold a comma.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// What was served, beside what a replay gives.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Verified {
    /// Rows that were served under the present declarations.
    pub logged: u64,
    /// Replayed with the same bytes.
    pub equal: u64,
    /// Replayed with other bytes.
    pub different: u64,
    /// Not replayed: what they were computed from is no longer in the history.
    pub missing: u64,
}

/// Compares every row of `customer-features` that the present declarations made with the replay of the history.
pub fn verify(log: &dyn Log, set: &Arc<FeatureSet>) -> Result<Verified, ReplayError> {
    // Read before the replay: what is served meanwhile would be missing in it.
    let mut logged: BTreeMap<(String, Trigger), Vec<u8>> = BTreeMap::new();
    let spans = Span::all(&*log.admin(), topics::CUSTOMER_FEATURES)?;
    let failed = read_spans(log, &spans, |_, record| {
        let Some(value) = record.value else { return ControlFlow::Continue(()) };
        match serde_json::from_slice::<FeatureRow>(value) {
            Ok(row) if row.definitions == set.definitions() => {
                logged.insert((row.origin.id(), row.trigger), value.to_vec());
            }
            Ok(_) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    let mut verified = Verified { logged: logged.len() as u64, ..Verified::default() };
    for (row, bytes) in replay(log, set, true, Order::AsProcessed)?.rows {
        match logged.remove(&(row.origin.id(), row.trigger)) {
            Some(served) if served == bytes => verified.equal += 1,
            Some(_) => verified.different += 1,
            None => {}
        }
    }
    verified.missing = logged.len() as u64;
    Ok(verified)
}
