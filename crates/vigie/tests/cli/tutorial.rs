//! The tutorial of the book, run: each command of the page, in its order, in a folder as the page asks for.

use std::process::Command;

use super::{Ended, Place, data};

const PAGE: &str = include_str!("../../../../docs/churn-tutorial.md");

/// The commands of the page's console blocks.
fn commands() -> Vec<&'static str> {
    let mut inside = false;
    let mut commands = Vec::new();
    for line in PAGE.lines() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            _ if inside => {
                commands.push(line.strip_prefix("$ ").unwrap_or_else(|| panic!("no command: {line}")))
            }
            _ => {}
        }
    }
    commands
}

#[test]
fn the_tutorial_does_what_it_says() {
    let place = Place::new();
    for name in ["customer_churn.csv", "new_customers.csv", "managers.json"] {
        std::fs::copy(data(name), place.path(name)).unwrap();
    }
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_vigie")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let run = |command: &str| -> Ended {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).current_dir(place.folder.path()).env_clear();
        shell.env("PATH", &path).env("HOME", place.folder.path());
        shell.output().unwrap().into()
    };
    let all = commands();
    assert!(all.len() >= 15, "{all:?}");
    let mut said = String::new();
    for command in all {
        let ended = run(command).with(0);
        said.push_str(&format!("$ {command}\n{}{}", ended.out, ended.err));
    }
    for expected in [
        "nothing was trained",
        "AUC",
        "+5.3 points [+0.4, +10.2]",
        "written to model.vigie",
        "will_churn",
        "the usual customer",
        "would bring the risk to",
        "Ligne 2",
        "IN TRAINING",
        "refused",
        "a trial: the history speaks against this action",
        "the riskiest first",
        "approved by Ada Lovelace",
        "Change in churn:",
    ] {
        assert!(said.contains(expected), "{expected:?} is missing in:\n{said}");
    }
    let page = std::fs::read_to_string(place.path("card.html")).unwrap();
    assert!(page.contains("<svg") && !page.contains("<script"));
    let plan: serde_json::Value =
        serde_json::from_slice(&std::fs::read(place.path("plan.json")).unwrap()).unwrap();
    let entries = plan["entries"].as_array().unwrap();
    let count = |state: &str| entries.iter().filter(|entry| entry["state"] == state).count();
    assert!(count("approved") > 50 && count("held_out") > 50 && count("proposed") == 0, "{plan}");
    assert_eq!(plan["audit"].as_array().unwrap().len(), 2);
    assert!(plan["comparison"]["proposal"].as_f64() > plan["comparison"]["by_risk"].as_f64());
    // What the page shows beside the blocks works too.
    let line = PAGE.lines().find(|line| line.contains("vigie assign undo")).unwrap();
    let name =
        entries.iter().find(|entry| entry["state"] == "approved").unwrap()["customer"].as_str().unwrap();
    let command = line.split('`').nth(1).unwrap().replace("Kevin Mueller", name);
    run(&command).with(0);
    run(&command).with(5).says(&["is there already"]);
    let held =
        entries.iter().find(|entry| entry["state"] == "held_out").unwrap()["customer"].as_str().unwrap();
    run(&format!("vigie assign approve plan.json --by Ada --customer \"{held}\""))
        .with(5)
        .says(&["held out at random"]);
}
