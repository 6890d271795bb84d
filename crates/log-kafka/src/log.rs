//! The log: a cluster, seen through one set of clients.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::admin::AdminClient;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use vigie_log::{
    Admin, Clock, Consequence, Log, LogError, Member, MemberConfig, Membership, Offset, Producer,
    ProducerConfig, Reader, Result, SystemClock, TopicPartition,
};

use crate::KafkaConfig;
use crate::admin::KafkaAdmin;
use crate::client::Role;
use crate::context::{Context, Trouble};
use crate::error::About;
use crate::member::KafkaMember;
use crate::native::{NativeProducer, OffsetAt, list_offsets, serve_events};
use crate::producer::KafkaProducer;
use crate::reader::KafkaReader;

/// Apache Kafka as a log. Cheap to clone; the connections are shared.
#[derive(Clone)]
pub struct KafkaLog(pub(crate) Arc<Shared>);

/// Group and member id.
type GroupMember = (Arc<str>, Arc<str>);

/// What all of a log's parts share.
pub(crate) struct Shared {
    pub config: Arc<KafkaConfig>,
    pub address: String,
    pub trouble: Arc<Trouble>,
    /// For questions: topics, offsets, groups. It belongs to no group.
    asking: BaseConsumer<Context>,
    admin: AdminClient<Context>,
    /// Producers without an id of their own that nobody uses at the moment; making one costs two round trips.
    pub idle: Mutex<Vec<(NativeProducer, String)>>,
    /// The newest generation of each member of this process, so that an old proof is refused without asking.
    generations: Mutex<HashMap<GroupMember, i32>>,
    /// Where the last committed records of this process begin, in partitions that nobody has asked about since.
    written: Mutex<HashMap<TopicPartition, Offset>>,
    /// Positions that this process has committed in transactions, of groups that nobody has asked about since.
    positions: Mutex<HashMap<String, BTreeMap<TopicPartition, Offset>>>,
    /// Partition counts that this process has made or raised: a broker that has not heard of it yet knows of none, or of fewer.
    pub made: Mutex<HashMap<String, u32>>,
    consumer_groups: OnceLock<bool>,
    /// What distinguishes this process's ids from those of all others.
    process: String,
    next: AtomicU64,
}

impl KafkaLog {
    /// Connects. Waits at most `start_timeout` for the cluster, and not at all when the login or the certificate is refused.
    pub fn open(config: KafkaConfig) -> Result<Self> {
        config.check()?;
        let address = format!("kafka://{}", config.bootstrap_servers());
        let trouble = Arc::new(Trouble::default());
        let context = || Context::new(Arc::clone(&trouble), config.token().cloned());
        let about =
            About { address: &address, doing: "connecting", trouble: Some(&trouble), ..About::default() };
        let mut asking = config.client(Role::Admin)?;
        asking.set("isolation.level", "read_committed");
        let asking =
            BaseConsumer::from_config_and_context(&asking, context()).map_err(|error| about.kafka(&error))?;
        // A producer underneath, which refuses what only consumers know.
        let mut client = config.client(Role::Admin)?;
        client.remove("allow.auto.create.topics");
        let admin =
            AdminClient::from_config_and_context(&client, context()).map_err(|error| about.kafka(&error))?;
        let clock = SystemClock::default();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let process = format!("{}-{}-{:x}", host.trim(), std::process::id(), clock.now());
        let shared = Shared {
            address: address.clone(),
            trouble: Arc::clone(&trouble),
            asking,
            admin,
            idle: Mutex::default(),
            generations: Mutex::default(),
            written: Mutex::default(),
            positions: Mutex::default(),
            made: Mutex::default(),
            consumer_groups: OnceLock::new(),
            process,
            next: AtomicU64::new(0),
            config: Arc::new(config),
        };
        shared.reach(shared.config.start_timeout)?;
        Ok(Self(Arc::new(shared)))
    }

    /// From `kafka://host:9092,...`, without security.
    pub fn connect(url: &str) -> Result<Self> {
        Self::open(KafkaConfig::from_url(url)?)
    }

    /// How it was made.
    pub fn config(&self) -> &KafkaConfig {
        &self.0.config
    }

    /// Asks the cluster for a sign of life, for at most `timeout`; the error says why there is none.
    pub fn check(&self, timeout: Duration) -> Result<()> {
        self.0.reach(timeout)
    }
}

impl Shared {
    /// What a message about a call says of this log.
    pub fn about<'a>(&'a self, doing: &'a str) -> About<'a> {
        About { address: &self.address, doing, trouble: Some(&self.trouble), ..About::default() }
    }

    pub fn context(&self) -> Context {
        Context::new(Arc::clone(&self.trouble), self.config.token().cloned())
    }

    /// The client for questions. Nobody waits for its events, so they are served whenever it is used: errors, and tokens that are about to
    /// expire.
    pub fn asking(&self) -> &BaseConsumer<Context> {
        while self.asking.poll(Duration::ZERO).is_some() {}
        &self.asking
    }

    /// The client for changes; as above.
    pub fn admin(&self) -> &AdminClient<Context> {
        serve_events(self.admin.inner());
        &self.admin
    }

    /// One offset of each partition, as a reader of committed records sees it. Partitions that were just made, or whose leader has just
    /// moved, are asked for again.
    pub fn list_offsets(
        &self,
        doing: &str,
        partitions: &[TopicPartition],
        at: OffsetAt,
    ) -> Result<BTreeMap<TopicPartition, Offset>> {
        let about = self.about(doing);
        let deadline = Instant::now() + self.config.request_timeout;
        'again: loop {
            let listed = list_offsets(self.asking(), partitions, at, self.config.request_timeout)
                .map_err(|error| about.native(&error))?;
            let mut found = BTreeMap::new();
            for (at, offset, failed) in listed {
                let Some(code) = failed else {
                    found.insert(at, offset);
                    continue;
                };
                let about = About { topic: Some(&at.topic), operation: "Describe", ..about };
                let error = about.code(code, &code.to_string());
                if error.consequence() == Consequence::Retriable && Instant::now() < deadline {
                    std::thread::sleep(Duration::from_millis(20));
                    continue 'again;
                }
                return Err(error);
            }
            return Ok(found);
        }
    }

    fn reach(&self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.asking.fetch_metadata(None, Duration::from_millis(500)) {
                Ok(metadata) if !metadata.brokers().is_empty() => {
                    self.trouble.over();
                    return Ok(());
                }
                Ok(_) => {}
                Err(error) => {
                    // Serves the events that say why.
                    while self.asking.poll(Duration::ZERO).is_some() {}
                    let refused = self.trouble.is_refusal();
                    if refused || Instant::now() >= deadline {
                        return Err(self.about("connecting").unreachable(&error.to_string()));
                    }
                }
            }
            if Instant::now() >= deadline {
                return Err(self.about("connecting").unreachable("it names no broker"));
            }
        }
    }

    pub fn offers_consumer_groups(&self) -> Result<bool> {
        if let Some(offered) = self.consumer_groups.get() {
            return Ok(*offered);
        }
        let offered = crate::membership::offers_consumer_groups(&self.config, &self.address)?;
        Ok(*self.consumer_groups.get_or_init(|| offered))
    }

    /// How many partitions a topic has.
    ///
    /// Where there are several brokers, one may not have heard yet of what another has made: so a topic is called unknown, or smaller than this
    /// process has made it, only after a second look.
    pub fn partitions(&self, topic: &str) -> Result<u32> {
        let lock = || self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let made = lock().get(topic).copied();
        let patience = Duration::from_secs(if made.is_some() { 10 } else { 1 });
        let deadline = Instant::now() + patience;
        loop {
            let found = self.partitions_now(topic)?;
            if let Some((count, _)) = found
                && made.is_none_or(|made| count >= made)
            {
                return Ok(count);
            }
            if Instant::now() >= deadline || self.brokers() <= 1 {
                // Somebody else has changed it.
                lock().remove(topic);
                let unknown = LogError::UnknownTopic { topic: topic.to_owned() };
                return found.map(|(count, _)| count).ok_or(unknown);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn brokers(&self) -> usize {
        self.asking()
            .fetch_metadata(None, Duration::from_millis(500))
            .map_or(1, |metadata| metadata.brokers().len())
    }

    /// Partitions, and whether all have a leader, as some broker knows them now; `None` for an unknown topic.
    pub fn partitions_now(&self, topic: &str) -> Result<Option<(u32, bool)>> {
        let about = About { topic: Some(topic), operation: "Describe", ..self.about("asking for a topic") };
        let metadata = self
            .asking()
            .fetch_metadata(Some(topic), self.config.request_timeout)
            .map_err(|error| about.kafka(&error))?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
            return Ok(None);
        };
        match found.error().map(RDKafkaErrorCode::from) {
            None | Some(RDKafkaErrorCode::LeaderNotAvailable) => {}
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::InvalidTopic,
            ) => {
                return Ok(None);
            }
            Some(code) => return Err(about.code(code, &code.to_string())),
        }
        let led = found.partitions().iter().all(|partition| partition.leader() >= 0);
        Ok(Some((u32::try_from(found.partitions().len()).unwrap_or(u32::MAX), led)))
    }

    /// Checks that a partition exists, and says what does not.
    pub fn check_partition(&self, at: &TopicPartition) -> Result<()> {
        let count = self.partitions(&at.topic)?;
        if at.partition >= count {
            return Err(LogError::UnknownPartition {
                topic: at.topic.to_string(),
                partition: at.partition,
                count,
            });
        }
        Ok(())
    }

    /// An id that nobody else has, on any machine.
    pub fn unique(&self, what: &str) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{}-{what}-{}-{number}", self.config.client_id, self.process)
    }

    pub fn note_written(&self, bases: &[(TopicPartition, Offset)]) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, base) in bases {
            match written.get_mut(at) {
                Some(known) => *known = *base,
                None => {
                    written.insert(at.clone(), *base);
                }
            }
        }
    }

    /// The offset that the end of a partition must exceed, because this process has committed a record there. A broker says that a transaction
    /// is committed before it has written so into every partition, a few milliseconds later.
    pub fn written(&self, at: &TopicPartition) -> Option<Offset> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).get(at).copied()
    }

    pub fn note_positions(&self, group: &str, offsets: &[(TopicPartition, Offset)]) {
        let mut positions = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match positions.get_mut(group) {
            Some(known) => known,
            None => positions.entry(group.to_owned()).or_default(),
        };
        known.extend(offsets.iter().cloned());
    }

    /// What `note_positions` has noted since the last call.
    pub fn take_positions(&self, group: &str) -> BTreeMap<TopicPartition, Offset> {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner).remove(group).unwrap_or_default()
    }

    pub fn seen(&self, at: &TopicPartition) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).remove(at);
    }

    pub fn note_generation(&self, proof: &Membership) {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.insert((Arc::clone(&proof.group), Arc::clone(&proof.member)), proof.generation);
    }

    pub fn forget_member(&self, proof: &Membership) {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.remove(&(Arc::clone(&proof.group), Arc::clone(&proof.member)));
    }

    /// Refuses a proof that is older than the member's newest generation. The broker knows better about members of other processes, but it
    /// accepts an older epoch for a partition that the member has kept.
    pub fn check_generation(&self, proof: &Membership) -> Result<()> {
        let generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        match generations.get(&(Arc::clone(&proof.group), Arc::clone(&proof.member))) {
            Some(newest) if *newest != proof.generation => Err(LogError::NotOwner {
                group: proof.group.to_string(),
                member: proof.member.to_string(),
                reason: format!("generation {} is over, the group is at {newest}", proof.generation),
            }),
            _ => Ok(()),
        }
    }
}

impl Log for KafkaLog {
    fn address(&self) -> String {
        self.0.address.clone()
    }

    fn admin(&self) -> Box<dyn Admin> {
        Box::new(KafkaAdmin(Arc::clone(&self.0)))
    }

    fn producer(&self, config: ProducerConfig) -> Result<Box<dyn Producer>> {
        Ok(Box::new(KafkaProducer::new(&self.0, config)?))
    }

    fn member(&self, config: MemberConfig) -> Result<Box<dyn Member>> {
        Ok(Box::new(KafkaMember::join(&self.0, config)?))
    }

    fn reader(&self, partitions: &[TopicPartition]) -> Result<Box<dyn Reader>> {
        Ok(Box::new(KafkaReader::new(&self.0, partitions)?))
    }
}
