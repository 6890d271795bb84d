//! Errors as the client sees them: `application/problem+json` (RFC 9457) that says what, where, and what to do next.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use vigie_log::{Consequence, LogError};

use crate::ports::PortError;

/// One field of a form that is not right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FieldProblem {
    /// The field.
    pub field: String,
    /// What would be right, French.
    pub message_fr: String,
    /// What would be right, English.
    pub message_en: String,
}

/// An error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// Which kind, as a URN.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: &'static str,
    /// HTTP status.
    pub status: u16,
    /// What happened, and where.
    pub detail: String,
    /// What to do next.
    pub hint: String,
    /// The fields in question.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub errors: Vec<FieldProblem>,
}

impl Problem {
    /// A problem of this status.
    pub fn new(status: StatusCode, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self {
            kind: format!("urn:vigie:problem:{}", title.to_lowercase().replace(' ', "-")),
            title,
            status: status.as_u16(),
            detail: detail.into(),
            hint: hint.into(),
            errors: Vec::new(),
        }
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail, hint)
    }

    /// 400.
    pub fn bad_request(detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail, hint)
    }

    /// 500, for what must not happen.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            detail,
            "the program's own log says more; if it happens again, report it with that log",
        )
    }

    /// 503: busy or not reachable now.
    pub fn unavailable(detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail, hint)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<PortError> for Problem {
    fn from(error: PortError) -> Self {
        let detail = error.to_string();
        match error {
            PortError::NotFound(_) => Self::not_found(detail, "check the id; the lists show what there is"),
            PortError::Conflict(_) => {
                Self::new(StatusCode::CONFLICT, detail, "load the page again: somebody may have been faster")
            }
            PortError::Invalid(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail, "correct the value and send it again")
            }
            PortError::Unavailable(_) => Self::unavailable(detail, "try again in a moment"),
            PortError::Failed(_) => Self::internal(detail),
        }
    }
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        let detail = error.to_string();
        match &error {
            LogError::UnknownTopic { .. } | LogError::UnknownPartition { .. } => {
                Self::not_found(detail, "GET /api/v1/topics lists the topics with their partitions")
            }
            LogError::TooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail, "send a smaller record")
            }
            _ if error.consequence() == Consequence::Retriable => {
                Self::unavailable(detail, "try again in a moment")
            }
            _ => Self::internal(detail),
        }
    }
}
