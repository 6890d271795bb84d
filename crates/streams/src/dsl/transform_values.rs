//! `KTable::transform_values`: rows changed by a transformer that has state stores and a context.

use std::sync::Arc;

use super::builder::serde_or_error;
use super::operators::transform_values::TransformValues;
use super::options::{Key, Store, Value};
use super::stores::key_value_def;
use super::table::KTable;
use crate::error::{BoxError, TopologyError};
use crate::processor::{Node, ProcessorContext};

/// Makes a new value of a row (Kafka Streams: `ValueTransformerWithKey`). One instance lives in each task.
///
/// It is asked for the new row, and, where an operator behind it needs the row before the change and none is kept, for the old row too: it must give the same
/// answer for the same row.
pub trait ValueTransformer<K, V, W>: Send {
    /// Called once, when the task starts.
    fn init(&mut self, _ctx: &mut ProcessorContext<'_, '_, (), ()>) -> Result<(), BoxError> {
        Ok(())
    }
    /// The new value of a row; `value` is `None` when the row is removed. What is forwarded from here goes nowhere.
    fn transform(
        &mut self,
        ctx: &mut ProcessorContext<'_, '_, (), ()>,
        key: &K,
        value: Option<&V>,
    ) -> Result<Option<W>, BoxError>;
    /// Called when the task leaves this thread.
    fn close(&mut self) {}
}

/// Closures are transformers: `|ctx, key, value| Ok(...)`.
impl<K, V, W, F> ValueTransformer<K, V, W> for F
where
    F: FnMut(&mut ProcessorContext<'_, '_, (), ()>, &K, Option<&V>) -> Result<Option<W>, BoxError> + Send,
{
    fn transform(
        &mut self,
        ctx: &mut ProcessorContext<'_, '_, (), ()>,
        key: &K,
        value: Option<&V>,
    ) -> Result<Option<W>, BoxError> {
        self(ctx, key, value)
    }
}

impl<K: Key, V: Value> KTable<K, V> {
    /// Each row with a new value, made by a transformer; `supplier` makes one for each task, and `stores` names the state stores that it may use.
    ///
    /// ```
    /// use vigie_streams::{BoxError, Consumed, ProcessorContext, Produced, Store, StreamsBuilder, TopologyTestDriver, ValueTransformer};
    /// use vigie_streams::serde::{I64, Utf8};
    /// /// Prices with the store's timestamp of the record that set them.
    /// struct Stamped;
    /// impl ValueTransformer<String, i64, String> for Stamped {
    ///     fn transform(
    ///         &mut self,
    ///         ctx: &mut ProcessorContext<'_, '_, (), ()>,
    ///         _: &String,
    ///         price: Option<&i64>,
    ///     ) -> Result<Option<String>, BoxError> {
    ///         Ok(price.map(|price| format!("{price} at {}", ctx.record_metadata().timestamp)))
    ///     }
    /// }
    /// let mut builder = StreamsBuilder::new();
    /// builder
    ///     .table("prices", Consumed::<String, i64>::default(), Store::default())
    ///     .transform_values(|| Stamped, &[])
    ///     .to_stream()
    ///     .to("stamped", Produced::with(Utf8, Utf8));
    /// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
    /// driver.input("prices", Utf8, I64).pipe(&"tea".into(), &3, 17)?;
    /// let stamped = driver.output("stamped", Utf8, Utf8).read_key_values()?;
    /// assert_eq!(stamped, [("tea".into(), Some("3 at 17".into()))]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn transform_values<W: Value, T: ValueTransformer<K, V, W> + 'static>(
        &self,
        supplier: impl Fn() -> T + Send + Sync + 'static,
        stores: &[&str],
    ) -> KTable<K, W> {
        self.transform_values_into(supplier, stores, Store::default())
    }

    /// As [`transform_values`](Self::transform_values), kept in a store.
    pub fn transform_values_into<W: Value, T: ValueTransformer<K, V, W> + 'static>(
        &self,
        supplier: impl Fn() -> T + Send + Sync + 'static,
        stores: &[&str],
        store: Store<K, W>,
    ) -> KTable<K, W> {
        let name = self.graph.borrow_mut().name(self.next_name.clone(), "KTABLE-TRANSFORMVALUES-");
        let unnamed = || format!("{name}-STATE-STORE").into();
        let store_name: Arc<str> = store.name.clone().unwrap_or_else(unnamed);
        let key = store.key.clone().or_else(|| self.key.clone());
        let key = key.or_else(|| self.graph.borrow().serdes.get::<K>());
        let value = store.value.clone().or_else(|| self.graph.borrow().serdes.get::<W>());
        let names: Vec<Arc<str>> = stores.iter().map(|name| Arc::from(*name)).collect();
        let (of_node, node_name, own) = (Arc::clone(&store_name), Arc::clone(&name), names.clone());
        let mut graph = self.graph.borrow_mut();
        let node = graph.add_processor(Arc::clone(&name), &[self.node], names, move |wiring| {
            let stores = wiring.stores.iter().filter(|(name, _)| own.contains(name)).cloned().collect();
            Node::boxed(TransformValues::<K, V, W, T> {
                name: Arc::clone(&node_name),
                position: wiring.position,
                transformer: supplier(),
                stores,
                store: wiring.find_store(&of_node),
                send_old: wiring.send_old,
                out: wiring.out(),
                nowhere: crate::processor::Out::new(&[]),
                types: std::marker::PhantomData,
            })
        });
        let keeps = match (&key, &value) {
            (Some(key), Some(value)) => {
                let def = key_value_def(&store_name, &store.settings, Arc::clone(key), Arc::clone(value));
                graph.lazy_stores.insert(node, def);
                Some(store_name)
            }
            _ => None,
        };
        match (store.settings.given, keeps.is_some()) {
            (true, true) => graph.materialize(node),
            (true, false) => {
                let reason = String::from(
                    "its store has no serde for the key or the new value; give them with the store",
                );
                graph.errors.push(TopologyError::Invalid { node: name.to_string(), reason });
            }
            (false, _) => {
                graph.table_parents.insert(node, self.node);
            }
        }
        drop(graph);
        if store.settings.given && keeps.is_none() {
            serde_or_error::<W>(&self.graph, value.clone(), &name, "value");
        }
        KTable::new(&self.graph, node, key, value, keeps)
    }
}
