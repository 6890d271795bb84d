//! The source: one message, one batch, as received.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use vigie_domain::topics;
use vigie_log::Timestamp;

use super::{Client, ClientOptions, FetchError};
use crate::{Moment, Source, SourceInfo, SourceRecord, Step, Then, random};

/// A server that asks for more patience than this is asked again all the same.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// How the source behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct UsersOptions {
    /// The service.
    pub url: String,
    /// The topic.
    pub topic: String,
    /// Time between two requests.
    pub interval: Duration,
    /// Time to wait after a failure, plus or minus a fifth at random.
    pub retry: Duration,
    /// The seed of that fifth.
    pub seed: u64,
    /// Whether the address is a recording that is played back.
    pub recorded: bool,
    /// Limits of one request.
    pub client: ClientOptions,
}

impl Default for UsersOptions {
    fn default() -> Self {
        Self {
            url: String::from("https://randomuser.me/api/?results=10"),
            topic: topics::RANDOM_USER_DATA.to_owned(),
            interval: Duration::from_secs(10),
            retry: Duration::from_secs(60),
            seed: 7,
            recorded: false,
            client: ClientOptions::default(),
        }
    }
}

/// How the source does, as in the API.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct UsersStatus {
    /// The service.
    pub url: String,
    /// The newest HTTP status; absent when there was no answer.
    pub last_status: Option<u16>,
    /// When the newest batch came in, ms since the epoch.
    pub last_success: Option<Timestamp>,
    /// When it is asked next, ms since the epoch.
    pub next_attempt: Option<Timestamp>,
    /// Failures since the last success.
    pub failures: u64,
    /// What went wrong last; absent when the last request went well.
    pub last_error: Option<String>,
}

/// The source.
pub struct UsersSource {
    options: UsersOptions,
    client: Client,
    rng: ChaCha8Rng,
    status: Arc<Mutex<UsersStatus>>,
}

impl UsersSource {
    /// A source.
    pub fn new(options: UsersOptions) -> Self {
        let status = UsersStatus { url: options.url.clone(), ..UsersStatus::default() };
        Self {
            client: Client::new(options.client.clone()),
            rng: random::stream(options.seed, "users"),
            status: Arc::new(Mutex::new(status)),
            options,
        }
    }

    /// A view of its status that outlives it.
    pub fn status_view(&self) -> Arc<dyn Fn() -> UsersStatus + Send + Sync> {
        let status = Arc::clone(&self.status);
        Arc::new(move || status.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// How long to wait after a failure.
    fn wait_after(&mut self, error: &FetchError) -> Duration {
        let jittered = self.options.retry.mul_f64(self.rng.random_range(0.8..=1.2));
        match error {
            FetchError::Status { retry_after: Some(asked), .. } => {
                jittered.max((*asked).min(MAX_RETRY_AFTER))
            }
            _ => jittered,
        }
    }
}

fn after(now: Timestamp, wait: Duration) -> Timestamp {
    now.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
}

impl Source for UsersSource {
    fn info(&self) -> SourceInfo {
        SourceInfo {
            name: String::from("users"),
            kind: "users",
            topics: vec![self.options.topic.clone()],
            simulated: false,
            recorded: self.options.recorded,
            rate_per_s: 1.0 / self.options.interval.as_secs_f64().max(1e-3),
        }
    }

    fn next(&mut self, now: Moment) -> Step {
        let outcome = self.client.fetch(&self.options.url, now.wall);
        let (wait, step) = match &outcome {
            Ok(batch) => {
                let record = SourceRecord {
                    topic: self.options.topic.clone(),
                    key: None,
                    value: batch.body.clone(),
                    headers: Vec::new(),
                    timestamp: now.wall,
                };
                (self.options.interval, Step::emit(vec![record], Then::After(self.options.interval)))
            }
            Err(error) => {
                let wait = self.wait_after(error);
                (wait, Step { records: Vec::new(), then: Then::Pause(wait), error: Some(error.to_string()) })
            }
        };
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.next_attempt = Some(after(now.wall, wait));
        match outcome {
            Ok(batch) => {
                status.last_status = Some(batch.status);
                status.last_success = Some(now.wall);
                status.failures = 0;
                status.last_error = None;
            }
            Err(error) => {
                status.last_status = error.status();
                status.failures += 1;
                status.last_error = Some(error.to_string());
            }
        }
        step
    }
}
