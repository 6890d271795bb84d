//! Model files. Start with a corpus of real ones: behind a wrong checksum there is little to find.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vigie_churn::Model;

fuzz_target!(|data: &[u8]| {
    if let Ok(model) = Model::from_bytes(data) {
        assert!(model.to_bytes().is_ok());
    }
});
