//! Records of text: the lines of one row, with quotes that may span lines, bounded in size.
//!
//! A quote that is never closed would swallow the rest of the file. After [`MAX_RECORD`] bytes (or at the end of the file) the
//! reader gives up on it: its first line is the error, and the lines after it are read anew.

use std::io::{self, BufRead};

use super::RowError;

/// A row longer than this is an error, bytes.
pub const MAX_RECORD: usize = 1 << 20;
/// So much of a bad row is kept.
const MAX_RAW: usize = 64 << 10;

/// The text of one row.
#[derive(Debug, PartialEq)]
pub(super) struct Line {
    /// Line of the file on which it begins, from 1.
    pub number: u64,
    /// Without the line end.
    pub bytes: Vec<u8>,
}

#[derive(Debug)]
pub(super) enum LineError {
    /// The file cannot be read further.
    Io(io::Error),
    /// A quote is never closed.
    OpenQuote(Line),
    /// A line is too long; its beginning.
    TooLong(Line),
}

impl LineError {
    pub(super) fn into_row_error(self) -> RowError {
        let (line, reason) = match self {
            Self::Io(error) => (
                Line { number: 0, bytes: Vec::new() },
                format!("the file cannot be read further: {error}; what came before it has been read"),
            ),
            Self::OpenQuote(line) => (
                line,
                String::from(
                    "a quote is opened and never closed; close it, or double quotes that belong to the text",
                ),
            ),
            Self::TooLong(line) => {
                (line, format!("the line is longer than {} KiB; is a line end missing?", MAX_RECORD >> 10))
            }
        };
        let mut raw = line.bytes;
        raw.truncate(MAX_RAW);
        RowError { line: line.number, column: None, reason, raw, json: None, key: None }
    }
}

pub(super) struct Lines<R> {
    reader: R,
    /// Number of the next physical line.
    number: u64,
    /// Physical lines that were taken back from an open quote, in reverse order.
    again: Vec<Vec<u8>>,
    /// The separator, once it is known.
    delimiter: Option<u8>,
    failed: bool,
}

/// Where in a row the scan stands: a quote opens a quoted text only at the beginning of a field.
#[derive(Clone, Copy)]
struct Scan {
    quoted: bool,
    /// A closing quote was followed by something else than a separator: the quote before it was never closed.
    broken: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, number: 1, again: Vec::new(), delimiter: None, failed: false }
    }

    pub(super) fn set_delimiter(&mut self, delimiter: u8) {
        self.delimiter = Some(delimiter);
    }

    fn quotes(&self, mut scan: Scan, part: &[u8]) -> Scan {
        let separates = |byte: u8| self.delimiter.map_or(matches!(byte, b',' | b';' | b'\t'), |d| d == byte);
        let mut fresh = !scan.quoted;
        let mut bytes = part.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            if scan.quoted {
                if byte == b'"' && bytes.next_if_eq(&b'"').is_none() {
                    scan.quoted = false;
                    scan.broken |= bytes.peek().is_some_and(|next| !separates(*next));
                }
            } else if byte == b'"' && fresh {
                scan.quoted = true;
                fresh = false;
            } else {
                fresh = separates(byte);
            }
        }
        scan
    }

    pub(super) fn reader(&self) -> &R {
        &self.reader
    }

    /// One physical line without its end (`\n`, `\r\n` or `\r`); `Err` with its beginning when it is too long.
    fn physical(&mut self) -> io::Result<Option<Result<Vec<u8>, Vec<u8>>>> {
        if let Some(line) = self.again.pop() {
            return Ok(Some(if line.len() > MAX_RECORD { Err(line) } else { Ok(line) }));
        }
        let mut line = Vec::new();
        let mut any = false;
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Ok(any.then_some(if line.len() > MAX_RECORD { Err(line) } else { Ok(line) }));
            }
            any = true;
            let end = buffer.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let taken = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or(buffer);
            // Beyond the limit the rest of the line is read and forgotten.
            let room = (MAX_RECORD + 1).saturating_sub(line.len());
            line.extend_from_slice(taken.get(..room).unwrap_or(taken));
            let Some(end) = end else {
                let length = buffer.len();
                self.reader.consume(length);
                continue;
            };
            let carriage = buffer.get(end) == Some(&b'\r');
            self.reader.consume(end + 1);
            if carriage && self.reader.fill_buf()?.first() == Some(&b'\n') {
                self.reader.consume(1);
            }
            return Ok(Some(if line.len() > MAX_RECORD { Err(line) } else { Ok(line) }));
        }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Line, LineError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let number = self.number;
        let mut parts: Vec<Vec<u8>> = Vec::new();
        let mut size = 0;
        let mut scan = Scan { quoted: false, broken: false };
        loop {
            let part = match self.physical() {
                Ok(part) => part,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(LineError::Io(error)));
                }
            };
            match part {
                Some(Ok(part)) => {
                    scan = self.quotes(scan, &part);
                    size += part.len() + 1;
                    parts.push(part);
                    // Within one line an odd quote is read as it stands; over several it means that one was never closed.
                    let broken = scan.broken && parts.len() > 1;
                    if !scan.quoted && !broken {
                        self.number = number + parts.len() as u64;
                        return Some(Ok(Line { number, bytes: parts.join(&b'\n') }));
                    }
                    if size <= MAX_RECORD && !broken {
                        continue;
                    }
                }
                Some(Err(bytes)) if parts.is_empty() => {
                    self.number = number + 1;
                    return Some(Err(LineError::TooLong(Line { number, bytes })));
                }
                // Too long inside an open quote: the quote is the mistake; the long line comes after it again, cut.
                Some(Err(bytes)) => parts.push(bytes),
                None if parts.is_empty() => return None,
                None => {}
            }
            let first = parts.remove(0);
            self.again.extend(parts.into_iter().rev());
            self.number = number + 1;
            return Some(Err(LineError::OpenQuote(Line { number, bytes: first })));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as `number:text`, errors as `number!text`.
    fn check(text: &str, expected: &[&str]) {
        let found: Vec<String> = Lines::new(text.as_bytes())
            .map(|line| match line {
                Ok(line) => format!("{}:{}", line.number, String::from_utf8_lossy(&line.bytes)),
                Err(LineError::OpenQuote(line)) => {
                    format!("{}!{}", line.number, String::from_utf8_lossy(&line.bytes))
                }
                Err(other) => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn line_ends_and_quotes() {
        check("", &[]);
        check("a\nb", &["1:a", "2:b"]);
        check("a\r\nb\r\n", &["1:a", "2:b"]);
        check("a\rb\r", &["1:a", "2:b"]);
        check("a\n\nb", &["1:a", "2:", "3:b"]);
        check("\"a\nb\",c\nd", &["1:\"a\nb\",c", "3:d"]);
        check("\"a\"\"\nb\",c\nd", &["1:\"a\"\"\nb\",c", "3:d"]);
    }

    #[test]
    fn an_open_quote_costs_its_own_line_only() {
        check("a\n\"b,c\nd\ne", &["1:a", "2!\"b,c", "3:d", "4:e"]);
        check("\"a\n\"b\"\nc", &["1!\"a", "2:\"b\"", "3:c"]);
        check("\"a,1\n\"b\",2\nc", &["1!\"a,1", "2:\"b\",2", "3:c"]);
        check("6\" nail,1\nb\n7\" nail,2", &["1:6\" nail,1", "2:b", "3:7\" nail,2"]);
        check("\"a\"b,1\nc", &["1:\"a\"b,1", "2:c"]);
        let many = format!("\"a\n{}", "0123456789\n".repeat(200_000));
        let lines: Vec<_> = Lines::new(many.as_bytes()).collect();
        assert_eq!(lines.len(), 200_001);
        assert_eq!(lines.iter().filter(|line| line.is_err()).count(), 1);
        assert!(matches!(lines.last(), Some(Ok(Line { number: 200_001, .. }))));
    }

    #[test]
    fn a_line_without_end_is_an_error_and_not_a_full_memory() {
        let text = format!("a\n{}\nb\n", "x".repeat(3 * MAX_RECORD));
        let mut lines = Lines::new(text.as_bytes());
        assert!(lines.next().unwrap().is_ok());
        let Some(Err(LineError::TooLong(line))) = lines.next() else { panic!("too long") };
        assert_eq!((line.number, line.bytes.len()), (2, MAX_RECORD + 1));
        assert_eq!(lines.next().unwrap().unwrap(), Line { number: 3, bytes: b"b".to_vec() });
        assert!(lines.next().is_none());
    }
}
