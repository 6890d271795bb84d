//! Page views: `R2` -> `R3` (mapped), `R2` -> `R4` (counts per page and window). `R1` is only read, and checked.

use std::time::Duration;

use vigie_domain::{PageEvent, topics};
use vigie_streams::serde::{Blob, Bool, I64, Json, Nullable, Utf8};
use vigie_streams::{
    BoxError, Grouped, KStream, Processor, ProcessorContext, Produced, Record, Store, TimeWindows, Windowed,
};

use super::checked::Traced;
use super::instant::r4_key;
use crate::config::PagesConfig;

/// The store that `/analytics` asks.
pub const PAGE_COUNT: &str = "page-count";

/// `R2` -> `R3`: name -> `L:` and its length, user -> `UUUUUU`.
pub fn map(views: &KStream<Option<Vec<u8>>, Traced<PageEvent>>) {
    views
        .map_values(|view: &Traced<PageEvent>| view.value.mapped())
        .to(topics::R3, Produced::with(Nullable::new(Blob), Json::new()));
}

/// `R2` -> `R4`: views longer than the minimum, counted per page in tumbling windows.
pub fn count(views: &KStream<Option<Vec<u8>>, Traced<PageEvent>>, config: &PagesConfig) {
    let least = config.min_duration_ms;
    let windows = TimeWindows::tumbling(Duration::from_millis(config.window_ms))
        .grace(Duration::from_millis(config.grace_ms));
    views
        .filter(move |_, view: &Traced<PageEvent>| view.value.duration > least)
        .map(|_, view: &Traced<PageEvent>| (view.value.name.clone(), true))
        .group_by_key_with(Grouped::with(Utf8, Bool))
        .windowed_by(windows)
        .count(Store::named(PAGE_COUNT))
        .to_stream()
        .process(|| R4Key, &[])
        .to(topics::R4, Produced::with(Utf8, I64));
}

/// Writes `R4`'s key, and the window and the page beside it as headers, so that nobody has to parse the key.
struct R4Key;

impl Processor<Windowed<String>, i64, String, i64> for R4Key {
    fn process(
        &mut self,
        ctx: &mut ProcessorContext<'_, '_, String, i64>,
        record: Record<Windowed<String>, i64>,
    ) -> Result<(), BoxError> {
        let Windowed { key: page, window } = record.key;
        let headers = record
            .headers
            .with(topics::WINDOW_START, window.start.to_string())
            .with(topics::WINDOW_END, window.end.to_string())
            .with(topics::PAGE, &page);
        let key = r4_key(window.start, window.end, &page);
        ctx.forward(Record { key, value: record.value, timestamp: record.timestamp, headers })
    }
}
