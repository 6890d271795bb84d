//! Bad records on the log, whoever wrote them: each becomes an anomaly with rule, reason, origin and what it was; the good ones
//! beside it are processed; the program lives.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use vigie::config::Config;
use vigie_log::{Clock, Log as _, ManualClock, Message, Publisher, SystemClock};
use vigie_log_embedded::{EmbeddedConfig, EmbeddedLog};

use super::{Place, Program, customer, data_folder};

/// Writes records into the log of a data folder that no program has open, as a foreign producer would. Returns where each stands.
fn write(place: &Place, clock: &Arc<dyn Clock>, messages: Vec<Message>) -> Vec<(String, u32, i64)> {
    let folder = data_folder(place).join("log");
    let log = EmbeddedLog::open(folder, EmbeddedConfig::new(Arc::clone(clock))).unwrap();
    vigie::runtime::ensure(&*log.admin(), &Config::default()).unwrap();
    let shared = Arc::clone(&log) as Arc<dyn vigie_log::Log>;
    let publisher = Publisher::start(shared, std::time::Duration::ZERO, Arc::clone(clock)).unwrap();
    let origins = messages.into_iter().map(|message| {
        let (at, offset) = publisher.publish_wait(message).unwrap();
        (at.topic.to_string(), at.partition, offset)
    });
    let origins = origins.collect();
    publisher.close();
    log.close().unwrap();
    origins
}

/// What stands for personal data, and for a text whose parts cannot be told apart.
const HIDDEN: &str = "[personal]";

fn now() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

/// A bad record between two good ones: the anomaly that comes of it.
#[track_caller]
fn between_good_ones(topic: &str, raw: Vec<u8>, rule: &str, says: &[&str]) -> Value {
    let place = Place::new();
    let good = |name| Message::new(topic, customer(name, 40).to_string()).with_key("k");
    let bad = Message::new(topic, raw).with_key("k");
    let origins = write(&place, &now(), vec![good("Before"), bad, good("After")]);
    let mut program = Program::start(&place, &["run"]);
    program.until("the good ones are scored", "customers", |found| found["total"] == 2);
    let found = program.until("the bad one is an anomaly", "anomalies", |found| found["total"] == 1);
    let anomaly = found["items"][0].clone();
    assert_eq!(anomaly["rule"], format!("{topic}/{rule}"), "{anomaly}");
    for part in says {
        assert!(anomaly["reason"].as_str().unwrap().contains(part), "no {part:?}: {anomaly}");
    }
    let (topic, partition, offset) = &origins[1];
    assert_eq!(anomaly["origin"], json!({"topic": topic, "partition": partition, "offset": offset}));
    assert_eq!(anomaly["key"], "k");
    assert_eq!(program.counts_are_right()["equal"], true);
    program.is_alive();
    program.stop_well();
    anomaly
}

#[test]
fn json_truncated_is_an_anomaly() {
    let whole = customer("Cut", 40).to_string();
    let raw = whole[..whole.len() - 9].to_owned();
    let anomaly = between_good_ones("costumerchurn", raw.clone().into_bytes(), "json", &["line 1"]);
    assert_eq!(anomaly["raw"], HIDDEN, "nobody can tell what in it is personal");
    between_good_ones("test3", raw.into_bytes(), "json", &["line 1"]);
}

#[test]
fn json_of_wrong_types_is_an_anomaly() {
    let mut wrong = customer("Wrong", 40);
    wrong["Years"] = json!([1, 2]);
    let anomaly =
        between_good_ones("costumerchurn", wrong.to_string().into(), "Years/type", &["Years", "number"]);
    assert_eq!(anomaly["field"], "Years");
    between_good_ones("costumerchurn", b"[1,2]".to_vec(), "type", &["object"]);
    let anomaly = between_good_ones("costumerchurn", vec![b'{', 0xff, 0xfe, b'}'], "utf-8", &["byte 1"]);
    assert_eq!((anomaly["raw_encoding"].as_str(), anomaly["raw"].as_str()), (Some("utf-8"), Some(HIDDEN)));
}

#[test]
fn json_with_unknown_fields_is_what_the_contract_says() {
    let mut more = customer("More", 40);
    more["Favourite_colour"] = json!("blue");
    // The form's topic takes none.
    let anomaly = between_good_ones(
        "test3",
        more.to_string().into(),
        "Favourite_colour/unknown",
        &["Favourite_colour"],
    );
    let shown = anomaly["raw"].as_str().unwrap();
    assert!(
        shown.contains("Favourite_colour") && shown.contains("Num_Sites") && shown.contains(HIDDEN),
        "{shown}"
    );
    assert!(!shown.contains("More") && !shown.contains("1 Road"), "names and addresses are masked: {shown}");
    // Other producers may send more: it is scored.
    let place = Place::new();
    write(&place, &now(), vec![Message::new("costumerchurn", more.to_string()).with_key("k")]);
    let program = Program::start(&place, &["run"]);
    program.until("it is scored", "customers", |found| found["total"] == 1);
    assert_eq!(program.api("overview")["anomalies"], 0);
}

#[test]
fn json_of_ten_megabytes_is_an_anomaly() {
    let raw = customer(&"x".repeat(10 << 20), 40).to_string();
    let bytes = raw.len();
    let anomaly = between_good_ones("costumerchurn", raw.into_bytes(), "size", &["bytes"]);
    assert_eq!(anomaly["raw_bytes"], bytes);
    assert_eq!(anomaly["raw"], HIDDEN);
}

#[test]
fn json_nested_deeply_is_an_anomaly() {
    let raw = format!("{{\"x\":{}", "{\"x\":".repeat(100_000));
    between_good_ones("costumerchurn", raw.into_bytes(), "depth", &["deep"]);
}

/// Bad records on every topic with a contract, at once, mixed with good ones.
#[test]
fn json_bad_records_of_every_topic_cost_nothing_but_themselves() {
    let place = Place::new();
    let at = SystemClock::new().now();
    let view = |date: i64| json!({"name": "P1", "user": "U1", "date": date, "duration": 500});
    let event = |user: &str| {
        let time = "2025-06-01T10:00:00Z";
        json!({"timestamp": time, "user_id": user, "event_type": "navigation", "page": "/", "session_id": "s1"})
    };
    let user = |id: &str, age: Value| {
        json!({"login": {"uuid": id}, "name": {"title": "Ms", "first": "A", "last": "B"}, "gender": "female",
            "dob": {"date": "1990-01-01T00:00:00Z", "age": age}, "location": {"country": "France", "city": "Paris"},
            "email": "a@example.org", "phone": "1", "nat": "FR", "registered": {"date": "2020-01-01T00:00:00Z", "age": 5},
            "picture": {"large": "p"}})
    };
    let batch = json!({"results": [
        user("00000000-0000-4000-8000-000000000001", json!(30)),
        user("00000000-0000-4000-8000-000000000002", json!("old")),
    ]});
    let mut messages = Vec::new();
    for (topic, good, bad) in [
        ("costumerchurn", customer("Ann", 40), json!({"Names": "Ann"})),
        ("test3", customer("Bob", 40), json!(7)),
        ("R1", view(at), view(-1)),
        ("R2", view(at), json!({"name": "P1", "user": "U1", "date": "today", "duration": 500})),
        ("evenements", event("user1"), json!({"event_type": "purchase"})),
        ("random_user_data", batch, json!({"error": "none left"})),
    ] {
        for value in [bad.to_string(), good.to_string(), String::from("{\"cut"), good.to_string()] {
            messages.push(Message::new(topic, value).with_key("k"));
        }
    }
    write(&place, &now(), messages);
    let mut program = Program::start(&place, &["run"]);
    // Two bad records each, and the bad user in both batches.
    program.until("all bad ones are anomalies", "anomalies", |found| found["total"] == 14);
    let mut by_topic = BTreeMap::new();
    for anomaly in program.items("anomalies") {
        assert!(
            !anomaly["reason"].as_str().unwrap().is_empty() && !anomaly["raw"].as_str().unwrap().is_empty()
        );
        *by_topic.entry(anomaly["origin"]["topic"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    let expected = ["R1", "R2", "costumerchurn", "evenements", "random_user_data", "test3"];
    assert_eq!(by_topic.keys().map(String::as_str).collect::<Vec<_>>(), expected);
    assert_eq!(by_topic["random_user_data"], 4);
    program.until("customers", "customers", |found| found["total"] == 2);
    program.until("shop events", "shop", |found| found["total"] == 2);
    program.until("users", "users", |found| found["total"] == 1);
    program.until("page views", "pages/mapped", |found| {
        found["items"].as_array().is_some_and(|all| all.len() == 2)
    });
    assert_eq!(program.counts_are_right()["equal"], true);
    program.is_alive();
}

/// Yesterday's clock was a day ahead and has been set back since: what was written then stays, and what comes now counts.
#[test]
fn clock_set_back_loses_nothing_and_new_records_count() {
    let place = Place::new();
    let ahead: Arc<dyn Clock> = Arc::new(ManualClock::at(SystemClock::new().now() + 86_000_000));
    let event = |i: i64| {
        // Times go backwards on top of that.
        let time = vigie_domain::iso8601(ahead.now() - i * 60_000);
        let event = json!({"timestamp": time, "user_id": "user1", "event_type": "navigation", "page": "/", "session_id": "s1"});
        Message::new("evenements", event.to_string()).with_key("user1")
    };
    let mut messages: Vec<Message> = (0..50).map(event).collect();
    messages.push(Message::new("costumerchurn", customer("Ann", 40).to_string()).with_key("a"));
    write(&place, &ahead, messages);
    let mut program = Program::start(&place, &["run"]);
    program.until("all events are counted", "shop", |found| found["total"] == 50);
    // The same customer, now: the newest record counts, not the one with the largest time.
    let answer = program.post("form", &customer("Ann", 60).to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    let newest = answer.json()["score"]["probability"].clone();
    let path = "customers?search=ann";
    program.until("the newest score stands", path, |found| found["items"][0]["probability"] == newest);
    let recount = program.counts_are_right();
    assert_eq!(recount["equal"], true);
    program.is_ready();
    program.is_alive();
    program.stop_well();
    let again = Program::start(&place, &["run"]);
    assert_eq!(again.items(path)[0]["probability"], newest);
    assert_eq!(again.counts_are_right()["equal"], true);
}
