//! `vigie import` on every kind of bad CSV: a clear message, the good rows imported, the bad ones on the topic for `anomalies`.

use std::io::{Seek as _, SeekFrom, Write as _};

use super::{Ended, Place, data, text};

const HEADER: &str = "Names,Age,Total_Purchase,Account_Manager,Years,Num_Sites,Onboard_date,Location,Company";
const GOOD: &str = "Ann,40,1000.5,1,5.5,8,2013-08-30 07:00:40,\"1 Road, Town\",Acme";

fn import(place: &Place, bytes: impl AsRef<[u8]>) -> Ended {
    let file = place.file("in.csv", bytes);
    place.run(&["import", text(&file)])
}

fn rows(rows: &[&str]) -> String {
    format!("{HEADER}\n{}\n", rows.join("\n"))
}

/// What is on the topic afterwards: each value with its line.
fn imported(place: &Place) -> Vec<(u64, serde_json::Value)> {
    let ended = place.run(&["consume", "costumerchurn", "--from-beginning", "--json"]);
    let mut all: Vec<_> = ended
        .out
        .lines()
        .map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            (record["headers"]["csv-line"].as_str().unwrap().parse().unwrap(), record["value"].clone())
        })
        .collect();
    all.sort_by_key(|(line, _)| *line);
    all
}

/// A row that is bad beside one that is good: exit 3, the message, both on the topic.
fn one_bad_row(bad: &str, says: &[&str]) -> serde_json::Value {
    let place = Place::new();
    let ended = import(&place, rows(&[bad, GOOD])).with(3).says(says);
    assert!(ended.out.contains("1 good row(s) imported, 1 bad"), "{ended:#?}");
    let mut all = imported(&place);
    assert_eq!(all.len(), 2);
    assert_eq!(all[1].1["Company"], "Acme");
    all.remove(0).1
}

#[test]
fn import_a_wrong_header() {
    let place = Place::new();
    import(&place, rows(&[GOOD]).replace("Num_Sites", "NumSites")).with(3).says(&[
        "in.csv, line 1",
        "missing `Num_Sites`",
        "unexpected `NumSites`",
        "did you mean `Num_Sites` by `NumSites`?",
    ]);
    assert!(!place.path("data/log").exists(), "nothing was touched");
}

#[test]
fn import_a_missing_column() {
    let value = one_bad_row(
        "Ann,40,1000.5,1,5.5,8,2013-08-30 07:00:40,Road",
        &["line 2, column `Company`", "8 fields"],
    );
    assert!(value.get("Company").is_none() && value["Age"] == 40.0, "{value}");
}

#[test]
fn import_a_non_number() {
    let value =
        one_bad_row(&GOOD.replacen("40", "forty", 1), &["line 2, column `Age`", "\"forty\" is not a number"]);
    assert_eq!(value["Age"], "forty");
}

#[test]
fn import_surplus_commas() {
    let place = Place::new();
    let file = data("new_customers.csv");
    let ended = place
        .run(&["import", text(&file)])
        .with(0)
        .says(&["line 2: note: a surplus comma", "line 6: note: a surplus comma"]);
    assert!(ended.out.contains("6 good row(s) imported, 0 bad, 2 with notes"), "{ended:#?}");
    let names: Vec<_> = imported(&place).into_iter().map(|(_, value)| value["Names"].clone()).collect();
    assert_eq!(names.len(), 6);
    assert_eq!(names[0], "Andrew Mccall");
}

#[test]
fn import_too_many_fields() {
    one_bad_row(
        &GOOD.replace("\"1 Road, Town\"", "1 Road, Town"),
        &["line 2", "10 fields, but the header has 9"],
    );
}

#[test]
fn import_an_empty_file() {
    import(&Place::new(), "").with(3).says(&["the file is empty", "Names,Age,Total_Purchase"]);
    import(&Place::new(), "\n \n").with(3).says(&["the file is empty"]);
}

#[test]
fn import_latin_1() {
    let place = Place::new();
    let mut bytes = rows(&[&GOOD.replace("Ann", "Zo@")]).into_bytes();
    let at = bytes.iter().position(|byte| *byte == b'@').unwrap();
    bytes[at] = 0xEB;
    import(&place, bytes).with(0).says(&["read as Latin-1"]);
    assert_eq!(imported(&place)[0].1["Names"], "Zoë");
}

#[test]
fn import_utf_16() {
    let place = Place::new();
    let text = format!("\u{feff}{}", rows(&[&GOOD.replace("Ann", "Zoë")]));
    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    import(&place, bytes).with(0).says(&["UTF-16 (little endian)"]);
    assert_eq!(imported(&place)[0].1["Names"], "Zoë");
}

#[test]
fn import_a_quote_that_is_never_closed() {
    let value = one_bad_row(&GOOD.replace("Town\"", "Town"), &["line 2", "never closed"]);
    assert!(value.as_str().unwrap().starts_with("Ann,40"), "the raw row is kept: {value}");
}

#[test]
fn import_a_binary_file_a_folder_and_a_missing_file() {
    import(&Place::new(), [0x7f, b'E', b'L', b'F', 0, 0, 1]).with(3).says(&["does not look like CSV"]);
    let place = Place::new();
    place.run(&["import", "."]).with(3).says(&["is a folder"]);
    place.run(&["import", "none.csv"]).with(3).says(&["none.csv", "cannot be read", "check the path"]);
}

#[test]
fn import_a_gigabyte() {
    let place = Place::new();
    let path = place.file("in.csv", rows(&vec![GOOD; 1_000]));
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(1 << 30)).unwrap();
    file.write_all(format!("\n{GOOD}\n").as_bytes()).unwrap();
    drop(file);
    // A limit on the address space would hit threads' stacks as well; what counts is the peak that the system saw.
    let ended = place.run(&["import", text(&path), "--json", "--dry-run"]).with(3);
    let summary = ended.json();
    assert_eq!((summary["good"].as_u64(), summary["bad"].as_u64()), (Some(1_001), Some(1)));
    assert!(summary["bad_rows"][0]["reason"].as_str().unwrap().contains("longer than 1024 KiB"), "{summary}");
}

#[test]
fn import_in_one_piece_with_json_and_without_writing() {
    let place = Place::new();
    let file = data("customer_churn.csv");
    let dry = place.run(&["import", text(&file), "--dry-run", "--json"]).with(0).json();
    assert_eq!((dry["good"].as_u64(), dry["written"].as_bool()), (Some(900), Some(false)));
    assert!(!place.path("data/log").exists());
    place.run(&["import", text(&file)]).with(0);
    assert_eq!(imported(&place).len(), 900);
    place.run(&["import", text(&file), "--delimiter", "é"]).with(2).says(&["one ASCII character"]);
}
