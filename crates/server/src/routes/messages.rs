//! The browser of messages. Personal fields are masked by the contracts before anything else is done with a record.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vigie_contracts::{Contract, Contracts};
use vigie_domain::{Origin, topics};
use vigie_log::{Log, RecordRef, Span, read_spans};

use crate::app::{Context, blocking};
use crate::http::extract::{Query, limit};
use crate::problem::Problem;

pub(crate) const MASKED: &str = "[personal]";
/// A value is shown up to this size.
const SHOWN_BYTES: usize = 64 << 10;
/// Topics that the program writes itself: their fields are those of the contracts they are made from, under the same names.
const DERIVED: [&str; 20] = [
    topics::CUSTOMER_HISTORY,
    topics::CUSTOMER_FEATURES,
    topics::SHADOW_SCORES,
    topics::SCORED_OUTCOMES,
    topics::MANAGERS,
    topics::FEATURE_DEFINITIONS,
    topics::AUDIT,
    topics::CUSTOMERS,
    topics::CHURN_SCORES,
    topics::R3,
    topics::R4,
    topics::EVENEMENTS_STATS,
    topics::SESSION_PATTERNS,
    topics::ALERTS,
    topics::ANOMALIES,
    topics::ASSIGNMENTS,
    topics::COUNTRY_STATS,
    topics::GENDER_STATS,
    topics::USERS,
    topics::OUTCOMES,
];

/// Where to read.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct MessagesQuery {
    /// Only this partition.
    partition: Option<u32>,
    /// `latest` (default), `earliest`, or an offset.
    from: Option<String>,
    /// Items at most.
    limit: Option<u64>,
}

/// One record, personal fields masked.
#[derive(Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct BrowsedMessage {
    partition: u32,
    offset: i64,
    timestamp: i64,
    key: Option<String>,
    value: Value,
    headers: BTreeMap<String, Option<String>>,
    truncated: bool,
}

/// Records of a topic.
#[utoipa::path(get, path = "/api/v1/topics/{topic}/messages", params(("topic" = String, Path, description = "The topic"), MessagesQuery),
    responses((status = 200, body = super::List<BrowsedMessage>), (status = 404, body = Problem)))]
pub(crate) async fn messages(
    State(context): State<Arc<Context>>,
    Path(topic): Path<String>,
    Query(query): Query<MessagesQuery>,
) -> Result<Json<super::List<BrowsedMessage>>, Problem> {
    let _place = heavy(&context)?;
    blocking(&context, move |context| {
        let app = &context.app;
        let mask = Mask::of(&app.contracts, &topic);
        let from = match query.from.as_deref().unwrap_or("latest") {
            "latest" => From::Latest,
            "earliest" => From::Earliest,
            text => From::Offset(text.parse().map_err(|_| {
                Problem::bad_request(
                    format!("`from` is {text:?}"),
                    "it may be `earliest`, `latest` or an offset (a whole number)",
                )
            })?),
        };
        let count = usize::try_from(limit(query.limit)).unwrap_or(50);
        let mut items = Vec::new();
        let mut total = 0;
        read(
            &*app.log,
            &topic,
            query.partition,
            from,
            count,
            &mut |partition, record| {
                items.push(mask.show(partition, record));
            },
            &mut total,
        )?;
        match from {
            From::Latest => items.sort_by_key(|m| std::cmp::Reverse((m.timestamp, m.offset))),
            // In a partition the offset behind the last item is where the next page begins, whatever the records' times are.
            _ if query.partition.is_some() => items.sort_by_key(|m| m.offset),
            _ => items.sort_by_key(|m| (m.timestamp, m.partition, m.offset)),
        }
        items.truncate(count);
        Ok(Json(super::List { total, items }))
    })
    .await
}

/// A place among the requests that read much.
pub(crate) fn heavy(context: &Context) -> Result<tokio::sync::SemaphorePermit<'_>, Problem> {
    context.heavy.try_acquire().map_err(|_| {
        Problem::unavailable("other requests are reading the log already", "try again in a moment")
    })
}

#[derive(Debug, Clone, Copy)]
enum From {
    Earliest,
    Latest,
    Offset(i64),
}

/// Reads up to `count` records of each partition, from a place to the ends as they are now.
fn read(
    log: &dyn Log,
    topic: &str,
    only: Option<u32>,
    from: From,
    count: usize,
    each: &mut dyn FnMut(u32, &RecordRef<'_>),
    total: &mut u64,
) -> Result<(), Problem> {
    let spans = Span::all(&*log.admin(), topic)?;
    if let Some(partition) = only
        && partition as usize >= spans.len()
    {
        return Err(Problem::not_found(
            format!("topic {topic} has no partition {partition} (it has {})", spans.len()),
            "leave `partition` out to read all",
        ));
    }
    for span in spans.into_iter().filter(|span| only.is_none_or(|only| only == span.partition.partition)) {
        *total += u64::try_from(span.to - span.from).unwrap_or(0);
        let span = match from {
            From::Earliest => span,
            From::Latest => span.last(count),
            From::Offset(offset) => Span { from: offset.clamp(span.from, span.to), ..span },
        };
        let mut left = count;
        read_spans(log, &[span], |partition, record| {
            if left == 0 {
                return ControlFlow::Break(());
            }
            left -= 1;
            each(partition.partition, record);
            ControlFlow::Continue(())
        })?;
    }
    Ok(())
}

/// The newest values of a topic, newest first, with where they stand. A topic that is not there yet has none.
pub(crate) fn newest(log: &dyn Log, topic: &str, count: usize) -> Result<Vec<(Origin, Vec<u8>)>, Problem> {
    let mut found = Vec::new();
    let outcome = read(
        log,
        topic,
        None,
        From::Latest,
        count,
        &mut |partition, record| {
            if let Some(value) = record.value {
                let origin = Origin { topic: topic.to_owned(), partition, offset: record.offset };
                found.push((record.timestamp, origin, value.to_vec()));
            }
        },
        &mut 0,
    );
    match outcome {
        Err(problem) if problem.status == 404 => return Ok(Vec::new()),
        other => other?,
    }
    found.sort_by_key(|(timestamp, origin, _)| std::cmp::Reverse((*timestamp, origin.offset)));
    found.truncate(count);
    Ok(found.into_iter().map(|(_, origin, value)| (origin, value)).collect())
}

/// What may be shown of a topic.
enum Mask {
    /// By its contract: what the contract does not call public or internal is masked.
    Contract(Arc<Contract>),
    /// Fields that any contract calls personal, wherever they stand.
    Names(Vec<String>),
    /// Nothing is known about it: nothing is shown but that it is there.
    All,
}

/// A raw record of a topic as it may be shown: personal fields masked; a text whose parts cannot be told apart is masked as a whole,
/// unless nothing on that topic is personal.
pub(crate) fn masked_text(context: &Context, topic: &str, raw: &str) -> String {
    let mask = Mask::of(&context.app.contracts, topic);
    match serde_json::from_str::<Value>(raw) {
        Ok(value) => {
            let mut shown = value.clone();
            mask.mask(&mut shown, "");
            if shown == value { raw.to_owned() } else { shown.to_string() }
        }
        Err(_) => match &mask {
            Mask::Contract(contract)
                if !contract.fields().iter().any(|field| field.classification.is_personal()) =>
            {
                raw.to_owned()
            }
            _ => MASKED.to_owned(),
        },
    }
}

impl Mask {
    fn of(contracts: &Contracts, topic: &str) -> Self {
        if let Some(contract) = contracts.find(topic) {
            return Self::Contract(contract);
        }
        if !DERIVED.contains(&topic) {
            return Self::All;
        }
        let mut names: Vec<String> = contracts
            .iter()
            .flat_map(|contract| contract.fields())
            .filter(|field| field.classification.is_personal())
            .filter_map(|field| field.path.rsplit('.').next().map(str::to_owned))
            .collect();
        // A record that broke its contract may hold personal data anywhere, in its key too.
        names.extend(["raw", "key", "email", "phone", "full_name", "city"].map(str::to_owned));
        Self::Names(names)
    }

    fn show(&self, partition: u32, record: &RecordRef<'_>) -> BrowsedMessage {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let known = !matches!(self, Self::All);
        let (value, truncated) = match record.value {
            None => (Value::Null, false),
            Some(_) if !known => (json!(MASKED), false),
            Some(bytes) => match serde_json::from_slice::<Value>(bytes) {
                Ok(mut value) => {
                    self.mask(&mut value, "");
                    if bytes.len() > SHOWN_BYTES {
                        let shown: String = value.to_string().chars().take(SHOWN_BYTES).collect();
                        (Value::String(shown), true)
                    } else {
                        (value, false)
                    }
                }
                // Not JSON: a count of R4, or something whose parts cannot be told apart.
                Err(_) => match <[u8; 8]>::try_from(bytes) {
                    Ok(number) if matches!(self, Self::Names(_)) => {
                        (json!(i64::from_be_bytes(number)), false)
                    }
                    _ => (json!(MASKED), false),
                },
            },
        };
        BrowsedMessage {
            partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(|key| if known { text(key) } else { MASKED.to_owned() }),
            value,
            headers: record
                .headers
                .iter()
                .map(|header| {
                    let value = header.value.map(|value| if known { text(value) } else { MASKED.to_owned() });
                    (header.name.to_owned(), value)
                })
                .collect(),
            truncated,
        }
    }

    fn personal(&self, path: &str, name: &str) -> bool {
        match self {
            Self::Contract(contract) => contract.classification(path).is_personal(),
            Self::Names(names) => names.iter().any(|personal| personal == name),
            Self::All => true,
        }
    }

    fn mask(&self, value: &mut Value, path: &str) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    match value {
                        // What is inside is judged by itself.
                        Value::Object(_) | Value::Array(_) if !self.scalars(value) => self.mask(value, &path),
                        Value::Null => {}
                        _ if self.personal(&path, name) => *value = json!(MASKED),
                        _ => {}
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.mask(item, path)),
            // A record that is no object has no field whose contract would allow it to be shown.
            scalar if path.is_empty() && matches!(self, Self::Contract(_)) => *scalar = json!(MASKED),
            _ => {}
        }
    }

    /// A list of plain values, which is one field.
    fn scalars(&self, value: &Value) -> bool {
        value.as_array().is_some_and(|items| !items.iter().any(|item| item.is_object() || item.is_array()))
    }
}
