//! The same topologies and the same records through Kafka Streams and through this engine, compared record by record.
//!
//! ```text
//! plan ──seed──▶ scenarios ──▶ Kafka Streams' TopologyTestDriver (dev/parity, Java) ──▶ golden/NAME.jsonl.gz (committed)
//!                    └───────▶ this engine's TopologyTestDriver ───────────────────────────────┴──▶ equal?
//! ```
//! The golden outputs are committed, so that the comparison runs without Java; where Java is at hand, a part of them is made anew
//! and compared (all of them by `dev/parity.sh check`). A new topology: add it here and, under the same name, in dev/parity, then
//! `dev/parity.sh bless NAME`. A scenario that fails is printed with its number, its steps, and both results.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

#[macro_use]
mod harness;
mod aggregations;
mod foreign_keys;
mod golden;
mod held;
mod joins;
mod optimized;
mod scenario;
mod stateless;
mod stream_joins;
mod table_joins;
mod tables;
mod text;
mod versions;
mod windows;

use harness::Case;

fn cases() -> Vec<Case> {
    let groups = [
        stateless::cases(),
        tables::cases(),
        aggregations::cases(),
        windows::cases(),
        joins::cases(),
        stream_joins::cases(),
        table_joins::cases(),
        foreign_keys::cases(),
        versions::cases(),
        optimized::cases(),
        held::cases(),
    ];
    let mut cases: Vec<Case> = groups.into_iter().flatten().collect();
    cases.sort_by_key(|case| case.name);
    cases
}

/// Makes golden outputs anew with Kafka Streams and compares them with the committed ones: a few scenarios of each topology, or
/// all with VIGIE_PARITY=all; with VIGIE_PARITY=bless they are written. VIGIE_PARITY_ONLY names some, separated by commas.
#[test]
fn kafka_streams_says_the_same() {
    golden::check_with_kafka_streams(&cases());
}

#[test]
fn the_book_lists_every_topology() {
    golden::check_book(&cases());
}

#[test]
fn golden_files_belong_to_topologies() {
    golden::check_files(&cases());
}
