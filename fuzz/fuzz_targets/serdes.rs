//! Keys and values of records.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vigie_streams::Windowed;
use vigie_streams::serde::{Bool, F64, I64, Json, Nullable, Serde, SessionWindowed, TimeWindowed, Utf8};

fn read<T>(serde: &dyn Serde<T>, bytes: &[u8]) {
    if let Ok(value) = serde.decode(bytes) {
        let mut again = Vec::new();
        let _ = serde.encode(&value, &mut again);
    }
}

fuzz_target!(|data: &[u8]| {
    read::<String>(&Utf8, data);
    read::<i64>(&I64, data);
    read::<f64>(&F64, data);
    read::<bool>(&Bool, data);
    read::<Option<String>>(&Nullable::new(Utf8), data);
    read::<serde_json::Value>(&Json::new(), data);
    read::<Windowed<String>>(&TimeWindowed::new(Utf8, i64::MAX), data);
    read::<Windowed<i64>>(&SessionWindowed::new(I64), data);
});
