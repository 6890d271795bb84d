//! Bodies and queries, whose errors are problems like all others.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Query as AxumQuery, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// Bytes of a body at most.
pub(crate) const BODY_LIMIT: usize = 1 << 20;
/// Bytes of a request with a model file at most.
pub(crate) const MODEL_LIMIT: usize = 64 << 20;
/// Items of a list at most.
pub(crate) const MOST_ITEMS: u64 = 500;

/// The body as it came, at most [`BODY_LIMIT`] bytes.
pub(crate) struct Raw(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(BytesRejection::FailedToBufferBody(failure))
                if failure.status() == StatusCode::PAYLOAD_TOO_LARGE =>
            {
                Err(Problem::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    format!(
                        "the body is larger than this path takes ({BODY_LIMIT} bytes, a model file {MODEL_LIMIT})"
                    ),
                    "send less, or publish large records to the log directly",
                ))
            }
            Err(other) => Err(Problem::bad_request(
                format!("the body could not be read: {}", other.body_text()),
                "send the request again",
            )),
        }
    }
}

/// A JSON body. An empty one is an empty object. Nesting is limited by the parser (128 levels).
pub(crate) struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Raw(bytes) = Raw::from_request(request, state).await?;
        let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(bytes).map(Self).map_err(|error| {
            Problem::bad_request(
                format!("the body is not the JSON expected here: {error}"),
                "GET /api/v1/openapi.json describes the body of each request",
            )
        })
    }
}

/// A query.
pub(crate) struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        AxumQuery::<T>::from_request_parts(parts, state).await.map(|AxumQuery(query)| Self(query)).map_err(
            |error| {
                Problem::bad_request(
                    format!("the query of {} cannot be read: {}", parts.uri.path(), error.body_text()),
                    "GET /api/v1/openapi.json describes the parameters of each request",
                )
            },
        )
    }
}

/// `limit` within its bounds.
pub(crate) fn limit(asked: Option<u64>) -> u64 {
    asked.unwrap_or(50).min(MOST_ITEMS)
}
