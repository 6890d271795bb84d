//! Time as the sources write it: ISO 8601.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Milliseconds since the epoch of an ISO 8601 text. With an offset (`Z`, `+02:00`) that offset counts; without one, and with a
/// blank in place of the `T` (as in `Onboard_date`), it is taken as UTC.
pub fn parse_iso8601(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp.as_millisecond());
    }
    let civil: DateTime = text.parse().ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

/// ISO 8601 in UTC, to the millisecond; times beyond the year 9999 are clamped.
pub fn iso8601(ms: i64) -> String {
    let timestamp =
        Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX });
    format!("{timestamp:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_texts_of_the_sources() {
        for (text, expected) in [
            ("2025-06-15T15:06:40Z", Some(1_750_000_000_000)),
            ("2025-06-15T15:06:40.123Z", Some(1_750_000_000_123)),
            ("2025-06-15T17:06:40+02:00", Some(1_750_000_000_000)),
            ("2025-06-15T15:06:40.5", Some(1_750_000_000_500)),
            ("2025-06-15 15:06:40", Some(1_750_000_000_000)),
            ("2025-06-15", Some(1_749_945_600_000)),
            ("yesterday", None),
            ("", None),
            ("2025-13-01T00:00:00Z", None),
        ] {
            assert_eq!(parse_iso8601(text), expected, "{text}");
        }
        assert_eq!(iso8601(1_750_000_000_123), "2025-06-15T15:06:40.123Z");
        assert_eq!(parse_iso8601(&iso8601(1_750_000_000_123)), Some(1_750_000_000_123));
    }
}
