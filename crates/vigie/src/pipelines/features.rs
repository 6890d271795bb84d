//! `customer-history` -> features as of each record (and of each event, where a model in service reads aggregates).
//!
//! The one computation of features: serving and [`crate::features::replay`] build this topology, and nothing else computes them.
//!
//! ```text
//! event   ──▶ add to the hours of its signals ──▶ (where asked for) features of the known record, as of the event
//! record  ──▶ keep it                         ──▶ features of this record, as of it
//! outcome ──▶ passed on
//! ```

use std::sync::Arc;

use vigie_domain::{Customer, FeatureRow, Origin, Outcome, Trigger, features_hash, topics};
use vigie_streams::serde::{Json, Utf8};
use vigie_streams::{
    BoxError, Consumed, KStream, Processor, ProcessorContext, Produced, Record, Store, StoreBuilder,
    StreamsBuilder,
};

use super::checked::{Traced, origin};
use super::history::Happening;
use crate::features::rebuild::Rebuild;
use crate::features::{Bucket, FeatureSet, Signal, hour};

/// Store: the newest record of each customer.
pub const RECORDS: &str = "feature-records";
/// So many old hours of a signal are forgotten for each new one.
const FORGET: usize = 8;

/// What is told to the scoring.
#[derive(Debug, Clone)]
pub enum Computed {
    /// Features, with the record that they belong to.
    Row(Box<Row>),
    /// What became of the customer.
    Outcome(Box<Traced<Outcome>>),
}

/// Features with the record that they belong to.
#[derive(Debug, Clone)]
pub struct Row {
    /// The features.
    pub row: FeatureRow,
    /// The record.
    pub customer: Customer,
}

/// When features are computed.
#[derive(Clone)]
pub struct Serving {
    /// Whether also as of each event.
    pub on_events: Arc<dyn Fn() -> bool + Send + Sync>,
    /// What was scored before and only fills the state.
    pub rebuild: Arc<Rebuild>,
}

/// Computes the features of each happening of the history. They go to `customer-features`, and are returned for scoring.
pub fn build(b: &mut StreamsBuilder, set: &Arc<FeatureSet>, serving: &Serving) -> KStream<String, Computed> {
    // Buckets of other declarations mean something else: they have a store of their own.
    let buckets: Arc<str> = format!("feature-hours-{}", set.definitions()).into();
    b.add_state_store(StoreBuilder::key_value(Store::<String, Customer>::json_named(RECORDS)));
    b.add_state_store(StoreBuilder::key_value(Store::<String, Bucket>::json_named(&buckets)));
    let (supplied, name, serving) = (Arc::clone(set), Arc::clone(&buckets), serving.clone());
    let supplier =
        move || Compute { set: Arc::clone(&supplied), buckets: Arc::clone(&name), serving: serving.clone() };
    let computed: KStream<String, Computed> = b
        .stream(topics::CUSTOMER_HISTORY, Consumed::with(Utf8, Json::<Happening>::new()))
        .named("features")
        .process(supplier, &[RECORDS, &buckets]);
    computed
        .flat_map_values(|computed: &Computed| match computed {
            Computed::Row(row) => Some(row.row.clone()),
            Computed::Outcome(_) => None,
        })
        .to(topics::CUSTOMER_FEATURES, Produced::with(Utf8, Json::new()));
    computed
}

struct Compute {
    set: Arc<FeatureSet>,
    buckets: Arc<str>,
    serving: Serving,
}

/// Sorts by customer, then signal, then hour.
fn key(customer: &str, signal: &Signal, hour: i64) -> String {
    // The sign bit is turned, so that hours before 1970 sort before the others.
    let hour = (hour as u64) ^ (1 << 63);
    format!("{customer}\u{1f}{}\u{1f}{hour:016x}", signal.id)
}

/// The hour of a key.
fn hour_of(key: &str) -> Option<i64> {
    let hex = key.rsplit('\u{1f}').next()?;
    Some((u64::from_str_radix(hex, 16).ok()? ^ (1 << 63)) as i64)
}

type Context<'a, 'b> = ProcessorContext<'a, 'b, String, Computed>;

impl Compute {
    fn add(
        &self,
        ctx: &mut Context<'_, '_>,
        customer: &str,
        event: &Traced<serde_json::Value>,
    ) -> Result<(), BoxError> {
        for (signal, amount) in self.set.adds_to(&event.origin.topic, &event.value) {
            let mut buckets = ctx.key_value::<String, Bucket>(&self.buckets)?;
            let place = key(customer, signal, hour(event.at));
            let known = buckets.get(&place)?;
            if known.is_none() {
                let first = key(customer, signal, i64::MIN);
                let last = key(customer, signal, self.set.oldest_hour(signal, event.at) - 1);
                let old: Vec<String> = buckets
                    .range(&first, &last)?
                    .take(FORGET)
                    .map(|entry| entry.map(|(key, _)| key))
                    .collect::<Result<_, _>>()?;
                for key in &old {
                    buckets.delete(key)?;
                }
            }
            buckets.put(place, known.unwrap_or_default().with(amount, event.at))?;
        }
        Ok(())
    }

    fn row(
        &self,
        ctx: &mut Context<'_, '_>,
        id: &str,
        customer: Customer,
        (at, origin, trigger): (i64, &Origin, Trigger),
    ) -> Result<Computed, BoxError> {
        let mut buckets = ctx.key_value::<String, Bucket>(&self.buckets)?;
        let features = self.set.compute(&customer, at, |signal, from, to| {
            let (from, to) = (key(id, signal, from), key(id, signal, to));
            let mut found = Vec::new();
            for entry in buckets.range(&from, &to)? {
                let (key, bucket) = entry?;
                found.extend(hour_of(&key).map(|hour| (hour, bucket)));
            }
            Ok::<_, BoxError>(found)
        })?;
        let row = FeatureRow {
            customer_id: vigie_domain::CustomerId(id.to_owned()),
            event_time: at,
            origin: origin.clone(),
            trigger,
            features_hash: features_hash(&features),
            features,
            definitions: self.set.definitions().to_owned(),
        };
        Ok(Computed::Row(Box::new(Row { row, customer })))
    }
}

impl Processor<String, Happening, String, Computed> for Compute {
    fn process(
        &mut self,
        ctx: &mut Context<'_, '_>,
        record: Record<String, Happening>,
    ) -> Result<(), BoxError> {
        let Record { key: id, value: Some(happening), timestamp, headers } = record else { return Ok(()) };
        let place = origin(ctx);
        let scored = self.serving.rebuild.was_scored(place.partition, place.offset);
        let (at, from) = (happening.at(), happening.origin().clone());
        let computed = match happening {
            Happening::Record(record) => {
                ctx.key_value::<String, Customer>(RECORDS)?.put(id.clone(), record.value.clone())?;
                if scored {
                    return Ok(());
                }
                self.row(ctx, &id, record.value, (at, &from, Trigger::Record))?
            }
            Happening::Event(event) => {
                self.add(ctx, &id, &event)?;
                if scored || !(self.serving.on_events)() {
                    return Ok(());
                }
                let Some(customer) = ctx.key_value::<String, Customer>(RECORDS)?.get(&id)? else {
                    return Ok(());
                };
                self.row(ctx, &id, customer, (at, &from, Trigger::Event))?
            }
            Happening::Outcome(_) if scored => return Ok(()),
            Happening::Outcome(outcome) => Computed::Outcome(Box::new(outcome)),
        };
        ctx.forward(Record { key: id, value: Some(computed), timestamp, headers })
    }
}
