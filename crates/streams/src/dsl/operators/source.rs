//! Reads records from bytes.

use std::sync::Arc;

use vigie_log::RecordRef;

use crate::dsl::options::TimestampOf;
use crate::error::Failure;
use crate::processor::{Cx, Flow, Out, SourceNode};
use crate::record::{Headers, Record};
use crate::serde::SerdeRef;

pub(crate) struct Source<K, V> {
    pub name: Arc<str>,
    pub key: SerdeRef<K>,
    pub value: SerdeRef<V>,
    pub timestamp: Option<TimestampOf<K, V>>,
    pub out: Out<K, V>,
}

impl<K: Clone + 'static, V: Clone + 'static> SourceNode for Source<K, V> {
    #[inline]
    fn process(&mut self, record: &RecordRef<'_>, cx: &mut Cx<'_>) -> Flow {
        let key = match record.key {
            Some(bytes) => self.key.decode(bytes),
            None => self.key.decode_null(),
        };
        let failed = |what, source| Box::new(Failure::Decode { node: (&*self.name).into(), what, source });
        let key = key.map_err(|source| failed("key", source))?;
        let value = record.value.map(|bytes| self.value.decode(bytes)).transpose();
        let value = value.map_err(|source| failed("value", source))?;
        let mut timestamp = record.timestamp;
        if let Some(extract) = &self.timestamp {
            timestamp = extract(&key, value.as_ref(), timestamp);
        }
        if timestamp < 0 {
            cx.task.counts.skipped += 1;
            return Ok(());
        }
        cx.task.stream_time = cx.task.stream_time.max(timestamp);
        cx.task.metadata.timestamp = timestamp;
        let headers = Headers::from_log(record.headers);
        self.out.forward(Record { key, value, timestamp, headers }, cx)
    }
}
