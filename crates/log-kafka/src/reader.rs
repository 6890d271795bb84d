//! Reading partitions without a group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::BaseConsumer;
use vigie_log::{Fetched, LogError, Offset, Reader, Result, TopicPartition};

use crate::client::Role;
use crate::doorbell::Doorbell;
use crate::fetcher::Fetcher;
use crate::log::Shared;
use crate::native::OffsetAt;

/// Bytes of records that one poll hands out.
const POLL_BYTES: usize = 4 << 20;

pub(crate) struct KafkaReader {
    fetcher: Fetcher,
    /// Where to begin, until the first poll: whoever seeks before it costs nothing.
    starts: BTreeMap<TopicPartition, Offset>,
}

impl KafkaReader {
    pub fn new(shared: &Arc<Shared>, partitions: &[TopicPartition]) -> Result<Self> {
        for at in partitions {
            shared.check_partition(at)?;
        }
        let about = shared.about("starting a reader");
        let mut config = shared.config.client(Role::Consumer)?;
        // librdkafka wants a group's name for any consumer; nobody joins it, and nothing is committed.
        config.set("group.id", format!("{}-reader", shared.config.client_id));
        let doorbell = Arc::new(Doorbell::default());
        let consumer = BaseConsumer::from_config_and_context(&config, shared.context())
            .map_err(|error| about.kafka(&error))?;
        let fetcher = Fetcher::new(shared, consumer, doorbell, false);
        let starts =
            shared.list_offsets("starting a reader", partitions, OffsetAt::Earliest)?.into_iter().collect();
        Ok(Self { fetcher, starts })
    }
}

impl Reader for KafkaReader {
    fn poll(&mut self, timeout: Duration) -> Result<Vec<Fetched>> {
        let deadline = Instant::now() + timeout;
        if !self.starts.is_empty() {
            let starts: Vec<_> = std::mem::take(&mut self.starts).into_iter().collect();
            self.fetcher.add(&starts)?;
        }
        loop {
            self.fetcher.serve();
            let fetched = self.fetcher.drain(POLL_BYTES)?;
            if !fetched.is_empty() || Instant::now() >= deadline {
                return Ok(fetched);
            }
            self.fetcher.wait_until(deadline.min(Instant::now() + Duration::from_secs(1)));
        }
    }

    fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        if let Some(start) = self.starts.get_mut(partition) {
            *start = self.fetcher.within(partition, offset)?;
            return Ok(());
        }
        if !self.fetcher.contains(partition) {
            return Err(LogError::other(
                format!("seeking in {partition}"),
                "this reader was not made for that partition",
            ));
        }
        self.fetcher.seek(partition, offset)
    }

    fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.starts.get(partition).copied().or_else(|| self.fetcher.position(partition))
    }
}
