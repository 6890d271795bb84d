//! Page views: publishing one, the counts of the running window, the windows so far.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use vigie_domain::{Origin, PageCount, PageEvent, topics};
use vigie_log::Message;

use super::messages::newest;
use crate::app::{Context, blocking};
use crate::http::extract::{Query, limit};
use crate::ports::Find;
use crate::problem::Problem;
use crate::views::{self, field};

/// Publishes one view of the page to `R1` or `R2` and returns it. A GET, because the system that it comes from has it so.
#[utoipa::path(get, path = "/publish/{topic}/{name}", params(("topic" = String, Path, description = "R1 or R2"),
    ("name" = String, Path, description = "The page")),
    responses((status = 200, body = PageEvent), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn publish(
    State(context): State<Arc<Context>>,
    Path((topic, name)): Path<(String, String)>,
) -> Result<Json<PageEvent>, Problem> {
    if topic != topics::R1 && topic != topics::R2 {
        return Err(Problem::not_found(
            format!("page views cannot be published to {topic:?}"),
            "use /publish/R1/{name} or /publish/R2/{name}",
        ));
    }
    blocking(&context, move |context| {
        let random = context.random();
        let now = context.app.clock.now();
        let event = PageEvent {
            name,
            user: String::from(if random & 1 == 0 { "U1" } else { "U2" }),
            date: now,
            duration: i64::try_from((random >> 1) % 9000).unwrap_or(0),
        };
        let record = serde_json::to_vec(&event).map_err(|error| Problem::internal(error.to_string()))?;
        context.app.contracts.get(&topic).check::<PageEvent>(&record).map_err(|violation| {
            Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                violation.message_en(),
                "use another name for the page",
            )
        })?;
        let message = Message::new(topic, record)
            .with_key(event.name.as_bytes())
            .with_header(topics::PUBLISHED_AT, now.to_string())
            .at(now);
        context.app.publisher.publish_wait(message)?;
        Ok(Json(event))
    })
    .await
}

/// Counts of the running window, once a second: `{"P1": n, "P2": m}`.
#[utoipa::path(get, path = "/analytics", responses((status = 200, body = String, content_type = "text/event-stream")))]
pub(crate) async fn analytics(State(context): State<Arc<Context>>) -> Result<Response, Problem> {
    super::stream::room(&context)?;
    let guard = context.metrics.stream();
    let closing = context.closing.subscribe();
    let messages =
        stream::unfold((context, closing, guard, false), |(context, mut closing, guard, later)| async move {
            if later {
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_secs(1)) => {}
                    _ = closing.wait_for(|closing| *closing) => return None,
                }
            }
            let counts = blocking(&context, |context| {
                let mut counts = BTreeMap::from([(String::from("P1"), 0), (String::from("P2"), 0)]);
                counts.extend(context.app.engine.page_counts(context.app.clock.now()));
                Ok(counts)
            })
            .await
            .ok()?;
            let text = format!("data: {}\n\n", serde_json::to_string(&counts).ok()?);
            Some((Ok::<_, Infallible>(text), (context, closing, guard, true)))
        });
    Ok(([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(messages)).into_response())
}

/// A moment.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CountsQuery {
    /// Of the window that contains this time, ms since the epoch; now unless said.
    at: Option<i64>,
}

/// The counts of one window that this instance owns; other instances ask for them to answer `/analytics` as a whole.
#[utoipa::path(get, path = "/api/v1/state/page-counts", params(CountsQuery), responses((status = 200, body = BTreeMap<String, i64>)))]
pub(crate) async fn counts_here(
    State(context): State<Arc<Context>>,
    Query(query): Query<CountsQuery>,
) -> Result<Json<BTreeMap<String, i64>>, Problem> {
    blocking(&context, move |context| {
        let at = query.at.unwrap_or_else(|| context.app.clock.now());
        Ok(Json(context.app.engine.page_counts_here(at)))
    })
    .await
}

/// One window.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Window {
    start: i64,
    end: i64,
    counts: BTreeMap<String, i64>,
    closed: bool,
}

/// The windows so far.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Series {
    window_ms: i64,
    windows: Vec<Window>,
    late: u64,
}

/// How many windows.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SeriesQuery {
    /// Windows at most: 120 unless said, 1000 at most.
    windows: Option<u64>,
}

/// The newest windows, oldest first.
#[utoipa::path(get, path = "/api/v1/pages/series", params(SeriesQuery), responses((status = 200, body = Series)))]
pub(crate) async fn series(
    State(context): State<Arc<Context>>,
    Query(query): Query<SeriesQuery>,
) -> Result<Json<Series>, Problem> {
    blocking(&context, move |context| {
        let app = &context.app;
        let asked = query.windows.unwrap_or(120).clamp(1, 1000);
        // A few pages a window: read so many rows that the windows asked for are among them.
        let find = Find::all(views::PAGE_COUNTS).newest(field::WINDOW_START).page(0, asked * 8);
        let rows: Vec<PageCount> = super::find(&*app.views, &find)?.items;
        let now = app.clock.now();
        let mut windows: BTreeMap<i64, Window> = BTreeMap::new();
        for row in rows {
            let window = windows.entry(row.window_start).or_insert_with(|| Window {
                start: row.window_start,
                end: row.window_end,
                counts: BTreeMap::new(),
                closed: row.window_end <= now,
            });
            window.counts.insert(row.page, row.count);
        }
        let surplus = windows.len().saturating_sub(usize::try_from(asked).unwrap_or(usize::MAX));
        Ok(Json(Series {
            window_ms: app.engine.page_window_ms(),
            windows: windows.into_values().skip(surplus).collect(),
            late: app.engine.stats().late,
        }))
    })
    .await
}

/// A mapped view and where it stands.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Mapped {
    #[serde(flatten)]
    event: PageEvent,
    origin: Origin,
}

/// The newest mapped views.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct MappedList {
    items: Vec<Mapped>,
}

/// How many.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct LimitQuery {
    /// Items at most.
    limit: Option<u64>,
}

/// The newest events of `R3`, newest first.
#[utoipa::path(get, path = "/api/v1/pages/mapped", params(LimitQuery), responses((status = 200, body = MappedList)))]
pub(crate) async fn mapped(
    State(context): State<Arc<Context>>,
    Query(query): Query<LimitQuery>,
) -> Result<Json<MappedList>, Problem> {
    blocking(&context, move |context| {
        let count = usize::try_from(limit(query.limit.or(Some(20)))).unwrap_or(20);
        let items = newest(&*context.app.log, topics::R3, count)?
            .into_iter()
            .filter_map(|(origin, value)| {
                Some(Mapped { event: serde_json::from_slice(&value).ok()?, origin })
            })
            .collect();
        Ok(Json(MappedList { items }))
    })
    .await
}
