//! What can go wrong, classed by when the user learns of it: at build, at start, or while records are processed.

use std::error::Error as StdError;
use std::sync::Arc;

use vigie_log::LogError;

use crate::serde::SerdeError;

/// Any error, boxed: what user code may return.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// A topology that cannot work. The message names the node and says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// Two nodes or two stores share a name.
    #[error(
        "{kind} `{name}` is defined twice; give one of them another name (`.named(..)`, `Store::named(..)`)"
    )]
    DuplicateName {
        /// `node` or `state store`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A topic is read by two sources.
    #[error(
        "topic `{topic}` is read by two sources, `{first}` and `{second}`; read it once and use the stream twice"
    )]
    TopicReadTwice {
        /// The topic.
        topic: String,
        /// The source that came first.
        first: String,
        /// The source that came second.
        second: String,
    },
    /// No serde is known for a type that must become bytes.
    #[error(
        "node `{node}` needs a serde for its {what}, of type `{type_name}`: give one where the {what} is made (`Grouped::with`, `Store::with_value_serde`, `Produced::with`, ...) or register it with `StreamsBuilder::register_serde`"
    )]
    MissingSerde {
        /// The node.
        node: String,
        /// `key` or `value`.
        what: &'static str,
        /// The type.
        type_name: &'static str,
    },
    /// A processor names a store that nobody added.
    #[error(
        "node `{node}` is connected to state store `{store}`, which does not exist; add it with `StreamsBuilder::add_state_store` first"
    )]
    UnknownStore {
        /// The node.
        node: String,
        /// The store.
        store: String,
    },
    /// A store that no node uses.
    #[error(
        "state store `{store}` is connected to no node; name it in the `stores` of a `process` call or remove it"
    )]
    UnconnectedStore {
        /// The store.
        store: String,
    },
    /// A node without a source above it.
    #[error("node `{node}` has no source above it: {reason}")]
    UnknownSource {
        /// The node.
        node: String,
        /// Why.
        reason: String,
    },
    /// Data would flow in a circle inside one sub-topology.
    #[error("node `{node}` is part of a cycle; break it with a topic (`through`, `repartition`)")]
    Cycle {
        /// The node.
        node: String,
    },
    /// Inputs that are joined or merged into one task cannot be lined up partition by partition.
    #[error("node `{node}` joins inputs that are not co-partitioned: {reason}")]
    CoPartitioning {
        /// The node.
        node: String,
        /// Why.
        reason: String,
    },
    /// Streams of two builders meet.
    #[error("node `{node}` connects streams of two different builders; make both from one `StreamsBuilder`")]
    ForeignStream {
        /// The node.
        node: String,
    },
    /// A setting of a node that makes no sense.
    #[error("node `{node}`: {reason}")]
    Invalid {
        /// The node.
        node: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// Nothing to run.
    #[error("the topology has no source; begin with `StreamsBuilder::stream` or `table`")]
    Empty,
}

/// An error of a running or starting program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamsError {
    /// The topology is wrong.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The log refused.
    #[error("{doing}: {source}")]
    Log {
        /// What was being done.
        doing: String,
        /// What the log said.
        #[source]
        source: LogError,
    },
    /// A source topic is missing.
    #[error(
        "source topic `{topic}` of node `{node}` does not exist; create it before the start, its partitions decide how the work is shared"
    )]
    MissingTopic {
        /// The topic.
        topic: String,
        /// The node that reads it.
        node: String,
    },
    /// An internal topic exists with another number of partitions.
    #[error(
        "internal topic `{topic}` has {found} partitions, {expected} are needed: the input's partitions have changed; reset the application (delete its internal topics and its state directory) or restore the old number"
    )]
    PartitionMismatch {
        /// The topic.
        topic: String,
        /// As it is.
        found: u32,
        /// As it should be.
        expected: u32,
    },
    /// The local state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// A record could not be processed and the handler said to stop.
    #[error("task {task}: {failure}")]
    Record {
        /// The task.
        task: String,
        /// What happened.
        failure: String,
    },
    /// A thread panicked.
    #[error("stream thread {thread} panicked: {message}; this is a bug in user code or in the library")]
    Panicked {
        /// Which thread.
        thread: String,
        /// Its last words.
        message: String,
    },
    /// The topology has no store by that name.
    #[error("the topology has no state store `{0}`; list its stores with `Topology::describe`")]
    NoSuchStore(String),
    /// No partition of the store is here now, nor a standby copy that is fresh enough.
    #[error(
        "no partition of state store `{store}` is here now: its tasks are being moved or restored, or run in other processes (see `Streams::endpoints`); ask again later, ask there, or allow staleness"
    )]
    StoreMigrated {
        /// The store.
        store: String,
    },
    /// A member of the group asked for the whole application to stop.
    #[error(
        "a process of this application asked all of them to stop; look into its messages for the error that made it do so"
    )]
    ShutdownRequested,
    /// A store was asked for by other types than it was made with.
    #[error("state store `{store}` does not hold `{asked}`; ask with the types it was made with")]
    WrongStoreType {
        /// The store.
        store: String,
        /// The types asked for.
        asked: &'static str,
    },
    /// The settings contradict each other.
    #[error("configuration: {0}")]
    Config(String),
}

impl StreamsError {
    pub(crate) fn log(doing: impl Into<String>) -> impl FnOnce(LogError) -> Self {
        let doing = doing.into();
        move |source| Self::Log { doing, source }
    }
}

/// An error of the local state.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The database on disk refused.
    #[error(
        "state store in {place}: {reason}; the state can be rebuilt from the changelogs: stop, delete that folder, start again"
    )]
    Database {
        /// Folder.
        place: String,
        /// What it said.
        reason: String,
    },
    /// Bytes in the store do not decode.
    #[error(
        "state store `{store}` holds bytes that do not decode: {source}; if the types were changed, reset the application"
    )]
    Decode {
        /// The store.
        store: String,
        /// What the serde said.
        #[source]
        source: SerdeError,
    },
    /// A value cannot be encoded.
    #[error("state store `{store}` cannot encode: {source}")]
    Encode {
        /// The store.
        store: String,
        /// What the serde said.
        #[source]
        source: SerdeError,
    },
    /// The key's partition is not here now.
    #[error(
        "partition {partition} of state store `{store}` is not here now: ask the process that owns it (`Streams::endpoints`), or again later"
    )]
    Migrated {
        /// The store.
        store: String,
        /// The partition that the default partitioner gives the key.
        partition: vigie_log::PartitionId,
    },
    /// The folder holds the state of another application.
    #[error(
        "the folder {place} holds the state of application `{owner}`; give this application another state directory, or remove the folder if that application is gone"
    )]
    Foreign {
        /// Folder.
        place: String,
        /// Whose it is.
        owner: String,
    },
    /// The folder was written by a newer version.
    #[error(
        "the state in {place} has format {found}, this version reads formats up to {supported}: use the newer version, or remove the folder (the state is then restored from the changelogs)"
    )]
    NewerFormat {
        /// Folder.
        place: String,
        /// Its format.
        found: u32,
        /// The newest format that is known.
        supported: u32,
    },
    /// A store that the program itself supplies refused.
    #[error("the supplied state store `{store}`, partition {partition}, refused: {source}")]
    Supplied {
        /// The store.
        store: String,
        /// The partition.
        partition: vigie_log::PartitionId,
        /// What it said.
        #[source]
        source: BoxError,
    },
    /// The folder is used by another process.
    #[error(
        "the state directory {place} is in use by another process; give each process its own, or stop the other one"
    )]
    Locked {
        /// Folder.
        place: String,
    },
    /// The processor is not connected to a store of this name and type.
    #[error(
        "node `{node}` is not connected to a state store `{store}` of that type; name it when calling `process`"
    )]
    NotConnected {
        /// The node.
        node: String,
        /// The store.
        store: String,
    },
}

/// Why one record could not be processed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("node `{node}` could not read the record's {what}: {source}")]
    Decode { node: Box<str>, what: &'static str, source: SerdeError },
    #[error("node `{node}` could not write the record's {what} to topic `{topic}`: {source}")]
    Encode { node: Box<str>, what: &'static str, topic: Box<str>, source: SerdeError },
    #[error("node `{node}` failed: {source}")]
    User { node: Box<str>, source: BoxError },
    #[error("node `{node}` chose topic `{topic}`: {reason}")]
    Topic { node: Box<str>, topic: Box<str>, reason: String },
    /// Found out by processing the record alone.
    #[error("the log refused what came of the record: {reason}")]
    Refused { reason: Arc<str> },
    /// Never handed to a handler: the task must stop.
    #[error(transparent)]
    State(#[from] StateError),
}

impl From<StateError> for Box<Failure> {
    fn from(error: StateError) -> Self {
        Box::new(Failure::State(error))
    }
}
