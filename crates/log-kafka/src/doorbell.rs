//! Ends a wait from another thread: records have come, or the group has something to say.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One waits, many ring. A ring before the wait is not lost.
#[derive(Debug, Default)]
pub(crate) struct Doorbell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Doorbell {
    pub fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Waits for a ring since the last wait, at most until `deadline`.
    pub fn wait_until(&self, deadline: Instant) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        while !*rung {
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return;
            }
            rung = self.changed.wait_timeout(rung, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *rung = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_before_the_wait_is_not_lost_and_rings_once() {
        let bell = Doorbell::default();
        bell.ring();
        let start = Instant::now();
        bell.wait_until(start + Duration::from_secs(10));
        assert!(start.elapsed() < Duration::from_secs(5));
        let start = Instant::now();
        bell.wait_until(start + Duration::from_millis(20));
        assert!(start.elapsed() >= Duration::from_millis(20));
    }
}
