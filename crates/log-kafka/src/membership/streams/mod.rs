//! Streams groups (KIP-1071): the broker assigns the program's tasks, active ones and standby copies.

use vigie_log::Result;

use super::{GroupProtocol, Joining};

/// Whether the broker offers streams groups and the configuration describes a topology; `false` is no error, but the reason for `auto` to
/// try the next protocol.
pub fn offered(_joining: &Joining) -> Result<bool> {
    Ok(false)
}

/// Joins.
pub fn join(joining: Joining) -> Result<Box<dyn GroupProtocol>> {
    Err(vigie_log::LogError::other(
        format!("joining group `{}`", joining.member.group),
        "this build cannot join streams groups; use membership = \"consumer\"",
    ))
}
