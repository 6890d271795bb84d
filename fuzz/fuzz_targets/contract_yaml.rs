//! Data contracts, and records checked against them. A corpus: `contracts/`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vigie_contracts::Contract;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (yaml, record) = text.split_once('\0').unwrap_or((text, "{}"));
    if let Ok(contract) = Contract::from_yaml(yaml, "fuzz") {
        let _ = contract.check_all::<serde_json::Value>(record.as_bytes());
    }
});
