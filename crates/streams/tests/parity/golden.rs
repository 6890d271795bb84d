//! Golden outputs: what Kafka Streams made of each scenario, one compressed file for each topology.
//!
//! A file's first line describes the topology, then comes one line for each scenario. `sum` is of the steps, so that a changed
//! generator is noticed before its results are compared with results of other steps.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use crate::harness::{Case, Outcome};
use crate::scenario::{fnv, to_json};

/// Scenarios of each topology that an ordinary test run gives to Kafka Streams again.
const SAMPLE: usize = 5;

/// One golden file.
pub struct Golden {
    pub describe: String,
    pub scenarios: Vec<Line>,
}

/// One scenario of a golden file.
#[derive(Serialize, Deserialize, PartialEq, Debug, Clone)]
pub struct Line {
    pub sum: String,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Serialize, Deserialize)]
struct Head {
    topology: String,
    describe: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/golden")
}

fn file(name: &str) -> PathBuf {
    folder().join(format!("{name}.jsonl.gz"))
}

pub fn sum(steps: &str) -> String {
    format!("{:016x}", fnv(steps.as_bytes()))
}

pub fn read(name: &str) -> Golden {
    let path = file(name);
    let packed = fs::read(&path).unwrap_or_else(|error| {
        panic!("{}: {error}; make it by `dev/parity.sh bless {name}`", path.display())
    });
    let mut text = String::new();
    GzDecoder::new(&*packed).read_to_string(&mut text).unwrap();
    let mut lines = text.lines();
    let head: Head = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(head.topology, name, "{}", path.display());
    Golden {
        describe: head.describe,
        scenarios: lines.map(|line| serde_json::from_str(line).unwrap()).collect(),
    }
}

fn write(name: &str, golden: &Golden) {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    let head = Head { topology: name.to_owned(), describe: golden.describe.clone() };
    writeln!(packed, "{}", serde_json::to_string(&head).unwrap()).unwrap();
    for line in &golden.scenarios {
        writeln!(packed, "{}", serde_json::to_string(line).unwrap()).unwrap();
    }
    fs::create_dir_all(folder()).unwrap();
    fs::write(file(name), packed.finish().unwrap()).unwrap();
}

/// Runs scenarios through Kafka Streams.
fn kafka_streams(cases: &[(&Case, usize)]) -> Vec<Golden> {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("scenarios"), folder.path().join("results"));
    let mut jobs = String::new();
    let mut sums = Vec::new();
    for (case, count) in cases {
        let scenarios: Vec<String> =
            (0..*count).map(|number| to_json(&case.plan.scenario(case.name, number))).collect();
        jobs.push_str(&format!(
            "{{\"topology\":\"{}\",\"scenarios\":[{}]}}\n",
            case.name,
            scenarios.join(",")
        ));
        sums.push(scenarios.iter().map(|steps| sum(steps)).collect::<Vec<_>>());
    }
    fs::write(&input, jobs).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dev/parity.sh");
    let status = Command::new(script).arg("run").arg(&input).arg(&output).status().unwrap();
    assert!(status.success(), "dev/parity.sh failed, see its message above");
    let text = fs::read_to_string(output).unwrap();
    let mut lines = text.lines();
    let goldens = cases.iter().zip(sums).map(|((case, _), sums)| {
        let head: Head = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert_eq!(head.topology, case.name);
        let scenarios = sums
            .into_iter()
            .map(|sum| Line { sum, outcome: serde_json::from_str(lines.next().unwrap()).unwrap() })
            .collect();
        Golden { describe: head.describe, scenarios }
    });
    goldens.collect()
}

fn has_java() -> bool {
    let found =
        |name: &str| Command::new(name).arg("-version").output().is_ok_and(|output| output.status.success());
    found("javac") && found("mvn")
}

pub fn check_with_kafka_streams(cases: &[Case]) {
    if !has_java() {
        assert_ne!(
            std::env::var("CI").as_deref(),
            Ok("true"),
            "a JDK and Maven are needed here, and neither may be missing in CI"
        );
        eprintln!("no JDK or no Maven: the golden outputs are not made anew");
        return;
    }
    let mode = std::env::var("VIGIE_PARITY").unwrap_or_default();
    let only = std::env::var("VIGIE_PARITY_ONLY").unwrap_or_default();
    let chosen: Vec<(&Case, usize)> = cases
        .iter()
        .filter(|case| only.is_empty() || only.split(',').any(|name| name == case.name))
        .map(|case| {
            (case, if mode.is_empty() { SAMPLE.min(case.plan.scenarios) } else { case.plan.scenarios })
        })
        .collect();
    assert!(!chosen.is_empty(), "no topology is called `{only}`");
    for ((case, count), made) in chosen.iter().zip(kafka_streams(&chosen)) {
        if mode == "bless" {
            write(case.name, &made);
            continue;
        }
        let golden = read(case.name);
        assert_eq!(made.describe, golden.describe, "{}: the description", case.name);
        for number in 0..*count {
            assert_eq!(
                Some(&made.scenarios[number]),
                golden.scenarios.get(number),
                "{}: scenario {number}",
                case.name
            );
        }
    }
}

pub fn check_files(cases: &[Case]) {
    let mut bytes = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let topology = name.strip_suffix(".jsonl.gz").unwrap_or_else(|| panic!("{name} is no golden file"));
        assert!(
            cases.iter().any(|case| case.name == topology),
            "{name}: no topology has this name, delete it"
        );
        bytes += entry.metadata().unwrap().len();
    }
    assert!(bytes <= 10 << 20, "the golden files are {bytes} bytes, more than 10 MiB");
}

/// The table of the book's chapter, from the topologies there are.
fn table(cases: &[Case]) -> String {
    let mut table = String::from("| topology | group | scenarios | equal |\n| --- | --- | --- | --- |\n");
    for case in cases {
        table.push_str(&format!("| `{}` | {} | {} | all |\n", case.name, case.group, case.plan.scenarios));
    }
    let total: usize = cases.iter().map(|case| case.plan.scenarios).sum();
    table.push_str(&format!("\n{} topologies, {total} scenarios.\n", cases.len()));
    table
}

/// The book lists every topology; `dev/parity.sh bless` writes the list anew.
pub fn check_book(cases: &[Case]) {
    const BEHIND: &str = "## What is compared\n\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/parity.md");
    let text = fs::read_to_string(&path).unwrap();
    let (head, held) = text.split_once(BEHIND).unwrap();
    if std::env::var("VIGIE_PARITY").as_deref() == Ok("bless") {
        fs::write(path, format!("{head}{BEHIND}{}", table(cases))).unwrap();
    } else {
        assert_eq!(held, table(cases), "docs/parity.md: `dev/parity.sh book` lists the topologies anew");
    }
}
