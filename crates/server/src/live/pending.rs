//! What has come in since the last message of the live stream, put together: bounded, whatever the rate.

use std::collections::BTreeMap;

use serde::Serialize;
use vigie_domain::{Alert, Assignment, Outcome, PageCount, Score, SessionPattern, Verdict};

use crate::views::{AnomalyDoc, EventDoc, Named};

/// Keys of a message, for the filter of the stream.
pub(crate) const KEYS: [&str; 11] = [
    "score",
    "shop",
    "shop_total",
    "pages",
    "alert",
    "anomaly",
    "pattern",
    "user",
    "assignment",
    "outcome",
    "overview",
];
/// Of each kind, the newest so many; lists on the screens are not longer, and totals are sent beside.
const MOST: usize = 200;
const MOST_SHOP: usize = 20;

#[derive(Debug, Serialize)]
struct LiveScore {
    customer_id: String,
    name: String,
    probability: f64,
    previous: Option<f64>,
    verdict: Verdict,
    event_time: i64,
    scored_at: i64,
    latency_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(skip)]
    published_at: Option<i64>,
}

/// What waits for the next message.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    scores: Vec<LiveScore>,
    shop: Vec<Named<EventDoc>>,
    shop_total: Option<u64>,
    pages: BTreeMap<(i64, String), PageCount>,
    alerts: Vec<Named<Alert>>,
    anomalies: Vec<serde_json::Value>,
    patterns: Vec<Named<SessionPattern>>,
    users: u64,
    assignments: Vec<Assignment>,
    outcomes: Vec<Outcome>,
    overview: Option<String>,
    latencies: Vec<i64>,
}

fn add<T>(list: &mut Vec<T>, item: T, most: usize) {
    if list.len() >= most {
        list.remove(0);
    }
    list.push(item);
}

impl Pending {
    pub(crate) fn score(&mut self, score: Score, name: String, previous: Option<f64>) {
        let id = score.customer_id.0;
        // Several scores of one customer within a tenth of a second: the newest, and what was before the first of them. Answers
        // to requests stay, each has somebody who waits for it.
        let earlier = self.scores.iter().position(|s| s.customer_id == id && s.correlation_id.is_none());
        let previous = match earlier {
            Some(place) => {
                let old = self.scores.remove(place);
                if let Some(published) = old.published_at {
                    self.latencies.push(published);
                }
                old.previous
            }
            None => previous,
        };
        let live = LiveScore {
            customer_id: id,
            name,
            probability: score.probability,
            previous,
            verdict: score.verdict,
            event_time: score.event_time,
            scored_at: score.scored_at,
            latency_ms: None,
            correlation_id: score.correlation_id,
            published_at: score.published_at,
        };
        add(&mut self.scores, live, MOST);
    }

    pub(crate) fn shop(&mut self, event: Named<EventDoc>) {
        add(&mut self.shop, event, MOST_SHOP);
    }

    pub(crate) fn shop_total(&mut self, total: u64) {
        self.shop_total = Some(total);
    }

    pub(crate) fn page(&mut self, count: PageCount) {
        if self.pages.len() >= MOST {
            self.pages.pop_first();
        }
        self.pages.insert((count.window_start, count.page.clone()), count);
    }

    pub(crate) fn alert(&mut self, alert: Named<Alert>) {
        add(&mut self.alerts, alert, MOST);
    }

    pub(crate) fn anomaly(&mut self, doc: &AnomalyDoc) {
        let anomaly = &doc.anomaly;
        let brief = serde_json::json!({
            "id": anomaly.id, "rule": anomaly.rule, "reason": anomaly.reason, "reason_fr": anomaly.reason_fr, "origin": anomaly.origin,
        });
        add(&mut self.anomalies, brief, MOST);
    }

    pub(crate) fn pattern(&mut self, pattern: Named<SessionPattern>) {
        add(&mut self.patterns, pattern, MOST);
    }

    pub(crate) fn user(&mut self) {
        self.users += 1;
    }

    pub(crate) fn assignment(&mut self, assignment: Assignment) {
        self.assignments.retain(|old| old.customer_id != assignment.customer_id);
        add(&mut self.assignments, assignment, MOST);
    }

    pub(crate) fn outcome(&mut self, outcome: Outcome) {
        add(&mut self.outcomes, outcome, MOST);
    }

    pub(crate) fn overview(&mut self, json: String) {
        self.overview = Some(json);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.scores.is_empty()
            && self.shop.is_empty()
            && self.shop_total.is_none()
            && self.pages.is_empty()
            && self.alerts.is_empty()
            && self.anomalies.is_empty()
            && self.patterns.is_empty()
            && self.users == 0
            && self.assignments.is_empty()
            && self.outcomes.is_empty()
            && self.overview.is_none()
    }

    /// The message at `now`, and the milliseconds from publication to it of each score in it. Nothing waits afterwards.
    pub(crate) fn take(&mut self, now: i64) -> (Vec<(&'static str, String)>, Vec<i64>) {
        let mut all = std::mem::take(self);
        let mut latencies: Vec<i64> = all.latencies.iter().map(|at| (now - at).max(0)).collect();
        for score in &mut all.scores {
            score.latency_ms = score.published_at.map(|at| (now - at).max(0));
            latencies.extend(score.latency_ms);
        }
        all.shop.reverse();
        let mut parts = Vec::new();
        fn list<T: Serialize>(parts: &mut Vec<(&'static str, String)>, key: &'static str, items: &[T]) {
            if !items.is_empty()
                && let Ok(json) = serde_json::to_string(items)
            {
                parts.push((key, json));
            }
        }
        list(&mut parts, "score", &all.scores);
        list(&mut parts, "shop", &all.shop);
        if let Some(total) = all.shop_total {
            parts.push(("shop_total", total.to_string()));
        }
        list(&mut parts, "pages", &all.pages.into_values().collect::<Vec<_>>());
        list(&mut parts, "alert", &all.alerts);
        list(&mut parts, "anomaly", &all.anomalies);
        list(&mut parts, "pattern", &all.patterns);
        if all.users > 0 {
            parts.push(("user", all.users.to_string()));
        }
        list(&mut parts, "assignment", &all.assignments);
        list(&mut parts, "outcome", &all.outcomes);
        if let Some(overview) = all.overview {
            parts.push(("overview", overview));
        }
        (parts, latencies)
    }
}
