//! Files of customers. A corpus: `data/`.
#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;
use vigie_sources::csv::{read_customers, read_records};

fuzz_target!(|data: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(data).expect("room for it");
    if let Ok(records) = read_records(file.path(), None) {
        let columns = records.names().len();
        records.flatten().for_each(|record| assert_eq!(record.cells.len(), columns));
    }
    if let Ok(customers) = read_customers(file.path()) {
        customers.flatten().for_each(|row| drop(row.json()));
    }
});
