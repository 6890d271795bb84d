//! What the program is, and the figures of the first page.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::json;
use vigie_domain::AssignmentState;

use crate::app::{App, Context, blocking};
use crate::live::Risk;
use crate::ports::{Condition, Saved, SourceStatus, Test, Words};
use crate::problem::Problem;
use crate::views::{self, field};

/// What the program is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Info {
    version: String,
    simulated: bool,
    demo: bool,
    log: String,
    started_at: i64,
    sources: Vec<SourceStatus>,
    model_version: String,
    languages: [&'static str; 2],
    currency: &'static str,
}

/// What the program is.
#[utoipa::path(get, path = "/api/v1/info", responses((status = 200, body = Info)))]
pub(crate) async fn info(State(context): State<Arc<Context>>) -> Result<Json<Info>, Problem> {
    blocking(&context, |context| {
        let app = &context.app;
        let sources = app.sources.list();
        Ok(Json(Info {
            version: app.settings.version.clone(),
            simulated: app.settings.simulated || sources.iter().any(|source| source.simulated),
            demo: app.settings.demo,
            log: app.settings.log.clone(),
            started_at: context.started_at,
            sources,
            model_version: app.model.version(),
            languages: ["fr", "en"],
            currency: "EUR",
        }))
    })
    .await
}

/// Known outcomes.
#[derive(Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct Outcomes {
    churned: u64,
    stayed: u64,
}

/// Quantiles in ms.
#[derive(Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct Quantiles {
    p50: f64,
    p99: f64,
    samples: u64,
}

/// One part of the program and whether it is well.
#[derive(Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct Health {
    name: String,
    ok: bool,
    detail: Words,
}

/// The figures of the first page.
#[derive(Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct Overview {
    /// Who are here; who left is counted in `left` and nowhere else.
    customers: u64,
    left: u64,
    at_risk: u64,
    risk_threshold: f64,
    value_at_risk: f64,
    mean_probability: Option<f64>,
    outcomes: Outcomes,
    saved: Option<Saved>,
    events_per_second: f64,
    event_to_score_ms: Option<Quantiles>,
    open_alerts: u64,
    anomalies: u64,
    proposals: u64,
    approved: u64,
    held_out: u64,
    risk_histogram: Vec<u64>,
    health: Vec<Health>,
}

/// Puts the figures together; may block.
pub(crate) fn gather(
    app: &App,
    risk: Risk,
    rate: f64,
    latency: Option<(f64, f64, u64)>,
    trouble: Option<String>,
) -> Result<Overview, Problem> {
    let count = |set: &str, field: &str, value: serde_json::Value| {
        app.views.count(set, &[Condition { field: field.to_owned(), test: Test::Is(value) }])
    };
    let standing = app.planner.standing();
    let state = |state: AssignmentState| standing.iter().filter(|a| a.state == state).count() as u64;
    let health = super::health::parts(app, trouble)
        .into_iter()
        .map(|part| Health { name: part.name, ok: part.ready, detail: part.detail })
        .collect();
    Ok(Overview {
        customers: risk.customers,
        left: risk.left,
        at_risk: risk.at_risk,
        risk_threshold: app.model.threshold(),
        value_at_risk: risk.value_at_risk,
        mean_probability: risk.mean_probability,
        outcomes: Outcomes {
            churned: count(views::OUTCOMES, field::CHURNED, json!(true))?,
            stayed: count(views::OUTCOMES, field::CHURNED, json!(false))?,
        },
        saved: app.planner.saved(),
        events_per_second: (rate * 10.0).round() / 10.0,
        event_to_score_ms: latency.map(|(p50, p99, samples)| Quantiles { p50, p99, samples }),
        open_alerts: count(views::ALERTS, field::STATE, json!("open"))?,
        anomalies: count(views::ANOMALIES, field::STATUS, json!("open"))?,
        proposals: state(AssignmentState::Proposed),
        approved: state(AssignmentState::Approved),
        held_out: state(AssignmentState::HeldOut),
        risk_histogram: risk.histogram,
        health,
    })
}

/// The figures of the first page.
#[utoipa::path(get, path = "/api/v1/overview", responses((status = 200, body = Overview)))]
pub(crate) async fn overview(State(context): State<Arc<Context>>) -> Result<Json<Overview>, Problem> {
    blocking(&context, |context| {
        let (app, live) = (&context.app, &context.live);
        let risk = live.risk(app.model.threshold());
        gather(app, risk, live.rate(), live.latency(app.clock.now()), live.trouble()).map(Json)
    })
    .await
}
