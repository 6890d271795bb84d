//! Features declared in the configuration: streaming aggregates of a customer's events.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use vigie_domain::topics;

use super::ConfigError;
use crate::features::COLUMNS;
use crate::runtime::TOPICS;

/// The longest window, days; a trend looks back twice its window.
const LONGEST: u32 = 730;
/// Features at most: each costs a read of the state for each score.
const MOST: usize = 200;
/// Topics of the application whose records are events of somebody.
const EVENTS: [&str; 3] = [topics::EVENEMENTS, topics::R1, topics::R2];

/// How events become a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// How many events there were in the window.
    Count,
    /// The sum of `field` over the events in the window.
    Sum,
    /// Days since the newest event in the window; missing when there is none.
    Recency,
    /// Events in the window less events in the window before it.
    Trend,
}

/// One feature: an aggregate of the events of one topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureConfig {
    /// The column's name: letters, digits and `_`.
    pub name: String,
    /// The topic that the events are on.
    pub topic: String,
    /// The field of an event that names the customer.
    #[serde(default = "user_id")]
    pub customer: String,
    /// Only events whose fields have these values; a list means any of them.
    #[serde(rename = "where", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub only: BTreeMap<String, Value>,
    /// How events become a number.
    pub measure: Measure,
    /// What is summed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// How far it looks back, days.
    pub window_days: u32,
    /// Its name on French screens; default: the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_fr: Option<String>,
    /// Its name on English screens; default: the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_en: Option<String>,
}

fn user_id() -> String {
    String::from("user_id")
}

/// What the agency's shop tells about a customer.
pub(super) fn defaults() -> Vec<FeatureConfig> {
    let feature = |name: &str, measure, window_days, label: (&str, &str)| FeatureConfig {
        name: name.to_owned(),
        topic: topics::EVENEMENTS.to_owned(),
        customer: user_id(),
        only: BTreeMap::new(),
        measure,
        field: None,
        window_days,
        label_fr: Some(label.0.to_owned()),
        label_en: Some(label.1.to_owned()),
    };
    let purchases = |feature: FeatureConfig| FeatureConfig {
        only: BTreeMap::from([(String::from("event_type"), Value::from("achat"))]),
        field: (feature.measure == Measure::Sum).then(|| String::from("price")),
        ..feature
    };
    vec![
        feature("events_7d", Measure::Count, 7, ("Événements en 7 jours", "Events in 7 days")),
        feature("events_30d", Measure::Count, 30, ("Événements en 30 jours", "Events in 30 days")),
        feature("events_90d", Measure::Count, 90, ("Événements en 90 jours", "Events in 90 days")),
        feature("events_trend_30d", Measure::Trend, 30, ("Tendance des événements", "Trend of events")),
        feature("days_since_event", Measure::Recency, 90, ("Jours sans événement", "Days since an event")),
        purchases(feature("spend_30d", Measure::Sum, 30, ("Achats en 30 jours", "Spend in 30 days"))),
        purchases(feature("spend_90d", Measure::Sum, 90, ("Achats en 90 jours", "Spend in 90 days"))),
    ]
}

/// Checks all declarations.
pub(super) fn check(features: &[FeatureConfig]) -> Result<(), ConfigError> {
    if features.len() > MOST {
        return Err(ConfigError::OutOfRange {
            key: "features",
            value: format!("{} of them", features.len()),
            reason: "at most 200 features are computed",
        });
    }
    let mut names = BTreeSet::new();
    let mut fields: BTreeMap<&str, &str> = BTreeMap::new();
    for (index, feature) in features.iter().enumerate() {
        let wrong =
            |reason: String| ConfigError::Feature { number: index + 1, name: feature.name.clone(), reason };
        let name = feature.name.as_str();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(wrong(String::from("a name has letters, digits and `_`, nothing else")));
        }
        if COLUMNS.contains(&name) || matches!(name, "customer_id" | "event_time" | "origin" | "Churn") {
            return Err(wrong(String::from("the name is that of a column; choose another")));
        }
        if !names.insert(name) {
            return Err(wrong(String::from("two features have this name")));
        }
        if !(1..=LONGEST).contains(&feature.window_days) {
            return Err(wrong(format!(
                "window_days = {}: must lie between 1 and {LONGEST}",
                feature.window_days
            )));
        }
        match (feature.measure, &feature.field) {
            (Measure::Sum, None) => {
                return Err(wrong(String::from("a sum needs `field`, the number to add up")));
            }
            (Measure::Count | Measure::Recency | Measure::Trend, Some(field)) => {
                return Err(wrong(format!("`field = \"{field}\"` belongs to `measure = \"sum\"` only")));
            }
            _ => {}
        }
        if feature.only.values().any(|value| {
            let plain = |value: &Value| value.is_string() || value.is_number() || value.is_boolean();
            !plain(value) && !value.as_array().is_some_and(|list| list.iter().all(plain))
        }) {
            return Err(wrong(String::from(
                "`where` compares with text, numbers, true or false, or a list of them",
            )));
        }
        let topic = feature.topic.as_str();
        let own = TOPICS.iter().any(|(name, _)| *name == topic) && !EVENTS.contains(&topic);
        if topic.is_empty() || own {
            return Err(wrong(format!(
                "topic = \"{topic}\": events are on {} or on a topic of your own",
                EVENTS.join(", ")
            )));
        }
        if topic.len() > 249 || !topic.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
            return Err(wrong(format!(
                "topic = \"{topic}\": a topic's name has at most 249 letters, digits, `.`, `_` and `-`"
            )));
        }
        let field = *fields.entry(topic).or_insert(&feature.customer);
        if field != feature.customer || field.is_empty() {
            return Err(wrong(format!(
                "customer = \"{}\": all features of {topic} must name the customer by the same field (`{field}`)",
                feature.customer
            )));
        }
    }
    Ok(())
}
