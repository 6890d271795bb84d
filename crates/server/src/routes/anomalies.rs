//! Records that break their contract: the list, totals by rule, one of them, putting one aside.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use serde_json::json;
use vigie_domain::topics;
use vigie_log::Message;

use super::List;
use crate::app::{Context, blocking};
use crate::http::extract::{Query, limit};
use crate::ports::{Find, Test};
use crate::problem::Problem;
use crate::views::{self, AnomalyDoc, AnomalyStatus, field};

/// Which anomalies.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AnomaliesQuery {
    /// Only of this rule.
    rule: Option<String>,
    /// Only from this topic.
    topic: Option<String>,
    /// Items to leave out.
    offset: Option<u64>,
    /// Items at most.
    limit: Option<u64>,
}

/// Anomalies, newest first.
#[utoipa::path(get, path = "/api/v1/anomalies", params(AnomaliesQuery), responses((status = 200, body = List<AnomalyDoc>)))]
pub(crate) async fn list(
    State(context): State<Arc<Context>>,
    Query(query): Query<AnomaliesQuery>,
) -> Result<Json<List<AnomalyDoc>>, Problem> {
    blocking(&context, move |context| {
        let mut find = Find::all(views::ANOMALIES).newest(field::DETECTED_AT);
        find = find.page(query.offset.unwrap_or(0), limit(query.limit));
        for (name, value) in [(field::RULE, query.rule), (field::ORIGIN_TOPIC, query.topic)] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                find = find.that(name, Test::Is(json!(value)));
            }
        }
        let found: List<AnomalyDoc> = super::find(&*context.app.views, &find)?;
        Ok(Json(found.map(|doc| masked(context, doc))))
    })
    .await
}

/// Without what is personal: the raw record is shown as the message browser shows it.
fn masked(context: &Context, mut doc: AnomalyDoc) -> AnomalyDoc {
    let anomaly = &mut doc.anomaly;
    let masked = if anomaly.raw_encoding == "utf-8" {
        super::messages::masked_text(context, &anomaly.origin.topic, &anomaly.raw)
    } else {
        super::messages::MASKED.to_owned()
    };
    if masked != anomaly.raw {
        anomaly.raw = masked;
        String::from("utf-8").clone_into(&mut anomaly.raw_encoding);
    }
    doc
}

/// Anomalies of one rule on one topic.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Summary {
    rule: String,
    topic: String,
    count: u64,
    last: i64,
}

/// Totals by rule and topic, the most frequent first.
#[utoipa::path(get, path = "/api/v1/anomalies/summary", responses((status = 200, body = Vec<Summary>)))]
pub(crate) async fn summary(State(context): State<Arc<Context>>) -> Result<Json<Vec<Summary>>, Problem> {
    blocking(&context, |context| {
        let mut totals: BTreeMap<(String, String), (u64, i64)> = BTreeMap::new();
        let mut offset = 0;
        // Page by page, so that the raw records of all of them are never in memory together.
        loop {
            let find = Find::all(views::ANOMALIES).oldest(field::DETECTED_AT).page(offset, 500);
            let page: List<AnomalyDoc> = super::find(&*context.app.views, &find)?;
            offset += 500;
            for doc in page.items {
                let total = totals.entry((doc.anomaly.rule, doc.anomaly.origin.topic)).or_default();
                *total = (total.0 + 1, total.1.max(doc.anomaly.detected_at));
            }
            if offset >= page.total {
                break;
            }
        }
        let mut all: Vec<Summary> = totals
            .into_iter()
            .map(|((rule, topic), (count, last))| Summary { rule, topic, count, last })
            .collect();
        all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.rule.cmp(&b.rule)));
        Ok(Json(all))
    })
    .await
}

fn get(context: &Context, id: &str) -> Result<AnomalyDoc, Problem> {
    let found = context.app.views.get(views::ANOMALIES, id)?;
    super::typed(views::ANOMALIES, found.into_iter().collect()).pop().ok_or_else(|| {
        Problem::not_found(format!("there is no anomaly {id:?}"), "GET /api/v1/anomalies lists them")
    })
}

/// One anomaly.
#[utoipa::path(get, path = "/api/v1/anomalies/{id}", params(("id" = String, Path, description = "Anomaly id")),
    responses((status = 200, body = AnomalyDoc), (status = 404, body = Problem)))]
pub(crate) async fn one(
    State(context): State<Arc<Context>>,
    Path(id): Path<String>,
) -> Result<Json<AnomalyDoc>, Problem> {
    blocking(&context, move |context| Ok(Json(masked(context, get(context, &id)?)))).await
}

/// Puts an anomaly aside: a new record on `anomalies` with its status.
#[utoipa::path(post, path = "/api/v1/anomalies/{id}/discard", params(("id" = String, Path, description = "Anomaly id")),
    responses((status = 200, body = AnomalyDoc), (status = 404, body = Problem)))]
pub(crate) async fn discard(
    State(context): State<Arc<Context>>,
    Path(id): Path<String>,
) -> Result<Json<AnomalyDoc>, Problem> {
    blocking(&context, move |context| {
        let doc = AnomalyDoc { status: AnomalyStatus::Discarded, ..get(context, &id)? };
        let record = serde_json::to_vec(&doc).map_err(|error| Problem::internal(error.to_string()))?;
        let now = context.app.clock.now();
        let message = Message::new(topics::ANOMALIES, record).with_key(id).at(now);
        context.app.publisher.publish_wait(message)?;
        Ok(Json(masked(context, doc)))
    })
    .await
}
