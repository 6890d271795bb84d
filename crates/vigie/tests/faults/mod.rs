//! The running program under bad input and bad luck: what it says, what it keeps, and how it goes on.
//!
//! Each test starts the real program on a free port and a folder of its own, talks to it over HTTP, and ends it by its process id.

mod config;
mod crash;
mod csv;
mod form;
pub(crate) mod http;
mod learning;
mod machine;
mod records;
mod small_disk;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::{Ended, Place};
use http::Answer;

/// Longer than any start, stop or answer may take, with both processors busy.
const PATIENCE: Duration = Duration::from_secs(90);

/// A program that runs.
pub(crate) struct Program {
    child: Child,
    address: String,
    said: PathBuf,
    lines: Receiver<String>,
}

impl Program {
    /// Starts it and waits until it says where it answers.
    #[track_caller]
    pub(crate) fn start(place: &Place, args: &[&str]) -> Self {
        Self::start_soon(place, args).ready()
    }

    /// Starts it and does not wait.
    fn start_soon(place: &Place, args: &[&str]) -> Self {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let said = place.path(&format!("said-{number}"));
        let mut command = place.command(args);
        command.args(["--port", "0"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.stderr(std::fs::File::create(&said).unwrap()).spawn().unwrap();
        let lines = lines(child.stdout.take().unwrap());
        Self { child, address: String::new(), said, lines }
    }

    /// Waits until it says where it answers.
    #[track_caller]
    fn ready(mut self) -> Self {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => {
                let at = line.find("http://").unwrap_or_else(|| panic!("no address in {line:?}"));
                let address = line[at + "http://".len()..].split_whitespace().next();
                address.unwrap().clone_into(&mut self.address);
                self
            }
            Err(error) => panic!("it did not start ({error}): {}", self.said()),
        }
    }

    /// What it has said on standard error.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.said).unwrap_or_default()).into_owned()
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        http::request(&self.address, "GET", path, None)
            .unwrap_or_else(|error| panic!("GET {path}: {error}: {}", self.said()))
    }

    /// `/api/v1/{path}`, which must be there.
    #[track_caller]
    pub(crate) fn api(&self, path: &str) -> Value {
        let answer = self.get(&format!("/api/v1/{path}"));
        assert_eq!(answer.status, 200, "GET {path}: {answer:?}");
        answer.json()
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        http::request(&self.address, "POST", &format!("/api/v1/{path}"), Some(body))
            .unwrap_or_else(|error| panic!("POST {path}: {error}: {}", self.said()))
    }

    /// The items of a list, all on one page.
    #[track_caller]
    fn items(&self, path: &str) -> Vec<Value> {
        let limit = if path.contains('?') { "&limit=500" } else { "?limit=500" };
        self.api(&format!("{path}{limit}"))["items"].as_array().unwrap().clone()
    }

    /// Asks again and again until the answer is as wanted.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let found = self.api(path);
            if wanted(&found) {
                return found;
            }
            assert!(start.elapsed() < PATIENCE, "not in time: {what}: {found:#}\n{}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until log and stores agree in every check.
    #[track_caller]
    fn counts_are_right(&self) -> Value {
        self.until("log and stores agree", "recount", |recount| {
            let checks = recount["checks"].as_array().unwrap();
            recount["equal"] == true && checks.iter().all(|check| check["in_flight"] == false)
        })
    }

    /// Waits until every part is ready; how long that took.
    #[track_caller]
    pub(crate) fn is_ready(&self) -> Duration {
        let start = Instant::now();
        loop {
            let answer = self.get("/readyz");
            if answer.status == 200 {
                return start.elapsed();
            }
            assert!(start.elapsed() < PATIENCE, "not ready: {answer:?}: {}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A line of `/proc/PID/status`, in kB.
    fn memory(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let found = status.lines().find_map(|l| l.strip_prefix(line)).unwrap();
        found.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    #[track_caller]
    fn is_alive(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "it ended with {ended:?}: {}", self.said());
        assert_eq!(self.get("/livez").status, 200);
    }

    /// `kill -15`; how it ended, after how long, and what it had said.
    #[track_caller]
    fn stop(mut self) -> (ExitStatus, Duration, String) {
        let start = Instant::now();
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, start.elapsed(), self.said());
            }
            assert!(start.elapsed() < PATIENCE, "it does not stop: {}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops it and checks that it ended well.
    #[track_caller]
    pub(crate) fn stop_well(self) {
        let (status, _, said) = self.stop();
        assert!(status.success(), "{status}: {said}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = sync_channel(100);
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // The test may have ended.
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Runs a command that must end by itself.
#[track_caller]
pub(crate) fn ends(place: &Place, args: &[&str]) -> Ended {
    let ended = place.run(args);
    for bad in ["panicked", "RUST_BACKTRACE", "unwrap()"] {
        assert!(!ended.err.contains(bad), "{ended:#?}");
    }
    ended
}

/// A customer of the form, told apart by the name.
pub(crate) fn customer(name: &str, age: u32) -> Value {
    serde_json::json!({
        "Names": name, "Age": age, "Total_Purchase": 9_500.5, "Account_Manager": 0, "Years": 6.25, "Num_Sites": 9,
        "Onboard_date": "2015-03-01 08:00:00", "Location": "1 Road, Town", "Company": "Acme"
    })
}

fn data_folder(place: &Place) -> PathBuf {
    place.path("data")
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
