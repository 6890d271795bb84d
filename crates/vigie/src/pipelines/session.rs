//! One shop session: which patterns its events make, as a pure function of the events seen so far, in whatever order they come.

use serde::{Deserialize, Serialize};
use vigie_domain::{EventType, Pattern};

/// Carts remembered of one session; more are counted but not remembered, so that a broken producer cannot fill the memory.
const MAX_CARTS: usize = 1_000;

/// The state of one session.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Whose.
    pub user_id: String,
    /// First event, ms since the epoch.
    pub start: i64,
    /// Last event, ms since the epoch.
    pub last: i64,
    /// Events so far.
    pub events: u32,
    /// When the user logged out, if so.
    pub logout: Option<i64>,
    first_navigation: Option<i64>,
    carts: Vec<i64>,
    cart_count: u32,
    last_purchase: Option<i64>,
    searches: u32,
    found: Vec<Pattern>,
}

/// What ends a session and what makes it intensive.
#[derive(Debug, Clone, Copy)]
pub struct SessionRule {
    /// Ends after so many ms without an event.
    pub gap_ms: i64,
    /// After a logout, so many ms for events that come late.
    pub grace_ms: i64,
    /// So many searches are intensive.
    pub intensive_searches: u32,
}

impl Session {
    /// Adds one event; returns the patterns that it completes.
    pub fn add(&mut self, user_id: &str, kind: EventType, at: i64, rule: SessionRule) -> Vec<Pattern> {
        if self.events == 0 {
            user_id.clone_into(&mut self.user_id);
            self.start = at;
            self.last = at;
        }
        self.start = self.start.min(at);
        self.last = self.last.max(at);
        self.events = self.events.saturating_add(1);
        match kind {
            EventType::Navigation => {
                self.first_navigation = Some(self.first_navigation.map_or(at, |first| first.min(at)));
            }
            EventType::Panier => {
                self.cart_count = self.cart_count.saturating_add(1);
                if self.carts.len() < MAX_CARTS {
                    self.carts.push(at);
                }
            }
            EventType::Achat => {
                self.last_purchase = Some(self.last_purchase.map_or(at, |last| last.max(at)));
            }
            EventType::Recherche => self.searches = self.searches.saturating_add(1),
            EventType::Deconnexion => self.logout = Some(self.logout.map_or(at, |logout| logout.max(at))),
            EventType::Connexion | EventType::Commentaire => {}
        }
        let mut new = Vec::new();
        if self.is_complete() {
            self.find(Pattern::ParcoursComplet, &mut new);
        }
        if self.searches >= rule.intensive_searches {
            self.find(Pattern::ChercheurIntensif, &mut new);
        }
        new
    }

    /// Ends the session; returns the patterns that only its end makes.
    pub fn end(&mut self) -> Vec<Pattern> {
        let mut new = Vec::new();
        if self.cart_count > 0 && self.last_purchase.is_none() {
            self.find(Pattern::PanierAbandonne, &mut new);
        }
        new
    }

    /// The event time from which on the session is over.
    pub fn deadline(&self, rule: SessionRule) -> i64 {
        let silent = self.last.saturating_add(rule.gap_ms);
        self.logout.map_or(silent, |logout| logout.max(self.last).saturating_add(rule.grace_ms).min(silent))
    }

    /// When the session ended, for the record: the logout, or the last event.
    pub fn ended_at(&self) -> i64 {
        self.logout.unwrap_or(self.last)
    }

    /// navigation, then panier, then achat, by event time.
    fn is_complete(&self) -> bool {
        let Some(navigation) = self.first_navigation else { return false };
        let Some(purchase) = self.last_purchase else { return false };
        self.carts.iter().any(|cart| navigation <= *cart && *cart <= purchase)
    }

    fn find(&mut self, pattern: Pattern, new: &mut Vec<Pattern>) {
        if !self.found.contains(&pattern) {
            self.found.push(pattern);
            new.push(pattern);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EventType::{Achat, Connexion, Deconnexion, Navigation, Panier, Recherche};
    use Pattern::{ChercheurIntensif, PanierAbandonne, ParcoursComplet};

    const RULE: SessionRule = SessionRule { gap_ms: 1_800_000, grace_ms: 10_000, intensive_searches: 3 };

    /// The patterns that events at given times make, and those that the end adds.
    fn check(events: &[(EventType, i64)], during: &[Pattern], at_end: &[Pattern]) {
        let mut session = Session::default();
        let found: Vec<_> =
            events.iter().flat_map(|(kind, at)| session.add("user1", *kind, *at, RULE)).collect();
        assert_eq!(found, during, "{events:?}");
        assert_eq!(session.end(), at_end, "{events:?}");
        assert_eq!(session.end(), [], "the end comes once");
    }

    #[test]
    fn the_three_patterns() {
        check(&[(Navigation, 1), (Panier, 2), (Achat, 3)], &[ParcoursComplet], &[]);
        check(&[(Panier, 1), (Navigation, 2), (Achat, 3)], &[], &[]);
        check(&[(Navigation, 1), (Achat, 2), (Panier, 3)], &[], &[]);
        check(&[(Connexion, 1), (Panier, 2), (Deconnexion, 3)], &[], &[PanierAbandonne]);
        check(&[(Navigation, 1), (Recherche, 2), (Recherche, 3)], &[], &[]);
        check(&[(Recherche, 1), (Recherche, 2), (Recherche, 3), (Recherche, 4)], &[ChercheurIntensif], &[]);
        check(&[], &[], &[]);
    }

    #[test]
    fn order_of_arrival_does_not_matter() {
        check(&[(Achat, 3), (Panier, 2), (Navigation, 1)], &[ParcoursComplet], &[]);
        check(&[(Panier, 2), (Achat, 3), (Navigation, 1)], &[ParcoursComplet], &[]);
    }

    #[test]
    fn a_session_ends_after_its_logout_or_a_silence() {
        let mut session = Session::default();
        session.add("user1", Navigation, 1_000, RULE);
        assert_eq!(session.deadline(RULE), 1_801_000);
        session.add("user1", Deconnexion, 5_000, RULE);
        assert_eq!(session.deadline(RULE), 15_000);
        assert_eq!(session.ended_at(), 5_000);
    }
}
