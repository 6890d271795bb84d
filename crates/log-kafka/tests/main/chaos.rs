//! Instances of one program are killed, frozen, added and taken away at random while records flow; in the end the results must be those of a
//! count over the input, each record counted once.
//!
//! The short form runs with the other tests. `dev/chaos.sh SECONDS [RECORDS_A_SECOND]` runs it for as long as wanted, and `CHAOS_SEED`
//! repeats a run's choices.
//!
//! An instance is a process: this test binary again, told by an environment variable to be one ([`instance`]).

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use vigie_log::{BatchBuilder, Clock, Log, ProducerConfig, SystemClock, TopicPartition, TopicSpec};
use vigie_log_kafka::{KafkaConfig, KafkaLog};
use vigie_streams::serde::{I64, Utf8};
use vigie_streams::{Config, Consumed, Grouped, Produced, State, Store, Streams, StreamsBuilder, Topology};

use crate::kafka::{own_node, unique};

const INSTANCE: &str = "VIGIE_CHAOS_INSTANCE";
const KEYS: u64 = 500;
/// Of classic groups, whose members choose it; the brokers of the tests have the same for the others.
pub(crate) const SESSION_MS: &str = "6000";

/// Counts by key, then how often each count's last digit occurs: two sub-topologies, a repartition, two stores.
pub(crate) fn topology(application: &str) -> Topology {
    let mut builder = StreamsBuilder::new();
    let counts = builder
        .stream(format!("{application}-in"), Consumed::with(Utf8, I64))
        .group_by_with(|key, _| key.replace('k', "c"), Grouped::with(Utf8, I64))
        .count(Store::named("counts"));
    counts.to_stream().to(&format!("{application}-counts"), Produced::with(Utf8, I64));
    counts
        .group_by(|_, count| ((count % 10).to_string(), 1_i64), Grouped::with(Utf8, I64))
        .aggregate(|| 0_i64, |_, one, n| n + one, |_, one, n| n - one, Store::named("digits"))
        .to_stream()
        .to(&format!("{application}-digits"), Produced::with(Utf8, I64));
    builder.build().unwrap()
}

/// Not a test by itself: what a process runs that another test has started. Ends when its standard input does.
#[test]
fn instance() {
    let Ok(told) = std::env::var(INSTANCE) else { return };
    let [bootstrap, application, place, dir, standbys, membership] = told.split('|').collect::<Vec<_>>()[..]
    else {
        panic!("{told}")
    };
    let mut kafka = KafkaConfig::new(bootstrap.split(','));
    kafka.membership = membership.parse().unwrap();
    kafka.settings.insert(String::from("consumer.session.timeout.ms"), String::from(SESSION_MS));
    kafka.client_id = place.to_owned();
    kafka.start_timeout = Duration::from_secs(120);
    let log: Arc<dyn Log> = Arc::new(KafkaLog::open(kafka).unwrap());
    let config = Config::new(application, log)
        .state_dir(dir)
        .client_id(place)
        .standby_replicas(standbys.parse().unwrap())
        .threads(2);
    let app = Streams::new(topology(application), config).start().unwrap();
    let ending = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&ending);
    thread::spawn(move || {
        let mut line = String::new();
        while std::io::stdin().lock().read_line(&mut line).is_ok_and(|read| read > 0) {}
        heard.store(true, Ordering::SeqCst);
    });
    let (mut shown, mut last) = (false, Instant::now());
    while !ending.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(20));
        if !shown && app.state() == State::Running {
            shown = true;
            println!("{place}: runs");
        }
        if last.elapsed() > Duration::from_secs(5) {
            last = Instant::now();
            let metrics = app.metrics();
            println!(
                "{place}: {:?}, {} tasks, {} records in",
                metrics.state,
                metrics.tasks.len(),
                metrics.records_in
            );
        }
        if let Some(error) = app.error() {
            panic!("{place} has failed: {error}");
        }
    }
    println!("{place}: closed {}", app.close(Duration::from_secs(30)));
}

/// A process of the application, with its folder.
pub(crate) struct Instance {
    place: String,
    process: Child,
    frozen: bool,
}

impl Instance {
    pub(crate) fn start(
        bootstrap: &str,
        application: &str,
        place: &str,
        dir: &Path,
        standbys: u32,
        membership: &str,
    ) -> Self {
        let state = dir.join(place);
        std::fs::create_dir_all(&state).unwrap();
        let output = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(dir.join(format!("{place}.log")))
            .unwrap();
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["chaos::instance", "--exact", "--nocapture"])
            .env(
                INSTANCE,
                format!("{bootstrap}|{application}|{place}|{}|{standbys}|{membership}", state.display()),
            )
            .stdin(Stdio::piped())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Self { place: place.to_owned(), process, frozen: false }
    }

    fn signal(&self, signal: &str) {
        let sent =
            Command::new("kill").args(["-s", signal, &self.process.id().to_string()]).status().unwrap();
        assert!(sent.success(), "{signal} to {}", self.place);
    }

    /// The end of what it said, and whether it has ended by itself.
    pub(crate) fn check(&mut self, dir: &Path) -> (String, bool) {
        let text = std::fs::read_to_string(dir.join(format!("{}.log", self.place))).unwrap_or_default();
        let tail: Vec<&str> = text.lines().rev().take(20).collect();
        let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
        (format!("-- {}\n{tail}\n", self.place), self.has_ended())
    }

    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// In good order.
    fn close(mut self) {
        drop(self.process.stdin.take());
        let start = Instant::now();
        while self.process.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < Duration::from_secs(180), "{} does not end", self.place);
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether it has ended by itself.
    fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A small generator (splitmix64), so that a seed says it all.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// Writes records until told to stop; says how often each key was written.
pub(crate) fn write_records(
    log: KafkaLog,
    topic: String,
    partitions: u32,
    rate: u64,
    seed: u64,
    stop: Arc<AtomicBool>,
) -> thread::JoinHandle<BTreeMap<String, i64>> {
    thread::spawn(move || {
        let mut dice = Dice(seed ^ 0x5eed);
        let mut producer = log.producer(ProducerConfig::default()).unwrap();
        let mut written: BTreeMap<String, i64> = BTreeMap::new();
        let (start, mut total) = (Instant::now(), 0_u64);
        while !stop.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(50));
            let due = u64::try_from(start.elapsed().as_millis()).unwrap() * rate / 1000;
            if due == total {
                continue;
            }
            let mut batches: Vec<BatchBuilder> = (0..partitions).map(|_| BatchBuilder::new()).collect();
            let now = SystemClock::new().now();
            producer.begin().unwrap();
            while total < due {
                let key = format!("k{}", dice.roll(KEYS));
                let partition = usize::try_from(dice.roll(u64::from(partitions))).unwrap();
                batches[partition].push(now, Some(key.as_bytes()), Some(&1_i64.to_be_bytes()), &[]);
                *written.entry(key).or_default() += 1;
                total += 1;
            }
            for (partition, batch) in (0..).zip(&mut batches) {
                producer.append(&TopicPartition::new(topic.as_str(), partition), batch).unwrap();
            }
            producer.commit().unwrap();
        }
        written
    })
}

/// The last value of each key in a topic, read committed.
pub(crate) fn last_values(log: &KafkaLog, topic: &str, values: &mut Values) {
    if values.reader.is_none() {
        let ends = log.admin().offsets(topic).unwrap();
        let partitions: Vec<_> =
            (0..).zip(&ends).map(|(partition, _)| TopicPartition::new(topic, partition)).collect();
        values.reader = Some(log.reader(&partitions).unwrap());
    }
    let reader = values.reader.as_mut().unwrap();
    loop {
        let fetched = reader.poll(Duration::from_millis(300)).unwrap();
        if fetched.is_empty() {
            return;
        }
        for record in fetched.iter().flat_map(|fetched| fetched.batch.iter()) {
            let key = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
            match record.value {
                Some(value) => values.last.insert(key, i64::from_be_bytes(value.try_into().unwrap())),
                None => values.last.remove(&key),
            };
            values.records += 1;
        }
    }
}

#[derive(Default)]
pub(crate) struct Values {
    reader: Option<Box<dyn vigie_log::Reader>>,
    pub(crate) last: BTreeMap<String, i64>,
    pub(crate) records: u64,
}

#[test]
fn every_record_counts_once_whatever_happens_to_the_instances() {
    let Some(cluster) = own_node() else { return };
    let seed = number("CHAOS_SEED", SystemClock::new().now().unsigned_abs());
    let (seconds, rate) = (number("CHAOS_SECONDS", 40), number("CHAOS_RATE", 2000));
    println!("CHAOS_SEED={seed} CHAOS_SECONDS={seconds} CHAOS_RATE={rate}");
    let mut dice = Dice(seed);
    let partitions = 4 + u32::try_from(dice.roll(5)).unwrap();
    let standbys = u32::try_from(dice.roll(2)).unwrap();
    let application = unique("chaos");
    let log = cluster.log();
    for (topic, count) in [("in", partitions), ("counts", 4), ("digits", 4)] {
        log.admin().create_topic(&TopicSpec::new(format!("{application}-{topic}"), count)).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let bootstrap = cluster.fact("bootstrap").to_owned();
    let begin = |place: usize| {
        Instance::start(&bootstrap, &application, &format!("i{place}"), dir.path(), standbys, "auto")
    };
    let mut instances: BTreeMap<usize, Instance> = (0..2).map(|place| (place, begin(place))).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let writer =
        write_records(log.clone(), format!("{application}-in"), partitions, rate, seed, Arc::clone(&stop));

    let start = Instant::now();
    let mut thaw: Vec<(Instant, usize)> = Vec::new();
    let mut done: BTreeMap<&str, u32> = BTreeMap::new();
    while start.elapsed() < Duration::from_secs(seconds) {
        let pause = Duration::from_millis(1000 + dice.roll(2500));
        let until = Instant::now() + pause;
        while Instant::now() < until {
            thaw.retain(|(at, place)| {
                let due = Instant::now() >= *at;
                if due && let Some(instance) = instances.get_mut(place) {
                    instance.signal("CONT");
                    instance.frozen = false;
                }
                !due
            });
            thread::sleep(Duration::from_millis(20));
        }
        for (place, instance) in &mut instances {
            if instance.has_ended() {
                let text = std::fs::read_to_string(dir.path().join(format!("i{place}.log"))).unwrap();
                panic!("instance {place} has ended by itself:\n{text}");
            }
        }
        let places: Vec<usize> =
            instances.iter().filter(|(_, instance)| !instance.frozen).map(|(place, _)| *place).collect();
        let Some(mut place) =
            places.get(usize::try_from(dice.roll(places.len().max(1) as u64)).unwrap()).copied()
        else {
            continue;
        };
        let action = match dice.roll(10) {
            0..=4 => {
                instances.remove(&place).unwrap().kill();
                instances.insert(place, begin(place));
                "killed and started again"
            }
            5 | 6 if thaw.is_empty() => {
                // Longer than the session of six seconds: others take over, and it wakes up as a stranger.
                let instance = instances.get_mut(&place).unwrap();
                instance.signal("STOP");
                instance.frozen = true;
                thaw.push((Instant::now() + Duration::from_secs(8), place));
                "frozen"
            }
            7 if instances.len() > 1 => {
                instances.remove(&place).unwrap().close();
                "closed"
            }
            _ => match (0..3).find(|place| !instances.contains_key(place)) {
                Some(free) => {
                    instances.insert(free, begin(free));
                    place = free;
                    "added"
                }
                None => {
                    instances.remove(&place).unwrap().kill();
                    "killed"
                }
            },
        };
        *done.entry(action).or_default() += 1;
        println!("{:5.1} s: {place} {action}; {} instances", start.elapsed().as_secs_f64(), instances.len());
    }
    stop.store(true, Ordering::SeqCst);
    let written = writer.join().unwrap();
    for instance in instances.values_mut().filter(|instance| instance.frozen) {
        instance.signal("CONT");
        instance.frozen = false;
    }
    if instances.is_empty() {
        instances.insert(0, begin(0));
    }

    let counts: BTreeMap<String, i64> = written.iter().map(|(key, n)| (key.replace('k', "c"), *n)).collect();
    let mut digits: BTreeMap<String, i64> = BTreeMap::new();
    for count in counts.values() {
        *digits.entry((count % 10).to_string()).or_default() += 1;
    }
    let (mut seen_counts, mut seen_digits) = (Values::default(), Values::default());
    let settle = Instant::now();
    loop {
        last_values(&log, &format!("{application}-counts"), &mut seen_counts);
        last_values(&log, &format!("{application}-digits"), &mut seen_digits);
        seen_digits.last.retain(|_, n| *n != 0);
        if seen_counts.last == counts && seen_digits.last == digits {
            break;
        }
        for (place, instance) in &mut instances {
            if instance.has_ended() {
                let text = std::fs::read_to_string(dir.path().join(format!("i{place}.log"))).unwrap();
                panic!("CHAOS_SEED={seed}: instance {place} has ended by itself:\n{text}");
            }
        }
        // Ends a hang; a machine under load may need most of it.
        if settle.elapsed() > Duration::from_secs(300) {
            let mut logs = String::new();
            for place in 0..3 {
                let text =
                    std::fs::read_to_string(dir.path().join(format!("i{place}.log"))).unwrap_or_default();
                let tail: Vec<&str> = text.lines().rev().take(15).collect();
                logs += &format!("-- i{place}\n{}\n", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
            }
            let wrong: Vec<_> = counts
                .iter()
                .filter(|(key, n)| seen_counts.last.get(*key) != Some(n))
                .map(|(key, n)| format!("{key}: {n} written, {:?} counted", seen_counts.last.get(key)))
                .take(10)
                .collect();
            panic!(
                "CHAOS_SEED={seed}: counts {wrong:?}; digits {:?}, should be {digits:?}\n{logs}",
                seen_digits.last
            );
        }
        thread::sleep(Duration::from_millis(200));
    }
    let total: i64 = written.values().sum();
    println!(
        "{total} records, {} results, equal {:.1} s after the last record; {partitions} partitions, {standbys} standby; {done:?}",
        seen_counts.records,
        settle.elapsed().as_secs_f64()
    );
    std::io::stdout().flush().unwrap();
}
