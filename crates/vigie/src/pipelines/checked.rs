//! The contract check: every source's raw records become typed ones, or anomalies with rule, reason, origin and the raw record.
//!
//! A bad record never stops a pipeline.

use std::sync::Arc;

use base64::Engine as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use vigie_contracts::{Contract, Violation};
use vigie_domain::{Anomaly, Origin, ShopEvent, topics};
use vigie_streams::serde::{Blob, Json, Nullable, Utf8};
use vigie_streams::{
    BoxError, Consumed, KStream, Processor, ProcessorContext, Produced, Record, StreamsBuilder,
};

/// An event time further ahead of the record's own time than this is a mistake of the producer; letting it through would close
/// every window before it.
const FUTURE_MS: i64 = 24 * 3600 * 1000;
/// Raw values are kept up to this size in an anomaly.
const RAW_LIMIT: usize = 64 * 1024;

/// A value that knows the record it came from, however many topics it has passed since.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Traced<T> {
    /// The value.
    pub value: T,
    /// The record it came from.
    pub origin: Origin,
    /// Its event time, ms since the epoch.
    pub at: i64,
    /// Which clock that time runs on; empty: the wall clock.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub clock: String,
}

impl Traced<ShopEvent> {
    /// The event without its texts: what goes through repartition topics stays small, whatever a producer writes.
    pub fn slim(&self) -> Self {
        let event = &self.value;
        Self {
            value: ShopEvent {
                timestamp: String::new(),
                user_id: event.user_id.clone(),
                event_type: event.event_type,
                session_id: event.session_id.clone(),
                price: event.price,
                page: None,
                product: None,
                query: None,
                products: None,
                text: None,
            },
            origin: self.origin.clone(),
            at: self.at,
            clock: self.clock.clone(),
        }
    }
}

#[derive(Debug, Clone)]
enum Checked<T> {
    Good(Traced<T>),
    Bad(Box<Anomaly>),
}

/// Reads `topic`, checks each record against its contract, sends the bad ones to `anomalies`, and returns the good ones under
/// their own keys, with `time` as their event time where it gives one.
pub fn checked<T>(
    builder: &mut StreamsBuilder,
    topic: &str,
    contract: Arc<Contract>,
    time: fn(&T) -> Option<i64>,
) -> KStream<Option<Vec<u8>>, Traced<T>>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    let supplier = move || Check { contract: Arc::clone(&contract), time };
    let checked = builder
        .stream(topic, Consumed::with(Nullable::new(Blob), Blob))
        .named(&format!("check-{topic}"))
        .process(supplier, &[]);
    checked
        .flat_map(|_, checked: &Checked<T>| match checked {
            Checked::Bad(anomaly) => Some((anomaly.id.clone(), (**anomaly).clone())),
            Checked::Good(_) => None,
        })
        .to(topics::ANOMALIES, Produced::with(Utf8, Json::new()));
    checked.flat_map_values(|checked: &Checked<T>| match checked {
        Checked::Good(traced) => Some(traced.clone()),
        Checked::Bad(_) => None,
    })
}

struct Check<T> {
    contract: Arc<Contract>,
    time: fn(&T) -> Option<i64>,
}

impl<T: DeserializeOwned> Check<T> {
    fn check(&self, raw: &[u8], at: i64) -> Result<(T, i64), Violation> {
        let value: T = self.contract.check(raw)?;
        let event_time = (self.time)(&value).unwrap_or(at);
        if event_time > at.saturating_add(FUTURE_MS) {
            return Err(Violation::new(
                format!("{}/event-time", self.contract.name()),
                None,
                format!(
                    "the event time {} lies more than a day ahead of the record's own time {}; check the producer's clock",
                    vigie_domain::iso8601(event_time),
                    vigie_domain::iso8601(at)
                ),
            )
            .with_fr(format!(
                "l’heure de l’événement {} a plus d’un jour d’avance sur celle de l’enregistrement {} ; vérifier l’horloge du producteur",
                vigie_domain::iso8601(event_time),
                vigie_domain::iso8601(at)
            )));
        }
        Ok((value, event_time))
    }
}

impl<T> Processor<Option<Vec<u8>>, Vec<u8>, Option<Vec<u8>>, Checked<T>> for Check<T>
where
    T: DeserializeOwned + Clone + Send + 'static,
{
    fn process(
        &mut self,
        ctx: &mut ProcessorContext<'_, '_, Option<Vec<u8>>, Checked<T>>,
        record: Record<Option<Vec<u8>>, Vec<u8>>,
    ) -> Result<(), BoxError> {
        let origin = origin(ctx);
        let raw = record.value.as_deref().unwrap_or_default();
        let (checked, timestamp) = match self.check(raw, record.timestamp) {
            Ok((value, at)) => {
                let clock = record.headers.get_str(topics::TIME_DOMAIN).unwrap_or_default().to_owned();
                (Checked::Good(Traced { value, origin, at, clock }), at)
            }
            Err(violation) => {
                let about = About { origin, key: record.key.as_deref(), raw, event_time: record.timestamp };
                (Checked::Bad(Box::new(anomaly(violation, about, ctx.wall_clock()))), record.timestamp)
            }
        };
        ctx.forward(Record { timestamp, ..record.with_value(Some(checked)) })
    }
}

/// Where the record being processed stands in the log.
pub fn origin<K, V>(ctx: &ProcessorContext<'_, '_, K, V>) -> Origin {
    let metadata = ctx.record_metadata();
    Origin { topic: metadata.topic.to_string(), partition: metadata.partition, offset: metadata.offset }
}

/// The record that an anomaly is about.
pub struct About<'a> {
    /// Where it stands.
    pub origin: Origin,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub raw: &'a [u8],
    /// Its event time.
    pub event_time: i64,
}

/// The anomaly of a record that breaks a rule.
pub fn anomaly(violation: Violation, about: About<'_>, now: i64) -> Anomaly {
    let (raw, raw_encoding) = match std::str::from_utf8(about.raw) {
        Ok(text) => (cut(text, RAW_LIMIT).to_owned(), "utf-8"),
        Err(_) => {
            let kept = about.raw.get(..RAW_LIMIT).unwrap_or(about.raw);
            (base64::engine::general_purpose::STANDARD.encode(kept), "base64")
        }
    };
    let reason_fr = violation.message_fr().to_owned();
    Anomaly {
        id: about.origin.id(),
        rule: violation.rule,
        reason_fr,
        reason: violation.reason,
        field: violation.field,
        origin: about.origin,
        key: about.key.map(|key| String::from_utf8_lossy(key).into_owned()),
        raw,
        raw_encoding: raw_encoding.to_owned(),
        raw_bytes: about.raw.len(),
        event_time: about.event_time,
        detected_at: now,
    }
}

/// At most `limit` bytes of a text, cut between characters.
fn cut(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or(text)
}
