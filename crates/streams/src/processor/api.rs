//! The Processor API: what users write when no operator of the DSL fits.

use std::time::Duration;

use vigie_log::Timestamp;

use super::{ProcessorContext, PunctuationId, PunctuationType};
use crate::dsl::{Key, Value};
use crate::error::{BoxError, StateError};
use crate::record::{Headers, Record, RecordMetadata};
use crate::state::{KeyValueStore, SessionStore, VersionedKeyValueStore, WindowStore};

/// A processor of the user's own. One instance lives in each task; it is never shared between threads.
///
/// An error from any method goes to the processing error handler, as an exception does in Kafka Streams.
///
/// ```
/// use vigie_streams::{BoxError, Processor, ProcessorContext, Record};
/// /// Passes a record on only if its value differs from the last one of its key.
/// struct Changes;
/// impl Processor<String, i64, String, i64> for Changes {
///     fn process(
///         &mut self,
///         ctx: &mut ProcessorContext<'_, '_, String, i64>,
///         record: Record<String, i64>,
///     ) -> Result<(), BoxError> {
///         let last = ctx.key_value::<String, i64>("last")?.get(&record.key)?;
///         if last != record.value {
///             ctx.key_value::<String, i64>("last")?.put(record.key.clone(), record.value)?;
///             ctx.forward(record)?;
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Processor<KIn, VIn, KOut, VOut>: Send {
    /// Called once, when the task starts: schedule punctuations here.
    fn init(&mut self, _ctx: &mut ProcessorContext<'_, '_, KOut, VOut>) -> Result<(), BoxError> {
        Ok(())
    }
    /// Called for each record.
    fn process(
        &mut self,
        ctx: &mut ProcessorContext<'_, '_, KOut, VOut>,
        record: Record<KIn, VIn>,
    ) -> Result<(), BoxError>;
    /// Called when a punctuation scheduled with [`ProcessorContext::schedule`] is due; `at` is the stream time or the wall clock.
    fn punctuate(
        &mut self,
        _ctx: &mut ProcessorContext<'_, '_, KOut, VOut>,
        _id: PunctuationId,
        _at: Timestamp,
    ) -> Result<(), BoxError> {
        Ok(())
    }
    /// Called when the task leaves this thread.
    fn close(&mut self) {}
}

/// A processor that cannot change keys, so that no repartition is needed after it
/// ([`KStream::process_values`](crate::KStream::process_values)).
pub trait FixedKeyProcessor<K, VIn, VOut>: Send {
    /// Called once, when the task starts: schedule punctuations here.
    fn init(&mut self, _ctx: &mut FixedKeyContext<'_, '_, '_, K, VOut>) -> Result<(), BoxError> {
        Ok(())
    }
    /// Called for each record.
    fn process(
        &mut self,
        ctx: &mut FixedKeyContext<'_, '_, '_, K, VOut>,
        record: Record<K, VIn>,
    ) -> Result<(), BoxError>;
    /// Called when a punctuation is due. Nothing can be forwarded from here, for want of a key.
    fn punctuate(
        &mut self,
        _ctx: &mut FixedKeyContext<'_, '_, '_, K, VOut>,
        _id: PunctuationId,
        _at: Timestamp,
    ) -> Result<(), BoxError> {
        Ok(())
    }
    /// Called when the task leaves this thread.
    fn close(&mut self) {}
}

/// What a [`FixedKeyProcessor`] may ask of its task: as [`ProcessorContext`], but values only are passed on.
pub struct FixedKeyContext<'x, 'a, 'c, K, V> {
    task: &'x mut ProcessorContext<'a, 'c, K, V>,
    current: Option<Record<K, ()>>,
}

impl<K: Clone + 'static, V: Clone + 'static> FixedKeyContext<'_, '_, '_, K, V> {
    /// Passes a value on under the current record's key, timestamp and headers; `None` is a tombstone.
    pub fn forward(&mut self, value: impl Into<Option<V>>) -> Result<(), BoxError> {
        let current = self
            .current
            .clone()
            .ok_or("a punctuation of a fixed-key processor has no key to forward under")?;
        self.task.forward(current.with_value(value.into()))
    }

    /// The headers that the next forwarded values will carry.
    pub fn headers_mut(&mut self) -> Option<&mut Headers> {
        self.current.as_mut().map(|record| &mut record.headers)
    }
}

impl<K, V> FixedKeyContext<'_, '_, '_, K, V> {
    /// The key-value store of this name.
    pub fn key_value<SK: Key, SV: Value>(
        &mut self,
        name: &str,
    ) -> Result<KeyValueStore<'_, SK, SV>, StateError> {
        self.task.key_value(name)
    }

    /// The window store of this name.
    pub fn window<SK: Key, SV: Value>(&mut self, name: &str) -> Result<WindowStore<'_, SK, SV>, StateError> {
        self.task.window(name)
    }

    /// The session store of this name.
    pub fn session<SK: Key, SV: Value>(
        &mut self,
        name: &str,
    ) -> Result<SessionStore<'_, SK, SV>, StateError> {
        self.task.session(name)
    }

    /// The versioned store of this name.
    pub fn versioned<SK: Key, SV: Value>(
        &mut self,
        name: &str,
    ) -> Result<VersionedKeyValueStore<'_, SK, SV>, StateError> {
        self.task.versioned(name)
    }

    /// Asks for calls of `punctuate` at this interval.
    pub fn schedule(&mut self, interval: Duration, kind: PunctuationType) -> PunctuationId {
        self.task.schedule(interval, kind)
    }

    /// Where the record came from.
    pub fn record_metadata(&self) -> &RecordMetadata {
        self.task.record_metadata()
    }

    /// The largest timestamp that this task has processed.
    pub fn stream_time(&self) -> Timestamp {
        self.task.stream_time()
    }

    /// The wall clock, as it was when the batch came in.
    pub fn wall_clock(&self) -> Timestamp {
        self.task.wall_clock()
    }
}

/// A fixed-key processor in the place of a general one.
pub(crate) struct FixedKey<P>(pub P);

impl<K, VIn, VOut, P> Processor<K, VIn, K, VOut> for FixedKey<P>
where
    K: Clone + 'static,
    P: FixedKeyProcessor<K, VIn, VOut>,
{
    fn init(&mut self, ctx: &mut ProcessorContext<'_, '_, K, VOut>) -> Result<(), BoxError> {
        self.0.init(&mut FixedKeyContext { task: ctx, current: None })
    }
    fn process(
        &mut self,
        ctx: &mut ProcessorContext<'_, '_, K, VOut>,
        record: Record<K, VIn>,
    ) -> Result<(), BoxError> {
        let (key, timestamp, headers) = (record.key.clone(), record.timestamp, record.headers.clone());
        let current = Some(Record { key, value: None, timestamp, headers });
        self.0.process(&mut FixedKeyContext { task: ctx, current }, record)
    }
    fn punctuate(
        &mut self,
        ctx: &mut ProcessorContext<'_, '_, K, VOut>,
        id: PunctuationId,
        at: Timestamp,
    ) -> Result<(), BoxError> {
        self.0.punctuate(&mut FixedKeyContext { task: ctx, current: None }, id, at)
    }
    fn close(&mut self) {
        self.0.close();
    }
}

/// Closures are processors: `|ctx, record| { ...; Ok(()) }`.
impl<KIn, VIn, KOut, VOut, F> Processor<KIn, VIn, KOut, VOut> for F
where
    F: FnMut(&mut ProcessorContext<'_, '_, KOut, VOut>, Record<KIn, VIn>) -> Result<(), BoxError> + Send,
{
    fn process(
        &mut self,
        ctx: &mut ProcessorContext<'_, '_, KOut, VOut>,
        record: Record<KIn, VIn>,
    ) -> Result<(), BoxError> {
        self(ctx, record)
    }
}
