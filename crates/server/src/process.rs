//! What the operating system says about this process (Linux: `/proc`; elsewhere nothing).

use serde::{Deserialize, Serialize};

/// Memory, processor time and threads.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProcessStatus {
    /// Resident memory.
    pub rss_bytes: u64,
    /// Processor time used so far.
    pub cpu_seconds: f64,
    /// Time since the server started, ms.
    pub uptime_ms: u64,
    /// Threads.
    pub threads: u64,
}

/// Clock ticks per second of `/proc/self/stat`: 100 on every Linux that Rust supports.
const TICKS: f64 = 100.0;

/// Reads it now; without the uptime, which the server knows itself.
pub(crate) fn read() -> Option<ProcessStatus> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let field = |name: &str| -> Option<u64> {
        status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
    };
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the process stands in parentheses and may contain blanks: count from behind it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(ProcessStatus {
        rss_bytes: field("VmRSS:")? * 1024,
        cpu_seconds: (user + system) / TICKS,
        uptime_ms: 0,
        threads: field("Threads:")?,
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn this_process_has_memory_and_threads() {
        let process = super::read().expect("/proc can be read");
        assert!(
            process.rss_bytes > 1 << 20 && process.threads >= 1 && process.cpu_seconds >= 0.0,
            "{process:?}"
        );
    }
}
