//! The table of contents: every pipeline of the application, in the order in which data flows.

use std::sync::Arc;

use vigie_contracts::Contracts;
use vigie_domain::{Customer, PageEvent, ShopEvent, parse_iso8601, topics};
use vigie_streams::{StreamsBuilder, Topology, TopologyError};

use crate::config::Config;
use crate::model::ModelService;
use crate::pipelines::{checked::checked, churn, pages, shop_alerts, shop_sessions, shop_stats, users};

/// Builds the topology.
pub fn topology(
    config: &Config,
    contracts: &Contracts,
    model: &Arc<ModelService>,
) -> Result<Topology, TopologyError> {
    let mut builder = StreamsBuilder::new();
    let b = &mut builder;
    let contract = |topic: &str| contracts.get(topic);

    // Customers' records: by file, by form -> scores.
    let records = checked(b, topics::COSTUMERCHURN, contract(topics::COSTUMERCHURN), |_: &Customer| None);
    churn::build(topics::COSTUMERCHURN, &records, model);
    let form = checked(b, topics::TEST3, contract(topics::TEST3), |_: &Customer| None);
    churn::build(topics::TEST3, &form, model);

    // The users platform: batches -> users -> totals by country and gender.
    let batches = checked(b, topics::RANDOM_USER_DATA, contract(topics::RANDOM_USER_DATA), |_| None);
    users::explode(&batches, contract(topics::USERS));
    users::aggregate(b);

    // Page views: R1 is only read; R2 -> R3, R2 -> R4.
    checked(b, topics::R1, contract(topics::R1), |view: &PageEvent| Some(view.date));
    let views = checked(b, topics::R2, contract(topics::R2), |view: &PageEvent| Some(view.date));
    pages::map(&views);
    pages::count(&views, &config.pages);

    // Shop events: statistics, alerts, patterns of sessions.
    let events = checked(b, topics::EVENEMENTS, contract(topics::EVENEMENTS), |event: &ShopEvent| {
        parse_iso8601(&event.timestamp)
    });
    shop_stats::build(&events);
    shop_alerts::build(b, &events, &config.shop);
    shop_sessions::build(b, &events, &config.shop);

    builder.build()
}
