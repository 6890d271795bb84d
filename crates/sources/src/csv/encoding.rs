//! Encodings: UTF-8 with or without a byte-order mark passes through, UTF-16 becomes UTF-8. Latin-1 is the row's business,
//! because it cannot be told from UTF-8 before the first byte that does not fit.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

/// How a file is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, or something that is read as Latin-1 row by row.
    Utf8,
    /// UTF-16, low byte first.
    Utf16Le,
    /// UTF-16, high byte first.
    Utf16Be,
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Utf8 => "UTF-8",
            Self::Utf16Le => "UTF-16 (little endian)",
            Self::Utf16Be => "UTF-16 (big endian)",
        })
    }
}

/// A reader that hands out UTF-8 (or the bytes as they are, where they are neither UTF-8 nor UTF-16).
pub(super) struct Text<R> {
    inner: BufReader<R>,
    encoding: Encoding,
    /// Decoded and not handed out yet.
    decoded: Vec<u8>,
    at: usize,
    /// The first half of a surrogate pair.
    high: Option<u16>,
    position: u64,
}

impl<R: Read> Text<R> {
    pub(super) fn open(reader: R) -> io::Result<Self> {
        let mut inner = BufReader::with_capacity(64 * 1024, reader);
        let head = inner.fill_buf()?;
        let (encoding, mark) = match head {
            [0xEF, 0xBB, 0xBF, ..] => (Encoding::Utf8, 3),
            [0xFF, 0xFE, ..] => (Encoding::Utf16Le, 2),
            [0xFE, 0xFF, ..] => (Encoding::Utf16Be, 2),
            // Without a mark: a header in ASCII has a zero in every second byte.
            [first, 0, second, 0, ..] if *first != 0 && *second != 0 => (Encoding::Utf16Le, 0),
            [0, first, 0, second, ..] if *first != 0 && *second != 0 => (Encoding::Utf16Be, 0),
            _ => (Encoding::Utf8, 0),
        };
        inner.consume(mark);
        Ok(Self { inner, encoding, decoded: Vec::new(), at: 0, high: None, position: mark as u64 })
    }

    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// How many bytes of the file have been taken.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    fn decode(&mut self) -> io::Result<()> {
        self.decoded.clear();
        self.at = 0;
        for _ in 0..4096 {
            let mut pair = [0_u8; 2];
            let read = self.inner.read(&mut pair[..])?;
            if read == 0 {
                break;
            }
            self.position += read as u64;
            if read == 1 {
                let [_, second] = &mut pair;
                match self.inner.read(std::slice::from_mut(second))? {
                    0 => {
                        // Half a character at the end of the file.
                        self.push(char::REPLACEMENT_CHARACTER);
                        break;
                    }
                    more => self.position += more as u64,
                }
            }
            let unit = match self.encoding {
                Encoding::Utf16Be => u16::from_be_bytes(pair),
                _ => u16::from_le_bytes(pair),
            };
            let units = self.high.take().into_iter().chain([unit]);
            if self.decoded_is_high(unit) {
                if units.count() == 2 {
                    self.push(char::REPLACEMENT_CHARACTER);
                }
                self.high = Some(unit);
                continue;
            }
            let text: Vec<char> =
                char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
            for c in text {
                self.push(c);
            }
        }
        if self.decoded.is_empty() && self.high.take().is_some() {
            self.push(char::REPLACEMENT_CHARACTER);
        }
        Ok(())
    }

    fn decoded_is_high(&self, unit: u16) -> bool {
        (0xD800..0xDC00).contains(&unit)
    }

    fn push(&mut self, c: char) {
        let mut buffer = [0_u8; 4];
        self.decoded.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
    }
}

impl<R: Read> Read for Text<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(out.len());
        for (to, from) in out.iter_mut().zip(available) {
            *to = *from;
        }
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for Text<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.encoding == Encoding::Utf8 {
            return self.inner.fill_buf();
        }
        if self.at >= self.decoded.len() {
            self.decode()?;
        }
        Ok(self.decoded.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        if self.encoding == Encoding::Utf8 {
            self.position += count as u64;
            self.inner.consume(count);
        } else {
            self.at += count;
        }
    }
}

/// Text of bytes that are not UTF-8, read as Windows-1252 (a superset of Latin-1's printable characters).
pub(super) fn latin(bytes: &[u8]) -> String {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
        '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    bytes
        .iter()
        .map(|byte| match byte {
            0x80..0xA0 => HIGH.get(usize::from(byte - 0x80)).copied().unwrap_or('\u{fffd}'),
            _ => char::from(*byte),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_encoding_gives_the_same_text() {
        let text = "Names,Ä€😀\nZoë,x\n";
        let utf16 = |big: bool, mark: bool| -> Vec<u8> {
            let mark: &[u16] = if mark { &[0xFEFF] } else { &[] };
            let units: Vec<u16> = mark.iter().copied().chain(text.encode_utf16()).collect();
            units.iter().flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }).collect()
        };
        for (bytes, encoding) in [
            (text.as_bytes().to_vec(), Encoding::Utf8),
            ([&[0xEF, 0xBB, 0xBF], text.as_bytes()].concat(), Encoding::Utf8),
            (utf16(false, true), Encoding::Utf16Le),
            (utf16(true, true), Encoding::Utf16Be),
            (utf16(false, false), Encoding::Utf16Le),
            (utf16(true, false), Encoding::Utf16Be),
        ] {
            let size = bytes.len() as u64;
            let mut reader = Text::open(bytes.as_slice()).unwrap();
            assert_eq!(reader.encoding(), encoding);
            let mut out = String::new();
            reader.read_to_string(&mut out).unwrap();
            assert_eq!(out, text, "{encoding}");
            assert_eq!(reader.position(), size, "{encoding}");
        }
    }

    #[test]
    fn broken_utf16_is_replaced_and_does_not_end_the_file() {
        for (units, expected) in [
            (vec![0xFEFF, 0x41, 0xD83D, 0x42], "A\u{fffd}B"),
            (vec![0xFEFF, 0x41, 0xDE00, 0x42], "A\u{fffd}B"),
            (vec![0xFEFF, 0x41, 0xD83D], "A\u{fffd}"),
            (vec![0xFEFF, 0xD83D, 0xD83D, 0xDE00], "\u{fffd}😀"),
        ] {
            let bytes: Vec<u8> = units.iter().flat_map(|u: &u16| u.to_le_bytes()).collect();
            let mut out = String::new();
            Text::open(bytes.as_slice()).unwrap().read_to_string(&mut out).unwrap();
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn latin_text() {
        assert_eq!(latin(b"Zo\xEB \x80 \x92"), "Zoë € ’");
    }
}
