//! Writes records as bytes to a topic.

use std::sync::Arc;

use crate::dsl::options::Partitioner;
use crate::error::Failure;
use crate::processor::{Cx, Flow, Operator};
use crate::record::Record;
use crate::serde::SerdeRef;

/// Names the topic of a record.
pub(crate) type ChooseTopic<K, V> = Arc<dyn Fn(&Record<K, V>) -> Arc<str> + Send + Sync>;

pub(crate) enum Target<K, V> {
    Fixed(usize),
    Chosen(ChooseTopic<K, V>),
}

pub(crate) struct Sink<K, V> {
    pub name: Arc<str>,
    pub target: Target<K, V>,
    pub key: SerdeRef<K>,
    pub value: SerdeRef<V>,
    pub partitioner: Option<Partitioner<K, V>>,
}

impl<K: Clone + Send + 'static, V: Clone + Send + 'static> Operator<K, V> for Sink<K, V> {
    #[inline]
    fn process(&mut self, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        let outputs = &mut cx.task.outputs;
        let topic = match &self.target {
            Target::Fixed(index) => *index,
            Target::Chosen(choose) => outputs.index(&choose(&record)),
        };
        let mut key = std::mem::take(&mut outputs.key);
        let mut value = std::mem::take(&mut outputs.value);
        key.clear();
        value.clear();
        let encoded =
            self.key.encode(&record.key, &mut key).map_err(|source| ("key", source)).and_then(|()| {
                record
                    .value
                    .as_ref()
                    .map_or(Ok(()), |v| self.value.encode(v, &mut value))
                    .map_err(|source| ("value", source))
            });
        if let Err((what, source)) = encoded {
            let topic = outputs.topic(topic).into();
            return Err(Box::new(Failure::Encode { node: (&*self.name).into(), what, topic, source }));
        }
        let key_bytes = (!self.key.is_null(&record.key)).then_some(key.as_slice());
        let value_bytes = record.value.as_ref().filter(|v| !self.value.is_null(v)).map(|_| value.as_slice());
        let pushed = (|| {
            let partition = match &self.partitioner {
                Some(choose) => choose(&record.key, record.value.as_ref(), outputs.partition_count(topic)?),
                None => None,
            };
            outputs.push(topic, partition, record.timestamp, key_bytes, value_bytes, &record.headers)
        })();
        outputs.key = key;
        outputs.value = value;
        cx.task.counts.records_out += 1;
        pushed.map_err(|reason| {
            let topic = cx.task.outputs.topic(topic).into();
            Box::new(Failure::Topic { node: (&*self.name).into(), topic, reason })
        })
    }
}
