//! The machine around the program: a second instance, a taken port, folders that cannot be used, and stopping in order.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::{Place, Program, customer, data_folder, ends, text};

#[test]
fn second_instance_is_told_who_has_the_folder_and_the_first_goes_on() {
    let place = Place::new();
    let mut first = Program::start(&place, &["demo", "--seed", "7"]);
    let pid = format!("process id {}", first.child.id());
    for command in ["demo", "run"] {
        let ended = ends(&place, &[command, "--port", "0"]).with(4);
        let ended = ended.says(&[
            text(&data_folder(&place)),
            "in use by another process",
            &pid,
            "stop that one",
            "--data",
        ]);
        assert!(ended.out.is_empty(), "it is not ready: {ended:#?}");
    }
    // What only one process may write says so as well, and where the running one is.
    ends(&place, &["import", text(&crate::cli::data("new_customers.csv"))])
        .with(4)
        .says(&[&pid, &first.address]);
    first.is_alive();
    first.is_ready();
    assert_eq!(first.post("form", &customer("Ann", 40).to_string()).status, 200);
    first.stop_well();
    Program::start(&place, &["run"]).stop_well();
}

#[test]
fn taken_port_is_named_with_the_way_out() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = ends(&place, &["demo", "--port", &port]).with(1);
    ended.says(&["cannot listen", &address, "another program uses this port", "--port 0"]);
    assert!(!place.path("data/log").exists(), "nothing was touched");
    ends(&place, &["demo", "--port", "0", "--host", "203.0.113.7"])
        .with(1)
        .says(&["203.0.113.7", "server.host"]);
}

#[test]
fn data_folder_that_cannot_be_one_is_named() {
    let place = Place::new();
    let file = place.file("file", "x");
    let below = file.join("data");
    // Even root can make no folder below a file, nor in /sys.
    for folder in [text(&file), text(&below), "/sys/vigie-data"] {
        let ended = ends(&place, &["demo", "--port", "0", "--data", folder]).with(4);
        ended.says(&[folder, "cannot be written", "check its owner and permissions", "--data"]);
    }
}

#[test]
fn store_that_is_damaged_is_named() {
    let place = Place::new();
    Program::start(&place, &["run"]).stop_well();
    let store = data_folder(&place).join("vigie.db");
    std::fs::write(&store, "this is no database, whatever its name says; ".repeat(200)).unwrap();
    ends(&place, &["run", "--port", "0"]).with(4).says(&[text(&store)]);
}

/// SIGTERM: ends in order, with 0, in time, without one error; and the next start goes on where it was.
#[test]
fn sigterm_ends_in_order_and_the_next_start_goes_on() {
    let place = Place::new();
    let program = Program::start(&place, &["demo", "--seed", "7"]);
    program.until("the scenario runs", "shop", |shop| shop["total"].as_u64() > Some(20));
    let answer = program.post("form", &customer("Ann", 40).to_string()).json();
    let before = program.api("shop")["total"].as_u64().unwrap();
    // A screen that is open must not keep it.
    let stream = std::net::TcpStream::connect(&program.address).unwrap();
    let request = format!("GET /api/v1/stream HTTP/1.1\r\nHost: {}\r\n\r\n", program.address);
    std::io::Write::write_all(&mut &stream, request.as_bytes()).unwrap();
    let (status, took, said) = program.stop();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(took < Duration::from_secs(15), "{took:?}: {said}");
    for bad in ["ERROR", "WARN", "panicked"] {
        assert!(!said.contains(bad), "{bad} while stopping: {said}");
    }
    assert!(said.contains("new=NotRunning"), "the engine was closed: {said}");
    assert!(!place.path("data/vigie.addr").exists());

    let start = Instant::now();
    let again = Program::start(&place, &["run"]);
    again.is_ready();
    println!("stopped in {took:?}, ready again {:?} after the next start", start.elapsed());
    assert!(again.counts_are_right()["equal"] == true && again.api("shop")["total"].as_u64() >= Some(before));
    let id = answer["score"]["customer_id"].as_str().unwrap();
    assert_eq!(again.api(&format!("customers/{id}"))["score"]["probability"], answer["score"]["probability"]);
}
