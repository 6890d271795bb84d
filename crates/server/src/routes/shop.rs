//! Shop events: totals, the newest events, patterns of sessions.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::json;
use vigie_domain::{Pattern, SessionPattern};

use super::{List, PageQuery};
use crate::app::{Context, blocking};
use crate::http::extract::{Query, limit};
use crate::ports::{Condition, Find, Test};
use crate::problem::Problem;
use crate::views::{self, EventDoc, EventStatRow, Named, field};

/// Events of one type.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct TypeCount {
    count: u64,
}

/// Events of one user.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct UserCount {
    user: String,
    /// The customer's name, where the user is one.
    name: Option<String>,
    count: u64,
    sales: f64,
}

/// Totals.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Shop {
    total: u64,
    purchases: u64,
    sales: f64,
    by_type: BTreeMap<String, TypeCount>,
    by_user: Vec<UserCount>,
    users: u64,
    patterns: BTreeMap<String, u64>,
    last_event: Option<i64>,
}

/// Totals, by type and by user (the twenty with the most events).
#[utoipa::path(get, path = "/api/v1/shop", responses((status = 200, body = Shop)))]
pub(crate) async fn shop(State(context): State<Arc<Context>>) -> Result<Json<Shop>, Problem> {
    blocking(&context, |context| {
        let app = &context.app;
        let rows: Vec<EventStatRow> = super::find(&*app.views, &Find::all(views::EVENT_STATS))?.items;
        let mut shop = Shop {
            total: 0,
            purchases: 0,
            sales: 0.0,
            by_type: BTreeMap::new(),
            by_user: Vec::new(),
            users: 0,
            patterns: BTreeMap::new(),
            last_event: None,
        };
        for row in rows {
            let sales = row.sales_cents as f64 / 100.0;
            match row.key.split_once(':') {
                Some(("type", name)) => {
                    shop.by_type.insert(name.to_owned(), TypeCount { count: row.count });
                }
                Some(("user", user)) => {
                    shop.by_user.push(UserCount {
                        user: user.to_owned(),
                        name: None,
                        count: row.count,
                        sales,
                    });
                }
                _ if row.key == "total" => {
                    (shop.total, shop.purchases, shop.sales) = (row.count, row.purchases, sales);
                    shop.last_event = (row.count > 0).then_some(row.last_event);
                }
                _ => {}
            }
        }
        shop.users = shop.by_user.len() as u64;
        shop.by_user.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.user.cmp(&b.user)));
        shop.by_user.truncate(20);
        shop.by_user.iter_mut().for_each(|row| row.name = context.live.name(&row.user));
        for pattern in [Pattern::ParcoursComplet, Pattern::PanierAbandonne, Pattern::ChercheurIntensif] {
            let is = Condition { field: field::PATTERN.to_owned(), test: Test::Is(json!(pattern)) };
            shop.patterns.insert(pattern.as_str().to_owned(), app.views.count(views::PATTERNS, &[is])?);
        }
        Ok(Json(shop))
    })
    .await
}

/// Which events.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// Only of this type.
    #[serde(rename = "type")]
    event_type: Option<String>,
    /// Only of this user.
    user: Option<String>,
    /// Items to leave out.
    offset: Option<u64>,
    /// Items at most.
    limit: Option<u64>,
}

/// Events, newest first.
#[utoipa::path(get, path = "/api/v1/shop/events", params(EventsQuery), responses((status = 200, body = List<Named<EventDoc>>)))]
pub(crate) async fn events(
    State(context): State<Arc<Context>>,
    Query(query): Query<EventsQuery>,
) -> Result<Json<List<Named<EventDoc>>>, Problem> {
    blocking(&context, move |context| {
        let mut find = Find::all(views::EVENTS).newest(field::EVENT_TIME);
        find = find.page(query.offset.unwrap_or(0), limit(query.limit));
        for (name, value) in [(field::EVENT_TYPE, query.event_type), (field::USER_ID, query.user)] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                find = find.that(name, Test::Is(json!(value)));
            }
        }
        let found: List<EventDoc> = super::find(&*context.app.views, &find)?;
        Ok(Json(found.map(|doc| Named { name: context.live.name(&doc.event.user_id), item: doc })))
    })
    .await
}

/// Patterns of sessions, newest first.
#[utoipa::path(get, path = "/api/v1/shop/patterns", params(PageQuery), responses((status = 200, body = List<Named<SessionPattern>>)))]
pub(crate) async fn patterns(
    State(context): State<Arc<Context>>,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<Named<SessionPattern>>>, Problem> {
    blocking(&context, move |context| {
        let find = Find::all(views::PATTERNS).newest(field::AT);
        let find = find.page(page.offset.unwrap_or(0), limit(page.limit));
        let found: List<SessionPattern> = super::find(&*context.app.views, &find)?;
        Ok(Json(found.map(|pattern| Named { name: context.live.name(&pattern.user_id), item: pattern })))
    })
    .await
}
