//! Calls that are due at a time rather than with a record.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use vigie_log::Timestamp;

/// Which time a punctuation follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PunctuationType {
    /// Stream time: advances with the records only. First due with the first record.
    StreamTime,
    /// The wall clock. First due one interval after it was scheduled.
    WallClock,
}

/// Names a punctuation within its task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PunctuationId(pub(crate) u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Timestamp,
    id: PunctuationId,
    node: usize,
    interval: i64,
}

/// The punctuations of a task.
#[derive(Debug, Default)]
pub(crate) struct Punctuations {
    stream: BinaryHeap<Reverse<Due>>,
    wall: BinaryHeap<Reverse<Due>>,
    next_id: u32,
    cancelled: Vec<PunctuationId>,
}

impl Punctuations {
    fn heap(&mut self, kind: PunctuationType) -> &mut BinaryHeap<Reverse<Due>> {
        match kind {
            PunctuationType::StreamTime => &mut self.stream,
            PunctuationType::WallClock => &mut self.wall,
        }
    }

    pub(crate) fn schedule(
        &mut self,
        node: usize,
        kind: PunctuationType,
        interval: i64,
        wall_clock: Timestamp,
    ) -> PunctuationId {
        let interval = interval.max(1);
        let id = PunctuationId(self.next_id);
        self.next_id += 1;
        let at = match kind {
            PunctuationType::StreamTime => 0,
            PunctuationType::WallClock => wall_clock.saturating_add(interval),
        };
        self.heap(kind).push(Reverse(Due { at, id, node, interval }));
        id
    }

    pub(crate) fn cancel(&mut self, id: PunctuationId) {
        self.cancelled.push(id);
    }

    /// When the next one is due.
    pub(crate) fn next(&self, kind: PunctuationType) -> Option<Timestamp> {
        let heap = match kind {
            PunctuationType::StreamTime => &self.stream,
            PunctuationType::WallClock => &self.wall,
        };
        heap.peek().map(|Reverse(due)| due.at)
    }

    /// Takes one that is due at `now` and schedules its next time; missed times are skipped.
    pub(crate) fn take_due(
        &mut self,
        kind: PunctuationType,
        now: Timestamp,
    ) -> Option<(PunctuationId, usize)> {
        while self.next(kind).is_some_and(|at| at <= now) {
            let Reverse(mut due) = self.heap(kind).pop()?;
            if let Some(found) = self.cancelled.iter().position(|id| *id == due.id) {
                self.cancelled.swap_remove(found);
                continue;
            }
            let missed = now.saturating_sub(due.at) / due.interval;
            due.at = due.at.saturating_add((missed + 1).saturating_mul(due.interval));
            self.heap(kind).push(Reverse(due));
            return Some((due.id, due.node));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_times_are_skipped() {
        let mut all = Punctuations::default();
        let id = all.schedule(3, PunctuationType::WallClock, 10, 100);
        assert_eq!(all.take_due(PunctuationType::WallClock, 109), None);
        assert_eq!(all.take_due(PunctuationType::WallClock, 135), Some((id, 3)));
        assert_eq!(all.take_due(PunctuationType::WallClock, 135), None);
        assert_eq!(all.next(PunctuationType::WallClock), Some(140));
        all.cancel(id);
        assert_eq!(all.take_due(PunctuationType::WallClock, 1000), None);
        assert_eq!(all.next(PunctuationType::WallClock), None);
    }

    #[test]
    fn stream_time_begins_with_the_first_record() {
        let mut all = Punctuations::default();
        let id = all.schedule(0, PunctuationType::StreamTime, 10, 100);
        assert_eq!(all.take_due(PunctuationType::StreamTime, -1), None);
        assert_eq!(all.take_due(PunctuationType::StreamTime, 25), Some((id, 0)));
        assert_eq!(all.next(PunctuationType::StreamTime), Some(30));
    }
}
