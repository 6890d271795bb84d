//! Customers from CSV files: the reader (also the importer's) and the source that replays rows to `costumerchurn`.
//!
//! ```text
//! file ─▶ Text (encoding) ─▶ Lines (one record of text each, bounded) ─▶ split (fields) ─▶ Header ─▶ Row | RowError
//! ```
//! Invariants:
//! - memory is constant: one record of at most [`MAX_RECORD`] bytes is held, whatever the size of the file;
//! - a bad row never hides the rows after it, not even one with a quote that is never closed;
//! - what was coped with is said, as a note.

mod encoding;
mod error;
mod header;
mod lines;
mod row;
mod source;

use std::fs::File;
use std::path::Path;

pub use error::{CsvError, RowError};
pub use header::COLUMNS;
pub use lines::MAX_RECORD;
pub use row::Row;
pub use source::{CsvOptions, CsvSource, LINE_HEADER, record};

use encoding::{Encoding, Text};
use header::Header;
use lines::Lines;

/// Rows of any CSV file with a header, one at a time: the cells as text.
pub struct Records {
    lines: Lines<Text<File>>,
    names: Vec<String>,
    delimiter: u8,
    size: u64,
    notes: Vec<String>,
}

/// One row of any CSV file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Line of the file on which the row begins, from 1.
    pub line: u64,
    /// The cells, as many as the header has names.
    pub cells: Vec<String>,
    /// What was coped with.
    pub notes: Vec<String>,
}

/// Opens any CSV file with a header; the delimiter is found out (comma, semicolon or tab).
pub fn read_records(path: &Path, delimiter: Option<u8>) -> Result<Records, CsvError> {
    let unreadable = |source| CsvError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(CsvError::NotAFile { path: path.to_owned() });
    }
    let text = Text::open(file).map_err(unreadable)?;
    let encoding = text.encoding();
    let mut lines = Lines::new(text);
    let first = loop {
        match lines.next() {
            None => return Err(CsvError::Empty { path: path.to_owned() }),
            Some(Err(lines::LineError::Io(source))) => return Err(unreadable(source)),
            Some(Err(_)) => return Err(CsvError::NotCsv { path: path.to_owned() }),
            Some(Ok(line)) if line.bytes.trim_ascii().is_empty() => {}
            Some(Ok(line)) => break line,
        }
    };
    if first.bytes.contains(&0) {
        return Err(CsvError::NotCsv { path: path.to_owned() });
    }
    let delimiter = delimiter.unwrap_or_else(|| header::delimiter(&first.bytes));
    lines.set_delimiter(delimiter);
    let (names, latin) = row::fields(&first.bytes, delimiter);
    let mut notes = Vec::new();
    if encoding != Encoding::Utf8 {
        notes.push(format!("the file is {encoding}; it is read as such"));
    }
    if latin {
        notes.push(String::from("the header is not UTF-8; it is read as Latin-1 (Windows-1252)"));
    }
    if delimiter != b',' {
        notes.push(format!("fields are separated by {:?}", char::from(delimiter)));
    }
    let names = names.into_iter().map(|name| name.trim().to_owned()).collect();
    Ok(Records { lines, names, delimiter, size: metadata.len(), notes })
}

impl Records {
    /// The header.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What was coped with in the file as a whole.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many bytes of it have been read, for progress.
    pub fn position(&self) -> u64 {
        self.lines.reader().position()
    }

    fn line(&mut self) -> Option<Result<lines::Line, RowError>> {
        loop {
            return match self.lines.next()? {
                Ok(line) if line.bytes.trim_ascii().is_empty() => continue,
                Ok(line) => Some(Ok(line)),
                Err(error) => Some(Err(error.into_row_error())),
            };
        }
    }
}

impl Iterator for Records {
    type Item = Result<Record, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = match self.line()? {
            Ok(line) => line,
            Err(error) => return Some(Err(error)),
        };
        Some(row::record(&line, self.delimiter, self.names.len()))
    }
}

/// Rows of a file of customers, one at a time.
pub struct Customers {
    records: Records,
    header: Header,
    notes: Vec<String>,
}

/// Opens a file of customers and checks its header; the delimiter is found out (comma, semicolon or tab).
pub fn read_customers(path: &Path) -> Result<Customers, CsvError> {
    read_customers_with(path, None)
}

/// The same with a given delimiter.
pub fn read_customers_with(path: &Path, delimiter: Option<u8>) -> Result<Customers, CsvError> {
    let records = read_records(path, delimiter)?;
    let header = Header::read(path, records.names())?;
    let notes = records.notes().iter().cloned().chain(header.notes()).collect();
    Ok(Customers { records, header, notes })
}

impl Customers {
    /// What was coped with in the file as a whole.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.records.size()
    }

    /// How many bytes of it have been read, for progress.
    pub fn position(&self) -> u64 {
        self.records.position()
    }
}

impl Iterator for Customers {
    type Item = Result<Row, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let delimiter = self.records.delimiter;
        Some(self.records.line()?.and_then(|line| self.header.row(&line, delimiter)))
    }
}
