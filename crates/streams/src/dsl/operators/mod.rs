//! What the DSL's nodes do with a record: one file for each kind.

pub(crate) mod aggregate;
pub(crate) mod branch;
pub(crate) mod final_results;
pub(crate) mod foreign_key;
pub(crate) mod foreign_key_format;
pub(crate) mod join_buffer;
pub(crate) mod join_global;
pub(crate) mod join_self;
pub(crate) mod join_streams;
pub(crate) mod join_table;
pub(crate) mod join_tables;
pub(crate) mod murmur3;
mod session_aggregate;
pub(crate) mod sink;
mod sliding_aggregate;
pub(crate) mod source;
pub(crate) mod stateless;
pub(crate) mod suppress;
pub(crate) mod table;
pub(crate) mod table_aggregate;
pub(crate) mod transform_values;
pub(crate) mod user;
pub(crate) mod versioned_aggregate;
mod window_aggregate;
pub(crate) mod window_fold;
pub(crate) mod windowed;

use std::any::Any;
use std::hash::Hash;

use crate::processor::{Cx, Flow, Out, TaskState};
use crate::record::{Change, Record};
use crate::state::{TypedStore, VersionedStore};

/// A store of the task, by its index.
#[inline]
pub(crate) fn store<'c, Q, V>(cx: &'c mut Cx<'_>, index: usize) -> &'c mut TypedStore<Q, V>
where
    Q: Hash + Eq + Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    store_of(cx.task, index)
}

/// The same from the task.
#[inline]
pub(crate) fn store_of<Q, V>(task: &mut TaskState, index: usize) -> &mut TypedStore<Q, V>
where
    Q: Hash + Eq + Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    of_type(task, index)
}

/// A versioned store of the task, by its index.
pub(crate) fn versioned_of<K, V>(task: &mut TaskState, index: usize) -> &mut VersionedStore<K, V>
where
    K: Hash + Eq + Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    of_type(task, index)
}

/// Sends on what an aggregate has [held](TypedStore::hold) since the last commit.
pub(crate) fn send_held<Q, K, V>(
    index: usize,
    out: &Out<K, Change<V>>,
    cx: &mut Cx<'_>,
    key_of: impl Fn(Q) -> K,
) -> Flow
where
    Q: Hash + Eq + Clone + Send + 'static,
    K: Clone + Send + 'static,
    V: Clone + Send + 'static,
{
    if !cx.task.record_cache {
        return Ok(());
    }
    for result in store::<Q, V>(cx, index).take_unsent() {
        let value = Some(Change::of(result.new, result.old));
        let (timestamp, headers) = (result.timestamp, result.headers);
        out.forward(Record { key: key_of(result.key), value, timestamp, headers }, cx)?;
    }
    Ok(())
}

#[inline]
fn of_type<S: 'static>(task: &mut TaskState, index: usize) -> &mut S {
    let store = task.stores.get_mut(index).expect("stores are made before the nodes that use them");
    let store: &mut dyn Any = store.as_mut();
    store.downcast_mut().expect("the DSL wires stores of equal types")
}
