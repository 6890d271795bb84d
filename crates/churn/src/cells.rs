//! How the text of one cell is read: blanks, numbers, yes/no, dates. Training and scoring share these functions,
//! so that a cell means the same in both. Dates are ISO 8601 only: `03/04/2024` means two things.

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

/// A finite number, or nothing. `inf` and `NaN` are no numbers here.
#[must_use]
pub fn number(text: &str, format: NumberFormat) -> Option<f64> {
    let text = text.trim();
    // Rust would also read "infinity", which is a word in a table.
    if !text.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    let value = match format {
        NumberFormat::Point => text.parse::<f64>().ok(),
        NumberFormat::Comma if text.contains(',') => {
            if text.contains('.') || text.matches(',').count() > 1 {
                return None;
            }
            text.replace(',', ".").parse::<f64>().ok()
        }
        NumberFormat::Comma => text.parse::<f64>().ok(),
    };
    value.filter(|v| v.is_finite())
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

/// Days since 1970-01-01 of an ISO date or date-time (an offset or `Z` is respected, else UTC).
#[must_use]
pub fn day_number(text: &str) -> Option<f64> {
    let text = text.trim();
    let bytes = text.as_bytes();
    // A cheap look first: most cells of most columns are no dates, and a year alone is a number.
    if bytes.len() < 8 || !bytes.iter().take(4).all(u8::is_ascii_digit) || bytes.get(4) != Some(&b'-') {
        return None;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_read_as_people_mean_them() {
        let check = |text, format, expect| assert_eq!(number(text, format), expect, "{text}");
        check(" 12.50 ", NumberFormat::Point, Some(12.5));
        check("12,5", NumberFormat::Point, None);
        check("12,5", NumberFormat::Comma, Some(12.5));
        check("1,234,5", NumberFormat::Comma, None);
        check("1.234,5", NumberFormat::Comma, None);
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
        let check = |text, expect| assert_eq!(day_number(text), expect, "{text}");
        check("1970-01-02", Some(1.0));
        check("1970-01-02 12:00:00", Some(1.5));
        check("1970-01-01T00:00:00Z", Some(0.0));
        check("1970-01-01T02:00:00+02:00", Some(0.0));
        check("2013-02-30", None);
        check("2013", None);
        check("12345678", None);
    }
}
