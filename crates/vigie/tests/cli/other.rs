//! Configuration, doctor, help, completions.

use std::net::TcpListener;

use super::Place;

#[test]
fn the_configuration_is_checked_with_place_and_suggestion() {
    let place = Place::new();
    place.file("good.toml", "[server]\nport = 9090\n");
    place.file("bad.toml", "[server]\nprot = 9090\n");
    place.file("type.toml", "[server]\nport = \"x\"\n");
    place.run(&["config", "check", "good.toml"]).with(0);
    let shown = place.run(&["config", "check", "--config", "good.toml", "--json"]).with(0).json();
    assert_eq!(shown["server"]["port"], 9090);
    place.run(&["config", "check", "bad.toml"]).with(2).says(&[
        "bad.toml:2:1",
        "prot",
        "did you mean `port`?",
    ]);
    place.run(&["config", "check", "type.toml"]).with(2).says(&["type.toml:2:8", "invalid type"]);
    place.run(&["config", "check", "none.toml"]).with(2).says(&["none.toml", "cannot be read"]);
    let error = place.run(&["config", "check", "bad.toml", "--json"]).with(2);
    let error: serde_json::Value = serde_json::from_str(&error.err).unwrap();
    assert_eq!(error["exit"], 2);
}

#[test]
fn the_environment_is_checked_too() {
    let place = Place::new();
    let output = place.command(&["config", "check"]).env("VIGIE_SERVER__PROT", "1").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("VIGIE_SERVER__PROT"));
}

fn level(findings: &serde_json::Value, check: &str) -> String {
    let found = findings.as_array().unwrap().iter().find(|finding| finding["check"] == check);
    found.unwrap_or_else(|| panic!("no {check} in {findings}"))["level"].as_str().unwrap().to_owned()
}

#[test]
fn the_doctor_names_what_is_wrong() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = format!("[server]\nport = {}\n", taken.local_addr().unwrap().port());
    place.file("taken.toml", config);
    place.file("free.toml", "[server]\nport = 0\n");
    let fine = place.run(&["doctor", "--json", "--config", "free.toml"]).with(0).json();
    for check in ["configuration", "clock", "data folder", "disk space", "log", "model", "port"] {
        assert_ne!(level(&fine, check), "fail", "{fine}");
    }
    std::fs::create_dir_all(place.path("data/model")).unwrap();
    place.file("data/model/churn.vigie", "nonsense");
    let sick = place.run(&["doctor", "--json", "--config", "taken.toml"]).with(1).json();
    assert_eq!((level(&sick, "port"), level(&sick, "model")), (String::from("fail"), String::from("fail")));
    let said = place.run(&["doctor", "--config", "taken.toml"]).with(1).out;
    assert!(said.contains("choose another with --port") && said.contains("delete it"), "{said}");
}

#[test]
fn help_has_examples_and_wrong_usage_is_2() {
    let place = Place::new();
    let help = place.run(&["--help"]).with(0).out;
    for part in ["Examples:", "Exit codes:", "demo", "doctor"] {
        assert!(help.contains(part), "{help}");
    }
    for command in ["demo", "run", "produce", "consume", "import", "train", "score", "doctor", "completions"]
    {
        assert!(place.run(&[command, "--help"]).with(0).out.contains("Example"), "{command}");
    }
    assert!(place.run(&["--version"]).with(0).out.starts_with("vigie "));
    for wrong in
        [&[][..], &["nonsense"], &["consume"], &["demo", "--port", "99999"], &["run", "--speed", "0"]]
    {
        place.run(wrong).with(2);
    }
}

#[test]
fn completions_of_each_shell() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.run(&["completions", shell]).with(0).out;
        assert!(script.contains("vigie") && script.contains("topics"), "{shell}");
    }
}
