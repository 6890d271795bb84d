//! Records, events and outcomes -> `customer-history`: one topic, by customer, in one order.
//!
//! Which of a record and an event came first decides what the features of that record are. Once both lie in one partition, that
//! question has one answer, in service and in every replay.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use vigie_domain::{Customer, Origin, Outcome, topics};
use vigie_streams::serde::{Json, Utf8};
use vigie_streams::{BoxError, KStream, Processor, ProcessorContext, Produced, Record};

use super::checked::Traced;
use crate::features::FeatureSet;

/// At most so often a commit is asked for, so that a record is scored within milliseconds without a commit for each under load.
const COMMIT_EVERY_MS: i64 = 20;

/// Something that happened to a customer, as on `customer-history`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Happening {
    /// The record came or changed.
    Record(Traced<Customer>),
    /// The customer did something.
    Event(Traced<Value>),
    /// What became of the customer.
    Outcome(Traced<Outcome>),
}

impl Happening {
    /// When, ms since the epoch.
    pub fn at(&self) -> i64 {
        match self {
            Self::Record(it) => it.at,
            Self::Event(it) => it.at,
            Self::Outcome(it) => it.at,
        }
    }

    /// The record that told it.
    pub fn origin(&self) -> &Origin {
        match self {
            Self::Record(it) => &it.origin,
            Self::Event(it) => &it.origin,
            Self::Outcome(it) => &it.origin,
        }
    }
}

/// A stream whose values know where they came from.
pub type TracedStream<T> = KStream<Option<Vec<u8>>, Traced<T>>;

/// Writes customers' records to the history.
pub fn records(name: &str, records: &TracedStream<Customer>) {
    let happenings = records.named(&format!("history-of-{name}")).process(
        || Soon {
            asked: i64::MIN,
            happening: |record: Traced<Customer>| (record.value.id().0, Happening::Record(record)),
        },
        &[],
    );
    happenings.to(topics::CUSTOMER_HISTORY, Produced::with(Utf8, Json::new()));
}

/// Writes outcomes to the history.
pub fn outcomes(outcomes: &TracedStream<Outcome>) {
    outcomes
        .named("history-of-outcomes")
        .map(|_, outcome: &Traced<Outcome>| {
            (outcome.value.customer_id.0.clone(), Happening::Outcome(outcome.clone()))
        })
        .to(topics::CUSTOMER_HISTORY, Produced::with(Utf8, Json::new()));
}

/// Writes the events of a topic that some feature is made of to the history.
pub fn events<T: Serialize + Clone + Send + Sync + 'static>(
    topic: &str,
    events: &TracedStream<T>,
    set: &FeatureSet,
) {
    let (set, name) = (set.clone(), topic.to_owned());
    events
        .named(&format!("history-of-{topic}"))
        .flat_map(move |_, event: &Traced<T>| {
            let value = serde_json::to_value(&event.value).ok()?;
            let customer = set.customer_of(&name, &value)?;
            let Traced { origin, at, clock, .. } = event.clone();
            Some((customer, Happening::Event(Traced { value, origin, at, clock })))
        })
        .to(topics::CUSTOMER_HISTORY, Produced::with(Utf8, Json::new()));
}

/// Passes on at once: somebody may be waiting for the score.
struct Soon<T> {
    asked: i64,
    happening: fn(Traced<T>) -> (String, Happening),
}

/// Asks for a commit, unless that was done a moment ago; `asked` is when.
pub(super) fn commit_soon<K, V>(ctx: &mut ProcessorContext<'_, '_, K, V>, asked: &mut i64) {
    let now = ctx.wall_clock();
    if now.saturating_sub(*asked) >= COMMIT_EVERY_MS || now < *asked {
        *asked = now;
        ctx.request_commit();
    }
}

impl<T: Send + 'static> Processor<Option<Vec<u8>>, Traced<T>, String, Happening> for Soon<T> {
    fn process(
        &mut self,
        ctx: &mut ProcessorContext<'_, '_, String, Happening>,
        record: Record<Option<Vec<u8>>, Traced<T>>,
    ) -> Result<(), BoxError> {
        let Some(traced) = record.value else { return Ok(()) };
        let (key, happening) = (self.happening)(traced);
        commit_soon(ctx, &mut self.asked);
        ctx.forward(Record {
            key,
            value: Some(happening),
            timestamp: record.timestamp,
            headers: record.headers,
        })
    }
}
