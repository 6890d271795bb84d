//! How far apart in time two records of joined streams may lie.

use std::time::Duration;

use vigie_log::Timestamp;

use super::options::millis;

/// The window of a join of streams: the other record may lie `before` to `after` this one, both ends included, as seen from the left stream.
///
/// ```
/// use std::time::Duration;
/// use vigie_streams::JoinWindows;
/// let within_a_minute = JoinWindows::of_time_difference_and_grace(Duration::from_secs(60), Duration::from_secs(5));
/// let within_a_minute_afterwards = within_a_minute.before(Duration::ZERO);
/// assert_ne!(within_a_minute, within_a_minute_afterwards);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinWindows {
    pub(crate) before_ms: i64,
    pub(crate) after_ms: i64,
    pub(crate) grace_ms: i64,
}

impl JoinWindows {
    /// Records at most `difference` apart; a record that is later than the window and `grace` is no longer met.
    pub fn of_time_difference_and_grace(difference: Duration, grace: Duration) -> Self {
        let difference = millis(difference);
        Self { before_ms: difference, after_ms: difference, grace_ms: millis(grace) }
    }

    /// The same without grace.
    pub fn of_time_difference_with_no_grace(difference: Duration) -> Self {
        Self::of_time_difference_and_grace(difference, Duration::ZERO)
    }

    /// The right record may lie at most this long before the left one.
    pub fn before(mut self, difference: Duration) -> Self {
        self.before_ms = millis(difference);
        self
    }

    /// The right record may lie at most this long after the left one.
    pub fn after(mut self, difference: Duration) -> Self {
        self.after_ms = millis(difference);
        self
    }

    /// The right record's time minus the left one's, in milliseconds, from `least` to `most`; both may be negative (Kafka Streams: `before`
    /// or `after` of a negative duration).
    pub fn between(mut self, least: Timestamp, most: Timestamp) -> Self {
        self.before_ms = least.saturating_neg();
        self.after_ms = most;
        self
    }

    pub(crate) fn size_ms(self) -> i64 {
        self.before_ms.saturating_add(self.after_ms)
    }

    /// What is wrong with this window, if anything.
    pub(crate) fn check(self) -> Result<(), String> {
        if self.size_ms() < 0 {
            return Err(format!(
                "a join's window cannot end before it begins: {} ms before and {} ms after leave nothing",
                self.before_ms, self.after_ms
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_may_lie_on_one_side_but_not_end_before_they_begin() {
        let windows = JoinWindows::of_time_difference_with_no_grace(Duration::from_millis(10));
        assert_eq!(windows.size_ms(), 20);
        assert_eq!(windows.between(5, 10), JoinWindows { before_ms: -5, after_ms: 10, grace_ms: 0 });
        assert!(windows.between(5, 10).check().is_ok());
        assert!(windows.between(10, 5).check().is_err());
    }
}
