//! What the server is made of: the parts of the program that it shows, and its settings.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use vigie_contracts::Contracts;
use vigie_domain::Alert;
use vigie_log::{Clock, Log, Publisher};

use crate::live::{Live, LiveParts};
use crate::metrics::Metrics;
use crate::ports::{Engine, Learning, ModelHandle, Planner, Sources, Views};
use crate::problem::Problem;
use crate::waiters::Waiters;

/// The parts of the program that the server shows.
#[derive(Clone)]
pub struct App {
    /// The log.
    pub log: Arc<dyn Log>,
    /// Publishes what people enter.
    pub publisher: Publisher,
    /// What the stores hold.
    pub views: Arc<dyn Views>,
    /// The stream engine.
    pub engine: Arc<dyn Engine>,
    /// Proposals and assignments.
    pub planner: Arc<dyn Planner>,
    /// The model in service.
    pub model: Arc<dyn ModelHandle>,
    /// Models in service and in shadow, and what outcomes say.
    pub learning: Arc<dyn Learning>,
    /// Where records come from.
    pub sources: Arc<dyn Sources>,
    /// What records must look like, and which fields are personal.
    pub contracts: Arc<Contracts>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Settings.
    pub settings: Settings,
}

/// Settings of the server.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// The program's version.
    pub version: String,
    /// The log in words (`embedded: /path`).
    pub log: String,
    /// Whether anything on the screens is made up.
    pub simulated: bool,
    /// Whether this is the demo.
    pub demo: bool,
    /// Further names under which browsers may reach it (Host header); loopback names always may.
    pub allowed_hosts: Vec<String>,
    /// Seed of correlation ids and of the user of `/publish`.
    pub seed: u64,
    /// How long `/form` waits for its answer.
    pub form_timeout: Duration,
    /// How long any other request may take.
    pub request_timeout: Duration,
    /// How long a client may take to send its headers.
    pub header_timeout: Duration,
    /// Time between comments that keep a quiet stream open.
    pub heartbeat: Duration,
    /// Connections at most; more wait to be accepted.
    pub connections: usize,
    /// Streams at most; more are refused with 503.
    pub streams: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            version: String::from(env!("CARGO_PKG_VERSION")),
            log: String::from("embedded"),
            simulated: false,
            demo: false,
            allowed_hosts: Vec::new(),
            seed: 0,
            form_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(15),
            header_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(15),
            connections: 512,
            streams: 128,
        }
    }
}

/// The running server's own state, shared by all requests.
pub(crate) struct Context {
    pub app: App,
    pub live: Live,
    pub waiters: Arc<Waiters>,
    pub metrics: Arc<Metrics>,
    /// Places for requests that read much.
    pub heavy: Semaphore,
    pub closing: watch::Sender<bool>,
    pub started_at: i64,
    pub started: Duration,
    /// Alerts changed here that the stores may not show yet.
    pub decided: Mutex<Vec<Alert>>,
    random: AtomicU64,
}

impl Context {
    pub(crate) fn new(app: App) -> Arc<Self> {
        let metrics = Arc::new(Metrics::new());
        let waiters = Arc::new(Waiters::default());
        let live = Live::start(LiveParts {
            app: app.clone(),
            waiters: Arc::clone(&waiters),
            metrics: Arc::clone(&metrics),
        });
        let started_at = app.clock.now();
        // The start time is mixed in, so that two runs with one seed do not use the same correlation ids.
        let seed = app.settings.seed ^ (started_at as u64).rotate_left(32);
        Arc::new(Self {
            live,
            waiters,
            metrics,
            heavy: Semaphore::new(2),
            closing: watch::channel(false).0,
            started_at,
            started: app.clock.monotonic(),
            decided: Mutex::default(),
            random: AtomicU64::new(seed),
            app,
        })
    }

    /// The next number of the seeded sequence (SplitMix64, Steele et al. 2014).
    pub(crate) fn random(&self) -> u64 {
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.random.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn decided(&self) -> std::sync::MutexGuard<'_, Vec<Alert>> {
        self.decided.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs what may block on a thread that may wait; a panic in it is a 500, not the end of the server.
pub(crate) async fn blocking<T: Send + 'static>(
    context: &Arc<Context>,
    work: impl FnOnce(&Context) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let context = Arc::clone(context);
    match tokio::task::spawn_blocking(move || work(&context)).await {
        Ok(outcome) => outcome,
        Err(error) => {
            tracing::error!(%error, "a request failed");
            Err(Problem::internal("the request failed inside the program"))
        }
    }
}
