//! The whole topology through the test driver: no log, no threads, record by record.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use vigie_contracts::Contracts;
use vigie_domain::{
    Alert, Anomaly, CountryStats, CustomerView, EventStat, GenderStats, Score, SessionPattern, User, Verdict,
    iso8601, topics,
};
use vigie_streams::serde::{Blob, I64, Json, Nullable, Utf8};
use vigie_streams::{DriverConfig, Headers, TopologyTestDriver};

use crate::config::{ChurnConfig, Config};
use crate::features::FeatureSet;
use crate::model::{ModelService, train};
use crate::topology::topology;

/// Some moment, at the start of a five-second window.
const T: i64 = 1_750_000_000_000;

fn model() -> Arc<ModelService> {
    let records = Contracts::built_in().unwrap().get(topics::COSTUMERCHURN);
    let set = FeatureSet::new(&Config::default().features, &records);
    Arc::new(ModelService::new(train(&ChurnConfig::default()).unwrap(), Arc::new(set)))
}

fn driver() -> TopologyTestDriver {
    let topology =
        topology(&Config::default(), &Contracts::built_in().unwrap(), &model(), &Arc::default()).unwrap();
    TopologyTestDriver::new(&topology, DriverConfig::default()).unwrap()
}

fn send_raw(driver: &TopologyTestDriver, topic: &str, raw: &[u8], at: i64) {
    let input = driver.input(topic, Nullable::new(Blob), Blob);
    input.pipe(&None, &raw.to_vec(), at).unwrap();
}

fn send(driver: &TopologyTestDriver, topic: &str, value: &Value, at: i64) {
    send_raw(driver, topic, value.to_string().as_bytes(), at);
}

fn read<T: serde::Serialize + serde::de::DeserializeOwned + Clone + Send + 'static>(
    driver: &TopologyTestDriver,
    topic: &str,
) -> Vec<T> {
    let records = driver.output::<Option<String>, T>(topic, Nullable::new(Utf8), Json::new()).read().unwrap();
    records.into_iter().filter_map(|record| record.value).collect()
}

fn customer() -> Value {
    json!({
        "Names": "Cameron Williams", "Age": 42.0, "Total_Purchase": 11066.8, "Account_Manager": 0, "Years": 7.22,
        "Num_Sites": 8.0, "Onboard_date": "2013-08-30 07:00:40",
        "Location": "10265 Elizabeth Mission Barkerburgh, AK 89518", "Company": "Harvey LLC"
    })
}

fn event(kind: &str, user: &str, session: &str, at: i64, more: &Value) -> Value {
    let mut event =
        json!({"timestamp": iso8601(at), "user_id": user, "event_type": kind, "session_id": session});
    let fields = event.as_object_mut().unwrap();
    fields.extend(more.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())));
    event
}

#[test]
fn a_customers_record_becomes_a_score_with_reasons() {
    let driver = driver();
    send(&driver, topics::COSTUMERCHURN, &customer(), T);
    let scores: Vec<Score> = read(&driver, topics::CHURN_SCORES);
    let views: Vec<CustomerView> = read(&driver, topics::CUSTOMERS);
    assert_eq!((scores.len(), views.len()), (1, 1));
    let score = &scores[0];
    assert_eq!(views[0].score, *score);
    assert_eq!(score.customer_id, vigie_domain::CustomerId::derived("Cameron Williams", "Harvey LLC"));
    assert_eq!(score.event_time, T);
    assert_eq!((score.origin.topic.as_str(), score.origin.offset), (topics::COSTUMERCHURN, 0));
    assert_eq!(score.verdict == Verdict::WillChurn, score.probability >= 0.5);
    let sum: f64 = score.reasons.iter().map(|reason| reason.contribution).sum();
    assert!((score.baseline_log_odds + sum - score.log_odds).abs() < 1e-9);
    assert!((1.0 / (1.0 + (-score.log_odds).exp()) - score.probability).abs() < 1e-12);
}

#[test]
fn the_forms_answer_carries_its_correlation_id() {
    let driver = driver();
    let headers = Headers::new().with(topics::CORRELATION_ID, "abc").with(topics::PUBLISHED_AT, "17");
    let input = driver.input(topics::TEST3, Nullable::new(Blob), Blob);
    input.pipe_with(&None, Some(&customer().to_string().into_bytes()), T, headers).unwrap();
    let scores: Vec<Score> = read(&driver, topics::CHURN_SCORES);
    assert_eq!(scores[0].correlation_id.as_deref(), Some("abc"));
    assert_eq!(scores[0].published_at, Some(17));
}

#[test]
fn a_bad_record_is_an_anomaly_and_the_good_ones_go_on() {
    let driver = driver();
    let mut negative = customer();
    negative["Age"] = json!(-3);
    let mut missing = customer();
    missing.as_object_mut().unwrap().remove("Years");
    let mut text = customer();
    text["Num_Sites"] = json!("many");
    let deep = "[".repeat(100_000);
    let huge = format!("{{\"Names\":\"{}\"}}", "x".repeat(10 << 20));
    let [negative, missing, text] = [negative, missing, text].map(|value| value.to_string());
    let bad: [(&[u8], &str); 8] = [
        (negative.as_bytes(), "Age"),
        (missing.as_bytes(), "Years"),
        (text.as_bytes(), "Num_Sites"),
        (b"{\"Names\": \"cut", ""),
        (b"", ""),
        (b"\xff\xfe{}", ""),
        (deep.as_bytes(), ""),
        (huge.as_bytes(), ""),
    ];
    for (i, (raw, field)) in bad.iter().enumerate() {
        send_raw(&driver, topics::COSTUMERCHURN, raw, T + i as i64);
        let anomalies: Vec<Anomaly> = read(&driver, topics::ANOMALIES);
        assert_eq!(anomalies.len(), 1, "{i}");
        let anomaly = &anomalies[0];
        assert_eq!(anomaly.field.as_deref().unwrap_or_default(), *field, "{anomaly:?}");
        assert_eq!((anomaly.origin.topic.as_str(), anomaly.origin.offset), (topics::COSTUMERCHURN, i as i64));
        assert!(anomaly.rule.starts_with("costumerchurn/") && !anomaly.reason.is_empty(), "{anomaly:?}");
        assert_eq!(anomaly.raw_bytes, raw.len());
        assert!(anomaly.raw.len() <= 100_000);
    }
    send(&driver, topics::COSTUMERCHURN, &customer(), T);
    assert_eq!(read::<Score>(&driver, topics::CHURN_SCORES).len(), 1);
}

#[test]
fn an_event_time_a_day_ahead_is_an_anomaly() {
    let driver = driver();
    let view = json!({"name": "P1", "user": "U1", "date": T + 2 * 86_400_000, "duration": 500});
    send(&driver, topics::R2, &view, T);
    let anomalies: Vec<Anomaly> = read(&driver, topics::ANOMALIES);
    assert_eq!(anomalies[0].rule, "R2/event-time");
}

#[test]
fn r2_becomes_r3_and_r4() {
    let driver = driver();
    let views =
        [("P1", 101, 0), ("P2", 5000, 1000), ("P1", 100, 1500), ("P1", 8000, 4999), ("P1", 300, 5000)];
    for (name, duration, after) in views {
        let view = json!({"name": name, "user": "U1", "date": T + after, "duration": duration});
        send(&driver, topics::R2, &view, T + after);
    }
    let mapped: Vec<Value> = read(&driver, topics::R3);
    assert_eq!(mapped.len(), 5);
    assert_eq!(mapped[0], json!({"name": "L:2", "user": "UUUUUU", "date": T, "duration": 101}));
    let counts = driver.output::<String, i64>(topics::R4, Utf8, I64).read().unwrap();
    let last: BTreeMap<String, i64> = counts.iter().map(|r| (r.key.clone(), r.value.unwrap())).collect();
    let first = "=>2025-06-15T15:06:40Z2025-06-15T15:06:45Z";
    let second = "=>2025-06-15T15:06:45Z2025-06-15T15:06:50Z";
    let expected = [(format!("{first}P1"), 2), (format!("{first}P2"), 1), (format!("{second}P1"), 1)];
    assert_eq!(last, BTreeMap::from(expected));
    assert_eq!(counts[0].headers.get_str(topics::PAGE), Some("P1"));
    assert_eq!(counts[0].headers.get_str(topics::WINDOW_START), Some(T.to_string().as_str()));
}

#[test]
fn statistics_equal_a_count_over_the_events() {
    let driver = driver();
    let price = |p: f64| json!({"product": "x", "price": p});
    for (kind, user, more) in [
        ("achat", "user1", price(10.10)),
        ("achat", "user2", price(0.20)),
        ("connexion", "user1", json!({})),
        ("navigation", "user1", json!({"page": "home"})),
    ] {
        send(&driver, topics::EVENEMENTS, &event(kind, user, "s1", T, &more), T);
    }
    let records =
        driver.output::<String, EventStat>(topics::EVENEMENTS_STATS, Utf8, Json::new()).read().unwrap();
    let last: BTreeMap<String, EventStat> =
        records.into_iter().map(|r| (r.key.clone(), r.value.unwrap())).collect();
    let stat = |count, purchases, sales_cents| EventStat { count, purchases, sales_cents, last_event: T };
    let expected = [
        ("total", stat(4, 2, 1030)),
        ("type:achat", stat(2, 2, 1030)),
        ("type:connexion", stat(1, 0, 0)),
        ("type:navigation", stat(1, 0, 0)),
        ("user:user1", stat(3, 1, 1010)),
        ("user:user2", stat(1, 1, 20)),
    ];
    assert_eq!(last, expected.map(|(key, stat)| (key.to_owned(), stat)).into());
}

#[test]
fn both_alert_rules() {
    let driver = driver();
    let buy = |price: f64, at| event("achat", "user1", "s1", at, &json!({"product": "x", "price": price}));
    send(&driver, topics::EVENEMENTS, &buy(500.0, T), T);
    assert_eq!(read::<Alert>(&driver, topics::ALERTS), []);
    send(&driver, topics::EVENEMENTS, &buy(500.01, T), T);
    let alerts: Vec<Alert> = read(&driver, topics::ALERTS);
    assert_eq!((alerts.len(), alerts[0].rule.as_str()), (1, "large-purchase"));
    assert_eq!(alerts[0].evidence[0].origin.offset, 1);
    // Sliding in event time, across a full minute, out of order, and for one user only.
    for (user, after) in [("user2", 50_000), ("user3", 51_000), ("user2", 70_000), ("user2", 55_000)] {
        send(&driver, topics::EVENEMENTS, &event("connexion", user, "s2", T + after, &json!({})), T + after);
    }
    let alerts: Vec<Alert> = read(&driver, topics::ALERTS);
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!((alerts[0].subject.as_str(), alerts[0].window_start), ("user2", T + 50_000));
    assert_eq!((alerts[0].window_end, alerts[0].value), (T + 70_000, 3.0));
}

#[test]
fn the_three_session_patterns() {
    let driver = driver();
    let none = json!({});
    let mut at = T;
    let mut go = |kind: &str, session: &str, more: &Value| {
        at += 1000;
        send(&driver, topics::EVENEMENTS, &event(kind, "user1", session, at, more), at);
    };
    go("navigation", "a", &json!({"page": "home"}));
    go("panier", "a", &json!({"products": ["x"]}));
    go("panier", "b", &json!({"products": ["x"]}));
    go("achat", "a", &json!({"product": "x", "price": 20}));
    for _ in 0..5 {
        go("recherche", "c", &json!({"query": "q"}));
    }
    go("deconnexion", "b", &none);
    let found = |driver: &TopologyTestDriver| -> Vec<String> {
        let patterns: Vec<SessionPattern> = read(driver, topics::SESSION_PATTERNS);
        patterns.into_iter().map(|pattern| pattern.id).collect()
    };
    assert_eq!(found(&driver), ["a/PARCOURS_COMPLET", "c/CHERCHEUR_INTENSIF"]);
    // Session b ends ten seconds of event time after its logout, when anything at all shows that time has passed.
    let later = at + 11_000;
    send(&driver, topics::EVENEMENTS, &event("connexion", "user9", "z", later, &none), later);
    assert_eq!(found(&driver), ["b/PANIER_ABANDONNE"]);
}

#[test]
fn a_session_that_comes_late_ends_all_the_same() {
    let driver = driver();
    let hour = 3_600_000;
    let login = |user: &str, at| event("connexion", user, user, at, &json!({}));
    send(&driver, topics::EVENEMENTS, &login("user2", T + 3 * hour), T + 3 * hour);
    // Its deadline lies two hours back when it comes.
    send(&driver, topics::EVENEMENTS, &event("panier", "user1", "late", T, &json!({"products": ["x"]})), T);
    assert_eq!(read::<SessionPattern>(&driver, topics::SESSION_PATTERNS), []);
    send(&driver, topics::EVENEMENTS, &login("user3", T + 3 * hour + 1), T + 3 * hour + 1);
    let patterns: Vec<SessionPattern> = read(&driver, topics::SESSION_PATTERNS);
    assert_eq!(patterns.iter().map(|p| p.id.as_str()).collect::<Vec<_>>(), ["late/PANIER_ABANDONNE"]);
}

#[test]
fn a_scenarios_clock_ends_no_other_sessions() {
    let driver = driver();
    let cart = |session: &str, at| event("panier", "user1", session, at, &json!({"products": ["x"]}));
    let input = driver.input(topics::EVENEMENTS, Nullable::new(Blob), Blob);
    send(&driver, topics::EVENEMENTS, &cart("real", T), T);
    let ahead = T + 30 * 86_400_000;
    let clock = Headers::new().with(topics::TIME_DOMAIN, "scenario");
    let value = cart("simulated", ahead).to_string().into_bytes();
    input.pipe_with(&None, Some(&value), ahead, clock).unwrap();
    assert_eq!(read::<SessionPattern>(&driver, topics::SESSION_PATTERNS), []);
    let purchase = event("connexion", "user2", "other", T + 2 * 3_600_000, &json!({}));
    send(&driver, topics::EVENEMENTS, &purchase, T + 2 * 3_600_000);
    let patterns: Vec<SessionPattern> = read(&driver, topics::SESSION_PATTERNS);
    assert_eq!(patterns.len(), 1);
    assert_eq!(patterns[0].session_id, "real");
}

#[test]
fn users_are_counted_once_over_all_time() {
    let driver = driver();
    let recorded: Value =
        serde_json::from_str(include_str!("../../../../data/randomuser_response_111.json")).unwrap();
    let users = recorded["results"].as_array().unwrap();
    for (i, batch) in users.chunks(10).chain(users.chunks(10).take(3)).enumerate() {
        let batch = json!({"results": batch, "info": recorded["info"]});
        send(&driver, topics::RANDOM_USER_DATA, &batch, T + i as i64);
    }
    assert_eq!(read::<Anomaly>(&driver, topics::ANOMALIES), []);
    assert_eq!(read::<User>(&driver, topics::USERS).len(), 111 + 30);
    let records =
        driver.output::<String, CountryStats>(topics::COUNTRY_STATS, Utf8, Json::new()).read().unwrap();
    let last: BTreeMap<String, CountryStats> =
        records.into_iter().map(|r| (r.key.clone(), r.value.unwrap())).collect();
    let mut expected: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for user in users {
        let entry = expected.entry(user["location"]["country"].as_str().unwrap().to_owned()).or_default();
        entry.0 += 1;
        entry.1 += user["dob"]["age"].as_u64().unwrap();
    }
    let got: BTreeMap<String, (u64, u64)> =
        last.into_iter().map(|(country, s)| (country, (s.count_users, s.sum_age))).collect();
    assert_eq!(got, expected);
    let genders =
        driver.output::<String, GenderStats>(topics::GENDER_STATS, Utf8, Json::new()).read().unwrap();
    let last: BTreeMap<String, u64> =
        genders.into_iter().map(|r| (r.key.clone(), r.value.unwrap().count_users)).collect();
    assert_eq!(last.values().sum::<u64>(), 111);
}

#[test]
fn one_bad_user_does_not_cost_the_batch() {
    let driver = driver();
    let mut recorded: Value =
        serde_json::from_str(include_str!("../../../../data/randomuser_response_111.json")).unwrap();
    recorded["results"].as_array_mut().unwrap().truncate(3);
    recorded["results"][1]["dob"]["age"] = json!("old");
    recorded["results"][2].as_object_mut().unwrap().remove("login");
    send(&driver, topics::RANDOM_USER_DATA, &recorded, T);
    assert_eq!(read::<User>(&driver, topics::USERS).len(), 1);
    let anomalies: Vec<Anomaly> = read(&driver, topics::ANOMALIES);
    let mut ids: Vec<&str> = anomalies.iter().map(|anomaly| anomaly.id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["random_user_data-0-0/1", "random_user_data-0-0/2"]);
}

#[test]
fn the_topology_has_all_pipelines() {
    let topology =
        topology(&Config::default(), &Contracts::built_in().unwrap(), &model(), &Arc::default()).unwrap();
    let text = topology.describe();
    for name in [
        "check-costumerchurn",
        "history-of-test3",
        "features",
        "score",
        "explode-users",
        "page-count",
        "repeated-logins",
        "session-patterns",
    ] {
        assert!(text.contains(name), "{name} is missing in\n{text}");
    }
}
