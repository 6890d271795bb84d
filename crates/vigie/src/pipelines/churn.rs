//! `costumerchurn` and `test3` -> churn scores.
//!
//! Stateless, so that nothing stands between a changed record and its score but one commit: why a score changed is told by the
//! difference of two scores' reasons, which the store's history holds.

use std::sync::Arc;

use vigie_domain::{Customer, CustomerView, topics};
use vigie_streams::serde::{Json, Utf8};
use vigie_streams::{BoxError, KStream, Processor, ProcessorContext, Produced, Record};

use super::checked::Traced;
use crate::model::{ModelService, ScoredFrom};

/// Scores each record; the view of the customer goes to `customers`, the score to `churn-scores`.
pub fn build(name: &str, records: &KStream<Option<Vec<u8>>, Traced<Customer>>, model: &Arc<ModelService>) {
    let model = Arc::clone(model);
    let views = records
        .named(&format!("score-{name}"))
        .process(move || ScoreCustomer { model: Arc::clone(&model) }, &[]);
    views
        .map_values(|view: &CustomerView| view.score.clone())
        .to(topics::CHURN_SCORES, Produced::with(Utf8, Json::new()));
    views.to(topics::CUSTOMERS, Produced::with(Utf8, Json::new()));
}

struct ScoreCustomer {
    model: Arc<ModelService>,
}

impl Processor<Option<Vec<u8>>, Traced<Customer>, String, CustomerView> for ScoreCustomer {
    fn process(
        &mut self,
        ctx: &mut ProcessorContext<'_, '_, String, CustomerView>,
        record: Record<Option<Vec<u8>>, Traced<Customer>>,
    ) -> Result<(), BoxError> {
        let Some(traced) = &record.value else { return Ok(()) };
        let from = ScoredFrom {
            origin: traced.origin.clone(),
            event_time: traced.at,
            scored_at: ctx.wall_clock(),
            published_at: record.headers.get_str(topics::PUBLISHED_AT).and_then(|text| text.parse().ok()),
            correlation_id: record.headers.get_str(topics::CORRELATION_ID).map(str::to_owned),
        };
        let view = self.model.score(&traced.value, &from);
        let key = view.score.customer_id.0.clone();
        ctx.forward(Record { key, value: Some(view), timestamp: record.timestamp, headers: record.headers })
    }
}
