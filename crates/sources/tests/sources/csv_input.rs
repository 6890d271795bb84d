//! Every kind of bad CSV, each as a test of its own name.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use vigie_domain::Customer;
use vigie_sources::csv::{COLUMNS, CsvError, LINE_HEADER, Row, RowError};
use vigie_sources::{CsvOptions, CsvSource, Moment, Source, Then, read_customers};

use crate::data;

const GOOD: &str = "Ann,40,1000.5,1,5.5,8,2013-08-30 07:00:40,\"1 Road, Town\",Acme";

fn file(bytes: impl AsRef<[u8]>) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes.as_ref()).unwrap();
    file
}

fn text(rows: &[&str]) -> String {
    format!("{}\n{}\n", COLUMNS.join(","), rows.join("\n"))
}

fn rows(path: &Path) -> Vec<Result<Row, RowError>> {
    read_customers(path).unwrap().collect()
}

/// The message of a file that is refused as a whole.
fn refused(bytes: impl AsRef<[u8]>) -> String {
    let file = file(bytes);
    let error = read_customers(file.path()).err().expect("the file was accepted");
    error.to_string()
}

/// The one bad row of a file whose other row is good.
fn bad_row(row: &str) -> RowError {
    let file = file(text(&[row, GOOD]));
    let mut all = rows(file.path());
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(all.pop().unwrap().unwrap().customer.company, "Acme", "the good row is still read");
    all.pop().unwrap().unwrap_err()
}

#[test]
fn the_agencys_file_is_read_whole() {
    let all = rows(&data("customer_churn.csv"));
    assert_eq!(all.len(), 900);
    let customers: Vec<Customer> = all.into_iter().map(|row| row.unwrap().customer).collect();
    assert_eq!(customers.iter().filter(|c| c.churn == Some(1)).count(), 150);
    let ids: std::collections::HashSet<_> = customers.iter().map(Customer::id).collect();
    assert_eq!(ids.len(), 900, "every customer has an id of their own");
}

#[test]
fn surplus_commas_are_coped_with_and_said() {
    let all = rows(&data("new_customers.csv"));
    let noted: Vec<_> = all.iter().map(|row| !row.as_ref().unwrap().notes.is_empty()).collect();
    assert_eq!(noted, [true, false, false, false, true, false], "rows 1 and 5 end in a surplus comma");
    assert!(all[0].as_ref().unwrap().notes[0].contains("surplus comma"));
    assert_eq!(all[0].as_ref().unwrap().customer.company, "King Ltd");
    assert_eq!(all[4].as_ref().unwrap().customer.company, "Wood LLC");
}

#[test]
fn surplus_fields_that_hold_something_are_an_error() {
    let error = bad_row(&GOOD.replace("\"1 Road, Town\"", "1 Road, Town"));
    assert!(error.reason.contains("10 fields, but the header has 9"), "{error}");
}

#[test]
fn a_wrong_header_names_the_missing_the_unexpected_and_the_nearest() {
    let message = refused(text(&[GOOD]).replace("Total_Purchase", "TotalPurchase"));
    for part in
        ["line 1", "missing `Total_Purchase`", "unexpected `TotalPurchase`", "did you mean `Total_Purchase`"]
    {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_file_without_header_is_refused() {
    assert!(refused(GOOD).contains("missing `Names`"));
}

#[test]
fn a_missing_column_is_named_with_its_line() {
    let error = bad_row("Ann,40,1000.5,1,5.5,8,2013-08-30 07:00:40,Road");
    assert_eq!((error.line, error.column), (2, Some("Company")));
    assert!(error.reason.contains("8 fields"), "{error}");
    let json: serde_json::Value = serde_json::from_slice(error.json.as_ref().unwrap()).unwrap();
    assert!(json.get("Company").is_none(), "downstream must see that it is missing");
}

#[test]
fn a_non_number_is_named_with_line_and_column_and_kept_as_text() {
    for (wrong, column) in [("forty", "Age"), ("NaN", "Age"), ("inf", "Age"), ("4O", "Age"), ("", "Age")] {
        let error = bad_row(&GOOD.replacen("40", wrong, 1));
        assert_eq!((error.line, error.column), (2, Some(column)), "{wrong:?}");
        assert!(error.to_string().starts_with("line 2, column `Age`:"), "{error}");
        let json: serde_json::Value = serde_json::from_slice(error.json.as_ref().unwrap()).unwrap();
        assert!(!json["Age"].is_number(), "{json}");
        assert_eq!(json["Total_Purchase"], 1000.5, "the good fields keep their types");
        assert!(error.key.is_some());
    }
    let error = bad_row(&GOOD.replacen(",1,", ",2,", 1));
    assert_eq!(error.column, Some("Account_Manager"));
}

#[test]
fn an_empty_file_is_refused_with_the_header_it_should_have() {
    for empty in ["", "\n\n\n", "\u{feff}"] {
        let message = refused(empty);
        assert!(message.contains("is empty") && message.contains("Names,Age"), "{message}");
    }
    assert_eq!(rows(file(COLUMNS.join(",")).path()).len(), 0, "a header alone is a file without rows");
}

#[test]
fn latin_1_is_read_and_said() {
    let mut bytes = text(&[&GOOD.replace("Ann", "Zo@")]).into_bytes();
    let at = bytes.iter().position(|b| *b == b'@').unwrap();
    bytes[at] = 0xEB;
    let all = rows(file(&bytes).path());
    let row = all[0].as_ref().unwrap();
    assert_eq!(row.customer.names.reveal(), "Zoë");
    assert!(row.notes[0].contains("Latin-1"), "{:?}", row.notes);
}

#[test]
fn utf_16_and_byte_order_marks_are_read_and_said() {
    let text = text(&[&GOOD.replace("Ann", "Zoë 😀")]);
    let utf16: Vec<u8> = [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    for bytes in [utf16, [&[0xEF, 0xBB, 0xBF], text.as_bytes()].concat()] {
        let file = file(&bytes);
        let reader = read_customers(file.path()).unwrap();
        assert_eq!(reader.notes().iter().any(|note| note.contains("UTF-16")), bytes[0] == 0xFF);
        let all: Vec<_> = reader.collect();
        assert_eq!(all[0].as_ref().unwrap().customer.names.reveal(), "Zoë 😀");
    }
}

#[test]
fn other_delimiters_line_ends_and_quotes_are_read() {
    let good = text(&[GOOD, &GOOD.replace("Acme", "\"Say \"\"hi\"\",\nLtd\"")]);
    for (variant, note) in [
        (good.clone(), false),
        (good.replace('\n', "\r\n"), false),
        (text(&[&GOOD.replace("\"1 Road, Town\"", "Road")]).replace(',', ";"), true),
        (text(&[&GOOD.replace("\"1 Road, Town\"", "Road")]).replace(',', "\t"), true),
    ] {
        let file = file(&variant);
        let reader = read_customers(file.path()).unwrap();
        assert_eq!(!reader.notes().is_empty(), note);
        for row in reader {
            row.unwrap_or_else(|error| panic!("{variant}: {error}"));
        }
    }
}

#[test]
fn an_open_quote_costs_its_own_row_only() {
    let error = bad_row(&GOOD.replace("Town\"", "Town"));
    assert!(error.reason.contains("never closed"), "{error}");
    assert!(error.json.is_none() && error.raw.starts_with(b"Ann,40"), "{error:?}");
}

#[test]
fn a_binary_file_a_folder_and_a_missing_file_are_refused() {
    assert!(refused([0x7f, b'E', b'L', b'F', 0, 0, 0, 1]).contains("does not look like CSV"));
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(read_customers(folder.path()), Err(CsvError::NotAFile { .. })));
    let message = read_customers(&folder.path().join("none.csv")).err().unwrap().to_string();
    assert!(message.contains("none.csv") && message.contains("check the path"), "{message}");
}

/// Resident memory of this process, bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_huge_file_is_read_in_constant_memory() {
    // A sparse gigabyte: after ten thousand good rows nothing but zeros, as from a broken copy, and then a good row.
    use std::io::{Seek, SeekFrom};
    let mut file = file(text(&vec![GOOD; 10_000]));
    file.as_file_mut().seek(SeekFrom::Start(1 << 30)).unwrap();
    file.write_all(format!("\n{GOOD}\n").as_bytes()).unwrap();
    let before = resident();
    let mut reader = read_customers(file.path()).unwrap();
    let (mut good, mut bad, mut most) = (0, 0, 0);
    for row in reader.by_ref() {
        match row {
            Ok(_) => good += 1,
            Err(error) => {
                bad += 1;
                assert!(error.raw.len() <= 64 << 10);
            }
        }
        most = most.max(resident());
    }
    assert_eq!((good, bad), (10_001, 1));
    assert_eq!(reader.position(), reader.size());
    assert!(most.saturating_sub(before) < 32 << 20, "{} MiB more", (most - before) >> 20);
}

#[test]
fn the_source_replays_rows_at_its_rate_and_bad_rows_too() {
    let file = file(text(&[GOOD, "Bad,x,1,1,1,1,d,l,Co", GOOD]));
    let mut source = CsvSource::open(file.path(), CsvOptions::default()).unwrap();
    let mut sent = Vec::new();
    loop {
        let step = source.next(Moment { wall: 42, elapsed: Duration::ZERO });
        sent.extend(step.records);
        match step.then {
            Then::After(wait) => assert_eq!(wait, Duration::from_secs(1)),
            Then::Finished => break,
            other @ Then::Pause(_) => panic!("{other:?}"),
        }
    }
    assert_eq!(sent.len(), 3);
    assert_eq!(source.counts(), (2, 1));
    for (record, line) in sent.iter().zip(["2", "3", "4"]) {
        assert_eq!((record.topic.as_str(), record.timestamp), ("costumerchurn", 42));
        assert!(record.headers.contains(&(LINE_HEADER.to_owned(), line.as_bytes().to_vec())));
        assert!(record.key.is_some());
        let json: serde_json::Value = serde_json::from_slice(&record.value).unwrap();
        assert!(json["Names"].is_string());
    }
    let first: Customer = serde_json::from_slice(&sent[0].value).unwrap();
    assert_eq!(first.id().0.as_bytes(), sent[0].key.as_deref().unwrap());
    assert!(serde_json::from_slice::<Customer>(&sent[1].value).is_err());
}

#[test]
fn the_source_can_begin_anew_and_go_fast() {
    let file = file(text(&[GOOD, GOOD, GOOD]));
    let options = CsvOptions { rate: 1000.0, repeat: true, ..CsvOptions::default() };
    let mut source = CsvSource::open(file.path(), options).unwrap();
    let step = source.next(Moment { wall: 0, elapsed: Duration::ZERO });
    assert_eq!(step.records.len(), 50, "a batch a tick");
    assert_eq!(step.then, Then::After(Duration::from_millis(50)));
    let empty = crate::csv_input::file(COLUMNS.join(","));
    let options = CsvOptions { repeat: true, ..CsvOptions::default() };
    let mut source = CsvSource::open(empty.path(), options).unwrap();
    assert_eq!(
        source.next(Moment { wall: 0, elapsed: Duration::ZERO }).then,
        Then::Finished,
        "no endless loop"
    );
}
