//! Figures about the program for Prometheus: requests, streams, event to score, and at each scrape those of engine, sinks, log, process.
//!
//! Names of the engine's figures are those of Kafka Streams in the form that its JMX exporter gives them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::app::Context;

/// Labels of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    status: u16,
}

/// The figures that are counted as things happen.
pub(crate) struct Metrics {
    requests: Family<RequestLabels, Counter>,
    streams: Gauge<i64, AtomicI64>,
    event_to_score: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let bounds = [0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        Self {
            requests: Family::default(),
            streams: Gauge::default(),
            event_to_score: Histogram::new(bounds),
        }
    }

    pub(crate) fn request(&self, route: &str, status: u16) {
        self.requests.get_or_create(&RequestLabels { route: route.to_owned(), status }).inc();
    }

    pub(crate) fn event_to_score(&self, ms: i64) {
        self.event_to_score.observe(ms as f64 / 1000.0);
    }

    pub(crate) fn streams(&self) -> i64 {
        self.streams.get()
    }

    /// One stream more, until the guard is dropped.
    pub(crate) fn stream(self: &Arc<Self>) -> StreamGuard {
        self.streams.inc();
        StreamGuard(Arc::clone(self))
    }

    /// The text of a scrape.
    pub(crate) fn text(&self, context: &Context) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register("vigie_http_requests", "Requests answered", self.requests.clone());
        registry.register("vigie_sse_clients", "Open streams", self.streams.clone());
        registry.register(
            "vigie_event_to_score_seconds",
            "From the publication of a record to its score on the live stream",
            self.event_to_score.clone(),
        );
        registry.register_collector(Box::new(Scrape::of(context)));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

/// Counts an open stream.
pub(crate) struct StreamGuard(Arc<Metrics>);

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.0.streams.dec();
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Counter,
    Gauge,
}

/// One figure: its name, help, kind, and the values by label.
type Figure = (&'static str, &'static str, Kind, Vec<(Vec<(&'static str, String)>, f64)>);

/// Figures read at the moment of the scrape.
#[derive(Debug)]
struct Scrape {
    figures: Vec<Figure>,
}

impl Scrape {
    fn of(context: &Context) -> Self {
        let app = &context.app;
        let stats = app.engine.stats();
        let tasks = app.engine.tasks();
        let sinks = app.engine.sinks();
        let process = crate::process::read();
        let one = |value: f64| vec![(Vec::new(), value)];
        let by_task = |value: &dyn Fn(&crate::ports::TaskStatus) -> Option<f64>| {
            tasks
                .iter()
                .filter_map(|task| Some((vec![("task_id", task.id.clone())], value(task)?)))
                .collect::<Vec<_>>()
        };
        let by_sink = |value: &dyn Fn(&crate::ports::SinkStatus) -> f64| {
            sinks.iter().map(|sink| (vec![("sink", sink.name.clone())], value(sink))).collect::<Vec<_>>()
        };
        let admin = app.log.admin();
        let mut bytes = Vec::new();
        for topic in admin.list_topics(true).unwrap_or_default() {
            if let Ok(description) = admin.describe_topic(&topic) {
                let sum: u64 = description.partitions.iter().filter_map(|partition| partition.bytes).sum();
                bytes.push((vec![("topic", topic)], sum as f64));
            }
        }
        let (counter, gauge) = (Kind::Counter, Kind::Gauge);
        let mut figures: Vec<Figure> = vec![
            (
                "kafka_streams_stream_task_metrics_process",
                "Records processed by a task",
                counter,
                by_task(&|task| Some(task.records as f64)),
            ),
            (
                "kafka_streams_stream_task_metrics_stream_time_ms",
                "Stream time of a task",
                gauge,
                by_task(&|task| task.stream_time.map(|time| time as f64)),
            ),
            (
                "kafka_streams_stream_task_metrics_dropped_records",
                "Records skipped or late",
                counter,
                one((stats.skipped + stats.late) as f64),
            ),
            (
                "kafka_streams_stream_thread_metrics_commit",
                "Transactions committed",
                counter,
                one(stats.commits as f64),
            ),
            ("vigie_engine_records_in", "Records read by the engine", counter, one(stats.records_in as f64)),
            (
                "vigie_engine_records_out",
                "Records written by the engine",
                counter,
                one(stats.records_out as f64),
            ),
            (
                "vigie_sink_lag_records",
                "Records that a sink has yet to write",
                gauge,
                by_sink(&|s| s.lag as f64),
            ),
            (
                "vigie_sink_written",
                "Records written by a sink",
                counter,
                by_sink(&|sink| sink.written as f64),
            ),
            (
                "vigie_sink_retries",
                "Attempts repeated by a sink",
                counter,
                by_sink(&|sink| sink.retries as f64),
            ),
            ("vigie_log_bytes", "Size of a topic", gauge, bytes),
            (
                "vigie_waiting_requests",
                "Forms that wait for a score",
                gauge,
                one(context.waiters.len() as f64),
            ),
        ];
        if let Some(process) = process {
            figures.push((
                "process_resident_memory_bytes",
                "Resident memory",
                gauge,
                one(process.rss_bytes as f64),
            ));
            figures.push(("process_cpu_seconds", "Processor time", counter, one(process.cpu_seconds)));
            figures.push(("process_threads", "Threads", gauge, one(process.threads as f64)));
        }
        Self { figures }
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, kind, values) in &self.figures {
            let kind_of_metric = match kind {
                Kind::Counter => ConstCounter::new(0.0_f64).metric_type(),
                Kind::Gauge => ConstGauge::new(0.0_f64).metric_type(),
            };
            let mut family = encoder.encode_descriptor(name, help, None, kind_of_metric)?;
            for (labels, value) in values {
                let metric = family.encode_family(labels)?;
                match kind {
                    Kind::Counter => ConstCounter::new(*value).encode(metric)?,
                    Kind::Gauge => ConstGauge::new(*value).encode(metric)?,
                }
            }
        }
        Ok(())
    }
}
