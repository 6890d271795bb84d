//! Instants as Java writes them: the key of `R4` is built from them, and its readers parse it.

/// `java.time.Instant.toString()` of a time in ms since the epoch: ISO 8601 in UTC, without a fraction on a full second, with
/// three digits otherwise.
pub fn java_instant(ms: i64) -> String {
    let text = vigie_domain::iso8601(ms);
    text.strip_suffix(".000Z").map_or(text.clone(), |seconds| format!("{seconds}Z"))
}

/// The key of `R4`: `=>`, start and end of the window, and the page.
pub fn r4_key(start: i64, end: i64, page: &str) -> String {
    format!("=>{}{}{page}", java_instant(start), java_instant(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_java_writes_them() {
        assert_eq!(java_instant(1_750_000_000_000), "2025-06-15T15:06:40Z");
        assert_eq!(java_instant(1_750_000_000_120), "2025-06-15T15:06:40.120Z");
        assert_eq!(
            r4_key(1_750_000_000_000, 1_750_000_005_000, "P1"),
            "=>2025-06-15T15:06:40Z2025-06-15T15:06:45ZP1"
        );
    }
}
