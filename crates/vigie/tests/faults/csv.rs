//! `--csv FILE` of the running program: a wrong file stops the start, a wrong row becomes an anomaly beside the good ones.

use std::io::{Seek as _, SeekFrom, Write as _};

use serde_json::Value;

use super::{Place, Program, ends, text};
use crate::cli::data;

const HEADER: &str = "Names,Age,Total_Purchase,Account_Manager,Years,Num_Sites,Onboard_date,Location,Company";
const GOOD: &str = "Ann,40,1000.5,1,5.5,8,2013-08-30 07:00:40,\"1 Road, Town\",Acme";

fn rows(rows: &[&str]) -> String {
    format!("{HEADER}\n{}\n", rows.join("\n"))
}

/// The program on a file, once all its rows are processed and stored.
#[track_caller]
fn on(place: &Place, bytes: impl AsRef<[u8]>, good: u64, bad: u64) -> Program {
    let file = place.file("in.csv", bytes);
    on_file(place, text(&file), good, bad)
}

#[track_caller]
fn on_file(place: &Place, file: &str, good: u64, bad: u64) -> Program {
    let program = Program::start(place, &["run", "--csv", file, "--csv-rate", "1000"]);
    program.until("the file is sent", "info", |info| {
        let source = &info["sources"][0];
        source["published"] == good + bad && source["running"] == false
    });
    program.until("all good rows are scored", "customers", |found| found["total"] == good);
    program.until("all bad rows are anomalies", "anomalies", |found| found["total"] == bad);
    program
}

/// A file with one bad row before a good one; the anomaly that comes of it.
#[track_caller]
fn one_bad_row(bad: &str) -> Value {
    let place = Place::new();
    let mut program = on(&place, rows(&[bad, GOOD]), 1, 1);
    program.is_alive();
    assert_eq!(program.items("customers")[0]["company"], "Acme", "the good row is scored");
    let anomaly = program.items("anomalies").remove(0);
    let origin = &anomaly["origin"];
    assert_eq!(origin["topic"], "costumerchurn");
    let path =
        format!("topics/costumerchurn/messages?partition={}&from={}", origin["partition"], origin["offset"]);
    let record = program.items(&path).remove(0);
    assert_eq!(record["headers"]["csv-line"], "2", "it can be traced to its line: {record}");
    assert!(anomaly["reason"].as_str().unwrap().len() > 10, "{anomaly}");
    program.stop_well();
    anomaly
}

#[track_caller]
fn refused(bytes: impl AsRef<[u8]>, says: &[&str]) {
    let place = Place::new();
    let file = place.file("in.csv", bytes);
    let ended =
        ends(&place, &["run", "--port", "0", "--csv", text(&file)]).with(3).says(&["in.csv"]).says(says);
    assert!(ended.out.is_empty(), "it is not ready: {ended:#?}");
    assert!(!place.path("data/log").exists(), "nothing was touched");
}

#[test]
fn csv_a_wrong_header_stops_the_start_with_the_names() {
    refused(
        rows(&[GOOD]).replace("Num_Sites", "NumSites"),
        &["line 1", "missing `Num_Sites`", "did you mean `Num_Sites` by `NumSites`?"],
    );
}

#[test]
fn csv_an_empty_a_binary_and_no_file_stop_the_start() {
    refused("", &["the file is empty", "Names,Age,Total_Purchase"]);
    refused([0x7f, b'E', b'L', b'F', 0, 0, 1], &["does not look like CSV", "export"]);
    let place = Place::new();
    ends(&place, &["run", "--port", "0", "--csv", "none.csv"]).with(3).says(&[
        "none.csv",
        "cannot be read",
        "check",
    ]);
    ends(&place, &["run", "--port", "0", "--csv", "."]).with(3).says(&["is a folder"]);
}

#[test]
fn csv_a_missing_column_is_an_anomaly() {
    let anomaly = one_bad_row("Bob,40,1000.5,1,5.5,8,2013-08-30 07:00:40,Road");
    assert_eq!(anomaly["rule"], "costumerchurn/Company/required");
    assert!(anomaly["reason"].as_str().unwrap().contains("Company"), "{anomaly}");
    let shown = anomaly["raw"].as_str().unwrap();
    assert!(shown.contains("1000.5") && shown.contains("[personal]") && !shown.contains("Bob"), "{anomaly}");
}

#[test]
fn csv_a_non_number_is_an_anomaly() {
    let anomaly = one_bad_row(&GOOD.replacen("40", "forty", 1).replace("Ann", "Bob"));
    assert_eq!(
        (anomaly["rule"].as_str(), anomaly["field"].as_str()),
        (Some("costumerchurn/Age/type"), Some("Age"))
    );
    assert!(anomaly["raw"].as_str().unwrap().contains("forty"), "{anomaly}");
}

#[test]
fn csv_too_many_fields_are_an_anomaly() {
    let bad = GOOD.replace("\"1 Road, Town\"", "1 Road, Town");
    let anomaly = one_bad_row(&bad);
    // A row whose cells cannot be told apart is shown to nobody.
    assert_eq!(anomaly["raw"], "[personal]");
}

#[test]
fn csv_surplus_commas_cost_nothing_all_six_are_scored() {
    let place = Place::new();
    let program = on_file(&place, text(&data("new_customers.csv")), 6, 0);
    let names: std::collections::BTreeSet<String> =
        program.items("customers").iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names.len(), 6);
    assert!(names.contains("Andrew Mccall") && names.contains("Michele Wright"), "{names:?}");
    assert!(program.items("customers").iter().all(|item| item["probability"].as_f64().unwrap() > 0.0));
    assert_eq!(program.counts_are_right()["equal"], true);
}

#[test]
fn csv_other_encodings_are_read() {
    let named = rows(&[&GOOD.replace("Ann", "Zoë")]);
    let latin: Vec<u8> = named.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let utf16: Vec<u8> = format!("\u{feff}{named}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in [latin, utf16] {
        let place = Place::new();
        let program = on(&place, bytes, 1, 0);
        assert_eq!(program.items("customers")[0]["name"], "Zoë");
    }
}

/// A gigabyte: 20,000 good rows, then a hole of a gigabyte that costs no disk (one endless line of zero bytes), then a good row.
/// What counts is the peak of the memory that the system saw: it must not grow with the file.
#[test]
fn csv_a_gigabyte_is_read_in_constant_memory() {
    const ROWS: usize = 20_000;
    let place = Place::new();
    let people: Vec<String> = (0..100).map(|i| GOOD.replace("Ann", &format!("Ann {i}"))).collect();
    let all: Vec<&str> = (0..ROWS).map(|i| people[i % people.len()].as_str()).collect();
    let path = place.file("in.csv", rows(&all));
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(1 << 30)).unwrap();
    writeln!(file, "\n{}", GOOD.replace("Ann", "The last one")).unwrap();
    drop(file);
    let mut program = Program::start(&place, &["run", "--csv", text(&path), "--csv-rate", "1000000"]);
    let sent = ROWS as u64 + 2;
    program.until("the file is sent", "info", |info| info["sources"][0]["published"] == sent);
    program.until("the last row is scored", "customers?search=last", |found| found["total"] == 1);
    let anomalies = program.until("the hole is an anomaly", "anomalies", |found| found["total"] == 1);
    assert!(anomalies["items"][0]["raw_bytes"].as_u64().unwrap() <= 2 << 20, "{anomalies}");
    program.is_alive();
    let peak = program.memory("VmHWM") / 1_000;
    println!("a file of 1 GB with {sent} rows: peak of {peak} MB resident");
    // 100 to 150 MB on an idle machine; more while the pipelines lag behind the file on a busy one.
    assert!(peak < 400, "{peak} MB resident at the peak");
}
