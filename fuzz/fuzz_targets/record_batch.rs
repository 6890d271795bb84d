//! A batch of records, as it stands in the log: with any bytes, and with any bytes behind a right checksum.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use vigie_log::RecordBatch;

fn read(bytes: Vec<u8>) {
    let Ok(batch) = RecordBatch::decode(Bytes::from(bytes)) else { return };
    assert_eq!(batch.iter().count(), batch.len());
    for record in batch.iter() {
        assert_eq!(record.headers.iter().count(), record.headers.len());
    }
    let again = RecordBatch::decode(Bytes::from(batch.encode())).expect("what was read can be written");
    assert_eq!(again.len(), batch.len());
}

fuzz_target!(|data: &[u8]| {
    read(data.to_vec());
    let mut bytes = vigie_log::BatchBuilder::new().build(0).encode();
    bytes.truncate(5);
    bytes.extend_from_slice(data);
    let crc = crc32(&bytes[5..]).to_le_bytes();
    bytes[1..5].copy_from_slice(&crc);
    read(bytes);
});

/// CRC-32 (IEEE), bit by bit: small is enough here.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}
