//! Where a runner hands its records to.

use std::sync::mpsc::sync_channel;

use vigie_domain::topics::PUBLISHED_AT;
use vigie_log::{LogError, Message, Publisher, Timestamp};

use crate::SourceRecord;

/// Why records were not published.
#[derive(Debug, thiserror::Error)]
#[error("{} of {all} records were not published: {first}", failed.len())]
pub struct PublishError {
    /// Which, by index, in order.
    pub failed: Vec<usize>,
    /// Of how many.
    pub all: usize,
    /// The first reason; the message is the log's, and says what to do.
    pub first: LogError,
}

/// Takes records and returns when they are durable.
pub trait Publish: Send + Sync {
    /// Publishes records in order; `now` is the wall clock, for the header `published-at`.
    fn publish(&self, records: Vec<SourceRecord>, now: Timestamp) -> Result<(), PublishError>;
}

impl Publish for Publisher {
    fn publish(&self, records: Vec<SourceRecord>, now: Timestamp) -> Result<(), PublishError> {
        let all = records.len();
        let (sender, receiver) = sync_channel(all.max(1));
        for (index, record) in records.into_iter().enumerate() {
            let sender = sender.clone();
            let message = Message {
                topic: record.topic,
                partition: None,
                key: record.key,
                value: Some(record.value),
                headers: record.headers,
                timestamp: Some(record.timestamp),
            };
            let message = message.with_header(PUBLISHED_AT, now.to_string());
            Publisher::publish(self, message, move |outcome| {
                // The receiver waits for all of them: sending cannot fail, and there is room for each.
                let _ = sender.send((index, outcome));
            });
        }
        drop(sender);
        let mut durable = vec![false; all];
        let mut first = None;
        for (index, outcome) in receiver {
            match outcome {
                Ok(_) => durable.iter_mut().skip(index).take(1).for_each(|done| *done = true),
                Err(error) => first = first.or(Some(error)),
            }
        }
        let failed: Vec<usize> =
            durable.iter().enumerate().filter(|(_, done)| !**done).map(|(i, _)| i).collect();
        if failed.is_empty() {
            return Ok(());
        }
        Err(PublishError { failed, all, first: first.unwrap_or(LogError::Closed) })
    }
}
