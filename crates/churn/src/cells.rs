//! How the text of one cell is read: blanks, numbers, yes/no, dates. Training and scoring share these functions,
//! so that a cell means the same in both. How a column writes its numbers and dates is found out from all its cells at once
//! (`03/04/2024` alone means two things), stored with the model, and then held to.

use jiff::{Timestamp, civil, tz::TimeZone};
use serde::{Deserialize, Serialize};

/// How the numbers of a column are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NumberFormat {
    /// `1234.5`
    Point,
    /// `1234,5`
    Comma,
}

/// Whether a cell says that its value is not known.
#[must_use]
pub fn is_missing(text: &str) -> bool {
    matches!(text.trim(), "" | "NA" | "N/A" | "n/a" | "NaN" | "nan" | "null" | "NULL" | "?")
}

/// A finite number, or nothing. `inf` and `NaN` are no numbers here. Thousands may be set apart (`1,234.5`, `1 234,5`,
/// `1.234,5`), and a currency sign or a per cent sign may stand beside it: `12 %` is 12.
#[must_use]
pub fn number(text: &str, format: NumberFormat) -> Option<f64> {
    let text = text.trim();
    // Rust would also read "infinity", which is a word in a table.
    if !text.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    let (point, apart) = match format {
        NumberFormat::Point => ('.', ','),
        NumberFormat::Comma => (',', '.'),
    };
    // The usual case first: nothing but a number.
    let plain = if format == NumberFormat::Point { !text.contains(',') } else { !text.contains(['.', ',']) };
    if plain && let Ok(value) = text.parse::<f64>() {
        return Some(value).filter(|v| v.is_finite());
    }
    let text = text.trim_matches(|c: char| is_space(c) || matches!(c, '€' | '$' | '£' | '%'));
    let text = ["EUR", "USD", "CHF"].iter().find_map(|name| text.strip_suffix(name)).unwrap_or(text);
    let text = text.trim_end_matches(is_space);
    let (sign, digits) = match text.strip_prefix(['-', '−']) {
        Some(rest) => ("-", rest.trim_start_matches(['€', '$', '£'])),
        None => ("", text),
    };
    let (whole, rest) = match digits.split_once(point) {
        Some((whole, rest)) => (whole, Some(rest)),
        None => (digits, None),
    };
    if rest.is_some_and(|rest| rest.contains([',', '.']) || rest.contains(is_space)) {
        return None;
    }
    let separator = whole.chars().find(|c| *c == apart || is_space(*c));
    let whole = match separator {
        None => whole.to_owned(),
        Some(separator) if in_groups(whole, separator) => whole.split(separator).collect(),
        // A lone point is a decimal point, whatever the others do: 0.5 and 12.75.
        Some('.') if rest.is_none() => {
            return format!("{sign}{digits}").parse().ok().filter(|v: &f64| v.is_finite());
        }
        Some(_) => return None,
    };
    let text = match rest {
        Some(rest) => format!("{sign}{whole}.{rest}"),
        None => format!("{sign}{whole}"),
    };
    text.parse::<f64>().ok().filter(|v| v.is_finite())
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\u{a0}' | '\u{202f}' | '\u{2009}')
}

/// One to three digits that do not begin with 0, then groups of three.
fn in_groups(whole: &str, separator: char) -> bool {
    let mut groups = whole.split(separator);
    let all_digits = |group: &str| group.bytes().all(|b| b.is_ascii_digit());
    let first =
        groups.next().is_some_and(|g| (1..=3).contains(&g.len()) && all_digits(g) && !g.starts_with('0'));
    first && groups.all(|group| group.len() == 3 && all_digits(group))
}

/// A yes or no, in the spellings that tables use (0/1, true/false, yes/no, oui/non and their initials).
#[must_use]
pub fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "1.0" | "true" | "t" | "yes" | "y" | "oui" | "o" | "vrai" => Some(true),
        "0" | "0.0" | "false" | "f" | "no" | "n" | "non" | "faux" => Some(false),
        _ => None,
    }
}

/// How the dates of a column are written. A time of day may follow any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DateFormat {
    /// `2024-06-30`, `2024/06/30`, `20240630`, with or without a time and an offset.
    #[default]
    YearFirst,
    /// `30/06/2024`, `30.06.2024`, `30-06-24`.
    DayFirst,
    /// `06/30/2024`.
    MonthFirst,
    /// `30 June 2024`, `Jun 30, 2024`, `30 juin 2024`.
    Named,
}

impl DateFormat {
    /// All of them, the least ambiguous first.
    pub const ALL: [Self; 4] = [Self::YearFirst, Self::DayFirst, Self::MonthFirst, Self::Named];

    /// Whether it is the usual one, which files do not mention: they are then as files of earlier formats were.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// Days since 1970-01-01 of a date or date-time (an offset or `Z` is respected, else UTC).
#[must_use]
pub fn day_number(text: &str, format: DateFormat) -> Option<f64> {
    let text = text.trim();
    let bytes = text.as_bytes();
    // A cheap look first: most cells of most columns are no dates, and a year alone is a number.
    if bytes.len() < 6 || !bytes.iter().any(u8::is_ascii_digit) {
        return None;
    }
    let (date, time) = match format {
        DateFormat::YearFirst => return year_first(text),
        DateFormat::Named => return named(text),
        DateFormat::DayFirst | DateFormat::MonthFirst => text.split_once([' ', 'T']).unwrap_or((text, "")),
    };
    let mut parts = date.split(['/', '.', '-']);
    let mut part = || parts.next()?.parse::<i16>().ok();
    let (first, second, year) = (part()?, part()?, part()?);
    if parts.next().is_some() {
        return None;
    }
    let (day, month) = if format == DateFormat::DayFirst { (first, second) } else { (second, first) };
    days(year_of(year, date)?, month, day, time)
}

/// Two digits mean 1970 to 2069, as most programs read them.
fn year_of(year: i16, date: &str) -> Option<i16> {
    let digits = date.len() - date.rfind(['/', '.', '-', ' ']).map_or(0, |at| at + 1);
    match digits {
        4 => Some(year),
        2 => Some(if year < 70 { 2000 + year } else { 1900 + year }),
        _ => None,
    }
}

fn days(year: i16, month: i16, day: i16, time: &str) -> Option<f64> {
    let date = civil::Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
    let time = time.trim();
    let time = if time.is_empty() { civil::Time::midnight() } else { time.parse::<civil::Time>().ok()? };
    let seconds = date.to_datetime(time).to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
    Some(seconds as f64 / 86_400.0)
}

fn year_first(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || !bytes.iter().take(4).all(u8::is_ascii_digit) {
        return None;
    }
    match bytes.get(4) {
        Some(b'-') => {}
        Some(b'/') => return year_first(&text.replacen('/', "-", 2)),
        // Only as a year that somebody may have lived in, and eight digits: other numbers are numbers.
        _ if bytes.len() == 8 && bytes.iter().all(u8::is_ascii_digit) => {
            let part = |from: usize, to: usize| text.get(from..to)?.parse::<i16>().ok();
            let year = part(0, 4).filter(|year| (1900..2100).contains(year))?;
            return days(year, part(4, 6)?, part(6, 8)?, "");
        }
        _ => return None,
    }
    let seconds = if let Ok(instant) = text.parse::<Timestamp>() {
        instant.as_second()
    } else if let Ok(moment) = text.parse::<civil::DateTime>() {
        moment.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second()
    } else {
        let date = text.parse::<civil::Date>().ok()?;
        date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second()
    };
    Some(seconds as f64 / 86_400.0)
}

/// English and French names of months, by their first letters.
const MONTHS: [&[&str]; 12] = [
    &["jan"],
    &["feb", "fév", "fev"],
    &["mar"],
    &["apr", "avr"],
    &["may", "mai"],
    &["jun", "juin"],
    &["jul", "juil"],
    &["aug", "aoû", "aou"],
    &["sep"],
    &["oct"],
    &["nov"],
    &["dec", "déc"],
];

fn named(text: &str) -> Option<f64> {
    // Numbers, ids and sentences are most of what is asked: they are told apart cheaply.
    if text.len() > 40 || !text.contains(|c: char| c.is_alphabetic()) {
        return None;
    }
    let lower = text.to_lowercase();
    let mut numbers = Vec::new();
    let mut month = None;
    let mut time = "";
    for word in lower.split([' ', ',', '-', '/', '.']).filter(|word| !word.is_empty()) {
        if word.contains(':') {
            time = word;
        } else if word.starts_with(|c: char| c.is_ascii_digit()) {
            let digits = word.trim_end_matches(|c: char| c.is_alphabetic());
            numbers.push((digits.parse::<i16>().ok()?, digits.len()));
        } else if month.is_none() {
            let index = MONTHS.iter().position(|names| names.iter().any(|name| word.starts_with(name)))?;
            month = Some(index as i16 + 1);
        } else {
            return None;
        }
    }
    let [(a, a_digits), (b, b_digits)] = numbers.as_slice() else { return None };
    match (a_digits, b_digits) {
        (4, 1..=2) => days(*a, month?, *b, time),
        (1..=2, 4) => days(*b, month?, *a, time),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_read_as_people_mean_them() {
        let check = |text, format, expect| assert_eq!(number(text, format), expect, "{text}");
        check(" 12.50 ", NumberFormat::Point, Some(12.5));
        check("12,5", NumberFormat::Point, None);
        check("1,234.5", NumberFormat::Point, Some(1234.5));
        check("1,234,567", NumberFormat::Point, Some(1_234_567.0));
        check("1,23,456", NumberFormat::Point, None);
        check("$1,234.50", NumberFormat::Point, Some(1234.5));
        check("-$5", NumberFormat::Point, Some(-5.0));
        check("12 %", NumberFormat::Point, Some(12.0));
        check("1\u{202f}234,5 €", NumberFormat::Comma, Some(1234.5));
        check("10 522,21", NumberFormat::Comma, Some(10_522.21));
        check("0.5", NumberFormat::Comma, Some(0.5));
        check("12 34", NumberFormat::Point, None);
        check("B-12", NumberFormat::Point, None);
        check("12,5", NumberFormat::Comma, Some(12.5));
        check("1,234,5", NumberFormat::Comma, None);
        check("1.234,5", NumberFormat::Comma, Some(1234.5));
        check("7", NumberFormat::Comma, Some(7.0));
        check("infinity", NumberFormat::Point, None);
        check("1e999", NumberFormat::Point, None);
        check("-3e-2", NumberFormat::Point, Some(-0.03));
        assert_eq!(boolean("OUI"), Some(true));
        assert_eq!(boolean("0"), Some(false));
        assert_eq!(boolean("2"), None);
        assert!(is_missing("  ") && is_missing("NA") && !is_missing("None") && !is_missing("0"));
    }

    #[test]
    fn dates_become_days() {
        let check = |text, expect| assert_eq!(day_number(text, DateFormat::YearFirst), expect, "{text}");
        check("1970-01-02", Some(1.0));
        check("1970-01-02 12:00:00", Some(1.5));
        check("1970-01-01T00:00:00Z", Some(0.0));
        check("1970-01-01T02:00:00+02:00", Some(0.0));
        check("2013-02-30", None);
        check("2013", None);
        check("12345678", None);
        check("1970/01/02", Some(1.0));
        check("19700102", Some(1.0));
        let check = |text, format, expect| assert_eq!(day_number(text, format), expect, "{text}");
        check("02/01/1970", DateFormat::DayFirst, Some(1.0));
        check("2.1.1970 12:00", DateFormat::DayFirst, Some(1.5));
        check("01/02/70", DateFormat::MonthFirst, Some(1.0));
        check("13/01/1970", DateFormat::MonthFirst, None);
        check("01/02/197", DateFormat::DayFirst, None);
        check("2 January 1970", DateFormat::Named, Some(1.0));
        check("Jan 2, 1970", DateFormat::Named, Some(1.0));
        check("2nd jan 1970 06:00", DateFormat::Named, Some(1.25));
        check("1 août 1970", DateFormat::Named, Some(212.0));
        check("apartment 12, 1970 road", DateFormat::Named, None);
    }
}
