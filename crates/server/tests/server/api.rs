//! The routes and what they answer.

use std::sync::Arc;

use serde_json::{Value, json};
use vigie_log::Message;
use vigie_stores::{Document, Documents};

use crate::rig::{Rig, customer, score};

#[test]
fn every_documented_path_answers_and_is_described() {
    let rig = Rig::start();
    let document = rig.get("/api/v1/openapi.json").json();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 35, "{} paths", paths.len());
    for (path, methods) in paths {
        for method in
            methods.as_object().unwrap().keys().filter(|method| ["get", "post"].contains(&method.as_str()))
        {
            let concrete = path
                .replace("{topic}", "R2")
                .replace("{name}", "P1")
                .replace("{id}", "x")
                .replace("{customer_id}", "x");
            if ["/analytics", "/api/v1/stream", "/api/v1/form"].contains(&path.as_str()) {
                continue;
            }
            let reply = rig.send(&method.to_uppercase(), &concrete, &[], "");
            let answered = reply.status == 200
                || reply.headers.get("content-type").is_some_and(|kind| kind == "application/problem+json");
            assert!(answered && reply.status != 405 && reply.status < 500, "{method} {concrete}: {reply:?}");
            if reply.status != 200 {
                let problem = reply.json();
                for key in ["type", "title", "status", "detail", "hint"] {
                    assert!(!problem[key].is_null(), "{concrete}: {key} in {problem}");
                }
                assert!(
                    !problem["detail"].as_str().unwrap().starts_with("there is no GET"),
                    "{concrete} has no route"
                );
            }
        }
    }
    let wrong = rig.get("/api/v1/form");
    assert_eq!(wrong.status, 405, "{wrong:?}");
    assert_eq!(rig.get("/api/v1/nothing").status, 404);
}

#[test]
fn two_forms_at_once_each_get_their_own_answer() {
    let rig = Arc::new(Rig::start().scoring());
    let ask = |age: f64| {
        let rig = Arc::clone(&rig);
        std::thread::spawn(move || {
            let reply = rig.post("/api/v1/form", &customer(&format!("Customer {age}"), age));
            assert_eq!(reply.status, 200, "{reply:?}");
            let answer = reply.json();
            assert_eq!(answer["score"]["correlation_id"], answer["correlation_id"]);
            assert_eq!(answer["score"]["probability"].as_f64().unwrap(), age / 100.0, "{answer}");
            answer["correlation_id"].as_str().unwrap().to_owned()
        })
    };
    let threads: Vec<_> = (20..28).map(|age| ask(f64::from(age))).collect();
    let ids: std::collections::BTreeSet<String> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    assert_eq!(ids.len(), 8);
}

#[test]
fn a_form_with_bad_fields_says_which() {
    let rig = Rig::with(|mut settings| {
        settings.form_timeout = std::time::Duration::from_millis(200);
        settings
    });
    let mut bad = customer("", 300.0);
    bad.as_object_mut().unwrap().remove("Company");
    let reply = rig.post("/api/v1/form", &bad);
    assert_eq!(reply.status, 422);
    let problem = reply.json();
    let fields: Vec<&str> =
        problem["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect();
    for field in ["Names", "Age", "Company"] {
        assert!(fields.contains(&field), "{problem}");
    }
    let reply = rig.post("/api/v1/form", &customer("Nobody scores", 30.0));
    assert_eq!(reply.status, 504, "{reply:?}");
}

#[test]
fn publishing_a_page_view_returns_it() {
    let rig = Rig::start();
    let event = rig.get("/publish/R2/P1").json();
    assert_eq!(event["name"], "P1");
    assert!(["U1", "U2"].contains(&event["user"].as_str().unwrap()));
    assert!((0..9000).contains(&event["duration"].as_i64().unwrap()));
    let stored = rig.get("/api/v1/topics/R2/messages").json();
    assert_eq!(stored["items"][0]["value"]["duration"], event["duration"]);
    assert_eq!(rig.get("/publish/evenements/P1").status, 404);
}

#[test]
fn pages_of_a_partition_have_each_message_once_though_their_times_are_in_disorder() {
    let rig = Rig::start();
    for at in [50_i64, 10, 40, 20, 30] {
        let message = Message::new("evenements", json!({"n": at}).to_string()).at(at);
        rig.publisher.publish_wait(message).unwrap();
    }
    let (mut seen, mut from) = (Vec::new(), 0);
    loop {
        let page =
            rig.get(&format!("/api/v1/topics/evenements/messages?partition=0&from={from}&limit=2")).json();
        let Some(last) = page["items"].as_array().unwrap().last() else { break };
        from = last["offset"].as_i64().unwrap() + 1;
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["timestamp"].as_i64().unwrap()));
    }
    assert_eq!(seen, [50, 10, 40, 20, 30]);
}

#[test]
fn customers_are_listed_filtered_and_sorted() {
    let rig = Rig::start();
    let docs: Vec<Document> = [("Ann", 20.0), ("Bob", 60.0), ("Cid", 80.0)]
        .iter()
        .map(|(name, age)| {
            let customer: vigie_domain::Customer = serde_json::from_value(customer(name, *age)).unwrap();
            let view = vigie_domain::CustomerView {
                score: score(&customer, 0, 1, None),
                customer: customer.clone(),
                outcome: None,
            };
            let doc = vigie_server::views::CustomerDoc::new(view, 10.0);
            Document::new(doc.customer_id.clone(), serde_json::to_value(doc).unwrap())
        })
        .collect();
    rig.store.upsert_many("customers", &docs).unwrap();
    let names = |query: &str| -> Vec<String> {
        let list = rig.get(&format!("/api/v1/customers?{query}")).json();
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item: &Value| item["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(""), ["Cid", "Bob", "Ann"]);
    assert_eq!(names("order=asc"), ["Ann", "Bob", "Cid"]);
    assert_eq!(names("risk=high"), ["Cid", "Bob"]);
    assert_eq!(names("risk=low"), ["Ann"]);
    assert_eq!(names("limit=1&offset=1"), ["Bob"]);
    assert_eq!(rig.get("/api/v1/customers?sort=shoe-size").status, 400);
    let one = rig.get(&format!("/api/v1/customers/{}", docs[0].id)).json();
    assert_eq!(one["customer"]["Names"], "Ann");
}

#[test]
fn an_alert_is_acknowledged_by_a_new_record() {
    let rig = Rig::start();
    let alert = json!({"id": "large-purchase/user1/5", "rule": "large-purchase", "subject": "user1", "window_start": 1,
        "window_end": 2, "value": 700.0, "threshold": 500.0, "evidence": [], "state": "open", "updated_at": 5});
    rig.store.upsert_many("alerts", &[Document::new("large-purchase/user1/5", alert)]).unwrap();
    let path = "/api/v1/alerts/large-purchase%2Fuser1%2F5";
    let reply = rig.post(&format!("{path}/acknowledge"), &json!({"by": "Ann"}));
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!((&reply.json()["state"], &reply.json()["by"]), (&json!("acknowledged"), &json!("Ann")));
    let first = reply.json()["updated_at"].as_i64().unwrap();
    let second = rig.post(&format!("{path}/resolve"), &json!({})).json()["updated_at"].as_i64().unwrap();
    assert!(second > first, "the second change is newer although no store has the first");
    assert_eq!(rig.log.admin().offsets("alerts").unwrap()[0].latest, 2);
}

#[test]
fn figures_for_prometheus_are_well_formed() {
    let rig = Rig::start();
    rig.get("/livez");
    let text = rig.get("/metrics").body;
    for line in [
        "vigie_http_requests_total{route=\"/livez\",status=\"200\"} 1",
        "kafka_streams_stream_task_metrics_process_total{task_id=\"0_0\"} 3",
        "vigie_sink_lag_records{sink=\"documents\"} 0",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[test]
fn a_recount_finds_what_the_stores_lack() {
    let rig = Rig::start();
    let equal = rig.get("/api/v1/recount").json();
    assert_eq!(equal["equal"], true, "{equal}");
    rig.publish(
        "evenements",
        &json!({"timestamp": "2025-06-15T15:06:40Z", "user_id": "user1", "event_type": "achat",
        "session_id": "s", "product": "p", "price": 12.34}),
    );
    let differs = rig.get("/api/v1/recount").json();
    assert_eq!(differs["equal"], false);
    let sales = differs["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["name"] == "shop sales in cents")
        .unwrap()
        .clone();
    assert_eq!((&sales["from_log"], &sales["from_store"]), (&json!(1234), &json!(0)));
    assert_eq!(sales["in_flight"], false, "nothing is under way: this is wrong, not late");
}

#[test]
fn every_route_is_in_the_document() {
    let document = serde_json::to_value(vigie_server::openapi()).unwrap();
    let routes: Vec<&str> = include_str!("../../src/routes/mod.rs")
        .split(".route(")
        .skip(1)
        .filter_map(|rest| rest.split('"').nth(1))
        .collect();
    assert!(routes.len() >= 35, "{routes:?}");
    for route in &routes {
        assert!(document["paths"].get(route).is_some(), "{route} is not described");
    }
    assert_eq!(routes.len(), document["paths"].as_object().unwrap().len());
}
