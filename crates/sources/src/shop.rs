//! Shop events of five users, in exactly the format and ranges of the shop's own producer.

use std::io::Write;
use std::time::Duration;

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use vigie_domain::{EventType, ShopEvent, iso8601, topics};
use vigie_log::Timestamp;

use crate::{Moment, Source, SourceInfo, SourceRecord, Step, Then, random};

pub(crate) const PAGES: [&str; 6] = ["accueil", "produits", "promotions", "contact", "compte", "aide"];
pub(crate) const PRODUCTS: [&str; 8] =
    ["ordinateur", "telephone", "casque", "clavier", "ecran", "tablette", "souris", "imprimante"];
pub(crate) const QUERIES: [&str; 6] = [
    "casque sans fil",
    "ecran 27 pouces",
    "telephone pas cher",
    "clavier mecanique",
    "promo tablette",
    "souris",
];
pub(crate) const COMMENTS: [&str; 5] =
    ["Très satisfait", "Livraison rapide", "Produit conforme", "Un peu cher", "Je recommande"];

/// The record of a shop event: keyed by the user, so that one user's events stay together and in order.
pub(crate) fn record(topic: &str, event: &ShopEvent, at: Timestamp) -> SourceRecord {
    SourceRecord {
        topic: topic.to_owned(),
        key: Some(event.user_id.clone().into_bytes()),
        value: serde_json::to_vec(event).unwrap_or_default(),
        headers: Vec::new(),
        timestamp: at,
    }
}

/// An event of a type, with the properties of that type filled in.
pub(crate) fn event(
    rng: &mut ChaCha8Rng,
    event_type: EventType,
    user_id: String,
    session_id: String,
    at: Timestamp,
) -> ShopEvent {
    let mut event = ShopEvent {
        timestamp: iso8601(at),
        user_id,
        event_type,
        session_id,
        page: None,
        product: None,
        price: None,
        query: None,
        products: None,
        text: None,
    };
    let mut one = |of: &[&str]| of.choose(rng).map(|text| (*text).to_owned());
    match event_type {
        EventType::Navigation => event.page = one(&PAGES),
        EventType::Achat => {
            event.product = one(&PRODUCTS);
            event.price = Some(f64::from(rng.random_range(1_000_u32..=100_000)) / 100.0);
        }
        EventType::Recherche => event.query = one(&QUERIES),
        EventType::Panier => {
            let count = rng.random_range(1..=3);
            event.products = Some(PRODUCTS.sample(rng, count).map(|text| (*text).to_owned()).collect());
        }
        EventType::Commentaire => event.text = one(&COMMENTS),
        EventType::Connexion | EventType::Deconnexion => {}
    }
    event
}

/// How the generator behaves.
pub struct ShopOptions {
    /// Pauses are drawn from 0.5 to 2 s and divided by this; 0 switches the generator off.
    pub speed: f64,
    /// The seed.
    pub seed: u64,
    /// The topic.
    pub topic: String,
    /// Where each event is printed, one JSON object a line.
    pub print: Option<Box<dyn Write + Send>>,
}

impl Default for ShopOptions {
    fn default() -> Self {
        Self { speed: 1.0, seed: 7, topic: topics::EVENEMENTS.to_owned(), print: None }
    }
}

/// The generator: user1 to user5.
pub struct ShopSource {
    options: ShopOptions,
    rng: ChaCha8Rng,
    sessions: [Option<String>; 5],
}

impl ShopSource {
    /// A generator.
    pub fn new(options: ShopOptions) -> Self {
        let rng = random::stream(options.seed, "shop");
        Self { options, rng, sessions: Default::default() }
    }

    fn make(&mut self, now: Timestamp) -> ShopEvent {
        let user = self.rng.random_range(0..self.sessions.len());
        let user_id = format!("user{}", user + 1);
        let event_type = EventType::ALL.choose(&mut self.rng).copied().unwrap_or(EventType::Navigation);
        // The time is part of the id: after a restart with the same seed no session of old goes on.
        let fresh = format!("session-{user_id}-{now}-{:04x}", self.rng.random::<u16>());
        let session_id = match self.sessions.get_mut(user) {
            Some(slot) => {
                let id = slot.get_or_insert(fresh).clone();
                if event_type == EventType::Deconnexion {
                    *slot = None;
                }
                id
            }
            None => fresh,
        };
        event(&mut self.rng, event_type, user_id, session_id, now)
    }
}

impl Source for ShopSource {
    fn info(&self) -> SourceInfo {
        SourceInfo {
            name: String::from("shop"),
            kind: "shop",
            topics: vec![self.options.topic.clone()],
            simulated: true,
            recorded: false,
            // A pause lasts 1.25 s in the mean.
            rate_per_s: self.options.speed.max(0.0) / 1.25,
        }
    }

    fn next(&mut self, now: Moment) -> Step {
        if !(self.options.speed > 0.0 && self.options.speed.is_finite()) {
            return Step::idle(Then::Finished);
        }
        let event = self.make(now.wall);
        let record = record(&self.options.topic, &event, now.wall);
        let mut error = None;
        if let Some(print) = &mut self.options.print {
            // One write a line, so that lines of several threads do not mix.
            let mut line = record.value.clone();
            line.push(b'\n');
            if let Err(cause) = print.write_all(&line) {
                error = Some(format!("events are no longer printed: {cause}"));
                self.options.print = None;
            }
        }
        let pause = self.rng.random_range(0.5..=2.0) / self.options.speed;
        let then = Then::After(Duration::from_secs_f64(pause.clamp(1e-6, 1e6)));
        Step { records: vec![record], then, error }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::{Arc, Mutex};

    use super::*;

    fn run(seed: u64, count: i64) -> Vec<(ShopEvent, Then)> {
        let mut source = ShopSource::new(ShopOptions { seed, ..ShopOptions::default() });
        (0..count)
            .map(|i| {
                let step = source.next(Moment { wall: 1_750_000_000_000 + i, elapsed: Duration::ZERO });
                let record = step.records.first().unwrap();
                let event: ShopEvent = serde_json::from_slice(&record.value).unwrap();
                assert_eq!(record.key.as_deref(), Some(event.user_id.as_bytes()));
                (event, step.then)
            })
            .collect()
    }

    #[test]
    fn formats_and_ranges_are_the_shops_own() {
        let all = run(3, 5_000);
        assert_eq!(all, run(3, 5_000));
        let mut types = HashSet::new();
        let (mut low, mut high) = (f64::MAX, f64::MIN);
        for (event, then) in &all {
            types.insert(event.event_type);
            assert!(matches!(event.user_id.as_str(), "user1" | "user2" | "user3" | "user4" | "user5"));
            assert!(vigie_domain::parse_iso8601(&event.timestamp).is_some(), "{}", event.timestamp);
            assert!(!event.session_id.is_empty());
            let Then::After(pause) = then else { panic!("a pause") };
            assert!((0.5..=2.0).contains(&pause.as_secs_f64()), "{pause:?}");
            let present = (
                event.page.is_some(),
                event.product.is_some() && event.price.is_some(),
                event.query.is_some(),
                event.products.as_ref().is_some_and(|p| !p.is_empty()),
                event.text.is_some(),
            );
            let t = event.event_type;
            assert_eq!(
                present,
                (
                    t == EventType::Navigation,
                    t == EventType::Achat,
                    t == EventType::Recherche,
                    t == EventType::Panier,
                    t == EventType::Commentaire
                ),
                "{event:?}"
            );
            if let Some(price) = event.price {
                low = low.min(price);
                high = high.max(price);
            }
        }
        assert_eq!(types.len(), 7);
        assert!((10.0..30.0).contains(&low) && (980.0..=1000.0).contains(&high), "{low} {high}");
    }

    #[test]
    fn a_logout_ends_the_session_and_only_that() {
        let mut current: std::collections::HashMap<String, String> = Default::default();
        let mut seen = HashSet::new();
        for (event, _) in run(5, 3_000) {
            if let Some(open) = current.get(&event.user_id) {
                assert_eq!(*open, event.session_id, "a session goes on until the logout");
            } else {
                assert!(seen.insert(event.session_id.clone()), "a new session has a new id");
                current.insert(event.user_id.clone(), event.session_id.clone());
            }
            if event.event_type == EventType::Deconnexion {
                current.remove(&event.user_id);
            }
        }
        assert!(seen.len() > 100);
    }

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);
    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_event_is_printed_when_asked() {
        let sink = Sink::default();
        let print: Option<Box<dyn Write + Send>> = Some(Box::new(sink.clone()));
        let mut source = ShopSource::new(ShopOptions { print, ..ShopOptions::default() });
        for wall in 0..10 {
            source.next(Moment { wall, elapsed: Duration::ZERO });
        }
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 10);
        assert!(text.lines().all(|line| serde_json::from_str::<ShopEvent>(line).is_ok()));
    }
}
