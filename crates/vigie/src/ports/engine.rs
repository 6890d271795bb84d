//! The stream engine and the sinks, as the server asks for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use vigie_server::ports::{
    Engine, EngineStats, Graph, Restore, SinkStatus, SubTopology, TaskStatus, TopologyNode, TopologyView,
};
use vigie_stores::Circuit;
use vigie_streams::{Streams, Topology};

use super::peers::Peers;
use crate::pipelines::pages::PAGE_COUNT;
use crate::sinks::SinksView;

/// The engine behind the server's port.
pub struct EngineView {
    /// The running topology, where this instance runs one.
    pub streams: Option<Arc<Streams>>,
    /// What it runs, or would.
    pub topology: Topology,
    /// The other instances.
    pub peers: Peers,
    /// The running sinks.
    pub sinks: SinksView,
    /// Size of a page window, ms.
    pub page_window_ms: i64,
    /// What the names of internal topics begin with: the application id and `-`.
    pub prefix: String,
}

impl Engine for EngineView {
    fn topology(&self) -> TopologyView {
        let topology = &self.topology;
        // Internal topics have the application's name in front, in the log as on the screens.
        let real = |topic: &String| {
            let internal = topic.ends_with("-repartition") && !topic.starts_with(&self.prefix);
            if internal { format!("{}{topic}", self.prefix) } else { topic.clone() }
        };
        let view = topology.view();
        let sub_topologies = view
            .sub_topologies
            .iter()
            .map(|sub| SubTopology {
                id: sub.id,
                nodes: sub
                    .nodes
                    .iter()
                    .map(|node| TopologyNode {
                        name: node.name.clone(),
                        kind: node.kind.clone(),
                        topics: node.topics.iter().map(real).collect(),
                        stores: node.stores.clone(),
                        successors: sub
                            .edges
                            .iter()
                            .filter(|edge| edge.from == node.name)
                            .map(|edge| edge.to.clone())
                            .collect(),
                    })
                    .collect(),
            })
            .collect();
        TopologyView { text: topology.describe(), graph: Graph { sub_topologies } }
    }

    fn tasks(&self) -> Vec<TaskStatus> {
        let tasks = self.streams.as_ref().map(|streams| streams.metrics().tasks).unwrap_or_default();
        tasks
            .into_iter()
            .map(|task| TaskStatus {
                id: task.id,
                sub_topology: task.sub_topology,
                partition: task.partition,
                stream_time: task.stream_time.filter(|at| *at >= 0),
                records: task.records,
                state: task.state,
            })
            .collect()
    }

    fn stats(&self) -> EngineStats {
        let Some(streams) = &self.streams else {
            return EngineStats { state: String::from("elsewhere"), ..EngineStats::default() };
        };
        let metrics = streams.metrics();
        let restores: Vec<_> = metrics.tasks.iter().filter_map(|task| task.restore.as_ref()).collect();
        let restore = (!restores.is_empty()).then(|| Restore {
            done: restores.iter().map(|r| u64::try_from(r.done).unwrap_or(0)).sum(),
            total: restores.iter().map(|r| u64::try_from(r.total).unwrap_or(0)).sum(),
        });
        EngineStats {
            state: format!("{:?}", metrics.state).to_lowercase(),
            error: streams.error(),
            records_in: metrics.records_in,
            records_out: metrics.records_out,
            skipped: metrics.skipped,
            late: metrics.late,
            commits: metrics.commits,
            restore: restore.filter(|restore| restore.done < restore.total),
        }
    }

    fn sinks(&self) -> Vec<SinkStatus> {
        (self.sinks)()
            .into_iter()
            .map(|sink| SinkStatus {
                name: sink.name,
                circuit: match sink.circuit {
                    Circuit::Closed => "closed",
                    Circuit::Open => "open",
                    Circuit::HalfOpen => "half_open",
                }
                .to_owned(),
                written: sink.written,
                retries: sink.retries,
                lag: sink.lag,
                last_error: sink.last_error,
            })
            .collect()
    }

    fn page_counts(&self, now: i64) -> BTreeMap<String, i64> {
        let mut counts = self.page_counts_here(now);
        for (page, count) in self.peers.page_counts(self.streams.as_deref(), now) {
            // A page is counted in one partition, so two owners of it can only be an old one and its successor.
            let held = counts.entry(page).or_insert(0);
            *held = count.max(*held);
        }
        counts
    }

    fn page_counts_here(&self, now: i64) -> BTreeMap<String, i64> {
        let start = now.div_euclid(self.page_window_ms) * self.page_window_ms;
        let store = self.streams.as_ref().map(|streams| streams.window_store::<String, i64>(PAGE_COUNT));
        let Some(Ok(store)) = store else { return BTreeMap::new() };
        let windows = store.fetch_all(start, start).unwrap_or_default();
        windows.into_iter().map(|(key, count)| (key.key, count)).collect()
    }

    fn page_window_ms(&self) -> i64 {
        self.page_window_ms
    }
}
