//! A transactional producer with a thread that serves its events.
//!
//! Records go through `rd_kafka_produceva`: `rd_kafka_produce_batch` would be cheaper, but can set neither timestamps nor headers.

use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaType;
use vigie_log::{Membership, Offset, RecordBatch, RecordRef, TopicPartition};

use super::{List, NativeError, c_string, failure, outcome, text};
use crate::context::Context;

/// How much longer than its own timeout a call may take before it counts as hanging.
const GRACE: Duration = Duration::from_secs(5);

/// What became of the records of one transaction.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    /// Offset of the first record of each partition, by the number given to `produce`.
    pub bases: Vec<Option<Offset>>,
    /// The first record that was refused: topic, reason, size in bytes.
    pub refused: Option<(String, RDKafkaErrorCode, usize)>,
}

/// The producer, its topics, and its thread.
pub(crate) struct NativeProducer {
    client: Arc<Client<Context>>,
    topics: HashMap<Arc<str>, *mut sys::rd_kafka_topic_t>,
    delivered: Arc<Mutex<Delivered>>,
    events: Arc<Events>,
    thread: Option<JoinHandle<()>>,
}

// SAFETY: clients and topic handles may be used from any thread.
unsafe impl Send for NativeProducer {}

struct Events {
    queue: *mut sys::rd_kafka_queue_t,
    stop: AtomicBool,
}

// SAFETY: queues may be used from any thread.
unsafe impl Send for Events {}
// SAFETY: as above.
unsafe impl Sync for Events {}

impl Drop for Events {
    fn drop(&mut self) {
        // SAFETY: the handle is ours.
        unsafe { sys::rd_kafka_queue_destroy(self.queue) };
    }
}

fn millis(time: Duration) -> c_int {
    c_int::try_from(time.as_millis()).unwrap_or(c_int::MAX)
}

fn lock(delivered: &Mutex<Delivered>) -> MutexGuard<'_, Delivered> {
    delivered.lock().unwrap_or_else(PoisonError::into_inner)
}

impl NativeProducer {
    /// Makes the client; nothing is sent yet.
    pub(crate) fn new(config: &ClientConfig, context: Context, name: &str) -> Result<Self, KafkaError> {
        let native = config.create_native_config()?;
        // SAFETY: the configuration is ours until `Client::new` takes it.
        unsafe {
            sys::rd_kafka_conf_set_events(
                native.ptr(),
                sys::RD_KAFKA_EVENT_DR
                    | sys::RD_KAFKA_EVENT_ERROR
                    | sys::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH,
            );
        }
        let client = Arc::new(Client::new(config, native, RDKafkaType::RD_KAFKA_PRODUCER, context)?);
        // SAFETY: the client lives in the thread's `Arc` as long as the queue is polled.
        let queue = unsafe { sys::rd_kafka_queue_get_main(client.native_ptr()) };
        let events = Arc::new(Events { queue, stop: AtomicBool::new(false) });
        let delivered = Arc::new(Mutex::new(Delivered::default()));
        let serve = {
            let (client, events, delivered) =
                (Arc::clone(&client), Arc::clone(&events), Arc::clone(&delivered));
            move || {
                while !events.stop.load(Ordering::Acquire) {
                    // SAFETY: an event is ours once it is polled; it is destroyed once, behind all that reads it.
                    unsafe {
                        let event = sys::rd_kafka_queue_poll(events.queue, 1_000);
                        if !event.is_null() {
                            serve(event, &client, &delivered);
                            sys::rd_kafka_event_destroy(event);
                        }
                    }
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name(format!("kafka-{name}"))
            .spawn(serve)
            .map_err(|error| KafkaError::ClientCreation(format!("its thread cannot be started: {error}")))?;
        Ok(Self { client, topics: HashMap::new(), delivered, events, thread: Some(thread) })
    }

    fn ptr(&self) -> *mut sys::rd_kafka_t {
        self.client.native_ptr()
    }

    pub(crate) fn init_transactions(&self, timeout: Duration) -> Result<(), NativeError> {
        // SAFETY: the client lives in `self`; the error is taken over.
        unsafe { outcome(sys::rd_kafka_init_transactions(self.ptr(), millis(timeout))) }
    }

    pub(crate) fn begin(&self) -> Result<(), NativeError> {
        *lock(&self.delivered) = Delivered::default();
        // SAFETY: as above.
        unsafe { outcome(sys::rd_kafka_begin_transaction(self.ptr())) }
    }

    /// Hands records over; `first` is the number under which the offset of the first of them is to be reported, if at all.
    ///
    /// Blocks while the client's buffers are full.
    pub(crate) fn produce(
        &mut self,
        to: &TopicPartition,
        records: &RecordBatch,
        first: Option<usize>,
    ) -> Result<(), NativeError> {
        let topic = self.topic(&to.topic)?;
        let partition = i32::try_from(to.partition).unwrap_or(i32::MAX);
        let mut opaque = first.map_or(0, |number| number + 1);
        let mut call = Call::new(topic, partition);
        for record in records.iter() {
            // SAFETY: the client and the topic live in `self`; key and value are copied during the call.
            unsafe { call.produce(self.ptr(), &record, opaque)? };
            opaque = 0;
        }
        Ok(())
    }

    fn topic(&mut self, name: &Arc<str>) -> Result<*mut sys::rd_kafka_topic_t, NativeError> {
        if let Some(&topic) = self.topics.get(name) {
            return Ok(topic);
        }
        let c_name = c_string(name)?;
        // SAFETY: the name is copied; the handle is ours until `drop`.
        let topic = unsafe { sys::rd_kafka_topic_new(self.ptr(), c_name.as_ptr(), ptr::null_mut()) };
        if topic.is_null() {
            // SAFETY: reads a number of this thread.
            return Err(NativeError::from_code(unsafe { sys::rd_kafka_last_error() }.into()));
        }
        self.topics.insert(Arc::clone(name), topic);
        Ok(topic)
    }

    /// Lets the client ask for a topic's partitions again, which it does rarely by itself; `false` after the deadline.
    pub(crate) fn refresh(&self, topic: &str, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        if self.client.fetch_metadata(Some(topic), left).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }

    /// Waits until every record has been acknowledged or refused.
    pub(crate) fn flush(&self, timeout: Duration) -> Result<(), NativeError> {
        // SAFETY: the client lives in `self`; the thread serves the events that this waits for.
        match failure(unsafe { sys::rd_kafka_flush(self.ptr(), millis(timeout)) }) {
            None => Ok(()),
            Some(code) => Err(NativeError { retriable: true, ..NativeError::from_code(code) }),
        }
    }

    /// What became of the records so far; all of them after a `flush`.
    pub(crate) fn delivered(&self) -> MutexGuard<'_, Delivered> {
        lock(&self.delivered)
    }

    pub(crate) fn send_offsets(
        &self,
        member: &Membership,
        offsets: &[(TopicPartition, Offset)],
        timeout: Duration,
    ) -> Result<(), NativeError> {
        let list = List::of(offsets)?;
        let (group, id) = (c_string(&member.group)?, c_string(&member.member)?);
        let generation = member.generation;
        // SAFETY: the client lives as long as the call; strings are copied; the metadata is ours and destroyed once.
        self.guarded("adding offsets to a transaction", timeout, move |client| unsafe {
            let metadata = sys::rd_kafka_consumer_group_metadata_new_with_genid(
                group.as_ptr(),
                generation,
                id.as_ptr(),
                ptr::null(),
            );
            let list = list;
            let sent = sys::rd_kafka_send_offsets_to_transaction(client, list.0, metadata, millis(timeout));
            sys::rd_kafka_consumer_group_metadata_destroy(metadata);
            outcome(sent)
        })
    }

    pub(crate) fn commit(&self, timeout: Duration) -> Result<(), NativeError> {
        // SAFETY: the client lives as long as the call; the error is taken over.
        self.guarded("committing a transaction", timeout, move |client| unsafe {
            outcome(sys::rd_kafka_commit_transaction(client, millis(timeout)))
        })
    }

    pub(crate) fn abort(&self, timeout: Duration) -> Result<(), NativeError> {
        // SAFETY: as above.
        self.guarded("aborting a transaction", timeout, move |client| unsafe {
            outcome(sys::rd_kafka_abort_transaction(client, millis(timeout)))
        })
    }

    /// Makes a call that is to end within `timeout` in a thread of its own, and does not wait for it longer than that. With brokers dying one after
    /// the other, librdkafka has been seen to wait for ever in `rd_kafka_send_offsets_to_transaction`, its timeout notwithstanding. The producer
    /// is done then: who takes its id over fences it. Its client is destroyed if the call ever comes back.
    fn guarded(
        &self,
        doing: &str,
        timeout: Duration,
        call: impl FnOnce(*mut sys::rd_kafka_t) -> Result<(), NativeError> + Send + 'static,
    ) -> Result<(), NativeError> {
        let client = Arc::clone(&self.client);
        let (tell, told) = mpsc::sync_channel(1);
        let spawned = std::thread::Builder::new().name(String::from("kafka-call")).spawn(move || {
            let done = call(client.native_ptr());
            // Before the answer, so that the producer's own is the last reference.
            drop(client);
            // Nobody may be waiting any more.
            let _ = tell.send(done);
        });
        let done = match spawned {
            Ok(_) => told.recv_timeout(timeout + GRACE).ok(),
            Err(error) => {
                tracing::error!(target: "kafka", %error, "a thread cannot be started");
                None
            }
        };
        done.unwrap_or_else(|| {
            let text = format!("{doing} has not come back after {:?}", timeout + GRACE);
            tracing::error!(target: "kafka", "{text}: a new producer takes over");
            Err(NativeError { code: RDKafkaErrorCode::Fenced, text, fatal: true, retriable: false })
        })
    }
}

impl Drop for NativeProducer {
    fn drop(&mut self) {
        // SAFETY: the client lives until the end of this function, and its handles are destroyed once. What is purged is refused, and the
        // thread takes note of it until it is told to stop.
        unsafe {
            sys::rd_kafka_purge(self.ptr(), sys::RD_KAFKA_PURGE_F_QUEUE | sys::RD_KAFKA_PURGE_F_INFLIGHT);
            sys::rd_kafka_flush(self.ptr(), 500);
            self.events.stop.store(true, Ordering::Release);
            sys::rd_kafka_queue_yield(self.events.queue);
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a producer's thread ended by a panic");
        }
        for (_, topic) in self.topics.drain() {
            // SAFETY: made in `topic`, not used any more.
            unsafe { sys::rd_kafka_topic_destroy(topic) };
        }
    }
}

/// The arguments of `rd_kafka_produceva`, of which most stay the same from record to record.
struct Call {
    arguments: [sys::rd_kafka_vu_t; 8],
}

impl Call {
    fn new(topic: *mut sys::rd_kafka_topic_t, partition: i32) -> Self {
        use sys::rd_kafka_vtype_t as kind;
        let argument = |vtype, u| sys::rd_kafka_vu_t { vtype, u };
        let nothing = sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr: ptr::null_mut(), size: 0 };
        let flags = (sys::RD_KAFKA_MSG_F_COPY | sys::RD_KAFKA_MSG_F_BLOCK) as c_int;
        Self {
            arguments: [
                argument(kind::RD_KAFKA_VTYPE_RKT, sys::rd_kafka_vu_s__bindgen_ty_1 { rkt: topic }),
                argument(
                    kind::RD_KAFKA_VTYPE_PARTITION,
                    sys::rd_kafka_vu_s__bindgen_ty_1 { i32_: partition },
                ),
                argument(kind::RD_KAFKA_VTYPE_MSGFLAGS, sys::rd_kafka_vu_s__bindgen_ty_1 { i: flags }),
                argument(kind::RD_KAFKA_VTYPE_KEY, sys::rd_kafka_vu_s__bindgen_ty_1 { mem: nothing }),
                argument(kind::RD_KAFKA_VTYPE_VALUE, sys::rd_kafka_vu_s__bindgen_ty_1 { mem: nothing }),
                argument(kind::RD_KAFKA_VTYPE_TIMESTAMP, sys::rd_kafka_vu_s__bindgen_ty_1 { i64_: 0 }),
                argument(
                    kind::RD_KAFKA_VTYPE_OPAQUE,
                    sys::rd_kafka_vu_s__bindgen_ty_1 { ptr: ptr::null_mut() },
                ),
                argument(
                    kind::RD_KAFKA_VTYPE_HEADERS,
                    sys::rd_kafka_vu_s__bindgen_ty_1 { headers: ptr::null_mut() },
                ),
            ],
        }
    }

    /// # Safety
    /// `client` is alive, and the topic given to `new` is one of its own.
    unsafe fn produce(
        &mut self,
        client: *mut sys::rd_kafka_t,
        record: &RecordRef<'_>,
        opaque: usize,
    ) -> Result<(), NativeError> {
        let memory = |bytes: Option<&[u8]>| sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
            ptr: bytes.map_or(ptr::null_mut(), |bytes| bytes.as_ptr().cast_mut().cast::<c_void>()),
            size: bytes.map_or(0, <[u8]>::len),
        };
        let [_, _, _, key, value, timestamp, tag, headers] = &mut self.arguments;
        key.u.mem = memory(record.key);
        value.u.mem = memory(record.value);
        // librdkafka takes 0 for "now". The first millisecond of 1970 becomes the second one.
        timestamp.u.i64_ = if record.timestamp == 0 { 1 } else { record.timestamp };
        tag.u.ptr = ptr::without_provenance_mut(opaque);
        let count = if record.headers.is_empty() { 7 } else { 8 };
        // SAFETY: the headers are ours until the call succeeds; everything else is copied during the call.
        unsafe {
            if count == 8 {
                headers.u.headers = headers_of(record);
            }
            let sent = outcome(sys::rd_kafka_produceva(client, self.arguments.as_ptr(), count));
            if sent.is_err() && count == 8 {
                sys::rd_kafka_headers_destroy(self.arguments[7].u.headers);
            }
            sent
        }
    }
}

fn headers_of(record: &RecordRef<'_>) -> *mut sys::rd_kafka_headers_t {
    // SAFETY: names and values are copied with the lengths given.
    unsafe {
        let headers = sys::rd_kafka_headers_new(record.headers.len());
        for header in record.headers.iter() {
            let (value, size) = match header.value {
                None => (ptr::null(), -1),
                Some(value) => (value.as_ptr(), isize::try_from(value.len()).unwrap_or(0)),
            };
            let name_size = isize::try_from(header.name.len()).unwrap_or(0);
            sys::rd_kafka_header_add(headers, header.name.as_ptr().cast(), name_size, value.cast(), size);
        }
        headers
    }
}

/// Serves what waits in the main queue of a client that nobody polls, and asks for a token if it needs one.
pub(crate) fn serve_events(client: &Client<Context>) {
    let unused = Mutex::default();
    // SAFETY: the queue's handle and each event are ours, and destroyed once.
    unsafe {
        let queue = sys::rd_kafka_queue_get_main(client.native_ptr());
        loop {
            let event = sys::rd_kafka_queue_poll(queue, 0);
            if event.is_null() {
                break;
            }
            serve(event, client, &unused);
            sys::rd_kafka_event_destroy(event);
        }
        sys::rd_kafka_queue_destroy(queue);
    }
    // Administrators' clients do not announce that a token is about to expire; to set it again costs nothing.
    if client.context().has_token() {
        refresh_token(client);
    }
}

/// # Safety
/// `event` is a valid event of this client.
unsafe fn serve(event: *mut sys::rd_kafka_event_t, client: &Client<Context>, delivered: &Mutex<Delivered>) {
    // SAFETY: what the event holds is valid until it is destroyed, which is the caller's part.
    unsafe {
        match sys::rd_kafka_event_type(event) {
            sys::RD_KAFKA_EVENT_DR => {
                let mut delivered = lock(delivered);
                loop {
                    let message = sys::rd_kafka_event_message_next(event);
                    if message.is_null() {
                        return;
                    }
                    note(&*message, &mut delivered);
                }
            }
            sys::RD_KAFKA_EVENT_ERROR => {
                let code: RDKafkaErrorCode = sys::rd_kafka_event_error(event).into();
                client
                    .context()
                    .error(KafkaError::Global(code), &text(sys::rd_kafka_event_error_string(event)));
            }
            sys::RD_KAFKA_EVENT_LOG => {
                let (mut facility, mut line, mut level) = (ptr::null(), ptr::null(), 0);
                if sys::rd_kafka_event_log(event, &mut facility, &mut line, &mut level) == 0 {
                    let level = if level <= 3 { RDKafkaLogLevel::Error } else { RDKafkaLogLevel::Info };
                    client.context().log(level, &text(facility), &text(line));
                }
            }
            sys::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH => refresh_token(client),
            _ => {}
        }
    }
}

fn note(message: &sys::rd_kafka_message_t, delivered: &mut Delivered) {
    match failure(message.err) {
        None => {
            let number = message._private.addr();
            if number > 0 {
                if delivered.bases.len() < number {
                    delivered.bases.resize(number, None);
                }
                if let Some(base) = delivered.bases.get_mut(number - 1) {
                    *base = (message.offset >= 0).then_some(message.offset);
                }
            }
        }
        Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) => {}
        Some(code) => {
            let size = message.len + message.key_len;
            let topic = || {
                // SAFETY: the message refers to its topic until it is destroyed.
                if message.rkt.is_null() {
                    String::new()
                } else {
                    unsafe { text(sys::rd_kafka_topic_name(message.rkt)) }
                }
            };
            match &mut delivered.refused {
                None => delivered.refused = Some((topic(), code, size)),
                Some((_, first, largest)) if *first == code => *largest = size.max(*largest),
                Some(_) => {}
            }
        }
    }
}

fn refresh_token(client: &Client<Context>) {
    let token = client.context().token();
    // SAFETY: strings are copied; the buffer is larger than librdkafka is told.
    unsafe {
        let set = token.and_then(|token| {
            let (value, principal) = (c_string(&token.token), c_string(&token.principal_name));
            let (value, principal) = (value.map_err(|e| e.text)?, principal.map_err(|e| e.text)?);
            let mut reason = [0; 512];
            match failure(sys::rd_kafka_oauthbearer_set_token(
                client.native_ptr(),
                value.as_ptr(),
                token.lifetime_ms,
                principal.as_ptr(),
                ptr::null_mut(),
                0,
                reason.as_mut_ptr(),
                reason.len() - 1,
            )) {
                None => Ok(()),
                Some(_) => Err(text(reason.as_ptr())),
            }
        });
        if let Err(reason) = set
            && let Ok(reason) = c_string(&reason)
        {
            sys::rd_kafka_oauthbearer_set_token_failure(client.native_ptr(), reason.as_ptr());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Trouble;

    #[test]
    fn a_call_that_hangs_ends_the_producer_and_not_the_program() {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", "127.0.0.1:1").set("transactional.id", "hangs");
        let context = Context::new(Arc::new(Trouble::default()), None);
        let producer = NativeProducer::new(&config, context, "hangs").unwrap();
        let (release, hang) = mpsc::sync_channel::<()>(1);
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ended);
        let start = Instant::now();
        let error = producer
            .guarded("hanging", Duration::ZERO, move |_| {
                let _ = hang.recv();
                seen.store(true, Ordering::Release);
                Ok(())
            })
            .unwrap_err();
        assert!(error.fatal && error.text.contains("hanging has not come back"), "{error:?}");
        drop(producer);
        assert!(start.elapsed() < Duration::from_secs(60), "dropping it waited for the call");
        assert!(!ended.load(Ordering::Acquire));
        drop(release);
        while !ended.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
