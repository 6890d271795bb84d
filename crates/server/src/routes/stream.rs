//! The live stream as server-sent events: one for the whole application.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::watch;

use crate::app::Context;
use crate::http::extract::Query;
use crate::live::{KEYS, Next};
use crate::metrics::StreamGuard;
use crate::problem::Problem;

/// Which keys.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StreamQuery {
    /// Keys of the messages, separated by commas; all unless said.
    topics: Option<String>,
}

/// Refuses more streams than configured.
pub(crate) fn room(context: &Context) -> Result<(), Problem> {
    let most = context.app.settings.streams;
    if usize::try_from(context.metrics.streams()).unwrap_or(0) >= most {
        return Err(Problem::unavailable(
            format!("{most} streams are open already"),
            "close some windows, or raise the limit in the configuration",
        ));
    }
    Ok(())
}

struct Client {
    context: Arc<Context>,
    position: i64,
    keys: Option<BTreeSet<String>>,
    news: watch::Receiver<i64>,
    closing: watch::Receiver<bool>,
    greeted: bool,
    _guard: StreamGuard,
}

impl Client {
    /// The next piece of text; `None` ends the stream.
    async fn next(&mut self) -> Option<String> {
        if !self.greeted {
            self.greeted = true;
            return Some(String::from("retry: 1000\n: connected\n\n"));
        }
        loop {
            if *self.closing.borrow() {
                return None;
            }
            // Seen before it is read, so that what comes meanwhile wakes us again.
            self.news.borrow_and_update();
            match self.context.live.after(self.position) {
                Next::Frame(frame) => {
                    self.position = frame.id;
                    if let Some(text) = frame.render(self.keys.as_ref()) {
                        return Some(text);
                    }
                    continue;
                }
                Next::Lost(newest) => {
                    self.position = newest;
                    return Some(format!("id: {newest}\nevent: resync\ndata: {{}}\n\n"));
                }
                Next::Nothing => {}
            }
            let heartbeat = self.context.app.settings.heartbeat;
            tokio::select! {
                changed = self.news.changed() => changed.ok()?,
                _ = self.closing.changed() => {}
                () = tokio::time::sleep(heartbeat) => return Some(String::from(": heartbeat\n\n")),
            }
        }
    }
}

/// What is new, at most ten messages a second; resumable by `Last-Event-ID`.
#[utoipa::path(get, path = "/api/v1/stream", params(StreamQuery),
    responses((status = 200, body = String, content_type = "text/event-stream"), (status = 503, body = Problem)))]
pub(crate) async fn stream(
    State(context): State<Arc<Context>>,
    Query(query): Query<StreamQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    room(&context)?;
    let keys = match query.topics.filter(|topics| !topics.is_empty()) {
        None => None,
        Some(topics) => {
            let keys: BTreeSet<String> = topics.split(',').map(|key| key.trim().to_owned()).collect();
            if let Some(unknown) = keys.iter().find(|key| !KEYS.contains(&key.as_str())) {
                return Err(Problem::bad_request(
                    format!("`topics` names {unknown:?}"),
                    format!("it may name: {}", KEYS.join(", ")),
                ));
            }
            Some(keys)
        }
    };
    let last = headers.get("last-event-id").map(|id| id.to_str().ok().and_then(|id| id.trim().parse().ok()));
    let position = match last {
        None => context.live.newest(),
        // Not one of ours: it counts as lost.
        Some(id) => id.unwrap_or(i64::MIN / 2),
    };
    let client = Client {
        position,
        keys,
        news: context.live.watch(),
        closing: context.closing.subscribe(),
        greeted: false,
        _guard: context.metrics.stream(),
        context,
    };
    let messages = stream::unfold(client, |mut client| async move {
        let text = client.next().await?;
        Some((Ok::<_, Infallible>(text), client))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(messages)).into_response())
}
