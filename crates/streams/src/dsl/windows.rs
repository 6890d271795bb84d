//! Windows of event time.

use std::time::Duration;

use vigie_log::Timestamp;

use super::options::millis;
use crate::record::Window;

/// Windows of fixed size: tumbling (each begins where the last one ends) or hopping (they overlap). Aligned to the epoch.
///
/// ```
/// use std::time::Duration;
/// use vigie_streams::TimeWindows;
/// let hopping = TimeWindows::hopping(Duration::from_secs(10), Duration::from_secs(5)).grace(Duration::from_secs(1));
/// let starts: Vec<i64> = hopping.windows_for(12_000).map(|window| window.start).collect();
/// assert_eq!(starts, [5_000, 10_000]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeWindows {
    pub(crate) size_ms: i64,
    pub(crate) advance_ms: i64,
    pub(crate) grace_ms: i64,
}

impl TimeWindows {
    /// Windows that follow each other without a gap. Without grace: a record behind the end of its window is late.
    pub fn tumbling(size: Duration) -> Self {
        Self::hopping(size, size)
    }

    /// Windows of `size`, one beginning each `advance`.
    pub fn hopping(size: Duration, advance: Duration) -> Self {
        Self { size_ms: millis(size), advance_ms: millis(advance), grace_ms: 0 }
    }

    /// Records may come this much behind the end of their window, in stream time, and still count.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace_ms = millis(grace);
        self
    }

    /// The windows that hold a timestamp, in order of their starts. None begins before 0.
    #[inline]
    pub fn windows_for(self, timestamp: Timestamp) -> impl Iterator<Item = Window> {
        let first = (timestamp - self.size_ms + self.advance_ms).max(0) / self.advance_ms * self.advance_ms;
        let (size, advance) = (self.size_ms, self.advance_ms);
        std::iter::successors(Some(first), move |start| start.checked_add(advance))
            .take_while(move |start| *start <= timestamp)
            .map(move |start| Window { start, end: start.saturating_add(size) })
    }

    /// What is wrong with these windows, if anything.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.size_ms <= 0 {
            return Err(String::from("a window's size must be at least 1 ms"));
        }
        if self.advance_ms <= 0 || self.advance_ms > self.size_ms {
            return Err(format!(
                "windows of {} ms cannot advance by {} ms: use 1 ms up to the size",
                self.size_ms, self.advance_ms
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(size: u64, advance: u64, timestamp: i64, expect: &[i64]) {
        let windows = TimeWindows::hopping(Duration::from_millis(size), Duration::from_millis(advance));
        let starts: Vec<_> = windows.windows_for(timestamp).map(|window| window.start).collect();
        assert_eq!(starts, expect, "size {size}, advance {advance}, at {timestamp}");
    }

    #[test]
    fn windows_hold_their_start_and_not_their_end() {
        check(10, 10, 0, &[0]);
        check(10, 10, 9, &[0]);
        check(10, 10, 10, &[10]);
        check(10, 5, 0, &[0]);
        check(10, 5, 4, &[0]);
        check(10, 5, 5, &[0, 5]);
        check(10, 5, 14, &[5, 10]);
        check(10, 3, 10, &[3, 6, 9]);
    }

    #[test]
    fn impossible_windows_are_refused() {
        assert!(TimeWindows::tumbling(Duration::ZERO).check().is_err());
        assert!(TimeWindows::hopping(Duration::from_secs(1), Duration::from_secs(2)).check().is_err());
        assert!(TimeWindows::tumbling(Duration::from_secs(1)).check().is_ok());
    }
}
