//! A program of `vigie-streams` on Kafka, exactly once: two processes share it, one after the other is killed with SIGKILL while records
//! flow, and the final counts equal a count over the input. By each of the group protocols.
//!
//! The child is this test binary once more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use vigie_log::{BatchBuilder, Log, TopicSpec};
use vigie_log_kafka::{KafkaConfig, KafkaLog, MembershipMode};
use vigie_streams::serde::{FnSerde, I64};
use vigie_streams::{
    Config, Consumed, Produced, State, Store, Streams, StreamsBuilder, TimeWindows, Topology, Windowed,
};

use crate::kafka::{one_node, unique};
use crate::trouble::{at, producer};

const RECORDS: usize = 12_000;
const PARTITIONS: u32 = 4;
/// Ends a hang; a machine under load may need most of it.
const PATIENCE: Duration = Duration::from_secs(300);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const CHILD: &str = "VIGIE_TEST_STREAMS_CHILD";

#[derive(Clone, Serialize, Deserialize)]
struct PageEvent {
    name: String,
    duration: i64,
}

/// S3's page count: views of more than 100 ms, per page and window of five seconds, repartitioned by page.
fn page_count(input: &str, output: &str) -> Topology {
    let mut builder = StreamsBuilder::new();
    builder
        .stream(input, Consumed::json::<Option<String>, PageEvent>())
        .filter(|_, event| event.duration > 100)
        .group_by(|_, event| event.name.clone())
        // Partitions are read at different speeds: nothing is to be late.
        .windowed_by(TimeWindows::tumbling(Duration::from_secs(5)).grace(DAY))
        .count(Store::named("page-count").retention(2 * DAY))
        .to_stream()
        .to(
            output,
            Produced::with(
                FnSerde::text(|w: &Windowed<String>| format!("{}@{}", w.key, w.window.start)),
                I64,
            ),
        );
    builder.build().unwrap()
}

/// Runs the program until it is killed. Does nothing unless it is told where.
#[test]
fn child() {
    let Ok(text) = std::env::var(CHILD) else { return };
    let words: Vec<&str> = text.split(' ').collect();
    let [bootstrap, application, mode, state] = words[..] else { panic!("{text}") };
    let mut config = KafkaConfig::from_url(&format!("kafka://{bootstrap}")).unwrap();
    config.membership = mode.parse().unwrap();
    config.start_timeout = Duration::from_secs(120);
    let log: Arc<dyn Log> = Arc::new(KafkaLog::open(config).unwrap());
    let topology = page_count(&format!("{application}-in"), &format!("{application}-out"));
    let client = Path::new(state).file_name().unwrap().to_string_lossy().into_owned();
    let config = Config::new(application, log)
        .client_id(client)
        .state_dir(state)
        .threads(2)
        .commit_interval(Duration::from_millis(50));
    let app = Streams::new(topology, config).start().unwrap();
    while app.state() != State::Error {
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the program ended: {:?}", app.error());
}

struct Process {
    child: Child,
    said: PathBuf,
}

impl Process {
    fn start(bootstrap: &str, application: &str, mode: &str, state: &Path) -> Self {
        let told = format!("{bootstrap} {application} {mode} {}", state.display());
        let said = state.with_extension("log");
        let output = std::fs::File::create(&said).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "streams::child", "--nocapture"])
            .env(CHILD, told)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Self { child, said }
    }

    /// The end of what it said.
    fn said(&self) -> String {
        let text = std::fs::read_to_string(&self.said).unwrap_or_default();
        let tail: Vec<&str> = text.lines().rev().take(25).collect();
        format!("-- {}\n{}\n", self.said.display(), tail.into_iter().rev().collect::<Vec<_>>().join("\n"))
    }

    /// Fails if it has ended by itself.
    fn check(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "a process ended by itself, {ended:?}:\n{}", self.said());
    }

    fn kill(mut self) {
        self.check();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn event(i: usize) -> (i64, PageEvent) {
    let timestamp = 1_700_000_000_000 + i as i64 * 7;
    (timestamp, PageEvent { name: format!("P{}", i * i % 23), duration: (i as i64 * 37) % 400 })
}

fn expected() -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for (timestamp, event) in (0..RECORDS).map(event).filter(|(_, event)| event.duration > 100) {
        *counts.entry(format!("{}@{}", event.name, timestamp - timestamp % 5_000)).or_insert(0) += 1;
    }
    counts
}

/// The last value of each key, committed records only. A key that ever goes down or repeats a count has seen something twice or lost it.
fn counted(log: &KafkaLog, topic: &str) -> BTreeMap<String, i64> {
    let partitions: Vec<_> = (0..PARTITIONS).map(|partition| at(topic, partition)).collect();
    let ends = log.admin().offsets(topic).unwrap();
    let mut reader = log.reader(&partitions).unwrap();
    let mut counts = BTreeMap::new();
    let start = Instant::now();
    while partitions.iter().zip(&ends).any(|(at, end)| reader.position(at).unwrap() < end.latest) {
        assert!(start.elapsed() < PATIENCE);
        for fetched in reader.poll(Duration::from_millis(100)).unwrap() {
            for record in fetched.batch.iter() {
                let key = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
                let count = i64::from_be_bytes(record.value.unwrap().try_into().unwrap());
                let before = counts.insert(key.clone(), count).unwrap_or(0);
                assert!(before < count, "{key} was {before}, then {count}");
            }
        }
    }
    counts
}

fn survives_kills(mode: MembershipMode, word: &str) {
    let Some(cluster) = one_node() else { return };
    let log = KafkaLog::open(KafkaConfig { membership: mode, ..cluster.config() }).unwrap();
    let application = unique(&format!("pages-{word}"));
    let (input, output) = (format!("{application}-in"), format!("{application}-out"));
    for topic in [&input, &output] {
        log.admin().create_topic(&TopicSpec::new(topic, PARTITIONS)).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let bootstrap = cluster.fact("bootstrap").to_owned();
    let state = |name: &str| folder.path().join(name);
    let start = |name: &str| Process::start(&bootstrap, &application, word, &state(name));
    let (mut first, mut second) = (Some(start("one")), Some(start("two")));
    let mut writer = producer(&log, &unique("pages-writer"));
    let mut builder = BatchBuilder::new();
    let chunk = RECORDS / 60;
    for (number, records) in (0..RECORDS).collect::<Vec<_>>().chunks(chunk).enumerate() {
        writer.begin().unwrap();
        for partition in 0..PARTITIONS {
            for i in records.iter().filter(|i| **i as u32 % PARTITIONS == partition) {
                let (timestamp, event) = event(*i);
                let text = format!("{{\"name\":\"{}\",\"duration\":{}}}", event.name, event.duration);
                builder.push(timestamp, None, Some(text.as_bytes()), &[]);
            }
            writer.append(&at(&input, partition), &mut builder).unwrap();
        }
        writer.commit().unwrap();
        std::thread::sleep(Duration::from_millis(100));
        match number {
            // In the middle of transactions: they commit twenty times a second.
            20 => {
                first.take().unwrap().kill();
                first = Some(start("one"));
            }
            40 => {
                second.take().unwrap().kill();
                second = Some(start("three"));
            }
            _ => {}
        }
    }
    let (expected, began) = (expected(), Instant::now());
    loop {
        let counted = counted(&log, &output);
        if counted == expected {
            break;
        }
        let (have, want) = (counted.values().sum::<i64>(), expected.values().sum::<i64>());
        assert!(have <= want, "{have} of {want}: something was counted twice");
        let mut said = String::new();
        for process in [&mut first, &mut second].into_iter().flatten() {
            process.check();
            said += &process.said();
        }
        assert!(began.elapsed() < PATIENCE, "{have} of {want} were counted\n{said}");
        std::thread::sleep(Duration::from_millis(300));
    }
    // The internal topics are as Kafka Streams would have made them.
    let topics = log.admin().list_topics(true).unwrap();
    let own: Vec<_> = topics.iter().filter(|topic| topic.starts_with(&format!("{application}-"))).collect();
    let changelog = own.iter().find(|topic| topic.ends_with("-changelog")).unwrap();
    let described = log.admin().describe_topic(changelog).unwrap();
    assert!(described.config["cleanup.policy"].contains("compact"), "{:?}", described.config);
    assert_eq!(described.partitions.len() as u32, PARTITIONS);
    let repartition = own.iter().find(|topic| topic.ends_with("-repartition")).unwrap();
    let described = log.admin().describe_topic(repartition).unwrap();
    assert_eq!(described.config["cleanup.policy"], "delete");
    assert_eq!(described.config["retention.ms"], "-1");
    drop((first, second));
}

#[test]
fn a_program_in_streams_groups_survives_kills_exactly_once() {
    survives_kills(MembershipMode::Auto, "auto");
}

#[test]
fn a_program_in_consumer_groups_survives_kills_exactly_once() {
    survives_kills(MembershipMode::Consumer, "consumer");
}

#[test]
fn a_program_in_classic_groups_survives_kills_exactly_once() {
    survives_kills(MembershipMode::Classic, "classic");
}
