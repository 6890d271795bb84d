//! A server with a log in memory, SQLite stores, and stand-ins for engine, planner, model and sources.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use vigie_contracts::Contracts;
use vigie_domain::{Assignment, Customer, Manager, Origin, Score, Verdict, topics};
use vigie_log::{Clock, Log, Message, Publisher, SimulatedLog, SystemClock, TopicPartition, TopicSpec};
use vigie_server::ports::*;
use vigie_server::{App, Server, Settings};
use vigie_stores::SqliteStore;

pub struct Rig {
    pub server: Server,
    pub log: Arc<dyn Log>,
    pub publisher: Publisher,
    pub store: Arc<SqliteStore>,
    pub clock: Arc<dyn Clock>,
    scorer: Option<(Arc<AtomicBool>, std::thread::JoinHandle<()>)>,
    _folder: tempfile::TempDir,
}

struct Stand;

impl Engine for Stand {
    fn topology(&self) -> TopologyView {
        TopologyView { text: String::from("Topologies:"), ..TopologyView::default() }
    }
    fn tasks(&self) -> Vec<TaskStatus> {
        vec![TaskStatus {
            id: String::from("0_0"),
            records: 3,
            state: String::from("running"),
            ..TaskStatus::default()
        }]
    }
    fn stats(&self) -> EngineStats {
        EngineStats { state: String::from("running"), commits: 7, ..EngineStats::default() }
    }
    fn sinks(&self) -> Vec<SinkStatus> {
        vec![SinkStatus {
            name: String::from("documents"),
            circuit: String::from("closed"),
            ..SinkStatus::default()
        }]
    }
    fn page_counts(&self, _now: i64) -> BTreeMap<String, i64> {
        BTreeMap::from([(String::from("P1"), 4)])
    }
    fn page_window_ms(&self) -> i64 {
        5000
    }
}

impl Planner for Stand {
    fn standing(&self) -> Vec<Assignment> {
        Vec::new()
    }
    fn of(&self, _customer: &str) -> Option<Assignment> {
        None
    }
    fn managers(&self) -> Vec<Manager> {
        Vec::new()
    }
    fn comparison(&self) -> Option<Comparison> {
        None
    }
    fn put_manager(&self, manager: Manager, _by: &str) -> Answer<Manager> {
        Ok(manager)
    }
    fn remove_manager(&self, id: &str, _by: &str) -> Answer<Manager> {
        Err(PortError::NotFound(format!("there is no manager {id}")))
    }
    fn propose(&self, _by: &str) -> Answer<usize> {
        Ok(0)
    }
    fn approve(&self, customer: &str, _by: &str) -> Answer<Assignment> {
        Err(PortError::NotFound(format!("customer {customer} has no proposal")))
    }
    fn undo(&self, customer: &str, _by: &str) -> Answer<Assignment> {
        Err(PortError::Conflict(format!("customer {customer} is held out")))
    }
    fn effect(&self) -> Option<EffectReport> {
        None
    }
    fn saved(&self) -> Option<Saved> {
        None
    }
}

impl Learning for Stand {
    fn features(&self) -> FeatureList {
        FeatureList::default()
    }
    fn replay(&self, _ask: &ReplayAsk) -> Answer<ReplayTable> {
        Ok(ReplayTable { csv: String::from("customer_id,Churn\n"), cut: false })
    }
    fn verify(&self) -> Answer<Verified> {
        Ok(Verified::default())
    }
    fn models(&self) -> Answer<Models> {
        let champion = ModelPlace {
            version: String::from("m1"),
            since: 1,
            by: String::from("vigie"),
            rows: None,
            auc: None,
            features: Vec::new(),
        };
        Ok(Models { champion, shadow: None, comparison: None, previous: Vec::new() })
    }
    fn shadow(&self, file: &str, _by: &str) -> Answer<Models> {
        Err(PortError::Invalid(format!("{} bytes are no model", file.len())))
    }
    fn end_shadow(&self, _by: &str) -> Answer<Models> {
        Err(PortError::Conflict(String::from("no model is in shadow")))
    }
    fn promote(&self, _by: &str, _now: bool) -> Answer<Models> {
        Err(PortError::Conflict(String::from("no model is in shadow")))
    }
    fn rollback(&self, _by: &str) -> Answer<Models> {
        Err(PortError::Conflict(String::from("there is no earlier model")))
    }
    fn report(&self) -> Answer<LearningReport> {
        Ok(LearningReport::default())
    }
}

impl ModelHandle for Stand {
    fn score(&self, features: &BTreeMap<String, f64>) -> Answer<WhatIf> {
        let age = features.get("Age").ok_or_else(|| PortError::Invalid(String::from("`Age` is missing")))?;
        Ok(WhatIf {
            probability: age / 100.0,
            log_odds: 0.0,
            baseline_log_odds: 0.0,
            verdict: Verdict::WillStay,
            reasons: Vec::new(),
            features: features.clone(),
            model_version: self.version(),
            threshold: 0.5,
        })
    }
    fn smallest_change(&self, _features: &BTreeMap<String, f64>) -> Option<SmallestChange> {
        None
    }
    fn card(&self) -> ModelCard {
        ModelCard { version: self.version(), ..ModelCard::default() }
    }
    fn version(&self) -> String {
        String::from("m1")
    }
    fn threshold(&self) -> f64 {
        0.5
    }
    fn value_of(&self, customer: &Customer) -> f64 {
        customer.total_purchase
    }
}

impl Sources for Stand {
    fn list(&self) -> Vec<SourceStatus> {
        Vec::new()
    }
    fn users(&self) -> Option<UsersSource> {
        None
    }
}

pub fn score(customer: &Customer, offset: i64, now: i64, correlation: Option<String>) -> Score {
    Score {
        customer_id: customer.id(),
        probability: customer.age / 100.0,
        log_odds: 0.0,
        baseline_log_odds: 0.0,
        verdict: Verdict::WillStay,
        reasons: Vec::new(),
        features: BTreeMap::new(),
        features_hash: format!("{}", customer.age),
        model_version: String::from("m1"),
        event_time: now,
        scored_at: now,
        origin: Origin { topic: topics::TEST3.to_owned(), partition: 0, offset },
        published_at: Some(now),
        correlation_id: correlation,
    }
}

impl Rig {
    pub fn start() -> Self {
        Self::with(|settings| settings)
    }

    pub fn with(change: impl FnOnce(Settings) -> Settings) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let log: Arc<dyn Log> = Arc::new(SimulatedLog::new(Arc::clone(&clock), 1));
        for topic in [
            topics::COSTUMERCHURN,
            topics::TEST3,
            topics::CUSTOMERS,
            topics::CHURN_SCORES,
            topics::EVENEMENTS,
            topics::R1,
            topics::R2,
            topics::R3,
            topics::R4,
            topics::ALERTS,
            topics::ANOMALIES,
            topics::USERS,
        ] {
            log.admin().create_topic(&TopicSpec::new(topic, 1)).unwrap();
        }
        let publisher = Publisher::start(Arc::clone(&log), Duration::ZERO, Arc::clone(&clock)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(folder.path().join("stores")).unwrap());
        let views = StoreViews::new(store.clone(), store.clone(), Arc::clone(&clock));
        let app = App {
            log: Arc::clone(&log),
            publisher: publisher.clone(),
            views: Arc::new(views),
            engine: Arc::new(Stand),
            planner: Arc::new(Stand),
            model: Arc::new(Stand),
            learning: Arc::new(Stand),
            sources: Arc::new(Stand),
            contracts: Arc::new(Contracts::built_in().unwrap()),
            clock: Arc::clone(&clock),
            settings: change(Settings::default()),
        };
        let server = vigie_server::start(app, SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Self { server, log, publisher, store, clock, scorer: None, _folder: folder }
    }

    /// Scores what comes to `test3`, the newest of each poll first, so that answers come out of order.
    pub fn scoring(mut self) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, log, publisher, clock) =
            (Arc::clone(&stop), Arc::clone(&self.log), self.publisher.clone(), Arc::clone(&self.clock));
        let thread = std::thread::spawn(move || {
            let mut reader = log.reader(&[TopicPartition::new(topics::TEST3, 0)]).unwrap();
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(30));
                let mut scores = Vec::new();
                for batch in reader.poll(Duration::from_millis(50)).unwrap() {
                    for record in batch.batch.iter() {
                        let customer: Customer = serde_json::from_slice(record.value.unwrap()).unwrap();
                        let id = record.headers.get(topics::CORRELATION_ID).unwrap().value.unwrap();
                        let id = String::from_utf8(id.to_vec()).unwrap();
                        scores.push(score(&customer, record.offset, clock.now(), Some(id)));
                    }
                }
                for score in scores.iter().rev() {
                    publisher
                        .publish_wait(Message::new(topics::CHURN_SCORES, serde_json::to_vec(score).unwrap()))
                        .unwrap();
                }
            }
        });
        self.scorer = Some((stop, thread));
        self
    }

    pub fn publish(&self, topic: &str, value: &Value) {
        self.publisher.publish_wait(Message::new(topic, value.to_string())).unwrap();
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.server.addr()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut stream = self.connect();
        let mut text = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            text += &format!("host: {}\r\n", self.server.addr());
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += &format!("content-length: {}\r\n\r\n", body.len());
        stream.write_all(text.as_bytes()).unwrap();
        // The server may refuse before it has read all.
        let _ = stream.write_all(body.as_bytes());
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        Reply::parse(&String::from_utf8_lossy(&bytes))
    }

    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "")
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, &[("content-type", "application/json")], &body.to_string())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.scorer.take() {
            stop.store(true, Ordering::Relaxed);
            thread.join().unwrap();
        }
    }
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Reply {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let status =
            lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|s| s.parse().ok()).unwrap_or(0);
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        Self { status, headers, body: body.to_owned() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

pub fn customer(name: &str, age: f64) -> Value {
    json!({"Names": name, "Age": age, "Total_Purchase": 9000.5, "Account_Manager": 0, "Years": 5.0, "Num_Sites": 8.0,
        "Onboard_date": "2013-08-30 07:00:40", "Location": "1 Main Street", "Company": "Harvey LLC"})
}
