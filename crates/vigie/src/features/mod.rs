//! Features of a customer: the columns of the record, and the declared aggregates of events, as pure functions of what happened before.
//!
//! An aggregate is kept in hours: an event adds to the hour of its event time, and a window of so many days as of a time T is the hours
//! up to the one of T, which is counted as far as it has come. The state of a customer is thereby bounded, however busy they are.
//! There is one computation, `pipelines::features`; serving runs it on the log, [`replay`] runs it over the history.

pub mod rebuild;
pub mod replay;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vigie_contracts::Contract;
use vigie_domain::{Customer, fingerprint};

use crate::config::{FeatureConfig, Measure};

/// The numeric columns of a customer's record, in the file's order.
pub const COLUMNS: [&str; 5] = ["Age", "Total_Purchase", "Account_Manager", "Years", "Num_Sites"];
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// Features by name; `None`: there is no value.
pub type Features = BTreeMap<String, Option<f64>>;

/// What the events of one hour add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// Events.
    pub count: u64,
    /// Sum of the field, in the order of the history.
    pub sum: f64,
    /// The newest event, ms since the epoch.
    pub last: i64,
}

impl Bucket {
    /// With one more event.
    #[must_use]
    pub fn with(self, amount: f64, at: i64) -> Self {
        Self {
            count: self.count + 1,
            sum: self.sum + amount,
            last: if self.count == 0 { at } else { self.last.max(at) },
        }
    }
}

/// Events that several features may share: one topic, one condition, one field. Its buckets are kept once.
#[derive(Debug, Clone, PartialEq)]
pub struct Signal {
    /// Part of the keys of its buckets; follows from topic, condition and field.
    pub id: String,
    topic: String,
    only: BTreeMap<String, Value>,
    field: Option<String>,
    /// How far its features look back, hours.
    hours: i64,
}

/// All declared features, ready to be computed.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureSet {
    declared: Vec<(FeatureConfig, usize)>,
    signals: Vec<Signal>,
    customer_fields: BTreeMap<String, String>,
    columns: Vec<&'static str>,
    definitions: String,
}

/// Hours since the epoch.
pub fn hour(at: i64) -> i64 {
    at.div_euclid(HOUR)
}

impl FeatureSet {
    /// The features of a (checked) configuration. Columns that the contract of customers' records calls personal are left out.
    pub fn new(declared: &[FeatureConfig], records: &Contract) -> Self {
        let mut signals: Vec<Signal> = Vec::new();
        let mut customer_fields = BTreeMap::new();
        let mut with_signal = Vec::new();
        for feature in declared {
            let identity = json!([feature.topic, feature.customer, feature.only, feature.field]).to_string();
            let id = fingerprint(identity.as_bytes());
            let windows = if feature.measure == Measure::Trend { 2 } else { 1 };
            let hours = i64::from(feature.window_days) * 24 * windows;
            let place = signals.iter().position(|signal| signal.id == id).unwrap_or(signals.len());
            match signals.get_mut(place) {
                Some(signal) => signal.hours = signal.hours.max(hours),
                None => signals.push(Signal {
                    id,
                    topic: feature.topic.clone(),
                    only: feature.only.clone(),
                    field: feature.field.clone(),
                    hours,
                }),
            }
            customer_fields.insert(feature.topic.clone(), feature.customer.clone());
            with_signal.push((feature.clone(), place));
        }
        let columns: Vec<&'static str> =
            COLUMNS.into_iter().filter(|column| !records.classification(column).is_personal()).collect();
        // What is computed, not how it is called on screens.
        let identity: Vec<Value> = with_signal
            .iter()
            .map(|(f, _)| json!([f.name, f.topic, f.customer, f.only, f.measure, f.field, f.window_days]))
            .collect();
        let definitions = fingerprint(json!([columns, identity]).to_string().as_bytes());
        Self { declared: with_signal, signals, customer_fields, columns, definitions }
    }

    /// Fingerprint of what is computed.
    pub fn definitions(&self) -> &str {
        &self.definitions
    }

    /// The topics that events come from.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.customer_fields.keys().map(String::as_str)
    }

    /// All features, columns first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().copied().chain(self.declared.iter().map(|(feature, _)| feature.name.as_str()))
    }

    /// Whether it is one of the aggregates.
    pub fn is_aggregate(&self, name: &str) -> bool {
        self.declared.iter().any(|(feature, _)| feature.name == name)
    }

    /// A feature's name for people, French and English, where it was declared.
    pub fn label<'a>(&'a self, name: &'a str) -> Option<(&'a str, &'a str)> {
        let (feature, _) = self.declared.iter().find(|(feature, _)| feature.name == name)?;
        Some((feature.label_fr.as_deref().unwrap_or(name), feature.label_en.as_deref().unwrap_or(name)))
    }

    /// Whose event it is; `None` where the event does not say.
    pub fn customer_of(&self, topic: &str, event: &Value) -> Option<String> {
        match event.get(self.customer_fields.get(topic)?)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// The signals that an event adds to, and how much.
    pub fn adds_to<'a>(
        &'a self,
        topic: &'a str,
        event: &'a Value,
    ) -> impl Iterator<Item = (&'a Signal, f64)> {
        self.signals.iter().filter(move |signal| signal.topic == topic).filter_map(move |signal| {
            let holds = signal.only.iter().all(|(field, wanted)| {
                let found = event.get(field).unwrap_or(&Value::Null);
                wanted == found || wanted.as_array().is_some_and(|list| list.contains(found))
            });
            let amount = match &signal.field {
                None => Some(0.0),
                // An event without the number is no event of this signal.
                Some(field) => event.get(field).and_then(Value::as_f64).filter(|number| number.is_finite()),
            };
            holds.then_some(())?;
            Some((signal, amount?))
        })
    }

    /// The features at `at`. `read` gives the buckets of a signal from one hour to another, both included, oldest first.
    pub fn compute<E>(
        &self,
        customer: &Customer,
        at: i64,
        mut read: impl FnMut(&Signal, i64, i64) -> Result<Vec<(i64, Bucket)>, E>,
    ) -> Result<Features, E> {
        let now = hour(at);
        let buckets = self
            .signals
            .iter()
            .map(|signal| read(signal, now - signal.hours + 1, now))
            .collect::<Result<Vec<_>, E>>()?;
        let mut features: Features = self
            .columns
            .iter()
            .map(|column| {
                ((*column).to_owned(), column_of(customer, column).filter(|value| value.is_finite()))
            })
            .collect();
        for (feature, signal) in &self.declared {
            let hours = i64::from(feature.window_days) * 24;
            let all = buckets.get(*signal).map(Vec::as_slice).unwrap_or_default();
            let within = |from: i64, to: i64| all.iter().filter(move |(hour, _)| *hour > from && *hour <= to);
            let count = |from, to| within(from, to).map(|(_, bucket)| bucket.count).sum::<u64>() as f64;
            let value = match feature.measure {
                Measure::Count => Some(count(now - hours, now)),
                Measure::Trend => Some(count(now - hours, now) - count(now - 2 * hours, now - hours)),
                Measure::Sum => Some(within(now - hours, now).map(|(_, bucket)| bucket.sum).sum::<f64>()),
                Measure::Recency => within(now - hours, now)
                    .map(|(_, bucket)| bucket.last)
                    .max()
                    .map(|last| (at - last).max(0) as f64 / DAY as f64),
            };
            features.insert(feature.name.clone(), value.map(|value| (value * 1e6).round() / 1e6));
        }
        Ok(features)
    }

    /// Buckets of hours before this one are of no use to anybody at `at` or later.
    pub fn oldest_hour(&self, signal: &Signal, at: i64) -> i64 {
        hour(at) - signal.hours + 1
    }
}

fn column_of(customer: &Customer, column: &str) -> Option<f64> {
    Some(match column {
        "Age" => customer.age,
        "Total_Purchase" => customer.total_purchase,
        "Account_Manager" => f64::from(customer.account_manager),
        "Years" => customer.years,
        "Num_Sites" => customer.num_sites,
        _ => return None,
    })
}

/// Topics whose events features are made of and that the application has no pipeline of its own for.
pub fn own_topics(declared: &[FeatureConfig]) -> BTreeSet<&str> {
    declared
        .iter()
        .map(|feature| feature.topic.as_str())
        .filter(|topic| !crate::runtime::TOPICS.iter().any(|(name, _)| name == topic))
        .collect()
}

#[cfg(test)]
mod windows {
    use super::*;
    use crate::config::Config;
    use vigie_contracts::Contracts;

    fn set(toml: &str) -> FeatureSet {
        let config: Config = toml::from_str(toml).unwrap();
        let contracts = Contracts::built_in().unwrap();
        FeatureSet::new(&config.features, &contracts.get(vigie_domain::topics::COSTUMERCHURN))
    }

    fn customer() -> Customer {
        serde_json::from_value(
            json!({"Names": "a", "Age": 40.0, "Total_Purchase": 1.0, "Account_Manager": 1, "Years": 2.0,
            "Num_Sites": 3.0, "Onboard_date": "", "Location": "", "Company": ""}),
        )
        .unwrap()
    }

    /// Events as (days before the end, amount), in this order.
    fn at_the_end(set: &FeatureSet, events: &[(f64, f64)], end: i64) -> Features {
        let mut kept: BTreeMap<(String, i64), Bucket> = BTreeMap::new();
        for (days, price) in events {
            let at = end - (days * DAY as f64) as i64;
            let event = json!({"user_id": "c", "kind": "buy", "price": price});
            for (signal, amount) in set.adds_to("orders", &event) {
                let bucket = kept.entry((signal.id.clone(), hour(at))).or_default();
                *bucket = bucket.with(amount, at);
            }
        }
        let read = |signal: &Signal, from: i64, to: i64| {
            let range = (signal.id.clone(), from)..=(signal.id.clone(), to);
            Ok::<_, ()>(kept.range(range).map(|((_, hour), bucket)| (*hour, *bucket)).collect())
        };
        set.compute(&customer(), end, read).unwrap()
    }

    const DECLARED: &str = r#"
        [[features]]
        name = "n7"
        topic = "orders"
        measure = "count"
        window_days = 7
        [[features]]
        name = "sum30"
        topic = "orders"
        where = { kind = ["buy", "rent"] }
        measure = "sum"
        field = "price"
        window_days = 30
        [[features]]
        name = "since"
        topic = "orders"
        measure = "recency"
        window_days = 90
        [[features]]
        name = "trend7"
        topic = "orders"
        measure = "trend"
        window_days = 7
    "#;

    #[test]
    fn windows_end_at_the_time_of_the_record() {
        let set = set(DECLARED);
        // The middle of an hour.
        let end = 1_750_000_000_000 / HOUR * HOUR + HOUR / 2;
        let features = at_the_end(&set, &[(40.0, 7.0), (10.0, 5.0), (6.9, 2.5), (1.5, 1.0)], end);
        let value = |name: &str| features[name];
        assert_eq!((value("n7"), value("sum30"), value("trend7")), (Some(2.0), Some(8.5), Some(1.0)));
        assert_eq!(value("since"), Some(1.5));
        assert_eq!((value("Age"), value("Num_Sites")), (Some(40.0), Some(3.0)));
        // What comes later, even within the hour after the record's, is not known then.
        let with_future = at_the_end(&set, &[(1.5, 1.0), (-0.1, 100.0)], end);
        assert_eq!((with_future["n7"], with_future["sum30"]), (Some(1.0), Some(1.0)));
        let silent = at_the_end(&set, &[], end);
        assert_eq!((silent["n7"], silent["sum30"], silent["since"]), (Some(0.0), Some(0.0), None));
    }

    #[test]
    fn conditions_and_customers_are_read_from_the_event() {
        let set = set(DECLARED);
        let adds = |event: Value| set.adds_to("orders", &event).count();
        // n7, since and trend7 share one signal.
        assert_eq!(adds(json!({"kind": "buy", "price": 1})), 2);
        assert_eq!(adds(json!({"kind": "look", "price": 1})), 1);
        assert_eq!(adds(json!({"kind": "buy", "price": "much"})), 1);
        assert_eq!(set.adds_to("other", &json!({"kind": "buy", "price": 1})).count(), 0);
        assert_eq!(set.customer_of("orders", &json!({"user_id": 7})).as_deref(), Some("7"));
        assert_eq!(set.customer_of("orders", &json!({"user": "x"})), None);
    }

    #[test]
    fn definitions_follow_from_what_is_computed_and_not_from_labels() {
        let labelled = DECLARED.replace("name = \"n7\"", "name = \"n7\"\nlabel_en = \"Orders\"");
        assert_eq!(set(DECLARED).definitions(), set(&labelled).definitions());
        assert_ne!(set(DECLARED).definitions(), set(&DECLARED.replace("= 30", "= 31")).definitions());
        assert_eq!(set(&labelled).label("n7"), Some(("n7", "Orders")));
    }
}
