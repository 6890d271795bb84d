//! The program under test in Kafka Streams' own system test, `StreamsSmokeTest`: the topology that its verifier knows the results of.
//!
//! `cargo run -p vigie-log-kafka --example smoke -- BOOTSTRAP STATE_DIR CLIENT_ID`; `dev/smoke.sh` starts the rest. Runs until it is killed.
//! With `BOOTSTRAP` alone it creates the test's topics and ends.

use std::sync::Arc;
use std::time::Duration;

use vigie_log::{Log, TopicSpec};
use vigie_log_kafka::{KafkaConfig, KafkaLog};
use vigie_streams::serde::{F64, I32, I64, Utf8};
use vigie_streams::{
    BufferConfig, Config, Consumed, Grouped, KTable, Produced, State, Store, Streams, StreamsBuilder,
    Suppressed, TimeWindows, Topology, TopologyError, Windowed,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The verifier's sign that a partition is at its end.
const END: i32 = i32::MAX;
/// A key that only moves stream time on.
const FLUSH: &str = "flush";

fn topology() -> Result<Topology, TopologyError> {
    let mut builder = StreamsBuilder::new();
    let source = builder.stream("data", Consumed::with(Utf8, I32));
    source.filter_not(|key, _| key == FLUSH).to("echo", Produced::with(Utf8, I32));
    let by_key = source.filter(|_, value| *value != END).group_by_key();

    // Minimum of a day: every change, the final one, and by plain key.
    let min = by_key.windowed_by(TimeWindows::tumbling(DAY).grace(Duration::from_secs(60))).aggregate(
        || i32::MAX,
        |_, value, least| (*value).min(least),
        Store::named("uwin-min").retention(Duration::from_secs(25 * 60 * 60)),
    );
    with_window_as_text(&min, "min-raw");
    with_window_as_text(
        &min.suppress(Suppressed::until_window_closes(BufferConfig::unbounded())),
        "min-suppressed",
    );
    by_plain_key(&min).to("min", Produced::with(Utf8, I32));

    // Sums over two seconds, each second anew.
    let small = by_key
        .windowed_by(
            TimeWindows::hopping(Duration::from_secs(2), Duration::from_secs(1))
                .grace(Duration::from_secs(30)),
        )
        .reduce(|sum, value| sum.wrapping_add(value), Store::default());
    with_window_as_text(&small, "sws-raw");
    with_window_as_text(
        &small.suppress(Suppressed::until_window_closes(BufferConfig::unbounded())),
        "sws-suppressed",
    );

    // Maximum, sum and count of two days, written out and read in again as tables.
    let two_days = || by_key.windowed_by(TimeWindows::tumbling(2 * DAY));
    let max =
        two_days().aggregate(|| i32::MIN, |_, value, most| (*value).max(most), Store::named("uwin-max"));
    by_plain_key(&max).to("max", Produced::with(Utf8, I32));
    let sum =
        two_days().aggregate(|| 0_i64, |_, value, sum| sum + i64::from(*value), Store::named("win-sum"));
    by_plain_key(&sum).to("sum", Produced::with(Utf8, I64));
    by_plain_key(&two_days().count(Store::named("uwin-cnt"))).to("cnt", Produced::with(Utf8, I64));

    let min = builder.table("min", Consumed::with(Utf8, I32), Store::named("minStoreName"));
    let max = builder.table("max", Consumed::with(Utf8, I32), Store::named("maxStoreName"));
    let sum = builder.table("sum", Consumed::with(Utf8, I64), Store::default());
    let count = builder.table("cnt", Consumed::with(Utf8, I64), Store::named("cntStoreName"));
    max.join(&min, |_, max, min| max - min)
        .to_stream()
        .filter_not(|key, _| key == FLUSH)
        .to("dif", Produced::with(Utf8, I32));
    #[expect(clippy::cast_precision_loss, reason = "the sums of this test are far below 2^53")]
    sum.join(&count, |_, sum, count| *sum as f64 / *count as f64)
        .to_stream()
        .filter_not(|key, _| key == FLUSH)
        .to("avg", Produced::with(Utf8, F64));

    // How many keys have been seen how often: a table regrouped by its own values.
    count
        .group_by(|_, count| (count.to_string(), 1_i64), Grouped::with(Utf8, I64))
        .aggregate(|| 0_i64, |_, one, n| n + one, |_, one, n| n - one, Store::named("cntByCnt").in_memory())
        .to_stream()
        .to("tagg", Produced::with(Utf8, I64));
    builder.build()
}

fn by_plain_key<V: vigie_streams::Value>(
    table: &KTable<Windowed<String>, V>,
) -> vigie_streams::KStream<String, V> {
    table.to_stream().select_key(|windowed, _| windowed.key.clone()).filter_not(|key, _| key == FLUSH)
}

/// `[key@start/end]`, as the verifier takes it apart.
fn with_window_as_text(table: &KTable<Windowed<String>, i32>, topic: &str) {
    table
        .to_stream()
        .filter_not(|windowed, _| windowed.key == FLUSH)
        .select_key(|at, _| format!("[{}@{}/{}]", at.key, at.window.start, at.window.end))
        .to(topic, Produced::with(Utf8, I32));
}

/// All topics of the test; the driver writes the first two.
const TOPICS: [&str; 14] = [
    "data",
    "fk",
    "echo",
    "max",
    "min",
    "min-raw",
    "min-suppressed",
    "dif",
    "sum",
    "sws-raw",
    "sws-suppressed",
    "cnt",
    "avg",
    "tagg",
];

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (bootstrap, place) = match arguments.as_slice() {
        [bootstrap] => (bootstrap, None),
        [bootstrap, state_dir, client_id] => (bootstrap, Some((state_dir, client_id))),
        _ => return Err("usage: smoke BOOTSTRAP [STATE_DIR CLIENT_ID]".into()),
    };
    let mut kafka = KafkaConfig::new(bootstrap.split(','));
    let Some((state_dir, client_id)) = place else {
        let admin = KafkaLog::open(kafka)?.admin();
        for topic in TOPICS {
            admin.create_topic(&TopicSpec::new(topic, 4))?;
        }
        return Ok(());
    };
    kafka.client_id.clone_from(client_id);
    let log: Arc<dyn Log> = Arc::new(KafkaLog::open(kafka)?);
    let config = Config::new("SmokeTest", log).state_dir(state_dir).client_id(client_id).threads(2);
    let app = Streams::new(topology()?, config).start()?;
    if app.wait_for(State::Running, Duration::from_secs(60)) {
        println!("{client_id} runs");
    }
    loop {
        if let Some(error) = app.error() {
            return Err(error.into());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
