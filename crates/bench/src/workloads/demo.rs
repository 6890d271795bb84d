//! What a user of the program sees, measured from outside: its start, the time from an event to its score, the cost of a steady stream.

use std::collections::HashMap;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::measure::{Figure, Meter, status};
use crate::program::{Program, follow, get, post};

/// From the start of `vigie demo` to `/readyz`: on an empty folder, and with what that left.
#[derive(Debug, Clone, Args)]
pub struct DemoStart {
    /// Starts with data that is there already.
    #[arg(long, default_value_t = 5)]
    pub restarts: usize,
}

impl DemoStart {
    /// Runs it.
    pub fn run(&self) -> Result<Figure> {
        let folder = tempfile::tempdir()?;
        let meter = Meter::start()?;
        let first = Program::start(folder.path(), &[])?;
        let first_s = first.ready_after.as_secs_f64();
        std::thread::sleep(Duration::from_secs(2));
        first.stop()?;
        let mut warm: Vec<f64> = Vec::new();
        for _ in 0..self.restarts.max(1) {
            let program = Program::start(folder.path(), &[])?;
            warm.push(program.ready_after.as_secs_f64());
            program.stop()?;
        }
        warm.sort_by(f64::total_cmp);
        let figure = meter.stop("demo-start", "embedded", warm.len() as u64 + 1)?;
        Ok(figure
            .with("first_start_s", round(first_s))
            .with("restart_s_median", round(quantile(&warm, 0.5)))
            .with("restart_s_max", round(quantile(&warm, 1.0))))
    }
}

/// From sending a customer's record to its score on the event stream, over HTTP, beside the demo's own sources.
#[derive(Debug, Clone, Args)]
pub struct ScoreLatency {
    /// How many records.
    #[arg(long, default_value_t = 300)]
    pub records: usize,
    /// Commit interval of the engine, ms.
    #[arg(long, default_value_t = 100)]
    pub commit_ms: u64,
}

impl ScoreLatency {
    /// Runs it.
    pub fn run(&self) -> Result<Figure> {
        let folder = tempfile::tempdir()?;
        let settings = [("VIGIE_ENGINE__COMMIT_INTERVAL_MS", self.commit_ms.to_string())];
        let program = Program::start(folder.path(), &settings)?;
        let address = program.address;
        let seen: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
        let arrivals = Arc::clone(&seen);
        let (opened, is_open) = sync_channel(1);
        std::thread::spawn(move || {
            // It ends with the program.
            let _ = follow(address, "/api/v1/stream", |line, at| {
                let _ = opened.try_send(());
                if let Some(batch) = line.strip_prefix("data:") {
                    note_arrivals(batch, at, &arrivals);
                }
                true
            });
        });
        is_open.recv_timeout(Duration::from_secs(30)).context("the event stream did not open")?;
        let meter = Meter::of(program.pid())?;
        let mut sent: Vec<(String, Instant)> = Vec::new();
        for i in 0..self.records {
            // Not in step with the commits: pauses of 20 to 60 ms.
            std::thread::sleep(Duration::from_millis(20 + (i as u64 * 7919) % 41));
            let customer = json!({
                "Names": format!("Bench {i}"), "Age": 30 + i % 40, "Total_Purchase": 9_000 + i, "Account_Manager": i % 2,
                "Years": 3 + i % 8, "Num_Sites": 5 + i % 9, "Onboard_date": "2015-01-01 00:00:00",
                "Location": "1 Main Street, NY 10001", "Company": format!("Bench {i} SA")
            });
            let at = Instant::now();
            let (code, body) = post(address, "/api/v1/form", &customer.to_string())?;
            ensure!(code == 200, "the form answered {code}: {body}");
            let answer: Value = serde_json::from_str(&body)?;
            let id = answer.get("correlation_id").and_then(Value::as_str).context("no correlation id")?;
            sent.push((id.to_owned(), at));
        }
        std::thread::sleep(Duration::from_secs(1));
        let figure = meter.stop("score-latency", "embedded", self.records as u64)?;
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ms: Vec<f64> = sent
            .iter()
            .filter_map(|(id, at)| Some(seen.get(id)?.duration_since(*at).as_secs_f64() * 1e3))
            .collect();
        ensure!(
            ms.len() == sent.len(),
            "{} of {} scores never came on the stream",
            sent.len() - ms.len(),
            sent.len()
        );
        ms.sort_by(f64::total_cmp);
        program.stop()?;
        Ok(figure
            .with("commit_ms", self.commit_ms)
            .with("p50_ms", round(quantile(&ms, 0.5)))
            .with("p99_ms", round(quantile(&ms, 0.99)))
            .with("max_ms", round(quantile(&ms, 1.0))))
    }
}

fn note_arrivals(batch: &str, at: Instant, arrivals: &Mutex<HashMap<String, Instant>>) {
    let Ok(batch) = serde_json::from_str::<Value>(batch) else { return };
    let scores = batch.get("score").and_then(Value::as_array).into_iter().flatten();
    let mut arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
    for id in scores.filter_map(|score| score.get("correlation_id")?.as_str()) {
        arrivals.entry(id.to_owned()).or_insert(at);
    }
}

/// The whole program under a steady stream of events through all pipelines.
#[derive(Debug, Clone, Args)]
pub struct AllPipelines {
    /// Events a second: half of them shop events of the agency, half page views.
    #[arg(long, default_value_t = 1_000)]
    pub rate: u64,
    /// How long, seconds.
    #[arg(long, default_value_t = 30)]
    pub seconds: u64,
}

impl AllPipelines {
    /// Runs it.
    pub fn run(&self) -> Result<Figure> {
        let folder = tempfile::tempdir()?;
        let half = (self.rate / 2).to_string();
        let settings = [("VIGIE_SOURCES__AGENCY_RATE", half.clone()), ("VIGIE_SOURCES__PAGE_RATE", half)];
        let program = Program::start(folder.path(), &settings)?;
        // The first seconds introduce the customers and train nothing any more: measure the steady state.
        std::thread::sleep(Duration::from_secs(5));
        let before = published(&program)?;
        let meter = Meter::of(program.pid())?;
        std::thread::sleep(Duration::from_secs(self.seconds));
        let after = published(&program)?;
        let rss_kb = status(&program.pid().to_string(), "VmRSS:")?;
        let figure = meter.stop("all-pipelines", "embedded", after.saturating_sub(before))?;
        let share = figure.cpu_s / figure.wall_s;
        program.stop()?;
        Ok(figure.with("core_share", round(share)).with("rss_kb", rss_kb))
    }
}

/// Records that the sources have published so far.
fn published(program: &Program) -> Result<u64> {
    let (code, body) = get(program.address, "/api/v1/info")?;
    ensure!(code == 200, "/api/v1/info answered {code}");
    let info: Value = serde_json::from_str(&body)?;
    let sources = info.get("sources").and_then(Value::as_array).context("no sources")?;
    Ok(sources.iter().filter_map(|source| source.get("published")?.as_u64()).sum())
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((share * last as f64).round() as usize).copied().unwrap_or(f64::NAN)
}

fn round(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_read_from_the_stream() {
        let arrivals = Mutex::default();
        let at = Instant::now();
        note_arrivals(r#" {"score":[{"correlation_id":"a"},{"customer_id":"b"}]}"#, at, &arrivals);
        note_arrivals("no JSON", at, &arrivals);
        assert_eq!(arrivals.into_inner().unwrap(), HashMap::from([(String::from("a"), at)]));
        assert!((quantile(&[1.0, 2.0, 3.0], 0.5) - 2.0).abs() < 1e-12);
    }
}
