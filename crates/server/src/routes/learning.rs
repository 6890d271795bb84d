//! Models in service and in shadow, the features they read, what outcomes say, and who did what.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::json;
use vigie_domain::AuditEntry;

use super::List;
use super::queue::By;
use crate::app::{Context, blocking};
use crate::http::extract::{Body, Query, limit};
use crate::ports::{FeatureList, Find, LearningReport, Models, ReplayAsk, ReplayTable, Test, Verified};
use crate::problem::Problem;
use crate::views::{self, field};

/// What is computed for each score.
#[utoipa::path(get, path = "/api/v1/features", responses((status = 200, body = FeatureList)))]
pub(crate) async fn features(State(context): State<Arc<Context>>) -> Result<Json<FeatureList>, Problem> {
    blocking(&context, |context| Ok(Json(context.app.learning.features()))).await
}

/// The features computed again over the whole history: the table to train from.
#[utoipa::path(get, path = "/api/v1/features/replay", params(ReplayAsk), responses((status = 200, body = ReplayTable)))]
pub(crate) async fn replay(
    State(context): State<Arc<Context>>,
    Query(ask): Query<ReplayAsk>,
) -> Result<Json<ReplayTable>, Problem> {
    let _place = heavy(&context)?;
    blocking(&context, move |context| Ok(Json(context.app.learning.replay(&ask)?))).await
}

/// What was served beside what a replay gives, byte for byte.
#[utoipa::path(get, path = "/api/v1/features/verify", responses((status = 200, body = Verified)))]
pub(crate) async fn verify(State(context): State<Arc<Context>>) -> Result<Json<Verified>, Problem> {
    let _place = heavy(&context)?;
    blocking(&context, |context| Ok(Json(context.app.learning.verify()?))).await
}

fn heavy(context: &Context) -> Result<tokio::sync::SemaphorePermit<'_>, Problem> {
    context.heavy.try_acquire().map_err(|_| {
        Problem::new(
            axum::http::StatusCode::SERVICE_UNAVAILABLE,
            "others read much at this moment",
            "try again in some seconds",
        )
    })
}

/// Which model is where.
#[utoipa::path(get, path = "/api/v1/models", responses((status = 200, body = Models)))]
pub(crate) async fn models(State(context): State<Arc<Context>>) -> Result<Json<Models>, Problem> {
    blocking(&context, |context| Ok(Json(context.app.learning.models()?))).await
}

/// A model file and who brings it.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub(crate) struct ModelFile {
    /// The file, base64.
    file: String,
    /// A user's name; `screen` unless said.
    #[serde(default)]
    by: Option<String>,
}

/// Puts a model in shadow: it scores beside the one in service, and is compared with it.
#[utoipa::path(post, path = "/api/v1/models/shadow", request_body = ModelFile,
    responses((status = 200, body = Models), (status = 409, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn shadow(
    State(context): State<Arc<Context>>,
    Body(file): Body<ModelFile>,
) -> Result<Json<Models>, Problem> {
    let by = By { by: file.by }.name()?;
    blocking(&context, move |context| Ok(Json(context.app.learning.shadow(&file.file, &by)?))).await
}

/// Takes the model out of shadow.
#[utoipa::path(post, path = "/api/v1/models/shadow/end", request_body = By,
    responses((status = 200, body = Models), (status = 409, body = Problem)))]
pub(crate) async fn end_shadow(
    State(context): State<Arc<Context>>,
    Body(by): Body<By>,
) -> Result<Json<Models>, Problem> {
    let by = by.name()?;
    blocking(&context, move |context| Ok(Json(context.app.learning.end_shadow(&by)?))).await
}

/// Who promotes, and whether without waiting.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
pub(crate) struct Promotion {
    /// A user's name; `screen` unless said.
    #[serde(default)]
    by: Option<String>,
    /// Do not wait until it has scored enough customers in shadow.
    #[serde(default)]
    now: bool,
}

/// Puts the model in shadow in service.
#[utoipa::path(post, path = "/api/v1/models/promote", request_body = Promotion,
    responses((status = 200, body = Models), (status = 409, body = Problem)))]
pub(crate) async fn promote(
    State(context): State<Arc<Context>>,
    Body(promotion): Body<Promotion>,
) -> Result<Json<Models>, Problem> {
    let by = By { by: promotion.by }.name()?;
    blocking(&context, move |context| Ok(Json(context.app.learning.promote(&by, promotion.now)?))).await
}

/// Puts the model that was in service before back in service.
#[utoipa::path(post, path = "/api/v1/models/rollback", request_body = By,
    responses((status = 200, body = Models), (status = 409, body = Problem)))]
pub(crate) async fn rollback(
    State(context): State<Arc<Context>>,
    Body(by): Body<By>,
) -> Result<Json<Models>, Problem> {
    let by = by.name()?;
    blocking(&context, move |context| Ok(Json(context.app.learning.rollback(&by)?))).await
}

/// What outcomes say: calibration, drift of inputs, the effect of managers, whether to train again.
#[utoipa::path(get, path = "/api/v1/learning", responses((status = 200, body = LearningReport)))]
pub(crate) async fn report(State(context): State<Arc<Context>>) -> Result<Json<LearningReport>, Problem> {
    blocking(&context, |context| Ok(Json(context.app.learning.report()?))).await
}

/// Which entries.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// Only about this customer, manager or model.
    subject: Option<String>,
    /// Only this action, for example `assignment.approved`.
    action: Option<String>,
    /// Items to leave out.
    offset: Option<u64>,
    /// Items at most.
    limit: Option<u64>,
}

/// Who did what, newest first.
#[utoipa::path(get, path = "/api/v1/audit", params(AuditQuery), responses((status = 200, body = List<AuditEntry>)))]
pub(crate) async fn audit(
    State(context): State<Arc<Context>>,
    Query(query): Query<AuditQuery>,
) -> Result<Json<List<AuditEntry>>, Problem> {
    blocking(&context, move |context| {
        let mut find = Find::all(views::AUDIT).newest(field::AT);
        find = find.page(query.offset.unwrap_or(0), limit(query.limit));
        for (name, value) in [(field::AUDIT_SUBJECT, query.subject), (field::ACTION, query.action)] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                find = find.that(name, Test::Is(json!(value)));
            }
        }
        super::find(&*context.app.views, &find).map(Json)
    })
    .await
}
