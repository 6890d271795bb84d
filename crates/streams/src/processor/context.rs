//! What a processor may ask of its task.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use vigie_log::Timestamp;

use super::{Cx, Out, PunctuationId, PunctuationType};
use crate::error::{BoxError, Failure, StateError};
use crate::record::{Record, RecordMetadata};
use crate::state::{
    KeyValueStore, SessionKey, SessionStore, TypedStore, VersionedKeyValueStore, VersionedStore, WindowKey,
    WindowStore,
};
use crate::topology::TaskId;

/// The task as a processor sees it: stores, time, metadata, and the way to the processors behind it.
pub struct ProcessorContext<'a, 'c, KOut, VOut> {
    pub(crate) node: usize,
    pub(crate) name: &'a str,
    pub(crate) out: &'a Out<KOut, VOut>,
    pub(crate) child_names: &'a [Arc<str>],
    pub(crate) stores: &'a [(Arc<str>, usize)],
    pub(crate) cx: &'a mut Cx<'c>,
}

impl<KOut: Clone + 'static, VOut: Clone + 'static> ProcessorContext<'_, '_, KOut, VOut> {
    /// Passes a record to all processors behind this one.
    pub fn forward(&mut self, record: Record<KOut, VOut>) -> Result<(), BoxError> {
        self.out.forward(record, self.cx).map_err(|failure| failure as BoxError)
    }

    /// Passes a record to the processor of this name only; an error if no such one is behind this one.
    pub fn forward_to(&mut self, child: &str, record: Record<KOut, VOut>) -> Result<(), BoxError> {
        let index = self.child_names.iter().position(|name| &**name == child);
        let index = index.ok_or_else(|| format!("node `{}` has no child `{child}`", self.name))?;
        self.out.forward_to(index, record, self.cx).map_err(|failure| failure as BoxError)
    }
}

impl<KOut, VOut> ProcessorContext<'_, '_, KOut, VOut> {
    fn typed<Q: Hash + Eq + Clone + Send + 'static, V: Clone + Send + 'static>(
        &mut self,
        name: &str,
    ) -> Result<(&mut TypedStore<Q, V>, Timestamp), StateError> {
        let at = self.cx.task.metadata.timestamp;
        self.of_type(name).map(|store| (store, at))
    }

    fn of_type<S: 'static>(&mut self, name: &str) -> Result<&mut S, StateError> {
        let index = self.stores.iter().find(|(held, _)| &**held == name).map(|(_, index)| *index);
        let store = index.and_then(|index| self.cx.task.stores.get_mut(index));
        let store = store.and_then(|store| {
            let store: &mut dyn std::any::Any = store.as_mut();
            store.downcast_mut::<S>()
        });
        store.ok_or_else(|| StateError::NotConnected { node: self.name.to_owned(), store: name.to_owned() })
    }

    /// The versioned store of this name.
    pub fn versioned<K: Hash + Eq + Clone + Send + 'static, V: Clone + Send + 'static>(
        &mut self,
        name: &str,
    ) -> Result<VersionedKeyValueStore<'_, K, V>, StateError> {
        self.of_type::<VersionedStore<K, V>>(name).map(VersionedKeyValueStore::new)
    }

    /// The key-value store of this name. Puts carry the current record's timestamp.
    pub fn key_value<K: Hash + Eq + Clone + Send + 'static, V: Clone + Send + 'static>(
        &mut self,
        name: &str,
    ) -> Result<KeyValueStore<'_, K, V>, StateError> {
        self.typed::<K, V>(name).map(|(store, at)| KeyValueStore::new(store, at))
    }

    /// The window store of this name.
    pub fn window<K: Hash + Eq + Clone + Send + 'static, V: Clone + Send + 'static>(
        &mut self,
        name: &str,
    ) -> Result<WindowStore<'_, K, V>, StateError> {
        self.typed::<WindowKey<K>, V>(name).map(|(store, at)| WindowStore::new(store, at))
    }

    /// The session store of this name.
    pub fn session<K: Hash + Eq + Clone + Send + 'static, V: Clone + Send + 'static>(
        &mut self,
        name: &str,
    ) -> Result<SessionStore<'_, K, V>, StateError> {
        self.typed::<SessionKey<K>, V>(name).map(|(store, at)| SessionStore::new(store, at))
    }

    /// Asks for calls of `punctuate` at this interval.
    pub fn schedule(&mut self, interval: Duration, kind: PunctuationType) -> PunctuationId {
        let interval = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
        let now = self.cx.task.wall_clock;
        self.cx.task.punctuations.schedule(self.node, kind, interval, now)
    }

    /// Takes a schedule back.
    pub fn cancel(&mut self, id: PunctuationId) {
        self.cx.task.punctuations.cancel(id);
    }

    /// Where the record came from; during a punctuation the offset is -1.
    pub fn record_metadata(&self) -> &RecordMetadata {
        &self.cx.task.metadata
    }

    /// The largest timestamp that this task has processed; -1 before the first record.
    pub fn stream_time(&self) -> Timestamp {
        self.cx.task.stream_time
    }

    /// The wall clock, as it was when the batch came in.
    pub fn wall_clock(&self) -> Timestamp {
        self.cx.task.wall_clock
    }

    /// The task.
    pub fn task_id(&self) -> TaskId {
        self.cx.task.id
    }

    /// The application.
    pub fn application_id(&self) -> &str {
        &self.cx.task.application_id
    }

    /// The node's name.
    pub fn node_name(&self) -> &str {
        self.name
    }

    /// Asks for a commit as soon as this batch is done.
    pub fn request_commit(&mut self) {
        self.cx.task.commit_requested = true;
    }

    /// Counts the current record among the skipped ones.
    pub fn skip(&mut self) {
        self.cx.task.counts.skipped += 1;
    }

    /// Counts the current record among those that came too late.
    pub fn late(&mut self) {
        self.cx.task.counts.late += 1;
    }
}

/// An error from user code keeps its own class if it is one of ours that came through `forward`.
pub(crate) fn user_failure(node: &str, error: BoxError) -> Box<Failure> {
    match error.downcast::<Failure>() {
        Ok(failure) => failure,
        Err(error) => match error.downcast::<StateError>() {
            Ok(state) => Box::new(Failure::State(*state)),
            Err(source) => Box::new(Failure::User { node: node.into(), source }),
        },
    }
}
