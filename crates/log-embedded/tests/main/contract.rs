//! The contract suite on the embedded log.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use vigie_log::contract::Subject;
use vigie_log::{Log, LogError, ManualClock, Timestamp};
use vigie_log_embedded::{EmbeddedConfig, EmbeddedLog};

struct Embedded {
    clock: Arc<ManualClock>,
    folder: TempDir,
    log: Option<Arc<EmbeddedLog>>,
}

impl Embedded {
    fn open(&mut self) {
        let mut config = EmbeddedConfig::new(Arc::clone(&self.clock) as _);
        config.maintenance_interval = None;
        config.cache_bytes = 0;
        self.log = Some(EmbeddedLog::open(self.folder.path(), config).unwrap());
    }
}

impl Subject for Embedded {
    fn log(&self) -> Arc<dyn Log> {
        self.log.clone().unwrap()
    }

    fn restart(&mut self) {
        self.log.take().unwrap().close().unwrap();
        self.open();
    }

    fn maintain(&self, now: Timestamp) -> bool {
        self.log.as_ref().unwrap().run_maintenance(now).unwrap();
        true
    }

    fn pass(&self, time: Duration) -> bool {
        self.clock.advance(time);
        true
    }

    fn set_wall_clock(&self, now: Timestamp) -> bool {
        self.clock.set_wall(now);
        true
    }

    /// A folder is always in reach, or it is `NotWritable`, `Locked`, ...: see `trouble`.
    fn unreachable(&self) -> Option<LogError> {
        None
    }

    fn not_authorised(&self) -> Option<LogError> {
        None
    }
}

fn embedded() -> Box<dyn Subject> {
    let clock = Arc::new(ManualClock::at(1_700_000_000_000));
    let mut embedded = Embedded { clock, folder: tempfile::tempdir().unwrap(), log: None };
    embedded.open();
    Box::new(embedded)
}

vigie_log::contract_tests!(embedded);
