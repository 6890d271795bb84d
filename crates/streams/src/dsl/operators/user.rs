//! Runs a processor of the user's own.

use std::sync::Arc;

use vigie_log::Timestamp;

use crate::processor::{Cx, Flow, Operator, Out, Processor, ProcessorContext, PunctuationId, user_failure};
use crate::record::Record;

pub(crate) struct User<K, V, L, W, P> {
    pub name: Arc<str>,
    /// The node's position in the arena, for punctuations.
    pub position: usize,
    pub processor: P,
    pub stores: Vec<(Arc<str>, usize)>,
    pub child_names: Vec<Arc<str>>,
    pub out: Out<L, W>,
    pub input: std::marker::PhantomData<fn(K, V)>,
}

impl<K, V, L, W, P> User<K, V, L, W, P> {
    fn call<'c>(
        &mut self,
        cx: &mut Cx<'c>,
        run: impl FnOnce(&mut P, &mut ProcessorContext<'_, 'c, L, W>) -> Result<(), crate::BoxError>,
    ) -> Flow {
        let mut ctx = ProcessorContext {
            node: self.position,
            name: &self.name,
            out: &self.out,
            child_names: &self.child_names,
            stores: &self.stores,
            cx,
        };
        run(&mut self.processor, &mut ctx).map_err(|error| user_failure(&self.name, error))
    }
}

impl<K, V, L, W, P> Operator<K, V> for User<K, V, L, W, P>
where
    P: Processor<K, V, L, W>,
{
    fn init(&mut self, cx: &mut Cx<'_>) -> Flow {
        self.call(cx, |processor, ctx| processor.init(ctx))
    }
    fn process(&mut self, record: Record<K, V>, cx: &mut Cx<'_>) -> Flow {
        self.call(cx, |processor, ctx| processor.process(ctx, record))
    }
    fn punctuate(&mut self, id: PunctuationId, at: Timestamp, cx: &mut Cx<'_>) -> Flow {
        self.call(cx, |processor, ctx| processor.punctuate(ctx, id, at))
    }
    fn close(&mut self) {
        self.processor.close();
    }
}
