//! Global tables: rows that every task may look up, written by one thread of their own.

use std::collections::HashMap;
use std::sync::Arc;

use vigie_log::Timestamp;

use super::Committed;
use super::typed::decode_value;
use crate::error::StateError;
use crate::serde::SerdeRef;

/// The global tables of one program, by the names of their stores.
#[derive(Default, Clone)]
pub(crate) struct Globals(pub HashMap<Arc<str>, Arc<dyn Committed>>);

/// A global table as one operator sees it: always the newest rows, whatever the task's own time.
pub(crate) struct GlobalRows<K, V> {
    name: Arc<str>,
    keys: SerdeRef<K>,
    values: SerdeRef<V>,
    rows: Option<Arc<dyn Committed>>,
    scratch: Vec<u8>,
}

impl<K, V> GlobalRows<K, V> {
    pub(crate) fn new(name: &Arc<str>, keys: SerdeRef<K>, values: SerdeRef<V>, globals: &Globals) -> Self {
        let rows = globals.0.get(name).cloned();
        Self { name: Arc::clone(name), keys, values, rows, scratch: Vec::new() }
    }

    /// The row of a key and its timestamp.
    pub(crate) fn get(&mut self, key: &K) -> Result<Option<(V, Timestamp)>, StateError> {
        self.scratch.clear();
        self.keys
            .encode(key, &mut self.scratch)
            .map_err(|source| StateError::Encode { store: self.name.to_string(), source })?;
        let Some(rows) = &self.rows else { return Ok(None) };
        let found = rows.get(&self.scratch)?;
        let row = found.map(|bytes| decode_value(&*self.values, &bytes)).transpose();
        row.map_err(|source| StateError::Decode { store: self.name.to_string(), source })
    }
}
