//! Random and mutated files of customers: errors that name the line, never a panic, and always an end.

use std::io::Write;

use proptest::prelude::*;
use vigie_sources::csv::{read_customers, read_records};

const SAMPLE: &str = "Names,Age,Total_Purchase,Account_Manager,Years,Num_Sites,Onboard_date,Location,Company,Churn\n\
    Cameron Williams,42.0,11066.8,0,7.22,8.0,2013-08-30 07:00:40,\"10265 Elizabeth Mission, AK 89518\",Harvey LLC,1\n\
    Zo\u{e9} Mueller,41.0,11916.22,0,6.5,11.0,2013-08-13 00:38:46,\"6157 \"\"Frank\"\" Gardens\",Wilson PLC,\n";

fn read(bytes: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    if let Ok(records) = read_records(file.path(), None) {
        let columns = records.names().len();
        for record in records.flatten() {
            assert_eq!(record.cells.len(), columns);
        }
    }
    if let Ok(customers) = read_customers(file.path()) {
        for row in customers.flatten() {
            let _ = row.json();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read(&bytes);
    }

    #[test]
    fn mutated_files_are_read_or_refused(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        mark in prop::sample::select(vec![&b""[..], b"\xEF\xBB\xBF", b"\xFF\xFE", b"\xFE\xFF"]),
    ) {
        let mut bytes = SAMPLE.as_bytes().to_vec();
        for (place, mask) in flips {
            let place = place.index(bytes.len());
            bytes[place] ^= mask;
        }
        read(&[mark, &bytes].concat());
        bytes.truncate(cut.index(bytes.len()));
        read(&bytes);
    }
}
