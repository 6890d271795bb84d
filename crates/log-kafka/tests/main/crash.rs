//! Killed with SIGKILL in the middle of a transaction: nothing of it is ever seen, and the next process of the same id does not wait for the
//! timeout. The child is this test binary once more.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use vigie_log::{BatchBuilder, Log, MemberConfig, TopicSpec};
use vigie_log_kafka::{KafkaConfig, KafkaLog};

use crate::kafka::{one_node, unique};
use crate::trouble::{at, poll_until, producer, put, values};

const CHILD: &str = "VIGIE_TEST_CRASH_CHILD";

/// Opens a transaction with records and an offset, says so, and waits for its end.
#[test]
fn child() {
    let Ok(text) = std::env::var(CHILD) else { return };
    let words: Vec<&str> = text.split(' ').collect();
    let [bootstrap, topic, id] = words[..] else { panic!("{text}") };
    let log = KafkaLog::open(KafkaConfig::from_url(&format!("kafka://{bootstrap}")).unwrap()).unwrap();
    let mut member = log.member(MemberConfig::new(format!("{topic}-group"), [topic])).unwrap();
    poll_until(&mut *member, |all| !all.assigned.is_empty());
    let mut writer = producer(&log, id);
    writer.begin().unwrap();
    let mut builder = BatchBuilder::new();
    for _ in 0..1_000 {
        builder.push(1, None, Some(b"never"), &[]);
    }
    writer.append(&at(topic, 0), &mut builder).unwrap();
    writer.add_offsets(&member.membership(), &[(at(topic, 0), 1)]).unwrap();
    // Records leave within milliseconds, committed or not.
    std::thread::sleep(Duration::from_secs(1));
    println!("the transaction is open");
    std::thread::sleep(Duration::from_secs(600));
}

#[test]
fn killed_in_a_transaction_nothing_of_it_is_seen_and_the_next_one_starts_at_once() {
    let Some(cluster) = one_node() else { return };
    let (log, topic, id) = (cluster.log(), unique("killed"), unique("killed-writer"));
    log.admin().create_topic(&TopicSpec::new(&topic, 1)).unwrap();
    put(&mut *producer(&log, &id), &at(&topic, 0), &["before"]);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--nocapture"])
        .env(CHILD, format!("{} {topic} {id}", cluster.fact("bootstrap")))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let open = lines.any(|line| line.unwrap().contains("the transaction is open"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(open, "the child ended early; what it said is above");
    let end = log.admin().offsets(&topic).unwrap()[0].latest;
    assert_eq!(end, 2, "the open transaction ends what is committed");
    let start = Instant::now();
    let mut next = producer(&log, &id);
    put(&mut *next, &at(&topic, 0), &["after"]);
    assert!(start.elapsed() < Duration::from_secs(20), "it waited for the timeout: {:?}", start.elapsed());
    assert_eq!(values(&log, &at(&topic, 0)), ["before", "after"]);
    assert!(
        log.admin().offsets(&topic).unwrap()[0].latest > 1_000,
        "the records had arrived, and are hidden"
    );
    assert!(log.admin().describe_group(&format!("{topic}-group")).unwrap().committed.is_empty());
}
