//! `kill -9` in the middle of the demo, again and again on the same data folder: what was acknowledged is there, and every count is right.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{PATIENCE, Place, Program, customer, http};

const ROUNDS: u32 = 12;
/// Decides the moments. Another one is taken from `VIGIE_TEST_SEED`; a failure prints its seed.
const SEED: u64 = 20_261_121;

/// SplitMix64 (Steele et al. 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// What people were told.
#[derive(Default)]
struct Acknowledged {
    /// The score of each form, by customer.
    scores: BTreeMap<String, Value>,
    /// Customers whose assignment was approved.
    approved: BTreeSet<String>,
}

/// Sends forms and approves proposals until the program is gone.
fn work(program: &Program, round: u32, told: &mut Acknowledged) {
    for number in 0.. {
        let form = customer(&format!("Round {round} person {number}"), 18 + number % 80).to_string();
        let Ok(answer) = http::request(&program.address, "POST", "/api/v1/form", Some(&form)) else { return };
        assert_eq!(answer.status, 200, "{answer:?}");
        let score = answer.json()["score"].clone();
        told.scores.insert(score["customer_id"].as_str().unwrap().to_owned(), score);
        if number % 8 != 0 {
            continue;
        }
        let Ok(queue) = http::request(&program.address, "GET", "/api/v1/queue?limit=500", None) else {
            return;
        };
        let proposed =
            queue.json()["items"].as_array().unwrap().iter().find(|a| a["state"] == "proposed").cloned();
        let Some(proposed) = proposed else { continue };
        let id = proposed["customer_id"].as_str().unwrap();
        let path = format!("/api/v1/assignments/{id}/approve");
        let Ok(answer) = http::request(&program.address, "POST", &path, Some("{\"by\":\"lead\"}")) else {
            return;
        };
        // Between the two requests the planner may have planned anew.
        match answer.status {
            200 => drop(told.approved.insert(id.to_owned())),
            status => assert!([404, 409].contains(&status), "{answer:?}"),
        }
    }
}

/// When a round's kill comes.
#[derive(Debug, Clone, Copy)]
enum Moment {
    AfterSpawn(Duration),
    AfterReady(Duration),
}

/// Starts the demo, works with it, kills it at this moment. Returns after how long it was ready, if it came to that.
fn round(place: &Place, number: u32, moment: Moment, told: &mut Acknowledged) -> Option<Duration> {
    let start = Instant::now();
    let mut program = Program::start_soon(place, &["demo", "--seed", "7", "--agency-rate", "100"]);
    let pid = program.child.id().to_string();
    let (is_ready, when_ready) = sync_channel::<()>(1);
    let killer = std::thread::spawn(move || {
        let after = match moment {
            Moment::AfterSpawn(after) => after,
            Moment::AfterReady(after) => {
                when_ready.recv_timeout(PATIENCE).unwrap();
                after
            }
        };
        std::thread::sleep(after);
        // The program is not waited for before this thread has ended, so the id is still its own.
        assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    });
    let ready = match program.lines.recv_timeout(PATIENCE) {
        Ok(line) => {
            program.address = line.split("http://").nth(1).unwrap().split(' ').next().unwrap().to_owned();
            let ready = start.elapsed();
            // A killer that waits for the spawn only does not listen any more.
            let _ = is_ready.send(());
            work(&program, number, told);
            Some(ready)
        }
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => panic!("neither ready nor killed: {}", program.said()),
    };
    killer.join().unwrap();
    let status = program.child.wait().unwrap();
    let said = program.said();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "it ended by itself: {said}");
    assert!(!said.contains("ERROR") && !said.contains("panicked"), "{said}");
    ready
}

#[test]
fn kill_9_at_random_moments_of_the_demo_loses_nothing_and_every_count_is_right() {
    let place = Place::new();
    let seed = std::env::var("VIGIE_TEST_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    let mut dice = Dice(seed);
    let mut told = Acknowledged::default();
    for number in 0..ROUNDS {
        // Some die while starting, most at work.
        let moment = match number % 4 {
            3 => Moment::AfterSpawn(Duration::from_millis(dice.below(80))),
            _ => Moment::AfterReady(Duration::from_millis(dice.below(1_400))),
        };
        let ready = round(&place, number, moment, &mut told);
        println!("seed {seed}, round {number}: killed {moment:?}, ready after {ready:?}");
    }
    assert!(
        told.scores.len() >= 12 && !told.approved.is_empty(),
        "the rounds were too short to show anything"
    );

    let start = Instant::now();
    let program = Program::start(&place, &["run"]);
    program.is_ready();
    println!("ready {:?} after the last kill -9 and restart", start.elapsed());
    let recount = program.counts_are_right();
    let checks = recount["checks"].as_array().unwrap();
    for part in [
        "shop total",
        "shop sales",
        "shop type",
        "shop user",
        "users of",
        "page windows",
        "customers with",
        "alerts",
    ] {
        let mut found =
            checks.iter().filter(|check| check["name"].as_str().unwrap().starts_with(part)).peekable();
        assert!(found.peek().is_some(), "{part} was not counted: {recount:#}");
        assert!(
            part == "alerts" || found.any(|check| check["from_log"].as_f64() > Some(0.0)),
            "{part}: {recount:#}"
        );
    }

    // Exactly once: in the end as many scores, on the log and in the store, as there are records to score.
    assert_eq!(program.api("overview")["anomalies"], 0);
    program.until("each record has one score", "operations", |operations| {
        let number = |list: &str, name: &str, field: &str| {
            let found = operations[list].as_array().unwrap().iter().find(|one| one["name"] == name);
            found
                .and_then(|found| found[field].as_u64())
                .unwrap_or_else(|| panic!("{list} {name}: {operations:#}"))
        };
        let scores = number("topics", "churn-scores", "records");
        scores == number("topics", "costumerchurn", "records") + number("topics", "test3", "records")
            && scores == number("stores", "scores", "entries")
    });

    for (id, score) in &told.scores {
        let view = program.api(&format!("customers/{id}"));
        assert_eq!(view["score"]["origin"], score["origin"], "{view:#}");
        assert_eq!(view["score"]["probability"], score["probability"]);
        let history = view["history"].as_array().unwrap();
        assert_eq!(history.len(), 1, "scored once, although the engine was killed: {view:#}");
    }
    let standing = program.items("queue");
    for id in &told.approved {
        let found = standing.iter().find(|assignment| assignment["customer_id"] == id.as_str());
        assert_eq!(found.map(|a| &a["state"]), Some(&Value::from("approved")), "{id} was approved");
    }
    println!("{} forms and {} approvals acknowledged, all there", told.scores.len(), told.approved.len());
    program.stop_well();
}
