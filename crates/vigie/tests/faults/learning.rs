//! A model in shadow, promoted while the program runs, and taken back; features served and replayed; managers and the audit.

use serde_json::{Value, json};

use super::{Program, ends, text};
use crate::cli::{Place, data};

fn train(place: &Place, columns: &str) -> std::path::PathBuf {
    let out = place.path(&format!("{}.vigie", columns.replace(',', "-")));
    let table = data("customer_churn.csv");
    let args = ["train", text(&table), "--target", "Churn", "--columns", columns, "--out", text(&out)];
    ends(place, &args).with(0);
    out
}

fn version(models: &Value, place: &str) -> String {
    models[place]["version"].as_str().unwrap_or_else(|| panic!("no {place}: {models:#}")).to_owned()
}

#[test]
fn a_model_is_tried_in_shadow_promoted_while_running_and_taken_back() {
    let place = Place::new();
    let file = train(&place, "Years,Num_Sites");
    let program = Program::start(&place, &["demo", "--seed", "7", "--agency-rate", "1"]);
    program.is_ready();
    let first = version(&program.api("models"), "champion");
    let admin = |args: &[&str]| ends(&place, &[&["model", "--json", "--by", "ana"], args].concat());

    let said = admin(&["promote"]).with(1);
    assert!(said.err.contains("vigie model shadow"), "{said:#?}");
    let models = admin(&["shadow", text(&file)]).with(0).json();
    let challenger = version(&models, "shadow");
    assert_eq!(version(&models, "champion"), first);
    admin(&["promote"]).with(1).says(&["of the 200 customers", "--now"]);

    // It scores beside the champion: every customer who comes is compared, and what is shown stays the champion's.
    for n in 0..3 {
        let answer =
            program.post("form", &super::customer(&format!("Shadow {n}"), 40 + n).to_string()).json();
        assert_eq!(answer["score"]["model_version"], first);
    }
    let compared =
        program.until("both have scored", "models", |m| m["comparison"]["customers"].as_u64() >= Some(3));
    assert!(compared["comparison"]["agreement"].as_f64().is_some(), "{compared:#}");
    let enough = compared["comparison"]["customers"].as_u64() >= Some(200);
    assert_eq!(compared["comparison"]["ready"], enough, "{compared:#}");

    assert_eq!(version(&admin(&["promote", "--now"]).with(0).json(), "champion"), challenger);
    let answer = program.post("form", &super::customer("After", 40).to_string()).json();
    assert_eq!(answer["score"]["model_version"], challenger);
    assert_eq!(answer["score"]["reasons"].as_array().unwrap().len(), 2);
    program.stop_well();

    // It survives a restart, and so does the way back.
    let program = Program::start(&place, &["run"]);
    program.is_ready();
    assert_eq!(version(&program.api("models"), "champion"), challenger);
    assert_eq!(version(&admin(&["rollback"]).with(0).json(), "champion"), first);
    let answer = program.post("form", &super::customer("Back", 40).to_string()).json();
    assert_eq!(answer["score"]["model_version"], first);

    let told = program.until("the audit is stored", "audit?limit=500", |audit| {
        let entries = audit["items"].as_array().unwrap();
        entries.iter().filter(|entry| entry["by"] == "ana").count() == 3
    });
    let mut actions: Vec<(&str, &str)> = told["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["by"] == "ana")
        .map(|entry| (entry["action"].as_str().unwrap(), entry["subject"].as_str().unwrap()))
        .collect();
    actions.reverse();
    let expected =
        [("model.shadowed", &*challenger), ("model.promoted", &*challenger), ("model.rolled_back", &*first)];
    assert_eq!(actions, expected);

    // What was served is what a replay gives, and the command says so beside the running program.
    let verified = ends(&place, &["features", "verify", "--json"]).with(0).json();
    assert!(verified["logged"].as_u64() > Some(900), "{verified}");
    assert_eq!((&verified["equal"], &verified["different"]), (&verified["logged"], &json!(0)));
    let table = place.path("features.csv");
    ends(&place, &["features", "replay", "--rows", "all", "--out", text(&table)]).with(0);
    program.stop_well();
    // Stopped, the log is read here: the same table.
    let beside = std::fs::read_to_string(&table).unwrap();
    ends(&place, &["features", "replay", "--rows", "all", "--out", text(&table)]).with(0);
    assert_eq!(beside, std::fs::read_to_string(&table).unwrap());
    assert!(beside.starts_with("customer_id,event_time,origin,Age,") && beside.lines().count() > 900);
}

#[test]
fn a_model_that_cannot_serve_is_refused_and_nothing_changes() {
    let place = Place::new();
    let program = Program::start(&place, &["run"]);
    program.is_ready();
    let before = program.api("models");
    let junk = place.file("junk.vigie", "not a model");
    ends(&place, &["model", "shadow", text(&junk)]).with(3).says(&["vigie train"]);
    ends(&place, &["model", "shadow", text(&place.path("missing.vigie"))]).with(3).says(&["missing.vigie"]);
    ends(&place, &["model", "rollback"]).with(1).says(&["no earlier model"]);
    program.post("models/shadow", r#"{"file": "§"}"#).problem(422);
    let foreign = "{\"file\": \"AAAA\"}";
    program.post("models/shadow", foreign).problem(422);
    assert_eq!(program.api("models"), before);
    program.stop_well();
    ends(&place, &["model", "list"]).with(4).says(&["no vigie runs", "vigie run"]);
}

#[test]
fn managers_are_edited_while_running_and_every_decision_is_in_the_audit() {
    let place = Place::new();
    let program = Program::start(&place, &["demo", "--seed", "7", "--agency-rate", "100"]);
    program.is_ready();
    let entered =
        json!({"id": "m9", "name": "Noa Petit", "capacity": 4, "skills": ["large accounts"], "by": "lead"});
    let managers = program.post("managers", &entered.to_string()).json();
    assert!(managers.as_array().unwrap().iter().any(|m| m["id"] == "m9" && m["assigned"] == 0), "{managers}");
    program.post("managers", r#"{"id": "", "name": "x", "capacity": 1}"#).problem(422);
    program.post("managers/nobody/remove", "{}").problem(404);

    let queue = program
        .until("proposals", "queue?limit=500", |queue| queue["counts"]["proposed"].as_u64() > Some(10));
    let proposed =
        queue["items"].as_array().unwrap().iter().find(|item| item["state"] == "proposed").unwrap();
    let (id, manager) = (proposed["customer_id"].as_str().unwrap(), proposed["manager_id"].as_str().unwrap());
    assert!(proposed["why_fr"].as_str().is_some_and(|why| !why.is_empty()), "{proposed:#}");
    assert!(proposed["drawn"]["probability"].as_f64().is_some());
    let approved = program.post(&format!("assignments/{id}/approve"), r#"{"by": "lead"}"#);
    if approved.status == 200 {
        program.post(&format!("managers/{manager}/remove"), r#"{"by": "lead"}"#).problem(409);
        assert_eq!(program.post(&format!("assignments/{id}/undo"), r#"{"by": "lead"}"#).status, 200);
        let told =
            program.until("the audit is stored", &format!("audit?subject={id}"), |audit| audit["total"] == 2);
        assert_eq!(told["items"][0]["action"], "assignment.unapproved");
        assert_eq!(
            (&told["items"][1]["action"], &told["items"][1]["by"]),
            (&json!("assignment.approved"), &json!("lead"))
        );
        assert_eq!(told["items"][1]["detail"]["manager"], manager);
    } else {
        // The planner planned anew between the two requests.
        assert!([404, 409].contains(&approved.status), "{approved:?}");
    }
    program.stop_well();

    let program = Program::start(&place, &["run"]);
    let managers = program.api("managers");
    assert!(managers.as_array().unwrap().iter().any(|m| m["id"] == "m9" && m["capacity"] == 4), "{managers}");
    program.stop_well();
}
