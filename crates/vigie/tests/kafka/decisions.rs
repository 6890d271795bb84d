//! What people decide on one instance holds on all of them: the queue, the managers, the model in service; also for an instance that was
//! killed, and for one that is new.

use serde_json::{Value, json};

use super::Cluster;
use crate::cli::{Place, data, text};
use crate::faults::{Program, customer, ends};

fn start(cluster: &Cluster, place: &Place, args: &[&str]) -> Program {
    let url = cluster.url();
    let program = Program::start(place, &[args, &["--log", &url]].concat());
    program.is_ready();
    program
}

fn champion(models: &Value) -> &str {
    models["champion"]["version"].as_str().unwrap()
}

#[test]
fn what_is_decided_on_one_instance_holds_on_all() {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let (here, there, late) = (Place::new(), Place::new(), Place::new());
    let a = start(&cluster, &here, &["demo", "--seed", "7", "--agency-rate", "50", "--page-rate", "0"]);
    let b = start(&cluster, &there, &["run", "--role", "process,sink,serve"]);
    let first = champion(&a.api("models")).to_owned();
    assert_eq!(champion(&b.api("models")), first);

    // Managers: entered there, shown here.
    let entered = json!({"id": "m9", "name": "Noa Petit", "capacity": 4, "by": "lead"});
    assert_eq!(b.post("managers", &entered.to_string()).status, 200);
    a.until("the manager", "managers", |managers| {
        managers.as_array().unwrap().iter().any(|manager| manager["id"] == "m9")
    });

    // The queue: approved here, shown there, and taken back there.
    let approve = |program: &Program| {
        let queue = program
            .until("proposals", "queue?limit=500", |queue| queue["counts"]["proposed"].as_u64() > Some(5));
        let items = queue["items"].as_array().unwrap().clone();
        let proposed = items.into_iter().filter(|item| item["state"] == "proposed");
        // Between the two requests the planner may plan anew.
        let mut ids = proposed.map(|item| item["customer_id"].as_str().unwrap().to_owned());
        ids.find(|id| program.post(&format!("assignments/{id}/approve"), r#"{"by": "lead"}"#).status == 200)
    };
    let approved = approve(&a).expect("one of the proposals can be approved");
    let state_of = |program: &Program, id: &str, state: &str| {
        program.until(&format!("{id} is {state}"), "queue?limit=500", |queue| {
            let mut items = queue["items"].as_array().unwrap().iter();
            items.any(|item| item["customer_id"] == id && item["state"] == state)
        });
    };
    state_of(&b, &approved, "approved");
    // Also from there on: a second one of each.
    let second = approve(&b).expect("one of the proposals can be approved there too");
    state_of(&a, &second, "approved");
    assert_eq!(a.post(&format!("assignments/{second}/undo"), r#"{"by": "lead"}"#).status, 200);

    // The model: put in shadow and promoted here, in service there.
    let file = here.path("new.vigie");
    let table = data("customer_churn.csv");
    let train =
        ["train", text(&table), "--target", "Churn", "--columns", "Years,Num_Sites", "--out", text(&file)];
    ends(&here, &train).with(0);
    let admin = |args: &[&str]| ends(&here, &[&["model", "--json", "--by", "ana"], args].concat());
    admin(&["shadow", text(&file)]).with(0);
    b.until("in shadow there too", "models", |models| models["shadow"].is_object());
    let promoted = champion(&admin(&["promote", "--now"]).with(0).json()).to_owned();
    assert_ne!(promoted, first);
    b.until("in service there too", "models", |models| champion(models) == promoted);
    let answer = b.post("form", &customer("Shared", 40).to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    let scored_by = |program: &Program, name: &str| {
        let answer = program.post("form", &customer(name, 41).to_string());
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["score"]["model_version"].as_str().unwrap().to_owned()
    };
    assert_eq!(scored_by(&b, "Shared there"), promoted);
    assert_eq!(scored_by(&a, "Shared here"), promoted);

    // Killed and started again: it knows, and so does one that comes for the first time.
    b.kill();
    let b = start(&cluster, &there, &["run", "--role", "process,sink,serve"]);
    let c = start(&cluster, &late, &["run", "--role", "serve"]);
    for program in [&b, &c] {
        assert_eq!(champion(&program.api("models")), promoted);
        state_of(program, &approved, "approved");
        let managers = program.api("managers");
        assert!(managers.as_array().unwrap().iter().any(|m| m["id"] == "m9"), "{managers}");
    }
    // The newcomer decides like any other.
    let back = c.post("models/rollback", r#"{"by": "eve"}"#).json();
    assert_eq!(champion(&back), first);
    for program in [&a, &b] {
        program.until("all go back", "models", |models| champion(models) == first);
    }

    // Other features beside instances at work are refused, and it is said what to do.
    let other = Place::new();
    let config = other.file(
        "vigie.toml",
        "[[features]]\nname = \"only_here\"\ntopic = \"evenements\"\nmeasure = \"count\"\nwindow_days = 7\n",
    );
    let url = cluster.url();
    let args = ["run", "--port", "0", "--config", text(&config), "--log", &url];
    ends(&other, &args).with(1).says(&["only here: only_here", "[[features]]", "stop all of them"]);
    for program in [a, b, c] {
        program.stop_well();
    }
}
