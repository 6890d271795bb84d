//! Fetching in batches: one queue a partition, so that partitions share a poll fairly and can be paused without fetching anything twice.

use std::ffi::{CStr, c_void};
use std::ptr;
use std::sync::Arc;

use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use vigie_log::{BatchBuilder, Header, Membership, Offset, RecordBatch, TopicPartition};

use super::{bytes, c_string, text};
use crate::context::Context;
use crate::doorbell::Doorbell;

/// The records of one partition as they come from the broker.
pub(crate) struct PartitionQueue {
    queue: *mut sys::rd_kafka_queue_t,
    /// The callback's argument.
    _doorbell: Arc<Doorbell>,
    /// The queue belongs to it.
    consumer: Arc<BaseConsumer<Context>>,
}

// SAFETY: queues may be used from any thread; what is kept beside is only kept.
unsafe impl Send for PartitionQueue {}

/// Rings, on a thread of librdkafka, when the queue is no longer empty.
unsafe extern "C" fn ring(_client: *mut sys::rd_kafka_t, doorbell: *mut c_void) {
    // SAFETY: `PartitionQueue` keeps the doorbell alive and ends the callbacks before it lets go of it.
    unsafe { &*doorbell.cast::<Doorbell>() }.ring();
}

impl PartitionQueue {
    /// Directs the partition's records into a queue of its own. To be called before the partition is assigned, or what came before is missed.
    pub(crate) fn open(
        consumer: &Arc<BaseConsumer<Context>>,
        partition: &TopicPartition,
        doorbell: &Arc<Doorbell>,
    ) -> Option<Self> {
        let topic = c_string(&partition.topic).ok()?;
        let number = i32::try_from(partition.partition).ok()?;
        // SAFETY: the client lives in `consumer`; the queue handle is ours to destroy; forwarding to nowhere is how librdkafka is told
        // that the application reads this queue itself.
        unsafe {
            let queue =
                sys::rd_kafka_queue_get_partition(consumer.client().native_ptr(), topic.as_ptr(), number);
            if queue.is_null() {
                return None;
            }
            sys::rd_kafka_queue_forward(queue, ptr::null_mut());
            sys::rd_kafka_queue_cb_event_enable(queue, Some(ring), Arc::as_ptr(doorbell).cast_mut().cast());
            Some(Self { queue, _doorbell: Arc::clone(doorbell), consumer: Arc::clone(consumer) })
        }
    }
}

impl Drop for PartitionQueue {
    fn drop(&mut self) {
        // SAFETY: the handle is ours; after the first call nobody rings any more.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut());
            sys::rd_kafka_queue_destroy(self.queue);
        }
    }
}

/// What one look into a queue brought.
#[derive(Default)]
pub(crate) struct Taken {
    pub batch: Option<RecordBatch>,
    /// The end that the broker reported while there was nothing more.
    pub end: Option<Offset>,
    pub error: Option<RDKafkaErrorCode>,
    /// Records, errors and ends: 0 when the queue is empty.
    pub messages: usize,
}

/// Memory that is used again from batch to batch.
#[derive(Default)]
pub(crate) struct Batches {
    builder: BatchBuilder,
}

/// What the callback fills.
struct Filling<'b> {
    client: *mut sys::rd_kafka_t,
    builder: &'b mut BatchBuilder,
    base: Option<Offset>,
    taken: Taken,
    most: usize,
}

impl Batches {
    /// Takes at most `most` messages that are there already.
    ///
    /// By callback, and not by `rd_kafka_consume_batch_queue`, which is as fast: that one moves librdkafka's own position one past a message
    /// that is no record, such as the end of a partition. From that position a group's consumer goes on after a rebalance, past the
    /// next record.
    pub(crate) fn take(&mut self, queue: &PartitionQueue, most: usize) -> Taken {
        let client = queue.consumer.client().native_ptr();
        let mut filling =
            Filling { client, builder: &mut self.builder, base: None, taken: Taken::default(), most };
        // SAFETY: the queue's handle is ours; the callback runs during this call only, on this thread.
        unsafe {
            sys::rd_kafka_consume_callback_queue(
                queue.queue,
                0,
                Some(fill),
                ptr::from_mut(&mut filling).cast::<c_void>(),
            );
        }
        let Filling { base, mut taken, builder, .. } = filling;
        taken.batch = base.map(|base| builder.build(base));
        taken
    }
}

/// Takes one message; librdkafka destroys it afterwards.
unsafe extern "C" fn fill(message: *mut sys::rd_kafka_message_t, filling: *mut c_void) {
    // SAFETY: `take` gave a pointer to what it holds; the message lives during this call.
    unsafe {
        let filling = &mut *filling.cast::<Filling<'_>>();
        filling.taken.messages += 1;
        match (*message).err {
            sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {
                let base = *filling.base.get_or_insert((*message).offset);
                push(filling.builder, message, base);
            }
            sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
                filling.taken.end = Some((*message).offset);
            }
            code => filling.taken.error = Some(code.into()),
        }
        if filling.taken.messages >= filling.most {
            // The rest stays in the queue.
            sys::rd_kafka_yield(filling.client);
        }
    }
}

/// Copies one record behind those already there.
///
/// # Safety
/// `message` is a valid record.
#[inline]
unsafe fn push(builder: &mut BatchBuilder, message: *mut sys::rd_kafka_message_t, base: Offset) {
    // SAFETY: key, value and headers live as long as the message, which the caller destroys later.
    unsafe {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        let timestamp = sys::rd_kafka_message_timestamp(message, &mut kind);
        let record = &*message;
        let delta = u32::try_from(record.offset - base).unwrap_or(u32::MAX);
        let (key, value) = (bytes(record.key, record.key_len), bytes(record.payload, record.len));
        let mut headers = ptr::null_mut();
        if sys::rd_kafka_message_headers(message, &mut headers)
            != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            builder.push_at(delta, timestamp, key, value, &[]);
            return;
        }
        let count = sys::rd_kafka_header_cnt(headers);
        let mut named = Vec::with_capacity(count);
        for index in 0..count {
            let (mut name, mut content, mut size) = (ptr::null(), ptr::null(), 0);
            sys::rd_kafka_header_get_all(headers, index, &mut name, &mut content, &mut size);
            if !name.is_null() {
                named.push((CStr::from_ptr(name).to_string_lossy(), bytes(content, size)));
            }
        }
        let headers: Vec<Header<'_>> =
            named.iter().map(|(name, value)| Header { name, value: *value }).collect();
        builder.push_at(delta, timestamp, key, value, &headers);
    }
}

/// The end of a partition as of the last fetch; `None` before the first.
pub(crate) fn watermark_end(consumer: &BaseConsumer<Context>, partition: &TopicPartition) -> Option<Offset> {
    let topic = c_string(&partition.topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client lives in `consumer`; two numbers are written.
    unsafe {
        sys::rd_kafka_get_watermark_offsets(
            consumer.client().native_ptr(),
            topic.as_ptr(),
            i32::try_from(partition.partition).ok()?,
            &mut low,
            &mut high,
        );
    }
    (high >= 0).then_some(high)
}

/// Member id and generation of a consumer that has subscribed.
pub(crate) fn group_proof(consumer: &BaseConsumer<Context>, group: &Arc<str>) -> Membership {
    // SAFETY: the metadata is a copy of our own, destroyed once; its strings are copied before.
    unsafe {
        let metadata = sys::rd_kafka_consumer_group_metadata(consumer.client().native_ptr());
        if metadata.is_null() {
            return Membership { group: Arc::clone(group), member: Arc::from(""), generation: -1 };
        }
        let proof = Membership {
            group: Arc::clone(group),
            member: Arc::from(text(sys::rd_kafka_consumer_group_metadata_member_id(metadata))),
            generation: sys::rd_kafka_consumer_group_metadata_generation_id(metadata),
        };
        sys::rd_kafka_consumer_group_metadata_destroy(metadata);
        proof
    }
}
