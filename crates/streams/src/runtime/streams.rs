//! `Streams`: a topology running over a log.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use vigie_log::MemberEndpoint;

use super::config::Config;
use super::metrics::{MemoryUse, MetricsSnapshot, ThreadTotals};
use super::shared::Shared;
use super::status::{State, Status};
use super::worker::Worker;
use crate::error::StreamsError;
use crate::state::{
    MemoryBudget, PersistentBackend, ReadOnlySessionStore, ReadOnlyStore, ReadOnlyVersionedStore,
    ReadOnlyWindowStore, Staleness, remove_state,
};
use crate::topology::Topology;

/// A topology running over a log. Dropping it closes it.
pub struct Streams {
    topology: Topology,
    config: Option<Config>,
    status: Arc<Status>,
    shared: Option<Arc<Shared>>,
    workers: Mutex<Workers>,
}

#[derive(Default)]
struct Workers {
    running: Vec<Worker>,
    /// The thread of the global tables.
    global: Option<JoinHandle<()>>,
    /// Counters of threads that are gone.
    retired: ThreadTotals,
}

impl Workers {
    /// Sets those aside that have ended; their counters stay.
    fn retire(&mut self) {
        let (ended, running) = std::mem::take(&mut self.running).into_iter().partition(Worker::is_finished);
        self.running = running;
        let ended: Vec<Worker> = ended;
        for worker in ended {
            let mut totals = worker.totals();
            totals.tasks.clear();
            totals.standbys.clear();
            self.retired.add(&totals);
        }
    }
}

impl Streams {
    /// A program that has not started yet.
    pub fn new(topology: Topology, config: Config) -> Self {
        Self {
            topology,
            status: Arc::new(Status::new(config.listener.clone())),
            config: Some(config),
            shared: None,
            workers: Mutex::default(),
        }
    }

    /// Checks the topics, makes the internal ones, opens the state and starts the threads. Errors of the start come from here; later
    /// ones set the state to [`State::Error`].
    pub fn start(mut self) -> Result<Self, StreamsError> {
        let config =
            self.config.take().ok_or_else(|| StreamsError::Config(String::from("started already")))?;
        let shared = Arc::new(Shared::prepare(self.topology.clone(), config)?);
        self.shared = Some(Arc::clone(&shared));
        self.status.starting(shared.config.threads);
        let (status, of_global) = (Arc::clone(&self.status), Arc::clone(&shared));
        let global = super::global::start(&shared, move |error| {
            status.failed(error);
            of_global.stop.store(true, Ordering::Release);
        })?;
        let mut workers = self.workers();
        workers.global = global;
        for number in 0..shared.config.threads {
            workers.running.push(Worker::start(&shared, &self.status, number)?);
        }
        drop(workers);
        Ok(self)
    }

    fn workers(&self) -> MutexGuard<'_, Workers> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn shared(&self) -> Result<&Arc<Shared>, StreamsError> {
        self.shared
            .as_ref()
            .ok_or_else(|| StreamsError::Config(String::from("the program has not been started")))
    }

    /// One more stream thread, while the program runs; tasks move to it. Returns its name.
    pub fn add_thread(&self) -> Result<String, StreamsError> {
        let shared = self.shared()?;
        if !matches!(self.state(), State::Running | State::Rebalancing) {
            let state = self.state();
            return Err(StreamsError::Config(format!(
                "a thread is added to a running program only; this one is {state:?}"
            )));
        }
        let mut workers = self.workers();
        workers.retire();
        let free = |number: &usize| workers.running.iter().all(|worker| worker.number != *number);
        let number = (0..).find(free).unwrap_or(usize::MAX);
        let worker = Worker::start(shared, &self.status, number)?;
        let name = worker.name.clone();
        workers.running.push(worker);
        Ok(name)
    }

    /// Ends the stream thread that came last: it commits, and its tasks move to the others. Returns its name; `None` when there is no
    /// thread, or when it did not end in time (it is then left to end by itself). Not to be called from a stream thread.
    pub fn remove_thread(&self, timeout: Duration) -> Result<Option<String>, StreamsError> {
        self.shared()?;
        let worker = {
            let mut workers = self.workers();
            workers.retire();
            let last = (0..workers.running.len())
                .filter(|index| {
                    workers.running.get(*index).is_some_and(|worker| !worker.stop.load(Ordering::Acquire))
                })
                .max_by_key(|index| workers.running.get(*index).map(|worker| worker.number));
            let Some(last) = last else { return Ok(None) };
            workers.running.remove(last)
        };
        worker.stop.store(true, Ordering::Release);
        let name = worker.name.clone();
        let until = Instant::now() + timeout;
        while !worker.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        let ended = worker.is_finished();
        let mut workers = self.workers();
        workers.running.push(worker);
        workers.retire();
        Ok(ended.then_some(name))
    }

    /// The names of the stream threads that are alive.
    pub fn threads(&self) -> Vec<String> {
        let mut workers = self.workers();
        workers.retire();
        workers.running.iter().map(|worker| worker.name.clone()).collect()
    }

    /// Processes nothing until [`resume`](Self::resume): no records, no punctuations, no standby copies. Partitions stay here, restores go on,
    /// and what has been processed is committed.
    pub fn pause(&self) {
        if let Some(shared) = &self.shared {
            shared.paused.store(true, Ordering::Release);
        }
    }

    /// Goes on after [`pause`](Self::pause).
    pub fn resume(&self) {
        if let Some(shared) = &self.shared {
            shared.paused.store(false, Ordering::Release);
        }
    }

    /// Whether the program is paused.
    pub fn is_paused(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.paused.load(Ordering::Acquire))
    }

    /// Removes the local state of this application in the state directory, for a program that has not been started: the next start
    /// restores everything from the changelogs. Refused while another process uses it.
    pub fn clean_up(&self) -> Result<(), StreamsError> {
        let Some(config) = &self.config else {
            return Err(StreamsError::Config(String::from(
                "the local state of a program that has been started cannot be removed; close it, and clean up before the next start",
            )));
        };
        if let Some(dir) = &config.state_dir {
            let id = &config.application_id;
            let budget = MemoryBudget::new(config.memory_budget);
            remove_state(dir, id, || PersistentBackend::open_at(dir, id, &budget))?;
        }
        Ok(())
    }

    /// The committed content of a key-value store, for any thread.
    pub fn store<K: 'static, V: 'static>(&self, name: &str) -> Result<ReadOnlyStore<K, V>, StreamsError> {
        self.store_with(name, Staleness::Active)
    }

    /// The committed content of a window store, for any thread.
    pub fn window_store<K: 'static, V: 'static>(
        &self,
        name: &str,
    ) -> Result<ReadOnlyWindowStore<K, V>, StreamsError> {
        self.window_store_with(name, Staleness::Active)
    }

    /// The committed content of a session store, for any thread.
    pub fn session_store<K: 'static, V: 'static>(
        &self,
        name: &str,
    ) -> Result<ReadOnlySessionStore<K, V>, StreamsError> {
        self.session_store_with(name, Staleness::Active)
    }

    /// As [`session_store`](Self::session_store), with standby copies too where the active task runs elsewhere.
    pub fn session_store_with<K: 'static, V: 'static>(
        &self,
        name: &str,
        staleness: Staleness,
    ) -> Result<ReadOnlySessionStore<K, V>, StreamsError> {
        self.shared()?.registry.session(name, staleness)
    }

    /// As [`store`](Self::store), with standby copies too where the active task runs elsewhere.
    pub fn store_with<K: 'static, V: 'static>(
        &self,
        name: &str,
        staleness: Staleness,
    ) -> Result<ReadOnlyStore<K, V>, StreamsError> {
        self.shared()?.registry.key_value(name, staleness)
    }

    /// As [`window_store`](Self::window_store), with standby copies too where the active task runs elsewhere.
    pub fn window_store_with<K: 'static, V: 'static>(
        &self,
        name: &str,
        staleness: Staleness,
    ) -> Result<ReadOnlyWindowStore<K, V>, StreamsError> {
        self.shared()?.registry.window(name, staleness)
    }

    /// Where the processes of this application can be asked for their state ([`Config::endpoint`]), as last heard; empty where the log
    /// does not tell, and before the first second is over.
    pub fn endpoints(&self) -> Vec<MemberEndpoint> {
        self.shared.as_ref().map_or_else(Vec::new, |shared| shared.endpoints())
    }

    /// The committed content of a versioned store, for any thread.
    pub fn versioned_store<K: 'static, V: 'static>(
        &self,
        name: &str,
    ) -> Result<ReadOnlyVersionedStore<K, V>, StreamsError> {
        self.shared()?.registry.versioned(name)
    }

    /// What runs.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The state now.
    pub fn state(&self) -> State {
        self.status.get()
    }

    /// Why the program stopped, if an error stopped it.
    pub fn error(&self) -> Option<String> {
        self.status.error()
    }

    /// Waits until the program is in this state; tells whether it came to it in time.
    pub fn wait_for(&self, wanted: State, timeout: Duration) -> bool {
        self.status.wait_for(wanted, timeout)
    }

    /// A moment of the program. Cheap: a lock for each thread, and a copy.
    pub fn metrics(&self) -> MetricsSnapshot {
        let (mut all, threads) = {
            let mut workers = self.workers();
            workers.retire();
            let mut all = workers.retired.clone();
            workers.running.iter().for_each(|worker| all.add(&worker.totals()));
            (all, workers.running.len())
        };
        all.tasks.sort_by_key(|task| (task.sub_topology, task.partition));
        all.standbys.sort_by_key(|standby| (standby.sub_topology, standby.partition));
        MetricsSnapshot {
            state: self.state(),
            records_in: all.counts.records_in,
            records_out: all.counts.records_out,
            skipped: all.counts.skipped,
            late: all.counts.late,
            errors: all.counts.errors,
            commits: all.commits,
            aborts: all.aborts,
            rebalances: all.rebalances,
            tasks: all.tasks,
            standbys: all.standbys,
            stores: self.shared.as_ref().map_or_else(Default::default, |shared| shared.registry.sizes()),
            memory: self.shared.as_ref().map_or_else(MemoryUse::default, |shared| MemoryUse {
                budget: shared.budget.total(),
                caches: shared.budget.caches(),
                tables: shared.budget.tables(),
                block_cache: shared.budget.block_cache(),
                spills: shared.budget.spills(),
            }),
            threads,
        }
    }

    /// Commits what was done, leaves the group and ends the threads. `false` when they did not end in time; they are then left
    /// to end by themselves.
    pub fn close(mut self, timeout: Duration) -> bool {
        self.shut_down(timeout)
    }

    fn shut_down(&mut self, timeout: Duration) -> bool {
        let Some(shared) = &self.shared else { return true };
        shared.stop.store(true, Ordering::Release);
        let (workers, global) = {
            let mut workers = self.workers();
            (std::mem::take(&mut workers.running), workers.global.take())
        };
        if workers.is_empty() && self.state() == State::NotRunning {
            return true;
        }
        self.status.end(State::PendingShutdown);
        let until = Instant::now() + timeout;
        let mut in_time = true;
        for worker in workers {
            in_time &= worker.join(until).is_ok();
        }
        if let Some(global) = global {
            while !global.is_finished() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
            in_time &= global.is_finished();
        }
        // Those who still hold a store for queries must not keep the state directory open.
        for table in &shared.topology.inner.globals {
            shared.registry.remove(&table.store, 0);
        }
        if let Some(disk) = &shared.disk
            && let Err(error) = disk.flush()
        {
            // Nothing is lost: the next start applies the changelogs from where the disk is.
            tracing::warn!(%error, "the state on disk stays behind");
        }
        if in_time {
            self.status.end(State::NotRunning);
        }
        in_time
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.shut_down(Duration::from_secs(10));
    }
}
