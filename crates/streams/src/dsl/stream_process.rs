//! `process` and `process_values`: processors of the user's own in a stream.

use std::marker::PhantomData;
use std::sync::Arc;

use super::operators::user::User;
use super::options::Value;
use super::stream::KStream;
use crate::processor::{FixedKey, FixedKeyProcessor, Node, Processor};
use crate::topology::{Changes, NodeId};

impl<K: Value, V: Value> KStream<K, V> {
    /// Runs a processor of one's own; `supplier` makes one for each task, and `stores` names the state stores that it may use.
    pub fn process<L: Value, W: Value, P: Processor<K, V, L, W> + 'static>(
        &self,
        supplier: impl Fn() -> P + Send + Sync + 'static,
        stores: &[&str],
    ) -> KStream<L, W> {
        let node = self.add_user("KSTREAM-PROCESSOR-", supplier, stores);
        KStream::new(&self.graph, node, None, None, true)
    }

    /// Runs a processor that cannot change keys, so that nothing is repartitioned afterwards.
    pub fn process_values<W: Value, P: FixedKeyProcessor<K, V, W> + 'static>(
        &self,
        supplier: impl Fn() -> P + Send + Sync + 'static,
        stores: &[&str],
    ) -> KStream<K, W> {
        let node = self.add_user("KSTREAM-PROCESSVALUES-", move || FixedKey(supplier()), stores);
        KStream::new(&self.graph, node, self.key.clone(), None, self.repartition)
    }

    fn add_user<L: Value, W: Value, P: Processor<K, V, L, W> + 'static>(
        &self,
        prefix: &str,
        supplier: impl Fn() -> P + Send + Sync + 'static,
        stores: &[&str],
    ) -> NodeId {
        let name = self.name_for(prefix);
        let stores = stores.iter().map(|name| Arc::from(*name)).collect();
        let node_name = Arc::clone(&name);
        let node = self.graph.borrow_mut().add_processor(name, &[self.node], stores, move |wiring| {
            Node::boxed(User {
                name: Arc::clone(&node_name),
                position: wiring.position,
                processor: supplier(),
                stores: wiring.stores.to_vec(),
                child_names: wiring.child_names.to_vec(),
                out: wiring.out::<L, W>(),
                input: PhantomData::<fn(K, V)>,
            })
        });
        // What a processor does may depend on the task that it runs in: nothing is repartitioned before it that was to be behind it.
        self.graph.borrow_mut().notes.changes.insert(node, Changes::Values);
        node
    }
}
