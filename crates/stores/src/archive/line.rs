//! One record as one line of JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use vigie_log::TopicPartition;

use super::ArchivedRecord;

#[derive(Serialize, Deserialize)]
struct Line {
    topic: String,
    partition: u32,
    offset: i64,
    timestamp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<HeaderLine>,
}

#[derive(Serialize, Deserialize)]
struct HeaderLine {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

/// As text, or as base64 where it is not UTF-8.
fn split(bytes: Option<&[u8]>) -> (Option<String>, Option<String>) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => (None, None),
        Some((_, Ok(text))) => (Some(text.to_owned()), None),
        Some((bytes, Err(_))) => (None, Some(BASE64.encode(bytes))),
    }
}

fn join(text: Option<String>, base64: Option<String>) -> Result<Option<Vec<u8>>, String> {
    match (text, base64) {
        (Some(text), None) => Ok(Some(text.into_bytes())),
        (None, Some(text)) => BASE64.decode(text).map(Some).map_err(|error| error.to_string()),
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(String::from("a value both as text and as base64")),
    }
}

/// Appends the record's line, with its end.
pub(super) fn write(
    partition: &TopicPartition,
    record: &ArchivedRecord,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let (key, key_base64) = split(record.key.as_deref());
    let (value, value_base64) = split(record.value.as_deref());
    let headers = record.headers.iter().map(|(name, value)| {
        let (value, value_base64) = split(value.as_deref());
        HeaderLine { name: name.clone(), value, value_base64 }
    });
    let line = Line {
        topic: partition.topic.to_string(),
        partition: partition.partition,
        offset: record.offset,
        timestamp: record.timestamp,
        key,
        key_base64,
        value,
        value_base64,
        headers: headers.collect(),
    };
    serde_json::to_writer(&mut *out, &line).map_err(|error| error.to_string())?;
    out.push(b'\n');
    Ok(())
}

pub(super) fn read(line: &str) -> Result<ArchivedRecord, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let headers =
        line.headers.into_iter().map(|header| Ok((header.name, join(header.value, header.value_base64)?)));
    Ok(ArchivedRecord {
        offset: line.offset,
        timestamp: line.timestamp,
        key: join(line.key, line.key_base64)?,
        value: join(line.value, line.value_base64)?,
        headers: headers.collect::<Result<_, String>>()?,
    })
}
