//! Customers: the list, one customer in full, and what a change of their record would do to the score.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use serde_json::json;
use vigie_domain::{
    Alert, Assignment, AssignmentState, Customer, KnownOutcome, Manager, Origin, Score, Verdict,
};

use super::List;
use crate::app::{Context, blocking};
use crate::http::extract::{Body, Query, limit};
use crate::ports::{Find, SmallestChange, Test, WhatIf};
use crate::problem::Problem;
use crate::views::{self, CustomerDoc, EventDoc, field};

/// Which customers.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Occurs in the name or the company.
    search: Option<String>,
    /// `probability` (default), `value`, `name` or `updated`.
    sort: Option<String>,
    /// `desc` (default) or `asc`.
    order: Option<String>,
    /// `all` (default), `high` (at or above the threshold) or `low`; the latter two only of those who have not left.
    risk: Option<String>,
    /// `here` (default), `left` or `all`.
    status: Option<String>,
    /// Items to leave out.
    offset: Option<u64>,
    /// Items at most.
    limit: Option<u64>,
}

/// One customer in the list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct CustomerRow {
    customer_id: String,
    name: String,
    company: String,
    probability: f64,
    verdict: Verdict,
    total_purchase: f64,
    years: f64,
    num_sites: f64,
    account_manager: u8,
    top_reason_fr: Option<String>,
    top_reason_en: Option<String>,
    scored_at: i64,
    event_time: i64,
    assignment: Option<AssignmentState>,
    outcome: Option<KnownOutcome>,
}

fn choice<'a>(name: &str, given: Option<&'a str>, choices: &[&'a str]) -> Result<&'a str, Problem> {
    let given = given.filter(|text| !text.is_empty()).or(choices.first().copied()).unwrap_or_default();
    if choices.contains(&given) {
        Ok(given)
    } else {
        Err(Problem::bad_request(
            format!("`{name}` is {given:?}"),
            format!("it may be one of: {}", choices.join(", ")),
        ))
    }
}

/// Customers with their newest score.
#[utoipa::path(get, path = "/api/v1/customers", params(ListQuery), responses((status = 200, body = List<CustomerRow>)))]
pub(crate) async fn list(
    State(context): State<Arc<Context>>,
    Query(query): Query<ListQuery>,
) -> Result<Json<List<CustomerRow>>, Problem> {
    let sort = choice(
        "sort",
        query.sort.as_deref(),
        &[field::PROBABILITY, field::VALUE, field::NAME, field::UPDATED],
    )?
    .to_owned();
    let descending = choice("order", query.order.as_deref(), &["desc", "asc"])? == "desc";
    let risk = choice("risk", query.risk.as_deref(), &["all", "high", "low"])?.to_owned();
    let status = choice("status", query.status.as_deref(), &["here", "left", "all"])?.to_owned();
    blocking(&context, move |context| {
        let app = &context.app;
        let mut find = Find::all(views::CUSTOMERS).page(query.offset.unwrap_or(0), limit(query.limit));
        find = if descending { find.newest(&sort) } else { find.oldest(&sort) };
        match risk.as_str() {
            "high" => find = find.that(field::PROBABILITY, Test::AtLeast(app.model.threshold())),
            "low" => find = find.that(field::PROBABILITY, Test::Below(app.model.threshold())),
            _ => {}
        }
        match (status.as_str(), risk.as_str()) {
            ("left", _) => find = find.that(field::LEFT, Test::Is(json!(true))),
            ("here", _) | (_, "high" | "low") => find = find.that(field::LEFT, Test::IsNot(json!(true))),
            _ => {}
        }
        if let Some(text) = query.search.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()) {
            let also = vec![field::COMPANY.to_owned(), field::CUSTOMER_ID.to_owned()];
            find = find.that(field::NAME, Test::Contains { text, also });
        }
        let found: List<CustomerDoc> = super::find(&*app.views, &find)?;
        let row = |doc: CustomerDoc| CustomerRow {
            assignment: app.planner.of(&doc.customer_id).map(|a| a.state).or(doc.assignment_state),
            customer_id: doc.customer_id,
            name: doc.name,
            company: doc.company,
            probability: doc.probability,
            verdict: doc.score.verdict,
            total_purchase: doc.customer.total_purchase,
            years: doc.customer.years,
            num_sites: doc.customer.num_sites,
            account_manager: doc.customer.account_manager,
            top_reason_fr: doc.top_reason_fr,
            top_reason_en: doc.top_reason_en,
            scored_at: doc.score.scored_at,
            event_time: doc.event_time,
            outcome: doc.outcome,
        };
        Ok(Json(List { total: found.total, items: found.items.into_iter().map(row).collect() }))
    })
    .await
}

/// One score of the past.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct HistoryPoint {
    event_time: i64,
    probability: f64,
    model_version: String,
    origin: Origin,
}

/// Why a score changed: one column's part in it.
#[derive(Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct ChangeReason {
    feature: String,
    from: f64,
    to: f64,
    contribution_change: f64,
    text_fr: String,
    text_en: String,
}

/// One change of the score.
#[derive(Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub(crate) struct Change {
    event_time: i64,
    from: f64,
    to: f64,
    reasons: Vec<ChangeReason>,
}

/// The customer's assignment, with the name of the manager.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Assigned {
    #[serde(flatten)]
    assignment: Assignment,
    manager_name: Option<String>,
}

impl Assigned {
    fn new(assignment: Assignment, managers: &[Manager]) -> Self {
        let manager = managers.iter().find(|manager| Some(&manager.id) == assignment.manager_id.as_ref());
        Self { manager_name: manager.map(|manager| manager.name.clone()), assignment }
    }
}

/// One customer in full.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct CustomerDetail {
    customer: Customer,
    score: Score,
    history: Vec<HistoryPoint>,
    changes: Vec<Change>,
    events: Vec<EventDoc>,
    assignment: Option<Assigned>,
    alerts: Vec<Alert>,
    outcome: Option<KnownOutcome>,
    smallest_change: Option<SmallestChange>,
}

/// What made the score change from one to the next: differences of the exact contributions, the largest first.
fn change(from: &Score, to: &Score) -> Change {
    let before: BTreeMap<&str, f64> =
        from.reasons.iter().map(|reason| (reason.feature.as_str(), reason.contribution)).collect();
    let mut reasons: Vec<ChangeReason> = to
        .reasons
        .iter()
        .filter_map(|reason| {
            let contribution_change =
                reason.contribution - before.get(reason.feature.as_str()).copied().unwrap_or(0.0);
            let old = from.features.get(&reason.feature).copied().unwrap_or(reason.baseline);
            (contribution_change.abs() > 1e-9).then(|| {
                let (fr, en) = if contribution_change > 0.0 {
                    ("le risque monte", "the risk goes up")
                } else {
                    ("le risque baisse", "the risk goes down")
                };
                let labels = label(&reason.feature);
                ChangeReason {
                    text_fr: format!(
                        "{} : {} → {}, {fr}",
                        labels.0,
                        short(old).replace('.', ","),
                        short(reason.value).replace('.', ",")
                    ),
                    text_en: format!("{}: {} → {}, {en}", labels.1, short(old), short(reason.value)),
                    feature: reason.feature.clone(),
                    from: old,
                    to: reason.value,
                    contribution_change,
                }
            })
        })
        .collect();
    reasons.sort_by(|a, b| b.contribution_change.abs().total_cmp(&a.contribution_change.abs()));
    Change { event_time: to.event_time, from: from.probability, to: to.probability, reasons }
}

/// A column's name for people, French and English; a column of one's own keeps its name.
fn label(column: &str) -> (&str, &str) {
    match column {
        "Age" => ("Âge", "Age"),
        "Total_Purchase" => ("Total des achats", "Total purchase"),
        "Account_Manager" => ("Chargé de compte", "Account manager"),
        "Years" => ("Ancienneté (années)", "Years as a customer"),
        "Num_Sites" => ("Nombre de sites", "Number of sites"),
        other => (other, other),
    }
}

fn short(number: f64) -> String {
    format!("{}", (number * 100.0).round() / 100.0)
}

/// One customer in full.
#[utoipa::path(get, path = "/api/v1/customers/{id}", params(("id" = String, Path, description = "Customer id")),
    responses((status = 200, body = CustomerDetail), (status = 404, body = Problem)))]
pub(crate) async fn one(
    State(context): State<Arc<Context>>,
    Path(id): Path<String>,
) -> Result<Json<CustomerDetail>, Problem> {
    blocking(&context, move |context| {
        let app = &context.app;
        let found = app.views.get(views::CUSTOMERS, &id)?;
        let doc: CustomerDoc =
            super::typed(views::CUSTOMERS, found.into_iter().collect()).pop().ok_or_else(|| {
                Problem::not_found(
                    format!("there is no customer {id:?}"),
                    "GET /api/v1/customers?search=… finds customers by name or company",
                )
            })?;
        let by_id = |set: &str, field: &str| Find::all(set).that(field, Test::Is(json!(id)));
        let scores = by_id(views::SCORES, field::CUSTOMER_ID).newest(field::EVENT_TIME).page(0, 500);
        let mut scores: Vec<Score> = super::find(&*app.views, &scores)?.items;
        scores.reverse();
        let events = by_id(views::EVENTS, field::USER_ID).newest(field::EVENT_TIME).page(0, 200);
        let alerts = by_id(views::ALERTS, field::SUBJECT).newest(field::UPDATED_AT).page(0, 100);
        let mut changes: Vec<Change> = scores
            .windows(2)
            .filter_map(|pair| match pair {
                [from, to] if from.features_hash != to.features_hash => Some(change(from, to)),
                _ => None,
            })
            // What the model does not read may have changed too.
            .filter(|change: &Change| !change.reasons.is_empty())
            .collect();
        changes.reverse();
        Ok(Json(CustomerDetail {
            events: super::find(&*app.views, &events)?.items,
            alerts: super::find(&*app.views, &alerts)?.items,
            assignment: app.planner.of(&id).map(|found| Assigned::new(found, &app.planner.managers())),
            outcome: doc.outcome,
            smallest_change: app.model.smallest_change(&doc.score.features),
            history: scores
                .into_iter()
                .map(|score| HistoryPoint {
                    event_time: score.event_time,
                    probability: score.probability,
                    model_version: score.model_version,
                    origin: score.origin,
                })
                .collect(),
            changes,
            customer: doc.customer,
            score: doc.score,
        }))
    })
    .await
}

/// The score of a record that nobody has sent: for what-if.
#[utoipa::path(post, path = "/api/v1/score", request_body = BTreeMap<String, f64>,
    responses((status = 200, body = WhatIf), (status = 422, body = Problem)))]
pub(crate) async fn score(
    State(context): State<Arc<Context>>,
    Body(features): Body<BTreeMap<String, f64>>,
) -> Result<Json<WhatIf>, Problem> {
    blocking(&context, move |context| Ok(Json(context.app.model.score(&features)?))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_and_numbers_are_written_as_each_language_writes_them() {
        for (column, fr, en) in
            [("Years", "Ancienneté (années)", "Years as a customer"), ("Own", "Own", "Own")]
        {
            assert_eq!(label(column), (fr, en));
        }
    }
}
