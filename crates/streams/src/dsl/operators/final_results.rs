//! `EmitStrategy::OnWindowClose`: which windows have closed since results were last sent on.
//!
//! Results are due with a record, at most once an emit interval, and before each commit. The commit makes the moment a part of the state: after a crash
//! the stores' own time says up to where results were sent, so that none is sent twice and none is left out.

use vigie_log::Timestamp;

use crate::processor::Cx;

pub(crate) struct FinalResults {
    /// The wall clock before which nothing is due.
    next_at: Timestamp,
    /// Windows that close up to this time have been sent on; -1 before the first.
    closed_to: Timestamp,
}

impl FinalResults {
    pub(crate) fn new() -> Self {
        Self { next_at: 0, closed_to: -1 }
    }

    /// After a start: all that had closed was sent on.
    pub(crate) fn resume(&mut self, close: Timestamp) {
        self.closed_to = close.max(-1);
    }

    /// Whether windows may have closed since the last time, and it is time to say so.
    pub(crate) fn due(&mut self, close: Timestamp, cx: &Cx<'_>) -> bool {
        let now = cx.task.wall_clock;
        if now < self.next_at {
            return false;
        }
        self.next_at = now.saturating_add(cx.task.emit_interval);
        self.pending(close)
    }

    /// Whether windows may have closed since the last time.
    pub(crate) fn pending(&self, close: Timestamp) -> bool {
        self.closed_to < close
    }

    /// Where the last time ended; from now on it is `close`.
    pub(crate) fn advance(&mut self, close: Timestamp) -> Timestamp {
        std::mem::replace(&mut self.closed_to, close)
    }
}
