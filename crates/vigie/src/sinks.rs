//! What is written to which store: one sink a subject, each with a group of its own, so that one store's trouble slows one sink.
//!
//! Every write is idempotent: its key comes from the record, and its version is the record's offset, so that a replay never
//! replaces newer data. (All records of one key lie in one partition, so their offsets are in order.)

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use vigie_domain::{
    Alert, Assignment, AuditEntry, CountryStats, CustomerView, EventStat, GenderStats, Origin, Outcome,
    PageCount, Score, ScoredOutcome, SessionPattern, ShadowScore, ShopEvent, User, parse_iso8601, topics,
};
use vigie_server::views::{self, AnomalyDoc, CustomerDoc, EventDoc, field};
use vigie_stores::{
    CellKind, CollectionSpec, Result, Row, SinkRecord, SinkStatus, Store, TableSchema, Write,
    random_user_keyspace,
};

use crate::planner::value_of;

/// Gives the status of all sinks.
pub type SinksView = Arc<dyn Fn() -> Vec<SinkStatus> + Send + Sync>;
/// What one record writes; an error is a record that cannot be read.
pub type Map = fn(&SinkRecord<'_>) -> Result<Vec<Write>, String>;

/// One sink: its name, its group, its topics, and what a record of them writes.
pub struct SinkSpec {
    /// For screens and metrics.
    pub name: &'static str,
    /// The consumer group.
    pub group: &'static str,
    /// What it reads.
    pub topics: &'static [&'static str],
    /// What a record writes.
    pub map: Map,
}

/// The sink that fills the store of customers.
pub const CUSTOMERS: &str = "customers";

/// All sinks, in the order in which data flows.
pub const SINKS: [SinkSpec; 7] = [
    SinkSpec {
        name: CUSTOMERS,
        group: "vigie-sink-customers",
        topics: &[topics::CUSTOMERS, topics::CHURN_SCORES, topics::ASSIGNMENTS, topics::OUTCOMES],
        map: customers,
    },
    SinkSpec {
        name: "learning",
        group: "vigie-sink-learning",
        topics: &[topics::SHADOW_SCORES, topics::SCORED_OUTCOMES, topics::AUDIT],
        map: learning,
    },
    SinkSpec {
        name: "users",
        group: "vigie-sink-users",
        topics: &[topics::RANDOM_USER_DATA, topics::USERS, topics::COUNTRY_STATS, topics::GENDER_STATS],
        map: users,
    },
    SinkSpec { name: "pages", group: "vigie-sink-pages", topics: &[topics::R4], map: pages },
    SinkSpec { name: "events", group: "vigie-sink-events", topics: &[topics::EVENEMENTS], map: events },
    SinkSpec {
        name: "shop",
        group: "vigie-sink-shop",
        topics: &[topics::EVENEMENTS_STATS, topics::SESSION_PATTERNS, topics::ALERTS],
        map: shop,
    },
    SinkSpec {
        name: "anomalies",
        group: "vigie-sink-anomalies",
        topics: &[topics::ANOMALIES],
        map: anomalies,
    },
];

/// Makes the collections and tables that the sinks write.
pub fn declare(store: &dyn Store) -> Result<()> {
    let collection = |name: &str, indexes: &[&str]| {
        indexes.iter().fold(CollectionSpec::new(name), |spec, path| spec.index(*path))
    };
    let customers = [field::PROBABILITY, field::VALUE, field::NAME, field::UPDATED, field::LEFT];
    for spec in [
        collection(views::CUSTOMERS, &customers).search([field::NAME, field::COMPANY, field::CUSTOMER_ID]),
        collection(views::SCORES, &[field::CUSTOMER_ID, field::EVENT_TIME]),
        collection(views::EVENTS, &[field::USER_ID, field::EVENT_TYPE, field::EVENT_TIME]),
        collection(views::PATTERNS, &[field::PATTERN, field::AT]),
        collection(views::ALERTS, &[field::STATE, field::SUBJECT, field::UPDATED_AT]),
        collection(views::ANOMALIES, &[field::RULE, field::ORIGIN_TOPIC, field::DETECTED_AT, field::STATUS]),
        collection(views::ASSIGNMENTS, &[field::STATE]),
        collection(views::OUTCOMES, &[field::CHURNED]),
        collection(views::SCORED_OUTCOMES, &[field::OUTCOME_TIME]),
        collection(views::SHADOW_SCORES, &[field::CHALLENGER]),
        collection(views::AUDIT, &[field::AT, field::AUDIT_SUBJECT, field::ACTION]),
        collection(views::RAW_USERS, &[]),
    ] {
        store.declare_collection(&spec)?;
    }
    for schema in random_user_keyspace() {
        let schema = if schema.name == views::COUNTRY_STATS {
            schema.column("sum_age", CellKind::Int)
        } else {
            schema
        };
        store.declare_table(&schema)?;
    }
    store.declare_table(
        &TableSchema::new(views::GENDER_STATS)
            .partition("gender", CellKind::Text)
            .column("count_users", CellKind::Int)
            .column("sum_age", CellKind::Int)
            .column("avg_age", CellKind::Float)
            .column("last_update", CellKind::Timestamp),
    )?;
    // By day, newest first: the last windows of all pages are one short read, however long the history.
    store.declare_table(
        &TableSchema::new(views::PAGE_COUNTS)
            .partition("day", CellKind::Int)
            .descending(field::WINDOW_START, CellKind::Timestamp)
            .ascending("page", CellKind::Text)
            .column("window_end", CellKind::Timestamp)
            .column("count", CellKind::Int),
    )?;
    store.declare_table(
        &TableSchema::new(views::EVENT_STATS)
            .partition(field::KEY, CellKind::Text)
            .column("count", CellKind::Int)
            .column("purchases", CellKind::Int)
            .column("sales_cents", CellKind::Int)
            .column("last_event", CellKind::Timestamp),
    )
}

fn parse<T: DeserializeOwned>(record: &SinkRecord<'_>) -> Result<T, String> {
    let value = record.record.value.ok_or("the value is null")?;
    serde_json::from_slice(value).map_err(|error| error.to_string())
}

fn document(
    collection: &str,
    id: impl Into<String>,
    doc: &impl Serialize,
    record: &SinkRecord<'_>,
) -> Result<Vec<Write>, String> {
    let doc = serde_json::to_value(doc).map_err(|error| error.to_string())?;
    Ok(vec![Write::document(collection, id, doc).if_newer(record.record.offset)])
}

fn row(table: &str, row: Row, record: &SinkRecord<'_>) -> Vec<Write> {
    vec![Write::row(table, row).if_newer(record.record.offset)]
}

fn origin(record: &SinkRecord<'_>) -> Origin {
    Origin {
        topic: record.partition.topic.to_string(),
        partition: record.partition.partition,
        offset: record.record.offset,
    }
}

fn customers(record: &SinkRecord<'_>) -> Result<Vec<Write>, String> {
    match &*record.partition.topic {
        topics::CUSTOMERS => {
            let view: CustomerView = parse(record)?;
            let value = value_of(&view.customer);
            let doc = CustomerDoc::new(view, value);
            document(views::CUSTOMERS, doc.customer_id.clone(), &doc, record)
        }
        topics::CHURN_SCORES => {
            let score: Score = parse(record)?;
            document(views::SCORES, score.origin.id(), &score, record)
        }
        topics::ASSIGNMENTS => {
            let assignment: Assignment = parse(record)?;
            document(views::ASSIGNMENTS, assignment.customer_id.as_str(), &assignment, record)
        }
        _ => {
            let outcome: Outcome = parse(record)?;
            document(views::OUTCOMES, outcome.customer_id.as_str(), &outcome, record)
        }
    }
}

fn learning(record: &SinkRecord<'_>) -> Result<Vec<Write>, String> {
    match &*record.partition.topic {
        topics::SHADOW_SCORES => {
            let shadow: ShadowScore = parse(record)?;
            // The newest of each customer: the comparison is one of customers, and its size is bounded.
            let id = format!("{}/{}", shadow.challenger.model_version, shadow.customer_id);
            document(views::SHADOW_SCORES, id, &shadow, record)
        }
        topics::SCORED_OUTCOMES => {
            let outcome: ScoredOutcome = parse(record)?;
            document(views::SCORED_OUTCOMES, outcome.origin.id(), &outcome, record)
        }
        _ => {
            let entry: AuditEntry = parse(record)?;
            document(views::AUDIT, entry.id.clone(), &entry, record)
        }
    }
}

fn users(record: &SinkRecord<'_>) -> Result<Vec<Write>, String> {
    match &*record.partition.topic {
        topics::RANDOM_USER_DATA => {
            // A batch that is no JSON is an anomaly already; here it is only not stored.
            let Ok(batch) = parse::<Value>(record) else { return Ok(Vec::new()) };
            let results = batch.get("results").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let users = results.iter().filter_map(|user| {
                let id = user.get("login")?.get("uuid")?.as_str()?;
                Some(Write::document(views::RAW_USERS, id, user.clone()).if_newer(record.record.offset))
            });
            Ok(users.collect())
        }
        topics::USERS => {
            let user: User = parse(record)?;
            let cells = || {
                Row::new()
                    .with("user_id", user.user_id.clone())
                    .with("ingestion_time", user.ingestion_time)
                    .with("full_name", user.full_name.reveal().clone())
                    .with("gender", user.gender.clone())
                    .with("age", user.age)
                    .with("country", user.country.clone())
                    .with("city", user.city.reveal().clone())
                    .with("email", user.email.reveal().clone())
                    .with("phone", user.phone.reveal().clone())
                    .with("nationality", user.nationality.clone())
                    .with("registered", user.registered.clone())
                    .with("picture", user.picture.clone())
            };
            let bucket = user.ingestion_time.div_euclid(views::HOUR_MS);
            let latest = Write::row(views::LATEST_USERS, cells().with("bucket", bucket))
                .if_newer(record.record.offset);
            Ok(vec![Write::row(views::USER_TABLE, cells()).if_newer(record.record.offset), latest])
        }
        topics::COUNTRY_STATS => {
            let stats: CountryStats = parse(record)?;
            let cells = Row::new()
                .with("country", stats.country.clone())
                .with("count_users", int(stats.count_users))
                .with("sum_age", int(stats.sum_age))
                .with("avg_age", stats.avg_age())
                .with("last_update", stats.last_update);
            Ok(row(views::COUNTRY_STATS, cells, record))
        }
        _ => {
            let stats: GenderStats = parse(record)?;
            let cells = Row::new()
                .with("gender", stats.gender.clone())
                .with("count_users", int(stats.count_users))
                .with("sum_age", int(stats.sum_age))
                .with("avg_age", stats.avg_age())
                .with("last_update", stats.last_update);
            Ok(row(views::GENDER_STATS, cells, record))
        }
    }
}

fn pages(record: &SinkRecord<'_>) -> Result<Vec<Write>, String> {
    let text = |name: &str| {
        let header = record.record.headers.get(name).and_then(|header| header.value);
        header.and_then(|bytes| std::str::from_utf8(bytes).ok()).ok_or_else(|| format!("no header `{name}`"))
    };
    let time = |name: &str| text(name)?.parse::<i64>().map_err(|error| format!("header `{name}`: {error}"));
    let bytes: [u8; 8] = record
        .record
        .value
        .and_then(|value| value.try_into().ok())
        .ok_or("the value is not a count of eight bytes")?;
    let page = PageCount {
        page: text(topics::PAGE)?.to_owned(),
        window_start: time(topics::WINDOW_START)?,
        window_end: time(topics::WINDOW_END)?,
        count: i64::from_be_bytes(bytes),
    };
    let cells = Row::new()
        .with("day", page.window_start.div_euclid(views::DAY_MS))
        .with("window_start", page.window_start)
        .with("page", page.page)
        .with("window_end", page.window_end)
        .with("count", page.count);
    Ok(row(views::PAGE_COUNTS, cells, record))
}

fn events(record: &SinkRecord<'_>) -> Result<Vec<Write>, String> {
    // What is no shop event is an anomaly already; here it is only not stored.
    let Ok(event) = parse::<ShopEvent>(record) else { return Ok(Vec::new()) };
    let event_time = parse_iso8601(&event.timestamp).unwrap_or(record.record.timestamp);
    let doc = EventDoc { event, origin: origin(record), event_time };
    document(views::EVENTS, doc.origin.id(), &doc, record)
}

fn shop(record: &SinkRecord<'_>) -> Result<Vec<Write>, String> {
    match &*record.partition.topic {
        topics::EVENEMENTS_STATS => {
            let key = record
                .record
                .key
                .and_then(|key| std::str::from_utf8(key).ok())
                .ok_or("the key is not text")?;
            let stat: EventStat = parse(record)?;
            let cells = Row::new()
                .with(field::KEY, key)
                .with("count", int(stat.count))
                .with("purchases", int(stat.purchases))
                .with("sales_cents", stat.sales_cents)
                .with("last_event", stat.last_event);
            Ok(row(views::EVENT_STATS, cells, record))
        }
        topics::SESSION_PATTERNS => {
            let pattern: SessionPattern = parse(record)?;
            document(views::PATTERNS, pattern.id.clone(), &pattern, record)
        }
        _ => {
            let alert: Alert = parse(record)?;
            document(views::ALERTS, alert.id.clone(), &alert, record)
        }
    }
}

fn anomalies(record: &SinkRecord<'_>) -> Result<Vec<Write>, String> {
    let anomaly: AnomalyDoc = parse(record)?;
    document(views::ANOMALIES, anomaly.anomaly.id.clone(), &anomaly, record)
}

fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
