//! A local server that answers like the users service, from a recording: where there is no network, the real client still runs.
//!
//! `GET /api/?results=N` answers with the next N of the recorded users (from the beginning again after the last), each as it was
//! recorded, byte for byte, in the service's envelope. It listens on loopback only.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The service's own limit.
const MAX_RESULTS: usize = 5_000;
/// How long a client may take.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(5);
/// A request's head is at most so long.
const MAX_HEAD: u64 = 16 << 10;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The recording cannot be read.
    #[error("the recorded answer {}: cannot be read: {source}; check the path", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The recording is not one.
    #[error("the recorded answer {place}: {reason}; record an answer of the users service anew")]
    Invalid {
        /// The file.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// The port cannot be bound.
    #[error(
        "the replay server cannot listen on 127.0.0.1:{port}: {source}; choose another port, or 0 for a free one"
    )]
    Bind {
        /// The port.
        port: u16,
        /// Why.
        source: std::io::Error,
    },
}

#[derive(Deserialize)]
struct Recording {
    results: Vec<Box<RawValue>>,
    info: Info,
}

#[derive(Deserialize, Serialize)]
struct Info {
    seed: String,
    results: usize,
    page: u64,
    version: String,
}

#[derive(Serialize)]
struct Answer<'a> {
    results: Vec<&'a RawValue>,
    info: Info,
}

/// The server; it ends when it is dropped.
pub struct ReplayServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ReplayServer {
    /// Starts on 127.0.0.1; port 0 takes a free one.
    pub fn start(recording: &Path, port: u16) -> Result<Self, ReplayError> {
        let bytes = std::fs::read(recording)
            .map_err(|source| ReplayError::Unreadable { path: recording.to_owned(), source })?;
        Self::start_with(&bytes, &recording.display().to_string(), port)
    }

    /// The same from bytes, for a recording that is part of the program; `place` names it in messages.
    pub fn start_with(recording: &[u8], place: &str, port: u16) -> Result<Self, ReplayError> {
        let invalid = |reason: String| ReplayError::Invalid { place: place.to_owned(), reason };
        let recording: Recording =
            serde_json::from_slice(recording).map_err(|error| invalid(error.to_string()))?;
        if recording.results.is_empty() {
            return Err(invalid(String::from("it has no users")));
        }
        let bind = |source| ReplayError::Bind { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name(String::from("users-replay"))
            .spawn(move || {
                let mut next = 0;
                for stream in listener.incoming() {
                    if stopped.load(Ordering::SeqCst) {
                        break;
                    }
                    // A client that breaks off is its own trouble: the next one is served.
                    let _ = stream.and_then(|stream| serve(stream, &recording, &mut next));
                }
            })
            .map_err(bind)?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address for a client that wants `results` users a batch.
    pub fn url(&self, results: usize) -> String {
        format!("http://{}/api/?results={results}", self.address)
    }
}

impl Drop for ReplayServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread from its wait for a client.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_millis(500));
        if let Some(thread) = self.thread.take() {
            // A panic in there has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

fn serve(stream: TcpStream, recording: &Recording, next: &mut usize) -> std::io::Result<()> {
    stream.set_read_timeout(Some(CLIENT_TIMEOUT))?;
    stream.set_write_timeout(Some(CLIENT_TIMEOUT))?;
    let mut reader = BufReader::new(stream.try_clone()?).take(MAX_HEAD);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut words = request.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (status, body) = match (method, path) {
        ("GET", "/api/" | "/api") => ("200 OK", answer(recording, query, next)),
        ("GET", _) => {
            ("404 Not Found", String::from("{\"error\":\"nothing there; ask for /api/?results=10\"}"))
        }
        _ => ("405 Method Not Allowed", String::from("{\"error\":\"only GET\"}")),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let mut stream = stream;
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    stream.flush()
}

fn answer(recording: &Recording, query: &str, next: &mut usize) -> String {
    let asked = query
        .split('&')
        .filter_map(|part| part.strip_prefix("results="))
        .find_map(|number| number.parse::<usize>().ok())
        .unwrap_or(1)
        .clamp(1, MAX_RESULTS);
    let from = *next;
    *next = (from + asked) % recording.results.len();
    let results: Vec<&RawValue> =
        recording.results.iter().map(AsRef::as_ref).cycle().skip(from).take(asked).collect();
    let info = Info {
        seed: recording.info.seed.clone(),
        results: results.len(),
        page: recording.info.page,
        version: recording.info.version.clone(),
    };
    serde_json::to_string(&Answer { results, info }).unwrap_or_default()
}
