//! Runs a topology through this engine's driver and compares with the golden outputs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vigie_streams::{DriverConfig, Headers, Optimization, RawRecord, StreamsBuilder, TopologyTestDriver};

use crate::scenario::{Plan, Step, to_json};
use crate::{golden, text};

/// One topology with its scenarios.
pub struct Case {
    pub name: &'static str,
    /// The file it stands in.
    pub group: &'static str,
    pub plan: Plan,
    pub build: fn(&mut StreamsBuilder),
    pub optimization: Optimization,
    /// Stores whose end content is compared.
    pub stores: Vec<Store>,
}

/// A store and how its content reads as text.
pub struct Store {
    pub name: &'static str,
    pub dump: Box<Dump>,
}

/// Keys and values of a store, in its order.
pub type Dump = dyn Fn(&TopologyTestDriver) -> Vec<(String, String)>;
/// Step, topic, key, value, timestamp.
pub type Written = (i64, String, Option<String>, Option<String>, i64);

/// What came of a scenario.
#[derive(Serialize, Deserialize, PartialEq, Debug, Clone, Default)]
pub struct Outcome {
    /// By step, then by topic, then in the order of writing.
    pub out: Vec<Written>,
    /// Content of the stores, in their order.
    pub stores: BTreeMap<String, Vec<(String, String)>>,
    /// Records dropped: null keys where none may be, and records that came too late.
    pub dropped: u64,
}

/// Lists the topologies of a group: `NAME: plan, |builder| { ... }, [stores];`, each of which becomes a test.
///
/// Before the list may stand `optimized, RULES;`.
macro_rules! parity {
    ($(#[$doc:meta])* $name:ident: $($rest:tt)*) => {
        parity! { optimized, vigie_streams::Optimization::NONE; $(#[$doc])* $name: $($rest)* }
    };
    (optimized, $optimization:expr; $($(#[$doc:meta])* $name:ident: $plan:expr, $build:expr, [$($store:expr),* $(,)?];)*) => {
        pub fn cases() -> Vec<$crate::harness::Case> {
            vec![$($crate::harness::Case {
                name: stringify!($name),
                group: module_path!().rsplit("::").next().unwrap_or_default(),
                plan: $plan,
                build: $build,
                optimization: $optimization,
                stores: vec![$($store),*],
            }),*]
        }
        $($(#[$doc])* #[test] fn $name() {
            $crate::harness::check(cases().into_iter().find(|case| case.name == stringify!($name)).unwrap());
        })*
    };
}

/// All scenarios of a topology, against the golden outputs.
pub fn check(case: Case) {
    let golden = golden::read(case.name);
    let mut builder = StreamsBuilder::new();
    (case.build)(&mut builder);
    let topology = builder.build_with(case.optimization).unwrap();
    assert_eq!(topology.describe(), golden.describe, "{}: the description (left: ours)", case.name);
    assert_eq!(
        case.plan.scenarios,
        golden.scenarios.len(),
        "{}: `dev/parity.sh bless {}`",
        case.name,
        case.name
    );
    let mut differing = Vec::new();
    for (number, expect) in golden.scenarios.iter().enumerate() {
        let steps = case.plan.scenario(case.name, number);
        let json = to_json(&steps);
        assert_eq!(
            golden::sum(&json),
            expect.sum,
            "{}: the generator changed: `dev/parity.sh bless`",
            case.name
        );
        let driver = TopologyTestDriver::new(
            &topology,
            DriverConfig { application_id: String::from("parity"), ..DriverConfig::default() },
        );
        let ours = run(&case, &driver.unwrap(), &steps);
        // Only stores that can be dumped here are compared, and all that are listed must exist there.
        let mut theirs = expect.outcome.clone();
        theirs.stores.retain(|name, _| case.stores.iter().any(|store| store.name == name));
        if !case.plan.drops {
            theirs.dropped = ours.dropped;
        }
        if ours != theirs {
            differing.push((number, json, ours, theirs));
        }
    }
    if let Some((number, steps, ours, theirs)) = differing.first() {
        let unequal = ours.out.iter().zip(&theirs.out).position(|(a, b)| a != b);
        let at = unequal.unwrap_or(ours.out.len().min(theirs.out.len()));
        panic!(
            "{}: {} of {} scenarios differ from Kafka Streams. The first is number {number}:\nsteps:  {steps}\nours:   {}\ntheirs: {}\n\
             first difference of the outputs at {at}: ours {:?}, theirs {:?}\nstores ours {:?}, theirs {:?}\ndropped ours {}, theirs {}",
            case.name,
            differing.len(),
            golden.scenarios.len(),
            serde_json::to_string(&ours.out).unwrap(),
            serde_json::to_string(&theirs.out).unwrap(),
            ours.out.get(at),
            theirs.out.get(at),
            ours.stores,
            theirs.stores,
            ours.dropped,
            theirs.dropped,
        );
    }
}

fn run(case: &Case, driver: &TopologyTestDriver, steps: &[Step]) -> Outcome {
    let mut outcome = Outcome::default();
    collect(driver, -1, &mut outcome);
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Record { topic, key, value, timestamp } => {
                let record = RawRecord {
                    key: key.map(|key| key.as_bytes().to_vec()),
                    value: value.as_ref().map(|value| value.clone().into_bytes()),
                    timestamp: *timestamp,
                    headers: Headers::new(),
                };
                driver.pipe_raw(topic, record).unwrap();
            }
            Step::Advance(by) => driver.advance_wall_clock_time(Duration::from_millis(*by)).unwrap(),
        }
        collect(driver, number as i64, &mut outcome);
    }
    for store in &case.stores {
        outcome.stores.insert(store.name.to_owned(), (store.dump)(driver));
    }
    let (skipped, late) = driver.skipped_and_late();
    outcome.dropped = skipped + late;
    outcome
}

fn collect(driver: &TopologyTestDriver, step: i64, outcome: &mut Outcome) {
    for topic in driver.produced_topics() {
        // Internal topics: their bytes are each implementation's own affair.
        if topic.starts_with("parity-") {
            continue;
        }
        for record in driver.read_raw(&topic) {
            let (key, value) = (text::of(record.key), text::of(record.value));
            outcome.out.push((step, topic.clone(), key, value, record.timestamp));
        }
    }
}
