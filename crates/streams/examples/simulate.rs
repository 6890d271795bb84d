//! Runs the seeded simulation of the engine for as many seeds as asked:
//! `cargo run --release -p vigie-streams --features simulation --example simulate -- --seeds 100000 [--from 0]`.
//!
//! Ends with 1 at the first seed whose results are wrong, and prints it.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::process::ExitCode;

use vigie_streams::simulation::simulate_all;

fn main() -> ExitCode {
    let (mut from, mut seeds) = (0_u64, 1_000_u64);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|text| text.parse::<u64>().ok());
        match (name.as_str(), value) {
            ("--from", Some(value)) => from = value,
            ("--seeds", Some(value)) => seeds = value,
            _ => {
                eprintln!("usage: simulate [--seeds COUNT] [--from SEED]");
                return ExitCode::from(2);
            }
        }
    }
    match simulate_all(from..from.saturating_add(seeds)) {
        Ok(deaths) => {
            println!("{seeds} seeds from {from}: all results exact");
            for (point, times) in deaths {
                println!("{times:>8} died {point}");
            }
            ExitCode::SUCCESS
        }
        Err(seed) => {
            eprintln!("seed {seed}: wrong");
            ExitCode::FAILURE
        }
    }
}
