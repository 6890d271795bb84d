//! Runs a table's value transformer.

use std::marker::PhantomData;
use std::sync::Arc;

use vigie_log::Timestamp;

use super::store;
use crate::dsl::ValueTransformer;
use crate::error::{BoxError, Failure};
use crate::processor::{Cx, Flow, Operator, Out, ProcessorContext, PunctuationId, user_failure};
use crate::record::{Change, Record};

pub(crate) struct TransformValues<K, V, W, T> {
    pub name: Arc<str>,
    /// The node's position in the arena.
    pub position: usize,
    pub transformer: T,
    /// The stores that the transformer asked for.
    pub stores: Vec<(Arc<str>, usize)>,
    /// The store of the results, if they are kept.
    pub store: Option<usize>,
    pub send_old: bool,
    pub out: Out<K, Change<W>>,
    pub nowhere: Out<(), ()>,
    pub types: PhantomData<fn(V)>,
}

impl<K, V, W, T> TransformValues<K, V, W, T> {
    fn call<'c, R>(
        &mut self,
        cx: &mut Cx<'c>,
        run: impl FnOnce(&mut T, &mut ProcessorContext<'_, 'c, (), ()>) -> Result<R, BoxError>,
    ) -> Result<R, Box<Failure>> {
        let mut ctx = ProcessorContext {
            node: self.position,
            name: &self.name,
            out: &self.nowhere,
            child_names: &[],
            stores: &self.stores,
            cx,
        };
        run(&mut self.transformer, &mut ctx).map_err(|error| user_failure(&self.name, error))
    }
}

impl<K, V, W, T> Operator<K, Change<V>> for TransformValues<K, V, W, T>
where
    K: Clone + std::hash::Hash + Eq + Send + 'static,
    V: Clone + Send + 'static,
    W: Clone + Send + 'static,
    T: ValueTransformer<K, V, W>,
{
    fn init(&mut self, cx: &mut Cx<'_>) -> Flow {
        self.call(cx, |transformer, ctx| transformer.init(ctx))
    }

    fn process(&mut self, record: Record<K, Change<V>>, cx: &mut Cx<'_>) -> Flow {
        let Record { key, value, timestamp, headers } = record;
        let Some(change) = value else { return Ok(()) };
        // A processor behind a table sees the table's timestamp, which may be later than the record's.
        let own = std::mem::replace(&mut cx.task.metadata.timestamp, timestamp);
        let made = self.call(cx, |transformer, ctx| transformer.transform(ctx, &key, change.new.as_ref()));
        let new = match made {
            Ok(new) => new,
            Err(failure) => {
                cx.task.metadata.timestamp = own;
                return Err(failure);
            }
        };
        let old = match self.store {
            Some(index) => {
                let state = store::<K, W>(cx, index);
                let slot = state.slot(&key)?;
                let old = state.take(slot).map(|(value, _)| value);
                state.set(slot, new.clone(), timestamp);
                Ok(old.filter(|_| self.send_old))
            }
            None if self.send_old => {
                self.call(cx, |transformer, ctx| transformer.transform(ctx, &key, change.old.as_ref()))
            }
            None => Ok(None),
        };
        cx.task.metadata.timestamp = own;
        self.out.forward(Record { key, value: Some(Change::of(new, old?)), timestamp, headers }, cx)
    }

    fn punctuate(&mut self, _: PunctuationId, _: Timestamp, _: &mut Cx<'_>) -> Flow {
        Ok(())
    }

    fn close(&mut self) {
        self.transformer.close();
    }
}
