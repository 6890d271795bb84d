//! A customer by hand: published like any other record, and answered with the score of that very request.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use vigie_domain::{Customer, Score, topics};
use vigie_log::Message;

use crate::app::{Context, blocking};
use crate::http::extract::Raw;
use crate::ports::SmallestChange;
use crate::problem::{FieldProblem, Problem};

/// States in which no record is processed any more.
const STOPPED: [&str; 4] = ["error", "pendingerror", "notrunning", "pendingshutdown"];

/// The score of a request.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct FormAnswer {
    correlation_id: String,
    score: Score,
    /// The smallest change of one column that would bring this customer below the threshold, where there is one.
    smallest_change: Option<SmallestChange>,
}

/// Scores a customer entered by hand; each request gets its own answer.
#[utoipa::path(post, path = "/api/v1/form", request_body = Customer, responses((status = 200, body = FormAnswer),
    (status = 422, body = Problem), (status = 504, body = Problem)))]
pub(crate) async fn form(
    State(context): State<Arc<Context>>,
    Raw(body): Raw,
) -> Result<Json<FormAnswer>, Problem> {
    if let Err(error) = serde_json::from_slice::<serde_json::Value>(&body) {
        return Err(Problem::bad_request(
            format!("the body is not JSON: {error}"),
            "send an object with the keys of the agency's file: Names, Age, Total_Purchase, ...",
        ));
    }
    let customer: Customer =
        context.app.contracts.get(topics::TEST3).check_all(&body).map_err(|violations| Problem {
            errors: violations
                .iter()
                .map(|violation| FieldProblem {
                    field: violation.field.clone().unwrap_or_default(),
                    message_fr: violation.message_fr().to_owned(),
                    message_en: violation.message_en().to_owned(),
                })
                .collect(),
            ..Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!("{} fields of the form are not right", violations.len()),
                "correct the fields named in `errors` and send the form again",
            )
        })?;
    let engine = blocking(&context, |context| Ok(context.app.engine.stats())).await?;
    if STOPPED.iter().any(|state| engine.state.eq_ignore_ascii_case(state)) {
        return Err(Problem::unavailable(
            format!(
                "the engine has stopped ({}): nobody would score this customer",
                engine.error.as_ref().unwrap_or(&engine.state)
            ),
            "the page of operations and the program's own output say why; mend that (free space?) and start the program again",
        ));
    }
    let correlation_id = format!("{:016x}{:016x}", context.random(), context.random());
    let record = serde_json::to_vec(&customer).map_err(|error| Problem::internal(error.to_string()))?;
    // IMPORTANT: registered before it is published, so that no answer can come too early.
    let waiting = context.waiters.register(correlation_id.clone());
    let id = correlation_id.clone();
    blocking(&context, move |context| {
        let now = context.app.clock.now();
        let message = Message::new(topics::TEST3, record)
            .with_key(customer.id().as_str())
            .with_header(topics::CORRELATION_ID, id)
            .with_header(topics::PUBLISHED_AT, now.to_string())
            .at(now);
        Ok(context.app.publisher.publish_wait(message)?)
    })
    .await?;
    let limit = context.app.settings.form_timeout;
    match tokio::time::timeout(limit, waiting.answer()).await {
        Ok(Some(score)) => {
            let smallest_change = context.app.model.smallest_change(&score.features);
            Ok(Json(FormAnswer { correlation_id, score, smallest_change }))
        }
        _ => Err(Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            format!("the record was published, but no score came for it within {} s", limit.as_secs_f64()),
            "the customer will be scored once the engine has caught up: the page of operations shows its lag",
        )),
    }
}
