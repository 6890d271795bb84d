//! Wall time, processor time and memory of this process or another one, and the line of JSON that tells them.
//!
//! Reads `/proc` (Linux). Processor time has the kernel's resolution of 10 ms: let a workload run for a second at least.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

static START: OnceLock<Instant> = OnceLock::new();

/// Seconds since this was first called, which `main` does before anything else.
pub fn age() -> f64 {
    START.get_or_init(Instant::now).elapsed().as_secs_f64()
}

/// One result.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What was done.
    pub workload: String,
    /// On which log.
    pub log: String,
    /// How many records went through.
    pub records: u64,
    /// Time on the wall, in seconds.
    pub wall_s: f64,
    /// Time on all processors, user and system, in seconds.
    pub cpu_s: f64,
    /// Records a second of wall time.
    pub rec_per_s: f64,
    /// Microseconds of processor time a record.
    pub cpu_us_per_rec: f64,
    /// The most memory that was resident, in KiB.
    pub peak_rss_kb: u64,
    /// Whatever else this workload tells.
    #[serde(flatten)]
    pub more: BTreeMap<String, serde_json::Value>,
}

impl Figure {
    /// Adds a value of this workload's own.
    pub fn with(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// The line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and text can always be written as JSON")
    }
}

/// Measures a process from one moment to another.
#[derive(Debug)]
pub struct Meter {
    process: String,
    start: Instant,
    cpu: Duration,
}

impl Meter {
    /// Starts measuring this process.
    pub fn start() -> Result<Self> {
        Self::of("self")
    }

    /// Starts measuring the process with this id (`self`: this one).
    pub fn of(process: impl ToString) -> Result<Self> {
        let process = process.to_string();
        let cpu = cpu_time(&process)?;
        Ok(Self { process, start: Instant::now(), cpu })
    }

    /// The figure for `records` records up to now.
    pub fn stop(self, workload: &str, log: &str, records: u64) -> Result<Figure> {
        let wall_s = self.start.elapsed().as_secs_f64();
        let cpu_s = cpu_time(&self.process)?.saturating_sub(self.cpu).as_secs_f64();
        Ok(Figure {
            workload: workload.to_owned(),
            log: log.to_owned(),
            records,
            wall_s: round(wall_s, 4),
            cpu_s: round(cpu_s, 4),
            rec_per_s: round(records as f64 / wall_s.max(f64::MIN_POSITIVE), 1),
            cpu_us_per_rec: round(1e6 * cpu_s / (records.max(1) as f64), 4),
            peak_rss_kb: peak_rss_kb(&self.process)?,
            more: BTreeMap::new(),
        })
    }
}

fn round(value: f64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (value * factor).round() / factor
}

/// Processor time of all threads of a process so far, user and system.
pub fn cpu_time(process: &str) -> Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    parse_cpu_time(&stat).with_context(|| format!("understanding {path}"))
}

/// The most memory that was resident so far, in KiB.
pub fn peak_rss_kb(process: &str) -> Result<u64> {
    status(process, "VmHWM:")
}

/// The value of one line of `/proc/<process>/status`, in KiB: `VmHWM:` is the peak, `VmRSS:` the present.
pub fn status(process: &str, name: &str) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number =
        line.and_then(|line| line.trim().strip_suffix("kB")).and_then(|text| text.trim().parse().ok());
    number.with_context(|| format!("{path} has no {name}"))
}

/// `utime` and `stime` are the 14th and 15th field; the second is a name in brackets that may hold anything.
fn parse_cpu_time(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    // The kernel tells user space a hundred ticks a second on every architecture that Vigie runs on.
    Some(Duration::from_millis(10 * (ticks()? + ticks()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read() {
        let check = |stat: &str, expect: Option<u64>| {
            assert_eq!(parse_cpu_time(stat), expect.map(Duration::from_millis), "{stat}");
        };
        check("7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0", Some(1_750));
        check("7 (name) S 1 2", None);
        check("", None);
    }

    #[test]
    fn a_figure_is_one_line() {
        let meter = Meter::start().unwrap();
        let mut sum = 0_u64;
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(60) {
            sum = sum.wrapping_mul(31).wrapping_add(7);
        }
        let figure = meter.stop("spin", "none", sum % 2 + 10).unwrap().with("extra", 5);
        assert!(figure.wall_s >= 0.06 && figure.cpu_s > 0.0 && figure.peak_rss_kb > 500, "{figure:?}");
        let json: serde_json::Value = serde_json::from_str(&figure.to_json()).unwrap();
        for name in [
            "workload",
            "log",
            "records",
            "wall_s",
            "cpu_s",
            "rec_per_s",
            "cpu_us_per_rec",
            "peak_rss_kb",
            "extra",
        ] {
            assert!(json.get(name).is_some(), "{name} is missing in {json}");
        }
    }
}
