//! `evenements` -> `session-patterns`: PARCOURS_COMPLET, PANIER_ABANDONNE, CHERCHEUR_INTENSIF.
//!
//! A session ends when the time of *its* clock passes its deadline. Records of a scenario or a replay run on a clock of their own
//! (header `time-domain`), and neither clock may end the other's sessions; so time is kept per clock, in the store, and an index
//! of deadlines finds the sessions that are over without looking at the others.

use vigie_domain::{EventType, Pattern, SessionPattern, ShopEvent, topics};
use vigie_streams::serde::{Json, Utf8};
use vigie_streams::{
    BoxError, Headers, KStream, Processor, ProcessorContext, Produced, Record, Repartitioned, Store,
    StoreBuilder, StreamsBuilder,
};

use super::checked::Traced;
use super::session::{Session, SessionRule};
use crate::config::ShopConfig;

const SESSIONS: &str = "sessions";
const DEADLINES: &str = "session-deadlines";
const CLOCKS: &str = "session-clocks";
/// Events that come this much later than a logout still belong to the session, ms.
const LOGOUT_GRACE_MS: i64 = 10_000;

/// All three patterns.
pub fn build(
    builder: &mut StreamsBuilder,
    events: &KStream<Option<Vec<u8>>, Traced<ShopEvent>>,
    config: &ShopConfig,
) {
    builder.add_state_store(StoreBuilder::key_value(Store::<String, Session>::json_named(SESSIONS)));
    builder.add_state_store(StoreBuilder::key_value(Store::<String, String>::named(DEADLINES)));
    builder.add_state_store(StoreBuilder::key_value(Store::<String, i64>::named(CLOCKS)));
    let rule = SessionRule {
        gap_ms: i64::try_from(config.session_gap_s.saturating_mul(1000)).unwrap_or(i64::MAX),
        grace_ms: LOGOUT_GRACE_MS,
        intensive_searches: config.intensive_searches,
    };
    events
        .map(|_, event: &Traced<ShopEvent>| (event.value.session_id.clone(), event.slim()))
        .repartition(Repartitioned::with(Utf8, Json::new()).named("events-by-session"))
        .named("session-patterns")
        .process(move || Sessions { rule }, &[SESSIONS, DEADLINES, CLOCKS])
        .to(topics::SESSION_PATTERNS, Produced::with(Utf8, Json::new()));
}

struct Sessions {
    rule: SessionRule,
}

type Context<'a, 'c> = ProcessorContext<'a, 'c, String, SessionPattern>;

impl Processor<String, Traced<ShopEvent>, String, SessionPattern> for Sessions {
    fn process(
        &mut self,
        ctx: &mut Context<'_, '_>,
        record: Record<String, Traced<ShopEvent>>,
    ) -> Result<(), BoxError> {
        let Some(event) = record.value else { return Ok(()) };
        let clock = event.clock;
        // First what this event's time ends, then the event: one that comes after its session's end begins a new one.
        let now = ctx.key_value::<String, i64>(CLOCKS)?.get(&clock)?.unwrap_or(i64::MIN);
        if event.at > now {
            ctx.key_value::<String, i64>(CLOCKS)?.put(clock.clone(), event.at)?;
            self.end_sessions(ctx, &clock, now, event.at)?;
        }
        let now = now.max(event.at);
        let id = record.key;
        let mut session = ctx.key_value::<String, Session>(SESSIONS)?.get(&id)?.unwrap_or_default();
        let is_new = session.events == 0;
        let found = session.add(&event.value.user_id, event.value.event_type, event.at, self.rule);
        if is_new || event.value.event_type == EventType::Deconnexion {
            // A logout may move the deadline forward; otherwise it only moves back, which `end_sessions` notices by itself. A deadline
            // that has passed already goes where the next look begins.
            let deadline = session.deadline(self.rule).max(now);
            ctx.key_value::<String, String>(DEADLINES)?.put(index_key(&clock, deadline, &id), id.clone())?;
        }
        forward(ctx, &id, &session, &found, event.at, &record.headers)?;
        ctx.key_value::<String, Session>(SESSIONS)?.put(id, session)?;
        Ok(())
    }
}

impl Sessions {
    /// Ends the sessions of this clock whose deadline has passed since it stood at `before`: what was due earlier has been ended then,
    /// so the look begins there, and not with all that was ever deleted.
    fn end_sessions(
        &self,
        ctx: &mut Context<'_, '_>,
        clock: &str,
        before: i64,
        now: i64,
    ) -> Result<(), BoxError> {
        let (from, to) = (index_key(clock, before, ""), index_key(clock, now, ""));
        let due: Vec<(String, String)> =
            ctx.key_value::<String, String>(DEADLINES)?.range(&from, &to)?.collect::<Result<_, _>>()?;
        for (key, id) in due {
            ctx.key_value::<String, String>(DEADLINES)?.delete(&key)?;
            let Some(mut session) = ctx.key_value::<String, Session>(SESSIONS)?.get(&id)? else { continue };
            let deadline = session.deadline(self.rule);
            if deadline >= now {
                let key = index_key(clock, deadline, &id);
                ctx.key_value::<String, String>(DEADLINES)?.put(key, id)?;
                continue;
            }
            let found = session.end();
            let at = session.ended_at();
            forward(ctx, &id, &session, &found, at, &Headers::new())?;
            ctx.key_value::<String, Session>(SESSIONS)?.delete(&id)?;
        }
        Ok(())
    }
}

/// Sorted by clock, then deadline: a range of this index is what is due. Times before 1970 sort as 0.
fn index_key(clock: &str, deadline: i64, session: &str) -> String {
    format!("{clock}\u{1f}{:020}\u{1f}{session}", deadline.max(0))
}

fn forward(
    ctx: &mut Context<'_, '_>,
    id: &str,
    session: &Session,
    found: &[Pattern],
    at: i64,
    headers: &Headers,
) -> Result<(), BoxError> {
    for pattern in found {
        let value = SessionPattern {
            id: format!("{id}/{}", pattern.as_str()),
            session_id: id.to_owned(),
            user_id: session.user_id.clone(),
            pattern: *pattern,
            session_start: session.start,
            at,
            events: session.events,
        };
        ctx.forward(Record {
            key: id.to_owned(),
            value: Some(value),
            timestamp: at,
            headers: headers.clone(),
        })?;
    }
    Ok(())
}
