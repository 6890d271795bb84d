//! The contract suite on the simulated log without faults.

use std::sync::Arc;
use std::time::Duration;

use vigie_log::contract::Subject;
use vigie_log::{Faults, Log, LogError, ManualClock, SimulatedLog, Timestamp};

struct Simulated {
    clock: Arc<ManualClock>,
    log: SimulatedLog,
}

impl Subject for Simulated {
    fn log(&self) -> Arc<dyn Log> {
        Arc::new(self.log.clone())
    }

    fn restart(&mut self) {
        self.log.restart();
    }

    fn maintain(&self, now: Timestamp) -> bool {
        self.log.run_maintenance(now).unwrap();
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

    fn unreachable(&self) -> Option<LogError> {
        self.log.set_faults(Faults { unreachable: 1.0, ..Faults::default() });
        let error = self.log.admin().list_topics(true).unwrap_err();
        self.log.set_faults(Faults::default());
        Some(error)
    }

    fn not_authorised(&self) -> Option<LogError> {
        None
    }
}

fn simulated() -> Box<dyn Subject> {
    let clock = Arc::new(ManualClock::at(1_700_000_000_000));
    let log = SimulatedLog::new(Arc::clone(&clock) as _, 1);
    Box::new(Simulated { clock, log })
}

vigie_log::contract_tests!(simulated);
