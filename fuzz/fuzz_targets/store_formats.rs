//! Keys, values and marks of state stores, and the keys of their changelogs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vigie_streams::fuzzing::read_stored_bytes(data));
