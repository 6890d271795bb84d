//! Optimised topologies: a table whose topic is its changelog restores from it, on real threads; what is merged, and what is not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use vigie_log::{Log, SimulatedLog, TopicPartition};
use vigie_streams::serde::{I64, Utf8};
use vigie_streams::{
    BoxError, Config, Consumed, DriverConfig, FixedKeyContext, FixedKeyProcessor, Grouped, Optimization,
    Produced, Record, RestoreEvent, RestorePhase, Staleness, State, Store, Streams, StreamsBuilder, Topology,
    TopologyTestDriver,
};

use crate::running::{PATIENCE, end, log, send, until};

type Told = Arc<Mutex<Vec<RestoreEvent>>>;

/// Rows are counted by value, for which each change needs the row before it. The store holds other bytes than the topic.
fn by_value() -> Topology {
    let mut builder = StreamsBuilder::new();
    let doubled = vigie_streams::serde::FnSerde::new(
        |n: &i64, out| {
            out.extend_from_slice(&(n * 2).to_be_bytes());
            Ok(())
        },
        |bytes| Ok(i64::from_be_bytes(bytes.try_into()?) / 2),
    );
    let rows = Consumed::<String, i64>::default().timestamp_by(|_, _, at| at + 1);
    let table = builder.table("rows", rows, Store::named("table").with_value_serde(doubled));
    let groups = table.group_by(|_, value| (*value, *value), Grouped::default());
    groups.count(Store::named("counts")).to_stream().to("out", Produced::default());
    builder.build_with(Optimization::NONE.reuse_ktable_source_topics()).unwrap()
}

fn start(log: &Arc<SimulatedLog>, client: &str, told: &Told, more: impl FnOnce(Config) -> Config) -> Streams {
    let told = Arc::clone(told);
    let config = Config::new("app", Arc::clone(log) as Arc<dyn Log>)
        .commit_interval(Duration::from_millis(10))
        .client_id(client)
        .restore_listener(move |event| told.lock().unwrap().push(event.clone()));
    let app = Streams::new(by_value(), more(config)).start().unwrap();
    assert!(app.wait_for(State::Running, PATIENCE));
    app
}

fn committed(log: &SimulatedLog) -> i64 {
    let group = log.admin().describe_group("app").unwrap();
    let rows = TopicPartition::new("rows", 0);
    group.committed.iter().find(|(partition, _)| *partition == rows).map_or(0, |(_, offset)| *offset)
}

fn rows(app: &Streams) -> BTreeMap<String, i64> {
    app.store::<String, i64>("table").unwrap().all().map(Result::unwrap).collect()
}

fn counts(app: &Streams) -> BTreeMap<i64, i64> {
    app.store::<i64, i64>("counts").unwrap().all().map(Result::unwrap).collect()
}

fn be(n: i64) -> [u8; 8] {
    n.to_be_bytes()
}

#[test]
fn a_table_restores_from_its_topic_as_far_as_the_group_has_committed() {
    let log = log(&[("rows", 1), ("out", 1)]);
    let told = Told::default();
    let first = start(&log, "p", &told, |config| config);
    send(&log, "rows", 0, &[("a", &be(1)), ("b", &be(2)), ("a", &be(2)), ("gone", &be(5))]);
    send(&log, "rows", 0, &[("bad", b"no number"), ("c", &be(1))]);
    drop(first);
    // The program ended at a record that it cannot read or before; what it did not commit is done again.
    let lenient =
        |config: Config| config.deserialization_error(vigie_streams::ErrorHandler::log_and_continue());
    let again = start(&log, "p", &told, lenient);
    until("all rows are counted", || {
        counts(&again) == BTreeMap::from([(1, 1), (2, 2), (5, 1)]) && committed(&log) == end(&log, "rows")
    });
    assert!(again.close(PATIENCE));
    let topics = log.admin().list_topics(true).unwrap();
    assert!(!topics.contains(&"app-table-changelog".to_owned()), "{topics:?}");
    assert!(topics.contains(&"app-counts-changelog".to_owned()), "{topics:?}");

    // These are no rows yet: they come from the input, and change what was restored.
    let (before, was) = (committed(&log), end(&log, "rows"));
    send(&log, "rows", 0, &[("a", &be(7)), ("d", &be(1))]);
    told.lock().unwrap().clear();
    let last = start(&log, "p", &told, lenient);
    until("all rows are counted", || counts(&last) == BTreeMap::from([(1, 2), (2, 1), (5, 1), (7, 1)]));
    let table = BTreeMap::from([("a", 7), ("b", 2), ("c", 1), ("d", 1), ("gone", 5)]);
    assert_eq!(rows(&last), table.into_iter().map(|(key, row)| (key.to_owned(), row)).collect());
    let row = last.store::<String, i64>("table").unwrap().get_with_timestamp(&"b".into()).unwrap();
    assert_eq!(row, Some((2, 1_001)), "with the time that the table gave it");
    let events = told.lock().unwrap().clone();
    let of_table: Vec<&RestoreEvent> = events.iter().filter(|event| &*event.store == "table").collect();
    assert!(of_table.iter().all(|event| &*event.partition.topic == "rows"), "{events:?}");
    assert_eq!(of_table[0].phase, RestorePhase::Start { from: 0, end: before }, "{events:?}");
    assert!(before <= was && was < end(&log, "rows"));
    assert_eq!(
        of_table.last().unwrap().phase,
        RestorePhase::End { records: 5 },
        "all but what cannot be read"
    );
    assert!(last.close(PATIENCE));
}

#[test]
fn a_table_on_disk_goes_on_where_it_was() {
    let log = log(&[("rows", 1), ("out", 1)]);
    let told = Told::default();
    let dir = tempfile::tempdir().unwrap();
    for round in 1..=3_i64 {
        let app = start(&log, "p", &told, |config| config.state_dir(dir.path()));
        send(&log, "rows", 0, &[("a", &be(round)), ("b", &be(round))]);
        until("all rows are counted", || counts(&app).get(&round) == Some(&2));
        assert_eq!(counts(&app).values().sum::<i64>(), 2, "each row left the group that it was in");
        assert!(app.close(PATIENCE));
        assert!(told.lock().unwrap().is_empty(), "nothing is restored: {told:?}");
    }
}

#[test]
fn a_standby_copy_follows_what_is_committed_and_takes_over() {
    let log = log(&[("rows", 2), ("out", 1)]);
    let told = Told::default();
    let standby = |config: Config| config.standby_replicas(1);
    let first = start(&log, "p1", &told, standby);
    let feed = |value: i64| {
        for n in 0..40 {
            let key = format!("k{n}");
            send(&log, "rows", vigie_log::partition_for_key(key.as_bytes(), 2), &[(&key, &be(value))]);
        }
    };
    feed(1);
    until("all is counted", || counts(&first).get(&1) == Some(&40));
    let second = start(&log, "p2", &told, standby);
    let all = |app: &Streams| -> usize {
        let copies = app.store_with::<String, i64>("table", Staleness::Any);
        copies.map_or(0, |copies| copies.all().filter(|row| row.as_ref().unwrap().1 == 1).count())
    };
    until("each has tasks, and copies of the others", || all(&first) == 40 && all(&second) == 40);
    assert!(first.close(PATIENCE));
    feed(2);
    until("the second one counts on", || {
        second.state() == State::Running && counts(&second).get(&2) == Some(&40)
    });
    assert_eq!(counts(&second).get(&1).copied().unwrap_or(0), 0, "each row left the group that it was in");
}

fn described(build: impl FnOnce(&mut StreamsBuilder)) -> String {
    let mut builder = StreamsBuilder::new();
    build(&mut builder);
    builder.build_with(Optimization::ALL).unwrap().describe()
}

struct Same;

impl FixedKeyProcessor<i64, i64, i64> for Same {
    fn process(
        &mut self,
        ctx: &mut FixedKeyContext<'_, '_, '_, i64, i64>,
        record: Record<i64, i64>,
    ) -> Result<(), BoxError> {
        ctx.forward(record.value)
    }
}

/// Kafka Streams moves a repartition to before a processor, which then sees other partitions than it did.
#[test]
fn what_stands_behind_a_processor_is_repartitioned_behind_it() {
    let text = described(|builder| {
        let stream = builder.stream("in", Consumed::<String, i64>::default()).select_key(|_, n| n % 2);
        let seen = stream.process_values(|| Same, &[]);
        seen.group_by_key_with(Grouped::with(I64, I64)).count(Store::named("behind"));
        stream.group_by_key().count(Store::named("beside"));
    });
    assert!(
        text.contains("KSTREAM-PROCESSVALUES-0000000002 (stores: [])\n      --> behind-repartition-filter"),
        "{text}"
    );
    assert!(text.contains("beside-repartition-source"), "{text}");
}

/// Kafka Streams cannot build this: two repartitions lie behind one child of the operator that changes keys.
#[test]
fn branches_share_one_repartition() {
    let mut builder = StreamsBuilder::new();
    let split = builder.stream("in", Consumed::<String, i64>::default()).select_key(|_, n| n % 3).split();
    let small = split.branch(|_, n| *n < 10);
    let large = split.default_branch();
    small.group_by_key().count(Store::named("small"));
    large.group_by_key().count(Store::named("large"));
    let topology = builder.build_with(Optimization::NONE.merge_repartition_topics()).unwrap();
    let topics: Vec<String> = topology.view().topics.into_iter().map(|topic| topic.name).collect();
    assert_eq!(topics, ["in", "small-repartition"]);
    let driver = TopologyTestDriver::new(&topology, DriverConfig::default()).unwrap();
    let numbers = driver.input("in", Utf8, I64);
    for n in [1, 4, 7, 10, 13, 2] {
        numbers.pipe(&String::new(), &n, n).unwrap();
    }
    let count = |store: &str, key: i64| driver.store::<i64, i64>(store).unwrap().get(&key).unwrap();
    assert_eq!((count("small", 1), count("small", 2), count("large", 1)), (Some(3), Some(1), Some(2)));
}

/// A merge whose other input has new keys of its own is not passed by: those records must be repartitioned too.
#[test]
fn a_merge_is_not_split_from_its_other_input() {
    let text = described(|builder| {
        let left = builder.stream("left", Consumed::<String, i64>::default()).select_key(|_, n| n % 2);
        let right = builder.stream("right", Consumed::<String, i64>::default()).select_key(|_, n| n % 2);
        left.group_by_key().count(Store::named("alone"));
        left.merge(&right).group_by_key().count(Store::named("both"));
    });
    let merge = "KSTREAM-MERGE-0000000008 (stores: [])
      --> both-repartition-filter
      <-- KSTREAM-KEY-SELECT-0000000001, KSTREAM-KEY-SELECT-0000000003";
    assert!(text.contains(merge) && text.contains("topics: [alone-repartition]"), "{text}");
}

#[test]
fn each_rule_stands_alone() {
    let build = |rules: Optimization| {
        let mut builder = StreamsBuilder::new();
        builder.table("rows", Consumed::<String, i64>::default(), Store::named("table"));
        let stream = builder.stream("in", Consumed::<String, i64>::default());
        let joined = |key: &String, a: &i64, b: &i64| format!("{key}{a}{b}");
        let windows = vigie_streams::JoinWindows::of_time_difference_with_no_grace(Duration::from_secs(1));
        stream.join_stream(&stream, joined, windows, Default::default()).for_each(|_, _| ());
        let changed = stream.select_key(|_, n| *n);
        changed.group_by_key().count(Store::named("one"));
        changed.group_by_key().reduce(|a, b| a + b, Store::named("two"));
        let view = builder.build_with(rules).unwrap().view();
        let stores: Vec<_> = view.sub_topologies.iter().flat_map(|sub| &sub.stores).collect();
        let changelog = stores.iter().find(|store| store.name == "table").unwrap().changelog.clone();
        (changelog.unwrap(), view.topics.len(), stores.len())
    };
    let none = Optimization::NONE;
    assert_eq!(build(none), ("table-changelog".to_owned(), 4, 5));
    assert_eq!(build(none.reuse_ktable_source_topics()), ("rows".to_owned(), 4, 5));
    assert_eq!(build(none.merge_repartition_topics()), ("table-changelog".to_owned(), 3, 5));
    assert_eq!(build(none.single_store_self_join()), ("table-changelog".to_owned(), 4, 4));
    assert_eq!(build(Optimization::ALL), ("rows".to_owned(), 3, 4));
    assert!("merge".parse::<Optimization>().unwrap_err().to_string().contains("`merge` is no topology"));
    assert_eq!(
        "single.store.self.join, merge.repartition.topics".parse(),
        Ok(none.merge_repartition_topics().single_store_self_join())
    );
}
