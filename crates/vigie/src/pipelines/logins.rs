//! Repeated logins: the state of one user, as a pure function of the logins seen so far.
//!
//! Sliding in event time: an alert is due as soon as any window of the given length, both ends included, holds enough logins,
//! wherever it begins and in whatever order they arrive. Windows that touch belong to one burst, and a burst raises one alert.

use serde::{Deserialize, Serialize};
use vigie_domain::{Evidence, Origin};

/// Logins of one user that may still matter, and the bursts that have been reported.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Logins {
    /// Sorted by time.
    recent: Vec<Evidence>,
    /// `(start, end)` of reported bursts, sorted, disjoint.
    reported: Vec<(i64, i64)>,
}

/// What a rule says.
#[derive(Debug, Clone, Copy)]
pub struct LoginRule {
    /// So many logins ...
    pub count: usize,
    /// ... within so many ms.
    pub window_ms: i64,
}

/// A burst to report.
#[derive(Debug, Clone, PartialEq)]
pub struct Burst {
    /// First login of it.
    pub start: i64,
    /// Last login of it.
    pub end: i64,
    /// The logins.
    pub evidence: Vec<Evidence>,
}

impl Logins {
    /// Adds one login; returns a burst when this login completes one that has not been reported.
    pub fn add(&mut self, at: i64, origin: Origin, rule: LoginRule) -> Option<Burst> {
        // The same record twice (a replay) is one login.
        if self.recent.iter().any(|login| login.origin == origin) {
            return None;
        }
        let place = self.recent.partition_point(|login| login.event_time <= at);
        self.recent.insert(place, Evidence { origin, event_time: at });
        let hit = self
            .recent
            .windows(rule.count.max(1))
            .enumerate()
            .filter(|(first, _)| *first <= place && place < first + rule.count.max(1))
            .find_map(|(_, logins)| match (logins.first(), logins.last()) {
                (Some(first), Some(last)) if last.event_time - first.event_time <= rule.window_ms => {
                    Some((first.event_time, last.event_time, logins.to_vec()))
                }
                _ => None,
            });
        let burst = hit.and_then(|(start, end, evidence)| {
            let known = self.reported.iter_mut().find(|(from, to)| start <= *to && *from <= end);
            match known {
                Some((from, to)) => {
                    *from = start.min(*from);
                    *to = end.max(*to);
                    None
                }
                None => {
                    self.reported.push((start, end));
                    self.reported.sort_unstable();
                    Some(Burst { start, end, evidence })
                }
            }
        });
        self.forget(rule);
        burst
    }

    /// Drops what no login within two windows of the newest can touch any more: the state stays small for ever.
    fn forget(&mut self, rule: LoginRule) {
        let Some(newest) = self.recent.last().map(|login| login.event_time) else { return };
        let horizon = newest.saturating_sub(rule.window_ms.saturating_mul(2));
        self.recent.retain(|login| login.event_time >= horizon);
        self.reported.retain(|(_, to)| *to >= horizon);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: LoginRule = LoginRule { count: 3, window_ms: 60_000 };

    /// The bursts' `(start, end)` that a sequence of login times (in seconds) raises, in order.
    fn check(times: &[i64], expected: &[(i64, i64)]) {
        let mut logins = Logins::default();
        let bursts: Vec<_> = times
            .iter()
            .enumerate()
            .filter_map(|(i, at)| {
                let origin = Origin { topic: "evenements".into(), partition: 0, offset: i as i64 };
                logins.add(at * 1000, origin, RULE)
            })
            .map(|burst| (burst.start / 1000, burst.end / 1000))
            .collect();
        assert_eq!(bursts, expected, "{times:?}");
    }

    #[test]
    fn three_logins_in_any_minute_are_one_alert() {
        check(&[0, 30, 60], &[(0, 60)]);
        check(&[0, 30, 61], &[]);
        // A tumbling minute would miss these: two before the full minute, one after it.
        check(&[50, 55, 65], &[(50, 65)]);
        // Disorder changes nothing.
        check(&[65, 50, 55], &[(50, 65)]);
        check(&[60, 0, 30], &[(0, 60)]);
        // A fourth login of the same burst raises no second alert, a new burst does.
        check(&[0, 10, 20, 30], &[(0, 20)]);
        check(&[0, 10, 20, 500, 510, 520], &[(0, 20), (500, 520)]);
        // Two at the same moment count as two.
        check(&[5, 5, 5], &[(5, 5)]);
        check(&[], &[]);
    }

    #[test]
    fn the_same_record_twice_is_one_login() {
        let mut logins = Logins::default();
        let origin = Origin { topic: "evenements".into(), partition: 0, offset: 9 };
        for _ in 0..5 {
            assert_eq!(logins.add(1000, origin.clone(), RULE), None);
        }
    }

    #[test]
    fn the_state_stays_small() {
        let mut logins = Logins::default();
        for i in 0..10_000 {
            let origin = Origin { topic: "evenements".into(), partition: 0, offset: i };
            logins.add(i * 40_000, origin, RULE);
        }
        assert!(logins.recent.len() <= 4 && logins.reported.len() <= 1, "{logins:?}");
    }

    #[test]
    fn agrees_with_a_count_over_all_windows() {
        // Every set of five times on a coarse grid, in a scrambled order, against brute force.
        for seed in 0..3125_i64 {
            let times: Vec<i64> = (0..5).map(|i| (seed / 5_i64.pow(i)) % 5 * 25 + i64::from(i)).collect();
            let any = times
                .iter()
                .any(|from| times.iter().filter(|t| (*from..=from + 60).contains(t)).count() >= 3);
            let mut logins = Logins::default();
            let raised = times.iter().enumerate().any(|(i, at)| {
                let origin = Origin { topic: "evenements".into(), partition: 0, offset: i as i64 };
                logins.add(at * 1000, origin, RULE).is_some()
            });
            assert_eq!(raised, any, "{times:?}");
        }
    }
}
