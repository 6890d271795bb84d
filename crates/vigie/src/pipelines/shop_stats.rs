//! `evenements` -> running statistics: total, sales, by type, by user, on `evenements-stats`.

use vigie_domain::{EventStat, EventType, ShopEvent, topics};
use vigie_streams::serde::{Json, Utf8};
use vigie_streams::{Grouped, KStream, Produced, Store};

use super::checked::Traced;

/// Each event adds to three statistics: `total`, `type:<type>` and `user:<user>`.
pub fn build(events: &KStream<Option<Vec<u8>>, Traced<ShopEvent>>) {
    events
        .flat_map(|_, event: &Traced<ShopEvent>| increments(event))
        .group_by_key_with(Grouped::with(Utf8, Json::new()))
        .reduce(sum, Store::json_named("evenements-stats"))
        .to_stream()
        .to(topics::EVENEMENTS_STATS, Produced::with(Utf8, Json::new()));
}

fn increments(event: &Traced<ShopEvent>) -> [(String, EventStat); 3] {
    let ShopEvent { event_type, user_id, price, .. } = &event.value;
    let purchase = *event_type == EventType::Achat;
    let stat = EventStat {
        count: 1,
        purchases: u64::from(purchase),
        sales_cents: if purchase { cents(price.unwrap_or_default()) } else { 0 },
        last_event: event.at,
    };
    [
        (String::from("total"), stat.clone()),
        (format!("type:{}", event_type.as_str()), stat.clone()),
        (format!("user:{user_id}"), stat),
    ]
}

/// EUR to cents, to the nearest; the contract keeps prices finite.
pub fn cents(eur: f64) -> i64 {
    (eur * 100.0).round() as i64
}

fn sum(a: EventStat, b: EventStat) -> EventStat {
    EventStat {
        count: a.count.saturating_add(b.count),
        purchases: a.purchases.saturating_add(b.purchases),
        sales_cents: a.sales_cents.saturating_add(b.sales_cents),
        last_event: a.last_event.max(b.last_event),
    }
}
