//! Seeded simulation: threads of two processes over the simulated log, killed at every kind of moment. Whatever happens, the committed
//! output and the stores must be those of an undisturbed run. A failing seed is printed and can be replayed:
//! ```text
//! VIGIE_SEED=<seed> cargo test -p vigie-streams simulation                     one seed
//! VIGIE_SEEDS=<count> cargo test -p vigie-streams simulation                   more of them
//! cargo run -p vigie-streams --features simulation --example simulate -- --seeds <count> [--from <seed>]
//! ```
//! What happens to a program here: its process dies between two instructions, also in the middle of a commit, a flush, a restore or a
//! rebalance; one of its threads fails and is replaced, is taken away or added; it is paused, stopped cleanly, fenced, expelled; the log is
//! slow, loses answers, repeats batches, or dies itself and starts again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a simulation is a test, also where it is built as a program"
)]

mod check;
mod joins;
mod windows;

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vigie_log::{
    BatchBuilder, Clock, Faults, Log, ManualClock, Producer, ProducerConfig, SimulatedLog, TopicPartition,
    TopicSpec,
};

use super::config::{Config, ProcessingGuarantee};
use super::shared::Shared;
use super::thread::StreamThread;
use crate::state::{SurvivingBackend, Survivors};
use crate::{
    BoxError, Consumed, Joined, Processor, ProcessorContext, Produced, Record, Store, StoreBuilder,
    StreamsBuilder, TimeWindows, Topology,
};

const PARTITIONS: u32 = 3;
const APP: &str = "sim";

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
    fn one_in(&mut self, odds: u64) -> bool {
        self.below(odds) == 0
    }
}

/// Numbers the records of each input partition: any record lost, repeated or reordered shows. At least once, some may come again.
struct Number {
    again: bool,
}

impl Processor<String, i64, String, i64> for Number {
    fn process(
        &mut self,
        ctx: &mut ProcessorContext<'_, '_, String, i64>,
        record: Record<String, i64>,
    ) -> Result<(), BoxError> {
        let partition = ctx.record_metadata().partition;
        let offset = ctx.record_metadata().offset;
        let key = format!("p{partition}");
        let seen = ctx.key_value::<String, i64>("seen")?.get(&key)?.unwrap_or(0);
        let right = if self.again { offset <= seen } else { offset == seen };
        assert!(right, "partition {partition}: record {offset} comes after {seen} others");
        ctx.key_value::<String, i64>("seen")?.put(key.clone(), offset + 1)?;
        ctx.forward(Record { key, value: Some(seen), timestamp: record.timestamp, headers: record.headers })
    }
}

fn topology(again: bool) -> Topology {
    let mut builder = StreamsBuilder::new();
    builder.add_state_store(StoreBuilder::key_value(Store::<String, i64>::named("seen")));
    let names = builder.table("names", Consumed::<String, String>::default(), Store::named("names"));
    let input = builder.stream("in", Consumed::<String, i64>::default());
    input.process(move || Number { again }, &["seen"]).to("numbered", Produced::default());
    input
        .join(&names, |_, value, name| format!("{name}:{value}"), Joined::default())
        .to("joined", Produced::<String, String>::default().with_value_serde(crate::serde::Utf8));
    windows::add(&input);
    joins::add(&input);
    joins::add_foreign(&input, &names);
    let grouped = input.group_by(|_, value| format!("g{}", value % 7));
    grouped.count(Store::named("counts")).to_stream().to("counted", Produced::default());
    input
        .group_by(|_, value| format!("w{}", value % 5))
        .windowed_by(TimeWindows::tumbling(Duration::from_millis(100)).grace(Duration::from_secs(3600)))
        .count(Store::named("windows"));
    builder.build().unwrap()
}

struct Process {
    shared: Arc<Shared>,
    threads: Vec<StreamThread>,
}

struct World {
    seed: u64,
    dice: Dice,
    clock: Arc<ManualClock>,
    log: SimulatedLog,
    disks: Vec<Survivors>,
    processes: Vec<Option<Process>>,
    /// The place at which the running process dies next.
    doomed: Arc<Mutex<Option<&'static str>>>,
    /// Records of each partition of the input: value and time.
    sent: Vec<Vec<i64>>,
    deaths: BTreeMap<&'static str, u32>,
    disturbed: bool,
    producer: Box<dyn Producer>,
}

const POINTS: [&str; 8] = [
    "before log commit",
    "in flush",
    "after log commit",
    "after store commit",
    "before restore",
    "in restore",
    "in rebalance",
    "in standby",
];

impl World {
    fn new(seed: u64, disturbed: bool) -> Self {
        let clock = Arc::new(ManualClock::at(1_000_000));
        let log = SimulatedLog::new(Arc::clone(&clock) as Arc<dyn Clock>, seed);
        let topics = ["in", "names", "numbered", "joined", "counted"];
        for topic in topics.into_iter().chain(windows::TOPICS).chain(joins::TOPICS) {
            log.admin().create_topic(&TopicSpec::new(topic, PARTITIONS).with("retention.ms", "-1")).unwrap();
        }
        let mut producer = log.producer(ProducerConfig::default()).unwrap();
        producer.begin().unwrap();
        for partition in 0..PARTITIONS {
            let mut batch = BatchBuilder::new();
            for key in 0..4 {
                batch.push(0, Some(format!("k{key}").as_bytes()), Some(format!("n{key}").as_bytes()), &[]);
            }
            producer.append(&TopicPartition::new("names", partition), &mut batch).unwrap();
        }
        producer.commit().unwrap();
        Self {
            seed,
            dice: Dice(seed),
            clock,
            log,
            disks: vec![Survivors::default(), Survivors::default()],
            processes: vec![None, None],
            doomed: Arc::default(),
            sent: vec![Vec::new(); PARTITIONS as usize],
            deaths: BTreeMap::new(),
            disturbed,
            producer,
        }
    }

    /// Every sixth seed is at least once.
    fn exactly_once(&self) -> bool {
        self.seed % 6 != 5
    }

    fn replicas(&self) -> u32 {
        u32::from(self.seed % 4 != 1)
    }

    fn start(&mut self, number: usize) {
        let doomed = Arc::clone(&self.doomed);
        let mut config = Config::new(APP, Arc::new(self.log.clone()) as Arc<dyn Log>)
            .clock(Arc::clone(&self.clock) as Arc<dyn Clock>)
            .client_id(format!("p{number}"))
            .commit_interval(Duration::from_millis(20))
            .retry_backoff(Duration::ZERO)
            .cache_entries(if self.seed.is_multiple_of(2) { 0 } else { 1000 })
            .standby_replicas(self.replicas())
            // So little that stores go to disk with nearly every commit.
            .memory_budget(if self.seed % 5 == 1 { 4 << 10 } else { 8 << 20 })
            .guarantee(if self.exactly_once() {
                ProcessingGuarantee::ExactlyOnce
            } else {
                ProcessingGuarantee::AtLeastOnce
            });
        config.threads = 2;
        let mut shared = Shared::prepare(topology(!self.exactly_once()), config).unwrap();
        // Some seeds lose their local files at each death and restore from the changelogs alone.
        if !self.seed.is_multiple_of(3) {
            let doomed = Arc::clone(&self.doomed);
            let dies = move || {
                let mut doomed = doomed.lock().unwrap();
                let dies = *doomed == Some("in flush");
                if dies {
                    *doomed = None;
                }
                dies
            };
            shared.disk = Some(Box::new(SurvivingBackend::new(&self.disks[number], &shared.budget, dies)));
        }
        shared.crash = Some(Arc::new(move |point| {
            let mut doomed = doomed.lock().unwrap();
            let dies = *doomed == Some(point);
            if dies {
                *doomed = None;
            }
            dies
        }));
        let shared = Arc::new(shared);
        let threads = (0..2).map(|thread| StreamThread::new(&shared, thread)).collect();
        self.processes[number] = Some(Process { shared, threads });
    }

    /// The process is gone between two instructions: nothing is closed, its members linger until their sessions end.
    fn kill(&mut self, number: usize) {
        if let Some(process) = self.processes[number].take() {
            for thread in &process.threads {
                if let Some(member) = thread.member_name() {
                    self.log.kill_member(&member);
                }
            }
        }
    }

    fn produce(&mut self) {
        let partition = self.dice.below(u64::from(PARTITIONS)) as u32;
        let mut batch = BatchBuilder::new();
        for _ in 0..=self.dice.below(20) {
            let value = self.dice.below(1000) as i64;
            let at = 1_000 + self.dice.below(2_000) as i64;
            batch.push(at, Some(format!("k{}", value % 6).as_bytes()), Some(&value.to_be_bytes()), &[]);
            self.sent[partition as usize].push(value << 16 | at);
        }
        self.log.set_faults(Faults::default());
        self.producer.begin().unwrap();
        self.producer.append(&TopicPartition::new("in", partition), &mut batch).unwrap();
        self.producer.commit().unwrap();
    }

    fn faults(&mut self) {
        let mut odds = |scale: f64| if self.dice.one_in(3) { scale } else { 0.0 };
        let faults = Faults {
            fail_commit_before: odds(0.2),
            fail_commit_after: odds(0.2),
            unreachable: odds(0.05),
            duplicate_poll: odds(0.3),
            empty_poll: odds(0.3),
            slow: odds(0.05),
            delay: Duration::from_micros(50),
        };
        self.log.set_faults(faults);
    }

    /// Everything that lives in a process ends with it.
    fn quietly(&self) {
        self.log.set_faults(Faults::default());
        *self.doomed.lock().unwrap() = None;
    }

    fn step(&mut self, number: usize) {
        let Some(process) = &mut self.processes[number] else { return };
        let thread = self.dice.below(process.threads.len().max(1) as u64) as usize;
        if thread >= process.threads.len() {
            return;
        }
        if let Err(error) = process.threads[thread].step(Duration::ZERO) {
            let text = error.to_string();
            let point = POINTS.iter().find(|point| text.contains(*point));
            assert!(point.is_some(), "seed {}: {text}", self.seed);
            *self.deaths.entry(point.unwrap()).or_default() += 1;
            self.kill(number);
        }
    }

    fn disturb(&mut self) {
        match self.dice.below(30) {
            0 => *self.doomed.lock().unwrap() = Some(POINTS[self.dice.below(POINTS.len() as u64) as usize]),
            1 => {
                let number = self.dice.below(2) as usize;
                self.kill(number);
            }
            2 => {
                let number = self.dice.below(2) as usize;
                if self.processes[number].is_none() {
                    self.log.set_faults(Faults::default());
                    self.start(number);
                }
            }
            3 => {
                let number = self.dice.below(2) as usize;
                let member = self.processes[number].as_ref().and_then(|p| p.threads.first()?.member_name());
                if let Some(member) = member {
                    self.log.expel_member(APP, &member);
                }
            }
            4 => {
                let number = self.dice.below(2);
                self.log.set_faults(Faults::default());
                self.log.fence(&format!("{APP}-p{number}-0")).unwrap();
            }
            5 => self.clock.advance(Duration::from_secs(60)),
            6 | 7 => self.faults(),
            8 => {
                // A clean stop, in the middle of everything.
                let number = self.dice.below(2) as usize;
                self.log.set_faults(Faults::default());
                if let Some(mut process) = self.processes[number].take() {
                    for thread in &mut process.threads {
                        *self.doomed.lock().unwrap() = None;
                        thread.close().unwrap();
                    }
                    if let Some(disk) = &process.shared.disk {
                        disk.flush().unwrap();
                    }
                }
            }
            9 => {
                // One thread panics: it is replaced, its process goes on.
                let (number, thread) = (self.dice.below(2) as usize, self.dice.below(2) as usize);
                self.quietly();
                if let Some(thread) = self.processes[number].as_mut().and_then(|p| p.threads.get_mut(thread))
                {
                    thread.fail();
                    *thread = thread.successor();
                    *self.deaths.entry("a thread").or_default() += 1;
                }
            }
            10 => {
                // A thread is taken away, or one is added.
                let number = self.dice.below(2) as usize;
                self.quietly();
                if let Some(process) = &mut self.processes[number] {
                    if process.threads.len() > 1 {
                        process.threads.pop().unwrap().close().unwrap();
                    } else {
                        process.threads.push(StreamThread::new(&process.shared, process.threads.len()));
                    }
                }
            }
            11 => {
                if let Some(process) = &self.processes[self.dice.below(2) as usize] {
                    process.shared.paused.fetch_xor(true, Ordering::AcqRel);
                }
            }
            12 if self.dice.one_in(4) => {
                // The log dies, and with it those that it is embedded in.
                self.kill(0);
                self.kill(1);
                self.quietly();
                self.log.restart();
                self.producer = self.log.producer(ProducerConfig::default()).unwrap();
                *self.deaths.entry("the log").or_default() += 1;
            }
            _ => {}
        }
    }

    fn run(&mut self) {
        self.start(0);
        if self.disturbed {
            self.start(1);
        }
        for _ in 0..300 {
            if self.dice.one_in(8) {
                self.produce();
            }
            if self.disturbed {
                self.disturb();
            }
            self.clock.advance(Duration::from_millis(self.dice.below(10)));
            let number = self.dice.below(2) as usize;
            self.step(number);
        }
        // Now in peace, until all is done.
        self.log.set_faults(Faults::default());
        *self.doomed.lock().unwrap() = None;
        for number in 0..2 {
            if self.processes[number].is_none() {
                self.start(number);
            }
            let process = self.processes[number].as_mut().unwrap();
            process.shared.paused.store(false, Ordering::Release);
            while process.threads.len() < 2 {
                process.threads.push(StreamThread::new(&process.shared, process.threads.len()));
            }
        }
        let mut settled = 0;
        for round in 0.. {
            if round >= 3_000 {
                self.explain();
                panic!("seed {}: the input is not processed to its end", self.seed);
            }
            self.clock.advance(Duration::from_secs(if round < 20 { 30 } else { 1 }));
            for number in 0..2 {
                for thread in 0..2 {
                    let process = self.processes[number].as_mut().unwrap();
                    if let Err(error) = process.threads[thread].step(Duration::ZERO) {
                        panic!("seed {}: {error}", self.seed);
                    }
                }
            }
            settled = if round > 40 && self.done() { settled + 1 } else { 0 };
            // Some more turns, so that the standby copies see the ends of their changelogs.
            if settled > 5 {
                return;
            }
        }
    }

    fn explain(&mut self) {
        eprintln!("group: {:?}", self.log.admin().describe_group(APP));
        for process in self.processes.iter_mut().flatten() {
            for thread in &mut process.threads {
                eprintln!("{thread:?}");
            }
        }
    }

    fn done(&self) -> bool {
        let group = self.log.admin().describe_group(APP).unwrap();
        let committed: BTreeMap<TopicPartition, i64> = group.committed.into_iter().collect();
        let running = self.processes.iter().flatten().all(|p| p.threads.iter().all(StreamThread::is_running));
        running
            && self.log.admin().list_topics(true).unwrap().iter().all(|topic| {
                let input = ["in", "names"].contains(&topic.as_str())
                    || topic.ends_with("-repartition")
                    || topic.ends_with("-topic");
                !input
                    || self.log.admin().offsets(topic).unwrap().iter().enumerate().all(|(p, bounds)| {
                        let partition = TopicPartition::new(topic.as_str(), p as u32);
                        bounds.latest == bounds.earliest && !committed.contains_key(&partition)
                            || committed.get(&partition).is_some_and(|at| *at >= bounds.latest)
                    })
            })
    }
}

/// How often each kind of death was died.
pub type Deaths = BTreeMap<&'static str, u32>;

/// Simulates one seed, disturbed or not; a wrong result is printed with its seed. Returns what died.
pub fn simulate(seed: u64, disturbed: bool) -> Option<Deaths> {
    let mut world = World::new(seed, disturbed);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        world.run();
        world.check();
    }));
    if outcome.is_err() {
        eprintln!(
            "SEED {seed} failed; replay it with\n    VIGIE_SEED={seed} cargo test -p vigie-streams simulation\nor  \
             cargo run -p vigie-streams --features simulation --example simulate -- --from {seed} --seeds 1"
        );
        return None;
    }
    Some(world.deaths)
}

/// Simulates many seeds on all processors. `Err`: the first seed found whose results were wrong.
pub fn simulate_all(seeds: Range<u64>) -> Result<Deaths, u64> {
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(None);
    let deaths = Mutex::new(Deaths::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let done = failed.lock().unwrap_or_else(PoisonError::into_inner).is_some();
                    if seed >= seeds.end || done {
                        return;
                    }
                    match simulate(seed, true) {
                        Some(found) => {
                            let mut all = deaths.lock().unwrap_or_else(PoisonError::into_inner);
                            for (point, times) in found {
                                *all.entry(point).or_default() += times;
                            }
                        }
                        None => *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(seed),
                    }
                }
            });
        }
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(seed) => Err(seed),
        None => Ok(deaths.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undisturbed_runs_are_exact() {
        for seed in 0..3 {
            assert!(simulate(seed, false).is_some());
        }
    }

    #[test]
    fn whatever_dies_the_results_are_exact() {
        let asked = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let seeds = match asked("VIGIE_SEED") {
            Some(seed) => seed..seed + 1,
            None => 0..asked("VIGIE_SEEDS").unwrap_or(1_000),
        };
        let many = seeds.end - seeds.start >= 100;
        let deaths = simulate_all(seeds).expect("the seed that failed is printed above");
        // The simulation itself must not fall asleep: every kind of death was died.
        for point in POINTS.into_iter().chain(["a thread", "the log"]).filter(|_| many) {
            assert!(deaths.contains_key(point), "nothing died {point}: {deaths:?}");
        }
    }
}
