//! Alerts: the list, and what people do with them. Each change of state is a new record on `alerts`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::json;
use vigie_domain::{Alert, AlertState, topics};
use vigie_log::Message;

use super::List;
use super::queue::By;
use crate::app::{Context, blocking};
use crate::http::extract::{Body, Query, limit};
use crate::ports::{Find, Test};
use crate::problem::Problem;
use crate::views::{self, Named, field};

/// Changes that the stores may not show yet are remembered, the newest so many.
const REMEMBERED: usize = 1024;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Which alerts.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AlertsQuery {
    /// `open` (default) or `all`.
    state: Option<String>,
    /// Items to leave out.
    offset: Option<u64>,
    /// Items at most.
    limit: Option<u64>,
}

/// Alerts, newest first.
#[utoipa::path(get, path = "/api/v1/alerts", params(AlertsQuery), responses((status = 200, body = List<Named<Alert>>)))]
pub(crate) async fn list(
    State(context): State<Arc<Context>>,
    Query(query): Query<AlertsQuery>,
) -> Result<Json<List<Named<Alert>>>, Problem> {
    blocking(&context, move |context| {
        let find = Find::all(views::ALERTS).newest(field::UPDATED_AT);
        let find = find.page(query.offset.unwrap_or(0), limit(query.limit));
        let find = match query.state.as_deref().unwrap_or("open") {
            "all" => find,
            "open" => find.that(field::STATE, Test::Is(json!(AlertState::Open))),
            other => {
                return Err(Problem::bad_request(
                    format!("`state` is {other:?}"),
                    "it may be one of: open, all",
                ));
            }
        };
        let found: List<Alert> = super::find(&*context.app.views, &find)?;
        Ok(Json(found.map(|alert| Named { name: context.live.name(&alert.subject), item: alert })))
    })
    .await
}

/// Who, and until when.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
pub(crate) struct Decision {
    /// A user's name; `screen` unless said.
    #[serde(default)]
    by: Option<String>,
    /// For `snooze`: until when, ms since the epoch; a day from now unless said.
    #[serde(default)]
    until: Option<i64>,
}

async fn decide(
    context: &Arc<Context>,
    id: String,
    decision: Decision,
    state: AlertState,
) -> Result<Json<Alert>, Problem> {
    let by = By { by: decision.by }.name()?;
    blocking(context, move |context| {
        let app = &context.app;
        // One change at a time: the second of two sees the first, although no store has it yet.
        let mut decided = context.decided();
        let stored: Option<Alert> =
            super::typed(views::ALERTS, app.views.get(views::ALERTS, &id)?.into_iter().collect()).pop();
        let recent = decided.iter().rfind(|alert| alert.id == id).cloned();
        let old = stored.into_iter().chain(recent).max_by_key(|alert| alert.updated_at).ok_or_else(|| {
            Problem::not_found(format!("there is no alert {id:?}"), "GET /api/v1/alerts?state=all lists them")
        })?;
        let now = app.clock.now();
        let until = decision.until.unwrap_or(now + DAY_MS);
        if state == AlertState::Snoozed && until <= now {
            return Err(Problem::bad_request(
                "`until` lies in the past",
                "send a time in the future, in ms since 1970",
            ));
        }
        let new = Alert {
            state,
            updated_at: now.max(old.updated_at + 1),
            by: Some(by),
            snoozed_until: (state == AlertState::Snoozed).then_some(until),
            ..old
        };
        let record = serde_json::to_vec(&new).map_err(|error| Problem::internal(error.to_string()))?;
        let message = Message::new(topics::ALERTS, record).with_key(new.id.as_str()).at(new.updated_at);
        app.publisher.publish_wait(message)?;
        decided.retain(|alert| alert.id != new.id);
        if decided.len() >= REMEMBERED {
            decided.remove(0);
        }
        decided.push(new.clone());
        Ok(Json(new))
    })
    .await
}

macro_rules! decisions {
    ($($(#[$doc:meta])* $name:ident, $path:literal, $state:ident;)*) => {$(
        $(#[$doc])*
        #[utoipa::path(post, path = $path, request_body = Decision,
            params(("id" = String, Path, description = "Alert id")),
            responses((status = 200, body = Alert), (status = 404, body = Problem)))]
        pub(crate) async fn $name(
            State(context): State<Arc<Context>>,
            Path(id): Path<String>,
            Body(decision): Body<Decision>,
        ) -> Result<Json<Alert>, Problem> {
            decide(&context, id, decision, AlertState::$state).await
        }
    )*};
}

decisions! {
    /// Somebody takes it.
    acknowledge, "/api/v1/alerts/{id}/acknowledge", Acknowledged;
    /// Hidden until a time.
    snooze, "/api/v1/alerts/{id}/snooze", Snoozed;
    /// Done.
    resolve, "/api/v1/alerts/{id}/resolve", Resolved;
    /// Open again.
    reopen, "/api/v1/alerts/{id}/reopen", Open;
}
