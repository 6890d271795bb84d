//! `random_user_data` -> `users` (one record a user) -> totals by country and by gender.
//!
//! A user who comes in again, perhaps with other attributes, is still one user: what was counted before is taken back first. So the
//! totals are those of all different users over all time, whatever is repeated.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use vigie_contracts::Contract;
use vigie_domain::{CountryStats, GenderStats, User, topics};
use vigie_streams::serde::{Json, Utf8};
use vigie_streams::{
    BoxError, Consumed, Grouped, KStream, Processor, ProcessorContext, Produced, Record, Store, StoreBuilder,
    StreamsBuilder,
};

use super::checked::{About, Traced, anomaly};

const KNOWN: &str = "users-known";

/// Batches to users; a user who breaks the contract is one anomaly, the batch's other users go on.
pub fn explode(batches: &KStream<Option<Vec<u8>>, Traced<Value>>, contract: Arc<Contract>) {
    let exploded =
        batches.named("explode-users").process(move || Explode { contract: Arc::clone(&contract) }, &[]);
    exploded
        .flat_map(|_, user: &Exploded| user.as_ref().err().map(|bad| (bad.id.clone(), (**bad).clone())))
        .to(topics::ANOMALIES, Produced::with(Utf8, Json::new()));
    exploded
        .flat_map(|_, user: &Exploded| user.as_ref().ok().map(|user| (user.user_id.clone(), user.clone())))
        .to(topics::USERS, Produced::with(Utf8, Json::new()));
}

struct Explode {
    contract: Arc<Contract>,
}

type Exploded = Result<User, Box<vigie_domain::Anomaly>>;

impl Processor<Option<Vec<u8>>, Traced<Value>, String, Exploded> for Explode {
    fn process(
        &mut self,
        ctx: &mut ProcessorContext<'_, '_, String, Exploded>,
        record: Record<Option<Vec<u8>>, Traced<Value>>,
    ) -> Result<(), BoxError> {
        let Some(batch) = record.value else { return Ok(()) };
        let results = batch.value.get("results").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for (index, result) in results.iter().enumerate() {
            let raw = serde_json::to_vec(result)?;
            let exploded = match self.contract.check::<RandomUser>(&raw) {
                Ok(user) => Ok(user.into_user(batch.at)),
                Err(violation) => {
                    let origin = batch.origin.clone();
                    let about = About { origin, key: None, raw: &raw, event_time: batch.at };
                    let mut bad = anomaly(violation, about, ctx.wall_clock());
                    // Several users of one batch may be bad: each gets an id of its own.
                    bad.id = format!("{}/{index}", bad.id);
                    Err(Box::new(bad))
                }
            };
            let headers = record.headers.clone();
            ctx.forward(Record { key: String::new(), value: Some(exploded), timestamp: batch.at, headers })?;
        }
        Ok(())
    }
}

/// Totals by country and by gender.
pub fn aggregate(builder: &mut StreamsBuilder) {
    builder.add_state_store(StoreBuilder::key_value(Store::<String, Counted>::json_named(KNOWN)));
    let deltas = builder
        .stream(topics::USERS, Consumed::with(Utf8, Json::<User>::new()))
        .named("users-once")
        .process(|| Once, &[KNOWN]);
    deltas
        .map(|_, delta: &Delta| (delta.counted.country.clone(), delta.clone()))
        .group_by_key_with(Grouped::with(Utf8, Json::new()))
        .aggregate(
            CountryStats::default,
            |country: &String, delta: &Delta, mut stats: CountryStats| {
                country.clone_into(&mut stats.country);
                add(&mut stats.count_users, &mut stats.sum_age, delta);
                stats.last_update = stats.last_update.max(delta.at);
                stats
            },
            Store::json_named("country-stats"),
        )
        .to_stream()
        .to(topics::COUNTRY_STATS, Produced::with(Utf8, Json::new()));
    deltas
        .map(|_, delta: &Delta| (delta.counted.gender.clone(), delta.clone()))
        .group_by_key_with(Grouped::with(Utf8, Json::new()))
        .aggregate(
            GenderStats::default,
            |gender: &String, delta: &Delta, mut stats: GenderStats| {
                gender.clone_into(&mut stats.gender);
                add(&mut stats.count_users, &mut stats.sum_age, delta);
                stats.last_update = stats.last_update.max(delta.at);
                stats
            },
            Store::json_named("gender-stats"),
        )
        .to_stream()
        .to(topics::GENDER_STATS, Produced::with(Utf8, Json::new()));
}

/// What of a user has been counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Counted {
    country: String,
    gender: String,
    age: u32,
}

/// One user more, or one less.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Delta {
    counted: Counted,
    more: bool,
    at: i64,
}

fn add(count: &mut u64, sum_age: &mut u64, delta: &Delta) {
    let age = u64::from(delta.counted.age);
    if delta.more {
        *count = count.saturating_add(1);
        *sum_age = sum_age.saturating_add(age);
    } else {
        *count = count.saturating_sub(1);
        *sum_age = sum_age.saturating_sub(age);
    }
}

struct Once;

impl Processor<String, User, String, Delta> for Once {
    fn process(
        &mut self,
        ctx: &mut ProcessorContext<'_, '_, String, Delta>,
        record: Record<String, User>,
    ) -> Result<(), BoxError> {
        let Some(user) = record.value else { return Ok(()) };
        let new = Counted { country: user.country, gender: user.gender, age: user.age };
        let mut known = ctx.key_value::<String, Counted>(KNOWN)?;
        let old = known.get(&record.key)?;
        if old.as_ref() == Some(&new) {
            return Ok(());
        }
        known.put(record.key.clone(), new.clone())?;
        let at = record.timestamp;
        let less = old.map(|counted| Delta { counted, more: false, at });
        for delta in less.into_iter().chain([Delta { counted: new, more: true, at }]) {
            let (key, headers) = (record.key.clone(), record.headers.clone());
            ctx.forward(Record { key, value: Some(delta), timestamp: at, headers })?;
        }
        Ok(())
    }
}

/// One entry of `results[]`, as the service sends it; only what is used.
#[derive(Debug, Deserialize)]
struct RandomUser {
    gender: String,
    name: Name,
    location: Location,
    email: String,
    login: Login,
    dob: Dob,
    registered: Registered,
    #[serde(default)]
    phone: String,
    #[serde(default)]
    picture: Picture,
    #[serde(default)]
    nat: String,
}

#[derive(Debug, Deserialize)]
struct Name {
    #[serde(default)]
    title: String,
    first: String,
    last: String,
}

#[derive(Debug, Deserialize)]
struct Location {
    #[serde(default)]
    city: String,
    country: String,
}

#[derive(Debug, Deserialize)]
struct Login {
    uuid: String,
}

#[derive(Debug, Deserialize)]
struct Dob {
    age: u32,
}

#[derive(Debug, Deserialize)]
struct Registered {
    date: String,
}

#[derive(Debug, Default, Deserialize)]
struct Picture {
    #[serde(default)]
    thumbnail: String,
}

impl RandomUser {
    fn into_user(self, ingestion_time: i64) -> User {
        let full_name = [self.name.title, self.name.first, self.name.last].join(" ").trim().to_owned();
        User {
            user_id: self.login.uuid,
            full_name: full_name.into(),
            gender: self.gender,
            age: self.dob.age,
            country: self.location.country,
            city: self.location.city.into(),
            email: self.email.into(),
            phone: self.phone.into(),
            nationality: self.nat,
            registered: self.registered.date,
            picture: self.picture.thumbnail,
            ingestion_time,
        }
    }
}
