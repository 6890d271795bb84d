//! The other instances that share the work: found through the group's own metadata, asked over HTTP for the state that they own.

use std::collections::BTreeMap;
use std::time::Duration;

use vigie_log::MemberEndpoint;
use vigie_sources::users::{Client, ClientOptions};
use vigie_streams::Streams;

/// A live number is not worth a longer wait.
const WAIT: Duration = Duration::from_millis(500);
/// No answer about one window is larger.
const MOST_BYTES: u64 = 4 << 20;

/// How to ask the others.
pub struct Peers {
    /// Where this instance can be asked, to tell it from the others.
    own: (String, u16),
    client: Client,
}

impl Peers {
    /// The others than the one at `own`.
    pub fn new(own: (String, u16)) -> Self {
        Self { own, client: Client::new(ClientOptions { timeout: WAIT, max_bytes: MOST_BYTES }) }
    }

    /// What the others count in the window of `at`. An instance that does not answer is left out: its partitions have a new owner soon.
    pub fn page_counts(&self, streams: Option<&Streams>, at: i64) -> BTreeMap<String, i64> {
        let mut all = BTreeMap::new();
        for peer in self.others(streams.map(Streams::endpoints).unwrap_or_default()) {
            let url = format!("http://{}:{}/api/v1/state/page-counts?at={at}", peer.host, peer.port);
            let answer = self.client.get(&url, 0).map_err(|error| error.to_string()).and_then(|body| {
                serde_json::from_slice::<BTreeMap<String, i64>>(&body).map_err(|error| error.to_string())
            });
            match answer {
                Ok(counts) => all.extend(counts),
                Err(error) => tracing::debug!(url, error, "an instance does not answer for its state"),
            }
        }
        all
    }

    fn others(&self, endpoints: Vec<MemberEndpoint>) -> impl Iterator<Item = MemberEndpoint> + '_ {
        endpoints
            .into_iter()
            .filter(|peer| (&peer.host, peer.port) != (&self.own.0, self.own.1) && !peer.active.is_empty())
    }
}
