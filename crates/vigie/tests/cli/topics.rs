//! Topics, produce, consume; alone and beside a running instance.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vigie_log::SystemClock;
use vigie_log_embedded::{EmbeddedConfig, EmbeddedLog};

use super::Place;

#[test]
fn a_topic_is_created_described_listed_and_deleted() {
    let place = Place::new();
    place.run(&["topics", "list"]).with(4).says(&["there is no log in", "--data"]);
    place.run(&["topics", "create", "clics", "--partitions", "3", "--set", "retention.ms=-1"]).with(0);
    place.run(&["topics", "create", "clics"]).with(1).says(&["`clics` exists already"]);
    place.run(&["topics", "create", "clics", "--if-not-exists"]).with(0);
    let described = place.run(&["topics", "describe", "clics", "--json"]).with(0).json();
    assert_eq!(described["partitions"].as_array().unwrap().len(), 3);
    assert_eq!(described["settings"]["retention.ms"], "-1");
    for key in ["leader", "replicas", "in_sync_replicas", "earliest", "latest"] {
        assert!(!described["partitions"][0][key].is_null(), "{key} of {described}");
    }
    let text = place.run(&["topics", "describe", "clics"]).with(0).out;
    assert!(text.contains("LEADER") && text.contains("IN-SYNC"), "{text}");
    let listed = place.run(&["topics", "list"]).with(0).out;
    assert!(listed.contains("clics"), "{listed}");
    place.run(&["topics", "delete", "clics"]).with(2).says(&["nothing was deleted"]);
    place.run(&["topics", "delete", "clics", "--yes"]).with(0);
    place.run(&["topics", "describe", "clics"]).with(5).says(&["does not exist"]);
    place.run(&["topics", "delete", "clics", "--yes"]).with(5);
}

#[test]
fn bad_names_and_settings_are_refused() {
    let place = Place::new();
    place.run(&["topics", "create", "a b"]).with(2).says(&["cannot be created"]);
    place.run(&["topics", "create", "t", "--partitions", "0"]).with(2);
    place.run(&["topics", "create", "t", "--set", "retention"]).with(2).says(&["KEY=VALUE"]);
}

#[test]
fn what_is_produced_is_consumed_with_key_header_and_partition() {
    let place = Place::new();
    place.run(&["topics", "create", "t", "--partitions", "4"]).with(0);
    let lines = "a;{\"n\":1}\nb;two\na;{\"n\":3}\n\n";
    let args = ["produce", "t", "--key-separator", ";", "--header", "from=test"];
    assert_eq!(place.run_with(&args, lines.as_bytes()).with(0).out, "3 message(s) written to `t`\n");
    let all = place.run(&["consume", "t", "--from-beginning", "--json"]).with(0).out;
    let all: Vec<serde_json::Value> = all.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_a: Vec<_> = all.iter().filter(|record| record["key"] == "a").collect();
    assert_eq!(of_a.len(), 2);
    assert_eq!(of_a[0]["partition"], of_a[1]["partition"], "a key has one partition");
    assert_eq!((of_a[0]["value"]["n"].as_i64(), of_a[1]["value"]["n"].as_i64()), (Some(1), Some(3)));
    assert!(all.iter().all(|record| record["headers"]["from"] == "test"));
    let partition = of_a[0]["partition"].to_string();
    let one = place
        .run(&["consume", "t", "--from-beginning", "--partition", &partition, "--max-messages", "1"])
        .with(0);
    assert_eq!(one.out.lines().count(), 1);
    place.run(&["consume", "t", "--from-beginning", "--partition", "9"]).with(5).says(&["no partition 9"]);
}

#[test]
fn lines_without_the_separator_are_left_out_and_said() {
    let place = Place::new();
    place.run(&["topics", "create", "t"]).with(0);
    let ended = place.run_with(&["produce", "t", "--key-separator", ":"], b"a:1\nnothing\nb:2\n").with(3);
    assert!(ended.err.contains("line 2") && ended.out.contains("2 message(s)"), "{ended:#?}");
}

#[test]
fn a_message_that_is_too_large_fails_alone() {
    let place = Place::new();
    place.run(&["topics", "create", "t", "--set", "max.message.bytes=1000"]).with(0);
    let input = format!("small\n{}\nsmall too\n", "x".repeat(5_000));
    place.run_with(&["produce", "t"], input.as_bytes()).with(3).says(&["line 2", "too large"]);
    assert_eq!(place.run(&["consume", "t", "--from-beginning"]).with(0).out.lines().count(), 2);
}

#[test]
fn unknown_topics_and_empty_topics_are_told_apart() {
    let place = Place::new();
    place.run(&["topics", "create", "t"]).with(0);
    place.run(&["consume", "t", "--from-beginning"]).with(5);
    place.run(&["consume", "u", "--from-beginning"]).with(5).says(&["`u` does not exist"]);
    place.run_with(&["produce", "u"], b"x\n").with(5).says(&["`u` does not exist", "vigie topics create u"]);
    place.run(&["consume", "t"]).with(2).says(&["--from-beginning"]);
}

#[test]
fn a_group_goes_on_where_it_stopped() {
    let place = Place::new();
    place.run(&["topics", "create", "t"]).with(0);
    place.run_with(&["produce", "t"], b"1\n2\n3\n4\n5\n").with(0);
    let first = place.run(&["consume", "t", "--group", "g", "--max-messages", "2"]).with(0);
    let second = place.run(&["consume", "t", "--group", "g"]).with(0);
    assert_eq!((first.out.as_str(), second.out.as_str()), ("1\n2\n", "3\n4\n5\n"));
    place.run(&["consume", "t", "--group", "g"]).with(5);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    place.run(&["topics", "create", "t"]).with(0);
    place.run_with(&["produce", "t"], "x\n".repeat(20_000).as_bytes()).with(0);
    let mut child = place
        .command(&["consume", "t", "--from-beginning"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::with_capacity(16, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), first.as_str(), err.as_str()), (Some(0), "x\n", ""));
}

#[test]
fn ctrl_c_keeps_what_was_produced() {
    let place = Place::new();
    place.run(&["topics", "create", "t"]).with(0);
    let mut child =
        place.command(&["produce", "t"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"1\n2\n3\n").unwrap();
    std::thread::sleep(Duration::from_millis(800));
    let asked = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(asked.success());
    let begin = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "3 message(s) written to `t`\n");
    drop(stdin);
    assert_eq!(place.run(&["consume", "t", "--from-beginning"]).with(0).out, "1\n2\n3\n");
}

/// Holds the place's log, as a running instance does.
fn hold(place: &Place) -> Arc<EmbeddedLog> {
    EmbeddedLog::open(place.path("data/log"), EmbeddedConfig::new(Arc::new(SystemClock::new()))).unwrap()
}

#[test]
fn a_log_in_use_is_said_with_what_to_do() {
    let place = Place::new();
    let held = hold(&place);
    for args in [
        &["topics", "list"][..],
        &["topics", "create", "t"],
        &["consume", "t", "--from-beginning"],
        &["import", "in.csv"],
    ] {
        place.file(
            "in.csv",
            "Names,Age,Total_Purchase,Account_Manager,Years,Num_Sites,Onboard_date,Location,Company\n",
        );
        place.run(args).with(4).says(&["in use by another process", "--data"]);
    }
    drop(held);
    place.run(&["topics", "create", "t"]).with(0);
}

#[test]
fn a_read_only_data_folder_is_said() {
    let place = Place::new();
    // A file where the folder should be: nobody, not even root, can write into it.
    place.file("data", "x");
    place.run(&["topics", "create", "t"]).with(4).says(&["data", "--data"]);
}

/// An instance that answers like the API, as long as the test runs: one topic `t` of two partitions.
fn instance() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let mut request = String::new();
            reader.read_line(&mut request).unwrap();
            let mut line = String::new();
            while reader.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let message = |partition: u64, offset: i64| {
                serde_json::json!({"partition": partition, "offset": offset, "timestamp": 1, "key": null,
                    "value": {"n": offset, "Names": "[personal]"}, "headers": {}, "truncated": false})
            };
            let (status, body) = if path == "/livez" {
                ("200 OK", String::from("ok"))
            } else if path.starts_with("/api/v1/topics/t/messages") {
                let of = |key: &str| {
                    path.split(['?', '&']).find_map(|part| part.strip_prefix(key)).unwrap().to_owned()
                };
                let partition: u64 = of("partition=").parse().unwrap();
                let from: i64 = of("from=").parse().unwrap_or(0);
                let items: Vec<_> = (from..3).map(|offset| message(partition, offset)).collect();
                ("200 OK", serde_json::json!({"total": items.len(), "items": items}).to_string())
            } else if path.starts_with("/api/v1/topics") {
                let topic = serde_json::json!({"name": "t", "partitions": 2, "records": 6, "bytes": 100, "internal": false});
                ("200 OK", serde_json::json!({"total": 1, "items": [topic]}).to_string())
            } else {
                ("404 Not Found", String::from("{}"))
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = reader.get_mut().write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn beside_a_running_instance_its_api_is_asked() {
    let place = Place::new();
    let _held = hold(&place);
    let address = instance();
    std::fs::write(place.path("data/vigie.addr"), &address).unwrap();
    let listed = place.run(&["topics", "list", "--json"]).with(0).json();
    assert_eq!((listed[0]["name"].as_str(), listed[0]["records"].as_u64()), (Some("t"), Some(6)));
    assert!(place.run(&["topics", "describe", "t"]).with(0).out.contains("2 partition(s), 6 record(s)"));
    place.run(&["topics", "describe", "u"]).with(5);
    let all = place.run(&["consume", "t", "--from-beginning", "--json"]).with(0).out;
    assert_eq!(all.lines().count(), 6, "{all}");
    let two = place
        .run(&["consume", "t", "--from-beginning", "--partition", "1", "--max-messages", "2"])
        .with(0)
        .out;
    assert_eq!(two.lines().count(), 2);
    place.run(&["consume", "t", "--group", "g"]).with(4).says(&["--group"]);
    place.run_with(&["produce", "t"], b"x\n").with(4).says(&["in use", &address]);
    // An address that nobody answers at is an instance that died: the lock says the truth.
    std::fs::write(place.path("data/vigie.addr"), "127.0.0.1:1").unwrap();
    place.run(&["topics", "list"]).with(4).says(&["in use by another process"]);
}
