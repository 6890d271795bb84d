//! Random and mutated bytes for the decoder of batches: an error, never a panic, and what it takes can be read to its end. `fuzz/` has
//! the same checks without an end.

use bytes::Bytes;
use proptest::prelude::*;
use vigie_log::{BatchBuilder, Header, RecordBatch};

/// Reads everything that a batch says of itself; the same function is the fuzz target.
fn read(bytes: &[u8]) {
    let Ok(batch) = RecordBatch::decode(Bytes::copy_from_slice(bytes)) else { return };
    assert_eq!(batch.iter().count(), batch.len());
    let _ = (batch.last_offset(), batch.max_timestamp(), batch.bytes());
    for record in batch.iter() {
        assert_eq!(record.headers.iter().count(), record.headers.len());
        let _ = record.headers.get("h");
    }
    let again = RecordBatch::decode(Bytes::from(batch.encode())).unwrap();
    assert_eq!(
        again.iter().map(|r| r.offset).collect::<Vec<_>>(),
        batch.iter().map(|r| r.offset).collect::<Vec<_>>()
    );
}

/// The checksum stops nearly every mutation: set right again, the bytes behind it are tried too.
fn with_its_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() >= 5 {
        let crc = crc32fast::hash(&bytes[5..]).to_le_bytes();
        bytes[1..5].copy_from_slice(&crc);
    }
    bytes
}

/// Timestamp, key, value.
type Sample = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

fn sample(records: &[Sample], base: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    for (at, key, value) in records {
        let header = [Header { name: "h", value: value.as_deref() }];
        builder.push(*at, key.as_deref(), value.as_deref(), &header);
    }
    builder.build(base).encode()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_no_batch_or_a_readable_one(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read(&bytes);
        let mut bytes = bytes;
        if let Some(version) = bytes.first_mut() {
            *version = sample(&[], 0)[0];
        }
        read(&with_its_checksum(bytes));
    }

    #[test]
    fn mutated_batches_are_refused_or_readable(
        records in prop::collection::vec(
            (any::<i64>(), prop::option::of(prop::collection::vec(any::<u8>(), 0..9)), prop::option::of(prop::collection::vec(any::<u8>(), 0..9))),
            1..6,
        ),
        base in 0..i64::MAX / 2,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let mut bytes = sample(&records, base);
        for (place, mask) in flips {
            let place = place.index(bytes.len());
            bytes[place] ^= mask;
        }
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        read(&bytes);
        read(&with_its_checksum(bytes));
    }
}
