//! The program `vigie`.

fn main() {}
