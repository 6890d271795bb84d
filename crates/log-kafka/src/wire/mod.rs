//! A small Kafka client for what librdkafka does not speak: one connection, one request at a time.
//!
//! Streams groups (KIP-1071) need requests that librdkafka does not have. This is a blocking client for them: connect, TLS, login, frame,
//! correlate. Messages come from `kafka_wire_protocol`; nothing of it leaves this crate.
//!
//! Invariants:
//! - Every wait has a deadline. A connection that failed in the middle of a call is not used again: its stream of bytes may be cut anywhere.
//! - An error says whether the request may have reached the broker ([`WireError::maybe_sent`]): what follows depends on it.
//!
//! It does *not* carry records, does not pipeline, and does not repeat anything: its users know what may be repeated.

mod cluster;
mod groups;
mod sasl;
mod scram;
mod socket;
mod tls;

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};
use std::time::{Duration, Instant};

use kafka_wire_protocol::api_message_type::ApiMessageType;
use kafka_wire_protocol::markers::Request;
use kafka_wire_protocol::readable_writable::{Readable, Writable};
use kafka_wire_protocol::schema::api_versions_request::v3::ApiVersionsRequest;
use kafka_wire_protocol::schema::api_versions_response::v3::ApiVersionsResponse;
use kafka_wire_protocol::schema::request_header::{v1, v2};
use kafka_wire_protocol::schema::response_header;

pub(crate) use cluster::{Cluster, TopicInfo};
use socket::Socket;

use crate::KafkaConfig;

/// No answer to what is asked here comes near this size (100 MiB, Kafka's own limit for requests): a larger one means that the other
/// end does not speak Kafka.
const LARGEST_FRAME: usize = 100 << 20;
/// `UNSUPPORTED_VERSION`, the answer of a broker that is older than the request.
const UNSUPPORTED_VERSION: i16 = 35;

/// What can go wrong on a connection.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum WireError {
    /// No connection came about.
    #[error("{address} cannot be reached: {reason}")]
    Connect { address: String, reason: String },
    /// The encrypted channel did not come about.
    #[error("TLS with {address} failed: {reason}")]
    Tls { address: String, reason: String },
    /// The broker did not accept who we are.
    #[error("{address} refused the login with {mechanism}: {reason}")]
    Login { address: String, mechanism: &'static str, reason: String },
    /// A permission is missing.
    #[error("not authorised: {permission} on {resource}")]
    NotAuthorised { resource: String, permission: &'static str },
    /// The other end is too old, or is no Kafka broker.
    #[error("{address} does not offer {what}")]
    Unsupported { address: String, what: String },
    /// The connection failed in the middle of a call.
    #[error("the connection to {address} failed: {reason}")]
    Broken { address: String, reason: String },
    /// No broker answered with what was asked for.
    #[error("{0}")]
    Unavailable(String),
}

impl WireError {
    /// Whether the broker may have seen and carried out the request, though no answer came.
    pub(crate) fn maybe_sent(&self) -> bool {
        matches!(self, Self::Broken { .. })
    }

    /// Whether trying again may help without a change by a person.
    pub(crate) fn retriable(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Broken { .. } | Self::Unavailable(_))
    }
}

/// One connection to one broker, logged in.
pub(crate) struct Connection {
    socket: Socket,
    address: String,
    client_id: String,
    timeout: Duration,
    correlation: i32,
    versions: BTreeMap<i16, (i16, i16)>,
    features: BTreeMap<String, i16>,
    /// The broker closes the connection when the login has expired; it is left before that, in a quiet moment.
    leave_at: Option<Instant>,
}

impl Connection {
    /// Connects to `host:port`, encrypts, asks for the broker's versions and logs in, as `config` says.
    pub(crate) fn open(address: &str, config: &KafkaConfig, timeout: Duration) -> Result<Self, WireError> {
        let deadline = Instant::now() + timeout;
        let socket = Socket::open(address, config.security.tls.as_ref(), deadline)?;
        let mut connection = Self {
            socket,
            address: address.to_owned(),
            client_id: config.client_id.clone(),
            timeout: config.request_timeout,
            correlation: 0,
            versions: BTreeMap::new(),
            features: BTreeMap::new(),
            leave_at: None,
        };
        connection.learn_versions(deadline)?;
        if let Some(login) = &config.security.sasl {
            let lifetime = sasl::log_in(&mut connection, login, deadline)?;
            connection.leave_at = lifetime.map(|lifetime| Instant::now() + lifetime.mul_f64(0.8));
        }
        Ok(connection)
    }

    /// Where it leads.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Whether the login is about to expire, so that the next call is better made on a new connection.
    pub(crate) fn expires(&self) -> bool {
        self.leave_at.is_some_and(|at| Instant::now() >= at)
    }

    /// Whether the broker knows this version of this request.
    pub(crate) fn offers(&self, key: i16, version: i16) -> bool {
        self.versions.get(&key).is_some_and(|(least, most)| (*least..=*most).contains(&version))
    }

    /// The cluster's level of a feature, 0 where it has none.
    pub(crate) fn feature(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// Sends a request and waits for its answer, at most the request timeout. `A` is the response of the same version.
    pub(crate) fn call<Q: Request + Writable, A: Readable>(&mut self, request: &Q) -> Result<A, WireError> {
        self.call_until(request, Instant::now() + self.timeout)
    }

    fn call_until<Q: Request + Writable, A: Readable>(
        &mut self,
        request: &Q,
        deadline: Instant,
    ) -> Result<A, WireError> {
        self.socket.set_deadline(deadline);
        self.exchange(request)
            .map_err(|reason| WireError::Broken { address: self.address.clone(), reason: reason.to_string() })
    }

    fn exchange<Q: Request + Writable, A: Readable>(&mut self, request: &Q) -> std::io::Result<A> {
        let (key, version) = (request.api_key(), request.version());
        let kind = ApiMessageType::from_api_key(key);
        self.correlation = self.correlation.wrapping_add(1);
        let (correlation, client) = (self.correlation, Some(self.client_id.as_str()));
        // The first four bytes are the length of the rest.
        let mut frame = Cursor::new(vec![0; 4]);
        frame.set_position(4);
        if kind.request_header_version(version) >= 2 {
            v2::RequestHeader::new(key, version, correlation, client).write(&mut frame)?;
        } else {
            v1::RequestHeader::new(key, version, correlation, client).write(&mut frame)?;
        }
        request.write(&mut frame)?;
        let mut frame = frame.into_inner();
        let length = i32::try_from(frame.len() - 4).map_err(std::io::Error::other)?;
        if let Some(head) = frame.first_chunk_mut::<4>() {
            *head = length.to_be_bytes();
        }
        self.socket.write_all(&frame)?;
        self.socket.flush()?;

        let mut length = [0; 4];
        self.socket.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > LARGEST_FRAME {
            return Err(std::io::Error::other("its answer is no Kafka frame; is this the port for clients?"));
        }
        let mut answer = vec![0; length];
        self.socket.read_exact(&mut answer)?;
        let mut answer = answer.as_slice();
        let answered = if kind.response_header_version(version) >= 1 {
            response_header::v1::ResponseHeader::read(&mut answer)?.correlation_id
        } else {
            response_header::v0::ResponseHeader::read(&mut answer)?.correlation_id
        };
        if answered != correlation {
            return Err(std::io::Error::other(format!(
                "it answered request {answered} in place of {correlation}"
            )));
        }
        A::read(&mut answer)
    }

    fn learn_versions(&mut self, deadline: Instant) -> Result<(), WireError> {
        let request = ApiVersionsRequest::new("vigie", env!("CARGO_PKG_VERSION"));
        let answer: ApiVersionsResponse = self.call_until(&request, deadline)?;
        if answer.error_code == UNSUPPORTED_VERSION {
            // Brokers before 2.4 answer in their own version; none of what is asked for here is known to them.
            return Ok(());
        }
        if answer.error_code != 0 {
            let reason = format!("it answered the first request with error {}", answer.error_code);
            return Err(WireError::Broken { address: self.address.clone(), reason });
        }
        self.versions =
            answer.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect();
        self.features = answer
            .finalized_features
            .into_iter()
            .map(|feature| (feature.name, feature.max_version_level))
            .collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that reads one frame, sends `answer` and hangs up.
    fn answering(answer: &'static [u8]) -> (String, std::thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let mut length = [0; 4];
            if peer.read_exact(&mut length).is_ok() {
                let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
                peer.read_exact(&mut frame).unwrap();
                peer.write_all(answer).unwrap();
            }
        });
        (address, server)
    }

    #[test]
    fn bad_answers_are_told_apart() {
        let check = |answer: &'static [u8], expect: &str| {
            let (address, server) = answering(answer);
            let config = KafkaConfig::new([address.clone()]);
            let error = Connection::open(&address, &config, Duration::from_secs(5)).err().unwrap();
            assert!(error.to_string().contains(expect), "{error}");
            assert!(error.maybe_sent() && error.retriable());
            server.join().unwrap();
        };
        check(b"HTTP/1.1 400 Bad Request\r\n", "is this the port for clients?");
        check(&[0, 0, 0, 4, 0, 0, 0, 9], "in place of 1");
        check(&[0, 0, 0, 9, 0, 0], "failed to fill");
        check(&[], "failed to fill");
    }

    #[test]
    fn silence_ends_at_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let config = KafkaConfig::new([address.clone()]);
        let start = Instant::now();
        let error = Connection::open(&address, &config, Duration::from_millis(200)).err().unwrap();
        assert!(error.to_string().contains("no answer in time"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_closed_port_was_never_asked() {
        let address = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().to_string()
        };
        let config = KafkaConfig::new([address.clone()]);
        let error = Connection::open(&address, &config, Duration::from_secs(5)).err().unwrap();
        assert!(error.retriable() && !error.maybe_sent(), "{error}");
    }
}
