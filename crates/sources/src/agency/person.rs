//! One customer of the scenario: what they do next, and the hidden hazard that decides whether they leave.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use vigie_domain::{Customer, EventType};
use vigie_log::Timestamp;

use crate::random;

const DAY: f64 = 86_400_000.0;
const YEAR: f64 = 365.25 * DAY;
/// Whether a customer stays is known once a year ...
const REVIEW_MS: i64 = 365 * 86_400_000;
/// ... and decided so long before.
const NOTICE_MS: i64 = 30 * 86_400_000;
/// Sites come and go, once in so many days in the mean.
const SITES_EVERY_DAYS: f64 = 240.0;
/// Events of a session in the mean (see the test).
const EVENTS_A_SESSION: f64 = 6.3;
const NEVER: Timestamp = Timestamp::MAX;

/// How fast customers come back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tempo {
    /// Scenario time between two sessions of one customer in the mean, ms.
    between_sessions: f64,
}

impl Tempo {
    /// So that all active customers together make `rate` events a second of wall time.
    pub(super) fn new(rate: f64, speed: f64, active: usize) -> Self {
        Self { between_sessions: active.max(1) as f64 * EVENTS_A_SESSION * speed * 1000.0 / rate }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Act {
    Nothing,
    /// The record changed.
    Changed,
    Shop {
        event_type: EventType,
        /// What was paid, cents.
        price: Option<i64>,
        session: u64,
        draw: u64,
    },
    Outcome {
        churned: bool,
    },
}

/// A session under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Session {
    /// Its number.
    number: u64,
    /// When the next event is due.
    at: Timestamp,
    /// What comes, last first; each with the wait after it, ms.
    plan: Vec<(EventType, i64)>,
}

/// What changes of a customer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Person {
    /// Bought in the scenario, cents.
    bought: i64,
    /// Sites more or fewer than at the beginning.
    sites: i32,
    /// Manager assigned on approval.
    pub(super) manager: Option<String>,
    /// How many draws have been made.
    draws: u64,
    /// Sessions so far.
    sessions: u64,
    session: Option<Session>,
    next_session: Timestamp,
    next_sites: Timestamp,
    /// When the next decision is drawn; [`NEVER`] while an outcome is pending.
    decision: Timestamp,
    /// When the outcome is known, and which.
    outcome: Option<(Timestamp, bool)>,
    gone: bool,
}

/// An exponentially distributed time, ms, at least 1.
fn exponential(rng: &mut ChaCha8Rng, mean: f64) -> i64 {
    let uniform: f64 = rng.random_range(f64::EPSILON..1.0);
    ((-uniform.ln() * mean).clamp(1.0, 1e15)) as i64
}

/// Probability of leaving within the year: the unpenalised logistic regression of the agency's own 900 customers. A manager
/// assigned in the scenario has the causal effect `manager_effect` in place of the association in that data.
fn hazard(customer: &Customer, assigned: bool, manager_effect: f64) -> f64 {
    let manager = match (assigned, customer.account_manager) {
        (true, _) => manager_effect,
        (false, 1) => 0.480_954,
        (false, _) => 0.0,
    };
    let log_odds = -19.342_6
        + 0.059_806_9 * customer.age
        + 3.731_29e-5 * customer.total_purchase
        + 0.565_986 * customer.years
        + 1.211_57 * customer.num_sites
        + manager;
    1.0 / (1.0 + (-log_odds).exp())
}

/// What happens in a session, in order, each with the wait after it, ms.
fn plan(rng: &mut ChaCha8Rng) -> Vec<(EventType, i64)> {
    use EventType::{Achat, Commentaire, Connexion, Deconnexion, Navigation, Panier, Recherche};
    let mut events = vec![Connexion];
    let visits = rng.random_range(1..=3);
    match rng.random_range(0..100) {
        // PARCOURS_COMPLET.
        0..32 => {
            events.extend(std::iter::repeat_n(Navigation, visits));
            if rng.random_bool(0.5) {
                events.push(Recherche);
            }
            events.extend([Panier, Achat]);
            if rng.random_bool(0.3) {
                events.push(Commentaire);
            }
        }
        // PANIER_ABANDONNE.
        32..57 => {
            events.extend(std::iter::repeat_n(Navigation, visits));
            events.push(Panier);
            if rng.random_bool(0.5) {
                events.push(Navigation);
            }
        }
        // CHERCHEUR_INTENSIF.
        57..70 => {
            let searches = rng.random_range(5..=9);
            events.extend(std::iter::repeat_n(Recherche, searches));
            events.push(Navigation);
        }
        // Three logins within a minute: rare, or nobody would look at the alerts.
        70..71 => events.extend([Connexion, Connexion, Navigation]),
        _ => {
            events.extend(std::iter::repeat_n(Navigation, visits));
            if rng.random_bool(0.3) {
                events.push(Commentaire);
            }
        }
    }
    events.push(Deconnexion);
    let mut plan: Vec<_> = events
        .into_iter()
        .map(|event| {
            let wait = if event == Connexion {
                rng.random_range(2_000..20_000)
            } else {
                rng.random_range(5_000..90_000)
            };
            (event, wait)
        })
        .collect();
    plan.reverse();
    plan
}

impl Person {
    pub(super) fn new(seed: u64, index: usize, start: Timestamp, tempo: Tempo) -> Self {
        let mut person = Self {
            bought: 0,
            sites: 0,
            manager: None,
            draws: 0,
            sessions: 0,
            session: None,
            next_session: NEVER,
            next_sites: NEVER,
            decision: NEVER,
            outcome: None,
            gone: false,
        };
        let mut rng = person.draw(seed, index);
        person.next_session = start + exponential(&mut rng, tempo.between_sessions);
        person.next_sites = start + exponential(&mut rng, SITES_EVERY_DAYS * DAY);
        // Contracts begin all over the year: the first outcomes come in soon.
        person.decision = start + rng.random_range(1..=REVIEW_MS) - NOTICE_MS;
        person
    }

    fn draw(&mut self, seed: u64, index: usize) -> ChaCha8Rng {
        self.draws += 1;
        random::draw(seed, index, self.draws)
    }

    pub(super) fn is_active(&self) -> bool {
        !self.gone
    }

    /// When the customer does something next; [`NEVER`] for one who left.
    pub(super) fn due(&self) -> Timestamp {
        if self.gone {
            return NEVER;
        }
        let session = self.session.as_ref().map_or(self.next_session, |session| session.at);
        let outcome = self.outcome.map_or(NEVER, |(at, _)| at);
        session.min(self.next_sites).min(self.decision).min(outcome)
    }

    /// The customer's record at a time.
    pub(super) fn customer(&self, base: &Customer, at: Timestamp, start: Timestamp) -> Customer {
        let cents = (base.total_purchase * 100.0).round() as i64 + self.bought;
        let years = base.years + at.saturating_sub(start) as f64 / YEAR;
        Customer {
            total_purchase: cents as f64 / 100.0,
            years: (years * 100.0).round() / 100.0,
            num_sites: base.num_sites + f64::from(self.sites),
            account_manager: if self.manager.is_some() { 1 } else { base.account_manager },
            // The label of the file is about the past; the scenario's outcomes are on their own topic.
            churn: None,
            ..base.clone()
        }
    }

    /// Does what is due.
    pub(super) fn act(
        &mut self,
        seed: u64,
        index: usize,
        base: &Customer,
        start: Timestamp,
        tempo: Tempo,
        manager_effect: f64,
    ) -> Act {
        let at = self.due();
        if let Some((when, churned)) = self.outcome
            && when == at
        {
            self.outcome = None;
            self.gone = churned;
            self.decision = at + REVIEW_MS - NOTICE_MS;
            return Act::Outcome { churned };
        }
        let mut rng = self.draw(seed, index);
        if self.decision == at {
            let now = self.customer(base, at.max(start), start);
            let churned = rng.random_bool(hazard(&now, self.manager.is_some(), manager_effect));
            self.outcome = Some(((at + NOTICE_MS).max(start + 1), churned));
            self.decision = NEVER;
            if churned {
                // Silent from now on.
                self.session = None;
                self.next_session = NEVER;
                self.next_sites = NEVER;
            }
            return Act::Nothing;
        }
        if self.next_sites == at {
            self.next_sites = at + exponential(&mut rng, SITES_EVERY_DAYS * DAY);
            let more = rng.random_bool(0.5);
            if more || base.num_sites + f64::from(self.sites) > 1.0 {
                self.sites += if more { 1 } else { -1 };
                return Act::Changed;
            }
            return Act::Nothing;
        }
        let draw = self.draws;
        let mut session = self.session.take().unwrap_or_else(|| {
            self.sessions += 1;
            Session { number: self.sessions, at, plan: plan(&mut rng) }
        });
        let Some((event_type, wait)) = session.plan.pop() else { return Act::Nothing };
        let price = (event_type == EventType::Achat).then(|| {
            // Many small purchases, few large ones: about one in twenty is above 500.
            let skewed: f64 = rng.random_range(0.0_f64..=1.0).powi(13);
            let cents = 1_000 + (skewed * 99_000.0).round() as i64;
            self.bought += cents;
            cents
        });
        let number = session.number;
        session.at = at + wait;
        if session.plan.is_empty() {
            // Some come often, some seldom.
            let eager: f64 = random::draw(seed ^ 2, index, 0).random_range(0.4..1.9);
            self.next_session = at + exponential(&mut rng, tempo.between_sessions / eager);
        } else {
            self.session = Some(session);
        }
        Act::Shop { event_type, price, session: number, draw }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_as_long_as_the_rate_assumes() {
        let mut total = 0;
        for seed in 0..4_000 {
            total += plan(&mut random::stream(seed, "plan")).len();
        }
        let mean = total as f64 / 4_000.0;
        assert!((mean - EVENTS_A_SESSION).abs() < 0.15, "{mean} events a session");
    }

    #[test]
    fn the_hidden_hazard_is_the_risk_in_the_data() {
        // The probabilities that the unpenalised fit gives the six new customers.
        for (age, purchase, manager, years, sites, expected) in [
            (37.0, 9935.53, 1, 7.71, 8.0, 0.0978),
            (23.0, 7526.94, 1, 9.28, 15.0, 0.9980),
            (32.0, 6487.5, 0, 9.4, 14.0, 0.9939),
            (22.0, 8445.26, 1, 3.46, 14.0, 0.8442),
        ] {
            let json = serde_json::json!({"Names": "a", "Age": age, "Total_Purchase": purchase, "Account_Manager": manager,
                "Years": years, "Num_Sites": sites, "Onboard_date": "", "Location": "", "Company": ""});
            let customer: Customer = serde_json::from_value(json).unwrap();
            let found = hazard(&customer, false, -0.5);
            assert!((found - expected).abs() < 1e-3, "{found} in place of {expected}");
            assert!(hazard(&customer, true, -0.5) < found);
        }
    }
}
