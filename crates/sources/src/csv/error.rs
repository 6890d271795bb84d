//! What can be wrong with a file, and with one row of it.

use std::path::PathBuf;

use super::header::COLUMNS;

/// The file as a whole cannot be read as customers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CsvError {
    /// The file cannot be opened or read.
    #[error("{}: cannot be read: {source}; check the path and its permissions", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The path is a folder.
    #[error("{}: is a folder; name a CSV file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file has no line.
    #[error("{}: the file is empty; its first line should be the header {}", path.display(), COLUMNS.join(","))]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file is not text.
    #[error(
        "{}: this does not look like CSV (its first line is binary, or longer than 1 MiB); export the table as CSV in UTF-8",
        path.display()
    )]
    NotCsv {
        /// The file.
        path: PathBuf,
    },
    /// The header lacks columns.
    #[error(
        "{}, line 1: wrong header: missing {}{}{}; the columns are {}",
        path.display(), quoted(missing),
        if unexpected.is_empty() { String::new() } else { format!("; unexpected {}", quoted(unexpected)) },
        suggestions.iter().map(|(found, meant)| format!("; did you mean `{meant}` by `{found}`?")).collect::<String>(),
        COLUMNS.join(",")
    )]
    WrongHeader {
        /// The file.
        path: PathBuf,
        /// Columns that are not there.
        missing: Vec<String>,
        /// Columns that nobody knows.
        unexpected: Vec<String>,
        /// `(found, meant)`: unexpected columns and the missing one that each resembles.
        suggestions: Vec<(String, String)>,
    },
    /// The header has a column twice.
    #[error("{}, line 1: the column `{column}` appears twice; remove one", path.display())]
    DuplicateColumn {
        /// The file.
        path: PathBuf,
        /// Which.
        column: String,
    },
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// One row cannot be a customer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("line {line}{}: {reason}", column.as_ref().map(|name| format!(", column `{name}`")).unwrap_or_default())]
pub struct RowError {
    /// Line of the file on which the row begins, from 1.
    pub line: u64,
    /// The column, where it is one column's fault.
    pub column: Option<&'static str>,
    /// What is wrong, and what would be right.
    pub reason: String,
    /// The row as it stands in the file (UTF-8 bytes where it was UTF-16), at most 64 KiB.
    pub raw: Vec<u8>,
    /// The row as a record: a JSON object whose bad fields are text or absent, so that the contract check says what is wrong
    /// with it; `None` where the row has no fields at all.
    pub json: Option<Vec<u8>>,
    /// The customer's id, where name and company could be read.
    pub key: Option<String>,
}
