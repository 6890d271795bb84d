//! The live stream.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::rig::{Rig, customer, score};

struct Stream(BufReader<TcpStream>);

impl Stream {
    fn open(rig: &Rig, path: &str, last: Option<&str>) -> Self {
        let mut socket = rig.connect();
        let last = last.map_or_else(String::new, |id| format!("last-event-id: {id}\r\n"));
        write!(socket, "GET {path} HTTP/1.1\r\nhost: localhost\r\n{last}\r\n").unwrap();
        let mut stream = Self(BufReader::new(socket));
        stream.until("\r\n").expect("headers");
        stream
    }

    fn until(&mut self, wanted: &str) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.starts_with(wanted) {
                return Some(line);
            }
        }
    }

    /// The next message: id, event, data.
    fn next(&mut self) -> (String, String, Value) {
        let id = self.until("id: ").expect("id")[4..].trim().to_owned();
        let event = self.until("event: ").expect("event")[7..].trim().to_owned();
        let data = self.until("data: ").expect("data");
        (id, event, serde_json::from_str(data[6..].trim()).unwrap())
    }
}

fn publish_score(rig: &Rig, name: &str, age: f64) {
    let customer: vigie_domain::Customer = serde_json::from_value(customer(name, age)).unwrap();
    rig.publish("churn-scores", &serde_json::to_value(score(&customer, 0, rig.clock.now(), None)).unwrap());
}

#[test]
fn a_score_is_on_the_stream_at_once_and_is_told_with_the_one_before() {
    let rig = Rig::start();
    let mut stream = Stream::open(&rig, "/api/v1/stream?topics=score", None);
    std::thread::sleep(Duration::from_millis(500));
    let begun = Instant::now();
    let record: vigie_domain::Customer = serde_json::from_value(customer("Ann", 20.0)).unwrap();
    let view = json!({"customer": customer("Ann", 20.0), "score": score(&record, 0, 1, None)});
    rig.publish("customers", &view);
    publish_score(&rig, "Ann", 20.0);
    let (_, event, data) = stream.next();
    assert!(begun.elapsed() < Duration::from_millis(250), "{:?}", begun.elapsed());
    assert_eq!((event.as_str(), &data["score"][0]["name"]), ("batch", &json!("Ann")));
    assert_eq!(data["score"][0]["previous"], Value::Null);
    publish_score(&rig, "Ann", 30.0);
    let (_, _, data) = stream.next();
    assert_eq!((&data["score"][0]["previous"], &data["score"][0]["probability"]), (&json!(0.2), &json!(0.3)));
}

#[test]
fn a_stream_goes_on_where_it_broke_or_says_that_it_cannot() {
    let rig = Rig::start();
    let mut stream = Stream::open(&rig, "/api/v1/stream?topics=score", None);
    std::thread::sleep(Duration::from_millis(300));
    publish_score(&rig, "Ann", 20.0);
    let (id, _, _) = stream.next();
    drop(stream);
    publish_score(&rig, "Bob", 40.0);
    std::thread::sleep(Duration::from_millis(300));
    let mut resumed = Stream::open(&rig, "/api/v1/stream?topics=score", Some(&id));
    assert_eq!(resumed.next().2["score"][0]["probability"], json!(0.4), "what was missed comes first");
    for foreign in ["12", "nonsense"] {
        let mut lost = Stream::open(&rig, "/api/v1/stream", Some(foreign));
        assert_eq!(lost.next().1, "resync", "{foreign}");
    }
}

#[test]
fn stopping_ends_the_streams() {
    let rig = Rig::start();
    let mut stream = Stream::open(&rig, "/analytics", None);
    let line = stream.until("data: ").unwrap();
    let counts: Value = serde_json::from_str(line[6..].trim()).unwrap();
    assert_eq!(counts, json!({"P1": 4, "P2": 0}));
    let begun = Instant::now();
    drop(rig);
    assert_eq!(stream.until("never"), None);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}
