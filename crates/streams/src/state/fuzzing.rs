//! Every decoder of stored bytes and of changelog records, for `fuzz/` and for the property tests below: an error, never a panic, and what can be read goes
//! round.

use std::sync::Arc;

use super::format::{KeyFormat, PlainKeys, SessionKeys, WindowKeys};
use super::persistent::decode_mark;
use super::typed::decode_value;
use crate::serde::{Bytes, I64, SerdeRef, Utf8};

/// Has all of them read these bytes.
pub fn read_stored_bytes(bytes: &[u8]) {
    let blob = || -> SerdeRef<bytes::Bytes> { Arc::new(Bytes) };
    keys(&PlainKeys(blob()), bytes);
    keys(&PlainKeys::<String>(Arc::new(Utf8)), bytes);
    for segment_ms in [1, 60_000, i64::MAX] {
        keys(&WindowKeys { inner: blob(), segment_ms }, bytes);
        keys(&WindowKeys::<String> { inner: Arc::new(Utf8), segment_ms }, bytes);
        keys(&SessionKeys { inner: blob(), segment_ms }, bytes);
    }
    let _ = decode_mark(bytes);
    let _ = decode_value::<i64>(&I64, bytes);
    let _ = decode_value::<String>(&Utf8, bytes);
}

fn keys<Q>(format: &dyn KeyFormat<Q>, bytes: &[u8]) {
    let _ = format.local_time(bytes);
    if let Ok(key) = format.read_local(bytes) {
        let (mut again, mut logged) = (Vec::new(), Vec::new());
        let _ = (format.time(&key), format.local(&key, &mut again));
        format.write_changelog(bytes, &mut logged);
    }
    let mut local = Vec::new();
    if format.read_changelog(bytes, &mut local).is_ok() {
        let mut logged = Vec::new();
        format.write_changelog(&local, &mut logged);
        // A window's number in the changelog is not kept: it is always 0.
        let kept = bytes.len().saturating_sub(4);
        assert_eq!(logged.get(..kept), bytes.get(..kept), "a changelog's key goes round");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::state::{SessionKey, WindowKey};

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn random_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            read_stored_bytes(&bytes);
        }

        #[test]
        fn mutated_keys_are_read_or_refused(
            key in ".{0,12}",
            start: i64,
            end: i64,
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5),
            cut in any::<prop::sample::Index>(),
        ) {
            let windows = WindowKeys::<String> { inner: Arc::new(Utf8), segment_ms: 60_000 };
            let sessions = SessionKeys::<String> { inner: Arc::new(Utf8), segment_ms: 60_000 };
            let mut all = vec![Vec::new(), Vec::new(), Vec::new(), Vec::new()];
            windows.local(&WindowKey { key: key.clone(), start }, &mut all[0]).unwrap();
            windows.write_changelog(&all[0].clone(), &mut all[1]);
            sessions.local(&SessionKey { key, start, end }, &mut all[2]).unwrap();
            sessions.write_changelog(&all[2].clone(), &mut all[3]);
            for mut bytes in all {
                read_stored_bytes(&bytes);
                for (place, mask) in &flips {
                    let place = place.index(bytes.len());
                    bytes[place] ^= mask;
                }
                read_stored_bytes(&bytes);
                bytes.truncate(cut.index(bytes.len() + 1));
                read_stored_bytes(&bytes);
            }
        }
    }
}
