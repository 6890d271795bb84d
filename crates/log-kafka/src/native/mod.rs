//! The only place with `unsafe` code: librdkafka's functions that rdkafka does not offer, behind functions that cannot be misused.
//!
//! Why any of it: fetching in batches costs half of fetching record by record, `flush` and `commit` of rdkafka sleep in slices of 100 ms
//! (ten times the latency of librdkafka's own), and groups cannot be described or altered through it at all.
//!
//! What makes it sound, for all of it:
//! - a pointer to a client is used only while something here holds the `Arc` of that client;
//! - librdkafka's clients and queues may be used from any thread (its documentation says so); messages and events belong to one owner,
//!   who destroys them once;
//! - callbacks run on librdkafka's threads: they only lock a mutex that nobody holds for long, and cannot panic.
#![expect(unsafe_code, reason = "calls into librdkafka, see above")]

mod admin;
mod consume;
mod produce;

use std::ffi::{CStr, CString, c_char};
use std::ptr;

use rdkafka::bindings as sys;
use rdkafka::error::RDKafkaErrorCode;
use vigie_log::{Offset, TopicPartition};

pub(crate) use admin::{GroupMember, OffsetAt, SysGroup};
pub(crate) use admin::{alter_group_offsets, describe_group, group_offsets, list_groups, list_offsets};
pub(crate) use consume::{Batches, PartitionQueue, group_proof, watermark_end};
pub(crate) use produce::{NativeProducer, serve_events};

/// An error as librdkafka gives it.
#[derive(Debug, Clone)]
pub(crate) struct NativeError {
    pub code: RDKafkaErrorCode,
    pub text: String,
    pub fatal: bool,
    pub retriable: bool,
}

impl NativeError {
    pub(crate) fn from_code(code: RDKafkaErrorCode) -> Self {
        Self { code, text: code.to_string(), fatal: code == RDKafkaErrorCode::Fatal, retriable: false }
    }
}

/// Takes over an error that a function returned; null is success.
///
/// # Safety
/// `error` is null or was returned to the caller by librdkafka, and is not used afterwards.
unsafe fn outcome(error: *mut sys::rd_kafka_error_t) -> Result<(), NativeError> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: it is valid until destroyed, which happens once, below.
    unsafe {
        let found = NativeError {
            code: sys::rd_kafka_error_code(error).into(),
            text: text(sys::rd_kafka_error_string(error)),
            fatal: sys::rd_kafka_error_is_fatal(error) != 0,
            retriable: sys::rd_kafka_error_is_retriable(error) != 0,
        };
        sys::rd_kafka_error_destroy(error);
        Err(found)
    }
}

/// A C string as text; null is empty.
///
/// # Safety
/// `string` is null or a C string that lives during the call.
unsafe fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}

fn c_string(text: &str) -> Result<CString, NativeError> {
    CString::new(text).map_err(|_| NativeError {
        code: RDKafkaErrorCode::InvalidArgument,
        text: format!("{text:?} contains a zero byte"),
        fatal: false,
        retriable: false,
    })
}

/// Partitions with an offset each, in librdkafka's form.
struct List(*mut sys::rd_kafka_topic_partition_list_t);

// SAFETY: a list is memory of its own, which no thread shares.
unsafe impl Send for List {}

impl List {
    fn of(partitions: &[(TopicPartition, Offset)]) -> Result<Self, NativeError> {
        // SAFETY: a new list, owned by the value that is returned; `add` copies the name.
        unsafe {
            let list =
                Self(sys::rd_kafka_topic_partition_list_new(i32::try_from(partitions.len()).unwrap_or(0)));
            for (at, offset) in partitions {
                let topic = c_string(&at.topic)?;
                let partition = i32::try_from(at.partition).unwrap_or(i32::MAX);
                let element = sys::rd_kafka_topic_partition_list_add(list.0, topic.as_ptr(), partition);
                (*element).offset = *offset;
            }
            Ok(list)
        }
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: made in `of`, destroyed only here.
        unsafe { sys::rd_kafka_topic_partition_list_destroy(self.0) };
    }
}

/// Partition, offset, and what is wrong with it.
type Listed = (TopicPartition, Offset, Option<RDKafkaErrorCode>);

/// # Safety
/// `list` is null or a valid list.
unsafe fn read_list(list: *const sys::rd_kafka_topic_partition_list_t) -> Vec<Listed> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: the list says itself how many elements it has.
    let elements = unsafe {
        let count = usize::try_from((*list).cnt).unwrap_or(0);
        if count == 0 {
            return Vec::new();
        }
        std::slice::from_raw_parts((*list).elems, count)
    };
    elements.iter().map(|element| unsafe { read_element(element) }).collect()
}

/// # Safety
/// `element` is a valid partition of a list.
unsafe fn read_element(element: &sys::rd_kafka_topic_partition_t) -> Listed {
    // SAFETY: its topic is a C string.
    let topic = unsafe { text(element.topic) };
    let partition = u32::try_from(element.partition).unwrap_or(u32::MAX);
    (TopicPartition::new(topic, partition), element.offset, failure(element.err))
}

fn failure(code: sys::rd_kafka_resp_err_t) -> Option<RDKafkaErrorCode> {
    (code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| code.into())
}

/// An array of pointers that librdkafka returned beside its length.
///
/// # Safety
/// `array` is null or holds `count` valid pointers that live for `'a`.
unsafe fn array<'a, T>(array: *mut *const T, count: usize) -> &'a [*const T] {
    if array.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(array, count) }
}

/// The first bytes behind a pointer, or nothing for null.
///
/// # Safety
/// `start` is null or points to `len` bytes that live for `'a`.
#[inline]
unsafe fn bytes<'a>(start: *const std::ffi::c_void, len: usize) -> Option<&'a [u8]> {
    if ptr::eq(start, ptr::null()) {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { std::slice::from_raw_parts(start.cast(), len) })
}
