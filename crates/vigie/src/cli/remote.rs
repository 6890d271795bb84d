//! A running instance, asked through its HTTP API.

use std::time::Duration;

use serde_json::Value;
use vigie_sources::users::{Client, ClientOptions, FetchError};

use super::{Exit, Failure};

/// A busy instance is asked again so many times ...
const BUSY_RETRIES: usize = 10;
/// ... after so long.
const BUSY_WAIT: Duration = Duration::from_millis(300);

/// The API of a running instance.
pub(super) struct Remote {
    address: String,
    client: Client,
}

impl Remote {
    /// The instance at `http://host:port`.
    pub(super) fn new(address: &str) -> Self {
        let address = address.trim_end_matches('/');
        let address = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let options = ClientOptions { timeout: Duration::from_secs(60), max_bytes: 64 << 20 };
        Self { address, client: Client::new(options) }
    }

    /// Where it is.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Whether it answers.
    pub(super) fn is_alive(&self) -> bool {
        let options = ClientOptions { timeout: Duration::from_secs(5), max_bytes: 1 << 10 };
        Client::new(options).get(&format!("{}/livez", self.address), 0).is_ok()
    }

    /// The first page of the screens.
    pub(super) fn first_page(&self) -> Result<String, Failure> {
        let body = self.client.get(&format!("{}/", self.address), 0);
        let body = body.map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// What `/api/v1/{path}` says; `None` for 404.
    pub(super) fn get(&self, path: &str) -> Result<Option<Value>, Failure> {
        let url = format!("{}/api/v1/{path}", self.address);
        let mut answer = self.client.get(&url, 0);
        for _ in 0..BUSY_RETRIES {
            // Others read much at this moment.
            if !matches!(answer, Err(FetchError::Status { status: 503, .. })) {
                break;
            }
            std::thread::sleep(BUSY_WAIT);
            answer = self.client.get(&url, 0);
        }
        match answer {
            Ok(body) => serde_json::from_slice(&body).map(Some).map_err(|error| {
                Failure::new(
                    Exit::Unavailable,
                    format!("{url} answered with something that is not JSON: {error}"),
                )
            }),
            Err(FetchError::Status { status: 404, .. }) => Ok(None),
            Err(error) => Err(Failure::new(Exit::Unavailable, error.to_string())),
        }
    }

    /// Sends a change to `/api/v1/{path}`; what it refuses is said in its own words.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let url = format!("{}/api/v1/{path}", self.address);
        let unreadable = |what: &str| {
            Failure::new(Exit::Unavailable, format!("{url} answered with something that is not JSON: {what}"))
        };
        let (status, answer) = self
            .client
            .post_json(&url, body.to_string().as_bytes())
            .map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
        let answer: Value =
            serde_json::from_slice(&answer).map_err(|error| unreadable(&error.to_string()))?;
        if status == 200 {
            return Ok(answer);
        }
        let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
        let exit = match status {
            400 | 422 => Exit::BadInput,
            404 => Exit::NothingFound,
            503 | 504 => Exit::Unavailable,
            _ => Exit::Failure,
        };
        let hint = match text("hint") {
            "" => String::new(),
            hint => format!(" ({hint})"),
        };
        Err(Failure::new(exit, format!("{}{hint}", text("detail"))))
    }

    /// All topics, as the API describes them.
    pub(super) fn topics(&self) -> Result<Vec<Value>, Failure> {
        Ok(self.get("topics?limit=500")?.map(items).unwrap_or_default())
    }

    /// One topic, as the API describes it.
    pub(super) fn topic(&self, name: &str) -> Result<Value, Failure> {
        self.topics()?
            .into_iter()
            .find(|topic| topic.get("name").and_then(Value::as_str) == Some(name))
            .ok_or_else(|| Failure::from(vigie_log::LogError::UnknownTopic { topic: name.to_owned() }))
    }

    /// Messages of one partition from an offset (or `earliest`, `latest`).
    pub(super) fn messages(
        &self,
        topic: &str,
        partition: u64,
        from: &str,
        limit: usize,
    ) -> Result<Vec<Value>, Failure> {
        let path = format!("topics/{topic}/messages?partition={partition}&from={from}&limit={limit}");
        Ok(self.get(&path)?.map(items).unwrap_or_default())
    }
}

/// The items of a list endpoint.
fn items(answer: Value) -> Vec<Value> {
    match answer {
        Value::Array(items) => items,
        Value::Object(mut object) => match object.remove("items") {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// How many partitions the API says that a topic has: a number, or a list of them.
pub(super) fn partitions(topic: &Value) -> u64 {
    match topic.get("partitions") {
        Some(Value::Array(list)) => list.len() as u64,
        Some(number) => number.as_u64().unwrap_or(1),
        None => 1,
    }
}
