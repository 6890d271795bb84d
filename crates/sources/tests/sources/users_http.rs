//! The users client against servers that behave and servers that do not; each misbehaviour is a test of its own.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use vigie_sources::users::{Client, ClientOptions, FetchError};
use vigie_sources::{Moment, ReplayServer, Source, Step, Then, UsersOptions, UsersSource};

use crate::data;

const NOW: i64 = 1_750_000_000_000;

/// A server that answers one connection with `act`, and the address to ask.
fn server(act: impl FnOnce(&mut TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api/?results=10", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
            head.push(byte[0]);
        }
        act(&mut stream);
    });
    url
}

/// A server that answers with these bytes.
fn answering(answer: impl Into<String>) -> String {
    let answer = answer.into();
    server(move |stream| drop(stream.write_all(answer.as_bytes())))
}

fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

fn source(url: String) -> UsersSource {
    let client = ClientOptions { timeout: Duration::from_millis(700), max_bytes: 100_000 };
    UsersSource::new(UsersOptions { url, client, ..UsersOptions::default() })
}

/// One step against a misbehaving server: no record, the error said, a retry after 60 s give or take a fifth.
fn fails(url: String, says: &str) -> (UsersSource, Step) {
    let mut source = source(url);
    let view = source.status_view();
    let step = source.next(Moment { wall: NOW, elapsed: Duration::ZERO });
    assert!(step.records.is_empty());
    let error = step.error.clone().expect("an error");
    assert!(error.contains(says), "{error:?} does not say {says:?}");
    let status = view();
    assert_eq!((status.failures, status.last_success), (1, None));
    let Then::Pause(wait) = step.then else { panic!("{:?}", step.then) };
    assert!(wait >= Duration::from_secs(48), "{wait:?}");
    assert_eq!(status.next_attempt, Some(NOW + wait.as_millis() as i64));
    (source, step)
}

#[test]
fn a_batch_is_published_exactly_as_received() {
    let body = "{ \"results\": [ {\"a\":1.0}, {} ],\n \"info\": {\"é\": 1e3}}";
    let mut source = source(answering(http("200 OK", "", body)));
    let view = source.status_view();
    let step = source.next(Moment { wall: NOW, elapsed: Duration::ZERO });
    assert_eq!(step.error, None);
    let [record] = step.records.as_slice() else { panic!("one message, one batch") };
    assert_eq!((record.topic.as_str(), record.value.as_slice()), ("random_user_data", body.as_bytes()));
    assert_eq!(step.then, Then::After(Duration::from_secs(10)));
    let status = view();
    assert_eq!((status.last_status, status.last_success, status.failures), (Some(200), Some(NOW), 0));
}

#[test]
fn something_that_is_not_json() {
    fails(answering(http("200 OK", "", "<html>captive portal</html>")), "not a batch of users");
    fails(answering(http("200 OK", "", "{\"error\":\"Uh oh\"}")), "missing field `results`");
    fails(answering(http("200 OK", "", "[]")), "not a batch of users");
}

#[test]
fn a_truncated_answer() {
    fails(answering("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"results\": ["), "cannot be reached");
    fails(answering("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"results\": ["), "not a batch of users");
}

#[test]
fn a_server_error_and_a_not_found() {
    let (source, _) = fails(answering(http("500 Internal Server Error", "", "oops")), "status 500");
    assert_eq!(source.status_view()().last_status, Some(500));
    fails(answering(http("404 Not Found", "", "")), "check the address");
}

#[test]
fn too_many_requests_with_retry_after() {
    let (_, step) =
        fails(answering(http("429 Too Many Requests", "retry-after: 300\r\n", "")), "too many requests");
    assert_eq!(step.then, Then::Pause(Duration::from_secs(300)));
    // A shorter wish does not shorten our own patience, an absurd one does not stop us for ever.
    fails(answering(http("429 Too Many Requests", "retry-after: 1\r\n", "")), "429");
    let (_, step) = fails(answering(http("429 Too Many Requests", "retry-after: 99999999\r\n", "")), "429");
    assert_eq!(step.then, Then::Pause(Duration::from_secs(3600)));
}

#[test]
fn a_slow_server() {
    let url = server(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n");
        for _ in 0..40 {
            if stream.write_all(b"x").is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let begin = Instant::now();
    fails(url, "did not answer completely within 0.7 s");
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    let silent = server(|_| std::thread::sleep(Duration::from_secs(3)));
    fails(silent, "did not answer completely");
}

#[test]
fn a_huge_answer() {
    let url = server(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
        let chunk = [b' '; 65_536];
        while stream.write_all(&chunk).is_ok() {}
    });
    fails(url, "more than 100000 bytes");
}

#[test]
fn a_redirect_to_elsewhere_is_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let target = format!("location: http://{}/steal\r\n", elsewhere.local_addr().unwrap());
    fails(answering(http("302 Found", &target, "")), "another server");
    assert!(elsewhere.accept().is_err(), "nobody was asked there");
    fails(answering(http("302 Found", "", "")), "another server");
}

#[test]
fn redirects_in_a_circle_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().take(10).flatten() {
            let mut stream = stream;
            let mut head = [0; 1024];
            let _ = stream.read(&mut head);
            let _ = stream.write_all(http("301 Moved Permanently", "location: /api/\r\n", "").as_bytes());
        }
    });
    fails(url, "redirects again and again");
}

#[test]
fn nobody_listens() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    fails(format!("http://127.0.0.1:{port}/api/"), "cannot be reached");
}

#[test]
fn the_waits_after_failures_differ_and_are_reproducible() {
    let waits = |seed: u64| -> Vec<Then> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}/");
        let mut source = UsersSource::new(UsersOptions { url, seed, ..UsersOptions::default() });
        (0..4).map(|_| source.next(Moment { wall: NOW, elapsed: Duration::ZERO }).then).collect()
    };
    let first = waits(1);
    assert_eq!(first, waits(1));
    assert_ne!(first, waits(2));
    for then in &first {
        let Then::Pause(wait) = then else { panic!("{then:?}") };
        assert!((48.0..=72.0).contains(&wait.as_secs_f64()), "{wait:?}");
    }
    assert!(first.windows(2).any(|pair| pair[0] != pair[1]));
}

#[test]
fn the_replay_server_answers_like_the_service() {
    let server = ReplayServer::start(&data("randomuser_response_111.json"), 0).unwrap();
    let client = Client::new(ClientOptions::default());
    let recorded: serde_json::Value =
        serde_json::from_slice(&std::fs::read(data("randomuser_response_111.json")).unwrap()).unwrap();
    let recorded = recorded["results"].as_array().unwrap();
    let mut seen = Vec::new();
    for _ in 0..12 {
        let batch = client.fetch(&server.url(10), NOW).unwrap();
        assert_eq!(batch.users, 10);
        let json: serde_json::Value = serde_json::from_slice(&batch.body).unwrap();
        assert_eq!(
            (json["info"]["results"].as_u64(), json["info"]["version"].as_str()),
            (Some(10), Some("1.4"))
        );
        seen.extend(json["results"].as_array().unwrap().clone());
    }
    let expected: Vec<_> = recorded.iter().cycle().take(120).cloned().collect();
    assert!(seen == expected, "the users come in order, and from the beginning after the last");
    let error = client.fetch(&format!("http://{}/nonsense", server.address()), NOW).unwrap_err();
    assert!(matches!(error, FetchError::Status { status: 404, .. }), "{error}");
}

#[test]
fn the_replay_server_survives_strange_clients() {
    let server = ReplayServer::start(&data("randomuser_response_111.json"), 0).unwrap();
    for nonsense in [&b"\r\n\r\n"[..], b"\xff\xfe\r\n\r\n", b"POST /api/ HTTP/1.1\r\n\r\n", b""] {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(nonsense).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    let client = Client::new(ClientOptions::default());
    for (asked, given) in [("0", 1), ("3", 3), ("x", 1)] {
        let url = format!("http://{}/api/?results={asked}", server.address());
        assert_eq!(client.fetch(&url, NOW).unwrap().users, given, "{asked}");
    }
}

#[test]
fn recordings_that_are_none_and_ports_that_are_taken() {
    for (bytes, says) in [
        ("{}", "results"),
        ("{\"results\":[],\"info\":{\"seed\":\"\",\"results\":0,\"page\":1,\"version\":\"\"}}", "no users"),
    ] {
        let message = ReplayServer::start_with(bytes.as_bytes(), "x.json", 0).err().unwrap().to_string();
        assert!(message.contains("x.json") && message.contains(says), "{message}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let message = ReplayServer::start(&data("randomuser_response_111.json"), port).err().unwrap().to_string();
    assert!(message.contains("cannot listen") && message.contains(&port.to_string()), "{message}");
}
