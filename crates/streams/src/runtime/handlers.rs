//! What happens to a record that cannot be read, processed or written.

use std::fmt;
use std::sync::Arc;

use vigie_log::{Offset, PartitionId, RecordRef, Timestamp};

use crate::error::Failure;
use crate::record::Headers;

/// What the engine shall do with a failed record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorResponse {
    /// Count it, log it, go on.
    Continue,
    /// Go on, and write the record as it was to this topic, with the reason in headers (KIP-1034's names), in the same transaction.
    DeadLetter(Arc<str>),
    /// Stop: the record will be tried again after a restart.
    Fail,
}

/// A record that failed.
#[derive(Debug)]
pub struct FailedRecord<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: PartitionId,
    /// Its offset.
    pub offset: Offset,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Its key's bytes.
    pub key: Option<&'a [u8]>,
    /// Its value's bytes.
    pub value: Option<&'a [u8]>,
    /// `deserialization`, `processing` or `production`.
    pub stage: &'static str,
    /// What went wrong; names the node.
    pub reason: &'a str,
}

/// Decides about failed records.
#[derive(Clone)]
pub struct ErrorHandler(Arc<dyn Fn(&FailedRecord<'_>) -> ErrorResponse + Send + Sync>);

impl ErrorHandler {
    /// A handler of one's own.
    pub fn new(decide: impl Fn(&FailedRecord<'_>) -> ErrorResponse + Send + Sync + 'static) -> Self {
        Self(Arc::new(decide))
    }

    /// Goes on with the next record.
    pub fn log_and_continue() -> Self {
        Self::new(|_| ErrorResponse::Continue)
    }

    /// Stops the program.
    pub fn log_and_fail() -> Self {
        Self::new(|_| ErrorResponse::Fail)
    }

    /// Writes failed records to a topic and goes on.
    pub fn dead_letter(topic: &str) -> Self {
        let topic: Arc<str> = topic.into();
        Self::new(move |_| ErrorResponse::DeadLetter(Arc::clone(&topic)))
    }

    pub(crate) fn decide(&self, record: &FailedRecord<'_>) -> ErrorResponse {
        (self.0)(record)
    }
}

impl fmt::Debug for ErrorHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ErrorHandler")
    }
}

impl Failure {
    pub(crate) fn stage(&self) -> &'static str {
        match self {
            Self::Decode { .. } => "deserialization",
            Self::Encode { .. } | Self::Topic { .. } | Self::Refused { .. } => "production",
            Self::User { .. } | Self::State(_) => "processing",
        }
    }
}

/// The headers of a dead letter: the record's own, then KIP-1034's.
pub(crate) fn dead_letter_headers(
    record: &RecordRef<'_>,
    topic: &str,
    partition: PartitionId,
    failure: &Failure,
) -> Headers {
    let class = match failure {
        Failure::Decode { .. } => "DeserializationError",
        Failure::Encode { .. } => "SerializationError",
        Failure::Topic { .. } | Failure::Refused { .. } => "ProductionError",
        Failure::User { .. } | Failure::State(_) => "ProcessingError",
    };
    let message = failure.to_string();
    let mut chain = message.clone();
    let mut cause = std::error::Error::source(failure);
    while let Some(error) = cause {
        chain.push_str("\ncaused by: ");
        chain.push_str(&error.to_string());
        cause = error.source();
    }
    Headers::from_log(record.headers)
        .with("__streams.errors.exception", class)
        .with("__streams.errors.stacktrace", chain)
        .with("__streams.errors.message", message)
        .with("__streams.errors.topic", topic)
        .with("__streams.errors.partition", partition.to_string())
        .with("__streams.errors.offset", record.offset.to_string())
}
