//! `evenements` -> `alerts`: a large purchase; repeated logins of one user, sliding in event time.

use vigie_domain::{Alert, AlertState, EventType, Evidence, ShopEvent, topics};
use vigie_streams::serde::{Json, Utf8};
use vigie_streams::{
    BoxError, KStream, Processor, ProcessorContext, Produced, Record, Repartitioned, Store, StoreBuilder,
    StreamsBuilder,
};

use super::checked::Traced;
use super::logins::{LoginRule, Logins};
use crate::config::ShopConfig;

/// Rule: a purchase above the threshold.
pub const LARGE_PURCHASE: &str = "large-purchase";
/// Rule: too many logins of one user within the window.
pub const REPEATED_LOGINS: &str = "repeated-logins";
const LOGINS: &str = "logins";

/// Both rules.
pub fn build(
    builder: &mut StreamsBuilder,
    events: &KStream<Option<Vec<u8>>, Traced<ShopEvent>>,
    config: &ShopConfig,
) {
    let threshold = config.large_purchase_eur;
    events
        .flat_map(move |_, event: &Traced<ShopEvent>| large_purchase(event, threshold))
        .to(topics::ALERTS, Produced::with(Utf8, Json::new()));

    builder.add_state_store(StoreBuilder::key_value(Store::<String, Logins>::json_named(LOGINS)));
    let rule = LoginRule {
        count: config.logins,
        window_ms: i64::try_from(config.logins_window_s.saturating_mul(1000)).unwrap_or(i64::MAX),
    };
    events
        .filter(|_, event: &Traced<ShopEvent>| event.value.event_type == EventType::Connexion)
        .map(|_, event: &Traced<ShopEvent>| (event.value.user_id.clone(), event.slim()))
        .repartition(Repartitioned::with(Utf8, Json::new()).named("logins-by-user"))
        .named(REPEATED_LOGINS)
        .process(move || RepeatedLogins { rule }, &[LOGINS])
        .to(topics::ALERTS, Produced::with(Utf8, Json::new()));
}

fn large_purchase(event: &Traced<ShopEvent>, threshold: f64) -> Option<(String, Alert)> {
    let price = event.value.price.filter(|_| event.value.event_type == EventType::Achat)?;
    (price > threshold).then(|| {
        let id = format!("{LARGE_PURCHASE}/{}", event.origin.id());
        let alert = Alert {
            id: id.clone(),
            rule: LARGE_PURCHASE.to_owned(),
            subject: event.value.user_id.clone(),
            window_start: event.at,
            window_end: event.at,
            value: price,
            threshold,
            evidence: vec![Evidence { origin: event.origin.clone(), event_time: event.at }],
            state: AlertState::Open,
            updated_at: event.at,
            by: None,
            snoozed_until: None,
        };
        (id, alert)
    })
}

struct RepeatedLogins {
    rule: LoginRule,
}

impl Processor<String, Traced<ShopEvent>, String, Alert> for RepeatedLogins {
    fn process(
        &mut self,
        ctx: &mut ProcessorContext<'_, '_, String, Alert>,
        record: Record<String, Traced<ShopEvent>>,
    ) -> Result<(), BoxError> {
        let Some(event) = record.value else { return Ok(()) };
        let user = record.key;
        let mut store = ctx.key_value::<String, Logins>(LOGINS)?;
        let mut logins = store.get(&user)?.unwrap_or_default();
        let burst = logins.add(event.at, event.origin, self.rule);
        store.put(user.clone(), logins)?;
        let Some(burst) = burst else { return Ok(()) };
        let id = format!("{REPEATED_LOGINS}/{user}/{}", burst.start);
        let alert = Alert {
            id: id.clone(),
            rule: REPEATED_LOGINS.to_owned(),
            subject: user,
            window_start: burst.start,
            window_end: burst.end,
            value: burst.evidence.len() as f64,
            threshold: self.rule.count as f64,
            evidence: burst.evidence,
            state: AlertState::Open,
            updated_at: burst.end,
            by: None,
            snoozed_until: None,
        };
        ctx.forward(Record {
            key: id,
            value: Some(alert),
            timestamp: record.timestamp,
            headers: record.headers,
        })
    }
}
