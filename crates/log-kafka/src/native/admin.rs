//! Administration that rdkafka does not offer: groups, and offsets of many partitions in one request.

use std::ffi::c_int;
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use vigie_log::{Offset, TopicPartition};

use crate::context::Context;

use super::{List, Listed, NativeError, array, c_string, read_element, read_list, text};

/// Which offset of a partition is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum OffsetAt {
    Earliest,
    /// The end of what is committed.
    Latest,
    /// The first one at or after a time in ms; the answer is negative when there is none.
    Time(i64),
}

/// One member of a group, as the broker tells.
#[derive(Debug, Clone)]
pub(crate) struct GroupMember {
    pub id: String,
    pub client_id: String,
    pub partitions: Vec<TopicPartition>,
}

/// One group, as the broker tells.
#[derive(Debug, Clone, Default)]
pub(crate) struct SysGroup {
    pub members: Vec<GroupMember>,
}

struct Options(*mut sys::rd_kafka_AdminOptions_t);

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: made in `request`, destroyed only here.
        unsafe { sys::rd_kafka_AdminOptions_destroy(self.0) };
    }
}

struct Answer {
    event: *mut sys::rd_kafka_event_t,
    queue: *mut sys::rd_kafka_queue_t,
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: both are ours, and destroyed only here; an event may be null.
        unsafe {
            if !self.event.is_null() {
                sys::rd_kafka_event_destroy(self.event);
            }
            sys::rd_kafka_queue_destroy(self.queue);
        }
    }
}

/// Sends one request and waits for its answer.
///
/// # Safety
/// `client` is alive; `send` passes the three on to one admin function of librdkafka, which copies what else it gets.
unsafe fn request(
    client: *mut sys::rd_kafka_t,
    operation: sys::rd_kafka_admin_op_t,
    timeout: Duration,
    send: impl FnOnce(&Options, *mut sys::rd_kafka_queue_t),
) -> Result<Answer, NativeError> {
    let limit = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: new objects, owned by what destroys them.
    unsafe {
        let options = Options(sys::rd_kafka_AdminOptions_new(client, operation));
        let mut reason = [0; 256];
        sys::rd_kafka_AdminOptions_set_request_timeout(
            options.0,
            limit,
            reason.as_mut_ptr(),
            reason.len() - 1,
        );
        let mut answer = Answer { event: ptr::null_mut(), queue: sys::rd_kafka_queue_new(client) };
        send(&options, answer.queue);
        answer.event = sys::rd_kafka_queue_poll(answer.queue, limit.saturating_add(1_000));
        if answer.event.is_null() {
            return Err(NativeError {
                retriable: true,
                ..NativeError::from_code(RDKafkaErrorCode::OperationTimedOut)
            });
        }
        let code: RDKafkaErrorCode = sys::rd_kafka_event_error(answer.event).into();
        if code != RDKafkaErrorCode::NoError {
            return Err(NativeError {
                text: text(sys::rd_kafka_event_error_string(answer.event)),
                ..NativeError::from_code(code)
            });
        }
        Ok(answer)
    }
}

/// Takes note of an error that belongs to an answer, and is not ours to destroy.
///
/// # Safety
/// `error` is null or valid.
unsafe fn borrowed(error: *const sys::rd_kafka_error_t) -> Result<(), NativeError> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: the caller's promise.
    unsafe {
        let code: RDKafkaErrorCode = sys::rd_kafka_error_code(error).into();
        if code == RDKafkaErrorCode::NoError {
            return Ok(());
        }
        Err(NativeError { text: text(sys::rd_kafka_error_string(error)), ..NativeError::from_code(code) })
    }
}

/// The names of all groups.
pub(crate) fn list_groups(
    consumer: &BaseConsumer<Context>,
    timeout: Duration,
) -> Result<Vec<String>, NativeError> {
    let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS;
    let client = consumer.client().native_ptr();
    // SAFETY: names are copied before the answer is destroyed.
    unsafe {
        let answer = request(client, operation, timeout, |options, queue| {
            sys::rd_kafka_ListConsumerGroups(client, options.0, queue);
        })?;
        let result = sys::rd_kafka_event_ListConsumerGroups_result(answer.event);
        let mut count = 0;
        let errors = sys::rd_kafka_ListConsumerGroups_result_errors(result, &mut count);
        if let Some(&error) = array(errors, count).first() {
            borrowed(error)?;
        }
        let groups = sys::rd_kafka_ListConsumerGroups_result_valid(result, &mut count);
        let name = |&group: &*const _| text(sys::rd_kafka_ConsumerGroupListing_group_id(group));
        Ok(array(groups, count).iter().map(name).collect())
    }
}

/// The members of a group.
pub(crate) fn describe_group(
    consumer: &BaseConsumer<Context>,
    group: &str,
    timeout: Duration,
) -> Result<SysGroup, NativeError> {
    let name = c_string(group)?;
    let mut names = [name.as_ptr()];
    let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
    let client = consumer.client().native_ptr();
    // SAFETY: what is read is copied before the answer is destroyed.
    unsafe {
        let answer = request(client, operation, timeout, |options, queue| {
            sys::rd_kafka_DescribeConsumerGroups(client, names.as_mut_ptr(), names.len(), options.0, queue);
        })?;
        let result = sys::rd_kafka_event_DescribeConsumerGroups_result(answer.event);
        let mut count = 0;
        let groups = sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &mut count);
        let mut found = SysGroup::default();
        for &group in array(groups, count) {
            borrowed(sys::rd_kafka_ConsumerGroupDescription_error(group))?;
            for index in 0..sys::rd_kafka_ConsumerGroupDescription_member_count(group) {
                let member = sys::rd_kafka_ConsumerGroupDescription_member(group, index);
                let assignment = sys::rd_kafka_MemberDescription_assignment(member);
                let partitions = if assignment.is_null() {
                    Vec::new()
                } else {
                    read_list(sys::rd_kafka_MemberAssignment_partitions(assignment))
                };
                found.members.push(GroupMember {
                    id: text(sys::rd_kafka_MemberDescription_consumer_id(member)),
                    client_id: text(sys::rd_kafka_MemberDescription_client_id(member)),
                    partitions: partitions.into_iter().map(|(at, _, _)| at).collect(),
                });
            }
        }
        Ok(found)
    }
}

/// What a group has committed; a partition without a commit has a negative offset or is absent.
pub(crate) fn group_offsets(
    consumer: &BaseConsumer<Context>,
    group: &str,
    timeout: Duration,
) -> Result<Vec<Listed>, NativeError> {
    let name = c_string(group)?;
    let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS;
    let client = consumer.client().native_ptr();
    // SAFETY: the question is ours and destroyed once; what is read is copied before the answer is destroyed.
    unsafe {
        let mut questions = [sys::rd_kafka_ListConsumerGroupOffsets_new(name.as_ptr(), ptr::null())];
        let answer = request(client, operation, timeout, |options, queue| {
            // Offsets of a transaction that is about to end are worth waiting for.
            let refused = sys::rd_kafka_AdminOptions_set_require_stable_offsets(options.0, 1);
            if !refused.is_null() {
                sys::rd_kafka_error_destroy(refused);
            }
            sys::rd_kafka_ListConsumerGroupOffsets(client, questions.as_mut_ptr(), 1, options.0, queue);
        });
        sys::rd_kafka_ListConsumerGroupOffsets_destroy_array(questions.as_mut_ptr(), 1);
        let answer = answer?;
        let result = sys::rd_kafka_event_ListConsumerGroupOffsets_result(answer.event);
        let mut count = 0;
        let groups = sys::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &mut count);
        let mut found = Vec::new();
        for &group in array(groups, count) {
            borrowed(sys::rd_kafka_group_result_error(group))?;
            found.extend(read_list(sys::rd_kafka_group_result_partitions(group)));
        }
        Ok(found)
    }
}

/// Sets what a group without members has committed.
pub(crate) fn alter_group_offsets(
    consumer: &BaseConsumer<Context>,
    group: &str,
    offsets: &[(TopicPartition, Offset)],
    timeout: Duration,
) -> Result<Vec<Listed>, NativeError> {
    let (name, list) = (c_string(group)?, List::of(offsets)?);
    let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS;
    let client = consumer.client().native_ptr();
    // SAFETY: as in `group_offsets`; the list is copied.
    unsafe {
        let mut orders = [sys::rd_kafka_AlterConsumerGroupOffsets_new(name.as_ptr(), list.0)];
        let answer = request(client, operation, timeout, |options, queue| {
            sys::rd_kafka_AlterConsumerGroupOffsets(client, orders.as_mut_ptr(), 1, options.0, queue);
        });
        sys::rd_kafka_AlterConsumerGroupOffsets_destroy_array(orders.as_mut_ptr(), 1);
        let answer = answer?;
        let result = sys::rd_kafka_event_AlterConsumerGroupOffsets_result(answer.event);
        let mut count = 0;
        let groups = sys::rd_kafka_AlterConsumerGroupOffsets_result_groups(result, &mut count);
        let mut found = Vec::new();
        for &group in array(groups, count) {
            borrowed(sys::rd_kafka_group_result_error(group))?;
            found.extend(read_list(sys::rd_kafka_group_result_partitions(group)));
        }
        Ok(found)
    }
}

/// One offset of each partition, as a reader of committed records sees it.
pub(crate) fn list_offsets(
    consumer: &BaseConsumer<Context>,
    partitions: &[TopicPartition],
    at: OffsetAt,
    timeout: Duration,
) -> Result<Vec<Listed>, NativeError> {
    let wanted = match at {
        OffsetAt::Latest => -1,
        OffsetAt::Earliest => -2,
        // -1, -2 and -3 have a meaning of their own.
        OffsetAt::Time(time) => time.max(0),
    };
    let wanted: Vec<_> = partitions.iter().map(|at| (at.clone(), wanted)).collect();
    let list = List::of(&wanted)?;
    let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS;
    let client = consumer.client().native_ptr();
    // SAFETY: the list is copied; what is read is copied before the answer is destroyed.
    unsafe {
        let answer = request(client, operation, timeout, |options, queue| {
            let committed = sys::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED;
            let refused = sys::rd_kafka_AdminOptions_set_isolation_level(options.0, committed);
            if !refused.is_null() {
                sys::rd_kafka_error_destroy(refused);
            }
            sys::rd_kafka_ListOffsets(client, list.0, options.0, queue);
        })?;
        let result = sys::rd_kafka_event_ListOffsets_result(answer.event);
        let mut count = 0;
        let infos = sys::rd_kafka_ListOffsets_result_infos(result, &mut count);
        let read =
            |&info: &*const _| read_element(&*sys::rd_kafka_ListOffsetsResultInfo_topic_partition(info));
        Ok(array(infos, count).iter().map(read).collect())
    }
}
