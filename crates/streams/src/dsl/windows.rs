//! Windows of event time: what they are, and which of them hold a timestamp. What is done with them is in `operators/`.

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
        self.starts_for(timestamp)
    }

    #[inline]
    fn starts_for(self, timestamp: Timestamp) -> WindowsFor {
        let next = (timestamp - self.size_ms + self.advance_ms).max(0) / self.advance_ms * self.advance_ms;
        WindowsFor { next, last: timestamp, advance_ms: self.advance_ms, size_ms: self.size_ms }
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

/// One window from a start on, without an end: everything since then is aggregated together (Kafka Streams: `UnlimitedWindows`).
///
/// ```
/// use vigie_streams::{Consumed, Produced, Store, StreamsBuilder, TopologyTestDriver, UnlimitedWindows};
/// use vigie_streams::serde::{I64, TimeWindowed, Utf8};
/// let mut builder = StreamsBuilder::new();
/// builder
///     .stream("visits", Consumed::<String, String>::default())
///     .group_by_key()
///     .windowed_by(UnlimitedWindows::start_on(100))
///     .count(Store::named("since-100"))
///     .to_stream()
///     .to("counts", Produced::default());
/// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
/// let visits = driver.input("visits", Utf8, Utf8);
/// for at in [99, 100, 5_000_000] {
///     visits.pipe(&"ann".into(), &"home".into(), at)?;
/// }
/// let counts = driver.output("counts", TimeWindowed::new(Utf8, i64::MAX), I64).read()?;
/// let found: Vec<_> = counts.iter().map(|r| (r.key.window.start, r.value)).collect();
/// assert_eq!(found, [(100, Some(1)), (100, Some(2))]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnlimitedWindows {
    pub(crate) start_ms: Timestamp,
}

impl UnlimitedWindows {
    /// Everything since `start`, in milliseconds since the epoch; what is earlier is left out. `UnlimitedWindows::default()` starts at 0.
    pub fn start_on(start: Timestamp) -> Self {
        Self { start_ms: start }
    }
}

/// Windows that end with a record or begin right behind one: each combination of records that lie within a time difference of each other gets
/// one window (Kafka Streams: `SlidingWindows`). Both bounds are inclusive.
///
/// A window is made for each record's past (`[t - difference, t]`) and, once it holds something, for what follows it
/// (`[t + 1, t + 1 + difference]`). Records before `difference` share the window that begins at 0.
///
/// ```
/// use std::time::Duration;
/// use vigie_streams::{Consumed, Produced, SlidingWindows, Store, StreamsBuilder, TopologyTestDriver};
/// use vigie_streams::serde::{I64, TimeWindowed, Utf8};
/// let mut builder = StreamsBuilder::new();
/// builder
///     .stream("logins", Consumed::<String, String>::default())
///     .group_by_key()
///     .windowed_by(SlidingWindows::with_time_difference(Duration::from_secs(60)).grace(Duration::from_secs(10)))
///     .count(Store::named("logins-within-a-minute"))
///     .to_stream()
///     .to("counts", Produced::default());
/// let driver = TopologyTestDriver::new(&builder.build()?, Default::default())?;
/// let logins = driver.input("logins", Utf8, Utf8);
/// logins.pipe(&"ann".into(), &"web".into(), 100_000)?;
/// logins.pipe(&"ann".into(), &"app".into(), 130_000)?;
/// let counts = driver.output("counts", TimeWindowed::new(Utf8, 60_000), I64).read()?;
/// let found: Vec<_> = counts.iter().map(|r| (r.key.window.start, r.key.window.end, r.value)).collect();
/// // What came before 100 s, what follows it, and what came before 130 s.
/// assert_eq!(
///     found,
///     [(40_000, 100_000, Some(1)), (100_001, 160_001, Some(1)), (70_000, 130_000, Some(2))]
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlidingWindows {
    pub(crate) difference_ms: i64,
    pub(crate) grace_ms: i64,
}

impl SlidingWindows {
    /// Records at most this far apart share a window. Without grace.
    pub fn with_time_difference(difference: Duration) -> Self {
        Self { difference_ms: millis(difference), grace_ms: 0 }
    }

    /// Records may come this much behind the end of their window, in stream time, and still count.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace_ms = millis(grace);
        self
    }
}

/// Sessions: records of a key that follow each other within a gap; a record that falls between two sessions joins them. Both bounds are
/// inclusive (Kafka Streams: `SessionWindows`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionWindows {
    pub(crate) gap_ms: i64,
    pub(crate) grace_ms: i64,
}

impl SessionWindows {
    /// A session ends when nothing comes for longer than `gap`. Without grace.
    pub fn with_gap(gap: Duration) -> Self {
        Self { gap_ms: millis(gap), grace_ms: 0 }
    }

    /// Records may come this much later than the gap behind the end of their session, in stream time, and still count.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace_ms = millis(grace);
        self
    }
}

/// When the results of a windowed aggregation are sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EmitStrategy {
    /// With each record that changes a window.
    #[default]
    OnWindowUpdate,
    /// Once for each window: when stream time has passed its end and its grace.
    OnWindowClose,
}

impl EmitStrategy {
    /// [`OnWindowUpdate`](Self::OnWindowUpdate).
    pub fn on_window_update() -> Self {
        Self::OnWindowUpdate
    }

    /// [`OnWindowClose`](Self::OnWindowClose).
    pub fn on_window_close() -> Self {
        Self::OnWindowClose
    }
}

/// Windows that do not depend on the records.
#[derive(Debug, Clone, Copy)]
pub enum FixedWindows {
    Time(TimeWindows),
    Unlimited(UnlimitedWindows),
}

impl FixedWindows {
    #[inline]
    pub(crate) fn windows_for(self, timestamp: Timestamp) -> WindowsFor {
        match self {
            Self::Time(windows) => windows.starts_for(timestamp),
            Self::Unlimited(windows) => WindowsFor {
                next: windows.start_ms,
                last: timestamp,
                advance_ms: Timestamp::MAX,
                size_ms: Timestamp::MAX,
            },
        }
    }

    #[inline]
    pub(crate) fn size_ms(self) -> i64 {
        match self {
            Self::Time(windows) => windows.size_ms,
            Self::Unlimited(_) => i64::MAX,
        }
    }

    #[inline]
    pub(crate) fn grace_ms(self) -> i64 {
        match self {
            Self::Time(windows) => windows.grace_ms,
            Self::Unlimited(_) => 0,
        }
    }

    /// The last window that starts at or before `time`.
    pub(crate) fn last_start(self, time: Timestamp) -> Timestamp {
        match self {
            Self::Time(windows) => time.div_euclid(windows.advance_ms).saturating_mul(windows.advance_ms),
            Self::Unlimited(windows) => windows.start_ms,
        }
    }
}

/// The windows that hold a timestamp, in order of their starts (and so of their ends).
pub(crate) struct WindowsFor {
    next: Timestamp,
    last: Timestamp,
    advance_ms: i64,
    size_ms: i64,
}

impl WindowsFor {
    /// Whether the next one is the last one.
    #[inline]
    pub(crate) fn at_last(&self) -> bool {
        self.next.checked_add(self.advance_ms).is_none_or(|next| next > self.last)
    }
}

impl Iterator for WindowsFor {
    type Item = Window;

    #[inline]
    fn next(&mut self) -> Option<Window> {
        if self.next > self.last {
            return None;
        }
        let start = self.next;
        self.next = start.saturating_add(self.advance_ms);
        Some(Window { start, end: start.saturating_add(self.size_ms) })
    }
}

/// How a grouped stream is cut.
#[derive(Debug, Clone, Copy)]
pub enum Windowing {
    Fixed(FixedWindows),
    Sliding(SlidingWindows),
    Session(SessionWindows),
}

impl Windowing {
    /// How long behind the end of a window its results are final: what `suppress` waits for.
    pub(crate) fn close_after_ms(self) -> i64 {
        match self {
            Self::Fixed(windows) => windows.grace_ms(),
            Self::Sliding(windows) => windows.grace_ms,
            Self::Session(windows) => windows.gap_ms.saturating_add(windows.grace_ms),
        }
    }

    /// What is wrong with these windows, if anything.
    pub(crate) fn check(self, emit: EmitStrategy) -> Result<(), String> {
        match self {
            Self::Fixed(FixedWindows::Time(windows)) => windows.check(),
            Self::Fixed(FixedWindows::Unlimited(_)) if emit == EmitStrategy::OnWindowClose => {
                Err(String::from("unlimited windows never close: emit on window update"))
            }
            Self::Fixed(FixedWindows::Unlimited(windows)) if windows.start_ms < 0 => {
                Err(format!("an unlimited window cannot start at {}: use 0 or later", windows.start_ms))
            }
            _ => Ok(()),
        }
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
    fn the_unlimited_window_begins_at_its_start() {
        let windows = FixedWindows::Unlimited(UnlimitedWindows::start_on(10));
        assert_eq!(windows.windows_for(9).count(), 0);
        let all: Vec<_> = windows.windows_for(i64::MAX - 1).collect();
        assert_eq!(all, [Window { start: 10, end: i64::MAX }]);
        assert!(windows.windows_for(10).at_last());
        assert!(Windowing::Fixed(windows).check(EmitStrategy::OnWindowClose).is_err());
        assert!(Windowing::Fixed(windows).check(EmitStrategy::OnWindowUpdate).is_ok());
    }

    #[test]
    fn impossible_windows_are_refused() {
        assert!(TimeWindows::tumbling(Duration::ZERO).check().is_err());
        assert!(TimeWindows::hopping(Duration::from_secs(1), Duration::from_secs(2)).check().is_err());
        assert!(TimeWindows::tumbling(Duration::from_secs(1)).check().is_ok());
    }
}
