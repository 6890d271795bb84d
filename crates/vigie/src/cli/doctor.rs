//! `vigie doctor`: what works, what does not, and what to do.

use std::net::TcpListener;
use std::path::Path;

use clap::Args;
use serde::Serialize;
use vigie_log::{Clock as _, SystemClock};

use super::remote::Remote;
use super::{Exit, Global, Outcome, out, place};
use crate::config::Config;

/// 2024-01-01: a clock before this program was written is wrong.
const WRITTEN: i64 = 1_704_067_200_000;
/// 2100-01-01.
const FAR: i64 = 4_102_444_800_000;
/// Less free space than this is worth a warning, bytes.
const LITTLE_SPACE: u64 = 1 << 30;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vigie doctor\n  vigie doctor --data /var/lib/vigie --json")]
pub(super) struct Doctor {}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warn,
    Fail,
}

#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    level: Level,
    detail: String,
}

fn finding(check: &'static str, level: Level, detail: impl Into<String>) -> Finding {
    Finding { check, level, detail: detail.into() }
}

impl Doctor {
    pub(super) fn run(self, global: &Global) -> Outcome {
        let mut findings = Vec::new();
        let config = match place::config(global) {
            Ok(config) => {
                findings.push(finding("configuration", Level::Ok, "right"));
                config
            }
            Err(failure) => {
                findings.push(finding("configuration", Level::Fail, failure.message));
                Config::default()
            }
        };
        findings.push(clock());
        match place::existing_data(global, &config) {
            Ok(data) => {
                findings.push(folder(&data));
                findings.push(space(&data));
                let running = place::running(&data);
                findings.push(match &running {
                    Some(remote) => {
                        finding("log", Level::Ok, format!("in use by the vigie at {}", remote.address()))
                    }
                    None => log(&data, &config),
                });
                findings.push(model(&data));
                findings.push(match &running {
                    Some(remote) => finding("port", Level::Ok, format!("{} answers", remote.address())),
                    None => port(&config),
                });
                findings.push(screens(running.as_ref()));
            }
            Err(failure) => findings.push(finding("data folder", Level::Fail, failure.message)),
        }
        if global.json {
            out::line(serde_json::to_string(&findings).unwrap_or_default())?;
        } else {
            for Finding { check, level, detail } in &findings {
                let level = match level {
                    Level::Ok => "ok  ",
                    Level::Warn => "warn",
                    Level::Fail => "FAIL",
                };
                out::line(format_args!("{level}  {check:<14} {detail}"))?;
            }
        }
        let failed = findings.iter().any(|finding| finding.level == Level::Fail);
        Ok(if failed { Exit::Failure } else { Exit::Ok })
    }
}

fn clock() -> Finding {
    let now = SystemClock::new().now();
    let text = vigie_domain::iso8601(now);
    if (WRITTEN..FAR).contains(&now) {
        finding("clock", Level::Ok, text)
    } else {
        finding(
            "clock",
            Level::Fail,
            format!("{text} cannot be right; set the machine's clock (timedatectl set-ntp true)"),
        )
    }
}

fn folder(data: &Path) -> Finding {
    let check = "data folder";
    if !data.exists() {
        let parent = data.ancestors().find(|ancestor| ancestor.exists());
        let detail = format!("{} is not there yet; the first start makes it", data.display());
        return match parent.map(writable) {
            Some(Ok(())) => finding(check, Level::Ok, detail),
            Some(Err(error)) => finding(
                check,
                Level::Fail,
                format!("{detail}, but cannot: {error}; choose another with --data"),
            ),
            None => finding(
                check,
                Level::Fail,
                format!("{}: no such disk; choose another with --data", data.display()),
            ),
        };
    }
    match writable(data) {
        Ok(()) => finding(check, Level::Ok, format!("{} can be written", data.display())),
        Err(error) => finding(
            check,
            Level::Fail,
            format!(
                "{} cannot be written: {error}; check its owner and permissions, or choose another with --data",
                data.display()
            ),
        ),
    }
}

/// Tries to write, because permissions alone do not tell.
fn writable(folder: &Path) -> std::io::Result<()> {
    if !folder.is_dir() {
        return Err(std::io::Error::from(std::io::ErrorKind::NotADirectory));
    }
    let probe = folder.join(format!(".vigie-doctor-{}", std::process::id()));
    std::fs::write(&probe, b"x")?;
    std::fs::remove_file(&probe)
}

/// Free space as `df` tells it: the standard library has no call for it.
fn space(data: &Path) -> Finding {
    let check = "disk space";
    let place = data.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    let free = std::process::Command::new("df").arg("-Pk").arg(place).output().ok().and_then(|output| {
        let text = String::from_utf8(output.stdout).ok()?;
        text.lines().last()?.split_whitespace().nth(3)?.parse::<u64>().ok()
    });
    match free.map(|kib| kib.saturating_mul(1024)) {
        Some(free) if free >= LITTLE_SPACE => finding(check, Level::Ok, format!("{} GiB free", free >> 30)),
        Some(free) => finding(
            check,
            Level::Warn,
            format!("only {} MiB free; make room, or lower log.retention_days", free >> 20),
        ),
        None => finding(check, Level::Warn, "`df` does not tell; check the free space yourself"),
    }
}

fn log(data: &Path, config: &Config) -> Finding {
    let check = "log";
    if !place::log_folder(data).is_dir() {
        return finding(check, Level::Ok, "none yet; the first start makes it");
    }
    let names = place::open(data, config, false).and_then(|log| Ok(log.admin().list_topics(false)?));
    match names {
        Ok(names) => finding(check, Level::Ok, format!("opens; {} topic(s)", names.len())),
        Err(failure) => finding(check, Level::Fail, failure.message),
    }
}

fn model(data: &Path) -> Finding {
    let check = "model";
    let path = place::model_file(data);
    match std::fs::read(&path) {
        Ok(bytes) => match vigie_churn::Model::from_bytes(&bytes) {
            Ok(model) => finding(check, Level::Ok, format!("{} from {} rows", model.id(), model.card().rows)),
            Err(error) => finding(
                check,
                Level::Fail,
                format!("{}: {error}; delete it, and the next start trains it anew", path.display()),
            ),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            finding(check, Level::Ok, "none yet; the first start trains it")
        }
        Err(error) => {
            finding(check, Level::Fail, format!("{}: {error}; check its permissions", path.display()))
        }
    }
}

fn port(config: &Config) -> Finding {
    let check = "port";
    let address = format!("{}:{}", config.server.host, config.server.port);
    match TcpListener::bind(&address) {
        Ok(_) => finding(check, Level::Ok, format!("{address} is free")),
        Err(error) => finding(
            check,
            Level::Fail,
            format!("{address}: {error}; stop who uses it, or choose another with --port (0: a free one)"),
        ),
    }
}

/// The screens are part of the program that runs: it is asked for its first page.
fn screens(running: Option<&Remote>) -> Finding {
    let check = "screens";
    match running.map(Remote::first_page) {
        None => finding(check, Level::Ok, "not checked: no vigie runs in this folder"),
        Some(Ok(page)) if page.contains("have not been built") => {
            finding(check, Level::Warn, "not built in; the API works without them. Build with `make run`")
        }
        Some(Ok(_)) => finding(check, Level::Ok, "built in"),
        Some(Err(failure)) => finding(check, Level::Fail, failure.message),
    }
}
