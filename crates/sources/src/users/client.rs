//! One request: bounded in time and size, every failure told apart.

use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use ureq::http::Uri;
use vigie_log::Timestamp;

/// Redirects that are followed, within the same host.
const MAX_REDIRECTS: usize = 3;

/// Limits of one request.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientOptions {
    /// How long the whole of it may take.
    pub timeout: Duration,
    /// How large an answer may be, bytes.
    pub max_bytes: u64,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10), max_bytes: 8 << 20 }
    }
}

/// A batch of users as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The bytes of the answer, unaltered.
    pub body: Vec<u8>,
    /// How many users are in it.
    pub users: usize,
    /// The HTTP status.
    pub status: u16,
}

/// Why a request gave no batch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The server answered with another status than 200.
    #[error("{url} answered with status {status}{}", advice(*status))]
    Status {
        /// The address.
        url: String,
        /// The status.
        status: u16,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
    },
    /// No or no complete answer.
    #[error("{url} cannot be reached: {source}; check the address and the network")]
    Network {
        /// The address.
        url: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// It took too long.
    #[error("{url} did not answer completely within {} s; it is tried again later", timeout.as_secs_f64())]
    Slow {
        /// The address.
        url: String,
        /// The limit.
        timeout: Duration,
    },
    /// The answer is too large.
    #[error("{url} answered with more than {limit} bytes; ask for fewer results")]
    TooLarge {
        /// The address.
        url: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The answer is not a batch of users.
    #[error("{url} answered with something that is not a batch of users: {reason}; check the address")]
    NotUsers {
        /// The address.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The server sends us round in circles.
    #[error("{url} redirects again and again; check the address")]
    Circle {
        /// The address.
        url: String,
    },
    /// The server sends us elsewhere.
    #[error(
        "{url} redirects to {target}, which is another server; if that is right, set it as the source's address"
    )]
    Elsewhere {
        /// The address.
        url: String,
        /// Where to.
        target: String,
    },
}

fn advice(status: u16) -> &'static str {
    match status {
        429 => ": too many requests; it is asked again later",
        500..=599 => ": the service has trouble; it is asked again later",
        401 | 403 => ": not allowed; check the address",
        404 | 410 => ": nothing there; check the address",
        _ => "",
    }
}

impl FetchError {
    /// The HTTP status, where there is one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// An HTTP client.
#[derive(Debug)]
pub struct Client {
    agent: ureq::Agent,
    options: ClientOptions,
}

#[derive(Deserialize)]
struct Envelope {
    results: Vec<IgnoredAny>,
}

impl Client {
    /// A client.
    pub fn new(options: ClientOptions) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(options.timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("vigie/", env!("CARGO_PKG_VERSION")))
            .accept("application/json")
            .build()
            .new_agent();
        Self { agent, options }
    }

    /// Asks for one batch of users. `now` is needed for a `Retry-After` that is a date.
    pub fn fetch(&self, url: &str, now: Timestamp) -> Result<Batch, FetchError> {
        let body = self.get(url, now)?;
        let envelope: Envelope = serde_json::from_slice(&body)
            .map_err(|error| FetchError::NotUsers { url: url.to_owned(), reason: error.to_string() })?;
        Ok(Batch { users: envelope.results.len(), body, status: 200 })
    }

    /// Asks for whatever is there; a status other than 200 is an error. `now` is needed for a `Retry-After` that is a date.
    pub fn get(&self, url: &str, now: Timestamp) -> Result<Vec<u8>, FetchError> {
        let mut address = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.agent.get(&address);
            if is_loopback(&address) {
                // A proxy of the environment leads away from this machine.
                request = request.config().proxy(None).build();
            }
            let mut response = request.call().map_err(|error| self.failed(&address, error))?;
            let status = response.status().as_u16();
            let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            if matches!(status, 301 | 302 | 303 | 307 | 308) {
                let target = header("location").unwrap_or_default();
                address = same_server(&address, target).ok_or_else(|| FetchError::Elsewhere {
                    url: address.clone(),
                    target: target.to_owned(),
                })?;
                continue;
            }
            if status != 200 {
                let retry_after = header("retry-after").and_then(|text| retry_after(text, now));
                return Err(FetchError::Status { url: address, status, retry_after });
            }
            return response
                .body_mut()
                .with_config()
                .limit(self.options.max_bytes)
                .read_to_vec()
                .map_err(|error| self.failed(&address, error));
        }
        Err(FetchError::Circle { url: url.to_owned() })
    }

    /// Posts JSON; gives the status, whatever it is, and the body.
    pub fn post_json(&self, url: &str, body: &[u8]) -> Result<(u16, Vec<u8>), FetchError> {
        let mut request = self.agent.post(url).content_type("application/json");
        if is_loopback(url) {
            request = request.config().proxy(None).build();
        }
        let mut response = request.send(body).map_err(|error| self.failed(url, error))?;
        let status = response.status().as_u16();
        let answer = response.body_mut().with_config().limit(self.options.max_bytes).read_to_vec();
        Ok((status, answer.map_err(|error| self.failed(url, error))?))
    }

    fn failed(&self, url: &str, error: ureq::Error) -> FetchError {
        let url = url.to_owned();
        match error {
            ureq::Error::Timeout(_) => FetchError::Slow { url, timeout: self.options.timeout },
            ureq::Error::BodyExceedsLimit(limit) => FetchError::TooLarge { url, limit },
            other => FetchError::Network { url, source: Box::new(other) },
        }
    }
}

fn is_loopback(url: &str) -> bool {
    let host = url.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The address of a redirect's target, if it is on the same server (scheme, host, port).
fn same_server(from: &str, target: &str) -> Option<String> {
    let from: Uri = from.parse().ok()?;
    let origin = format!("{}://{}", from.scheme_str()?, from.authority()?);
    if target.starts_with('/') && !target.starts_with("//") {
        return Some(origin + target);
    }
    let to: Uri = target.parse().ok()?;
    (to.scheme_str() == from.scheme_str() && to.authority() == from.authority()).then(|| target.to_owned())
}

/// `Retry-After`: seconds, or a date.
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp().as_millisecond();
    Some(Duration::from_millis(u64::try_from(date.saturating_sub(now)).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_on_the_server() {
        let from = "http://127.0.0.1:80/api/?results=1";
        for (target, expected) in [
            ("/other", Some("http://127.0.0.1:80/other")),
            ("http://127.0.0.1:80/x", Some("http://127.0.0.1:80/x")),
            ("//evil.example/x", None),
            ("http://127.0.0.1:81/x", None),
            ("https://127.0.0.1:80/x", None),
            ("http://evil.example/x", None),
            ("file:///etc/passwd", None),
            ("", None),
        ] {
            assert_eq!(same_server(from, target).as_deref(), expected, "{target}");
        }
    }

    #[test]
    fn loopback_is_not_asked_through_a_proxy() {
        for (url, expected) in [
            ("http://127.0.0.1:1/x", true),
            ("http://[::1]:1/x", true),
            ("http://localhost/x", true),
            ("https://randomuser.me/api/", false),
            ("nonsense", false),
        ] {
            assert_eq!(is_loopback(url), expected, "{url}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = 1_750_000_000_000;
        for (text, expected) in [
            ("120", Some(120)),
            ("0", Some(0)),
            ("Sun, 15 Jun 2025 15:07:40 GMT", Some(60)),
            ("Sun, 15 Jun 2025 15:00:00 GMT", Some(0)),
            ("soon", None),
            ("-5", None),
        ] {
            assert_eq!(retry_after(text, now), expected.map(Duration::from_secs), "{text}");
        }
    }
}
