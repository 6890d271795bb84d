//! Instances of the program on a real Kafka are killed, frozen, closed and added at random while records flow; brokers too, if asked for.
//! In the end what is in the output topics (read committed), the state stores and the stores of every instance equals a count over the
//! input.
//!
//! The ordinary form is short. `dev/chaos.sh vigie` runs it for longer, with the release build:
//! ```text
//! CHAOS_SEED        decides partitions, copies and all actions; printed, the clock's unless given
//! CHAOS_SECONDS     how long (20)        CHAOS_RATE   records a second (400)
//! CHAOS_BROKERS     1, or 3 of which one is killed every 20 s and brought back 8 s later (1)
//! CHAOS_INSTANCES   yes: instances are killed, frozen, closed and added; no: only brokers (yes)
//! VIGIE_BIN         the program (the development build)
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vigie_domain::{EventStat, MappedPageEvent, iso8601, topics};
use vigie_log::{
    BatchBuilder, Clock, Log, LogError, ProducerConfig, Span, SystemClock, TopicPartition, partition_for_key,
    read_spans,
};
use vigie_log_kafka::KafkaLog;

use super::{Cluster, Nodes};
use crate::faults::http;

const USERS: u64 = 50;
const PAGES: u64 = 20;
const TYPES: [&str; 2] = ["connexion", "achat"];
/// What counts must be equal within, after the last record.
const SETTLE: Duration = Duration::from_secs(240);
const BROKER_EVERY: Duration = Duration::from_secs(20);
const BROKER_AWAY: Duration = Duration::from_secs(8);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// SplitMix64, so that a seed says it all.
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

/// Everything that the instances have in common.
struct World {
    url: String,
    dir: tempfile::TempDir,
    partitions: u64,
    copies: u64,
    standbys: u64,
}

/// One process of the program, with a folder that it finds again.
struct Instance {
    process: Child,
    output: PathBuf,
    frozen: bool,
}

impl World {
    fn begin(&self, place: usize) -> Instance {
        let program = std::env::var("VIGIE_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_vigie").to_owned());
        let data = self.dir.path().join(format!("i{place}"));
        let output = self.dir.path().join(format!("i{place}.log"));
        let log = File::options().create(true).append(true).open(&output).unwrap();
        let mut command = Command::new(program);
        command
            .args(["run", "--port", "0", "--role", "process,sink,serve", "--log", &self.url])
            .env_clear()
            .env("HOME", self.dir.path())
            .env("VIGIE_DATA", data)
            .env("VIGIE_LOG__PARTITIONS", self.partitions.to_string())
            .env("VIGIE_LOG__REPLICATION_FACTOR", self.copies.to_string())
            .env("VIGIE_ENGINE__STANDBY_REPLICAS", self.standbys.to_string())
            // Nothing is late: an instance may be frozen for longer than the ordinary grace.
            .env("VIGIE_PAGES__GRACE_MS", "3600000")
            .env("VIGIE_ARCHIVE__ENABLED", "false")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        Instance { process: command.spawn().unwrap(), output, frozen: false }
    }
}

impl Instance {
    fn signal(&mut self, name: &str) {
        // It has not been waited for, so the id is still its own.
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
        self.frozen = name == "STOP";
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Asks it to stop; how it ended.
    fn close(mut self) {
        self.signal("TERM");
        let start = Instant::now();
        while self.process.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < Duration::from_secs(90), "it does not stop:\n{}", self.said());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn said(&self) -> String {
        tail(&self.output)
    }

    /// Where it answers: the last address that it printed.
    fn address(&self) -> Option<String> {
        let text = std::fs::read_to_string(&self.output).ok()?;
        let found = text.lines().rev().find_map(|line| line.split("ready at http://").nth(1))?;
        Some(found.split_whitespace().next()?.to_owned())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(25).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

/// What was written, counted while it was.
#[derive(Default)]
struct Written {
    /// `total`, `type:...` and `user:...`: events and cents.
    stats: BTreeMap<String, (u64, i64)>,
    /// Numbers of the page views; each is its view's duration.
    views: i64,
    by_page: BTreeMap<String, i64>,
    broken: u64,
}

/// Writes records until told to stop, half of them shop events, half page views, one of a thousand not JSON.
fn write_records(log: KafkaLog, rate: u64, seed: u64, stop: Arc<AtomicBool>) -> thread::JoinHandle<Written> {
    thread::spawn(move || {
        let clock = SystemClock::new();
        let mut dice = Dice(seed ^ 0x5eed);
        let mut producer = log.producer(ProducerConfig::default()).unwrap();
        let partitions = log.admin().partition_count(topics::EVENEMENTS).unwrap();
        let mut written = Written::default();
        let (start, mut total) = (Instant::now(), 0_u64);
        while !stop.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(50));
            // After a stall not all at once: what is behind is made up for within some rounds.
            let due = u64::try_from(start.elapsed().as_millis()).unwrap() * rate / 1000;
            let due = due.min(total + rate / 4);
            if due == total {
                continue;
            }
            let now = clock.now();
            let mut batches: BTreeMap<TopicPartition, BatchBuilder> = BTreeMap::new();
            let mut push = |topic: &str, key: &str, value: &[u8]| {
                let at = TopicPartition::new(topic, partition_for_key(key.as_bytes(), partitions));
                batches.entry(at).or_default().push(now, Some(key.as_bytes()), Some(value), &[]);
            };
            while total < due {
                total += 1;
                let dealt = dice.roll(1000);
                if dealt == 0 {
                    push(topics::EVENEMENTS, &format!("broken {total}"), b"{not json");
                    written.broken += 1;
                } else if dealt < 500 {
                    let user = format!("u{}", dice.roll(USERS));
                    let kind = TYPES[usize::from(dealt < 50)];
                    let cents = i64::try_from(dice.roll(40_000)).unwrap();
                    let mut event = json!({"timestamp": iso8601(now), "user_id": user, "event_type": kind, "session_id": "s"});
                    let mut bought = 0;
                    if kind == "achat" {
                        event["product"] = json!("p");
                        event["price"] = json!(cents as f64 / 100.0);
                        bought = cents;
                    }
                    for key in [String::from("total"), format!("type:{kind}"), format!("user:{user}")] {
                        let stat = written.stats.entry(key).or_default();
                        *stat = (stat.0 + 1, stat.1 + bought);
                    }
                    push(topics::EVENEMENTS, &user, event.to_string().as_bytes());
                } else {
                    let page = format!("P{}", dice.roll(PAGES));
                    // Longer than the least that is counted, and told apart by it.
                    let duration = 1_000 + written.views;
                    let view = json!({"name": page, "user": "U", "date": now, "duration": duration});
                    written.views += 1;
                    push(topics::R2, &page, view.to_string().as_bytes());
                    *written.by_page.entry(page).or_default() += 1;
                }
            }
            commit(&mut *producer, &mut batches);
        }
        written
    })
}

/// One transaction, asked for again until it is known to be there: brokers die too.
fn commit(producer: &mut dyn vigie_log::Producer, batches: &mut BTreeMap<TopicPartition, BatchBuilder>) {
    producer.begin().unwrap();
    for (at, batch) in batches {
        producer.append(at, batch).unwrap();
    }
    let start = Instant::now();
    loop {
        match producer.commit() {
            Ok(_) => return,
            Err(error @ LogError::Unreachable { .. }) => {
                assert!(start.elapsed() < Duration::from_secs(120), "writing the input: {error}");
                thread::sleep(Duration::from_millis(50));
            }
            Err(error) => panic!("writing the input: {error}"),
        }
    }
}

/// What is in the output topics, read on from where the last look ended.
#[derive(Default)]
struct Seen {
    next: BTreeMap<TopicPartition, i64>,
    stats: BTreeMap<String, (u64, i64)>,
    views: BTreeSet<i64>,
    doubled: Vec<i64>,
    windows: BTreeMap<Vec<u8>, (String, i64)>,
    anomalies: u64,
    records: u64,
}

impl Seen {
    fn look(&mut self, log: &KafkaLog) -> Result<(), LogError> {
        for topic in [topics::EVENEMENTS_STATS, topics::R3, topics::R4, topics::ANOMALIES] {
            let mut spans = Span::all(&*log.admin(), topic)?;
            for span in &mut spans {
                span.from = span.from.max(self.next.get(&span.partition).copied().unwrap_or_default());
            }
            read_spans::<()>(log, &spans, |at, record| {
                self.next.insert(at.clone(), record.offset + 1);
                self.records += 1;
                let (key, value) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
                match topic {
                    topics::EVENEMENTS_STATS => {
                        let stat: EventStat = serde_json::from_slice(value).unwrap();
                        let key = String::from_utf8(key.to_vec()).unwrap();
                        self.stats.insert(key, (stat.count, stat.sales_cents));
                    }
                    topics::R3 => {
                        let view: MappedPageEvent = serde_json::from_slice(value).unwrap();
                        let number = view.duration - 1_000;
                        if !self.views.insert(number) {
                            self.doubled.push(number);
                        }
                    }
                    topics::R4 => {
                        let page = record.headers.get(topics::PAGE).unwrap().value.unwrap();
                        let page = String::from_utf8(page.to_vec()).unwrap();
                        let count = i64::from_be_bytes(value.try_into().unwrap());
                        self.windows.insert(key.to_vec(), (page, count));
                    }
                    _ => self.anomalies += 1,
                }
                ControlFlow::Continue(())
            })?;
        }
        Ok(())
    }

    fn by_page(&self) -> BTreeMap<String, i64> {
        let mut pages = BTreeMap::new();
        for (page, count) in self.windows.values() {
            *pages.entry(page.clone()).or_default() += count;
        }
        pages
    }

    /// What differs from what was written; empty: nothing.
    fn differs(&self, written: &Written) -> Vec<String> {
        let mut found = Vec::new();
        for (key, expect) in &written.stats {
            if self.stats.get(key) != Some(expect) {
                found.push(format!(
                    "evenements-stats {key}: {expect:?} written, {:?} counted",
                    self.stats.get(key)
                ));
            }
        }
        let lost = (0..written.views).filter(|number| !self.views.contains(number)).count();
        if lost > 0 || !self.doubled.is_empty() {
            found.push(format!("R3: {lost} lost, {} doubled of {}", self.doubled.len(), written.views));
        }
        let pages = self.by_page();
        if pages != written.by_page {
            found.push(format!("R4: {:?} written, {pages:?} counted", written.by_page));
        }
        if self.anomalies != written.broken {
            found.push(format!("anomalies: {} written, {} found", written.broken, self.anomalies));
        }
        found
    }
}

/// Kills a broker every 20 s and brings it back; and watches how long nothing comes out after each kill.
fn brokers(nodes: Nodes, log: KafkaLog, stop: Arc<AtomicBool>) -> thread::JoinHandle<Vec<(usize, f64)>> {
    thread::spawn(move || {
        let mut away: Vec<(usize, f64)> = Vec::new();
        // A reader, as whoever waits for results has one: to ask for ends would itself wait for the broker that is away.
        let count = log.admin().partition_count(topics::R3).unwrap();
        let partitions: Vec<_> =
            (0..count).map(|partition| TopicPartition::new(topics::R3, partition)).collect();
        let mut results = log.reader(&partitions).unwrap();
        let mut node = 0;
        let mut next = Instant::now() + BROKER_EVERY / 2;
        let mut back: Option<(Instant, usize)> = None;
        // Since which kill nothing has come.
        let mut waiting: Option<Instant> = None;
        while !stop.load(Ordering::SeqCst) || back.is_some() {
            let came = results.poll(Duration::from_millis(100)).is_ok_and(|batches| !batches.is_empty());
            if let Some((at, node)) = back
                && Instant::now() >= at
            {
                nodes.run(&["resume", &node.to_string()]);
                back = None;
            }
            if came
                && let Some(since) = waiting
                // What was on its way when the broker died does not count.
                && since.elapsed() > Duration::from_millis(500)
            {
                away.push((node, since.elapsed().as_secs_f64()));
                println!("broker {node} killed: results again after {:.1} s", since.elapsed().as_secs_f64());
                waiting = None;
            }
            if Instant::now() >= next && back.is_none() && !stop.load(Ordering::SeqCst) {
                node = node % 3 + 1;
                nodes.run(&["kill", &node.to_string()]);
                waiting = Some(Instant::now());
                next = Instant::now() + BROKER_EVERY;
                back = Some((Instant::now() + BROKER_AWAY, node));
            }
        }
        away
    })
}

/// What every instance must say in the end: its stores equal the log.
fn stores_agree(instance: &Instance) -> Result<(), String> {
    let address = instance.address().ok_or("it has not said where it answers")?;
    let answer =
        http::request(&address, "GET", "/api/v1/recount", None).map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(format!("{answer:?}"));
    }
    let recount: Value = answer.json();
    let checks = recount["checks"].as_array().unwrap();
    let wrong: Vec<&Value> = checks.iter().filter(|check| check["equal"] != true).collect();
    if wrong.is_empty() && checks.len() > 5 { Ok(()) } else { Err(format!("{wrong:?}")) }
}

/// Draws and does one action; what it was.
fn act(
    world: &World,
    dice: &mut Dice,
    instances: &mut BTreeMap<usize, Instance>,
) -> Option<(usize, &'static str)> {
    let free = |instances: &BTreeMap<usize, Instance>| (0..3).find(|place| !instances.contains_key(place));
    let awake: Vec<usize> =
        instances.iter().filter(|(_, instance)| !instance.frozen).map(|(place, _)| *place).collect();
    let place = *awake.get(usize::try_from(dice.roll(awake.len().max(1) as u64)).unwrap())?;
    let action = dice.roll(10);
    Some(match (action, free(instances)) {
        (0..=4, _) => {
            instances.remove(&place).unwrap().kill();
            instances.insert(place, world.begin(place));
            (place, "killed and started again")
        }
        (5 | 6, _) if instances.values().all(|instance| !instance.frozen) => {
            instances.get_mut(&place).unwrap().signal("STOP");
            (place, "frozen")
        }
        (7, _) if awake.len() > 1 => {
            instances.remove(&place).unwrap().close();
            (place, "closed")
        }
        (_, Some(free)) => {
            instances.insert(free, world.begin(free));
            (free, "added")
        }
        _ => {
            instances.remove(&place).unwrap().kill();
            (place, "killed")
        }
    })
}

#[test]
fn every_record_counts_once_in_topics_and_stores_whatever_happens_to_the_instances() {
    let nodes = number("CHAOS_BROKERS", 1);
    let Some(cluster) = Cluster::start(if nodes == 3 { &["--nodes", "3"] } else { &[] }) else { return };
    let seed = number("CHAOS_SEED", SystemClock::new().now().unsigned_abs());
    let (seconds, rate) = (number("CHAOS_SECONDS", 20), number("CHAOS_RATE", 400));
    let acts = std::env::var("CHAOS_INSTANCES").as_deref() != Ok("no");
    println!("CHAOS_SEED={seed} CHAOS_SECONDS={seconds} CHAOS_RATE={rate} CHAOS_BROKERS={nodes}");
    let mut dice = Dice(seed);
    let world = World {
        url: cluster.url(),
        dir: tempfile::tempdir().unwrap(),
        partitions: 4 + dice.roll(5),
        copies: nodes,
        standbys: dice.roll(2),
    };
    let log = cluster.log();
    let mut instances: BTreeMap<usize, Instance> = (0..2).map(|place| (place, world.begin(place))).collect();
    let start = Instant::now();
    while instances.values().any(|instance| instance.address().is_none()) {
        for instance in instances.values_mut() {
            let ended = instance.process.try_wait().unwrap();
            assert!(ended.is_none(), "it ended with {ended:?}:\n{}", instance.said());
        }
        assert!(start.elapsed() < Duration::from_secs(120), "not ready:\n{}", instances[&0].said());
        thread::sleep(Duration::from_millis(50));
    }
    println!("ready after {:.1} s", start.elapsed().as_secs_f64());
    let stop = Arc::new(AtomicBool::new(false));
    let writer = write_records(log.clone(), rate, seed, Arc::clone(&stop));
    let killer = (nodes == 3).then(|| brokers(cluster.nodes(), log.clone(), Arc::clone(&stop)));

    let start = Instant::now();
    let mut thaw: Option<Instant> = None;
    let mut done: BTreeMap<&str, u32> = BTreeMap::new();
    while start.elapsed() < Duration::from_secs(seconds) {
        let until = Instant::now() + Duration::from_millis(1500 + dice.roll(3000));
        while Instant::now() < until {
            if thaw.is_some_and(|at| Instant::now() >= at) {
                thaw = None;
                instances.values_mut().filter(|i| i.frozen).for_each(|i| i.signal("CONT"));
            }
            for (place, instance) in &mut instances {
                let ended = instance.process.try_wait().unwrap();
                assert!(
                    ended.is_none(),
                    "CHAOS_SEED={seed}: {place} ended by itself, {ended:?}:\n{}",
                    instance.said()
                );
            }
            thread::sleep(Duration::from_millis(20));
        }
        let Some((place, action)) = acts.then(|| act(&world, &mut dice, &mut instances)).flatten() else {
            continue;
        };
        if action == "frozen" {
            // Longer than the session of six seconds: others take over, and it wakes up as a stranger.
            thaw = Some(Instant::now() + Duration::from_secs(8));
        }
        *done.entry(action).or_default() += 1;
        println!("{:5.1} s: {place} {action}; {} instances", start.elapsed().as_secs_f64(), instances.len());
    }
    stop.store(true, Ordering::SeqCst);
    let written = writer.join().unwrap();
    instances.values_mut().filter(|instance| instance.frozen).for_each(|instance| instance.signal("CONT"));
    let away = killer.map(|killer| killer.join().unwrap()).unwrap_or_default();
    let settled = settle(&log, &written, &mut instances, seed);
    let events = written.stats.get("total").map_or(0, |stat| stat.0);
    println!(
        "{} records in, {} out, 0 lost, 0 doubled; topics and the stores of {} instances equal {settled:.1} s after the last record; {} partitions, {} standby, {} actions {done:?}",
        events + written.broken + written.views.unsigned_abs(),
        events,
        instances.len(),
        world.partitions,
        world.standbys,
        done.values().sum::<u32>(),
    );
    if !away.is_empty() {
        let longest = away.iter().map(|(_, seconds)| *seconds).fold(0.0, f64::max);
        println!(
            "{} brokers killed; results again after {longest:.1} s at the latest: {away:.1?}",
            away.len()
        );
    }
    state_goes_on(&log, &written, seed);
    for (_, instance) in instances {
        instance.close();
    }
}

/// Waits until topics and stores say what was written; seconds.
fn settle(log: &KafkaLog, written: &Written, instances: &mut BTreeMap<usize, Instance>, seed: u64) -> f64 {
    let start = Instant::now();
    let mut seen = Seen::default();
    loop {
        let mut wrong = match seen.look(log) {
            Ok(()) => seen.differs(written),
            // Brokers may still be coming back.
            Err(error) => vec![error.to_string()],
        };
        if wrong.is_empty() {
            for (place, instance) in &*instances {
                if let Err(error) = stores_agree(instance) {
                    wrong.push(format!("stores of {place}: {error}"));
                }
            }
        }
        if wrong.is_empty() {
            return start.elapsed().as_secs_f64();
        }
        if start.elapsed() > SETTLE {
            let logs: Vec<String> =
                instances.iter().map(|(place, i)| format!("-- {place}\n{}", i.said())).collect();
            panic!(
                "CHAOS_SEED={seed}: {} differ: {:#?}\n{}",
                wrong.len(),
                wrong.iter().take(10).collect::<Vec<_>>(),
                logs.join("\n")
            );
        }
        thread::sleep(Duration::from_millis(300));
    }
}

/// One more event of each user: what is told next comes from the state stores, which must hold what the topics said.
fn state_goes_on(log: &KafkaLog, written: &Written, seed: u64) {
    let users: Vec<&String> = written.stats.keys().filter(|key| key.starts_with("user:")).collect();
    let partitions = log.admin().partition_count(topics::EVENEMENTS).unwrap();
    let mut batches: BTreeMap<TopicPartition, BatchBuilder> = BTreeMap::new();
    let now = SystemClock::new().now();
    for key in &users {
        let user = key.trim_start_matches("user:");
        let event =
            json!({"timestamp": iso8601(now), "user_id": user, "event_type": "connexion", "session_id": "s"});
        let at = TopicPartition::new(topics::EVENEMENTS, partition_for_key(user.as_bytes(), partitions));
        batches.entry(at).or_default().push(
            now,
            Some(user.as_bytes()),
            Some(event.to_string().as_bytes()),
            &[],
        );
    }
    commit(&mut *log.producer(ProducerConfig::default()).unwrap(), &mut batches);
    let (start, mut seen) = (Instant::now(), Seen::default());
    loop {
        seen.look(log).unwrap();
        let wrong: Vec<_> = users
            .iter()
            .filter(|key| {
                let before = written.stats[**key];
                seen.stats.get(**key) != Some(&(before.0 + 1, before.1))
            })
            .collect();
        if wrong.is_empty() {
            return;
        }
        assert!(start.elapsed() < SETTLE, "CHAOS_SEED={seed}: the state of {wrong:?} does not go on");
        thread::sleep(Duration::from_millis(200));
    }
}
