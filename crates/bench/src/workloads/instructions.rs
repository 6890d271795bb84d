//! `instructions`: the hot paths over a fixed input, the same instructions each time, for valgrind to count (`make bench-instructions`).
//!
//! The log is in memory and the clock stands still, so that nothing depends on the moment: one commit, at the end (and one in between
//! where there is a repartition topic).

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use vigie_log::{Clock, Log, ManualClock, SimulatedLog};
use vigie_streams::{Config, Streams};

use super::generate::{PAGES, fill, long_views, topic};
use super::{page_count, stateless, user_total};

/// One of the engine's workloads, to be run under valgrind.
#[derive(Debug, Clone, Args)]
pub struct Instructions {
    /// Which.
    #[arg(long, value_enum)]
    of: Path,
    /// How many records.
    #[arg(long, default_value_t = 20_000)]
    records: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Path {
    /// Filter from topic to topic.
    Stateless,
    /// Count by page and window.
    PageCount,
    /// Sum by user.
    UserTotal,
    /// Only the input and the start, to be taken off.
    Nothing,
}

impl Instructions {
    /// Runs it.
    pub fn run(&self) -> Result<()> {
        let clock = Arc::new(ManualClock::at(1_750_000_000_000));
        let log: Arc<dyn Log> = Arc::new(SimulatedLog::new(Arc::clone(&clock) as Arc<dyn Clock>, 1));
        for name in ["views", "results"] {
            topic(&*log, name)?;
        }
        fill(&*log, "views", self.records, PAGES, 1_000)?;
        let topology = match self.of {
            Path::Stateless => stateless::topology("views", "results")?,
            Path::PageCount => page_count::topology("views", "results")?,
            Path::UserTotal => user_total::topology("views", "results")?,
            Path::Nothing => return Ok(()),
        };
        let state = tempfile::tempdir()?;
        let config = Config::new("bench", Arc::clone(&log))
            .state_dir(state.path())
            .clock(Arc::clone(&clock) as Arc<dyn Clock>);
        let app = Streams::new(topology, config).start()?;
        until(&app, self.records)?;
        if self.of == Path::PageCount {
            // What lies in the repartition topic can be read once it is committed.
            clock.advance(Duration::from_secs(1));
            until(&app, self.records + long_views(self.records))?;
        }
        ensure!(app.close(Duration::from_secs(60)), "the program did not close in a minute");
        let results = log.admin().offsets("results")?;
        ensure!(results.iter().any(|bounds| bounds.latest > 0), "no results");
        Ok(())
    }
}

/// Waits until so many records were processed.
fn until(app: &Streams, records: u64) -> Result<()> {
    let begin = Instant::now();
    while app.metrics().records_in < records {
        ensure!(begin.elapsed() < Duration::from_secs(300), "not done: {:?}", app.error());
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
