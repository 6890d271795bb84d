//! Who did what, and when: one entry a decision, on the topic `audit`.
//!
//! An entry is published together with the change that it tells of, and a change is believed only when both are on disk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use vigie_domain::{AuditEntry, topics};
use vigie_log::{LogError, Message, Publisher};

/// The entry as a message.
pub fn message(entry: &AuditEntry) -> Result<Message, serde_json::Error> {
    Ok(Message::new(topics::AUDIT, serde_json::to_vec(entry)?).with_key(entry.subject.as_str()).at(entry.at))
}

/// Details of an entry from pairs; empty values are left out.
pub fn detail<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Publishes messages together (one commit, unless others come between) and waits until all are on disk.
pub fn publish_all(publisher: &Publisher, messages: Vec<Message>) -> Result<(), LogError> {
    let failure: Arc<Mutex<Option<LogError>>> = Arc::default();
    for message in messages {
        let failure = Arc::clone(&failure);
        publisher.publish(message, move |outcome| {
            if let Err(error) = outcome {
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        });
    }
    publisher.flush();
    failure.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
}
