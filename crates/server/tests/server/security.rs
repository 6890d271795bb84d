//! Each threat is a test.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::rig::{Rig, customer};

const PROPOSE: &str = "/api/v1/queue/propose";

#[test]
fn foreign_origin_cannot_post() {
    let rig = Rig::start();
    let own = format!("http://{}", rig.server.addr());
    for (headers, status) in [
        (vec![("origin", own.as_str()), ("sec-fetch-site", "same-origin")], 200),
        (vec![], 200),
        (vec![("origin", "http://evil.example")], 403),
        (vec![("origin", "http://127.0.0.1:1")], 403),
        (vec![("origin", "null")], 403),
        (vec![("sec-fetch-site", "cross-site")], 403),
        (vec![("sec-fetch-site", "same-site")], 403),
        (vec![("content-type", "text/plain")], 415),
    ] {
        let reply = rig.send("POST", PROPOSE, &headers, "{}");
        assert_eq!(reply.status, status, "{headers:?}: {reply:?}");
    }
    let published = rig.send("GET", "/publish/R2/P1", &[("sec-fetch-site", "cross-site")], "");
    assert_eq!(published.status, 403);
    assert_eq!(rig.log.admin().offsets("R2").unwrap()[0].latest, 0, "nothing was published");
}

#[test]
fn dns_rebinding_host_is_refused() {
    let rig = Rig::start();
    for (host, status) in [("evil.example", 421), ("127.0.0.1.evil.example:80", 421), ("localhost:9", 200)] {
        assert_eq!(rig.send("GET", "/livez", &[("host", host)], "").status, status, "{host}");
    }
}

#[test]
fn csp_forbids_inline_script() {
    let rig = Rig::start();
    for path in ["/", "/api/v1/info", "/api/v1/nothing", "/livez"] {
        let reply = rig.get(path);
        let csp = &reply.headers["content-security-policy"];
        assert!(
            csp.contains("default-src 'self'") && csp.contains("frame-ancestors 'none'"),
            "{path}: {csp}"
        );
        assert!(!csp.contains("unsafe"), "{path}: {csp}");
        assert_eq!(reply.headers["x-content-type-options"], "nosniff");
        assert_eq!(reply.headers["referrer-policy"], "no-referrer");
    }
}

#[test]
fn script_in_a_name_stays_text() {
    let rig = Rig::start().scoring();
    let name = "<script>alert(1)</script>";
    let reply = rig.post("/api/v1/form", &customer(name, 30.0));
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.headers["content-type"], "application/json", "never a type that a browser runs");
    let missing = rig.get("/api/v1/customers/%3Cscript%3Ealert(1)%3C%2Fscript%3E");
    assert_eq!((missing.status, missing.headers["content-type"].as_str()), (404, "application/problem+json"));
    assert!(missing.json()["detail"].as_str().unwrap().contains("<script>"), "as text within JSON");
}

#[test]
fn huge_body_is_refused() {
    let rig = Rig::start();
    let reply = rig.post("/api/v1/form", &customer(&"x".repeat(2 << 20), 30.0));
    // 0: the connection was reset before the answer could be read, because the rest of the body was never taken in.
    assert!(reply.status == 413 || reply.status == 0, "{reply:?}");
    assert_eq!(rig.get("/livez").body, "ok");
    assert_eq!(rig.log.admin().offsets("test3").unwrap()[0].latest, 0);
}

#[test]
fn deep_json_is_refused() {
    let rig = Rig::start();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for path in ["/api/v1/form", "/api/v1/score", "/api/v1/alerts/x/resolve"] {
        let reply = rig.send("POST", path, &[("content-type", "application/json")], &deep);
        assert_eq!(reply.status, 400, "{path}: {reply:?}");
    }
}

#[test]
fn a_client_that_never_finishes_its_headers_is_closed() {
    let rig = Rig::with(|mut settings| {
        settings.header_timeout = Duration::from_millis(300);
        settings
    });
    let mut stream = rig.connect();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost:").unwrap();
    let begun = Instant::now();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(begun.elapsed() < Duration::from_secs(5), "closed after {:?}", begun.elapsed());
}

#[test]
fn slow_client_does_not_hold_memory() {
    let rig = Rig::start();
    let mut slow = rig.connect();
    write!(slow, "GET /api/v1/stream HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let rss = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    let text = "x".repeat(100_000);
    let before = rss();
    // Sent while the client reads nothing: 60 MB, of which the log in memory keeps one copy.
    for n in 0..600 {
        rig.publish(
            "evenements",
            &json!({"timestamp": "2025-06-15T15:06:40Z", "user_id": "user1",
            "event_type": "commentaire", "session_id": format!("s{n}"), "text": text}),
        );
    }
    let grown = rss().saturating_sub(before);
    assert!(grown < 60 + 80, "{grown} MB more");
    assert_eq!(rig.get("/livez").body, "ok", "others are served meanwhile");
}

#[test]
fn personal_fields_are_masked_in_the_browser_of_messages() {
    let rig = Rig::start();
    rig.publish("test3", &customer("Cameron Williams", 42.0));
    rig.publish(
        "customers",
        &json!({"customer": customer("Cameron Williams", 42.0), "score": {"probability": 0.5}}),
    );
    for topic in ["test3", "customers"] {
        let reply = rig.get(&format!("/api/v1/topics/{topic}/messages"));
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(!reply.body.contains("Cameron") && !reply.body.contains("Main Street"), "{}", reply.body);
        assert!(reply.body.contains("[personal]") && reply.body.contains("42"), "{}", reply.body);
    }
    rig.log.admin().create_topic(&vigie_log::TopicSpec::new("unknown", 1)).unwrap();
    rig.publish("unknown", &json!({"anything": "Cameron"}));
    let reply = rig.get("/api/v1/topics/unknown/messages");
    assert!(!reply.body.contains("Cameron") && reply.json()["total"] == 1, "{}", reply.body);
}
