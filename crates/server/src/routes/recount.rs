//! Every number counted anew from the log, beside what the stores say.
//!
//! The log is read as a stream up to its ends at the moment of the request; what is kept in memory is totals and one small entry per
//! customer, user, window, alert and anomaly.
//!
//! A difference that only means that a store was behind is never called wrong: the stores are read again for a while, and what moved
//! meanwhile, or what was counted while records were under way, is `in_flight`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};
use vigie_domain::{Alert, EventType, PageCount, Score, ShopEvent, User, topics};
use vigie_log::{LogError, RecordRef, Span, read_spans};

use crate::app::{Context, blocking};
use crate::live::page_count;
use crate::ports::Find;
use crate::problem::Problem;
use crate::views::{self, AnomalyDoc, CustomerDoc, EventStatRow};

/// How often the stores are read again before a number is said to differ.
const AGAIN: usize = 20;
/// How long a store is given to catch up before it is read again.
const BETWEEN: Duration = Duration::from_millis(100);
/// What is counted.
const COUNTED: [&str; 6] =
    [topics::EVENEMENTS, topics::USERS, topics::R4, topics::CHURN_SCORES, topics::ALERTS, topics::ANOMALIES];

/// One number, counted twice.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct Check {
    name: String,
    #[schema(value_type = f64)]
    from_log: Value,
    #[schema(value_type = f64)]
    from_store: Value,
    equal: bool,
    /// It differs, and records were under way while it was counted: it says nothing yet.
    in_flight: bool,
}

/// All numbers.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Recount {
    equal: bool,
    checks: Vec<Check>,
}

/// What of `country_stats` is compared.
#[derive(serde::Deserialize)]
struct CountryRow {
    country: String,
    count_users: u64,
}

/// What the log says.
#[derive(Default)]
struct FromLog {
    total: u64,
    sales_cents: i64,
    by_type: BTreeMap<String, u64>,
    by_user: BTreeMap<String, u64>,
    users: HashMap<String, String>,
    windows: HashMap<(String, i64), i64>,
    scores: HashMap<String, f64>,
    alerts: HashSet<String>,
    anomalies: HashSet<String>,
}

/// Reads a topic up to its ends now. A topic that is not there has no records.
fn each(context: &Context, topic: &str, see: &mut dyn FnMut(&RecordRef<'_>)) -> Result<(), Problem> {
    let log = &*context.app.log;
    let spans = Span::all_if_there(&*log.admin(), topic)?;
    read_spans(log, &spans, |_, record| {
        see(record);
        ControlFlow::<()>::Continue(())
    })?;
    Ok(())
}

fn from_log(context: &Context) -> Result<FromLog, Problem> {
    let mut all = FromLog::default();
    let contract = context.app.contracts.get(topics::EVENEMENTS);
    each(context, topics::EVENEMENTS, &mut |record| {
        // What breaks the contract is an anomaly and counts nowhere else.
        let Some(Ok(event)) = record.value.map(|value| contract.check::<ShopEvent>(value)) else { return };
        all.total += 1;
        *all.by_type.entry(event.event_type.as_str().to_owned()).or_default() += 1;
        *all.by_user.entry(event.user_id).or_default() += 1;
        if event.event_type == EventType::Achat {
            all.sales_cents += (event.price.unwrap_or(0.0) * 100.0).round() as i64;
        }
    })?;
    each(context, topics::USERS, &mut |record| {
        if let Some(user) = record.value.and_then(|value| serde_json::from_slice::<User>(value).ok()) {
            all.users.insert(user.user_id, user.country);
        }
    })?;
    each(context, topics::R4, &mut |record| {
        if let Some(count) = page_count(record) {
            all.windows.insert((count.page, count.window_start), count.count);
        }
    })?;
    each(context, topics::CHURN_SCORES, &mut |record| {
        if let Some(score) = record.value.and_then(|value| serde_json::from_slice::<Score>(value).ok()) {
            all.scores.insert(score.customer_id.0, score.probability);
        }
    })?;
    each(context, topics::ALERTS, &mut |record| {
        if let Some(alert) = record.value.and_then(|value| serde_json::from_slice::<Alert>(value).ok()) {
            all.alerts.insert(alert.id);
        }
    })?;
    each(context, topics::ANOMALIES, &mut |record| {
        if let Some(doc) = record.value.and_then(|value| serde_json::from_slice::<AnomalyDoc>(value).ok()) {
            all.anomalies.insert(doc.anomaly.id);
        }
    })?;
    Ok(all)
}

#[derive(Default)]
struct Checks {
    checks: Vec<Check>,
}

impl Checks {
    fn add(&mut self, name: impl Into<String>, from_log: Value, from_store: Value) {
        let equal = from_log == from_store;
        self.checks.push(Check { name: name.into(), from_log, from_store, equal, in_flight: false });
    }

    /// One check for each key on either side.
    fn maps(&mut self, what: &str, log: &BTreeMap<String, u64>, store: &BTreeMap<String, u64>) {
        let keys: std::collections::BTreeSet<&String> = log.keys().chain(store.keys()).collect();
        for key in keys {
            let of = |map: &BTreeMap<String, u64>| json!(map.get(key).copied().unwrap_or(0));
            self.add(format!("{what} {key}"), of(log), of(store));
        }
    }
}

fn compare(context: &Context, log: &FromLog) -> Result<Vec<Check>, Problem> {
    let views = &*context.app.views;
    let mut checks = Checks::default();
    let stats: Vec<EventStatRow> = super::find(views, &Find::all(views::EVENT_STATS))?.items;
    let (mut by_type, mut by_user) = (BTreeMap::new(), BTreeMap::new());
    let (mut total, mut sales) = (0, 0);
    for row in stats {
        match row.key.split_once(':') {
            Some(("type", name)) => drop(by_type.insert(name.to_owned(), row.count)),
            Some(("user", name)) => drop(by_user.insert(name.to_owned(), row.count)),
            _ => (total, sales) = (row.count, row.sales_cents),
        }
    }
    checks.add("shop total", json!(log.total), json!(total));
    checks.add("shop sales in cents", json!(log.sales_cents), json!(sales));
    checks.maps("shop type", &log.by_type, &by_type);
    checks.maps("shop user", &log.by_user, &by_user);

    let mut countries: BTreeMap<String, u64> = BTreeMap::new();
    log.users.values().for_each(|country| *countries.entry(country.clone()).or_default() += 1);
    let stored: Vec<CountryRow> = super::find(views, &Find::all(views::COUNTRY_STATS))?.items;
    let stored = stored.into_iter().map(|stats| (stats.country, stats.count_users)).collect();
    checks.maps("users of", &countries, &stored);

    let rows: Vec<PageCount> = super::find(views, &Find::all(views::PAGE_COUNTS))?.items;
    let equal = rows
        .iter()
        .filter(|row| log.windows.get(&(row.page.clone(), row.window_start)) == Some(&row.count))
        .count();
    checks.add("page windows", json!(log.windows.len()), json!(rows.len()));
    checks.add("page windows with the same count", json!(log.windows.len()), json!(equal));

    let (mut customers, mut same, mut offset) = (0_u64, 0_u64, 0);
    loop {
        let page = Find::all(views::CUSTOMERS).oldest(views::field::CUSTOMER_ID).page(offset, 500);
        let page: super::List<CustomerDoc> = super::find(views, &page)?;
        offset += 500;
        for doc in page.items {
            customers += 1;
            let newest = log.scores.get(&doc.customer_id).copied();
            same += u64::from(newest == Some(doc.score.probability));
        }
        if offset >= page.total {
            break;
        }
    }
    checks.add("customers with a score", json!(log.scores.len()), json!(customers));
    checks.add("customers with the same newest score", json!(log.scores.len()), json!(same));
    checks.add("alerts", json!(log.alerts.len()), json!(views.count(views::ALERTS, &[])?));
    checks.add("anomalies", json!(log.anomalies.len()), json!(views.count(views::ANOMALIES, &[])?));
    Ok(checks.checks)
}

/// What moves while records are under way: two that are equal, and not `behind`, mean that nothing was.
#[derive(PartialEq)]
struct Standing {
    behind: bool,
    records_in: u64,
    records_out: u64,
    ends: Vec<i64>,
}

impl Standing {
    fn now(context: &Context) -> Result<Self, Problem> {
        let (app, stats) = (&context.app, context.app.engine.stats());
        let mut ends = Vec::new();
        for topic in COUNTED {
            match app.log.admin().offsets(topic) {
                Ok(offsets) => ends.extend(offsets.iter().map(|partition| partition.latest)),
                Err(LogError::UnknownTopic { .. }) => ends.push(-1),
                Err(error) => return Err(error.into()),
            }
        }
        let behind = app.engine.sinks().iter().any(|sink| sink.lag > 0)
            || !stats.state.eq_ignore_ascii_case("running");
        Ok(Self { behind, records_in: stats.records_in, records_out: stats.records_out, ends })
    }
}

/// Takes over from a later reading of the stores what is equal by now; what still differs and has moved is under way.
fn merge(checks: &mut Vec<Check>, later: Vec<Check>) {
    for new in later {
        match checks.iter_mut().find(|check| check.name == new.name) {
            Some(check) if check.equal => {}
            Some(check) => {
                let moved = check.in_flight || check.from_store != new.from_store;
                *check = Check { in_flight: moved && !new.equal, ..new };
            }
            // The store knows a key that it did not know before: it came while we looked.
            None => checks.push(Check { in_flight: !new.equal, ..new }),
        }
    }
}

/// Counts everything anew from the log and says what the stores say beside it.
#[utoipa::path(get, path = "/api/v1/recount", responses((status = 200, body = Recount), (status = 503, body = Problem)))]
pub(crate) async fn recount(State(context): State<Arc<Context>>) -> Result<Json<Recount>, Problem> {
    let _place = super::messages::heavy(&context)?;
    blocking(&context, |context| {
        let before = Standing::now(context)?;
        let log = from_log(context)?;
        let mut checks = compare(context, &log)?;
        let mut under_way = before.behind;
        for _ in 0..AGAIN {
            if checks.iter().all(|check| check.equal) {
                break;
            }
            std::thread::sleep(BETWEEN);
            merge(&mut checks, compare(context, &log)?);
        }
        let after = Standing::now(context)?;
        under_way |= after != before || after.behind;
        for check in checks.iter_mut().filter(|check| !check.equal) {
            check.in_flight |= under_way;
        }
        Ok(Json(Recount { equal: checks.iter().all(|check| check.equal), checks }))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_caught_up_is_equal_what_moved_is_under_way_and_what_stands_still_differs() {
        for (first, second, expect) in
            [(8, 9, (true, false)), (9, 10, (true, false)), (7, 8, (false, true)), (8, 8, (false, false))]
        {
            let read = |store: u64| {
                let mut checks = Checks::default();
                checks.add("shop total", json!(9), json!(store));
                checks.checks
            };
            let mut checks = read(first);
            merge(&mut checks, read(second));
            assert_eq!((checks[0].equal, checks[0].in_flight), expect, "{first}, then {second}");
        }
    }
}
