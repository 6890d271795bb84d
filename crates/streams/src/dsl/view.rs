//! How operators look into a table: its own store, or that of the table it is made from, with the filter or mapper applied on the way.
//!
//! A table that nobody asked to keep is never kept only because something joins it, as in Kafka Streams.

use std::rc::Rc;
use std::sync::Arc;

use vigie_log::Timestamp;

use super::operators::suppress::Buffered;
use super::operators::table::RowMap;
use super::operators::{store_of, versioned_of};
use super::options::{Key, Value};
use crate::error::StateError;
use crate::processor::{TaskState, Wiring};
use crate::record::{Window, Windowed};
use crate::state::{SessionKey, WindowKey};

/// Takes a row and its timestamp.
pub(crate) type Then<'t, V> = &'t mut dyn FnMut(Option<(&V, Timestamp)>);

/// A table's rows as one operator of one task sees them.
pub(crate) trait Look<K, V>: Send {
    /// Calls `then` once with the row of a key and its timestamp. `as_of` asks a versioned table for the row as it was then.
    fn look(
        &mut self,
        task: &mut TaskState,
        key: &K,
        as_of: Option<Timestamp>,
        then: Then<'_, V>,
    ) -> Result<(), StateError>;

    /// A copy of the row as it is now.
    fn row(&mut self, task: &mut TaskState, key: &K) -> Result<Option<(V, Timestamp)>, StateError>
    where
        V: Clone,
    {
        let mut found = None;
        self.look(task, key, None, &mut |row| found = row.map(|(row, at)| (row.clone(), at)))?;
        Ok(found)
    }
}

/// Makes a [`Look`] for a node that is connected to the view's stores.
pub(crate) type MakeLook<K, V> = Arc<dyn Fn(&Wiring<'_>) -> Box<dyn Look<K, V>> + Send + Sync>;

/// What a node needs to look into a table.
pub(crate) struct View<K, V> {
    pub stores: Vec<Arc<str>>,
    pub make: MakeLook<K, V>,
}

/// Makes the view when somebody needs it: only then is a source table kept.
pub(crate) type ViewOf<K, V> = Rc<dyn Fn() -> Option<View<K, V>>>;

/// The rows of a plain store.
struct StoreLook(usize);

impl<K: Key, V: Value> Look<K, V> for StoreLook {
    #[inline]
    fn look(
        &mut self,
        task: &mut TaskState,
        key: &K,
        _: Option<Timestamp>,
        then: Then<'_, V>,
    ) -> Result<(), StateError> {
        let row = store_of::<K, V>(task, self.0).get(key)?;
        then(row.map(|(row, at)| (row, *at)));
        Ok(())
    }
}

/// The rows of a versioned store.
struct VersionedLook(usize);

impl<K: Key, V: Value> Look<K, V> for VersionedLook {
    fn look(
        &mut self,
        task: &mut TaskState,
        key: &K,
        as_of: Option<Timestamp>,
        then: Then<'_, V>,
    ) -> Result<(), StateError> {
        let store = versioned_of::<K, V>(task, self.0);
        let row = match as_of {
            Some(at) => store.get_as_of(key, at)?,
            None => store.get(key)?,
        };
        then(row.as_ref().map(|row| (&row.value, row.timestamp)));
        Ok(())
    }
}

/// The windows of a store, by key and start.
struct WindowLook(usize);

impl<K: Key, V: Value> Look<Windowed<K>, V> for WindowLook {
    fn look(
        &mut self,
        task: &mut TaskState,
        key: &Windowed<K>,
        _: Option<Timestamp>,
        then: Then<'_, V>,
    ) -> Result<(), StateError> {
        let store = store_of::<WindowKey<K>, V>(task, self.0);
        let place = WindowKey { key: key.key.clone(), start: key.window.start };
        let forgotten = store.expired(place.start);
        then(store.get(&place)?.filter(|_| !forgotten).map(|(row, at)| (row, *at)));
        Ok(())
    }
}

/// The sessions of a store, by key and both bounds. A session's time is its end.
struct SessionLook(usize);

impl<K: Key, V: Value> Look<Windowed<K>, V> for SessionLook {
    fn look(
        &mut self,
        task: &mut TaskState,
        key: &Windowed<K>,
        _: Option<Timestamp>,
        then: Then<'_, V>,
    ) -> Result<(), StateError> {
        let store = store_of::<SessionKey<K>, V>(task, self.0);
        let Window { start, end } = key.window;
        let forgotten = store.expired(end);
        let row = store.get(&SessionKey { key: key.key.clone(), start, end })?;
        then(row.filter(|_| !forgotten).map(|(row, _)| (row, end)));
        Ok(())
    }
}

/// The rows of a table whose updates are held back: of a key that waits, the row before its first update that does.
struct SuppressedLook<K, V> {
    buffer: usize,
    inner: Box<dyn Look<K, V>>,
}

impl<K: Key, V: Value> Look<K, V> for SuppressedLook<K, V> {
    fn look(
        &mut self,
        task: &mut TaskState,
        key: &K,
        as_of: Option<Timestamp>,
        then: Then<'_, V>,
    ) -> Result<(), StateError> {
        let waiting = store_of::<K, Buffered<V>>(task, self.buffer).get(key)?;
        match waiting.map(|(held, _)| held.prior.clone()) {
            // Its time is not known any more.
            Some(prior) => then(prior.as_ref().map(|row| (row, -1))),
            None => self.inner.look(task, key, as_of, then)?,
        }
        Ok(())
    }
}

/// The rows of another table, filtered or mapped.
struct MappedLook<K, V, W> {
    inner: Box<dyn Look<K, V>>,
    map: RowMap<K, V, W>,
}

impl<K: Key, V: Value, W: Value> Look<K, W> for MappedLook<K, V, W> {
    fn look(
        &mut self,
        task: &mut TaskState,
        key: &K,
        as_of: Option<Timestamp>,
        then: Then<'_, W>,
    ) -> Result<(), StateError> {
        let map = &self.map;
        self.inner.look(task, key, as_of, &mut |row| {
            let mapped = row.and_then(|(row, at)| Some((map(key, row)?, at)));
            then(mapped.as_ref().map(|(row, at)| (row, *at)));
        })
    }
}

/// The view of a table with a store of its own.
pub(crate) fn of_store<K: Key, V: Value>(store: Arc<str>, versioned: bool) -> View<K, V> {
    let name = Arc::clone(&store);
    let make: MakeLook<K, V> = Arc::new(move |wiring| {
        let index = wiring.store(&name);
        if versioned { Box::new(VersionedLook(index)) } else { Box::new(StoreLook(index)) }
    });
    View { stores: vec![store], make }
}

/// The view of a windowed aggregation.
pub(crate) fn of_windows<K: Key, V: Value>(store: Arc<str>, sessions: bool) -> View<Windowed<K>, V> {
    let name = Arc::clone(&store);
    let make: MakeLook<Windowed<K>, V> = Arc::new(move |wiring| {
        let index = wiring.store(&name);
        if sessions { Box::new(SessionLook(index)) } else { Box::new(WindowLook(index)) }
    });
    View { stores: vec![store], make }
}

/// The view of a table whose updates are held back in a buffer.
pub(crate) fn suppressed<K: Key, V: Value>(view: View<K, V>, buffer: Arc<str>) -> View<K, V> {
    let (inner, name) = (view.make, Arc::clone(&buffer));
    let make: MakeLook<K, V> = Arc::new(move |wiring| {
        Box::new(SuppressedLook { buffer: wiring.store(&name), inner: inner(wiring) })
    });
    let stores = std::iter::once(buffer).chain(view.stores).collect();
    View { stores, make }
}

/// The view of a table that is made from another row by row.
pub(crate) fn mapped<K: Key, V: Value, W: Value>(view: View<K, V>, map: &RowMap<K, V, W>) -> View<K, W> {
    let (inner, map) = (view.make, Arc::clone(map));
    let make: MakeLook<K, W> =
        Arc::new(move |wiring| Box::new(MappedLook { inner: inner(wiring), map: Arc::clone(&map) }));
    View { stores: view.stores, make }
}

/// Stands where a table cannot be looked into, until `build()` refuses the topology.
struct Nothing;

impl<K, V> Look<K, V> for Nothing {
    fn look(
        &mut self,
        _: &mut TaskState,
        _: &K,
        _: Option<Timestamp>,
        then: Then<'_, V>,
    ) -> Result<(), StateError> {
        then(None);
        Ok(())
    }
}

pub(crate) fn nothing<K, V>() -> View<K, V> {
    View { stores: Vec::new(), make: Arc::new(|_| Box::new(Nothing)) }
}
