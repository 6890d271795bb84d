//! Windowed keys as Kafka Streams writes them to topics: key, then times in 8 bytes each, big endian.

use vigie_log::Timestamp;

use super::{Serde, SerdeError};
use crate::{Window, Windowed};

fn split_time<'a>(bytes: &'a [u8], expected: &'static str) -> Result<(&'a [u8], Timestamp), SerdeError> {
    let (key, time) = bytes
        .split_last_chunk::<8>()
        .ok_or_else(|| SerdeError::new(expected, format!("found only {} bytes", bytes.len())))?;
    Ok((key, Timestamp::from_be_bytes(*time)))
}

/// Time-windowed keys: `key | start`. The size of the window is not in the bytes, so the reader must know it.
#[derive(Debug, Clone)]
pub struct TimeWindowed<S> {
    inner: S,
    size_ms: i64,
}

impl<S> TimeWindowed<S> {
    /// Keys written by `inner`, windows of `size_ms`.
    pub fn new(inner: S, size_ms: i64) -> Self {
        Self { inner, size_ms }
    }
}

impl<K, S: Serde<K>> Serde<Windowed<K>> for TimeWindowed<S> {
    fn encode(&self, value: &Windowed<K>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.inner.encode(&value.key, out)?;
        out.extend_from_slice(&value.window.start.to_be_bytes());
        Ok(())
    }
    fn decode(&self, bytes: &[u8]) -> Result<Windowed<K>, SerdeError> {
        let (key, start) = split_time(bytes, "a key and the start of its window")?;
        let window = Window { start, end: start.saturating_add(self.size_ms) };
        Ok(Windowed { key: self.inner.decode(key)?, window })
    }
}

/// Session-windowed keys: `key | end | start`.
#[derive(Debug, Clone)]
pub struct SessionWindowed<S>(S);

impl<S> SessionWindowed<S> {
    /// Keys written by `inner`.
    pub fn new(inner: S) -> Self {
        Self(inner)
    }
}

impl<K, S: Serde<K>> Serde<Windowed<K>> for SessionWindowed<S> {
    fn encode(&self, value: &Windowed<K>, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        self.0.encode(&value.key, out)?;
        out.extend_from_slice(&value.window.end.to_be_bytes());
        out.extend_from_slice(&value.window.start.to_be_bytes());
        Ok(())
    }
    fn decode(&self, bytes: &[u8]) -> Result<Windowed<K>, SerdeError> {
        let (rest, start) = split_time(bytes, "a key and the bounds of its session")?;
        let (key, end) = split_time(rest, "a key and the bounds of its session")?;
        Ok(Windowed { key: self.0.decode(key)?, window: Window { start, end } })
    }
}
