//! One row: fields, types, JSON.

use serde_json::{Map, Value};
use vigie_contracts::Pii;
use vigie_domain::{Customer, CustomerId};

use super::RowError;
use super::encoding::latin;
use super::header::{Header, IDENTITY, LABEL};
use super::lines::Line;

/// So much of a bad row is kept.
const MAX_RAW: usize = 64 << 10;

/// A customer, and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Line of the file on which the row begins, from 1.
    pub line: u64,
    /// The customer.
    pub customer: Customer,
    /// What was coped with.
    pub notes: Vec<String>,
}

impl Row {
    /// The row as a record's value: a JSON object, keys = column names.
    pub fn json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.customer).unwrap_or_default()
    }
}

/// The fields of one record of text, and whether it had to be read as Latin-1. Quotes as in RFC 4180; a quote in the middle of
/// an unquoted field is part of the text.
pub(super) fn fields(record: &[u8], delimiter: u8) -> (Vec<String>, bool) {
    let mut all = Vec::new();
    let mut field: Vec<u8> = Vec::new();
    let mut quoted = false;
    let mut fresh = true;
    let mut bytes = record.iter().copied().peekable();
    let mut not_utf8 = false;
    let mut text = |field: &mut Vec<u8>| match String::from_utf8(std::mem::take(field)) {
        Ok(text) => text,
        Err(error) => {
            not_utf8 = true;
            latin(error.as_bytes())
        }
    };
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if quoted => {
                if bytes.peek() == Some(&b'"') {
                    bytes.next();
                    field.push(b'"');
                } else {
                    quoted = false;
                }
            }
            b'"' if fresh => {
                quoted = true;
                fresh = false;
            }
            _ if byte == delimiter && !quoted => {
                all.push(text(&mut field));
                fresh = true;
            }
            _ => {
                field.push(byte);
                fresh = false;
            }
        }
    }
    all.push(text(&mut field));
    (all, not_utf8)
}

const NOT_UTF8: &str = "not UTF-8; read as Latin-1 (Windows-1252)";

/// What to say of surplus fields: `Err` when they hold something.
fn surplus(fields: &[String], expected: usize) -> Result<Option<String>, String> {
    let surplus = fields.get(expected..).unwrap_or_default();
    if surplus.iter().any(|field| !field.trim().is_empty()) {
        return Err(format!(
            "{} fields, but the header has {expected}; put text with a comma between quotes",
            fields.len()
        ));
    }
    Ok(match surplus.len() {
        0 => None,
        1 => Some(String::from("a surplus comma at the end of the line; left out")),
        many => Some(format!("{many} surplus commas at the end of the line; left out")),
    })
}

/// The cells of one record of text, as many as the header has.
pub(super) fn record(line: &Line, delimiter: u8, expected: usize) -> Result<super::Record, RowError> {
    let (mut cells, not_utf8) = fields(&line.bytes, delimiter);
    let mut notes = Vec::new();
    if not_utf8 {
        notes.push(String::from(NOT_UTF8));
    }
    let outcome = match surplus(&cells, expected) {
        Ok(note) if cells.len() >= expected => Ok(note),
        Ok(_) => Err(format!("{} fields, but the header has {expected}", cells.len())),
        Err(reason) => Err(reason),
    };
    match outcome {
        Ok(note) => {
            notes.extend(note);
            cells.truncate(expected);
            Ok(super::Record { line: line.number, cells, notes })
        }
        Err(reason) => {
            let mut raw = line.bytes.clone();
            raw.truncate(MAX_RAW);
            Err(RowError { line: line.number, column: None, reason, raw, json: None, key: None })
        }
    }
}

/// A row while it is read: what is good so far, and the first thing that is wrong.
struct Reading {
    object: Map<String, Value>,
    wrong: Option<(Option<&'static str>, String)>,
}

impl Reading {
    fn wrong(&mut self, column: Option<&'static str>, reason: String) {
        if self.wrong.is_none() {
            self.wrong = Some((column, reason));
        }
    }

    fn text(&mut self, column: &str) -> String {
        self.object.get(column).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// The column as a number; the object then has it as a number too.
    fn number(&mut self, column: &'static str) -> f64 {
        let text = self.text(column);
        let text = text.trim();
        if text.is_empty() {
            if self.object.remove(column).is_some() {
                self.wrong(Some(column), String::from("is empty; a number is needed"));
            }
            return 0.0;
        }
        match text.parse::<f64>().ok().filter(|number| number.is_finite()) {
            Some(number) => {
                self.object.insert(column.to_owned(), Value::from(number));
                number
            }
            None => {
                self.wrong(
                    Some(column),
                    format!("{text:?} is not a number; write it with a point, as in 42.0"),
                );
                0.0
            }
        }
    }

    /// The column as 0 or 1.
    fn flag(&mut self, column: &'static str) -> u8 {
        let number = self.number(column);
        if number == 0.0 || number == 1.0 {
            let flag = u8::from(number == 1.0);
            if self.object.get(column).is_some_and(Value::is_number) {
                self.object.insert(column.to_owned(), Value::from(flag));
            }
            return flag;
        }
        self.wrong(Some(column), format!("{number} is neither 0 nor 1"));
        0
    }
}

impl Header {
    /// The customer of one record of text.
    pub(super) fn row(&self, line: &Line, delimiter: u8) -> Result<Row, RowError> {
        let (fields, not_utf8) = fields(&line.bytes, delimiter);
        let mut notes = Vec::new();
        if not_utf8 {
            notes.push(String::from(NOT_UTF8));
        }
        let mut reading = Reading { object: Map::new(), wrong: None };
        // With fields that nobody asked for, no field can be trusted to stand under its own name: such a row gives no object, or it
        // would be scored as somebody else.
        let mut misaligned = false;
        match surplus(&fields, self.fields.len()) {
            Ok(note) => notes.extend(note),
            Err(reason) => {
                misaligned = true;
                reading.wrong(None, reason);
            }
        }
        for (column, field) in self.fields.iter().zip(&fields) {
            if let Some(column) = column {
                reading.object.insert((*column).to_owned(), Value::from(field.trim()));
            }
        }
        for column in self.fields.iter().skip(fields.len()).flatten() {
            if *column != LABEL && *column != IDENTITY {
                let reason = format!("{} fields, but the header has {}", fields.len(), self.fields.len());
                reading.wrong(Some(*column), format!("is missing: the row has {reason}"));
            }
        }
        // An empty label or identity is none.
        for optional in [LABEL, IDENTITY] {
            if reading.text(optional).is_empty() {
                reading.object.remove(optional);
            }
        }
        let customer = Customer {
            customer_id: reading
                .object
                .get(IDENTITY)
                .and_then(Value::as_str)
                .map(|id| CustomerId(id.to_owned())),
            names: Pii::new(reading.text("Names")),
            age: reading.number("Age"),
            total_purchase: reading.number("Total_Purchase"),
            account_manager: reading.flag("Account_Manager"),
            years: reading.number("Years"),
            num_sites: reading.number("Num_Sites"),
            onboard_date: reading.text("Onboard_date"),
            location: Pii::new(reading.text("Location")),
            company: reading.text("Company"),
            churn: reading.object.contains_key(LABEL).then(|| reading.flag(LABEL)),
        };
        let identity = reading.object.contains_key(IDENTITY)
            || !(customer.names.reveal().is_empty() && customer.company.is_empty());
        let Some((column, reason)) = reading.wrong else {
            return Ok(Row { line: line.number, customer, notes });
        };
        let mut raw = line.bytes.clone();
        raw.truncate(MAX_RAW);
        Err(RowError {
            line: line.number,
            column,
            reason,
            raw,
            json: serde_json::to_vec(&reading.object).ok().filter(|_| !misaligned),
            key: (identity && !misaligned).then(|| customer.id().0),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The splitter agrees with a well-known one on whatever that one writes.
        #[test]
        fn splits_as_others_do(rows in proptest::collection::vec("[a-zé,\"\n; ]{0,12}", 1..8)) {
            let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
            writer.write_record(&rows).unwrap();
            let bytes = writer.into_inner().unwrap();
            let line = bytes.strip_suffix(b"\n").unwrap();
            prop_assert_eq!(fields(line, b',').0, rows);
        }
    }

    #[test]
    fn quotes_inside_and_latin_text() {
        for (line, expected, latin) in [
            (&b"a,b"[..], vec!["a", "b"], false),
            (b"", vec![""], false),
            (b"a,", vec!["a", ""], false),
            (b"\"a,b\",c", vec!["a,b", "c"], false),
            (b"\"a\"\"b\"", vec!["a\"b"], false),
            (b"6\" nail,c", vec!["6\" nail", "c"], false),
            (b"Zo\xEB,c", vec!["Zoë", "c"], true),
        ] {
            let (found, not_utf8) = fields(line, b',');
            assert_eq!((found, not_utf8), (expected.into_iter().map(String::from).collect(), latin));
        }
    }
}
