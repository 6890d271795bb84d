//! Which process to ask for a key of a store, or for a part of one: interactive queries over several processes.
//!
//! Answers come from what the group has told the processes about each other, at most a second or two old: a process that is asked may have lost the
//! task meanwhile, and says so ([`StateError::Migrated`](crate::StateError::Migrated)).

use std::sync::Arc;

use vigie_log::{MemberEndpoint, PartitionId, TopicPartition, partition_for_key};

use super::streams::Streams;
use crate::error::{StateError, StreamsError};
use crate::serde::Serde;
use crate::topology::SubTopology;

/// Where a process can be asked ([`Config::endpoint`](crate::Config::endpoint)).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostInfo {
    /// Its host, as it said when it joined.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// Which processes have a key (Kafka Streams: `KeyQueryMetadata`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyMetadata {
    /// The process that works on it; `None` while nobody is known to.
    pub active: Option<HostInfo>,
    /// Those that keep a standby copy.
    pub standbys: Vec<HostInfo>,
    /// The partition that it is in.
    pub partition: PartitionId,
}

/// What of a store one process has (Kafka Streams: `StreamsMetadata`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreMetadata {
    /// The process.
    pub host: HostInfo,
    /// The partitions that it works on.
    pub active: Vec<PartitionId>,
    /// The partitions of which it keeps a standby copy.
    pub standby: Vec<PartitionId>,
}

impl Streams {
    /// Which processes of this application have a key of a store, by the default partitioner (Kafka Streams: `queryMetadataForKey`).
    ///
    /// ```no_run
    /// # use std::sync::Arc;
    /// # use vigie_streams::{Config, Streams, StreamsBuilder, serde::Utf8};
    /// # fn answer(app: &Streams) -> Result<(), Box<dyn std::error::Error>> {
    /// let place = app.metadata_for_key("counts", &"ann".to_owned(), &Utf8)?;
    /// if let Some(process) = place.active {
    ///     println!("ask http://{}:{}/counts/ann", process.host, process.port);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn metadata_for_key<K>(
        &self,
        store: &str,
        key: &K,
        serde: &impl Serde<K>,
    ) -> Result<KeyMetadata, StreamsError> {
        let (_, count) = self.tasks_with(store)?;
        let mut bytes = Vec::new();
        serde
            .encode(key, &mut bytes)
            .map_err(|source| StreamsError::State(StateError::Encode { store: store.to_owned(), source }))?;
        self.metadata_for_partition(store, partition_for_key(&bytes, count.max(1)))
    }

    /// The same for a partition of the store, for who has partitioned its keys otherwise.
    pub fn metadata_for_partition(
        &self,
        store: &str,
        partition: PartitionId,
    ) -> Result<KeyMetadata, StreamsError> {
        let all = self.streams_metadata_for_store(store)?;
        let has = |held: &[PartitionId]| held.contains(&partition);
        let active = all.iter().find(|process| has(&process.active)).map(|process| process.host.clone());
        let standbys = all.into_iter().filter(|process| has(&process.standby)).map(|process| process.host);
        Ok(KeyMetadata { active, standbys: standbys.collect(), partition })
    }

    /// The processes of this application that have anything of a store, active or as a standby copy (Kafka Streams:
    /// `streamsMetadataForStore`). Empty where the log does not tell, and before the first second is over. A global table is whole
    /// everywhere and has no owners: [`StreamsError::NoSuchStore`].
    pub fn streams_metadata_for_store(&self, store: &str) -> Result<Vec<StoreMetadata>, StreamsError> {
        let (sub, count) = self.tasks_with(store)?;
        let shared = self.shared()?;
        let inputs: Vec<Arc<str>> = shared
            .topology
            .inner
            .inputs(sub)
            .map(|(topic, _)| topic.resolve(&shared.application_id))
            .collect();
        let partitions = |held: &[TopicPartition]| -> Vec<PartitionId> {
            let mut found: Vec<PartitionId> = held
                .iter()
                .filter(|held| inputs.contains(&held.topic) && held.partition < count)
                .map(|held| held.partition)
                .collect();
            found.sort_unstable();
            found.dedup();
            found
        };
        let mut all: Vec<StoreMetadata> = shared
            .endpoints()
            .into_iter()
            .map(|MemberEndpoint { host, port, active, standby }| StoreMetadata {
                host: HostInfo { host, port },
                active: partitions(&active),
                standby: partitions(&standby),
            })
            .filter(|process| !process.active.is_empty() || !process.standby.is_empty())
            .collect();
        all.sort_by(|a, b| (&a.host.host, a.host.port).cmp(&(&b.host.host, b.host.port)));
        Ok(all)
    }

    /// The sub-topology that has a store, and the number of its tasks.
    fn tasks_with(&self, store: &str) -> Result<(&SubTopology, u32), StreamsError> {
        let shared = self.shared()?;
        let mut subs = shared.topology.inner.subs.iter().zip(&shared.counts.tasks);
        let found = subs.find(|(sub, _)| !sub.global && sub.stores.iter().any(|held| **held == *store));
        found.map(|(sub, count)| (sub, *count)).ok_or_else(|| StreamsError::NoSuchStore(store.to_owned()))
    }
}
