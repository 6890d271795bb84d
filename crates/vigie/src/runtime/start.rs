//! Starting and stopping the parts, in order.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use vigie_contracts::Contracts;
use vigie_domain::topics::COSTUMERCHURN;
use vigie_domain::{CustomerView, Outcome, ScoredOutcome};
use vigie_log::{Clock, Log, LogError, Publisher, SystemClock};
use vigie_server::ports::{Answer, PortError, StoreViews};
use vigie_server::views::{self, CustomerDoc, field};
use vigie_server::{App, Server, Settings};
use vigie_stores::{Documents, Query, RunningSink, Sink, SqliteStore};
use vigie_streams::{Config as StreamsConfig, ErrorHandler, State, Streams};

use super::{RunOptions, RuntimeError, archive, data_folder, printer, sources, topics};
use crate::config::{Config, Role};
use crate::decisions::Decisions;
use crate::features::FeatureSet;
use crate::features::rebuild::Rebuild;
use crate::log::{AnyLog, EmbeddedOptions};
use crate::model::{self, ModelService};
use crate::planner::{KnownOutcomes, OnDecided, PlannerService, effect_of};
use crate::ports::{EngineView, LearningView, Model, Peers, Plans, SourcesView};
use crate::sinks::{self, CUSTOMERS, SINKS};
use crate::topology::topology;

/// Messages of people and sources wait this long for company before they are committed.
const LINGER: Duration = Duration::from_millis(5);
/// Time for the engine to commit and leave.
const CLOSE: Duration = Duration::from_secs(10);
/// Time for the engine to get its partitions before the program says that it is ready.
const READY: Duration = Duration::from_secs(3);
/// Time for those who only look at the engine to let go of it.
const LET_GO: Duration = Duration::from_secs(2);
/// The least room in the data folder to start with, bytes.
const ROOM: usize = 1 << 20;
/// Memory of the log's and the state's caches. The whole program is to stay below 150 MB.
const LOG_CACHE: u64 = 24 << 20;
const STATE_MEMORY: usize = 64 << 20;
/// Customers are read from the store in pages of this size.
const PAGE: u64 = 5_000;
/// File that tells other commands where the running program answers.
pub const ADDRESS_FILE: &str = "vigie.addr";

/// Everything that runs. Stop it with [`Running::stop`]; dropping it stops it too.
pub struct Running {
    address: SocketAddr,
    address_file: std::path::PathBuf,
    sources: sources::RunningSources,
    server: Option<Server>,
    background: Background,
    streams: Option<Arc<Streams>>,
    sinks: Arc<Mutex<Vec<RunningSink>>>,
    archive: Option<archive::RunningArchive>,
    printer: Option<printer::Printer>,
    publisher: Publisher,
    decisions: Arc<Decisions>,
    log: AnyLog,
}

impl Running {
    pub(super) fn start(options: &RunOptions) -> Result<Self, RuntimeError> {
        let config = &options.config;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let data = data_folder(config)?;
        // These first: a wrong file and a taken port are the commonest mistakes, and should cost nothing.
        let csv = sources::csv(&config.sources)?;
        let listener = listen(config)?;

        if !config.log.is_embedded() {
            std::fs::create_dir_all(&data)
                .map_err(|source| RuntimeError::Folder { path: data.clone(), source })?;
        }
        let opened = open_log(&data, config, &clock)?;
        room(&data)?;
        let log: Arc<dyn Log> = opened.shared();
        let instance = if opened.is_shared() { Some(instance(&data)?) } else { None };
        let does = |role: Role| config.roles.contains(&role);
        topics::ensure(&*log.admin(), config)?;
        if opened.is_shared() {
            topics::ensure_agreed(&*log.admin())?;
        }
        let decisions = Arc::new(Decisions::new(
            Arc::clone(&log),
            Arc::clone(&clock),
            &config.engine.application_id,
            opened.is_shared(),
        ));
        let contracts = Arc::new(Contracts::built_in()?);
        let set = Arc::new(FeatureSet::new(&config.features, &contracts.get(COSTUMERCHURN)));
        let file = data.join("model/churn.vigie");
        let (model, trained) = if opened.is_shared() {
            ModelService::open_shared(&file, &config.churn, &set, clock.now(), &decisions)?
        } else {
            let (model, trained) = ModelService::open(&file, &config.churn, &set, clock.now())?;
            (Arc::new(model), trained)
        };
        tracing::info!(version = model.current().id(), trained, "model");
        let store = Arc::new(SqliteStore::open(data.join("vigie.db"))?);
        sinks::declare(&*store)?;
        let publisher = Publisher::start(Arc::clone(&log), LINGER, Arc::clone(&clock))?;

        let agency = if options.demo && does(Role::Source) {
            sources::agency(&config.sources, &data.join("agency.json"), &*log)?
        } else {
            None
        };
        let (agency, assignments) = agency.unzip();
        let on_decided: OnDecided = Box::new(move |customer, manager| {
            if let Some(assignments) = &assignments {
                match manager {
                    Some(manager) => assignments.assigned(customer, manager),
                    None => assignments.undone(customer),
                }
            }
        });
        let planner = Arc::new(PlannerService::open(
            Arc::clone(&decisions),
            Arc::clone(&clock),
            config.assignment.clone(),
            config.churn.seed,
            on_decided,
        )?);

        let group = &config.engine.application_id;
        let known = data.join("features.json");
        let rebuild = Arc::new(if opened.is_shared() {
            Rebuild::prepare_shared(&decisions, &known, &set, group)?
        } else {
            Rebuild::prepare(&known, &set, group, &*log.admin())?
        });
        let topology = topology(config, &contracts, &model, &rebuild)?;
        let streams = if does(Role::Process) {
            let engine =
                engine_config(config, &log, &clock, &data, instance.as_deref(), listener.local_addr()?);
            Some(Arc::new(Streams::new(topology.clone(), engine).start()?))
        } else {
            None
        };

        let running_sinks = if does(Role::Sink) || does(Role::Serve) {
            start_sinks(&log, &store, &clock, config.sources.seed, instance.as_deref())?
        } else {
            Arc::default()
        };
        let archive = if config.archive.enabled && does(Role::Sink) {
            Some(archive::start(
                &data.join("archive"),
                &config.archive,
                Arc::clone(&log),
                Arc::clone(&clock),
            )?)
        } else {
            None
        };
        let printer = if config.shop.print_events && does(Role::Sink) {
            Some(printer::start(Arc::clone(&log), Box::new(std::io::stdout()))?)
        } else {
            None
        };
        let sources = sources::start(
            &if does(Role::Source) { config.sources.clone() } else { sources::none(&config.sources) },
            options.demo && does(Role::Source),
            csv.filter(|_| does(Role::Source)),
            agency,
            publisher.clone(),
            Arc::clone(&clock),
        )?;

        let sink_view = {
            let sinks = Arc::clone(&running_sinks);
            Arc::new(move || {
                sinks.lock().unwrap_or_else(PoisonError::into_inner).iter().map(RunningSink::status).collect()
            })
        };
        let mut settings = Settings::default();
        env!("CARGO_PKG_VERSION").clone_into(&mut settings.version);
        settings.log = opened.described();
        settings.simulated = sources.status()().iter().any(|source| source.simulated);
        settings.demo = options.demo;
        settings.allowed_hosts.clone_from(&config.server.allowed_hosts);
        // Other instances ask for state under this name.
        settings.allowed_hosts.extend(config.server.advertised.clone());
        settings.seed = config.sources.seed;
        let plans = Arc::new(plans(&planner, &store, config.assignment.min_probability));
        let app = App {
            log: Arc::clone(&log),
            publisher: publisher.clone(),
            views: Arc::new(
                StoreViews::new(Arc::clone(&store) as _, Arc::clone(&store) as _, Arc::clone(&clock))
                    .sized(Arc::clone(&store) as _),
            ),
            engine: Arc::new(EngineView {
                streams: streams.clone(),
                topology,
                peers: Peers::new(advertised(config, listener.local_addr()?)),
                sinks: sink_view,
                prefix: format!("{}-", config.engine.application_id),
                page_window_ms: i64::try_from(config.pages.window_ms).unwrap_or(i64::MAX),
            }),
            planner: Arc::clone(&plans) as _,
            model: Arc::new(Model(Arc::clone(&model))),
            learning: Arc::new(LearningView {
                model: Arc::clone(&model),
                log: Arc::clone(&log),
                store: Arc::clone(&store),
                publisher: publisher.clone(),
                clock: Arc::clone(&clock),
                config: config.churn.clone(),
                declared: config.features.clone(),
                planner: Arc::clone(&planner),
                outcomes: Arc::clone(&plans.outcomes),
            }),
            sources: Arc::new(SourcesView {
                status: sources.status(),
                users: sources.users.clone(),
                users_recorded: sources.users_recorded,
            }),
            contracts,
            clock,
            settings,
        };
        let address = listener.local_addr()?;
        let server = vigie_server::start_on(app, listener)?;
        let address_file = data.join(ADDRESS_FILE);
        std::fs::write(&address_file, address.to_string())
            .map_err(|source| RuntimeError::Folder { path: address_file.clone(), source })?;
        // "Ready" means that a record is scored, not only that the door is open. A long restore goes on behind it.
        if let Some(streams) = &streams {
            streams.wait_for(State::Running, READY);
        }
        let proposing = Proposing {
            plans,
            does: does(Role::Serve),
            sinks: opened.is_shared().then(|| Arc::clone(&running_sinks)),
            decisions: Arc::clone(&decisions),
            quiet: Duration::from_secs(config.assignment.every_s.max(1).saturating_mul(3)),
        };
        // What others made may be wrong; the demo makes up events whose time runs ahead.
        let looked_at = (opened.is_shared() && !options.demo).then(|| Arc::clone(&log));
        let background = Background::start(planner, proposing, looked_at, config)?;
        Ok(Self {
            address,
            address_file,
            sources,
            server: Some(server),
            background,
            streams,
            sinks: running_sinks,
            archive,
            printer,
            publisher,
            decisions,
            log: opened,
        })
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops all parts in order.
    pub fn stop(mut self) {
        self.sources.stop();
        // The file may be gone already, or the folder: then there is nothing to do.
        let _ = std::fs::remove_file(&self.address_file);
        if let Some(server) = self.server.take() {
            server.stop();
        }
        self.background.stop();
        let in_time = match self.streams.map(sole) {
            Some(Some(streams)) => streams.close(CLOSE),
            Some(None) => {
                tracing::warn!("the engine is still in use; it stops with the program");
                true
            }
            None => true,
        };
        if !in_time {
            tracing::warn!(
                "the engine did not stop in time; it goes on from its last commit at the next start"
            );
        }
        let sinks = std::mem::take(&mut *self.sinks.lock().unwrap_or_else(PoisonError::into_inner));
        sinks.iter().for_each(RunningSink::request_stop);
        drop(sinks);
        drop(self.archive.take());
        drop(self.printer.take());
        self.publisher.close();
        self.decisions.stop();
        if let Err(error) = self.log.close() {
            tracing::warn!(%error, "closing the log");
        }
    }
}

/// Whether there is room to work at all: said here in plain words, before each part meets it in its own way.
fn room(data: &Path) -> Result<(), RuntimeError> {
    let probe = data.join("room.tmp");
    let tried = std::fs::write(&probe, vec![0xA5; ROOM]);
    // What cannot be removed could not be made either.
    let _ = std::fs::remove_file(&probe);
    tried.map_err(|error| {
        let (place, reason) = (data.display().to_string(), error.to_string());
        RuntimeError::Log(match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                LogError::DiskFull { place, reason }
            }
            _ => LogError::NotWritable { place, reason },
        })
    })
}

/// Waits until nobody else uses it: requests have ended, but the thread of the live stream lets go a moment later.
fn sole<T>(shared: Arc<T>) -> Option<T> {
    for _ in 0..LET_GO.as_millis() {
        if Arc::strong_count(&shared) == 1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Arc::into_inner(shared)
}

fn listen(config: &Config) -> Result<TcpListener, RuntimeError> {
    let address = format!("{}:{}", config.server.host, config.server.port);
    let failed = |source: std::io::Error| {
        let hint = match source.kind() {
            std::io::ErrorKind::AddrInUse => {
                "another program uses this port: choose another with --port N, or --port 0 for a free one"
            }
            std::io::ErrorKind::PermissionDenied => {
                "ports below 1024 need privileges: choose another with --port N"
            }
            _ => "check server.host and server.port of the configuration",
        };
        RuntimeError::Listen { address: address.clone(), source, hint }
    };
    let resolved = (config.server.host.as_str(), config.server.port).to_socket_addrs().map_err(failed)?;
    TcpListener::bind(resolved.collect::<Vec<_>>().as_slice()).map_err(failed)
}

/// Opens the log of the configuration.
pub fn open_log(data: &Path, config: &Config, clock: &Arc<dyn Clock>) -> Result<AnyLog, RuntimeError> {
    let options = EmbeddedOptions { cache_bytes: Some(LOG_CACHE), maintenance: true };
    Ok(crate::log::open(data, &config.log, clock, &options)?)
}

/// The engine's settings. On a shared log it says who it is and where it can be asked.
fn engine_config(
    config: &Config,
    log: &Arc<dyn Log>,
    clock: &Arc<dyn Clock>,
    data: &Path,
    instance: Option<&str>,
    address: SocketAddr,
) -> StreamsConfig {
    let mut engine = StreamsConfig::new(&config.engine.application_id, Arc::clone(log))
        .clock(Arc::clone(clock))
        .state_dir(data.join("state"))
        .memory_budget(STATE_MEMORY)
        .threads(config.engine.threads)
        .commit_interval(config.engine.commit_interval())
        .standby_replicas(config.engine.standby_replicas)
        .deserialization_error(ErrorHandler::dead_letter(topics::DEAD_LETTERS))
        .processing_error(ErrorHandler::dead_letter(topics::DEAD_LETTERS));
    if let Some(instance) = instance {
        let (host, port) = advertised(config, address);
        engine = engine.client_id(instance).endpoint(host, port);
        if let Some(copies) = config.log.replication_factor {
            engine = engine.replication_factor(copies);
        }
    }
    engine
}

/// Where other instances reach this one.
fn advertised(config: &Config, address: SocketAddr) -> (String, u16) {
    let given = config.server.advertised.as_deref().and_then(|text| {
        let (host, port) = text.rsplit_once(':')?;
        Some((host.to_owned(), port.parse().ok()?))
    });
    given.unwrap_or_else(|| (address.ip().to_string(), address.port()))
}

/// The name of this instance among those of a cluster: made once, kept in the data folder, so that a restart takes up its own work.
fn instance(data: &Path) -> Result<String, RuntimeError> {
    let path = data.join("instance");
    let failed = |source| RuntimeError::Folder { path: path.clone(), source };
    match std::fs::read_to_string(&path) {
        Ok(name) if !name.trim().is_empty() => return Ok(name.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let mut random = [0_u8; 5];
    std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).map_err(failed)?;
    let name: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(&path, &name).map_err(failed)?;
    Ok(name)
}

fn start_sinks(
    log: &Arc<dyn Log>,
    store: &Arc<SqliteStore>,
    clock: &Arc<dyn Clock>,
    seed: u64,
    instance: Option<&str>,
) -> Result<Arc<Mutex<Vec<RunningSink>>>, RuntimeError> {
    let mut running = Vec::new();
    for spec in &SINKS {
        // Each instance keeps a whole copy of the results, so each reads everything.
        let group = instance.map_or_else(|| spec.group.to_owned(), |name| format!("{}-{name}", spec.group));
        let sink =
            Sink::new(spec.name, spec.topics.iter().copied(), spec.map).group(group).on_poison(|poison| {
                tracing::warn!(
                    sink = poison.sink,
                    record = %poison.partition,
                    offset = poison.offset,
                    reason = poison.reason,
                    "a record cannot be stored"
                );
            });
        running.push(sink.start(Arc::clone(log), Arc::clone(store) as _, Arc::clone(clock), seed)?);
    }
    Ok(Arc::new(Mutex::new(running)))
}

fn plans(planner: &Arc<PlannerService>, store: &Arc<SqliteStore>, min_probability: f64) -> Plans {
    let customers = Arc::clone(store);
    let outcomes = Arc::clone(store);
    Plans {
        service: Arc::clone(planner),
        customers: Box::new(move || {
            let query = Query::new().gt(field::PROBABILITY, min_probability.next_down());
            let docs: Vec<CustomerDoc> = read_all(&*customers, views::CUSTOMERS, query)?;
            // Who has left already is past saving.
            let here = docs.into_iter().filter(|doc| !doc.left);
            let view = |doc: CustomerDoc| CustomerView {
                customer: doc.customer,
                score: doc.score,
                outcome: doc.outcome,
            };
            Ok(here.map(view).collect())
        }),
        outcomes: Arc::new(move || {
            // The newest of each customer, and all that a prediction stood before.
            let newest: Vec<Outcome> = read_all(&*outcomes, views::OUTCOMES, Query::new())?;
            let scored: Vec<ScoredOutcome> = read_all(&*outcomes, views::SCORED_OUTCOMES, Query::new())?;
            let mut known = KnownOutcomes::new();
            for (customer, at, left) in newest
                .into_iter()
                .map(|outcome| (outcome.customer_id, outcome.event_time, outcome.churned))
                .chain(
                    scored
                        .into_iter()
                        .map(|scored| (scored.customer_id, scored.outcome_time, scored.churned)),
                )
            {
                known.entry(customer).or_default().push((at, left));
            }
            for outcomes in known.values_mut() {
                outcomes.sort_unstable();
                outcomes.dedup();
            }
            Ok(known)
        }),
    }
}

/// All documents of a collection that the query finds, page by page.
pub(crate) fn read_all<T: serde::de::DeserializeOwned>(
    documents: &dyn Documents,
    collection: &str,
    query: Query,
) -> Answer<Vec<T>> {
    let mut all = Vec::new();
    loop {
        let page = documents
            .find(collection, &query.clone().page(all.len() as u64, PAGE))
            .map_err(|error| PortError::Unavailable(error.to_string()))?;
        let done = (page.items.len() as u64) < PAGE;
        for item in page.items {
            let doc = serde_json::from_value(item.doc)
                .map_err(|error| PortError::Failed(format!("{collection}/{}: {error}", item.id)))?;
            all.push(doc);
        }
        if done {
            return Ok(all);
        }
    }
}

/// Who proposes, and when.
struct Proposing {
    plans: Arc<Plans>,
    /// Whether this instance does.
    does: bool,
    /// On a shared log: the sinks that fill the store that is planned from.
    sinks: Option<Arc<Mutex<Vec<RunningSink>>>>,
    decisions: Arc<Decisions>,
    /// So long after another instance has decided something this one leaves proposing to it.
    quiet: Duration,
}

/// A store that is so many records behind tells too little to plan from.
const BEHIND: u64 = 500;
/// Until a sink has written something it does not know how far it is behind; then, on a quiet log, it is believed.
const QUIET: Duration = Duration::from_secs(10);

impl Proposing {
    /// Whether this instance proposes now. On a shared log one does, the others are quiet as long as it is not. And the store must know what
    /// the log knows, more or less: one that is still being filled knows few of the customers, and proposals of other instances for all
    /// others would be taken back.
    fn may(&self, since: Duration) -> bool {
        let Some(sinks) = &self.sinks else { return self.does };
        if self.decisions.others_decided_within(self.quiet) {
            return false;
        }
        let sinks = sinks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut status = sinks.iter().map(RunningSink::status);
        let filled = status
            .find(|sink| sink.name == CUSTOMERS)
            .is_some_and(|sink| sink.lag < BEHIND && (sink.records > 0 || since >= QUIET));
        self.does && filled
    }
}

/// Tells what is wrong with topics that were there already.
fn look_at(log: &dyn Log, config: &Config) {
    match topics::check(&*log.admin(), config, SystemClock::new().now()) {
        Ok(wrong) => wrong.iter().for_each(|wrong| tracing::warn!("{wrong}")),
        Err(error) => tracing::warn!(%error, "the topics' settings cannot be looked at"),
    }
}

/// What is done now and then: measure the effect once, propose anew.
struct Background {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    fn start(
        planner: Arc<PlannerService>,
        proposing: Proposing,
        looked_at: Option<Arc<dyn Log>>,
        config: &Config,
    ) -> Result<Self, RuntimeError> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let every = Duration::from_secs(config.assignment.every_s.max(1));
        let churn = config.churn.clone();
        let all = config.clone();
        let thread = std::thread::Builder::new().name(String::from("planner")).spawn(move || {
            if let Some(log) = looked_at {
                look_at(&*log, &all);
            }
            let measured = model::training_table(&churn)
                .map_err(|error| error.to_string())
                .and_then(|table| effect_of(&table, &churn).map_err(|error| error.to_string()));
            match measured {
                Ok(report) => planner.set_effect(report),
                Err(error) => {
                    tracing::warn!(error, "the effect of managers cannot be measured from the training table")
                }
            }
            let clock = SystemClock::new();
            let start = clock.monotonic();
            while !stopping.load(Ordering::Acquire) {
                let may = proposing.may(clock.monotonic().saturating_sub(start));
                match if may { proposing.plans.propose_by_itself() } else { Ok(0) } {
                    Ok(0) => {}
                    Ok(changed) => tracing::debug!(changed, "proposals"),
                    Err(error) => tracing::warn!(%error, "no proposals this time"),
                }
                std::thread::park_timeout(every);
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }

    fn stop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // Its own errors are logged by itself.
            let _ = thread.join();
        }
    }
}
