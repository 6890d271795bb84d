//! A disk that fills up, and one that may only be read. In a mount namespace of its own, a small disk is mounted, and this test binary
//! runs there once more.

#![allow(
    clippy::print_stdout,
    reason = "what the run in the namespace prints is how the outer test follows it"
)]

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Place, Program, customer, ends, text};

const DISK: &str = "VIGIE_TEST_DISK";
const INSIDE: &str = "faults::small_disk::inside_the_namespace";

/// Mounts a disk at a folder and runs one of the scenarios below with it.
#[track_caller]
fn on_a_disk_of_its_own(scenario: &str) {
    let folder = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=64m tmpfs \"$1\" && exec \"$2\" \"$3\" --exact --nocapture";
    let run = |flags: &[&str]| {
        Command::new("unshare")
            .args(flags)
            .args(["sh", "-c", script, "sh"])
            .arg(folder.path())
            .arg(std::env::current_exe().unwrap())
            .arg(INSIDE)
            .env(DISK, format!("{scenario}:{}", folder.path().display()))
            .output()
            .expect("unshare (util-linux) is installed")
    };
    let mut output = run(&["--mount"]);
    if !output.status.success() && !String::from_utf8_lossy(&output.stdout).contains("mounted") {
        // Not root: in a user namespace, then.
        output = run(&["--user", "--map-root-user", "--mount"]);
    }
    let shown =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && shown.contains("the scenario is over"), "{shown}");
    println!("{shown}");
}

#[test]
fn full_disk_says_so_and_loses_nothing_acknowledged() {
    on_a_disk_of_its_own("full");
}

#[test]
fn read_only_data_folder_is_named() {
    on_a_disk_of_its_own("read-only");
}

/// Does its work only when one of the tests above runs it.
#[test]
fn inside_the_namespace() {
    let Ok(disk) = std::env::var(DISK) else { return };
    println!("mounted");
    match disk.split_once(':').unwrap() {
        ("full", disk) => full(Path::new(disk)),
        (_, disk) => read_only(Path::new(disk)),
    }
    println!("the scenario is over");
}

/// Takes all the room that is left.
fn fill(disk: &Path) {
    let mut file = OpenOptions::new().create(true).append(true).open(disk.join("filler")).unwrap();
    for size in [1 << 20, 4 << 10, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
}

fn full(disk: &Path) {
    let place = Place::new();
    let data = disk.join("data");
    let mut program = Program::start(&place, &["demo", "--seed", "7", "--data", text(&data)]);
    program.until("the scenario runs", "shop", |shop| shop["total"].as_u64() > Some(10));
    let mut scores = BTreeMap::new();
    let mut submit = |program: &Program, number: u32| {
        let answer =
            program.post("form", &customer(&format!("Person {number}"), 18 + number % 80).to_string());
        if answer.status != 200 {
            return Some(answer);
        }
        let score = answer.json()["score"].clone();
        scores.insert(score["customer_id"].as_str().unwrap().to_owned(), score);
        None
    };
    for number in 0..20 {
        assert!(submit(&program, number).is_none(), "there is room");
    }
    fill(disk);
    let answer = (20..5_000).find_map(|number| submit(&program, number)).expect("the disk is full");
    let problem = answer.problem(answer.status);
    println!("full: {problem}");
    assert!([500, 503, 504, 507].contains(&answer.status), "{problem}");
    // What was being done may have been the engine's part: then the log itself says it at the next request.
    let answer = submit(&program, 5_000).expect("it is still full");
    let said = answer.problem(answer.status)["detail"].as_str().unwrap().to_owned();
    for part in ["no room on the disk", text(&data.join("log"))] {
        assert!(said.contains(part), "no {part:?}: {said}");
    }
    assert!(said.contains("restart the program") || said.contains("start again"), "{said}");

    program.is_alive();
    let ready = program.get("/readyz");
    assert_eq!(ready.status, 503, "{ready:?}");
    assert!(ready.body.contains("no room on the disk"), "{ready:?}");
    // What is stored can still be looked at.
    assert!(program.api("customers")["total"].as_u64() > Some(0));
    let (_, took, said) = program.stop();
    assert!(took < Duration::from_secs(15), "{took:?}: {said}");
    assert!(said.contains("no room on the disk") && !said.contains("panicked"), "{said}");

    fill(disk);
    let ended = ends(&place, &["run", "--port", "0", "--data", text(&data)]).with(4);
    ended.says(&["no room on the disk", text(&data), "free some space", "nothing acknowledged is lost"]);

    std::fs::remove_file(disk.join("filler")).unwrap();
    let again = Program::start(&place, &["run", "--data", text(&data)]);
    assert_eq!(again.counts_are_right()["equal"], true);
    for (id, score) in &scores {
        let view = again.api(&format!("customers/{id}"));
        assert_eq!(
            (&view["score"]["origin"], &view["score"]["probability"]),
            (&score["origin"], &score["probability"])
        );
    }
    println!("{} forms acknowledged, all there", scores.len());
    let answer = again.post("form", &customer("Afterwards", 40).to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    again.stop_well();
}

fn read_only(disk: &Path) {
    let place = Place::new();
    let data = disk.join("data");
    let mut first = Program::start(&place, &["run", "--data", text(&data)]);
    assert_eq!(first.post("form", &customer("Ann", 40).to_string()).status, 200);
    first.is_alive();
    first.stop_well();
    let remount = |how: &str| {
        assert!(Command::new("mount").args(["-o", how]).arg(disk).status().unwrap().success());
    };
    remount("remount,ro");
    for folder in [&data, &disk.join("another")] {
        let ended = ends(&place, &["demo", "--port", "0", "--data", text(folder)]).with(4);
        ended.says(&[
            text(folder),
            "cannot be written",
            "Read-only",
            "check its owner and permissions",
            "--data",
        ]);
    }
    remount("remount,rw");
    let again = Program::start(&place, &["run", "--data", text(&data)]);
    again.until("what was there is there", "customers", |found| found["total"] == 1);
    again.stop_well();
}
