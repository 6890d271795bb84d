//! The sources, as the server asks for them.

use vigie_server::ports::{SourceStatus, Sources, UsersSource};

use crate::runtime::{StatusView, UsersView};

/// The sources behind the server's port.
pub struct SourcesView {
    /// All of them.
    pub status: StatusView,
    /// The users' client, if it runs.
    pub users: Option<UsersView>,
    /// Whether it gets a recording.
    pub users_recorded: bool,
}

impl Sources for SourcesView {
    fn list(&self) -> Vec<SourceStatus> {
        (self.status)()
            .into_iter()
            .map(|source| SourceStatus {
                name: source.name,
                kind: source.kind,
                simulated: source.simulated,
                recorded: source.recorded,
                rate_per_s: Some(source.rate_per_s).filter(|rate| *rate > 0.0),
                running: source.running && !source.paused,
                published: source.published,
                last_error: source.last_error,
            })
            .collect()
    }

    fn users(&self) -> Option<UsersSource> {
        let status = (self.users.as_ref()?)();
        Some(UsersSource {
            url: status.url,
            recorded: self.users_recorded,
            last_status: status.last_status.map(|code| code.to_string()).or(status.last_error),
            last_success: status.last_success,
            next_attempt: status.next_attempt,
            failures: status.failures,
        })
    }
}
