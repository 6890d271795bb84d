//! `kill -9` in the middle of the demo, again and again on the same data folder: what was acknowledged is there, and every count is right.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{PATIENCE, Place, Program, customer, http};

const ROUNDS: u32 = 12;
/// Another seed, other moments; a failure is repeated by its seed.
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

/// Starts the demo, works with it, kills it after so long. Returns after how long it was ready, if it came to that.
fn round(place: &Place, number: u32, after: Duration, told: &mut Acknowledged) -> Option<Duration> {
    let start = Instant::now();
    let mut program = Program::start_soon(place, &["demo", "--seed", "7", "--agency-rate", "100"]);
    let pid = program.child.id().to_string();
    let killer = std::thread::spawn(move || {
        std::thread::sleep(after);
        // The program is not waited for before this thread has ended, so the id is still its own.
        assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    });
    let ready = match program.lines.recv_timeout(PATIENCE) {
        Ok(line) => {
            program.address = line.split("http://").nth(1).unwrap().split(' ').next().unwrap().to_owned();
            let ready = start.elapsed();
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
    let mut dice = Dice(SEED);
    let mut told = Acknowledged::default();
    for number in 0..ROUNDS {
        // Some die while starting, most at work.
        let after = Duration::from_millis(if number % 4 == 3 {
            20 + dice.below(400)
        } else {
            500 + dice.below(1_300)
        });
        let ready = round(&place, number, after, &mut told);
        println!("seed {SEED}, round {number}: killed after {after:?}, ready after {ready:?}");
    }
    assert!(told.scores.len() > 50 && told.approved.len() > 3, "the rounds were too short to show anything");

    let start = Instant::now();
    let program = Program::start(&place, &["run"]);
    while program.get("/readyz").status != 200 {
        assert!(start.elapsed() < PATIENCE, "{}", program.said());
        std::thread::sleep(Duration::from_millis(5));
    }
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
