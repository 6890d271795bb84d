//! The table of contents: every pipeline of the application, in the order in which data flows.

use std::sync::Arc;

use serde_json::Value;
use vigie_contracts::Contracts;
use vigie_domain::{Customer, Outcome, PageEvent, ShopEvent, parse_iso8601, topics};
use vigie_streams::{StreamsBuilder, Topology, TopologyError};

use crate::config::Config;
use crate::features::own_topics;
use crate::features::rebuild::Rebuild;
use crate::model::ModelService;
use crate::pipelines::{
    checked::checked, churn, features, history, pages, shop_alerts, shop_sessions, shop_stats, users,
};

/// Builds the topology.
pub fn topology(
    config: &Config,
    contracts: &Contracts,
    model: &Arc<ModelService>,
    rebuild: &Arc<Rebuild>,
) -> Result<Topology, TopologyError> {
    let mut builder = StreamsBuilder::new();
    let b = &mut builder;
    let contract = |topic: &str| contracts.get(topic);

    let set = Arc::clone(&model.serving().features);

    // Customers' records, by file and by form, and what became of them -> one history of each customer.
    let records = checked(b, topics::COSTUMERCHURN, contract(topics::COSTUMERCHURN), |_: &Customer| None);
    history::records(topics::COSTUMERCHURN, &records);
    let form = checked(b, topics::TEST3, contract(topics::TEST3), |_: &Customer| None);
    history::records(topics::TEST3, &form);
    let outcomes =
        checked(b, topics::OUTCOMES, contract(topics::OUTCOMES), |known: &Outcome| Some(known.event_time));
    history::outcomes(&outcomes);
    for topic in own_topics(&config.features) {
        let events = checked(b, topic, contract(topic), |_: &Value| None);
        history::events(topic, &events, &set);
    }

    // The history, with the events that join it below -> features -> scores.
    let asked = Arc::clone(model);
    let serving = features::Serving {
        on_events: Arc::new(move || asked.serving().follows_events()),
        rebuild: Arc::clone(rebuild),
    };
    let computed = features::build(b, &set, &serving);
    churn::build(b, &computed, model, config.churn.lead_days);

    // The users platform: batches -> users -> totals by country and gender.
    let batches = checked(b, topics::RANDOM_USER_DATA, contract(topics::RANDOM_USER_DATA), |_| None);
    users::explode(&batches, contract(topics::USERS));
    users::aggregate(b);

    // Page views: R1 is only read; R2 -> R3, R2 -> R4.
    let read = checked(b, topics::R1, contract(topics::R1), |view: &PageEvent| Some(view.date));
    let views = checked(b, topics::R2, contract(topics::R2), |view: &PageEvent| Some(view.date));
    pages::map(&views);
    pages::count(&views, &config.pages);
    for (topic, events) in [(topics::R1, &read), (topics::R2, &views)] {
        if set.topics().any(|name| name == topic) {
            history::events(topic, events, &set);
        }
    }

    // Shop events: statistics, alerts, patterns of sessions.
    let events = checked(b, topics::EVENEMENTS, contract(topics::EVENEMENTS), |event: &ShopEvent| {
        parse_iso8601(&event.timestamp)
    });
    shop_stats::build(&events);
    shop_alerts::build(b, &events, &config.shop);
    shop_sessions::build(b, &events, &config.shop);
    if set.topics().any(|name| name == topics::EVENEMENTS) {
        history::events(topics::EVENEMENTS, &events, &set);
    }

    builder.build()
}
