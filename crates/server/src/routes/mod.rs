//! The table of contents of the API: every route, and the document that describes them.

mod alerts;
mod anomalies;
mod customers;
mod form;
mod health;
mod learning;
mod messages;
mod operations;
pub(crate) mod overview;
mod pages;
mod queue;
mod recount;
mod shop;
mod stream;
mod users;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::OpenApi;

use crate::app::{App, Context};
use crate::http::{assets, extract, guard};
use crate::ports::{Find, Views};
use crate::problem::Problem;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Vigie",
        description = "Real-time customer analytics and churn prevention. Times are ms since the epoch, \
        probabilities 0 to 1, errors problem+json (RFC 9457)."
    ),
    paths(
        health::livez,
        health::readyz,
        health::metrics,
        health::openapi_json,
        pages::publish,
        pages::analytics,
        pages::counts_here,
        pages::series,
        pages::mapped,
        overview::info,
        overview::overview,
        customers::list,
        customers::one,
        customers::score,
        form::form,
        queue::queue,
        queue::propose,
        queue::approve,
        queue::undo,
        queue::effect,
        queue::model,
        queue::managers,
        queue::put_manager,
        queue::remove_manager,
        learning::features,
        learning::replay,
        learning::verify,
        learning::models,
        learning::shadow,
        learning::end_shadow,
        learning::promote,
        learning::rollback,
        learning::report,
        learning::audit,
        shop::shop,
        shop::events,
        shop::patterns,
        users::users,
        alerts::list,
        alerts::acknowledge,
        alerts::snooze,
        alerts::resolve,
        alerts::reopen,
        anomalies::list,
        anomalies::summary,
        anomalies::one,
        anomalies::discard,
        operations::operations,
        operations::topology,
        operations::topics,
        messages::messages,
        recount::recount,
        stream::stream,
    )
)]
struct Document;

/// The OpenAPI document of the API.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// The routes of an application, for a server that is there already. Its live stream ends when the router is dropped.
pub fn router_of(app: App) -> Router {
    router(&Context::new(app))
}

pub(crate) fn router(context: &Arc<Context>) -> Router {
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/publish/{topic}/{name}", get(pages::publish))
        .route("/analytics", get(pages::analytics))
        .route("/api/v1/openapi.json", get(health::openapi_json))
        .route("/api/v1/info", get(overview::info))
        .route("/api/v1/overview", get(overview::overview))
        .route("/api/v1/customers", get(customers::list))
        .route("/api/v1/customers/{id}", get(customers::one))
        .route("/api/v1/score", post(customers::score))
        .route("/api/v1/form", post(form::form))
        .route("/api/v1/queue", get(queue::queue))
        .route("/api/v1/queue/propose", post(queue::propose))
        .route("/api/v1/assignments/{customer_id}/approve", post(queue::approve))
        .route("/api/v1/assignments/{customer_id}/undo", post(queue::undo))
        .route("/api/v1/effect", get(queue::effect))
        .route("/api/v1/model", get(queue::model))
        .route("/api/v1/managers", get(queue::managers).post(queue::put_manager))
        .route("/api/v1/managers/{id}/remove", post(queue::remove_manager))
        .route("/api/v1/features", get(learning::features))
        .route("/api/v1/features/replay", get(learning::replay))
        .route("/api/v1/features/verify", get(learning::verify))
        .route("/api/v1/models", get(learning::models))
        .route(
            "/api/v1/models/shadow",
            post(learning::shadow).layer(DefaultBodyLimit::max(extract::MODEL_LIMIT)),
        )
        .route("/api/v1/models/shadow/end", post(learning::end_shadow))
        .route("/api/v1/models/promote", post(learning::promote))
        .route("/api/v1/models/rollback", post(learning::rollback))
        .route("/api/v1/learning", get(learning::report))
        .route("/api/v1/audit", get(learning::audit))
        .route("/api/v1/state/page-counts", get(pages::counts_here))
        .route("/api/v1/pages/series", get(pages::series))
        .route("/api/v1/pages/mapped", get(pages::mapped))
        .route("/api/v1/shop", get(shop::shop))
        .route("/api/v1/shop/events", get(shop::events))
        .route("/api/v1/shop/patterns", get(shop::patterns))
        .route("/api/v1/users", get(users::users))
        .route("/api/v1/alerts", get(alerts::list))
        .route("/api/v1/alerts/{id}/acknowledge", post(alerts::acknowledge))
        .route("/api/v1/alerts/{id}/snooze", post(alerts::snooze))
        .route("/api/v1/alerts/{id}/resolve", post(alerts::resolve))
        .route("/api/v1/alerts/{id}/reopen", post(alerts::reopen))
        .route("/api/v1/anomalies", get(anomalies::list))
        .route("/api/v1/anomalies/summary", get(anomalies::summary))
        .route("/api/v1/anomalies/{id}", get(anomalies::one))
        .route("/api/v1/anomalies/{id}/discard", post(anomalies::discard))
        .route("/api/v1/operations", get(operations::operations))
        .route("/api/v1/topology", get(operations::topology))
        .route("/api/v1/topics", get(operations::topics))
        .route("/api/v1/topics/{topic}/messages", get(messages::messages))
        .route("/api/v1/recount", get(recount::recount))
        .route("/api/v1/stream", get(stream::stream))
        .fallback(assets::fallback)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::middleware::from_fn_with_state(Arc::clone(context), guard::guard))
        .layer(DefaultBodyLimit::max(extract::BODY_LIMIT))
        .with_state(Arc::clone(context))
}

async fn wrong_method(request: axum::extract::Request) -> Problem {
    Problem::new(
        axum::http::StatusCode::METHOD_NOT_ALLOWED,
        format!("{} is not possible on {}", request.method(), request.uri().path()),
        "GET /api/v1/openapi.json says which methods each path has",
    )
}

/// What comes back as a list.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub(crate) struct List<T> {
    /// How many there are in all.
    total: u64,
    /// The page asked for.
    items: Vec<T>,
}

impl<T> List<T> {
    /// The same page of something made of the items.
    pub(crate) fn map<U>(self, make: impl FnMut(T) -> U) -> List<U> {
        List { total: self.total, items: self.items.into_iter().map(make).collect() }
    }
}

/// Which page of a list.
#[derive(Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Items to leave out.
    offset: Option<u64>,
    /// Items at most: 50 unless said, 500 at most.
    limit: Option<u64>,
}

/// Items of a set as their type. One that is not of that shape (written by another version) is left out and said in the log.
pub(crate) fn typed<T: DeserializeOwned>(set: &str, items: Vec<Value>) -> Vec<T> {
    let read = |item| match serde_json::from_value(item) {
        Ok(item) => Some(item),
        Err(error) => {
            tracing::warn!(set, %error, "an item of a store is not as this version writes it; it is left out");
            None
        }
    };
    items.into_iter().filter_map(read).collect()
}

/// A page of a set.
pub(crate) fn find<T: DeserializeOwned>(views: &dyn Views, find: &Find) -> Result<List<T>, Problem> {
    let found = views.find(find)?;
    Ok(List { total: found.total, items: typed(&find.set, found.items) })
}
