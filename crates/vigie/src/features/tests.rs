//! The whole topology on real threads over the simulated log, beside the replay of its history.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vigie_contracts::Contracts;
use vigie_domain::{FeatureRow, Score, ScoredOutcome, Trigger, iso8601, topics};
use vigie_log::{Clock, Log, Message, Publisher, SimulatedLog, SystemClock, TopicPartition};
use vigie_streams::{Config as StreamsConfig, Streams};

use super::FeatureSet;
use super::rebuild::Rebuild;
use super::replay::{Order, Rows, Verified, replay, table, verify};
use crate::config::{ChurnConfig, Config};
use crate::model::{ModelService, train};
use crate::runtime::ensure;
use crate::topology::topology;

const DAY: i64 = 86_400_000;
/// Scores in each half.
const HALF: usize = 24;
const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    publisher: Publisher,
    folder: tempfile::TempDir,
    start: i64,
}

impl World {
    fn new(config: &Config) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let log: Arc<dyn Log> = Arc::new(SimulatedLog::new(Arc::clone(&clock), 7));
        ensure(&*log.admin(), config).unwrap();
        let publisher = Publisher::start(Arc::clone(&log), Duration::ZERO, Arc::clone(&clock)).unwrap();
        let start = clock.now() - 200 * DAY;
        Self { log, clock, publisher, folder: tempfile::tempdir().unwrap(), start }
    }

    fn set(config: &Config) -> Arc<FeatureSet> {
        let records = Contracts::built_in().unwrap().get(topics::COSTUMERCHURN);
        Arc::new(FeatureSet::new(&config.features, &records))
    }

    /// Runs the application, lets something happen, and waits until `scores` scores are in the log.
    fn run(&self, config: &Config, model: vigie_churn::Model, happens: impl FnOnce(&Self), scores: usize) {
        let set = Self::set(config);
        let model = Arc::new(ModelService::new(model, Arc::clone(&set)));
        let file = self.folder.path().join("features.json");
        let rebuild = Rebuild::prepare(&file, &set, "app", &*self.log.admin()).unwrap();
        let topology = topology(config, &Contracts::built_in().unwrap(), &model, &Arc::new(rebuild)).unwrap();
        let streams = StreamsConfig::new("app", Arc::clone(&self.log))
            .clock(Arc::clone(&self.clock))
            .state_dir(self.folder.path().join("state"))
            .commit_interval(Duration::from_millis(10));
        let app = Streams::new(topology, streams).start().unwrap();
        happens(self);
        let began = Instant::now();
        while self.read::<Score>(topics::CHURN_SCORES).len() < scores {
            assert!(
                began.elapsed() < PATIENCE && app.error().is_none(),
                "{:?}, {} scores",
                app.error(),
                self.read::<Score>(topics::CHURN_SCORES).len()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        // What would come too many comes now.
        std::thread::sleep(Duration::from_millis(150));
        assert!(app.close(Duration::from_secs(10)));
        assert_eq!(self.read::<Score>(topics::CHURN_SCORES).len(), scores);
    }

    fn raw(&self, topic: &str) -> Vec<Vec<u8>> {
        let ends = self.log.admin().offsets(topic).unwrap();
        let mut all = Vec::new();
        for (number, ends) in (0_u32..).zip(ends) {
            let partition = TopicPartition::new(topic, number);
            let mut reader = self.log.reader(std::slice::from_ref(&partition)).unwrap();
            reader.seek(&partition, ends.earliest).unwrap();
            while reader.position(&partition).unwrap() < ends.latest {
                for fetched in reader.poll(Duration::ZERO).unwrap() {
                    all.extend(fetched.batch.iter().filter_map(|record| Some(record.value?.to_vec())));
                }
            }
        }
        all
    }

    fn read<T: serde::de::DeserializeOwned>(&self, topic: &str) -> Vec<T> {
        self.raw(topic).iter().map(|raw| serde_json::from_slice(raw).unwrap()).collect()
    }

    /// Publishes, and waits until the history has it: the order of the test is the order of the history.
    fn send(&self, topic: &str, value: &Value, at: i64) {
        let before = self.raw(topics::CUSTOMER_HISTORY).len();
        self.publisher.publish_wait(Message::new(topic, value.to_string().into_bytes()).at(at)).unwrap();
        let began = Instant::now();
        while self.raw(topics::CUSTOMER_HISTORY).len() == before {
            assert!(began.elapsed() < PATIENCE, "{value} did not reach the history");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// A record of customer `n`, `day` days after the start.
    fn record(&self, n: usize, day: f64, sites: f64) {
        let at = self.start + (day * DAY as f64) as i64;
        let record = json!({"customer_id": format!("c{n}"), "Names": format!("Name {n}"), "Age": 30.0 + n as f64,
            "Total_Purchase": 9000.0, "Account_Manager": 0, "Years": 5.5, "Num_Sites": sites,
            "Onboard_date": "2013-08-30 07:00:40", "Location": "1 Secret Street, AK 89518", "Company": "C"});
        self.send(topics::COSTUMERCHURN, &record, at);
    }

    fn event(&self, n: usize, day: f64, price: Option<f64>) {
        let at = self.start + (day * DAY as f64) as i64;
        let mut event = json!({"timestamp": iso8601(at), "user_id": format!("c{n}"), "session_id": "s",
            "event_type": "navigation", "page": "/"});
        if let Some(price) = price {
            event = json!({"timestamp": iso8601(at), "user_id": format!("c{n}"), "session_id": "s",
                "event_type": "achat", "product": "ad", "price": price});
        }
        self.send(topics::EVENEMENTS, &event, at);
    }

    fn outcome(&self, n: usize, day: f64, churned: bool) {
        let at = self.start + (day * DAY as f64) as i64;
        let outcome = json!({"customer_id": format!("c{n}"), "churned": churned, "event_time": at, "known_from": "crm"});
        self.send(topics::OUTCOMES, &outcome, at);
    }

    /// A first half of a history: twelve customers, events before, between and after their records, some out of order.
    fn first_half(&self) {
        for n in 0..12 {
            for day in 0..n {
                self.event(n, day as f64 * 3.7, (day % 2 == 0).then_some(10.1 + day as f64));
            }
            self.record(n, 40.0, 8.0);
            self.event(n, 41.0, Some(99.9));
            self.event(n, 39.0, None);
            self.record(n, 42.0, 9.0);
        }
    }

    fn second_half(&self) {
        for n in 0..12 {
            self.event(n, 60.0, Some(5.0));
            self.record(n, 61.0, 10.0);
            self.outcome(n, 90.0 + n as f64, n % 3 == 0);
            self.event(n, 130.0, None);
            self.record(n, 131.0, 7.0);
        }
    }

    fn both(&self) {
        self.first_half();
        self.second_half();
    }

    /// Every logged row is replayed with the same bytes.
    #[track_caller]
    fn replay_equals(&self, config: &Config, on_events: bool, definitions: &str) -> usize {
        let replayed = replay(&*self.log, &Self::set(config), on_events, Order::AsProcessed).unwrap();
        let id = |row: &FeatureRow| (row.origin.id(), row.trigger == Trigger::Record);
        let by_origin: BTreeMap<_, _> = replayed.rows.iter().map(|(row, bytes)| (id(row), bytes)).collect();
        let logged: Vec<Vec<u8>> = self
            .raw(topics::CUSTOMER_FEATURES)
            .into_iter()
            .filter(|bytes| serde_json::from_slice::<FeatureRow>(bytes).unwrap().definitions == definitions)
            .collect();
        for bytes in &logged {
            let row: FeatureRow = serde_json::from_slice(bytes).unwrap();
            let again = by_origin.get(&id(&row)).unwrap_or_else(|| panic!("{row:?} was not replayed"));
            assert_eq!(String::from_utf8_lossy(again), String::from_utf8_lossy(bytes));
        }
        logged.len()
    }
}

fn five_columns() -> vigie_churn::Model {
    train(&ChurnConfig::default()).unwrap()
}

/// A model that reads an aggregate, learnt from a made-up table.
fn reads_aggregates() -> vigie_churn::Model {
    use std::fmt::Write as _;
    let mut csv = String::from("Years,spend_90d,Churn\n");
    for i in 0..300 {
        writeln!(csv, "{},{},{}", 3 + i % 5, (i * 7) % 50, u8::from((i * 7) % 50 < 15 + i % 5)).unwrap();
    }
    let table = crate::model::read_table(Path::new("t"), csv.as_bytes()).unwrap();
    let plan = vigie_churn::Plan::infer(&table, &vigie_churn::PlanOptions::for_target("Churn")).unwrap();
    vigie_churn::train(&table, &plan, &vigie_churn::FitOptions::default()).unwrap()
}

#[test]
fn replayed_features_equal_the_logged_ones_byte_for_byte() {
    let config = Config::default();
    let world = World::new(&config);
    world.run(&config, five_columns(), World::first_half, HALF);
    world.run(&config, five_columns(), World::second_half, 2 * HALF);
    let definitions = World::set(&config).definitions().to_owned();
    assert_eq!(world.replay_equals(&config, false, &definitions), 2 * HALF);

    let n = 2 * HALF as u64;
    let verified = verify(&*world.log, &World::set(&config)).unwrap();
    assert_eq!(verified, Verified { logged: n, equal: n, ..Verified::default() });

    // Each score says which features it was made of, and nothing personal is among them.
    let rows: Vec<FeatureRow> = world.read(topics::CUSTOMER_FEATURES);
    let text = String::from_utf8(world.raw(topics::CUSTOMER_FEATURES).concat()).unwrap();
    assert!(!text.contains("Secret") && !text.contains("Name 3") && text.contains("spend_90d"));
    for score in world.read::<Score>(topics::CHURN_SCORES) {
        let row = rows.iter().find(|row| row.origin == score.origin).unwrap();
        assert_eq!((&row.features_hash, row.event_time), (&score.features_hash, score.event_time));
        assert_eq!(vigie_domain::features_hash(&row.features), row.features_hash);
    }
    // Customer 3, as of day 42: three events before day 11, one on day 41, one on day 39 that came late.
    let at = |day: i64| {
        rows.iter().find(|r| r.customer_id.as_str() == "c3" && r.event_time == world.start + day * DAY)
    };
    let features = &at(42).unwrap().features;
    let value = |name: &str| features[name].unwrap();
    assert_eq!((value("events_90d"), value("events_30d"), value("events_7d")), (5.0, 2.0, 2.0));
    assert!((value("spend_90d") - (10.1 + 12.1 + 99.9)).abs() < 1e-9, "{features:?}");
    assert_eq!((value("days_since_event"), value("events_trend_30d")), (1.0, -1.0));
}

#[test]
fn where_a_model_reads_aggregates_an_event_is_scored_too() {
    let config = Config::default();
    let world = World::new(&config);
    // 24 records; 24 events after a record of their customer, of which 12 before the second record; and none without a record.
    world.run(&config, reads_aggregates(), World::first_half, 48);
    let definitions = World::set(&config).definitions().to_owned();
    assert_eq!(world.replay_equals(&config, true, &definitions), 48);
    let scores: Vec<Score> = world.read(topics::CHURN_SCORES);
    assert!(scores.iter().any(|score| score.origin.topic == topics::EVENEMENTS));
    assert!(scores.iter().all(|score| score.reasons.iter().any(|reason| reason.feature == "spend_90d")));
}

#[test]
fn outcomes_are_joined_with_the_score_at_their_time() {
    let config = Config::default();
    let world = World::new(&config);
    world.run(&config, five_columns(), World::both, 2 * HALF);
    let judged: Vec<ScoredOutcome> = world.read(topics::SCORED_OUTCOMES);
    assert_eq!(judged.len(), 12);
    let all: Vec<Score> = world.read(topics::CHURN_SCORES);
    for outcome in judged {
        // 30 days before day 90 + n: the record of day 42, or that of day 61.
        let day = (outcome.outcome_time - world.start) / DAY;
        let expected = if day - 30 >= 61 { 61 } else { 42 };
        assert_eq!(outcome.predicted_at, world.start + expected * DAY, "{outcome:?}");
        let score =
            all.iter().find(|s| s.customer_id == outcome.customer_id && s.event_time == outcome.predicted_at);
        let score = score.unwrap();
        assert_eq!(
            (score.probability, &score.features_hash),
            (outcome.prediction.probability, &outcome.features_hash)
        );
    }
}

#[test]
fn a_feature_declared_later_is_computed_over_the_whole_history_and_nothing_is_scored_twice() {
    let config = Config::default();
    let world = World::new(&config);
    world.run(&config, five_columns(), World::first_half, HALF);
    let mut changed = config.clone();
    changed.features.truncate(1);
    changed.features[0].name = String::from("events_60d");
    changed.features[0].window_days = 60;
    // Nothing new: the history is read again, and nothing is scored again.
    world.run(&changed, five_columns(), |_| {}, HALF);
    world.run(&changed, five_columns(), World::second_half, 2 * HALF);
    let definitions = World::set(&changed).definitions().to_owned();
    assert_eq!(world.replay_equals(&changed, false, &definitions), HALF);
    let rows: Vec<FeatureRow> = world.read(topics::CUSTOMER_FEATURES);
    let row = rows
        .iter()
        .find(|r| r.customer_id.as_str() == "c5" && r.event_time == world.start + 61 * DAY)
        .unwrap();
    // Events of the first half are in it: days 3.7 to 14.8, 39, 41, and 60.
    assert_eq!(row.features["events_60d"], Some(7.0));
}

#[test]
fn the_table_for_training_has_the_features_as_of_before_the_outcome() {
    let config = Config::default();
    let world = World::new(&config);
    world.run(&config, five_columns(), World::both, 2 * HALF);
    let set = World::set(&config);
    let replayed = replay(&*world.log, &set, false, Order::AsProcessed).unwrap();
    assert!(!replayed.cut);
    let lines = |rows| -> Vec<String> {
        let csv = String::from_utf8(table(&replayed, &set, rows)).unwrap();
        csv.lines().map(str::to_owned).collect()
    };
    let labelled = lines(Rows::Labelled { lead_days: 30 });
    assert_eq!(labelled.len(), 1 + 12);
    assert!(
        labelled[0].starts_with("customer_id,event_time,origin,Age,")
            && labelled[0].ends_with("spend_90d,Churn")
    );
    let c0: Vec<&str> = labelled.iter().find(|line| line.starts_with("c0,")).unwrap().split(',').collect();
    assert_eq!((c0[1], *c0.last().unwrap()), (iso8601(world.start + 42 * DAY).as_str(), "1"));
    let all = lines(Rows::All);
    assert_eq!(all.len(), 1 + 2 * HALF);
    assert_eq!(
        all.iter().filter(|line| line.ends_with(',')).count(),
        12,
        "the last records have no outcome yet"
    );
}

#[test]
fn a_history_that_came_in_another_order_can_be_put_in_order_of_time() {
    let config = Config::default();
    let world = World::new(&config);
    let act = |world: &World| {
        world.record(1, 42.0, 8.0);
        world.event(1, 41.0, Some(10.0));
        world.event(1, 43.0, Some(100.0));
    };
    world.run(&config, five_columns(), act, 1);
    let spent = |order| {
        let replayed = replay(&*world.log, &World::set(&config), false, order).unwrap();
        replayed.rows[0].0.features["spend_30d"]
    };
    assert_eq!((spent(Order::AsProcessed), spent(Order::EventTime)), (Some(0.0), Some(10.0)));
}
