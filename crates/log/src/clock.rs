//! Time from outside: every component that needs the wall clock takes a [`Clock`].

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// Milliseconds since 1970-01-01T00:00:00Z, as in Kafka.
pub type Timestamp = i64;

/// Where the time comes from. Two notions, because the wall clock may be set back.
pub trait Clock: Send + Sync {
    /// The wall clock, in milliseconds since the epoch. May jump, forwards or backwards.
    fn now(&self) -> Timestamp;
    /// Time since some fixed point in this process; never goes backwards. For intervals and timeouts.
    fn monotonic(&self) -> Duration;
}

/// The machine's clock: the only place of the code base that reads it.
#[derive(Debug, Clone)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose [`Clock::monotonic`] starts at zero now.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place where the ambient clock is read")]
    fn now(&self) -> Timestamp {
        match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            // A clock set before 1970: negative, not a panic.
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
        }
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that stands still until it is told to move. For tests and simulations.
#[derive(Debug, Default)]
pub struct ManualClock {
    wall: AtomicI64,
    elapsed_ms: AtomicI64,
}

impl ManualClock {
    /// A clock whose wall time is `now`.
    pub fn at(now: Timestamp) -> Self {
        Self { wall: AtomicI64::new(now), elapsed_ms: AtomicI64::new(0) }
    }

    /// Moves both notions of time forward.
    pub fn advance(&self, by: Duration) {
        let ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.wall.fetch_add(ms, Ordering::SeqCst);
        self.elapsed_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Sets the wall clock only, as an operator (or NTP) would; may go backwards.
    pub fn set_wall(&self, now: Timestamp) {
        self.wall.store(now, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.wall.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.elapsed_ms.load(Ordering::SeqCst)).unwrap_or(0))
    }
}
