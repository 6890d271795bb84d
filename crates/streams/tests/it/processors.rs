//! Processors of one's own: stores, punctuations, metadata, errors.

use std::time::Duration;

use vigie_streams::serde::{I64, Utf8};
use vigie_streams::{
    BoxError, Consumed, DriverConfig, ErrorHandler, ErrorResponse, FixedKeyContext, FixedKeyProcessor,
    Headers, Processor, ProcessorContext, Produced, PunctuationId, PunctuationType, Record, SessionKey,
    Store, StoreBuilder, StreamsBuilder, Topology, TopologyTestDriver,
};

/// Three logins within a minute, sliding in event time.
struct Logins;

impl Processor<String, i64, String, String> for Logins {
    fn init(&mut self, ctx: &mut ProcessorContext<'_, '_, String, String>) -> Result<(), BoxError> {
        ctx.schedule(Duration::from_secs(10), PunctuationType::WallClock);
        ctx.schedule(Duration::from_secs(100), PunctuationType::StreamTime);
        Ok(())
    }

    fn process(
        &mut self,
        ctx: &mut ProcessorContext<'_, '_, String, String>,
        record: Record<String, i64>,
    ) -> Result<(), BoxError> {
        let at = record.timestamp;
        if record.value == Some(-1) {
            return Err("minus one".into());
        }
        let mut logins = ctx.window::<String, i64>("logins")?;
        if !logins.put(record.key.clone(), at, 1)? {
            ctx.late();
            return Ok(());
        }
        let recent = logins.fetch(&record.key, at - 59_999, at)?;
        let total = ctx.key_value::<String, i64>("totals")?.get(&record.key)?.unwrap_or(0) + 1;
        ctx.key_value("totals")?.put(record.key.clone(), total)?;
        if recent.len() >= 3 {
            let offset = ctx.record_metadata().offset;
            let mut alert = Record::new(record.key, format!("{} logins", recent.len()), at);
            alert.headers = record.headers;
            alert.headers.remove("secret");
            alert.headers.add("origin", Some(offset.to_string().as_bytes()));
            ctx.forward(alert)?;
        }
        Ok(())
    }

    fn punctuate(
        &mut self,
        ctx: &mut ProcessorContext<'_, '_, String, String>,
        _id: PunctuationId,
        at: i64,
    ) -> Result<(), BoxError> {
        let totals: Vec<(String, i64)> =
            ctx.key_value::<String, i64>("totals")?.all()?.collect::<Result<_, _>>()?;
        let text = format!("{totals:?}");
        ctx.forward(Record::new(String::from("all"), text, at))
    }
}

fn topology() -> Topology {
    let mut builder = StreamsBuilder::new();
    builder.add_state_store(StoreBuilder::window(
        Store::<String, i64>::named("logins"),
        Duration::from_secs(600),
    ));
    builder.add_state_store(StoreBuilder::key_value(Store::<String, i64>::named("totals")));
    builder
        .stream("in", Consumed::<String, i64>::default())
        .process(|| Logins, &["logins", "totals"])
        .to("out", Produced::with(Utf8, Utf8));
    builder.build().unwrap()
}

#[test]
fn stores_punctuations_and_headers() {
    let driver = TopologyTestDriver::new(&topology(), Default::default()).unwrap();
    let input = driver.input("in", Utf8, I64);
    let read = || driver.output("out", Utf8, Utf8).read().unwrap();
    let login = |key: &str, at| {
        let headers = Headers::new().with("secret", "x").with("id", "1");
        input.pipe_with(&key.into(), Some(&0), at, headers).unwrap();
    };
    login("a", 1_000_000);
    // Stream time: due with the first record, then each hundred seconds.
    assert_eq!(read()[0].value.as_deref(), Some("[(\"a\", 1)]"));
    login("ab", 1_000_001);
    login("a", 1_059_999);
    login("a", 1_030_000);
    let alerts = read();
    assert_eq!(alerts.len(), 0, "1_030_000 sees two: itself and the first");
    login("a", 1_060_000);
    let alerts = read();
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].value.as_deref(), Some("3 logins"));
    assert_eq!(alerts[0].headers, Headers::new().with("id", "1").with("origin", "4"));
    driver.advance_wall_clock_time(Duration::from_secs(9)).unwrap();
    assert_eq!(read().len(), 0);
    driver.advance_wall_clock_time(Duration::from_secs(35)).unwrap();
    let ticks = read();
    assert_eq!(ticks.len(), 1, "missed times are skipped");
    assert_eq!((ticks[0].timestamp, ticks[0].value.as_deref()), (44_000, Some("[(\"a\", 4), (\"ab\", 1)]")));
    login("a", 100_000);
    assert_eq!(driver.skipped_and_late(), (0, 1), "older than the store keeps");
}

#[test]
fn failing_records_follow_their_handler() {
    let failing = |handler: ErrorHandler| {
        let config = DriverConfig {
            processing_error: handler.clone(),
            deserialization_error: handler,
            ..DriverConfig::default()
        };
        TopologyTestDriver::new(&topology(), config).unwrap()
    };
    let driver = failing(ErrorHandler::log_and_fail());
    let error = driver.input("in", Utf8, I64).pipe(&"a".into(), &-1, 1).unwrap_err().to_string();
    assert!(error.contains("KSTREAM-PROCESSOR-0000000001") && error.contains("minus one"), "{error}");

    let driver = failing(ErrorHandler::dead_letter("dead"));
    driver
        .input("in", Utf8, I64)
        .pipe_with(&"a".into(), Some(&-1), 7, Headers::new().with("own", "1"))
        .unwrap();
    driver.input("in", Utf8, Utf8).pipe(&"a".into(), &"no number".into(), 8).unwrap();
    let dead = driver.read_raw("dead");
    let header = |n: usize, name: &str| dead[n].headers.get_str(name).unwrap_or("").to_owned();
    assert_eq!((dead[0].key.as_deref(), dead[0].timestamp), (Some(&b"a"[..]), 7));
    assert_eq!(dead[1].value.as_deref(), Some(&b"no number"[..]), "the record as it was");
    assert_eq!(header(0, "own"), "1");
    assert_eq!(header(0, "__streams.errors.exception"), "ProcessingError");
    assert_eq!(header(1, "__streams.errors.exception"), "DeserializationError");
    assert_eq!(header(0, "__streams.errors.topic"), "in");
    assert_eq!(header(0, "__streams.errors.partition"), "0");
    assert_eq!(header(1, "__streams.errors.offset"), "1");
    assert!(header(1, "__streams.errors.message").contains("8 bytes"), "{dead:?}");
    assert!(header(1, "__streams.errors.stacktrace").contains("found 9 bytes"), "{dead:?}");

    let own = ErrorHandler::new(|failed| {
        if failed.stage == "processing" { ErrorResponse::Continue } else { ErrorResponse::Fail }
    });
    let driver = failing(own);
    driver.input("in", Utf8, I64).pipe(&"a".into(), &-1, 1).unwrap();
    assert!(driver.input("in", Utf8, Utf8).pipe(&"a".into(), &"x".into(), 1).is_err());
}

struct Doubled;

impl FixedKeyProcessor<String, i64, i64> for Doubled {
    fn process(
        &mut self,
        ctx: &mut FixedKeyContext<'_, '_, '_, String, i64>,
        record: Record<String, i64>,
    ) -> Result<(), BoxError> {
        ctx.forward(record.value.map(|v| v * 2))?;
        ctx.forward(None)
    }
}

#[test]
fn fixed_keys_need_no_repartition() {
    let mut builder = StreamsBuilder::new();
    builder
        .stream("in", Consumed::<String, i64>::default())
        .process_values(|| Doubled, &[])
        .group_by_key()
        .count(Store::named("n"))
        .to_stream()
        .to("out", Produced::default());
    let topology = builder.build().unwrap();
    assert_eq!(topology.view().sub_topologies.len(), 1);
    let driver = TopologyTestDriver::new(&topology, Default::default()).unwrap();
    driver.input("in", Utf8, I64).pipe(&"a".into(), &4, 0).unwrap();
    assert_eq!(driver.output("out", Utf8, I64).read_key_values().unwrap(), [("a".into(), Some(1))]);
    assert_eq!(driver.skipped_and_late().0, 1, "the tombstone");
}

#[test]
fn stores_scan_uncommitted_over_committed_entries() {
    let mut builder = StreamsBuilder::new();
    builder.add_state_store(StoreBuilder::key_value(Store::<String, i64>::named("kv")));
    builder
        .add_state_store(StoreBuilder::session(Store::<String, i64>::named("ses"), Duration::from_secs(60)));
    let scan = |ctx: &mut ProcessorContext<'_, '_, String, String>, record: Record<String, i64>| {
        let value = record.value.unwrap_or_default();
        let mut kv = ctx.key_value::<String, i64>("kv")?;
        match value {
            // More than one chunk of a scan.
            0 => (0..1000).try_for_each(|n| kv.put(format!("k{n:04}"), n))?,
            1 => {
                kv.delete(&String::from("k0001"))?;
                (300..700).try_for_each(|n| kv.put(format!("k{n:04}"), None))?;
                kv.put(String::from("k0000x"), -1)?;
            }
            _ => {}
        }
        let keys = |all: &mut dyn Iterator<Item = Result<(String, i64), vigie_streams::StateError>>| {
            all.map(|entry| entry.map(|(key, _)| key)).collect::<Result<Vec<_>, _>>()
        };
        let all = keys(&mut kv.all()?)?;
        let mut reverse = keys(&mut kv.reverse_all()?)?;
        reverse.reverse();
        assert_eq!(all, reverse);
        assert!(all.is_sorted());
        let range = keys(&mut kv.range(&"k0000".into(), &"k0002".into())?)?;
        let prefix = keys(&mut kv.prefix(b"k09")?)?;
        let text = format!("{} {range:?} {}", all.len(), prefix.len());
        let mut sessions = ctx.session::<String, i64>("ses")?;
        sessions
            .put(SessionKey { key: record.key.clone(), start: 10 * value, end: 10 * value + 5 }, value)?;
        let found = sessions.find(&record.key, 5, 20)?.len();
        ctx.forward(Record::new(record.key, format!("{text} {found}"), record.timestamp))
    };
    builder
        .stream("in", Consumed::<String, i64>::default())
        .process(move || scan, &["kv", "ses"])
        .to("out", Produced::with(Utf8, Utf8));
    let driver = TopologyTestDriver::new(&builder.build().unwrap(), Default::default()).unwrap();
    for value in 0..4 {
        driver.input("in", Utf8, I64).pipe(&"a".into(), &value, 100).unwrap();
    }
    let out: Vec<_> = driver
        .output("out", Utf8, Utf8)
        .read_key_values()
        .unwrap()
        .into_iter()
        .filter_map(|(_, v)| v)
        .collect();
    let changed = r#"600 ["k0000", "k0000x", "k0002"] 100"#;
    assert_eq!(
        out,
        [
            r#"1000 ["k0000", "k0001", "k0002"] 100 1"#.to_owned(),
            format!("{changed} 2"),
            format!("{changed} 3"),
            format!("{changed} 3"),
        ]
    );
}
