//! What an operator looks at: topics, groups, tasks, sinks, stores, the process, the topology.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use vigie_domain::topics::PUBLISHED_AT;
use vigie_log::{Admin, LogError, TopicPartition};

use crate::app::{Context, blocking};
use crate::ports::{EngineStats, SinkStatus, StoreInfo, TaskStatus, TopologyView};
use crate::problem::Problem;
use crate::process::ProcessStatus;

/// One topic.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Topic {
    name: String,
    partitions: u64,
    records: i64,
    bytes: Option<u64>,
    internal: bool,
    retention_ms: Option<i64>,
    cleanup: String,
}

/// Where a group stands in one partition.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct GroupPartition {
    topic: String,
    partition: u32,
    committed: i64,
    end: i64,
    lag: i64,
}

/// One group.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Group {
    group: String,
    members: u64,
    lag: i64,
    /// For how long the record that waits longest has been in the log, where it says when it was published; 0 only when none waits.
    lag_ms: Option<i64>,
    partitions: Vec<GroupPartition>,
}

/// All of it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Operations {
    topics: Vec<Topic>,
    groups: Vec<Group>,
    tasks: Vec<TaskStatus>,
    engine: EngineStats,
    sinks: Vec<SinkStatus>,
    stores: Vec<StoreInfo>,
    process: ProcessStatus,
}

/// A topic that is deleted while we look is left out.
fn unless_gone<T>(result: Result<T, LogError>) -> Result<Option<T>, Problem> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(LogError::UnknownTopic { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn all_topics(admin: &dyn Admin) -> Result<Vec<Topic>, Problem> {
    let mut topics = Vec::new();
    for name in admin.list_topics(true)? {
        let Some(topic) = unless_gone(admin.describe_topic(&name))? else { continue };
        let bytes: Option<u64> = topic.partitions.iter().map(|partition| partition.bytes).sum();
        topics.push(Topic {
            name: topic.name,
            partitions: topic.partitions.len() as u64,
            records: topic.partitions.iter().map(|p| p.offsets.latest - p.offsets.earliest).sum(),
            bytes,
            internal: topic.internal,
            retention_ms: topic
                .config
                .get("retention.ms")
                .and_then(|text| text.parse().ok())
                .filter(|ms: &i64| *ms >= 0),
            cleanup: topic.config.get("cleanup.policy").cloned().unwrap_or_else(|| String::from("delete")),
        });
    }
    Ok(topics)
}

/// A waiting time is worth no longer wait.
const GLANCE: Duration = Duration::from_millis(20);

/// When the first record from this offset on was published. Its own time is the time of what it tells, which may be years ago or
/// still to come: it says nothing about waiting.
fn published(context: &Context, at: &TopicPartition, offset: i64) -> Option<i64> {
    let mut reader = context.app.log.reader(std::slice::from_ref(at)).ok()?;
    reader.seek(at, offset).ok()?;
    let polled = reader.poll(GLANCE).ok()?;
    let record = polled.iter().flat_map(|batch| batch.batch.iter()).find(|record| record.offset >= offset)?;
    let text = record.headers.get(PUBLISHED_AT)?.value?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn all_groups(context: &Context, admin: &dyn Admin) -> Result<Vec<Group>, Problem> {
    let now = context.app.clock.now();
    let mut ends: BTreeMap<String, Vec<vigie_log::PartitionDescription>> = BTreeMap::new();
    let mut groups = Vec::new();
    for name in admin.list_groups()? {
        let group = admin.describe_group(&name)?;
        let mut partitions = Vec::new();
        let mut lag_ms = Some(0);
        for (at, committed) in &group.committed {
            let topic = at.topic.to_string();
            if !ends.contains_key(&topic) {
                let described = unless_gone(admin.describe_topic(&topic))?;
                ends.insert(topic.clone(), described.map_or_else(Vec::new, |topic| topic.partitions));
            }
            let known = ends.get(&topic).and_then(|all| all.iter().find(|p| p.partition == at.partition));
            let Some(known) = known else { continue };
            let end = known.offsets.latest;
            let lag = (end - committed).max(0);
            if lag > 0 {
                lag_ms = match (lag_ms, published(context, at, (*committed).max(known.offsets.earliest))) {
                    (Some(most), Some(published)) => Some(most.max(now - published).max(1)),
                    _ => None,
                };
            }
            partitions.push(GroupPartition {
                topic,
                partition: at.partition,
                committed: *committed,
                end,
                lag,
            });
        }
        groups.push(Group {
            group: group.group,
            members: group.members.len() as u64,
            lag: partitions.iter().map(|partition| partition.lag).sum(),
            lag_ms,
            partitions,
        });
    }
    Ok(groups)
}

/// Topics, groups, tasks, sinks, stores, process.
#[utoipa::path(get, path = "/api/v1/operations", responses((status = 200, body = Operations)))]
pub(crate) async fn operations(State(context): State<Arc<Context>>) -> Result<Json<Operations>, Problem> {
    blocking(&context, |context| {
        let app = &context.app;
        let admin = app.log.admin();
        let uptime = app.clock.monotonic().saturating_sub(context.started);
        Ok(Json(Operations {
            topics: all_topics(&*admin)?,
            groups: all_groups(context, &*admin)?,
            tasks: app.engine.tasks(),
            engine: app.engine.stats(),
            sinks: app.engine.sinks(),
            stores: app.views.stores(),
            process: ProcessStatus {
                uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
                ..crate::process::read().unwrap_or_default()
            },
        }))
    })
    .await
}

/// The topology, as text and as a graph.
#[utoipa::path(get, path = "/api/v1/topology", responses((status = 200, body = TopologyView)))]
pub(crate) async fn topology(State(context): State<Arc<Context>>) -> Result<Json<TopologyView>, Problem> {
    blocking(&context, |context| Ok(Json(context.app.engine.topology()))).await
}

/// All topics.
#[utoipa::path(get, path = "/api/v1/topics", responses((status = 200, body = super::List<Topic>)))]
pub(crate) async fn topics(State(context): State<Arc<Context>>) -> Result<Json<super::List<Topic>>, Problem> {
    blocking(&context, |context| {
        let items = all_topics(&*context.app.log.admin())?;
        Ok(Json(super::List { total: items.len() as u64, items }))
    })
    .await
}
