//! How joins are named, kept and spread over partitions.

use std::sync::Arc;
use std::time::Duration;

use super::options::StoreSettings;
use crate::serde::{Serde, SerdeRef};

/// How a join of streams reads, names and keeps what it joins.
pub struct StreamJoined<K, V, T> {
    pub(crate) key: Option<SerdeRef<K>>,
    pub(crate) value: Option<SerdeRef<V>>,
    pub(crate) other: Option<SerdeRef<T>>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) store_name: Option<Arc<str>>,
    pub(crate) settings: StoreSettings,
    pub(crate) emit_interval: Option<Duration>,
}

impl<K, V, T> Default for StreamJoined<K, V, T> {
    fn default() -> Self {
        Self {
            key: None,
            value: None,
            other: None,
            name: None,
            store_name: None,
            settings: StoreSettings::default(),
            emit_interval: None,
        }
    }
}

impl<K: 'static, V: 'static, T: 'static> StreamJoined<K, V, T> {
    /// With these serdes: keys, values of the left stream, values of the right one.
    pub fn with(
        key: impl Serde<K> + 'static,
        left: impl Serde<V> + 'static,
        right: impl Serde<T> + 'static,
    ) -> Self {
        Self {
            key: Some(Arc::new(key)),
            value: Some(Arc::new(left)),
            other: Some(Arc::new(right)),
            ..Self::default()
        }
    }
}

impl<K, V, T> StreamJoined<K, V, T> {
    /// Names the join's nodes and its repartition topics.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Names the stores `<name>-this-join-store` and `<name>-other-join-store`, and so their changelogs.
    pub fn store_named(mut self, name: &str) -> Self {
        self.store_name = Some(name.into());
        self
    }

    /// Keeps both sides in memory only: rebuilt from the changelogs at each start.
    pub fn in_memory(mut self) -> Self {
        self.settings.persistent = false;
        self
    }

    /// Without changelogs: what is kept is lost with the local files.
    pub fn without_changelog(mut self) -> Self {
        self.settings.logged = false;
        self
    }

    /// A setting of the changelog topics.
    pub fn topic_config(mut self, key: &str, value: impl Into<String>) -> Self {
        self.settings.topic_config.insert(key.to_owned(), value.into());
        self
    }

    /// How often, on the wall clock, a left or outer join looks for records whose window has closed without a partner, if not as often as
    /// the program does such things ([`Config::emit_interval`](crate::Config::emit_interval)). The look is a scan.
    pub fn emit_interval(mut self, interval: Duration) -> Self {
        self.emit_interval = Some(interval);
        self
    }
}

/// Chooses a partition by key: `(key, number of partitions)`.
pub(crate) type KeyPartitioner<K> = Arc<dyn Fn(&K, u32) -> Option<u32> + Send + Sync>;

/// How a foreign-key join is named, and how its two topics are partitioned if the tables' own topics are not partitioned by their keys.
pub struct TableJoined<K, F> {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) partitioner: Option<KeyPartitioner<K>>,
    pub(crate) other_partitioner: Option<KeyPartitioner<F>>,
}

impl<K, F> Default for TableJoined<K, F> {
    fn default() -> Self {
        Self { name: None, partitioner: None, other_partitioner: None }
    }
}

impl<K, F> TableJoined<K, F> {
    /// Names the join's nodes, its store and its topics.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Where the left table's keys lie: `(key, number of partitions)`. Not needed if answers may go back to where the question came from.
    pub fn partition_by(
        mut self,
        partitioner: impl Fn(&K, u32) -> Option<u32> + Send + Sync + 'static,
    ) -> Self {
        self.partitioner = Some(Arc::new(partitioner));
        self
    }

    /// Where the right table's keys lie: `(foreign key, number of partitions)`.
    pub fn partition_other_by(
        mut self,
        partitioner: impl Fn(&F, u32) -> Option<u32> + Send + Sync + 'static,
    ) -> Self {
        self.other_partitioner = Some(Arc::new(partitioner));
        self
    }
}
