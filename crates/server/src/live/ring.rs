//! The newest messages of the live stream, bounded in number and in bytes.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

/// A minute at ten messages a second.
const FRAMES: usize = 600;
const BYTES: usize = 8 << 20;

/// One message: its parts by key, each already JSON.
#[derive(Debug)]
pub(crate) struct Frame {
    pub id: i64,
    pub at: i64,
    pub parts: Vec<(&'static str, String)>,
}

impl Frame {
    fn bytes(&self) -> usize {
        64 + self.parts.iter().map(|(key, json)| key.len() + json.len() + 4).sum::<usize>()
    }

    /// As server-sent event, with the keys that the client wants (`None`: all); `None` when none of them is in it.
    pub(crate) fn render(&self, keys: Option<&BTreeSet<String>>) -> Option<String> {
        let wanted = |key: &str| keys.is_none_or(|keys| keys.contains(key));
        let mut text = String::with_capacity(self.bytes());
        let mut any = false;
        // Writing to a string cannot fail.
        let _ = write!(text, "id: {}\nevent: batch\ndata: {{\"at\":{}", self.id, self.at);
        for (key, json) in self.parts.iter().filter(|(key, _)| wanted(key)) {
            let _ = write!(text, ",\"{key}\":{json}");
            any = true;
        }
        text.push_str("}\n\n");
        any.then_some(text)
    }
}

/// What follows a position.
#[derive(Debug)]
pub(crate) enum Next {
    /// This message.
    Frame(Arc<Frame>),
    /// Nothing yet.
    Nothing,
    /// It is not in the ring any more: load anew and go on from here.
    Lost(i64),
}

/// The ring.
#[derive(Debug)]
pub(crate) struct Ring {
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
    newest: i64,
}

impl Ring {
    /// An empty ring whose next message gets `first + 1`.
    pub(crate) fn new(first: i64) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, newest: first }
    }

    pub(crate) fn newest(&self) -> i64 {
        self.newest
    }

    /// Adds a message; the oldest ones leave when there is no room. Returns its id.
    pub(crate) fn push(&mut self, at: i64, parts: Vec<(&'static str, String)>) -> i64 {
        self.newest += 1;
        let frame = Arc::new(Frame { id: self.newest, at, parts });
        self.bytes += frame.bytes();
        self.frames.push_back(frame);
        while self.frames.len() > FRAMES || (self.bytes > BYTES && self.frames.len() > 1) {
            if let Some(oldest) = self.frames.pop_front() {
                self.bytes -= oldest.bytes();
            }
        }
        self.newest
    }

    /// What follows `position`. Ids have no gaps, so its place can be computed.
    pub(crate) fn after(&self, position: i64) -> Next {
        if position == self.newest {
            return Next::Nothing;
        }
        let oldest = self.newest - self.frames.len() as i64 + 1;
        let place = usize::try_from(position + 1 - oldest).ok();
        match place.and_then(|place| self.frames.get(place)) {
            Some(frame) => Next::Frame(Arc::clone(frame)),
            None => Next::Lost(self.newest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(ring: &Ring, position: i64) -> String {
        match ring.after(position) {
            Next::Frame(frame) => format!("frame {}", frame.id),
            Next::Nothing => String::from("nothing"),
            Next::Lost(newest) => format!("lost {newest}"),
        }
    }

    #[test]
    fn a_position_is_followed_by_its_message_or_is_lost() {
        let mut ring = Ring::new(1000);
        assert_eq!(next(&ring, 1000), "nothing");
        assert_eq!(next(&ring, 999), "lost 1000", "another run's position");
        assert_eq!(next(&ring, 1001), "lost 1000", "a position from the future");
        for _ in 0..FRAMES + 5 {
            ring.push(1, vec![("user", String::from("1"))]);
        }
        let newest = 1000 + FRAMES as i64 + 5;
        assert_eq!(next(&ring, newest), "nothing");
        assert_eq!(next(&ring, newest - 1), format!("frame {newest}"));
        assert_eq!(next(&ring, 1005), "frame 1006");
        assert_eq!(next(&ring, 1004), format!("lost {newest}"), "it has left the ring");
    }

    #[test]
    fn large_messages_do_not_fill_the_memory() {
        let mut ring = Ring::new(0);
        for _ in 0..50 {
            ring.push(1, vec![("score", "x".repeat(1 << 20))]);
        }
        assert!(ring.bytes <= BYTES && ring.frames.len() < 9, "{} bytes", ring.bytes);
    }

    #[test]
    fn only_the_wanted_keys_are_sent() {
        let parts = vec![("score", String::from("[1]")), ("user", String::from("2"))];
        let frame = Frame { id: 7, at: 9, parts };
        let keys = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(
            frame.render(None).unwrap(),
            "id: 7\nevent: batch\ndata: {\"at\":9,\"score\":[1],\"user\":2}\n\n"
        );
        assert_eq!(
            frame.render(Some(&keys(&["user"]))).unwrap(),
            "id: 7\nevent: batch\ndata: {\"at\":9,\"user\":2}\n\n"
        );
        assert_eq!(frame.render(Some(&keys(&["alert"]))), None);
    }
}
