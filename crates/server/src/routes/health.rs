//! Whether the program lives and is ready, its figures, and the description of the API.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;

use crate::app::{Context, blocking};
use crate::ports::Words;
use crate::problem::Problem;

/// Whether the process lives.
#[utoipa::path(get, path = "/livez", responses((status = 200, body = String)))]
pub(crate) async fn livez() -> &'static str {
    "ok"
}

/// One part and whether it is ready.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Part {
    pub name: String,
    pub ready: bool,
    pub detail: Words,
}

/// All parts.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Ready {
    ready: bool,
    parts: Vec<Part>,
}

pub(crate) fn parts(app: &crate::app::App, trouble: Option<String>) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut part = |name: &str, ready: bool, (en, fr): (String, String)| {
        parts.push(Part { name: name.to_owned(), ready, detail: Words { fr, en } });
    };
    // What an error says is said in its own words.
    let both = |text: String| (text.clone(), text);
    let log = app.log.admin().list_topics(false);
    match (log, trouble) {
        (Ok(topics), None) => {
            let (log, n) = (&app.settings.log, topics.len());
            let fr = log.replace("embedded: ", "embarqué : ");
            part("log", true, (format!("{log}, {n} topics"), format!("{fr}, {n} topics")));
        }
        (Err(error), _) => part("log", false, both(error.to_string())),
        (_, Some(trouble)) => part("log", false, both(trouble)),
    }
    let engine = app.engine.stats();
    let state = match engine.state.to_lowercase().as_str() {
        "running" => "en marche",
        "rebalancing" => "partage des partitions en cours",
        "elsewhere" => "dans d’autres instances",
        "created" => "démarrage",
        "pending_shutdown" | "pendingshutdown" => "arrêt en cours",
        "not_running" | "notrunning" => "arrêté",
        "error" | "pending_error" | "pendingerror" => "arrêté par une erreur",
        other => other,
    }
    .to_owned();
    part(
        "engine",
        matches!(engine.state.to_lowercase().as_str(), "running" | "elsewhere"),
        (engine.state, state),
    );
    match app.views.count(crate::views::CUSTOMERS, &[]) {
        Ok(count) => part("stores", true, (format!("{count} customers"), format!("{count} clients"))),
        Err(error) => part("stores", false, both(error.to_string())),
    }
    for sink in app.engine.sinks() {
        let detail = match (&sink.last_error, sink.circuit.as_str()) {
            (Some(error), "open" | "half_open") => both(error.clone()),
            _ => (
                format!("{} written, {} waiting", sink.written, sink.lag),
                format!("{} écrits, {} en attente", sink.written, sink.lag),
            ),
        };
        part(&format!("sink {}", sink.name), sink.circuit == "closed", detail);
    }
    parts
}

/// Whether every part is ready.
#[utoipa::path(get, path = "/readyz", responses((status = 200, body = Ready), (status = 503, body = Ready)))]
pub(crate) async fn readyz(State(context): State<Arc<Context>>) -> Result<impl IntoResponse, Problem> {
    let parts = blocking(&context, |context| Ok(parts(&context.app, context.live.trouble()))).await?;
    let ready = parts.iter().all(|part| part.ready);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(Ready { ready, parts })))
}

/// Figures for Prometheus.
#[utoipa::path(get, path = "/metrics", responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
pub(crate) async fn metrics(State(context): State<Arc<Context>>) -> Result<impl IntoResponse, Problem> {
    let text = blocking(&context, |context| {
        context.metrics.text(context).map_err(|_| Problem::internal("the figures could not be written"))
    })
    .await?;
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}

/// This description.
#[utoipa::path(get, path = "/api/v1/openapi.json", responses((status = 200, body = serde_json::Value)))]
pub(crate) async fn openapi_json() -> Json<utoipa::openapi::OpenApi> {
    Json(super::openapi())
}
