//! Proposals and assignments, the effect of managers, and the model card.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use vigie_domain::{Assignment, AssignmentState, Manager};

use super::PageQuery;
use crate::app::{Context, blocking};
use crate::http::extract::{Body, Query, limit};
use crate::ports::{Comparison, EffectReport, ModelCard};
use crate::problem::Problem;
use crate::views::{self, CustomerDoc};

/// An assignment with the names that belong to it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct QueueItem {
    #[serde(flatten)]
    assignment: Assignment,
    name: String,
    company: String,
    manager_name: Option<String>,
    top_reason_fr: Option<String>,
    top_reason_en: Option<String>,
}

/// How many stand where.
#[derive(Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct Counts {
    proposed: u64,
    approved: u64,
    undone: u64,
    held_out: u64,
}

/// A manager and how many customers are approved for them.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ManagerLoad {
    #[serde(flatten)]
    manager: Manager,
    assigned: u64,
}

/// The queue.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Queue {
    items: Vec<QueueItem>,
    total: u64,
    counts: Counts,
    comparison: Option<Comparison>,
    effect: Option<EffectReport>,
    managers: Vec<ManagerLoad>,
}

/// Who decides.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
pub(crate) struct By {
    /// A user's name; `screen` unless said.
    #[serde(default)]
    pub by: Option<String>,
}

impl By {
    pub(crate) fn name(self) -> Result<String, Problem> {
        let name = self.by.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        match name {
            None => Ok(String::from("screen")),
            Some(name) if name.chars().count() <= 100 => Ok(name),
            Some(_) => Err(Problem::bad_request("`by` has more than 100 characters", "send a shorter name")),
        }
    }
}

fn gather(context: &Context, offset: u64, limit: u64) -> Result<Queue, Problem> {
    let app = &context.app;
    let standing = app.planner.standing();
    let managers = app.planner.managers();
    let mut counts = Counts::default();
    let mut load: BTreeMap<&str, u64> = BTreeMap::new();
    for assignment in &standing {
        match assignment.state {
            AssignmentState::Proposed => counts.proposed += 1,
            AssignmentState::Approved => {
                counts.approved += 1;
                if let Some(manager) = &assignment.manager_id {
                    *load.entry(manager).or_default() += 1;
                }
            }
            AssignmentState::Undone => counts.undone += 1,
            AssignmentState::HeldOut => counts.held_out += 1,
        }
    }
    let mut items = Vec::new();
    let (skip, take) =
        (usize::try_from(offset).unwrap_or(usize::MAX), usize::try_from(limit).unwrap_or(usize::MAX));
    for assignment in standing.iter().skip(skip).take(take) {
        let found = app.views.get(views::CUSTOMERS, assignment.customer_id.as_str())?;
        let doc: Option<CustomerDoc> = super::typed(views::CUSTOMERS, found.into_iter().collect()).pop();
        let (name, company, fr, en) = doc.map_or_else(Default::default, |doc| {
            (doc.name, doc.company, doc.top_reason_fr, doc.top_reason_en)
        });
        let manager = managers.iter().find(|manager| Some(&manager.id) == assignment.manager_id.as_ref());
        items.push(QueueItem {
            assignment: assignment.clone(),
            name,
            company,
            manager_name: manager.map(|manager| manager.name.clone()),
            top_reason_fr: fr,
            top_reason_en: en,
        });
    }
    Ok(Queue {
        items,
        total: standing.len() as u64,
        counts,
        comparison: app.planner.comparison(),
        effect: app.planner.effect(),
        managers: managers
            .iter()
            .map(|manager| ManagerLoad {
                assigned: load.get(manager.id.as_str()).copied().unwrap_or(0),
                manager: manager.clone(),
            })
            .collect(),
    })
}

/// Proposals first, the most valuable first, then what was decided.
#[utoipa::path(get, path = "/api/v1/queue", params(PageQuery), responses((status = 200, body = Queue)))]
pub(crate) async fn queue(
    State(context): State<Arc<Context>>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Queue>, Problem> {
    blocking(&context, move |context| gather(context, page.offset.unwrap_or(0), limit(page.limit)).map(Json))
        .await
}

/// Computes proposals anew.
#[utoipa::path(post, path = "/api/v1/queue/propose", request_body = By, responses((status = 200, body = Queue)))]
pub(crate) async fn propose(
    State(context): State<Arc<Context>>,
    Body(by): Body<By>,
) -> Result<Json<Queue>, Problem> {
    let by = by.name()?;
    blocking(&context, move |context| {
        context.app.planner.propose(&by)?;
        gather(context, 0, limit(None)).map(Json)
    })
    .await
}

/// A person says yes.
#[utoipa::path(post, path = "/api/v1/assignments/{customer_id}/approve", request_body = By,
    params(("customer_id" = String, Path, description = "Customer id")),
    responses((status = 200, body = Assignment), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn approve(
    State(context): State<Arc<Context>>,
    Path(customer): Path<String>,
    Body(by): Body<By>,
) -> Result<Json<Assignment>, Problem> {
    let by = by.name()?;
    blocking(&context, move |context| Ok(Json(context.app.planner.approve(&customer, &by)?))).await
}

/// A person takes it back.
#[utoipa::path(post, path = "/api/v1/assignments/{customer_id}/undo", request_body = By,
    params(("customer_id" = String, Path, description = "Customer id")),
    responses((status = 200, body = Assignment), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn undo(
    State(context): State<Arc<Context>>,
    Path(customer): Path<String>,
    Body(by): Body<By>,
) -> Result<Json<Assignment>, Problem> {
    let by = by.name()?;
    blocking(&context, move |context| Ok(Json(context.app.planner.undo(&customer, &by)?))).await
}

fn loads(context: &Context) -> Vec<ManagerLoad> {
    let standing = context.app.planner.standing();
    let approved = |id: &str| {
        let of =
            |a: &&Assignment| a.state == AssignmentState::Approved && a.manager_id.as_deref() == Some(id);
        standing.iter().filter(of).count() as u64
    };
    let managers = context.app.planner.managers().into_iter();
    managers.map(|manager| ManagerLoad { assigned: approved(&manager.id), manager }).collect()
}

/// The managers and how many customers are approved for each.
#[utoipa::path(get, path = "/api/v1/managers", responses((status = 200, body = Vec<ManagerLoad>)))]
pub(crate) async fn managers(State(context): State<Arc<Context>>) -> Result<Json<Vec<ManagerLoad>>, Problem> {
    blocking(&context, |context| Ok(Json(loads(context)))).await
}

/// A manager and who enters it.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
pub(crate) struct ManagerEntry {
    #[serde(flatten)]
    manager: Manager,
    /// A user's name; `screen` unless said.
    #[serde(default)]
    by: Option<String>,
}

/// Adds a manager, or changes the one with this id.
#[utoipa::path(post, path = "/api/v1/managers", request_body = ManagerEntry,
    responses((status = 200, body = Vec<ManagerLoad>), (status = 422, body = Problem)))]
pub(crate) async fn put_manager(
    State(context): State<Arc<Context>>,
    Body(entry): Body<ManagerEntry>,
) -> Result<Json<Vec<ManagerLoad>>, Problem> {
    let by = By { by: entry.by }.name()?;
    blocking(&context, move |context| {
        context.app.planner.put_manager(entry.manager, &by)?;
        Ok(Json(loads(context)))
    })
    .await
}

/// Removes a manager who has no approved customers.
#[utoipa::path(post, path = "/api/v1/managers/{id}/remove", request_body = By,
    params(("id" = String, Path, description = "Manager id")),
    responses((status = 200, body = Vec<ManagerLoad>), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn remove_manager(
    State(context): State<Arc<Context>>,
    Path(id): Path<String>,
    Body(by): Body<By>,
) -> Result<Json<Vec<ManagerLoad>>, Problem> {
    let by = by.name()?;
    blocking(&context, move |context| {
        context.app.planner.remove_manager(&id, &by)?;
        Ok(Json(loads(context)))
    })
    .await
}

/// Whether managers help.
#[utoipa::path(get, path = "/api/v1/effect", responses((status = 200, body = EffectReport), (status = 404, body = Problem)))]
pub(crate) async fn effect(State(context): State<Arc<Context>>) -> Result<Json<EffectReport>, Problem> {
    context.app.planner.effect().map(Json).ok_or_else(|| {
        Problem::not_found(
            "the effect of managers has not been measured yet",
            "it is measured after the start from the training table; try again in a moment",
        )
    })
}

/// The model card.
#[utoipa::path(get, path = "/api/v1/model", responses((status = 200, body = ModelCard)))]
pub(crate) async fn model(State(context): State<Arc<Context>>) -> Result<Json<ModelCard>, Problem> {
    blocking(&context, |context| Ok(Json(context.app.model.card()))).await
}
