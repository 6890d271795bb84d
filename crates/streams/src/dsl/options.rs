//! How a node reads, writes, groups, joins and keeps state. Everything has a default; serdes are inherited from the stream or found by type.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};
use vigie_log::{PartitionId, Timestamp};

use crate::error::BoxError;
use crate::serde::{Json, Serde, SerdeRef};
use crate::state::{LruStore, StateStore, Supplier};

/// What a record's key must be to be grouped, joined or kept: cheap to compare and to copy.
pub trait Key: Clone + std::hash::Hash + Eq + Send + 'static {}
impl<T: Clone + std::hash::Hash + Eq + Send + 'static> Key for T {}

/// What flows through a stream.
pub trait Value: Clone + Send + 'static {}
impl<T: Clone + Send + 'static> Value for T {}

macro_rules! serdes {
    ($name:ident) => {
        impl<K: 'static, V: 'static> $name<K, V> {
            /// With these serdes.
            pub fn with(key: impl Serde<K> + 'static, value: impl Serde<V> + 'static) -> Self {
                Self { key: Some(Arc::new(key)), value: Some(Arc::new(value)), ..Self::default() }
            }

            /// With this serde for keys.
            pub fn with_key_serde(mut self, key: impl Serde<K> + 'static) -> Self {
                self.key = Some(Arc::new(key));
                self
            }

            /// With this serde for values.
            pub fn with_value_serde(mut self, value: impl Serde<V> + 'static) -> Self {
                self.value = Some(Arc::new(value));
                self
            }
        }
    };
    ($name:ident, json) => {
        serdes!($name);

        impl<K: 'static, V: Serialize + DeserializeOwned + 'static> $name<K, V> {
            /// Values as JSON; keys by their type.
            pub fn json() -> Self {
                Self::default().with_value_serde(Json::new())
            }
        }
    };
}

pub(crate) type TimestampOf<K, V> = Arc<dyn Fn(&K, Option<&V>, Timestamp) -> Timestamp + Send + Sync>;

/// How a topic is read.
///
/// `Consumed::json::<K, V>()` reads keys by their type and values as JSON. Producers often send null keys: read them as
/// `Option<String>`, or as `()` when the key does not matter.
pub struct Consumed<K, V> {
    pub(crate) key: Option<SerdeRef<K>>,
    pub(crate) value: Option<SerdeRef<V>>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) timestamp: Option<TimestampOf<K, V>>,
}

impl<K, V> Default for Consumed<K, V> {
    fn default() -> Self {
        Self { key: None, value: None, name: None, timestamp: None }
    }
}
serdes!(Consumed);

impl Consumed<(), ()> {
    /// Keys by their type, values as JSON.
    pub fn json<K: 'static, V: Serialize + DeserializeOwned + 'static>() -> Consumed<K, V> {
        Consumed::default().with_value_serde(Json::new())
    }
}

impl<K, V> Consumed<K, V> {
    /// Names the source node.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Takes the event time from the record: `(key, value, the record's own timestamp) -> milliseconds`. A negative
    /// result skips the record.
    pub fn timestamp_by(
        mut self,
        timestamp: impl Fn(&K, Option<&V>, Timestamp) -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        self.timestamp = Some(Arc::new(timestamp));
        self
    }
}

pub(crate) type Partitioner<K, V> = Arc<dyn Fn(&K, Option<&V>, u32) -> Option<u32> + Send + Sync>;

/// How a topic is written.
pub struct Produced<K, V> {
    pub(crate) key: Option<SerdeRef<K>>,
    pub(crate) value: Option<SerdeRef<V>>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) partitioner: Option<Partitioner<K, V>>,
}

impl<K, V> Default for Produced<K, V> {
    fn default() -> Self {
        Self { key: None, value: None, name: None, partitioner: None }
    }
}
serdes!(Produced, json);

impl<K, V> Produced<K, V> {
    /// Names the sink node.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Chooses the partition: `(key, value, number of partitions)`; `None` leaves it to the key's hash, as Kafka's own producers do.
    pub fn partition_by(
        mut self,
        partitioner: impl Fn(&K, Option<&V>, u32) -> Option<u32> + Send + Sync + 'static,
    ) -> Self {
        self.partitioner = Some(Arc::new(partitioner));
        self
    }
}

/// How a stream is grouped: serdes of the repartition topic, and its name.
pub struct Grouped<K, V> {
    pub(crate) key: Option<SerdeRef<K>>,
    pub(crate) value: Option<SerdeRef<V>>,
    pub(crate) name: Option<Arc<str>>,
}

impl<K, V> Default for Grouped<K, V> {
    fn default() -> Self {
        Self { key: None, value: None, name: None }
    }
}
serdes!(Grouped, json);

impl<K, V> Grouped<K, V> {
    /// Names the repartition topic `<application.id>-<name>-repartition`.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }
}

/// How a stream is sent through a repartition topic.
pub struct Repartitioned<K, V> {
    pub(crate) key: Option<SerdeRef<K>>,
    pub(crate) value: Option<SerdeRef<V>>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) partitions: Option<u32>,
    pub(crate) partitioner: Option<Partitioner<K, V>>,
}

impl<K, V> Default for Repartitioned<K, V> {
    fn default() -> Self {
        Self { key: None, value: None, name: None, partitions: None, partitioner: None }
    }
}
serdes!(Repartitioned, json);

impl<K, V> Repartitioned<K, V> {
    /// Names the topic `<application.id>-<name>-repartition`.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// With this many partitions.
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = Some(partitions);
        self
    }

    /// Chooses the partition, as [`Produced::partition_by`].
    pub fn partition_by(
        mut self,
        partitioner: impl Fn(&K, Option<&V>, u32) -> Option<u32> + Send + Sync + 'static,
    ) -> Self {
        self.partitioner = Some(Arc::new(partitioner));
        self
    }
}

/// How a stream is repartitioned before a join, if it must be.
pub struct Joined<K, V> {
    pub(crate) key: Option<SerdeRef<K>>,
    pub(crate) value: Option<SerdeRef<V>>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) grace: Option<Duration>,
}

impl<K, V> Default for Joined<K, V> {
    fn default() -> Self {
        Self { key: None, value: None, name: None, grace: None }
    }
}
serdes!(Joined, json);

impl<K, V> Joined<K, V> {
    /// Names the join and its repartition topics.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Lets each record wait until the stream is this far ahead of it, so that rows of its time that come late are met. The table must be
    /// versioned, with a history at least as long.
    pub fn grace_period(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }
}

/// How results are kept (Kafka Streams: `Materialized`).
pub struct Store<K, V> {
    pub(crate) key: Option<SerdeRef<K>>,
    pub(crate) value: Option<SerdeRef<V>>,
    pub(crate) name: Option<Arc<str>>,
    pub(crate) settings: StoreSettings,
}

/// What does not depend on types.
#[derive(Debug, Clone)]
pub(crate) struct StoreSettings {
    pub persistent: bool,
    pub logged: bool,
    pub retention: Option<Duration>,
    pub topic_config: BTreeMap<String, String>,
    pub given: bool,
    /// How long older versions of rows are kept, if they are.
    pub history: Option<Duration>,
    /// Whether entries stay in the typed cache from commit to commit.
    pub cached: bool,
    pub supplier: Option<Supplier>,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            persistent: true,
            logged: true,
            retention: None,
            topic_config: BTreeMap::new(),
            given: false,
            history: None,
            cached: true,
            supplier: None,
        }
    }
}

impl<K, V> Default for Store<K, V> {
    fn default() -> Self {
        Self { key: None, value: None, name: None, settings: StoreSettings::default() }
    }
}
serdes!(Store, json);

impl<K, V> Store<K, V> {
    /// A store of this name, which can be queried; its changelog is `<application.id>-<name>-changelog`.
    pub fn named(name: &str) -> Self {
        Self {
            name: Some(name.into()),
            settings: StoreSettings { given: true, ..Default::default() },
            ..Self::default()
        }
    }

    /// A store of this name with values as JSON.
    pub fn json_named(name: &str) -> Self
    where
        K: 'static,
        V: Serialize + DeserializeOwned + 'static,
    {
        Self::named(name).with_value_serde(Json::new())
    }

    /// In memory only: rebuilt from the changelog at each start.
    pub fn in_memory(mut self) -> Self {
        self.settings.persistent = false;
        self.settings.given = true;
        self
    }

    /// Without a changelog: lost with the local files.
    pub fn without_changelog(mut self) -> Self {
        self.settings.logged = false;
        self.settings.given = true;
        self
    }

    /// In memory, with the `entries` of each partition that were used last; what is pushed out is removed from the changelog too. Results
    /// that were forgotten begin anew.
    ///
    /// ```
    /// use vigie_streams::{Store, StoreBuilder, StreamsBuilder};
    /// let mut builder = StreamsBuilder::new();
    /// builder.add_state_store(StoreBuilder::key_value(Store::<String, i64>::named("recent").lru(10_000)));
    /// ```
    pub fn lru(mut self, entries: usize) -> Self {
        self.settings.supplier = Some(Supplier::new(move |_, _| Ok(Arc::new(LruStore::new(entries)))));
        self.settings.persistent = false;
        self.settings.cached = false;
        self.settings.given = true;
        self
    }

    /// In stores of one's own: `supply` makes that of one partition, given the store's name and the partition. Whether it survives the
    /// process is its own matter; the changelog makes it whole.
    pub fn supplied(
        mut self,
        supply: impl Fn(&str, PartitionId) -> Result<Arc<dyn StateStore>, BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.settings.supplier = Some(Supplier::of_user(supply));
        self.settings.given = true;
        self
    }

    /// Keeps no entry in the typed cache beyond a commit: less memory, more work for keys that are used again and again.
    pub fn without_cache(mut self) -> Self {
        self.settings.cached = false;
        self.settings.given = true;
        self
    }

    /// Keeps windows (or sessions) at least this long; never shorter than their size plus grace.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.settings.retention = Some(retention);
        self
    }

    /// Keeps the older versions of each row for this long, so that it can be asked for as of a time: see [`StoreBuilder::versioned`]. A
    /// stream that is joined with a versioned table meets the row of its own time, and updates that come late change no result of a join of
    /// tables.
    ///
    /// [`StoreBuilder::versioned`]: crate::StoreBuilder::versioned
    pub fn versioned(mut self, history: Duration) -> Self {
        self.settings.history = Some(history);
        self.settings.given = true;
        self
    }

    /// A setting of the changelog topic.
    pub fn topic_config(mut self, key: &str, value: impl Into<String>) -> Self {
        self.settings.topic_config.insert(key.to_owned(), value.into());
        self
    }
}

pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
