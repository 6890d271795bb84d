//! Two instances of a program on three brokers, of which one after the other is killed (SIGKILL) and brought back while records flow: nothing is
//! lost, nothing counted twice. It prints for how long results stayed away.
//!
//! Three brokers that come and go want a machine for themselves: only `dev/chaos.sh brokers` runs it, which sets `BROKERS_SECONDS`. In the ordinary
//! tests `trouble` kills one of three.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use vigie_log::{Log, TopicPartition, TopicSpec};
use vigie_log_kafka::KafkaLog;

use crate::chaos::{Instance, Values, last_values, write_records};
use crate::kafka::{three_nodes, unique};

const PARTITIONS: u32 = 4;
const EVERY: Duration = Duration::from_secs(20);
/// Ends a hang; a machine under load may need most of it.
const PATIENCE: Duration = Duration::from_secs(300);

/// When results came last, and the longest time without any.
#[derive(Default)]
struct Pauses(Mutex<(Option<Instant>, Duration)>);

impl Pauses {
    fn watch(self: &Arc<Self>, log: &KafkaLog, topic: &str, stop: &Arc<AtomicBool>) {
        let partitions: Vec<_> = (0..PARTITIONS).map(|number| TopicPartition::new(topic, number)).collect();
        let mut reader = log.reader(&partitions).unwrap();
        let (pauses, stop) = (Arc::clone(self), Arc::clone(stop));
        std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                let came = reader.poll(Duration::from_millis(100)).is_ok_and(|fetched| !fetched.is_empty());
                if came {
                    let mut noted = pauses.0.lock().unwrap();
                    let now = Instant::now();
                    let pause = noted.0.replace(now).map_or(Duration::ZERO, |last| now - last);
                    noted.1 = noted.1.max(pause);
                }
            }
        });
    }

    fn any(&self) -> bool {
        self.0.lock().unwrap().0.is_some()
    }

    /// The longest pause since this was last asked, the one that still lasts included.
    fn take(&self) -> Duration {
        let mut noted = self.0.lock().unwrap();
        let lasting = noted.0.map_or(Duration::ZERO, |last| last.elapsed());
        std::mem::take(&mut noted.1).max(lasting)
    }
}

#[test]
fn one_broker_of_three_after_the_other_is_killed_and_nothing_is_lost_or_doubled() {
    let Ok(seconds) = std::env::var("BROKERS_SECONDS") else { return };
    let kills = (seconds.parse::<u64>().unwrap() / EVERY.as_secs()).max(1);
    let _alone = crate::contract::THREE.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(cluster) = three_nodes() else { return };
    let (application, log) = (unique("brokers"), cluster.log());
    for topic in ["in", "counts", "digits"] {
        log.admin().create_topic(&TopicSpec::new(format!("{application}-{topic}"), PARTITIONS)).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let mut instances = ["one", "two"]
        .map(|place| Instance::start(cluster.fact("bootstrap"), &application, place, dir.path(), 0, "auto"));
    // What the instances say, when something is wrong.
    let mut check = |what: &str, since: Instant| {
        let said = instances.each_mut().map(|instance| instance.check(dir.path()));
        let text: String = said.iter().map(|(text, _)| text.as_str()).collect();
        assert!(said.iter().all(|(_, ended)| !ended), "{what}: an instance has ended by itself\n{text}");
        assert!(since.elapsed() < PATIENCE, "{what}: waited in vain\n{text}");
        std::thread::sleep(Duration::from_millis(100));
    };
    let stop = Arc::new(AtomicBool::new(false));
    let input = format!("{application}-in");
    let writer = write_records(log.clone(), input, PARTITIONS, 1_000, 7, Arc::clone(&stop));
    let (counts, pauses) = (format!("{application}-counts"), Arc::new(Pauses::default()));
    pauses.watch(&log, &counts, &stop);
    let start = Instant::now();
    while !pauses.any() {
        check("the first results", start);
    }
    let mut longest = Vec::new();
    for kill in 0..kills {
        let node = (kill % 3 + 1).to_string();
        let began = Instant::now();
        pauses.take();
        cluster.run(&["kill", &node]);
        while began.elapsed() < EVERY / 2 {
            check("with a broker less", began);
        }
        cluster.run(&["resume", &node]);
        while began.elapsed() < EVERY {
            check("with all brokers again", began);
        }
        let pause = pauses.take();
        println!("broker {node} killed: at most {:.1} s without results", pause.as_secs_f64());
        longest.push(pause);
    }
    stop.store(true, Ordering::SeqCst);
    let written = writer.join().unwrap();
    let expected: BTreeMap<String, i64> =
        written.iter().map(|(key, n)| (key.replace('k', "c"), *n)).collect();
    let (ended, mut seen) = (Instant::now(), Values::default());
    while seen.last != expected {
        last_values(&log, &counts, &mut seen);
        check("the last results", ended);
    }
    println!(
        "{kills} kills, {} records: all counted once {:.1} s after the last; at most {:.1} s without results",
        written.values().sum::<i64>(),
        ended.elapsed().as_secs_f64(),
        longest.iter().max().map_or(0.0, Duration::as_secs_f64)
    );
}
