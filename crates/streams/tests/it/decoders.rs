//! Random and mutated bytes for every serde: an error, never a panic; what it reads it can write.

use std::collections::BTreeMap;

use proptest::prelude::*;
use vigie_streams::Windowed;
use vigie_streams::serde::{
    Blob, Bool, Bytes, F32, F64, I32, I64, Ignored, Json, Nullable, Serde, SessionWindowed, SharedUtf8,
    TimeWindowed, U32, U64, Utf8,
};

fn read<T>(serde: &dyn Serde<T>, bytes: &[u8]) {
    if let Ok(value) = serde.decode(bytes) {
        let mut again = Vec::new();
        let _ = serde.encode(&value, &mut again);
    }
}

fn read_with_all(bytes: &[u8]) {
    read::<String>(&Utf8, bytes);
    read::<std::sync::Arc<str>>(&SharedUtf8, bytes);
    read::<i64>(&I64, bytes);
    read::<i32>(&I32, bytes);
    read::<u64>(&U64, bytes);
    read::<u32>(&U32, bytes);
    read::<f64>(&F64, bytes);
    read::<f32>(&F32, bytes);
    read::<bool>(&Bool, bytes);
    read::<Vec<u8>>(&Blob, bytes);
    read::<bytes::Bytes>(&Bytes, bytes);
    read::<()>(&Ignored, bytes);
    read::<Option<String>>(&Nullable::new(Utf8), bytes);
    read::<serde_json::Value>(&Json::new(), bytes);
    read::<BTreeMap<String, Vec<Option<i64>>>>(&Json::new(), bytes);
    read::<Windowed<String>>(&TimeWindowed::new(Utf8, i64::MAX), bytes);
    read::<Windowed<i64>>(&SessionWindowed::new(I64), bytes);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        read_with_all(&bytes);
    }

    #[test]
    fn mutated_json_is_read_or_refused(
        map in prop::collection::btree_map(".{0,6}", prop::collection::vec(any::<Option<i64>>(), 0..4), 0..4),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut bytes = Vec::new();
        Json::new().encode(&map, &mut bytes).unwrap();
        for (place, mask) in flips {
            let place = place.index(bytes.len());
            bytes[place] ^= mask;
        }
        read_with_all(&bytes);
    }
}
